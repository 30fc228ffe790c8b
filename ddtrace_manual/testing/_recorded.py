"""One finished span as tests look at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from ddtrace_manual._base import tags
from ddtrace_manual._model import STATUS_ERROR

if TYPE_CHECKING:
    from ddtrace_manual._mapping import Mapper
    from ddtrace_manual._model import DDSpan, EventRecord, LinkRecord
    from ddtrace_manual._tracing import Span

__all__ = ["RecordedSpan", "RecordedSpans"]


class RecordedSpans(Protocol):
    """What a recorded span asks its recorder for."""

    @property
    def mapper(self) -> Mapper:
        """What turns spans into Datadog's."""
        ...

    def mapped(self, span: Span) -> DDSpan:
        """Return a span as the Agent would get it."""
        ...

    def __iter__(self) -> Iterator[RecordedSpan]:
        """Iterate over all recorded spans, by start."""
        ...


class RecordedSpan:
    """A finished span: what the application set, and what Datadog makes of it.

    Two of them are equal when they show the same span.

    Attributes:
        span: The span itself; `opentelemetry.sdk.trace.ReadableSpan` in every respect.
    """

    __slots__ = ("_recorder", "span")

    def __init__(self, span: Span, recorder: RecordedSpans) -> None:
        self.span = span
        self._recorder = recorder

    # -- names ---------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Operation name in Datadog."""
        return self._recorder.mapper.operation_name(self.span)

    @property
    def otel_name(self) -> str:
        """Name as it was given: for spans of the OpenTelemetry API usually the resource name in Datadog."""
        return self.span.otel_name

    @property
    def resource(self) -> str:
        """Resource name in Datadog."""
        return self._recorder.mapper.resource_name(self.span)

    @property
    def service(self) -> str:
        """Service in Datadog."""
        return self._recorder.mapper.service_name(self.span)

    @property
    def span_type(self) -> str:
        """Span type in Datadog, for example `web`; "" for none."""
        return self.dd.get("type", "")

    @property
    def kind(self) -> str:
        """`internal`, `server`, `client`, `producer` or `consumer`."""
        return self.span.otel_kind.name.lower()

    # -- what was recorded -----------------------------------------------------------------------------

    @property
    def tags(self) -> dict[str, Any]:  # Any: values of every type
        """Tags as the application set them, reserved ones (`service.name`, `resource.name` …) included."""
        return dict(self.span.values)

    def tag(self, key: str) -> Any:  # Any: values of every type
        """Return a tag as it was set, else as Datadog sees it (`error.type`, `http.status_code` …), else `None`."""
        if key in self.span.values:
            return self.span.values[key]
        dd_span = self.dd
        return dd_span["meta"].get(key, dd_span["metrics"].get(key))

    @property
    def error(self) -> bool:
        """Whether the span is an error."""
        return self.span.status_code == STATUS_ERROR

    @property
    def error_type(self) -> str | None:
        """Type of the exception or whatever `set_error` was given."""
        return self.dd["meta"].get(tags.ERROR_TYPE)

    @property
    def error_message(self) -> str | None:
        """Text of the exception or whatever `set_error` was given."""
        return self.dd["meta"].get(tags.ERROR_MESSAGE)

    @property
    def error_stack(self) -> str | None:
        """Traceback, on the innermost span that saw the exception."""
        return self.dd["meta"].get(tags.ERROR_STACK)

    @property
    def events(self) -> list[EventRecord]:
        """Events in order: `name`, `time_ns`, `attributes`."""
        return list(self.span.event_records or ())

    @property
    def links(self) -> list[LinkRecord]:
        """Links in order: `trace_id`, `span_id`, `attributes`, `tracestate`, `flags`."""
        return list(self.span.link_records or ())

    # -- place and time -----------------------------------------------------------------------------

    @property
    def trace_id(self) -> int:
        """128-bit trace id."""
        return self.span.trace_id

    @property
    def span_id(self) -> int:
        """64-bit span id."""
        return self.span.span_id

    @property
    def parent_id(self) -> int:
        """Span id of the parent, here or in another process; 0 for none."""
        return self.span.parent_id

    @property
    def parent(self) -> RecordedSpan | None:
        """The parent, if it was recorded; an open span is not."""
        return next(iter(each for each in self._recorder if each.is_parent_of(self)), None)

    @property
    def children(self) -> list[RecordedSpan]:
        """Finished children, in the order of their start."""
        return [each for each in self._recorder if self.is_parent_of(each)]

    def is_parent_of(self, other: RecordedSpan) -> bool:
        """Whether `other` is a child of this span."""
        return other.parent_id == self.span_id and other.trace_id == self.trace_id

    @property
    def start_ns(self) -> int:
        """Start, in nanoseconds since the Unix epoch."""
        return self.span.start_ns

    @property
    def duration_ns(self) -> int:
        """Duration, in nanoseconds."""
        return (self.span.end_ns or 0) - self.span.start_ns

    # -- Datadog -----------------------------------------------------------------------------------

    @property
    def priority(self) -> int | None:
        """Sampling priority of the trace: kept iff above 0."""
        self.span.segment.decide()
        return self.span.segment.priority

    @property
    def dd(self) -> DDSpan:
        """The span as it would be sent to the Agent. Reading it makes the sampling decision of its trace."""
        return self._recorder.mapped(self.span)

    def matches(self, criteria: Mapping[str, Any]) -> bool:  # Any: one value for each criterion
        """Whether every criterion of `SpanRecorder.find_all` holds."""
        for key, wanted in criteria.items():
            if key == "name":
                if wanted not in (self.name, self.otel_name):
                    return False
            elif key == "tags":
                if not all(_is_same(self.tag(name), value) for name, value in wanted.items()):
                    return False
            elif getattr(self, key) != wanted:
                return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordedSpan) and other.span is self.span

    def __hash__(self) -> int:
        return hash(id(self.span))

    def __repr__(self) -> str:
        parts = [repr(self.name)]
        if self.resource != self.name:
            parts.append(f"resource={self.resource!r}")
        if self.error:
            parts.append(f"error={self.error_type!r}")
        return f"<RecordedSpan {' '.join(parts)} tags={self.tags}>"


def _is_same(actual: object, expected: object) -> bool:
    """Compare a recorded value, whose sequences have become tuples, with one that a test writes."""
    if isinstance(expected, Mapping):
        return (
            isinstance(actual, Mapping)
            and actual.keys() == expected.keys()
            and all(_is_same(actual[key], value) for key, value in expected.items())
        )
    if isinstance(expected, (list, tuple)):
        return (
            isinstance(actual, tuple)
            and len(actual) == len(expected)
            and all(map(_is_same, cast("tuple[object, ...]", actual), expected))
        )
    if isinstance(expected, bool) != isinstance(actual, bool):
        return False
    return bool(actual == expected)
