"""The v1.0 trace payload: maps with integer keys, strings interned while they are written.

A string is written once; later it is its number, counted in the order of the byte stream. The
payload is built as nested lists and maps in exactly that order and then packed in one go: Python's
dictionaries keep their order and msgpack writes them in it.

Source: spec/trace-export.md §8.3.
Deviations: a negative start is written as 0, because encoders have no clock; an empty name is written,
because a span without one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgpack

from ddtrace_manual._base import tags
from ddtrace_manual._base.ids import MASK_64
from ddtrace_manual.exceptions import EncodingError

from .text_forms import with_text_events
from .wire_text import bounded_text, valid_text

if TYPE_CHECKING:
    from ddtrace_manual._model import DDSpan

__all__ = ["PayloadHeader", "V1Encoder"]

KIND_CODES: Final[Mapping[str, int]] = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_DEFAULT_KIND: Final = 1

_Fields = Mapping[str, Any]
"""A `DDSpan` of which nothing is taken for granted. Any: its values are of many types."""

# Types of attribute values.
STRING, BOOL, FLOAT, INT, BYTES, ARRAY = 1, 2, 3, 4, 5, 6

# From the native type of an event attribute to its field and type here.
EVENT_SCALARS: Final = (("string_value", STRING), ("bool_value", BOOL), ("int_value", INT), ("double_value", FLOAT))
EVENT_ARRAY: Final = 4

_MIN_INT, _MAX_INT = -(1 << 63), (1 << 63) - 1
PROMOTED_TAGS: Final[Mapping[int, str]] = {13: tags.ENV, 14: tags.VERSION, 15: "component"}
"""Keys of a span and the tags they stand for."""


@dataclass(frozen=True, slots=True)
class PayloadHeader:
    """What is said once for the whole payload; empty fields are left out."""

    container_id: str = ""
    language: str = "python"
    language_version: str = ""
    tracer_version: str = ""
    runtime_id: str = ""
    env: str = ""
    hostname: str = ""
    app_version: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """For example `_dd.git.commit.sha`."""


@dataclass(frozen=True, slots=True)
class _ChunkFields:
    """What is said once for a chunk."""

    trace_id: int
    priority: int | None
    origin: str | None
    decision_maker: str | None
    """`_dd.p.dm` when it is a number, for example `-4`."""


class _Interner:
    """Gives a string the first time it is written and its number from then on."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {"": 0}

    def __call__(self, text: str) -> str | int:
        number = self._numbers.get(text)
        if number is not None:
            return number
        if not isinstance(text, str):
            raise EncodingError(f"a {type(text).__name__} where text is expected")
        sound = valid_text(bounded_text(text))
        if sound != text:
            return self(sound)
        self._numbers[text] = len(self._numbers)
        return text

    def mark(self) -> int:
        return len(self._numbers)

    def go_back(self, mark: int) -> None:
        """Forget the strings of something that is not written after all."""
        while len(self._numbers) > mark:
            self._numbers.popitem()


