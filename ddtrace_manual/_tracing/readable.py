"""What OpenTelemetry reads of a span, built when it is asked for.

Processors and exporters get a true `ReadableSpan` of the SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope
from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState
from opentelemetry.trace import Span as OtelSpan

from ddtrace_manual._base import tags
from ddtrace_manual._base.errors import safe_str
from ddtrace_manual._base.values import is_a
from ddtrace_manual._model import RANDOM_FLAG
from ddtrace_manual._model.links import plain_span_context
from ddtrace_manual._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtrace_manual._model import EventRecord, LinkRecord, SegmentRecord

    from .otel_view import OtelView

__all__ = [
    "FACADE_SCOPE",
    "ResourceName",
    "context_of",
    "event_of",
    "info_of",
    "link_of",
    "parent_context",
    "snapshot",
    "trace_flags",
    "visible_attributes",
]


FACADE_SCOPE = InstrumentationScope("ddtrace_manual", __version__)
"""Instrumentation scope of spans made by the facade, for OpenTelemetry exporters; Datadog spans do not carry it."""


class ResourceName(str, Resource):
    """A span's resource name that can be read as the provider's OpenTelemetry `Resource` as well.

    Both worlds call it `span.resource`: for users of the facade it is Datadog's resource name, for
    span processors that see a live span it is the SDK's `Resource`. It equals texts as the name does, and
    resources as the provider's does; its hash is that of the resource, so that exporters which group spans by
    resource make one group of them. `str(span.resource)` is the name alone, for sets of names and to compare
    two spans. Spans handed to exporters carry the plain `Resource`.
    """

    __slots__ = ("_otel",)
    _otel: Resource

    @classmethod
    def of(cls, name: object, resource: Resource) -> ResourceName:
        """Return `name`, remembering the provider's resource."""
        made = str.__new__(cls, name if type(name) is str else safe_str(name))
        made._otel = resource
        return made

    def __init__(self, *_: object) -> None:
        """Nothing: the string is complete, the resource is looked up."""

    @property
    def attributes(self) -> Any:  # Any: the SDK's attribute mapping
        """Attributes of the OpenTelemetry resource."""
        return self._otel.attributes

    @property
    def schema_url(self) -> str:
        """Schema URL of the OpenTelemetry resource."""
        return self._otel.schema_url

    def merge(self, other: Resource) -> Resource:
        """Merge the OpenTelemetry resource with another."""
        return self._otel.merge(other)

    def to_json(self, indent: int | None = 4) -> str:
        """Return the OpenTelemetry resource as JSON."""
        return self._otel.to_json(indent)

    @property
    def _attributes(self) -> Any:  # type: ignore[override] # read-only here
        return self._otel._attributes

    @property
    def _schema_url(self) -> str:  # type: ignore[override] # read-only here
        return self._otel._schema_url

    def __eq__(self, other: object) -> bool:
        if is_a(other, Resource):
            return self._otel == (other._otel if type(other) is ResourceName else other)
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._otel)

    __repr__ = str.__repr__


def visible_attributes(span: OtelView) -> dict[str, Any]:  # Any: values of every type
    """Return the attributes; a span of the facade shows its operation name among them."""
    values = span.values
    if span.operation_name is None or tags.OPERATION_NAME in values:
        return values
    return {tags.OPERATION_NAME: span.operation_name, **values}


def context_of(span: object) -> SpanContext | None:
    """Return the valid span context of any OpenTelemetry span, or `None`."""
    try:
        return plain_span_context(span.get_span_context()) if isinstance(span, OtelSpan) else None
    except Exception:  # a span of another library, or an object that refuses to be asked
        return None


def trace_flags(segment: SegmentRecord) -> TraceFlags:
    """Return the W3C trace flags of a segment: sampled and random."""
    flags = 1 if (segment.priority or 0) > 0 else 0
    return TraceFlags(flags | RANDOM_FLAG if segment.is_random else flags)


def parent_context(span: OtelView) -> SpanContext | None:
    """Return the parent's span context, rebuilt from ids where the parent is remote or gone."""
    if not span.parent_id:
        return None
    parent = span.local_parent  # read once: it goes when the span ends
    if parent is not None:
        return parent.get_span_context()
    given = context_of(span.given_parent)
    if given is not None and given.span_id == span.parent_id:
        return given
    segment = span.segment
    if not span.is_local_root:
        segment.decide()
    flags = trace_flags(segment)
    if span.is_local_root:
        return SpanContext(segment.trace_id, span.parent_id, True, flags)
    state = segment.engine.display_trace_state(segment, span.parent_id)
    return SpanContext(segment.trace_id, span.parent_id, False, flags, state)


def event_of(record: EventRecord) -> Event:
    """Return an event as an OpenTelemetry object."""
    return Event(record.name, _bounded(record.attributes, record.dropped_attributes), record.time_ns)


def link_of(record: LinkRecord) -> Link:
    """Return a link as an OpenTelemetry object."""
    state = TraceState.from_header([record.tracestate]) if record.tracestate else None
    flags = TraceFlags((record.flags or 0) & 0xFF)
    context = SpanContext(record.trace_id, record.span_id, record.is_remote, flags, state)
    return Link(context, _bounded(record.attributes, record.dropped_attributes))


def info_of(scope: InstrumentationScope) -> InstrumentationInfo:
    """Return the deprecated form of a scope, without the warning of its constructor."""
    info = object.__new__(InstrumentationInfo)
    # Hiding the warning instead would change the filters of all threads, for every span.
    info._name, info._version, info._schema_url = scope.name, scope.version or "", scope.schema_url or ""
    return info


def snapshot(span: OtelView) -> ReadableSpan:
    """Return the span as the SDK hands it to processors and exporters."""
    events: BoundedList[Event] = BoundedList(span.max_events)
    events.extend(span.events)
    events.dropped = span.dropped_event_records
    links: BoundedList[Link] = BoundedList(span.max_links)
    links.extend(span.links)
    links.dropped = span.dropped_link_records
    return ReadableSpan(
        name=span.otel_name,
        context=span.get_span_context(),
        parent=parent_context(span),
        resource=span.segment.engine.resource,
        attributes=_bounded(visible_attributes(span).copy(), span.dropped_values),
        events=events,
        links=links,
        kind=span.otel_kind,
        instrumentation_info=info_of(span.instrumentation_scope),
        status=span.status,
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=span.instrumentation_scope,
    )


def _bounded(values: Mapping[str, Any] | None, dropped: int) -> BoundedAttributes:  # Any: values of every type
    """Return attributes in the SDK's container, with the count of those that were dropped."""
    bounded = BoundedAttributes(attributes=values, immutable=True)
    bounded.dropped = dropped
    return bounded
