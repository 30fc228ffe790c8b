"""Spans as they are stored and shown: whatever a client sent, in one form with plain types. Pure.

Events and links are read from their native and from their text form.

Source: spec/trace-export.md §8; spec/span-mapping.md (`events`, `_dd.span_links`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["CleanSpan", "clean_span", "trace_id_high"]

CleanSpan = dict[str, Any]  # Any: the fields have different types, see `clean_span`
"""A span of the v0.4 form with every field present; `events` and `links` replace the native and the text forms."""

_MASK_64: Final = (1 << 64) - 1
_LONGEST_TEXT: Final = 100_000
_MOST_RECORDS: Final = 1000
_HIGH_HALF: Final = re.compile(r"[0-9a-fA-F]{16}\Z")
_HEX: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{1,32})\Z")


def clean_span(raw: Mapping[Any, Any]) -> CleanSpan:
    """Return a span with every field present and of its type; never raises for decoded msgpack or JSON."""
    meta: dict[str, str] = {}
    metrics: dict[str, float] = {}
    for key, value in _items(raw.get("meta")):
        meta[_text(key)] = _text(value)
    for key, value in _items(raw.get("metrics")):
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(_float(value)):
            metrics[_text(key)] = _float(value)
        else:
            meta[_text(key)] = _text(value)
    return {
        "service": _text(raw.get("service")),
        "name": _text(raw.get("name")),
        "resource": _text(raw.get("resource")),
        "type": _text(raw.get("type")),
        "trace_id": _integer(raw.get("trace_id")) & _MASK_64,
        "span_id": _integer(raw.get("span_id")) & _MASK_64,
        "parent_id": _integer(raw.get("parent_id")) & _MASK_64,
        "start": _integer(raw.get("start")),
        "duration": max(0, _integer(raw.get("duration"))),
        "error": int(bool(raw.get("error"))),
        "events": _events(raw.get("span_events"), meta),
        "links": _links(raw.get("span_links"), meta),
        "meta": meta,
        "metrics": metrics,
        "meta_struct": {
            _text(key): len(value) if isinstance(value, (bytes, str)) else 0
            for key, value in _items(raw.get("meta_struct"))
        },
    }


def trace_id_high(span: CleanSpan) -> int:
    """Return the upper half of the trace id where the span carries it, or 0."""
    text = span["meta"].get("_dd.p.tid", "")
    return int(text, 16) if _HIGH_HALF.match(text) else 0


def _events(native: object, meta: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": _text(event.get("name")),
            "time": _integer(event.get("time_unix_nano")),
            "attributes": {_text(key): _text(_value(item)) for key, item in _items(event.get("attributes"))},
        }
        for event in _records(native, meta, "events")
    ]


def _links(native: object, meta: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "trace_id": f"{_id(link.get('trace_id_high')) & _MASK_64:016x}{_id(link.get('trace_id')) & _MASK_64:016x}"
            if not isinstance(link.get("trace_id"), str)
            else f"{_id(link['trace_id']):032x}",
            "span_id": _id(link.get("span_id")) & _MASK_64,
            "attributes": {_text(key): _text(_value(item)) for key, item in _items(link.get("attributes"))},
        }
        for link in _records(native, meta, "_dd.span_links")
    ]


def _records(native: object, meta: dict[str, str], key: str) -> list[Mapping[Any, Any]]:
    """Return the events or links of a span; a text form that can be read is taken out of `meta`."""
    found = _mappings(native)
    if not found and key in meta:
        try:
            found = _mappings(json.loads(meta[key]))
        except (ValueError, RecursionError):
            return []
        if found:
            del meta[key]
    return found


def _mappings(value: object) -> list[Mapping[Any, Any]]:
    if not isinstance(value, list):
        return []
    return [each for each in value[:_MOST_RECORDS] if isinstance(each, Mapping)]


def _items(value: object) -> Iterable[tuple[object, object]]:
    return value.items() if isinstance(value, Mapping) else ()


def _value(value: object) -> object:
    """Return an attribute of an event without the native form's type number."""
    if not isinstance(value, Mapping):
        return value
    for name in ("string_value", "bool_value", "int_value", "double_value"):
        if name in value:
            return value[name]
    array = value.get("array_value")
    items = array.get("values") if isinstance(array, Mapping) else None
    if isinstance(items, Sequence) and not isinstance(items, (str, bytes)):
        return [_value(item) for item in items]
    return value


def _text(value: object) -> str:
    text = value if isinstance(value, str) else _as_text(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, dict)):
        try:
            return json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError):  # keys that JSON does not have, or too deep
            return "…"
    return str(value)


def _integer(value: object) -> int:
    """Return a number within 64 bits; 0 for anything else."""
    if isinstance(value, float):
        value = int(value) if math.isfinite(value) else 0
    return value if isinstance(value, int) and -_MASK_64 <= value <= _MASK_64 else 0


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _id(value: object) -> int:
    """Return an id given as a number or in hex."""
    if isinstance(value, str):
        match = _HEX.match(value)
        return int(match[1], 16) if match else 0
    return _integer(value)