class V1Encoder:
    """Encodes payloads. Not thread-safe: one thread, one encoder.

    Args:
        header: What is said once for the whole payload.
        native_events: Whether `span_events` are sent as they are; otherwise they become JSON in `meta["events"]`.

    Attributes:
        native_events: The argument; may be changed between two calls.
        skipped_spans: Spans left out so far because they could not be encoded.
    """

    version: Final = "v1.0"

    def __init__(self, header: PayloadHeader | None = None, *, native_events: bool = False) -> None:
        self.header = header if header is not None else PayloadHeader()
        self.native_events = native_events
        self.skipped_spans = 0
        self._packer = msgpack.Packer()

    def encode(self, chunks: Sequence[Sequence[DDSpan]]) -> bytes:
        """Return the payload of these chunks. A span that cannot be encoded is skipped and counted."""
        intern = _Interner()
        header = self.header
        texts = (
            header.container_id,
            header.language,
            header.language_version,
            header.tracer_version,
            header.runtime_id,
            header.env,
            header.hostname,
            header.app_version,
        )
        payload: dict[int, Any] = {key: intern(text) for key, text in enumerate(texts, 2) if text}
        if header.attributes:
            payload[10] = _strings(header.attributes.items(), intern)
        payload[11] = [self._chunk(chunk, intern) for chunk in chunks]
        packed: bytes = self._packer.pack(payload)
        return packed

    def _chunk(self, chunk: Sequence[DDSpan], intern: _Interner) -> dict[int, Any]:
        common = self._common(chunk)
        form: dict[int, Any] = {6: common.trace_id.to_bytes(16, "big")}
        if common.priority is not None:
            form[1] = common.priority
        if common.origin is not None:
            form[2] = intern(common.origin)
        if common.decision_maker is not None:
            form[7] = abs(int(common.decision_maker))
        spans = []
        for dd_span in chunk:
            encoded = self._span(dd_span, common, intern)
            if encoded is not None:
                spans.append(encoded)
        form[4] = spans
        return form

    def _common(self, chunk: Sequence[DDSpan]) -> _ChunkFields:
        try:
            return _chunk_fields(chunk)
        except Exception:  # a malformed span is skipped when its turn comes
            return _ChunkFields(trace_id=0, priority=None, origin=None, decision_maker=None)

    def _span(self, dd_span: DDSpan, common: _ChunkFields, intern: _Interner) -> dict[int, Any] | None:
        mark = intern.mark()
        try:
            if "span_events" in dd_span and not self.native_events:
                dd_span = with_text_events(dd_span)
            return _encode_span(dd_span, common, intern)
        except Exception:  # whatever is wrong with one span, the others must be sent
            intern.go_back(mark)
            self.skipped_spans += 1
            return None


def _encode_span(dd_span: _Fields, common: _ChunkFields, intern: _Interner) -> dict[int, Any]:
    """Return the span map; the order of the statements is the order of the stream."""
    meta = dd_span.get("meta", {})
    form: dict[int, Any] = {}
    if dd_span.get("service"):
        form[1] = intern(dd_span["service"])
    form[2] = intern(dd_span["name"])
    if dd_span["resource"]:
        form[3] = intern(dd_span["resource"])
    form.update(_numbers(dd_span))
    attributes = _attributes(dd_span, common, intern)
    if attributes:
        form[9] = attributes
    if dd_span.get("type"):
        form[10] = intern(dd_span["type"])
    if dd_span.get("span_links"):
        form[11] = [_link(link, intern) for link in dd_span["span_links"]]
    if dd_span.get("span_events"):
        form[12] = [_event(event, intern) for event in dd_span["span_events"]]
    form.update({key: intern(meta[name]) for key, name in PROMOTED_TAGS.items() if meta.get(name)})
    form[16] = KIND_CODES.get(meta.get(tags.SPAN_KIND, ""), _DEFAULT_KIND)
    return form


def _numbers(dd_span: _Fields) -> dict[int, Any]:
    numbers: dict[int, Any] = {4: _unsigned(dd_span["span_id"])}
    if dd_span.get("parent_id"):
        numbers[5] = _unsigned(dd_span["parent_id"])
    numbers[6] = _unsigned(max(dd_span["start"], 0))
    if dd_span["duration"] > 0:
        numbers[7] = _unsigned(dd_span["duration"])
    if dd_span.get("error"):
        numbers[8] = True
    return numbers


def _attributes(dd_span: _Fields, common: _ChunkFields, intern: _Interner) -> list[Any]:
    """Return flat triplets of what is in no field of the span or the chunk."""
    meta = dd_span.get("meta", {})
    elsewhere = {tags.TRACE_ID_HIGH, *(name for name in PROMOTED_TAGS.values() if meta.get(name))}
    if meta.get(tags.SPAN_KIND, "") in KIND_CODES:
        elsewhere.add(tags.SPAN_KIND)
    if meta.get(tags.ORIGIN) == common.origin:
        elsewhere.add(tags.ORIGIN)
    if meta.get(tags.DECISION_MAKER) == common.decision_maker:
        elsewhere.add(tags.DECISION_MAKER)
    triplets = _strings(((key, value) for key, value in meta.items() if key not in elsewhere), intern)
    for key, number in dd_span.get("metrics", {}).items():
        if key != tags.SAMPLING_PRIORITY or number != common.priority:
            triplets += (intern(key), FLOAT, float(number))
    for key, data in dd_span.get("meta_struct", {}).items():
        triplets += (intern(key), BYTES, bytes(data))
    return triplets


