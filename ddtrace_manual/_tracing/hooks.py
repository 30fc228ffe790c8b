"""What an engine is given: the functions of other layers, and the limits of spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanContext, TraceState

from ddtrace_manual._model import RANDOM_FLAG, PropagationState, RemoteContext, SegmentRecord, SpanRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ddtrace_manual._base.context import Context
    from ddtrace_manual._model.links import ReadHeaders

    from .segment import Segment
    from .span import Span

__all__ = ["EngineHooks", "SpanLimitValues", "ignore_chunk", "keep_everything"]


def ignore_chunk(segment: Segment, spans: list[Span], *, partial: bool) -> None:
    """Drop a chunk: no exporter is attached."""


def keep_everything(segment: SegmentRecord, _root: SpanRecord) -> None:
    """Decide without a sampler: keep by default."""
    if segment.priority is None:
        segment.priority = 1
        segment.tags = {**(segment.tags or {}), "_dd.p.dm": "-0"}
        segment.probability = (1.0, True)
    segment.decided = True


def _force(segment: SegmentRecord, keep: bool) -> None:  # the signature of the sampler's function
    """Decide by hand without a sampler."""
    segment.priority = 2 if keep else -1
    segment.tags = {**(segment.tags or {}), "_dd.p.dm": "-4"}
    segment.probability = None
    segment.threshold_cleared = segment.decided = True


def _no_trace_state(_state: PropagationState, _span_id: int) -> TraceState:
    return TraceState()


def _remote_by_flag(context: SpanContext) -> RemoteContext:
    """Read a foreign parent without a propagator: the flag is the decision."""
    remote = RemoteContext(context.trace_id, context.span_id, flags=int(context.trace_flags), span_is_datadog=False)
    remote.priority = 1 if context.trace_flags.sampled else 0
    remote.is_random = bool(context.trace_flags & RANDOM_FLAG)
    return remote


@dataclass(slots=True)
class EngineHooks:
    """What the layers above and beside hand in; see `_setup/lifecycle.py`."""

    export: Callable[..., object] = ignore_chunk
    """(segment, spans, *, partial): takes over a finished chunk. Must not block or raise."""
    decide: Callable[[SegmentRecord, SpanRecord], None] = keep_everything
    """Makes the sampling decision; called once per segment, under the decision lock."""
    decide_manual: Callable[[SegmentRecord, bool], None] = _force
    """Overrides the decision; called under the decision lock."""
    display_trace_state: Callable[[PropagationState, int], TraceState] = _no_trace_state
    """(state, span id) → the trace state OpenTelemetry shows."""
    remote_of: Callable[[SpanContext], RemoteContext] = _remote_by_flag
    """Reads the context of a parent that a foreign propagator extracted."""
    baggage_tags: Callable[[Context], Mapping[str, str]] | None = None
    """(context) → tags for a local root, from its baggage."""
    read_headers: ReadHeaders | None = None
    """Reads the headers that a span is linked to."""
    takes_compact: bool = False
    """`export` takes finished spans as tuples too, see `_model/finished_span.py`."""
    note_places: bool = False
    """Remember where each span is started, for the log about those that are never ended."""


@dataclass(frozen=True, slots=True)
class SpanLimitValues:
    """Limits of a provider; `None` is unlimited."""

    max_values: int | None = 128
    max_value_length: int | None = None
    max_events: int | None = 128
    max_links: int | None = 128
    max_event_attributes: int | None = 128
    max_link_attributes: int | None = 128
    max_attribute_length: int | None = None
    max_frames: int = 30
