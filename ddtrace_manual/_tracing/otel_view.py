"""What OpenTelemetry reads of a span: properties that build span contexts, events and statuses when asked.

`SpanRecord` holds the data, `types.Span` is the vocabulary users see, the SDK's `Span` is what
`isinstance` checks, processors and instrumentation packages expect. The SDK's constructor is never
run: the engine makes the object and sets the few fields that differ from the class-level defaults.
"""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace import Span as SDKSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState
from opentelemetry.trace.status import Status, StatusCode

from ddtrace_manual._model import SpanRecord, types

from . import readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope

    from ddtrace_manual._model import PropagationState

    from .segment import Segment
    from .span import Span
    from .span_factory import SpanSource

__all__ = ["OtelView"]

_logger = logging.getLogger("ddtrace_manual.tracing")


class OtelView(SpanRecord, types.Span, SDKSpan):
    """The readable half of a span of the engine."""

    if TYPE_CHECKING:

        def __init__(self) -> None: ...

    else:
        # Those of the SDK refuse; and calling the class so costs less than `object.__new__(cls)` (bench: ten-span).
        __new__ = object.__new__
        __init__ = object.__init__

    # The engine's own types, narrower than those of SpanRecord.
    segment: Segment  # pyright: ignore[reportIncompatibleVariableOverride]
    local_parent: Span | None  # pyright: ignore[reportIncompatibleVariableOverride]
    values: dict[str, Any]  # pyright: ignore[reportIncompatibleVariableOverride] # Any: see values.py

    # Limits and switches that differ per provider live on a subclass made by the provider, so that
    # a span reads them without holding them (bench: ten-span).
    max_values: int | None = 128
    max_value_length: int | None = None
    max_events: int | None = 128
    max_links: int | None = 128
    max_event_attributes: int | None = 128
    max_link_attributes: int | None = 128
    max_attribute_length: int | None = None
    max_frames = 30

    source: SpanSource | None = None
    """What it was made with, if it can be handed to the exporter as a tuple, see `_model/finished_span.py`:
    unset by whatever a tuple has no place for."""
    child_source: SpanSource | None = None
    """What its children are made with the short way, see `source.py`: unset at its end, and when it gets a service of
    its own, which children take over."""
    dropped_values = 0
    dropped_event_records = 0
    dropped_link_records = 0
    given_parent: object = None
    """The non-recording span that was given as parent, for its span context."""
    failed_child_id = 0
    """Span id of the child whose exception was seen last; its exception is told only once in full."""
    _context_cache: SpanContext | None = None
    _context_tags: dict[str, str] | None = None
    """Propagated tags that `_context_cache` was made with."""
    started_at = ""
    """Where in the application it was started, for a debug log; see `EngineHooks.note_places`."""
    is_reported = False
    """A warning has named it as never ended."""
    _record_exception = True
    _set_status_on_exception = True

    def get_span_context(self) -> SpanContext:
        """Return the span context; its flags are final, so this makes the sampling decision."""
        segment = self.segment
        segment.decide()
        cached = self._context_cache
        flags = readable.trace_flags(segment)
        if cached is not None and cached.trace_flags == flags and self._context_tags == segment.tags:
            return cached
        state: TraceState = segment.engine.display_trace_state(segment, self.span_id)
        cached = SpanContext(segment.trace_id, self.span_id, False, flags, state)
        self._context_cache = cached
        self._context_tags = dict(segment.tags) if segment.tags is not None else None
        return cached

    def propagation_state(self) -> tuple[int, int, PropagationState]:
        """Return trace id, span id and what travels with the trace; makes the sampling decision."""
        segment = self.segment
        if not segment.decided:
            segment.decide()
        return segment.trace_id, self.span_id, segment

    @property
    def context(self) -> SpanContext:
        """The span context."""
        return self.get_span_context()

    _context = context

    @property
    def name(self) -> str:
        """OpenTelemetry name."""
        return self.otel_name

    _name = name

    @property
    def kind(self) -> SpanKind:
        """OpenTelemetry kind."""
        return self.otel_kind

    _kind = kind

    @property
    def parent(self) -> SpanContext | None:
        """Span context of the parent, or `None`."""
        return readable.parent_context(self)

    _parent = parent

    @property
    def start_time(self) -> int:
        """Start, in nanoseconds since the Unix epoch."""
        return self.start_ns

    _start_time = start_time

    @property
    def end_time(self) -> int | None:
        """End, in nanoseconds since the Unix epoch; `None` while open."""
        return self.end_ns

    _end_time = end_time

    @property
    def status(self) -> Status:
        """OpenTelemetry status."""
        return Status(StatusCode(self.status_code), self.status_description)

    _status = status

    @property
    def attributes(self) -> Mapping[str, Any]:  # Any: values of every type
        """Read-only view of the attributes."""
        return MappingProxyType(readable.visible_attributes(self))

    @property
    def _attributes(self) -> Mapping[str, Any]:  # type: ignore[override] # read-only here  # Any: values of every type
        return readable.visible_attributes(self)

    @property
    def events(self) -> Sequence[Event]:
        """Events as OpenTelemetry objects."""
        return tuple(readable.event_of(record) for record in self.event_records or ())

    _events = events

    @property
    def links(self) -> Sequence[Link]:
        """Links as OpenTelemetry objects."""
        return tuple(readable.link_of(record) for record in self.link_records or ())

    _links = links

    @property
    def dropped_attributes(self) -> int:
        """How many attributes were dropped."""
        return self.dropped_values

    @property
    def dropped_events(self) -> int:
        """How many events were dropped."""
        return self.dropped_event_records

    @property
    def dropped_links(self) -> int:
        """How many links were dropped."""
        return self.dropped_link_records

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """Scope of the tracer that made the span."""
        return self.scope if self.scope is not None else readable.FACADE_SCOPE

    _instrumentation_scope = instrumentation_scope

    @property
    def instrumentation_info(self) -> InstrumentationInfo:
        """Deprecated form of `instrumentation_scope`."""
        return readable.info_of(self.instrumentation_scope)

    _instrumentation_info = instrumentation_info

    @property
    def _resource(self) -> Resource:  # type: ignore[override] # read-only here
        return self.segment.engine.resource

    def _readable_span(self) -> ReadableSpan:
        return readable.snapshot(self)

    def to_json(self, indent: int | None = 4) -> str:
        """Return the span as the SDK prints it."""
        return str(readable.snapshot(self).to_json(indent))

    def start(self, start_time: int | None = None, parent_context: Context | None = None) -> None:  # the SDK signature
        """Refuse: a span of the engine is started when it is made."""
        _logger.warning("Calling start() on a started span.")

    def __repr__(self) -> str:
        return f'Span(name="{self.otel_name}", trace_id={self.trace_id:032x}, span_id={self.span_id:016x})'