def _strings(items: Iterable[tuple[str, str]], intern: _Interner) -> list[Any]:
    triplets: list[Any] = []
    for key, value in items:
        triplets += (intern(key), STRING, intern(value))
    return triplets


def _link(link: Mapping[str, Any], intern: _Interner) -> dict[int, Any]:
    trace_id = _unsigned(link.get("trace_id_high", 0)) << 64 | _unsigned(link["trace_id"])
    form: dict[int, Any] = {1: trace_id.to_bytes(16, "big"), 2: _unsigned(link["span_id"])}
    if link.get("attributes"):
        form[3] = _strings(link["attributes"].items(), intern)
    if link.get("tracestate"):
        form[4] = intern(link["tracestate"])
    if link.get("flags"):
        form[5] = _unsigned(link["flags"])
    return form


def _event(event: Mapping[str, Any], intern: _Interner) -> dict[int, Any]:
    form: dict[int, Any] = {1: _unsigned(event["time_unix_nano"]), 2: intern(event["name"])}
    if event.get("attributes"):
        form[3] = [part for key, value in event["attributes"].items() for part in (intern(key), *_typed(value, intern))]
    return form


def _typed(value: Mapping[str, Any], intern: _Interner) -> tuple[int, Any]:
    if value["type"] == EVENT_ARRAY:
        return ARRAY, [part for item in value["array_value"]["values"] for part in _typed(item, intern)]
    field_name, kind = EVENT_SCALARS[value["type"]]
    scalar = value[field_name]
    if kind == STRING:
        return kind, intern(scalar)
    if kind == INT:
        return kind, _signed(scalar)
    return kind, bool(scalar) if kind == BOOL else float(scalar)


def _chunk_fields(chunk: Sequence[_Fields]) -> _ChunkFields:
    """Collect what the root of a chunk says for all its spans, or else the first span that says it."""
    ordered = [_root(chunk), *chunk] if chunk else []
    metas = [dd_span.get("meta", {}) for dd_span in ordered]
    makers = (meta.get(tags.DECISION_MAKER) for meta in metas)
    priorities = (dd_span.get("metrics", {}).get(tags.SAMPLING_PRIORITY) for dd_span in ordered)
    return _ChunkFields(
        trace_id=_trace_id(ordered, metas),
        priority=next((int(value) for value in priorities if value is not None and _MIN_INT < value < _MAX_INT), None),
        origin=next((meta[tags.ORIGIN] for meta in metas if isinstance(meta.get(tags.ORIGIN), str)), None),
        decision_maker=next((maker for maker in makers if _is_mechanism(maker)), None),
    )


def _root(chunk: Sequence[_Fields]) -> _Fields:
    for dd_span in chunk:
        if not dd_span.get("parent_id"):
            return dd_span
    for dd_span in chunk:
        if dd_span.get("metrics", {}).get(tags.TOP_LEVEL) == 1:
            return dd_span
    return chunk[0]


def _trace_id(ordered: Sequence[_Fields], metas: Sequence[Mapping[str, str]]) -> int:
    low = next((value for dd_span in ordered if type(value := dd_span.get("trace_id")) is int), 0) & MASK_64
    high_hex = next((meta[tags.TRACE_ID_HIGH] for meta in metas if tags.TRACE_ID_HIGH in meta), "0")
    try:
        return (int(high_hex, 16) & MASK_64) << 64 | low
    except (TypeError, ValueError):
        return low


def _is_mechanism(maker: str | None) -> bool:
    digits = maker[1:] if isinstance(maker, str) and maker.startswith("-") else ""
    return digits.isascii() and digits.isdecimal() and len(digits) < 10  # fits an unsigned field


def _unsigned(number: int) -> int:
    if 0 <= number <= MASK_64:
        return int(number)
    raise EncodingError(f"{number} is not an unsigned 64-bit number")


def _signed(number: int) -> int:
    if _MIN_INT <= number <= _MAX_INT:
        return int(number)
    raise EncodingError(f"{number} is not a signed 64-bit number")
