"""Events and links in native form, and error tags; `_encoding/text_forms.py` has the JSON texts.

Deviations from the Rust SDK: link attributes are flattened, link flags carry bit 31, invalid event
attributes are dropped.

Source: spec/span-mapping.md §8-§10.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ddtrace_manual._base import tags
from ddtrace_manual._base.ids import MASK_64

from .attributes import HTTP_STATUS, flatten_texts, format_value, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ddtrace_manual._model import EventRecord, LinkRecord, SpanRecord

__all__ = ["map_events", "map_links", "write_error"]

FLAGS_KNOWN = 1 << 31
_EXCEPTION = "exception"
_ERROR_TAGS = (
    ("exception.message", tags.ERROR_MESSAGE),
    ("exception.type", tags.ERROR_TYPE),
    ("exception.stacktrace", tags.ERROR_STACK),
)
_INT64_LIMIT = 1 << 63


def write_error(span: SpanRecord, meta: dict[str, str], metrics: dict[str, float], *, otel_semantics: bool) -> None:
    """Write `error.message`, `error.type` and `error.stack` of a span whose status is Error.

    Nothing is written when all three are there already. With OpenTelemetry semantics only the status
    description counts.

    Source: spec/span-mapping.md §8.
    """
    if tags.ERROR_MESSAGE in meta and tags.ERROR_TYPE in meta and tags.ERROR_STACK in meta:
        return
    found = {} if otel_semantics else _find_errors(span.event_records or ())
    if tags.ERROR_MESSAGE not in found and (otel_semantics or tags.ERROR_MESSAGE not in meta):
        message = format_value(span.status_description) if span.status_description else ""
        if not message and not otel_semantics:
            message = _http_message(meta)
        if message:
            found[tags.ERROR_MESSAGE] = message
    for tag, text in found.items():
        meta[tag] = text
        metrics.pop(tag, None)


def _find_errors(events: Iterable[EventRecord]) -> dict[str, str]:
    """Return the error tags of the exception events; a later event overwrites an earlier one."""
    found: dict[str, str] = {}
    for event in events:
        if event.attributes and _is_exception(event):
            for key, tag in _ERROR_TAGS:
                if event.attributes.get(key) is not None:
                    found[tag] = text_of(event.attributes, key)
    return found


def _http_message(meta: Mapping[str, str]) -> str:
    code = meta.get("http.response.status_code") or meta.get(HTTP_STATUS, "")
    text = meta.get("http.status_text")
    return f"{code} {text}" if code and text else code


def _is_exception(event: EventRecord) -> bool:
    name = event.name
    return name == _EXCEPTION or (type(name) is str and name.isascii() and name.lower() == _EXCEPTION)


# --- events ----------------------------------------------------------------------------------------------------------


def map_events(events: Sequence[EventRecord], meta: dict[str, str]) -> list[dict[str, Any]]:  # Any: see §10.1
    """Return the events in native form; tag the span when an exception is among them.

    Attributes that the native form cannot express are dropped, the event stays.

    Source: spec/span-mapping.md §10.1.
    """
    mapped = []
    for event in events:
        time_ns = event.time_ns if 0 <= event.time_ns <= MASK_64 else 0  # as the times of spans
        native: dict[str, Any] = {"time_unix_nano": time_ns, "name": format_value(event.name)}
        attributes = _map_event_attributes(event.attributes) if event.attributes else None
        if attributes:
            native["attributes"] = attributes
        mapped.append(native)
        if _is_exception(event):
            meta[tags.HAS_EXCEPTION] = "true"
    return mapped


def _map_event_attributes(attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:  # Any: see §10.1
    mapped = {}
    for key, value in attributes.items():
        typed = _map_array(value) if issubclass(type(value), (list, tuple)) else _map_scalar(value)
        if typed is not None:
            mapped[key if type(key) is str else format_value(key)] = typed
    return mapped


def _map_scalar(value: Any) -> dict[str, Any] | None:  # Any: see §10.1
    """Return the typed object of a scalar, its type first; `None` when it is not valid."""
    kind = type(value)
    if issubclass(kind, str):
        return {"type": 0, "string_value": str.__str__(value)}
    if kind is bool:
        return {"type": 1, "bool_value": value}
    if issubclass(kind, int):
        value = int.__pos__(value)
        return {"type": 2, "int_value": value} if -_INT64_LIMIT <= value < _INT64_LIMIT else None
    if issubclass(kind, float):
        value = float.__pos__(value)
        return {"type": 3, "double_value": value} if math.isfinite(value) else None
    return None


def _map_array(values: Sequence[Any]) -> dict[str, Any] | None:  # Any: see §10.1
    """Return the typed object of an array of scalars of one type; `None` when it is not valid."""
    items: list[dict[str, Any]] = []  # Any: as above
    for value in values:
        item = _map_scalar(value)
        if item is None or (items and item["type"] != items[0]["type"]):
            return None
        items.append(item)
    return {"type": 4, "array_value": {"values": items}}


# --- links -----------------------------------------------------------------------------------------------------------


def map_links(links: Sequence[LinkRecord]) -> list[dict[str, Any]]:  # Any: values of mixed types, see §9
    """Return the links in native form; of several links to one span the last stays, span pointers all stay.

    Source: spec/span-mapping.md §9.
    """
    mapped: list[dict[str, Any]] = []
    place_of: dict[int, int] = {}
    for link in links:
        attributes = flatten_texts(link.attributes) if link.attributes else None
        native: dict[str, Any] = {
            "trace_id": link.trace_id & MASK_64,
            "trace_id_high": link.trace_id >> 64 & MASK_64,
            "span_id": link.span_id & MASK_64,
        }
        if attributes:
            native["attributes"] = attributes
        if link.tracestate:
            native["tracestate"] = link.tracestate
        if link.flags is not None:
            native["flags"] = link.flags & 0xFF | FLAGS_KNOWN
        if attributes and attributes.get("link.kind") == "span-pointer":
            mapped.append(native)
        elif link.span_id in place_of:
            mapped[place_of[link.span_id]] = native
        else:
            place_of[link.span_id] = len(mapped)
            mapped.append(native)
    return mapped
