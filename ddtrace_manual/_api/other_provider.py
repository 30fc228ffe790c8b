"""Spans of the facade where the engine is not in charge.

`NoopSpan` before `configure()` and while tracing is disabled; `ForeignSpan` over another
OpenTelemetry provider, doing the nearest thing OpenTelemetry can express.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext
from opentelemetry.trace.status import Status, StatusCode

from ddtrace_manual._base import errors
from ddtrace_manual._base import tags as _tags
from ddtrace_manual._base.values import clean_key, clean_mapping, clean_value, is_true, nanoseconds
from ddtrace_manual._model.links import link_record, otel_link
from ddtrace_manual._model.types import LinkTarget, Span, Tags

from .runtime import RUNTIME

__all__ = ["NOOP_SPAN", "ForeignSpan", "NoopSpan", "as_facade_span"]

_logger = logging.getLogger("ddtrace_manual.tracing")


class ForeignSpan(Span):
    """A span of another OpenTelemetry provider, with Datadog's vocabulary on top.

    `keep` and `drop` set the attributes `manual.keep` and `manual.drop`, which the Agent's
    OpenTelemetry receiver understands. Tags cannot be read back.
    """

    source = None
    """No engine made it."""

    def __init__(self, wrapped: trace.Span) -> None:
        self._wrapped = wrapped

    @property
    def wrapped(self) -> trace.Span:
        """The provider's own span."""
        return self._wrapped

    def _call(self, method: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Call a method of the provider's span, whose failures stay here."""
        try:
            method(*args, **kwargs)
        except Exception:
            _logger.debug("The span of another provider failed.", exc_info=True)

    def set_tag(self, key: str, value: Any = None) -> None:  # Any: see Tags
        """Set one attribute; `None` does nothing, since OpenTelemetry cannot remove one."""
        if value is not None:
            self.set_attribute(key, value)

    def get_tag(self, key: str) -> Any:  # Any: see Tags
        """Return an attribute where the provider's spans can be read, else `None`."""
        attributes = getattr(self._wrapped, "attributes", None)
        try:
            return attributes.get(key) if isinstance(attributes, Mapping) else None
        except Exception:  # the hash of a key that is no text
            return None

    def set_error(
        self,
        exc: BaseException | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the field's standard term
        message: str | None = None,
        stack: str | None = None,
    ) -> None:
        """Mark the span as failed."""
        if exc is None and type is None and message is None and stack is None:
            exc = sys.exc_info()[1]
        if exc is not None:
            self._call(self._wrapped.record_exception, exc)
        for key, value in ((_tags.ERROR_TYPE, type), (_tags.ERROR_MESSAGE, message), (_tags.ERROR_STACK, stack)):
            if value is not None:
                self.set_attribute(key, value)
        text = None if message is None and exc is None else errors.safe_str(exc if message is None else message)
        self._call(self._wrapped.set_status, Status(StatusCode.ERROR, text))

    @property
    def error(self) -> int:
        """1 where the provider's span can be read and is marked as failed, else 0."""
        status = getattr(self._wrapped, "status", None)
        return int(getattr(status, "status_code", None) is StatusCode.ERROR)

    @error.setter
    def error(self, value: object) -> None:
        """Mark the span as failed; clearing makes its status `OK`, since OpenTelemetry cannot unset one."""
        if is_true(value):
            self._call(self._wrapped.set_status, Status(StatusCode.ERROR))
        elif self.error:
            self._call(self._wrapped.set_status, Status(StatusCode.OK))

    def record_exit(self, exc: BaseException) -> None:
        """Record that an exception left the span."""
        self._call(self._wrapped.record_exception, exc, escaped=True)
        self._call(self._wrapped.set_status, Status(StatusCode.ERROR, errors.safe_str(exc)))

    def keep(self) -> None:
        """Ask for the trace to be kept."""
        self.set_attribute(_tags.MANUAL_KEEP, True)

    def drop(self) -> None:
        """Ask for the trace to be dropped."""
        self.set_attribute(_tags.MANUAL_DROP, True)

    @property
    def trace_id(self) -> int:
        """128-bit trace id."""
        return self._wrapped.get_span_context().trace_id

    @property
    def span_id(self) -> int:  # type: ignore[override] # read from the wrapped span
        """64-bit span id."""
        return self._wrapped.get_span_context().span_id

    @property
    def service(self) -> str | None:
        """Attribute `service.name`."""
        value = self.get_tag(_tags.SERVICE_NAME)
        return value if isinstance(value, str) else None

    @service.setter
    def service(self, value: str | None) -> None:
        self.set_tag(_tags.SERVICE_NAME, value)

    @property
    def resource(self) -> Any:  # Any: see Span.resource
        """Attribute `resource.name`."""
        return self.get_tag(_tags.RESOURCE_NAME)

    @resource.setter
    def resource(self, value: str | None) -> None:
        self.set_tag(_tags.RESOURCE_NAME, value)

    @property
    def span_type(self) -> str | None:
        """Attribute `span.type`."""
        value = self.get_tag(_tags.SPAN_TYPE)
        return value if isinstance(value, str) else None

    @span_type.setter
    def span_type(self, value: str | None) -> None:
        self.set_tag(_tags.SPAN_TYPE, value)

    # The rest of the OpenTelemetry span, passed through.

    def end(self, end_time: int | None = None) -> None:
        """End the span."""
        self._call(self._wrapped.end, end_time if end_time is None or type(end_time) is int else nanoseconds(end_time))

    def get_span_context(self) -> SpanContext:
        """Return the span context."""
        return self._wrapped.get_span_context()

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:  # Any: see Tags
        """Set several attributes."""
        self._call(self._wrapped.set_attributes, clean_mapping(attributes))

    def set_tags(self, tags: Tags) -> None:
        """Set several attributes."""
        for key, value in clean_mapping(tags).items():
            self.set_tag(key, value)

    def set_attribute(self, key: str, value: Any) -> None:  # Any: see Tags
        """Set one attribute."""
        name = key if type(key) is str else clean_key(key)
        if name:
            self._call(self._wrapped.set_attribute, name, clean_value(value))

    def add_event(
        self,
        name: str,
        attributes: Mapping[str, Any] | None = None,  # Any: see Tags
        timestamp: int | None = None,
    ) -> None:
        """Add an event."""
        time_ns = timestamp if timestamp is None or type(timestamp) is int else nanoseconds(timestamp)
        self._call(self._wrapped.add_event, errors.safe_str(name), clean_mapping(attributes), time_ns)

    def add_link(self, context: LinkTarget, attributes: Mapping[str, Any] | None = None) -> None:  # Any: see Tags
        """Link to whatever `context` names."""
        record = link_record(context, attributes, RUNTIME.extract)
        if record is not None:
            link = otel_link(record)
            self._call(self._wrapped.add_link, link.context, clean_mapping(link.attributes))

    def update_name(self, name: str) -> None:
        """Rename the span."""
        self._call(self._wrapped.update_name, errors.safe_str(name))

    def is_recording(self) -> bool:
        """Return whether the span is still open and recorded."""
        return self._wrapped.is_recording()

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status."""
        self._call(self._wrapped.set_status, status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,  # Any: see Tags
        timestamp: int | None = None,
        escaped: bool = False,  # the OpenTelemetry signature
    ) -> None:
        """Add an `exception` event."""
        time_ns = timestamp if timestamp is None or type(timestamp) is int else nanoseconds(timestamp)
        self._call(self._wrapped.record_exception, exception, clean_mapping(attributes), time_ns, escaped)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._wrapped!r})"


class NoopSpan(ForeignSpan):
    """A span that does nothing; its ids are 0 unless it stands for a remote span."""

    def __init__(self, context: SpanContext = INVALID_SPAN_CONTEXT) -> None:
        super().__init__(trace.NonRecordingSpan(context))

    # What every traced block calls comes to the same without asking the wrapped span (make bench-features: disabled).

    def set_tag(self, key: str, value: Any = None) -> None:  # Any: see Tags
        """Do nothing."""

    def end(self, end_time: int | None = None) -> None:
        """Do nothing."""


NOOP_SPAN = NoopSpan()


def as_facade_span(span: object) -> Span:
    """Return `span` itself if it is the facade's, else a wrapper; a no-op span for anything that is no span."""
    if isinstance(span, Span):
        return span
    if not isinstance(span, trace.Span):
        return NOOP_SPAN
    if isinstance(span, trace.NonRecordingSpan):
        context = span.get_span_context()
        return NoopSpan(context) if context.is_valid else NOOP_SPAN
    return ForeignSpan(span)
