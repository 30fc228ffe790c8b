"""A segment's finished spans → one chunk: the local root first, with the tags that belong to the trace.

| on | tags |
|---|---|
| every span | `otel.trace_id`, `_dd.origin`, `w3c.tracestate` |
| the local root | priority, `_dd.*_psr`, `_dd.parent_id`, `_dd.propagation_error` |
| the first span | priority, `_dd.p.*`, `language`, git metadata, process tags, `_dd.py.partial_flush` |

`w3c.tracestate` is the list of other vendors' members as received; `dd` and `ot`, which are written
anew on every injection, are left out.

Source: spec/span-mapping.md §11; spec/sampling.md §12, §15.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddtrace_manual._base import tags
from ddtrace_manual._base.ids import MASK_64, format_trace_id
from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._encoding.encoded_chunk import EncodedChunk
from ddtrace_manual._encoding.trace_tags import FirstSpanTags, priority_of
from ddtrace_manual._model import SpanRecord
from ddtrace_manual._model.finished_span import expanded

from .simple_spans import OrdinarySpans
from .span import SpanMapper, separate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ddtrace_manual._encoding.encoded_chunk import CountedSpan
    from ddtrace_manual._model import DDSpan, SegmentRecord
    from ddtrace_manual._model.finished_span import FinishedSpan

    from .settings import MappingSettings

__all__ = ["Mapper"]

_new = tuple.__new__  # the constructor of a named tuple is a function (bench: ten-span)
_SAMPLING_PRIORITY = tags.SAMPLING_PRIORITY
_TRACE_ID_HIGH = tags.TRACE_ID_HIGH
_TRACESTATE = "w3c.tracestate"
_TRACE_TAGS = (tags.OTEL_TRACE_ID, tags.PARENT_ID, tags.PROPAGATION_ERROR)
"""Texts that differ from trace to trace, besides `_dd.p.*`."""


class Mapper:
    """Maps spans with one set of settings; make another one when the settings change. Thread-safe.

    Args:
        settings: Constants of the process.
        on_skipped: Called with each span that could not be mapped and the reason, on the mapping thread.
        pack: Packs a value for `map_directly`, which without it is `map_chunk`; makes that method single-threaded.
    """

    def __init__(
        self,
        settings: MappingSettings,
        on_skipped: Callable[[SpanRecord, Exception], None] | None = None,
        pack: Callable[[object], bytes] | None = None,
    ) -> None:
        self.settings = settings
        self._spans = SpanMapper(settings)
        self._on_skipped = on_skipped
        self._chunk_meta = _chunk_constants(settings)
        # Both are there unless the settings make every span take the general way.
        is_direct = pack is not None and self._spans.is_plain
        self._ordinary = OrdinarySpans(self._spans, pack) if pack is not None and is_direct else None
        self._first_tags = FirstSpanTags(self._chunk_meta, pack) if pack is not None and is_direct else None
        # The attributes that statistics looked at last, and whether a tag of the trace is among them.
        self._telling_keys: frozenset[str] | None = None
        self._tells_of_traces = False
        self._log = RateLimitedLogger(get_logger("mapping"))

    # --- chunks ------------------------------------------------------------------------------------------------------

    def map_chunk(self, segment: SegmentRecord, spans: Sequence[FinishedSpan], *, partial: bool) -> list[DDSpan]:
        """Return the Datadog spans of a chunk, the local root first when it is among them.

        A span that cannot be mapped is reported and left out; the others are returned. Nothing is raised.

        Args:
            segment: The local trace, its sampling decision made.
            spans: Finished spans of it, in order of their end; not changed.
            partial: Other spans of the segment are still open.
        """
        trace_id = segment.trace_id
        root = segment.local_root or _find_root(spans)
        chunk = self._map_spans(segment, spans, root, trace_id & MASK_64, format_trace_id(trace_id))
        if chunk:
            self.apply_chunk_tags(chunk[0], segment, partial_spans=len(spans) if partial else 0)
        return chunk

    def map_directly(
        self,
        segment: SegmentRecord,
        spans: Sequence[FinishedSpan],
        *,
        partial: bool,
        telling_keys: frozenset[str] | None = None,
    ) -> EncodedChunk | list[DDSpan]:
        """Return the same with ordinary spans as v0.4 bytes (`direct.py`); a list when there can be none.

        Args:
            segment: As for `map_chunk`.
            spans: Likewise.
            partial: Likewise.
            telling_keys: Attributes that statistics look at; `None` when there are no statistics.
        """
        ordinary, first_tags, needs_care = self._ordinary, self._first_tags, segment.needs_care
        if ordinary is None or first_tags is None or self._needs_trace_tags(segment, telling_keys):
            return self.map_chunk(segment, spans, partial=partial)
        root = segment.local_root or _find_root(spans)
        # The root is nearly always the last to end. It may be missing: it is open still, or its end was interrupted.
        first = root if root is not None and (root is spans[-1] or root in spans) else spans[0]
        is_root = first is root
        partial_spans = len(spans) if partial else 0
        try:
            tags_of_first = None
            if not (is_root and self.settings.hostname):
                tags_of_first = first_tags.encode(segment, is_root=is_root, partial_spans=partial_spans)
            pieces, count, is_first_encoded, counted, odd = ordinary.encode(
                segment, spans, first, tags_of_first, telling_keys, needs_care=needs_care
            )
        except Exception:  # what only saves time must not cost a trace
            self._log.error("direct", "a trace is mapped the long way: writing it directly failed", exc_info=True)
            return self.map_chunk(segment, spans, partial=partial)
        others: list[DDSpan] = []
        if odd:
            trace_id = segment.trace_id
            others = self._map_spans(segment, odd, root, trace_id & MASK_64, format_trace_id(trace_id))
            if not is_first_encoded:
                if not others:  # the first span cannot be mapped, and another one must carry the tags of the chunk
                    return self.map_chunk(segment, spans, partial=partial)
                self.apply_chunk_tags(others[0], segment, partial_spans=partial_spans)
        return _new(EncodedChunk, (pieces, count, others, is_first_encoded, counted))

    def map_for_stats(
        self, segment: SegmentRecord, spans: Sequence[FinishedSpan], stats_keys: frozenset[str]
    ) -> tuple[list[CountedSpan], list[DDSpan]] | None:
        """Return what statistics may count of a dropped trace, without mapping its simple spans.

        Args:
            segment: As for `map_chunk`.
            spans: Likewise.
            stats_keys: Attributes that statistics look at.

        Returns:
            What to count of simple spans, and the other spans, mapped; `None` when the chunk must be mapped as a whole.
        """
        simple = self._ordinary
        if simple is None or self._needs_trace_tags(segment, stats_keys):
            return None
        root = segment.local_root or _find_root(spans)
        try:
            counted, slow_path_spans = simple.count(
                spans, root if self.settings.hostname else None, stats_keys, needs_care=segment.needs_care
            )
        except Exception:  # as in `map_directly`; another thread may be setting an attribute still
            return None
        if not slow_path_spans:
            return counted, []
        trace_id = segment.trace_id
        mapped = self._map_spans(segment, slow_path_spans, root, trace_id & MASK_64, format_trace_id(trace_id))
        return None if len(mapped) < len(slow_path_spans) else (counted, mapped)

    def _needs_trace_tags(self, segment: SegmentRecord, stats_keys: frozenset[str] | None) -> bool:
        """Tell whether every span has further tags, or statistics look at tags that belong to the trace."""
        if stats_keys is not self._telling_keys:
            self._telling_keys, self._tells_of_traces = stats_keys, self._has_trace_tags(stats_keys or frozenset())
        return self._tells_of_traces or (segment.needs_care and bool(segment.origin or segment.members))

    def _has_trace_tags(self, keys: frozenset[str]) -> bool:
        """Tell whether a tag that belongs to the trace is among these keys; `OrdinarySpans` does not tell them."""
        return not keys.isdisjoint((*_TRACE_TAGS, *self._chunk_meta)) or any(
            key.startswith(tags.PROPAGATED_PREFIX) for key in keys
        )

    def _map_spans(
        self,
        segment: SegmentRecord,
        spans: Sequence[FinishedSpan],
        root: SpanRecord | None,
        trace_id_low: int,
        trace_id_text: str,
    ) -> list[DDSpan]:
        """Map spans one by one, the root to the front."""
        shared_meta: dict[str, str] = {}
        if segment.origin:
            shared_meta[tags.ORIGIN] = segment.origin
        if segment.members:
            shared_meta[_TRACESTATE] = ",".join([f"{key}={value}" for key, value in segment.members])
        map_span = self._spans.map_span
        chunk: list[DDSpan] = []
        for finished in spans:
            span = finished if isinstance(finished, SpanRecord) else expanded(finished, segment, SpanRecord)
            try:
                dd_span = map_span(span, trace_id_low, trace_id_text, shared_meta)
            except Exception as reason:  # one odd span must not cost the others
                self._report_skipped(span, reason)
                continue
            if span is root:
                self._apply_root_tags(dd_span, segment)
                chunk.insert(0, dd_span)
            else:
                chunk.append(dd_span)
        return chunk

    def apply_chunk_tags(self, dd_span: DDSpan, segment: SegmentRecord, *, partial_spans: int = 0) -> None:
        """Write the tags of the first span of a chunk.

        Also for the first span that is left when only single-sampled spans are sent.

        Args:
            dd_span: Changed in place.
            segment: Its local trace.
            partial_spans: Number of spans in a partial flush; 0 for a complete trace.
        """
        meta, metrics = dd_span["meta"], dd_span["metrics"]
        meta.update(self._chunk_meta)
        if segment.tags:
            meta.update(segment.tags)
        trace_id_high = segment.trace_id >> 64
        if trace_id_high:
            meta[_TRACE_ID_HIGH] = f"{trace_id_high:016x}"
        else:
            meta.pop(_TRACE_ID_HIGH, None)
        metrics[_SAMPLING_PRIORITY] = priority_of(segment.priority)
        if partial_spans:
            metrics[tags.PARTIAL_FLUSH] = float(partial_spans)
        if not metrics.keys().isdisjoint(meta):
            separate(meta, metrics)

    def _apply_root_tags(self, dd_span: DDSpan, segment: SegmentRecord) -> None:
        meta, metrics = dd_span["meta"], dd_span["metrics"]
        metrics[_SAMPLING_PRIORITY] = priority_of(segment.priority)
        if segment.rule_rate is not None:
            metrics[tags.RULE_RATE] = float(segment.rule_rate)
        if segment.agent_rate is not None:
            metrics[tags.AGENT_RATE] = float(segment.agent_rate)
        if segment.limit_rate is not None:
            metrics[tags.LIMIT_RATE] = float(segment.limit_rate)
        if segment.parent_tag:
            meta[tags.PARENT_ID] = segment.parent_tag
        if segment.propagation_error:
            meta[tags.PROPAGATION_ERROR] = segment.propagation_error
        if not metrics.keys().isdisjoint(meta):
            separate(meta, metrics)

    def _report_skipped(self, span: SpanRecord, reason: Exception) -> None:
        self._log.error("skipped", "a span could not be mapped and is lost: %s", type(reason).__name__, exc_info=True)
        if self._on_skipped is None:
            return
        try:
            self._on_skipped(span, reason)
        except Exception:  # a broken observer must not cost the chunk
            self._log.error("observer", "the observer of skipped spans failed", exc_info=True)

    def named_services(self) -> list[str]:
        """Return the services that spans named themselves, oldest first; at most some hundred."""
        return list(self._spans.named_services)

    # --- views of open spans, for the sampler ------------------------------------------------------------------------

    def service_name(self, span: SpanRecord) -> str:
        """Return the service of a span, open or finished."""
        return self._spans.names.service_name(span)

    def operation_name(self, span: SpanRecord) -> str:
        """Return the Datadog operation name of a span, open or finished."""
        return self._spans.names.operation_name(span)

    def resource_name(self, span: SpanRecord) -> str:
        """Return the Datadog resource name of a span, open or finished."""
        return self._spans.names.resource_name(span)

    def tag(self, span: SpanRecord, key: str) -> str | bool | float | None:
        """Return the raw value that a sampling rule on a tag compares; `None` when the span has no such tag.

        Source: spec/sampling.md §7.3.
        """
        return self._spans.rules.tag(span, key)


def _chunk_constants(settings: MappingSettings) -> dict[str, str]:
    """Return the constant tags of the first span of a chunk (§11)."""
    texts = {
        tags.LANGUAGE: "" if settings.otel_semantics else "python",
        tags.GIT_REPOSITORY_URL: settings.git_repository_url,
        tags.GIT_COMMIT_SHA: settings.git_commit_sha,
        tags.MAIN_PACKAGE: settings.main_package,
        tags.PROCESS_TAGS: settings.process_tags,
    }
    return {tag: text for tag, text in texts.items() if text}


def _find_root(spans: Sequence[FinishedSpan]) -> SpanRecord | None:
    """Return the first span without local parent: the local root, if it is in the chunk and the segment forgot it."""
    return next((span for span in spans if isinstance(span, SpanRecord) and span.is_local_root), None)
