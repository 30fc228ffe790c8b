"""The steps between a finished chunk and its delivery.

In order:

    decide → application's trace filters → map → single-span sampling → Agent's filters
      → statistics → drop unsampled → put trace-level tags on what is left

Of unsampled traces that filters and single-span rules do not look at, only the spans that statistics or
the Agent may want are mapped.

No I/O. One bad chunk or span never costs another.

Source: spec/trace-export.md §3; spec/sampling.md §15; spec/client-stats.md §8.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._encoding.encoded_chunk import EncodedChunk
from ddtrace_manual._model import SpanRecord
from ddtrace_manual._model.finished_span import expanded
from ddtrace_manual._stats import NO_FILTERS, Concentrator, TraceFilters, must_be_sent, select_spans

from .counters import DropReason

if TYPE_CHECKING:
    from ddtrace_manual._encoding.encoded_chunk import CountedSpan
    from ddtrace_manual._model import DDSpan, SegmentRecord
    from ddtrace_manual._model.finished_span import FinishedSpan

    from .counters import Counters
    from .queue import Chunk

__all__ = ["ChunkSteps", "Pipeline", "TraceFilter"]

_log = RateLimitedLogger(get_logger("export"))

TraceFilter = Callable[[Sequence[Any]], "Sequence[Any] | None"]
"""Takes the finished spans of a chunk and returns those to keep; nothing drops the chunk. While it runs, the spans can
be changed with all their methods, as if they had not ended. Any: spans of the engine."""


@dataclass(slots=True)
class ChunkSteps:
    """The steps that other layers own, handed in by `_setup/lifecycle.py`."""

    decide: Callable[[SegmentRecord], None]
    """Makes the sampling decision unless it was made."""
    map_chunk: Callable[..., list[DDSpan]]
    """(segment, spans, *, partial) → Datadog spans with trace-level tags."""
    apply_chunk_tags: Callable[[DDSpan, SegmentRecord], None]
    """Puts the trace-level tags on a span that became the first of its chunk."""
    sample_spans: Callable[[Sequence[DDSpan], int | None], None] | None = None
    """Marks single spans of dropped traces."""
    map_directly: Callable[..., EncodedChunk | list[DDSpan]] | None = None
    """As `map_chunk`, with ordinary spans encoded already. Takes also `telling_keys`, the attributes that statistics
    look at."""
    map_for_stats: Callable[..., tuple[list[CountedSpan], list[DDSpan]] | None] | None = None
    """(segment, spans, attributes that statistics look at) → what they count of a dropped trace; see `Mapper`."""
    trace_filters: Sequence[TraceFilter] = field(default_factory=tuple)
    span_type: type[SpanRecord] = SpanRecord
    """Class of the spans that filters are given."""


class Pipeline:
    """Runs the steps and counts every span that is not sent. Worker thread only.

    Attributes:
        concentrator: Counts spans while client-side statistics are on, else `None`.
        takes_bytes: Payloads are of the format whose ordinary spans the mapping can write by itself (v0.4).
        dropped_p0_traces: Traces dropped since the last payload, for its headers.
        dropped_p0_spans: Spans likewise.
    """

    def __init__(self, steps: ChunkSteps, counters: Counters) -> None:
        self._steps = steps
        self._counters = counters
        self.concentrator: Concentrator | None = None
        self._filters: TraceFilters | None = None
        self._counted: list[CountedSpan] = []
        self.takes_bytes = False
        self.dropped_p0_traces = 0
        self.dropped_p0_spans = 0

    @property
    def filters(self) -> TraceFilters:
        """The Agent's trace filters; only while statistics are on."""
        return self._filters or NO_FILTERS

    @filters.setter
    def filters(self, filters: TraceFilters) -> None:
        self._filters = filters or None

    def process(self, chunk: Chunk) -> EncodedChunk | Sequence[DDSpan]:
        """Return the spans to send; may be empty. Call `record_statistics` after this chunk or several."""
        segment, spans, partial, _ = chunk
        counters, steps, concentrator = self._counters, self._steps, self.concentrator
        accounted_before = counters.accounted_spans
        try:
            if steps.trace_filters and not (spans := self._filtered(segment, spans)):
                return ()
            if not segment.decided:
                steps.decide(segment)
            map_directly = steps.map_directly
            if not self.takes_bytes or map_directly is None or (segment.priority or 0) <= 0 or self._filters:
                return () if self._is_dropped(segment, spans) else self._map(segment, spans, partial=partial)
            # Kept traces need no single-span sampling, dropping or filtering: their ordinary spans can be bytes.
            telling_keys = None if concentrator is None else concentrator.rules.telling_keys
            made = map_directly(segment, spans, partial=partial, telling_keys=telling_keys)
            if isinstance(made, EncodedChunk):
                _, count, _, _, counted = made
                if counted:
                    self._counted += counted
                if count == len(spans):
                    return made
            return self._record_others(made, len(spans))
        except Exception:  # one chunk must not stop the worker
            accounted = counters.accounted_spans - accounted_before
            count = len(chunk[1])
            counters.drop(DropReason.SERIALIZATION_ERROR, spans=count - accounted)
            _log.log(logging.ERROR, "process", "Lost a trace of %d spans", count, exc_info=True)
            return ()
        finally:
            # Break the references that would keep a long line of ended spans alive.
            if segment.holds_records:
                _forget_parents(chunk[1])
            root = segment.local_root
            if root is not None and root.end_ns is not None and segment.decided:
                segment.local_root = None

    def record_statistics(self) -> None:
        """Add the spans processed since the last call to the statistics, all at once, which is cheaper."""
        counted, self._counted = self._counted, []
        if counted and self.concentrator is not None:
            try:
                self.concentrator.add_counted(counted)
            except Exception:  # the traces themselves can be sent
                self._counters.lost_stats_payloads += 1
                _log.log(logging.ERROR, "record_statistics", "Lost statistics of %d spans", len(counted), exc_info=True)

    def _is_dropped(self, segment: SegmentRecord, spans: Sequence[FinishedSpan]) -> bool:
        """Drop a chunk of an unsampled trace, once counted, without mapping the spans that nothing looks at.

        False, and nothing is counted, when the chunk is kept, when filters or span rules must see its spans, or when
        one of them must be sent.
        """
        concentrator, map_for_stats, priority = self.concentrator, self._steps.map_for_stats, segment.priority
        if concentrator is None or map_for_stats is None or priority is None or priority > 0:
            return False
        if self._filters is not None or self._steps.sample_spans is not None:
            return False
        made = map_for_stats(segment, spans, concentrator.rules.telling_keys)
        if made is None or any(map(must_be_sent, made[1])):
            return False
        counted, slow_path_spans = made
        self._counted += counted
        if slow_path_spans:
            concentrator.add_chunk(slow_path_spans)
        self._count_unsampled(spans=len(spans), traces=1)
        return True

    def _count_unsampled(self, *, spans: int, traces: int) -> None:
        self.dropped_p0_traces += traces
        self.dropped_p0_spans += spans
        self._count_filtered(spans=spans, chunks=traces)

    def _record_others(self, made: EncodedChunk | list[DDSpan], given: int) -> EncodedChunk | list[DDSpan]:
        """Count the spans of a chunk that are not bytes, and those that could not be mapped."""
        encoded, others = (made.encoded_spans, made.others) if isinstance(made, EncodedChunk) else (0, made)
        self._check(encoded + len(others), given)
        if others and self.concentrator is not None:
            self.concentrator.add_chunk(others)
        return made

    def _map(self, segment: SegmentRecord, spans: Sequence[FinishedSpan], *, partial: bool) -> Sequence[DDSpan]:
        """Map a chunk the general way and return the spans to send."""
        steps, concentrator = self._steps, self.concentrator
        mapped = steps.map_chunk(segment, spans, partial=partial)
        self._check(len(mapped), len(spans))
        if not mapped:
            return ()
        if steps.sample_spans is not None:
            steps.sample_spans(mapped, segment.priority)
        return mapped if concentrator is None else self._count_and_select(segment, mapped, concentrator)

    def _check(self, mapped: int, given: int) -> None:
        """Count the spans that could not be mapped."""
        if mapped < given:
            self._counters.drop(DropReason.SERIALIZATION_ERROR, spans=given - mapped, chunks=int(not mapped))

    def _count_and_select(
        self, segment: SegmentRecord, dd_spans: Sequence[DDSpan], concentrator: Concentrator
    ) -> Sequence[DDSpan]:
        if self._filters is not None and self._filters.rejects(dd_spans):
            self._count_filtered(spans=len(dd_spans), chunks=1)
            return ()
        concentrator.add_chunk(dd_spans)
        selection = select_spans(dd_spans)
        if not selection.dropped_spans:
            return dd_spans
        self._count_unsampled(spans=selection.dropped_spans, traces=selection.dropped_traces)
        if selection.spans and selection.spans[0] is not dd_spans[0]:
            self._steps.apply_chunk_tags(selection.spans[0], segment)
        return selection.spans

    def _count_filtered(self, *, spans: int, chunks: int) -> None:
        counters = self._counters
        counters.filtered_spans += spans
        counters.filtered_chunks += chunks
        counters.accounted_spans += spans

    def _filtered(self, segment: SegmentRecord, given: Sequence[FinishedSpan]) -> Sequence[SpanRecord]:
        """Run the application's filters; one that raises or returns other objects changes nothing."""
        segment.needs_care = segment.holds_records = True  # they may change whatever they like
        editable = _as_records(given, segment, self._steps.span_type)
        spans: Sequence[SpanRecord] = editable
        try:
            _set_editor(editable, threading.get_ident())
            for each in self._steps.trace_filters:
                try:
                    spans = _as_selection(each(list(spans)) or (), spans)
                except (Exception, SystemExit):  # the application's code
                    self._counters.count("trace_filter_failed")
                    _log.log(logging.ERROR, "trace filter", "A trace filter failed: %r", each, exc_info=True)
                if not spans:
                    break
        finally:
            _set_editor(editable, 0)
        if len(spans) != len(given):
            self._counters.drop(DropReason.TRACE_PROCESSOR, spans=len(given) - len(spans), chunks=int(not spans))
        return spans


def _forget_parents(spans: Sequence[FinishedSpan]) -> None:
    for span in spans:
        if isinstance(span, SpanRecord):
            span.local_parent = None


def _as_records(
    spans: Sequence[FinishedSpan], segment: SegmentRecord, span_type: type[SpanRecord]
) -> Sequence[SpanRecord]:
    return [span if isinstance(span, SpanRecord) else expanded(span, segment, span_type) for span in spans]


def _set_editor(spans: Sequence[SpanRecord], thread_id: int) -> None:
    for span in spans:
        span.editor = thread_id


def _as_selection(kept: Sequence[SpanRecord], given: Sequence[SpanRecord]) -> list[SpanRecord]:
    """Return what a filter kept as a list.

    Raises:
        TypeError: It contains something other than the spans given to the filter.
        ValueError: A span is in it twice.
    """
    spans = list(kept)
    ids = set(map(id, spans))
    if not ids <= set(map(id, given)):
        raise TypeError("a trace filter returned something other than spans of its trace")
    if len(ids) != len(spans):
        raise ValueError("a trace filter returned a span twice")
    return spans
