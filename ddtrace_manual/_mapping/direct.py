"""Ordinary spans straight to v0.4 bytes, past the dictionaries that mapping and encoding otherwise share.

Most spans of most traces are ordinary: internal, not failed, without events and links, of the service
of their parent, with short scalar attributes that no rule concerns. All that distinguishes one from
another are its ids, times, names and a few tags; the rest is the same bytes every time. Writing only
what differs costs half of mapping and packing a dictionary (bench: ten-span, whole process).

Nothing is decided here: a span that is in any way out of the ordinary is left to the general path, and
a property test holds both paths to the same decoded payload.

Source: spec/trace-export.md §8.1. The packing function is handed in: `_encoding` owns `msgpack`.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from ddtrace_manual import _tags as tags
from ddtrace_manual._model import STATUS_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ddtrace_manual._model import SpanRecord

    from .span import SpanMapper
    from .templates import PlainKeys, Template

__all__ = ["OrdinarySpans"]

_NUMBERS = Struct(">9sQ11sQ7sq10sq").pack
_SPAN_ID, _PARENT_ID, _START, _DURATION = (
    b"\xa7span_id\xcf",
    b"\xa9parent_id\xcf",
    b"\xa5start\xcf",
    b"\xa8duration\xcf",
)
_TRACE_ID = b"\xa8trace_id\xcf"
_NAME, _RESOURCE, _TYPE = b"\xa4name", b"\xa8resource", b"\xa4type"
_FIELDS, _FIELDS_AND_TYPE = b"\x8a", b"\x8b"
_SHORT_MAP = 16
_META = tuple(b"\xa4meta" + bytes((0x80 | length,)) for length in range(_SHORT_MAP))
_METRICS = tuple(b"\xa7metrics" + bytes((0x80 | length,)) for length in range(_SHORT_MAP))
_LONG_META, _LONG_METRICS = b"\xa4meta\xde", b"\xa7metrics\xde"
_TRUE, _FALSE = b"\xa4true", b"\xa5false"
_PACK_DOUBLE = Struct(">Bd").pack
_DOUBLE = 0xCB
_MAX_BYTES = 25_000
"""A span that takes more may hold a string that must be cut."""
_MAX_NAMES = 2_000
_MAX_EXACT = 1 << 53
_INTERNAL = SpanKind.INTERNAL
_NO_VALUES: dict[str, Any] = {}  # Any: as SpanRecord.values
_SERVICE_NAME, _RESOURCE_NAME, _SPAN_TYPE = tags.SERVICE_NAME, tags.RESOURCE_NAME, tags.SPAN_TYPE
_DATADOG_SERVICE = "datadog.service"


class OrdinarySpans:
    """Encodes ordinary spans. Used by the worker thread only.

    Args:
        mapper: Knows templates and plain keys.
        pack: Returns the msgpack form of a value; raises for text that is no valid Unicode.
    """

    def __init__(self, mapper: SpanMapper, pack: Callable[[object], bytes]) -> None:
        self._pack = pack
        self._scopes = mapper.scopes
        self._entry_of = mapper.entry_of
        self._facade_keys = mapper.facade_keys
        self._otel_keys = mapper.otel_keys
        self._trace_key = pack(tags.OTEL_TRACE_ID)
        self._by_hand = pack(tags.SERVICE_SOURCE) + pack("m")
        # Names and resources recur; both caches start again when full.
        self._names: dict[str, bytes] = {}
        self._resources: dict[str, bytes] = {}

    def encode(  # noqa: C901, PLR0912, PLR0915 - the hot path: nothing is called that can be done in place (bench: ten-span)
        self, spans: Sequence[SpanRecord], first: SpanRecord, trace_id_low: int, trace_id_text: str
    ) -> tuple[list[bytes], list[SpanRecord]]:
        """Encode the ordinary spans of a chunk.

        Args:
            spans: Finished spans.
            first: The one that is to be the first of the chunk, which is never ordinary.
            trace_id_low: Low 64 bits of the trace id.
            trace_id_text: The whole trace id in hexadecimal.

        Returns:
            The ordinary spans as v0.4 maps, and the others.
        """
        pack = self._pack
        scopes, names, resources = self._scopes, self._names, self._resources
        double = _PACK_DOUBLE
        last_scope = first.scope
        entry = scopes.get(id(last_scope)) or self._entry_of(last_scope)
        trace_field = _TRACE_ID + trace_id_low.to_bytes(8, "big")
        trace_tag = self._trace_key + pack(trace_id_text)
        encoded: list[bytes] = []
        others: list[SpanRecord] = []
        for span in spans:
            parent = span.local_parent
            status_code = span.status_code
            scope = span.scope
            if (
                span is first
                or parent is None
                or status_code == STATUS_ERROR
                or span.otel_kind is not _INTERNAL
                or span.event_records
                or span.link_records
                or parent.scope is not scope
            ):
                others.append(span)
                continue
            values = span.values or _NO_VALUES
            operation_name = span.operation_name
            parent_values = parent.values or _NO_VALUES
            # Identity: a service taken over from the parent is the same object.
            service = values.get(_SERVICE_NAME)
            if service is not parent_values.get(_SERVICE_NAME) or _DATADOG_SERVICE in parent_values:
                others.append(span)
                continue
            if scope is not last_scope:
                last_scope, entry = scope, scopes.get(id(scope)) or self._entry_of(scope)
            if service is not None:
                # One known by name was admitted by the general path; one that is no text may not be hashable.
                common = entry.by_service.get(service) if type(service) is str else None
            else:
                common = entry.default
            template = common.templates[status_code * 2] if common is not None and entry.is_fast else None
            if template is None or common is None:
                others.append(span)
                continue
            head = template.head or self._complete(template, common.service)
            resource = span.otel_name
            if operation_name is None:
                keys, name, span_type = self._otel_keys, template.operation_name, template.span_type
            else:
                keys, name, span_type = self._facade_keys, operation_name, ""
            known = keys.encoded
            texts, numbers = trace_tag, template.numbers
            text_count, number_count = template.tag_count, template.number_count
            for key, value in values.items():
                kind = type(value)
                field = known.get(key)
                if field is None:
                    # A key not met before, or one that fills a field of the span.
                    if key not in keys.fields:
                        field = self._learn(keys, key, values)
                        if field is None:
                            break
                    elif kind is not str:
                        break
                    else:
                        if key == _RESOURCE_NAME:
                            resource = value or resource
                        elif key == _SPAN_TYPE:
                            span_type = value or span_type
                        continue
                if kind is str:
                    try:
                        texts += field + pack(value)
                    except UnicodeEncodeError:
                        break
                    text_count += 1
                elif kind is int and -_MAX_EXACT < value < _MAX_EXACT:
                    numbers += field + double(_DOUBLE, value)
                    number_count += 1
                elif kind is bool:
                    texts += field + (_TRUE if value else _FALSE)
                    text_count += 1
                elif kind is float and value - value == 0.0:  # finite
                    numbers += field + double(_DOUBLE, value)
                    number_count += 1
                else:
                    break
            else:
                start_ns = span.start_ns
                duration = (span.end_ns or 0) - start_ns
                if start_ns < 0 or duration < 0:
                    others.append(span)
                    continue
                if service is not None and tags.SERVICE_SOURCE not in values:
                    texts += self._by_hand
                    text_count += 1
                try:
                    made = b"".join(
                        (
                            template.head_with_type + pack(span_type) if span_type else head,
                            trace_field,
                            _NUMBERS(
                                _SPAN_ID, span.span_id, _PARENT_ID, span.parent_id, _START, start_ns,
                                _DURATION, duration,
                            ),
                            names.get(name) or self._add(names, _NAME, name),
                            resources.get(resource) or self._add(resources, _RESOURCE, resource),
                            _META[text_count]
                            if text_count < _SHORT_MAP
                            else _LONG_META + text_count.to_bytes(2, "big"),
                            template.tags,
                            texts,
                            _METRICS[number_count]
                            if number_count < _SHORT_MAP
                            else _LONG_METRICS + number_count.to_bytes(2, "big"),
                            numbers,
                        )
                    )  # fmt: skip
                except (UnicodeEncodeError, struct_error, TypeError):  # odd text, times, ids or names
                    others.append(span)
                    continue
                if len(made) <= _MAX_BYTES:
                    encoded.append(made)
                    continue
            others.append(span)
        return encoded, others

    def _learn(self, keys: PlainKeys, key: str, values: Mapping[str, Any]) -> bytes | None:  # Any: see values
        """Return the encoded form of a key that needs no rule, and remember it; `None` for others."""
        if not keys.admit(values):
            return None
        try:
            field = self._pack(key)
        except UnicodeEncodeError:
            return None
        if len(keys.encoded) >= _MAX_NAMES:
            keys.encoded.clear()
        keys.encoded[key] = field
        return field

    def _add(self, cache: dict[str, bytes], key: bytes, text: str) -> bytes:
        field = key + self._pack(text)
        if len(cache) >= _MAX_NAMES:
            cache.clear()
        cache[text] = field
        return field

    def _complete(self, template: Template, service: str) -> bytes:
        """Prepare the constant bytes of a template, and return its head."""
        pack = self._pack
        field = b"\xa7service" + pack(service)
        template.head_with_type = _FIELDS_AND_TYPE + field + _TYPE
        template.tags = b"".join(pack(key) + pack(value) for key, value in template.meta.items())
        template.tag_count = len(template.meta) + 1  # and the trace id
        template.numbers = b"".join(pack(key) + pack(value) for key, value in template.metrics.items())
        template.number_count = len(template.metrics)
        template.head = _FIELDS + field
        return template.head
