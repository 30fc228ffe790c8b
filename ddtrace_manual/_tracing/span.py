"""The recording span: an OpenTelemetry SDK span that costs little until somebody asks for more.

What can be read of it is in `otel_view.py`; here is what changes it.

Thread-safety: ending is claimed by one atomic step (see segment.py); setting values relies on the atomicity of
single dict and list operations.
"""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry.trace.status import Status, StatusCode

from ddtrace_manual._base import errors
from ddtrace_manual._base import tags as _tags
from ddtrace_manual._base.errors import safe_str
from ddtrace_manual._base.values import is_true
from ddtrace_manual._model import STATUS_ERROR, STATUS_OK, STATUS_UNSET, EventRecord, LinkRecord
from ddtrace_manual._model.links import link_record

from . import readable
from .otel_view import OtelView
from .values import clean_items, clean_key, clean_value, items_of, nanoseconds, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import SpanKind

    from ddtrace_manual._model.types import LinkTarget


__all__ = ["NOTED_KEYS", "Span", "describe_failure"]

_logger = logging.getLogger("ddtrace_manual.tracing")

_MARK = "_ddtrace_manual_span_id"
_UNCHARGED_VALUES = 8
_UNCHARGED_CHARS = 64
"""What the queue charges for every span covers so many attributes of so many characters."""
NOTED_KEYS = frozenset({_tags.MANUAL_KEEP, _tags.MANUAL_DROP, _tags.SERVICE_NAME, "datadog.service", ""})
"""Attributes that are orders, that concern other spans too, or that are none; see `Span._note`."""
_plain_keys: dict[str, str] = {}
"""Keys met before that are short texts and none of those, by themselves, so that most keys are looked at once (bench:
ten-span). It starts again when full."""
_plain_key = _plain_keys.get
_MAX_PLAIN_KEYS, _MAX_PLAIN_KEY_CHARS = 1_000, 100


def describe_failure(exc: BaseException) -> str:
    """Return the status description OpenTelemetry gives a span that an exception left."""
    return f"{errors.class_name(exc)}: {safe_str(exc)}"


