"""What happens to a finished chunk before it is sent, in order:

    decide → application's trace filters → map → single-span sampling → Agent's filters
      → statistics → drop unsampled → put trace-level tags on what is left

No I/O. One bad chunk or span never costs another.

Source: spec/trace-export.md §3; spec/sampling.md §15; spec/client-stats.md §8.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddtrace_manual._log import RateLimitedLogger, get_logger
from ddtrace_manual._stats import NO_FILTERS, Concentrator, TraceFilters, select_spans

if TYPE_CHECKING:
    from ddtrace_manual._model import DDSpan, SegmentRecord, SpanRecord

    from .counters import Counters
    from .queue import Chunk

__all__ = ["ChunkSteps", "Pipeline", "TraceFilter"]

_log = RateLimitedLogger(get_logger("export"))

TraceFilter = Callable[[Sequence[Any]], "Sequence[Any] | None"]
"""Takes the finished spans of a chunk and returns those to keep; nothing drops the chunk. Any: spans of the engine."""


@dataclass(slots=True)
class ChunkSteps:
    """The steps that other layers own, handed in by `_setup.py`."""

    decide: Callable[[SegmentRecord], None]
    """Makes the sampling decision unless it was made."""
    map_chunk: Callable[..., list[DDSpan]]
    """(segment, spans, *, partial) → Datadog spans with trace-level tags."""
    apply_chunk_tags: Callable[[DDSpan, SegmentRecord], None]
    """Puts the trace-level tags on a span that became the first of its chunk."""
    sample_spans: Callable[[Sequence[DDSpan], int | None], None] | None = None
    """Marks single spans of dropped traces."""
    trace_filters: Sequence[TraceFilter] = field(default_factory=tuple)


class Pipeline:
    """Runs the steps. Used by the worker thread only.

    Attributes:
        concentrator: Counts spans while client-side statistics are on, else `None`.
        filters: The Agent's trace filters; only while statistics are on.
        dropped_p0_traces: Traces dropped since the last payload, for its headers.
        dropped_p0_spans: Spans likewise.
    """

    def __init__(self, steps: ChunkSteps, counters: Counters) -> None:
        self._steps = steps
        self._counters = counters
        self.concentrator: Concentrator | None = None
        self.filters: TraceFilters = NO_FILTERS
        self.dropped_p0_traces = 0
        self.dropped_p0_spans = 0

    def process(self, chunk: Chunk) -> Sequence[DDSpan]:
        """Return what of a chunk is to be sent, possibly nothing."""
        try:
            return self._process(chunk)
        except Exception:  # noqa: BLE001 - one chunk must not stop the worker
            self._counters.drop("serialization_error", spans=len(chunk.spans))
            _log.log(logging.ERROR, "process", "Lost a trace of %d spans", len(chunk.spans), exc_info=True)
            return ()
        finally:
            self._let_go(chunk)

    def _process(self, chunk: Chunk) -> Sequence[DDSpan]:
        segment = chunk.segment
        spans: Sequence[SpanRecord] = chunk.spans
        if self._steps.trace_filters:
            spans = self._filtered(spans)
            if not spans:
                self._counters.drop("trace_processor", spans=len(chunk.spans))
                return ()
        if not segment.decided:
            self._steps.decide(segment)
        dd_spans: Sequence[DDSpan] = self._steps.map_chunk(segment, spans, partial=chunk.partial)
        if len(dd_spans) < len(spans):
            self._counters.drop("serialization_error", spans=len(spans) - len(dd_spans), chunks=0)
        if self._steps.sample_spans is not None:
            self._steps.sample_spans(dd_spans, segment.priority)
        if self.concentrator is None or not dd_spans:
            return dd_spans
        return self._count_and_select(segment, dd_spans, self.concentrator)

    def _count_and_select(
        self, segment: SegmentRecord, dd_spans: Sequence[DDSpan], concentrator: Concentrator
    ) -> Sequence[DDSpan]:
        if self.filters and self.filters.rejects(dd_spans):
            self._count_filtered(dd_spans)
            return ()
        concentrator.add_chunk(dd_spans)
        selection = select_spans(dd_spans)
        if not selection.dropped_spans:
            return dd_spans
        self.dropped_p0_traces += selection.dropped_traces
        self.dropped_p0_spans += selection.dropped_spans
        self._counters.filtered_spans += selection.dropped_spans
        self._counters.filtered_chunks += selection.dropped_traces
        if selection.spans and selection.spans[0] is not dd_spans[0]:
            self._steps.apply_chunk_tags(selection.spans[0], segment)
        return selection.spans

    def _count_filtered(self, dd_spans: Sequence[DDSpan]) -> None:
        self._counters.filtered_spans += len(dd_spans)
        self._counters.filtered_chunks += 1

    def _filtered(self, spans: Sequence[SpanRecord]) -> Sequence[SpanRecord]:
        """Run the application's filters; one that raises changes nothing."""
        for each in self._steps.trace_filters:
            try:
                kept = each(spans)
            except Exception:  # noqa: BLE001 - the application's code
                self._counters.count("trace_filter_failed")
                _log.log(logging.ERROR, "trace filter", "A trace filter failed: %r", each, exc_info=True)
                continue
            if not kept:
                return ()
            spans = list(kept)
        return spans

    @staticmethod
    def _let_go(chunk: Chunk) -> None:
        """Break the references that would keep a long line of ended spans alive."""
        for span in chunk.spans:
            span.local_parent = None
        segment = chunk.segment
        root = segment.local_root
        if root is not None and root.end_ns is not None and segment.decided:
            segment.local_root = None
