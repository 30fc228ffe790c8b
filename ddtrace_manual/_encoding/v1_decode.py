"""Reading v1.0 trace payloads back.

Source: spec/trace-export.md §8.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack

from ddtrace_manual._base import tags
from ddtrace_manual._base.ids import MASK_64
from ddtrace_manual.exceptions import EncodingError

from .v1 import (
    ARRAY,
    BOOL,
    BYTES,
    EVENT_ARRAY,
    EVENT_SCALARS,
    FLOAT,
    INT,
    KIND_CODES,
    PROMOTED_TAGS,
    STRING,
    PayloadHeader,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ddtrace_manual._model import DDSpan

__all__ = ["decode_v1", "read_v1"]

_KIND_NAMES: Final = {code: name for name, code in KIND_CODES.items()}
_HEADER_FIELDS: Final = {
    2: "container_id",
    3: "language",
    4: "language_version",
    5: "tracer_version",
    6: "runtime_id",
    7: "env",
    8: "hostname",
    9: "app_version",
}
_SPAN_TEXTS: Final = {1: "service", 2: "name", 3: "resource", 10: "type"}
_SPAN_NUMBERS: Final = {4: "span_id", 5: "parent_id", 6: "start", 7: "duration"}
_EVENT_TYPES: Final = {kind: (number, name) for number, (name, kind) in enumerate(EVENT_SCALARS)}


def decode_v1(payload: bytes) -> list[list[DDSpan]]:
    """Read the chunks of a v1.0 payload.

    What was said once for a chunk is put back: the origin on every span, the rest on the first one.

    Raises:
        EncodingError: Not such a payload.
    """
    return read_v1(payload)[1]


def read_v1(payload: bytes) -> tuple[PayloadHeader, list[list[DDSpan]]]:
    """Read header and chunks of a v1.0 payload; errors as `decode_v1`."""
    try:
        # Any: nothing is known about the payload yet
        form: dict[int, Any] = msgpack.unpackb(payload, unicode_errors="replace", strict_map_key=False)
        return _Reader().payload(form)
    except Exception as exc:
        raise EncodingError(f"not a v1.0 payload: {type(exc).__name__}: {exc}") from exc


class _Reader:
    """Walks through a payload in the order of its stream, collecting strings on the way."""

    def __init__(self) -> None:
        self._texts = [""]

    def payload(self, form: dict[int, Any]) -> tuple[PayloadHeader, list[list[DDSpan]]]:
        fields: dict[str, Any] = {"language": ""}
        chunks: list[Any] = []
        for key, value in form.items():
            if key in _HEADER_FIELDS:
                fields[_HEADER_FIELDS[key]] = self._text(value)
            elif key == 10:  # keys are listed in the specification, here and below
                fields["attributes"] = {name: item for name, _, item in self._triplets(value)}
            elif key == 11:
                chunks = [self._chunk(chunk) for chunk in value]
            else:
                raise EncodingError(f"unknown key {key}")
        return PayloadHeader(**fields), chunks

    def _chunk(self, form: dict[int, Any]) -> list[dict[str, Any]]:
        spans: list[dict[str, Any]] = []
        common: dict[int, Any] = {}
        for key, value in form.items():
            if key == 4:
                spans = [self._span(span) for span in value]
            elif key == 3:
                common[key] = list(self._triplets(value))
            else:
                common[key] = self._text(value) if key == 2 else value
        return _with_common(spans, common)

    def _span(self, form: dict[int, Any]) -> dict[str, Any]:
        dd_span: dict[str, Any] = {"service": "", "name": "", "resource": "", "duration": 0, "meta": {}, "metrics": {}}
        for key, value in form.items():
            if key in _SPAN_TEXTS:
                dd_span[_SPAN_TEXTS[key]] = self._text(value)
            elif key in _SPAN_NUMBERS:
                dd_span[_SPAN_NUMBERS[key]] = value
            elif key in PROMOTED_TAGS:
                dd_span["meta"][PROMOTED_TAGS[key]] = self._text(value)
            else:
                self._span_part(dd_span, key, value)
        return dd_span

    def _span_part(self, dd_span: dict[str, Any], key: int, value: Any) -> None:
        match key:
            case 8:
                dd_span["error"] = int(value)
            case 9:
                for name, kind, item in self._triplets(value):
                    _set_attribute(dd_span, name, kind, item)
            case 11:
                dd_span["span_links"] = [self._link(link) for link in value]
            case 12:
                dd_span["span_events"] = [self._event(event) for event in value]
            case 16:
                dd_span["meta"][tags.SPAN_KIND] = _KIND_NAMES[value]
            case _:
                raise EncodingError(f"unknown key {key} in a span")

    def _link(self, form: dict[int, Any]) -> dict[str, Any]:
        trace_id = int.from_bytes(form[1], "big")
        link = {"trace_id": trace_id & MASK_64, "trace_id_high": trace_id >> 64, "span_id": form[2]}
        for key, value in form.items():
            if key == 3:
                link["attributes"] = {name: item for name, _, item in self._triplets(value)}
            elif key == 4:
                link["tracestate"] = self._text(value)
            elif key == 5:
                link["flags"] = value
        return link

    def _event(self, form: dict[int, Any]) -> dict[str, Any]:
        event: dict[str, Any] = {}
        for key, value in form.items():
            if key == 1:
                event["time_unix_nano"] = value
            elif key == 2:
                event["name"] = self._text(value)
            else:
                event["attributes"] = {name: _native(kind, item) for name, kind, item in self._triplets(value)}
        return event

    def _triplets(self, flat: list[Any]) -> Iterator[tuple[str, int, Any]]:
        parts = iter(flat)
        for key, kind, value in zip(parts, parts, parts, strict=True):
            yield self._text(key), kind, self._value(kind, value)

    def _value(self, kind: int, value: Any) -> Any:
        if kind == STRING:
            return self._text(value)
        if kind == ARRAY:
            parts = iter(value)
            return [(item_kind, self._value(item_kind, item)) for item_kind, item in zip(parts, parts, strict=True)]
        if kind in {BOOL, FLOAT, INT, BYTES}:
            return value
        raise EncodingError(f"unknown type {kind} of an attribute")

    def _text(self, value: Any) -> str:
        if isinstance(value, str):
            self._texts.append(value)
            return value
        text: str = self._texts[value]
        return text


def _with_common(spans: list[dict[str, Any]], common: dict[int, Any]) -> list[dict[str, Any]]:
    trace_id = int.from_bytes(common[6], "big")
    for dd_span in spans:
        dd_span["trace_id"] = trace_id & MASK_64
        if 2 in common:
            dd_span["meta"][tags.ORIGIN] = common[2]
        for name, kind, value in common.get(3, ()):
            _set_attribute(dd_span, name, kind, value)
    for first in spans[:1]:
        if trace_id >> 64:
            first["meta"][tags.TRACE_ID_HIGH] = f"{trace_id >> 64:016x}"
        if 1 in common:
            first["metrics"][tags.SAMPLING_PRIORITY] = float(common[1])
        if 7 in common:
            first["meta"][tags.DECISION_MAKER] = f"-{common[7]}"
    return spans


def _set_attribute(dd_span: dict[str, Any], name: str, kind: int, value: Any) -> None:
    if kind == BYTES:
        dd_span.setdefault("meta_struct", {})[name] = value
    elif kind == STRING:
        dd_span["meta"][name] = value
    elif kind == BOOL:
        dd_span["meta"][name] = str(value).lower()
    else:
        dd_span["metrics"][name] = float(value)


def _native(kind: int, value: Any) -> dict[str, Any]:
    """Return an attribute of an event in its native v0.4 form."""
    if kind == ARRAY:
        return {"type": EVENT_ARRAY, "array_value": {"values": [_native(*item) for item in value]}}
    number, name = _EVENT_TYPES[kind]
    return {"type": number, name: value}