class Span(OtelView):
    """A span of the engine. Made by `Engine.start` and in the short way (`source.py`), never directly."""

    # -- setting values ------------------------------------------------------------------------

    def set_attribute(self, key: str, value: Any = None) -> None:  # Any: values of every type
        """Set one attribute; see `docs/reference/attributes.md` for what becomes of each type.

        Keys that are empty or no strings are dropped, as is the oldest attribute beyond 128.
        """
        if self.end_ns is not None and self._refuse("Setting attribute on ended span."):
            return
        try:
            plain = _plain_key(key)
            if plain is not None:
                # Short ordinary values go straight into the dict (bench: ten-span).
                cls = value.__class__
                values = self.values
                if len(values) < _UNCHARGED_VALUES and (
                    (cls is str and len(value) <= _UNCHARGED_CHARS) or cls is int or cls is bool or cls is float
                ):
                    values[plain] = value
                    return
        except Exception:  # the hash of a key that is no text, or the class of a value
            self._set_odd_key(key, value)
        else:
            self._set_any(key, value)

    set_tag = set_attribute

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:  # Any: values of every type
        """Set several attributes."""
        if self.end_ns is not None and self._refuse("Setting attribute on ended span."):
            return
        for key, value in items_of(attributes):
            self.set_attribute(key if type(key) is str else clean_key(key), value)  # type: ignore[arg-type] # None is refused there

    def set_tags(self, tags: Mapping[str, Any]) -> None:  # Any: values of every type
        """Set several tags."""
        self.set_attributes(tags)

    def get_tag(self, key: str) -> Any:  # Any: values of every type
        """Return the value of a tag as it was set, or `None`."""
        try:
            return self.values.get(key)
        except Exception:  # the hash of a key that is no text
            return None

    def add_event(
        self,
        name: str,
        attributes: Mapping[str, Any] | None = None,  # Any: values of every type
        timestamp: int | None = None,
    ) -> None:
        """Add an event; the oldest beyond 128 is dropped.

        Args:
            name: What happened.
            attributes: Details; at most 128 are kept.
            timestamp: Nanoseconds since the Unix epoch; default: now.
        """
        if self.end_ns is not None and self._refuse("Tried calling _add_event on an ended span."):
            return
        kept, dropped = clean_items(attributes, self.max_event_attributes, self.max_attribute_length)
        segment = self.segment
        text = name if type(name) is str else safe_str(name)
        segment.reserve_bytes(size_of(kept))
        segment.charge_text(text)
        time_ns = timestamp if timestamp is None or type(timestamp) is int else nanoseconds(timestamp)
        if time_ns is None:
            time_ns = segment.engine.monotonic_ns() + segment.clock_offset_ns
        self._append_event(EventRecord(text, time_ns, kept, dropped))

    def add_link(
        self,
        context: LinkTarget,
        attributes: Mapping[str, Any] | None = None,  # Any: values of every type
    ) -> None:
        """Link to whatever `context` names; the oldest beyond 128 is dropped. See `_types.Span.add_link`."""
        if self.end_ns is not None and self._refuse("Tried calling _add_link on an ended span."):
            return
        link = link_record(context, attributes, self.segment.engine.hooks.read_headers)
        if link is not None:
            kept, dropped = clean_items(link.attributes, self.max_link_attributes, self.max_attribute_length)
            self.append_link(replace(link, attributes=kept, dropped_attributes=dropped))

    def append_link(self, link: LinkRecord) -> None:
        """Add a link that is already in recorded form."""
        self.segment.reserve_bytes(size_of(link.attributes))
        self.segment.charge_text(link.tracestate)
        self.dropped_link_records += self._append("link_records", link, self.max_links)

    def update_name(self, name: str) -> None:
        """Rename the OpenTelemetry span; the resource follows unless it was set."""
        if self.end_ns is not None and self._refuse("Tried calling update_name on an ended span."):
            return
        text = name if type(name) is str else safe_str(name)
        self.segment.charge_text(text)
        self.otel_name = text

    def set_kind(self, kind: SpanKind) -> None:
        """Set the kind; only while the span is being started."""
        self.source = None
        self.otel_kind = kind

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status: `OK` is final, `UNSET` is ignored, a description is kept only for `ERROR`."""
        if self.end_ns is not None and self._refuse("Tried calling set_status on an ended span."):
            return
        status_code: object = status
        if issubclass(type(status), Status):
            if description is not None:
                _logger.warning(
                    "Description %s ignored. Use either `Status` or `(StatusCode, Description)`",
                    safe_str(description),
                )
            status_code, description = status.status_code, status.description  # type: ignore[union-attr] # it is a Status
        if type(status_code) is not StatusCode:
            return  # callers without type checks
        code = status_code.value
        if self.status_code == STATUS_OK or code == STATUS_UNSET:
            return
        self.source = None
        self.status_code = code
        text: Any = description  # Any: callers without type checks
        is_text = code == STATUS_ERROR and issubclass(type(text), str)
        self.status_description = str.__str__(text) if is_text else None
        self.segment.charge_text(self.status_description)

    # -- errors ----------------------------------------------------------------------------------

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,  # Any: values of every type
        timestamp: int | None = None,
        escaped: bool = False,  # the OpenTelemetry signature
    ) -> None:
        """Add an `exception` event. The status stays as it is: an exception alone is no error."""
        if self.end_ns is not None and self._refuse("Tried calling _add_event on an ended span."):
            return
        details: dict[object, Any] = {
            "exception.type": errors.describe_type(exception),
            "exception.message": safe_str(exception),
            "exception.stacktrace": errors.format_stack(exception, self.max_frames),
            "exception.escaped": safe_str(escaped),
        }
        for key, value in items_of(attributes):
            details[clean_key(key) or object()] = value  # what names nothing is counted as dropped there
        self.add_event("exception", details, timestamp)  # type: ignore[arg-type] # as above

    def set_error(
        self,
        exc: BaseException | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the field's standard term
        message: str | None = None,
        stack: str | None = None,
    ) -> None:
        """Mark the span as failed; see `_types.Span.set_error`."""
        if self.end_ns is not None and self._refuse("Setting an error on an ended span."):
            return
        if exc is None and type is None and message is None and stack is None:
            exc = sys.exc_info()[1]
        if exc is not None:
            self.record_exception(exc)
        if type is not None:
            self.set_attribute(_tags.ERROR_TYPE, type)
        if message is not None:
            self.set_attribute(_tags.ERROR_MESSAGE, message)
        if stack is not None:
            self.set_attribute(_tags.ERROR_STACK, stack)
        self._mark_error(message if message is not None or exc is None else safe_str(exc))

    def record_exit(self, exc: BaseException) -> None:
        """Record that an exception left this span: in full, or briefly when a child has told it.

        The exception carries the id of the span it left last; the parent knows the child that failed
        last. When both agree the innermost span has the stack, and type and message will do.
        """
        if self.end_ns is not None:
            return
        brief = False
        try:
            marks = exc.__dict__
            brief = self.failed_child_id != 0 and marks.get(_MARK) == self.failed_child_id
            marks[_MARK] = self.span_id
        except Exception:  # an exception of the application may refuse to be marked: told in full
            _logger.debug("An exception of type %s could not be marked.", errors.class_name(exc))
        parent = self.local_parent  # read once: another thread may be ending this span
        if parent is not None:
            parent.failed_child_id = self.span_id
        message = safe_str(exc)
        if brief:
            self.set_attribute(_tags.ERROR_TYPE, errors.describe_type(exc))
            self.set_attribute(_tags.ERROR_MESSAGE, message)
        else:
            self.record_exception(exc, escaped=True)
        self._mark_error(message)

    def _mark_error(self, description: str | None) -> None:
        if self.status_code != STATUS_OK:
            self.source = None
            self.status_code = STATUS_ERROR
            text = description if description is None or type(description) is str else safe_str(description)
            self.segment.charge_text(text)
            self.status_description = text

    @property
    def error(self) -> int:
        """1 while the span is marked as failed, else 0; see `_types.Span.error`."""
        return int(self.status_code == STATUS_ERROR)

    @error.setter
    def error(self, value: object) -> None:
        if self.end_ns is not None and self._refuse("Setting an error on an ended span."):
            return
        if is_true(value):
            self._mark_error(self.status_description)
        elif self.status_code == STATUS_ERROR:
            self.status_code = STATUS_UNSET
            self.status_description = None

    # -- Datadog's vocabulary --------------------------------------------------------------------

    @property
    def trace_id(self) -> int:
        """128-bit trace id. Reading it decides nothing."""
        return self.segment.trace_id

    @property
    def service(self) -> str | None:
        """Service set on this span or taken over from its parent; `None` for the configured one."""
        return self.values.get(_tags.SERVICE_NAME)

    @service.setter
    def service(self, value: str | None) -> None:
        self.set_attribute(_tags.SERVICE_NAME, value)
        self.set_attribute(_tags.SERVICE_SOURCE, None if value is None else "m")

    def inherit_service(self, values: Mapping[str, Any]) -> None:  # Any: values of every type
        """Take over the service of the parent, whose values are given, unless the span has one."""
        self.child_source = None
        if _tags.SERVICE_NAME in self.values:
            return
        self.values[_tags.SERVICE_NAME] = values[_tags.SERVICE_NAME]
        if _tags.SERVICE_SOURCE in values:
            self.values[_tags.SERVICE_SOURCE] = values[_tags.SERVICE_SOURCE]

    @property
    def resource(self) -> Any:  # Any: a str that is also the SDK's Resource
        """Resource name, as a string that also serves as the provider's OpenTelemetry `Resource`."""
        name = self.values.get(_tags.RESOURCE_NAME) or self.otel_name
        return readable.ResourceName.of(name, self.segment.engine.resource)

    @resource.setter
    def resource(self, value: str | None) -> None:
        self.set_attribute(_tags.RESOURCE_NAME, value)

    @property
    def span_type(self) -> str | None:
        """Span type, for example `web`; `None` when not set."""
        return self.values.get(_tags.SPAN_TYPE)

    @span_type.setter
    def span_type(self, value: str | None) -> None:
        self.set_attribute(_tags.SPAN_TYPE, value)

    def keep(self) -> None:
        """Keep the whole trace, whatever was decided before."""
        self.segment.engine.decide_manual(self.segment, keep=True)

    def drop(self) -> None:
        """Drop the whole trace, whatever was decided before."""
        self.segment.engine.decide_manual(self.segment, keep=False)

    # -- ending ----------------------------------------------------------------------------------

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """End the span, after recording the exception that leaves `with span:` as the span's options say."""
        if exc_val is not None and self.end_ns is None:
            if self._record_exception:
                self.record_exception(exc_val, escaped=True)
            if self._set_status_on_exception:
                self.set_status(StatusCode.ERROR, describe_failure(exc_val))
        self.end()

    def is_recording(self) -> bool:
        """Return whether the span is still open."""
        return self.end_ns is None

    def end(self, end_time: int | None = None) -> None:
        """End the span, and hand its segment to the exporter when it was the last open one.

        Args:
            end_time: Nanoseconds since the Unix epoch; default: now. The first end wins.
        """
        segment = self.segment
        engine = segment.engine
        if end_time is None or (end_time := self._given_end(end_time)) is None:
            monotonic_ns = engine.monotonic_ns  # see SpanSource.child
            end_time = monotonic_ns() + segment.clock_offset_ns
        if engine.processor is not None:
            engine.end_with_processor(self, end_time)
            return
        # Each step is atomic by itself; see segment.py for why no lock is needed (bench: ten-span). What follows for an
        # ordinary child is written out in `SpanScope.__exit__`.
        try:
            segment.open.remove(self)
        except KeyError:
            self._refuse("Calling end() on an ended span.")
            return
        self.end_ns = end_time
        self.child_source = None
        finished = segment.finished
        if self.source is not None:
            finished.append(
                (
                    self.span_id,
                    self.parent_id,
                    self.start_ns,
                    end_time,
                    self.otel_name,
                    self.operation_name,
                    self.scope,
                    self.values,
                    self.local_parent.values,  # type: ignore[union-attr] # there is one: it has a source
                )
            )
            self.local_parent = None  # whoever keeps this span shall not keep all before it
        else:
            finished.append(self)
            if segment.local_root is not self:
                segment.holds_records = True
            elif segment.open:
                engine.flush_open(segment)
                return
        if not segment.open:
            engine.hand_over(segment)
        elif len(finished) >= engine.partial_flush_min_spans or end_time >= segment.flush_due_ns:
            engine.flush_segment(segment)

    def _refuse(self, message: str) -> bool:
        """Return `True`, after a debug message, unless a trace filter on this thread may change the ended span."""
        if self.editor == threading.get_ident():
            return False
        _logger.debug("%s (%r)", message, self.otel_name)
        return True

    def _given_end(self, end_time: int) -> int | None:
        segment = self.segment
        segment.needs_care = True
        if segment.engine.monotonic_ns() + segment.clock_offset_ns >= segment.flush_due_ns:
            segment.flush_due_ns = 0  # the time that is given does not say how late it is
        return end_time if type(end_time) is int else nanoseconds(end_time)

    # -- rare paths of setting ---------------------------------------------------------------------

    def _set_any(self, key: str, value: Any) -> None:  # Any: values of every type
        """Set an attribute of any name and value, of an open span."""
        if type(key) is not str:
            self._set_odd_key(key, value)
        elif key not in NOTED_KEYS:
            if len(key) <= _MAX_PLAIN_KEY_CHARS:
                if len(_plain_keys) >= _MAX_PLAIN_KEYS:
                    _plain_keys.clear()
                _plain_keys[key] = key
            self._set_value(key, value)
        elif not self._note(key, value):
            self._set_value(key, value)

    def _set_odd_key(self, key: Any, value: object) -> None:
        text = str.__str__(key) if issubclass(type(key), str) else ""
        if text:
            if text not in NOTED_KEYS or not self._note(text, value):
                self._set_value(text, value)
            return
        self.dropped_values += 1
        _logger.debug("Dropped an attribute: its name is empty or no text, but of type %s.", errors.class_name(key))

    def _set_value(self, key: str, value: Any) -> None:  # Any: values of every type
        """Set a value of any type, and charge the queue for it."""
        values = self.values
        cls = type(value)
        cleaned = value if cls is str or cls is int or cls is bool or cls is float else clean_value(value)
        if key not in values and len(values) >= 128:  # max_values; others use LimitedSpan
            self._drop_oldest()
        self.segment.reserve_bytes(size_of(cleaned))
        self.segment.charge_text(key)
        values[key] = cleaned

    def _drop_oldest(self) -> None:
        try:
            del self.values[next(iter(self.values))]
        except (KeyError, RuntimeError, StopIteration):  # another thread was quicker
            return
        self.dropped_values += 1

    def _note(self, key: str, value: object) -> bool:
        """Act on a key; return `True` if it is no tag.

        `manual.keep` and `manual.drop` are obeyed unless `False`, "false", 0 or "0" (spec/sampling.md §9).
        """
        if not key:
            self._set_odd_key(key, value)
            return True
        if key not in (_tags.MANUAL_KEEP, _tags.MANUAL_DROP):
            # Children of a span with a service of its own are of that service.
            self.segment.needs_care = True
            self.child_source = None
            return False
        order = clean_value(value)
        if order is False or (type(order) is str and order in ("false", "0")) or (type(order) is int and not order):
            return True
        self.segment.engine.decide_manual(self.segment, keep=key == _tags.MANUAL_KEEP)
        return True

    def _append_event(self, event: EventRecord) -> None:
        self.dropped_event_records += self._append("event_records", event, self.max_events)

    def _append(self, name: str, record: EventRecord | LinkRecord, limit: int | None) -> int:
        """Append to one of the span's lists, which is made when first needed; return how many fell out.

        Threads may do so at once: each step is atomic, and a list is never replaced.
        """
        self.source = None
        records: list[EventRecord | LinkRecord] = vars(self).setdefault(name, [])
        records.append(record)
        if limit is None or len(records) <= limit:
            return 0
        records.pop(0)
        return 1
