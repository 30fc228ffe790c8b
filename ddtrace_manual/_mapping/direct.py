"""Ordinary spans straight to v0.4 bytes, past the dictionaries that mapping and encoding otherwise share.

Most spans of most traces are ordinary: not failed, without events and links, of the service of their
parent, with short scalar attributes that no rule concerns. All that distinguishes one from another are
its ids, times, names and a few tags; the rest is the same bytes every time. Writing only what differs
costs half of mapping and packing a dictionary (bench: ten-span, whole process).

Statistics need to know the few ordinary spans that they count: entry spans, and those of certain kinds.
They get their names and times, and the tags of the template, which is all they look at: a span with an
attribute that would tell them more is not ordinary.

Nothing is decided here: a span that is in any way out of the ordinary is left to the general path, and
a property test holds both paths to the same decoded payload.

Source: spec/trace-export.md §8.1. The packing function is handed in: `_encoding` owns `msgpack`.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import SpanKind

from ddtrace_manual import _tags as tags
from ddtrace_manual._model import STATUS_ERROR, SpanRecord

from .first import EncodedTags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ddtrace_manual._compact import CompactSpan, FinishedSpan
    from ddtrace_manual._model import DDSpan

    from .span import SpanMapper
    from .templates import PlainKeys, Template

__all__ = ["OrdinarySpans"]

_NUMBERS = Struct(">9sQ11sQ7sQ10sQ").pack
_NUMBERS_OF_ROOT = Struct(">9sQ7sQ10sQ").pack
_SPAN_ID, _PARENT_ID, _START, _DURATION = (
    b"\xa7span_id\xcf",
    b"\xa9parent_id\xcf",
    b"\xa5start\xcf",
    b"\xa8duration\xcf",
)
_TRACE_ID = b"\xa8trace_id\xcf"
_NAME, _RESOURCE, _TYPE = b"\xa4name", b"\xa8resource", b"\xa4type"
_NINE_FIELDS, _TEN_FIELDS, _ELEVEN_FIELDS = b"\x89", b"\x8a", b"\x8b"
_SHORT_MAP, _LONG_MAP = 16, 300


def _map_headers(name: bytes) -> tuple[bytes, ...]:
    """Return a field of the span and the header of the map in it, for 0, 1, 2 … entries."""
    short = (name + bytes((0x80 | length,)) for length in range(_SHORT_MAP))
    return (*short, *(name + b"\xde" + length.to_bytes(2, "big") for length in range(_SHORT_MAP, _LONG_MAP)))


_META, _METRICS = _map_headers(b"\xa4meta"), _map_headers(b"\xa7metrics")
_TRUE, _FALSE = b"\xa4true", b"\xa5false"
_PACK_DOUBLE = Struct(">Bd").pack
_DOUBLE = 0xCB
_MAX_BYTES = 25_000
"""A span that takes more may hold a string that must be cut."""
_MAX_NAMES = 2_000
_MAX_NAME_CHARS = 1_000
"""Longer names, keys and resources (long queries) are encoded each time instead of being kept."""
_MAX_MOULDS = 16
"""Scopes and services of a chunk whose spans are looked for, each in one pass over the chunk."""
_MAX_NS = (1 << 63) - 1
_INTERNAL = SpanKind.INTERNAL
_NO_VALUES: dict[str, Any] = {}  # Any: as SpanRecord.values
_NO_TAGS = EncodedTags(b"", 0, b"", 0)
_SERVICE_NAME, _RESOURCE_NAME, _SPAN_TYPE = tags.SERVICE_NAME, tags.RESOURCE_NAME, tags.SPAN_TYPE
_SERVICE_SOURCE = tags.SERVICE_SOURCE
_DATADOG_SERVICE = "datadog.service"


class _Mould(NamedTuple):
    """What spans written one after the other have in common."""

    scope: InstrumentationScope | None
    service: object
    """The service that they name, as given, and their parents too; `None` when they name none."""
    template: Template
    keys: PlainKeys
    extra: EncodedTags
    """Further tags."""
    trace_field: bytes
    trace_tag: bytes


class OrdinarySpans:
    """Encodes ordinary spans. Used by the worker thread only.

    Args:
        mapper: Knows templates and plain keys.
        pack: Returns the msgpack form of a value; raises for text that is no valid Unicode.
    """

    def __init__(self, mapper: SpanMapper, pack: Callable[[object], bytes]) -> None:
        self._mapper = mapper
        self._pack = pack
        self._facade_keys = mapper.facade_keys
        self._otel_keys = mapper.otel_keys
        self._trace_key = pack(tags.OTEL_TRACE_ID)
        self._by_hand = pack(_SERVICE_SOURCE) + pack("m")
        # Names and resources recur; both caches start again when full.
        self._names: dict[str, bytes] = {}
        self._resources: dict[str, bytes] = {}

    def encode(
        self,
        spans: Sequence[FinishedSpan],
        first: FinishedSpan,
        first_tags: EncodedTags | None,
        trace_id_low: int,
        trace_id_text: str,
        counted: list[DDSpan] | None,
        telling_keys: frozenset[str],
    ) -> tuple[bytes | None, list[bytes], list[FinishedSpan]]:
        """Encode the ordinary spans of a chunk.

        Args:
            spans: Finished spans.
            first: The one that is to be the first of the chunk.
            first_tags: What it carries besides its own; `None`: it is not ordinary.
            trace_id_low: Low 64 bits of the trace id.
            trace_id_text: The whole trace id in hexadecimal.
            counted: Takes what statistics need to know of ordinary spans that they may count.
            telling_keys: Attributes that statistics look at.

        Returns:
            The first span, if it is ordinary, the other ordinary spans as v0.4 maps, and those that are not, among
            them the first span at the beginning.
        """
        trace_field = _TRACE_ID + trace_id_low.to_bytes(8, "big")
        trace_tag = self._trace_key + self._pack(trace_id_text)
        first_made: list[bytes] = []
        encoded: list[bytes] = []
        others: list[FinishedSpan] = []
        left = spans
        if isinstance(first, tuple):
            left = [span for span in spans if span is not first]
            mould = self._mould(first, trace_field, trace_tag, first_tags) if first_tags is not None else None
            if mould is None:
                others.append(first)
            else:
                self._write([first], mould, first_made, others, others)
        # The tuples of one scope and service at a time; nearly always these are all.
        for _ in range(_MAX_MOULDS):
            compact = next((span for span in left if isinstance(span, tuple)), None)
            if compact is None:
                break
            rest: list[FinishedSpan] = []
            mould = self._mould(compact, trace_field, trace_tag, _NO_TAGS)
            if mould is None:
                _divide(left, compact, others, rest)
            else:
                self._write(left, mould, encoded, others, rest)
            left = rest
        for span in left:
            if not isinstance(span, SpanRecord):  # compact, of yet another scope or service
                others.append(span)
                continue
            is_first = span is first
            made = first_made if is_first else encoded
            extra = first_tags if is_first else _NO_TAGS
            if extra is None or not self._write_record(
                span, extra, trace_field, trace_tag, made, counted, telling_keys
            ):
                others.insert(0 if is_first else len(others), span)
        return first_made[0] if first_made else None, encoded, others

    def _mould(
        self, compact: CompactSpan, trace_field: bytes, trace_tag: bytes, extra: EncodedTags, variant: int = 0
    ) -> _Mould | None:
        """Return the mould of a span, unless it is out of the ordinary."""
        scope, service = compact[6], compact[8].get(_SERVICE_NAME)
        template = self._mapper.template_of(scope, service, variant)
        if template is None:
            return None
        if not template.head and not self._complete(template):
            return None
        keys = self._otel_keys if compact[5] is None else self._facade_keys
        return _Mould(scope, service, template, keys, extra, trace_field, trace_tag)

    def _write(  # noqa: C901, PLR0912, PLR0915 - the hot path: nothing is called that can be done in place (bench: ten-span)
        self,
        spans: Sequence[FinishedSpan],
        mould: _Mould,
        encoded: list[bytes],
        others: list[FinishedSpan],
        rest: list[FinishedSpan],
        *,
        may_learn: bool = True,
    ) -> None:
        """Encode the compact spans that fit a mould.

        Args:
            spans: Compact spans, and what goes to `rest`.
            mould: What they have in common.
            encoded: Takes the encoded ones.
            others: Takes those that are not ordinary.
            rest: Takes those of another mould, and what is not compact.
            may_learn: A span with unknown names is tried again.
        """
        mould_scope, service, template, keys, extra, trace_field, trace_tag = mould
        pack, double = self._pack, _PACK_DOUBLE
        names, resources, known = self._names, self._resources, keys.encoded
        head = template.head + trace_field
        default_name, default_type = template.operation_name, template.span_type
        first_texts = template.texts + trace_tag + extra.texts
        first_numbers = template.numbers + extra.numbers
        base_count = template.text_count + 1 + extra.text_count
        base_number_count = template.number_count + extra.number_count
        again: list[FinishedSpan] = []
        for span in spans:
            if not isinstance(span, tuple):
                rest.append(span)
                continue
            span_id, parent_id, start_ns, end_ns, resource, name, scope, values, parent_values = span
            # Identity: a service taken over from the parent is the same object.
            if scope is not mould_scope or parent_values.get(_SERVICE_NAME) is not service:
                rest.append(span)
                continue
            texts, numbers = b"", first_numbers
            # Counted one by one: a thread may still be setting an attribute, and a wrong count breaks the payload.
            text_count, number_count = base_count, base_number_count
            span_type = None
            try:
                for key, value in values.items():
                    field = known[key]
                    cls = value.__class__
                    if field is None:
                        # A field of the span instead of a tag.
                        if cls is not str:
                            break
                        if key == _RESOURCE_NAME:
                            resource = value or resource
                        elif key == _SPAN_TYPE:
                            span_type = value
                        elif value is not service:
                            break
                    elif cls is str:
                        texts += field + pack(value)
                        text_count += 1
                    elif cls is int:
                        numbers += field + double(_DOUBLE, value)
                        number_count += 1
                    elif cls is bool:
                        texts += field + (_TRUE if value else _FALSE)
                        text_count += 1
                    elif cls is float and value - value == 0.0:  # finite
                        numbers += field + double(_DOUBLE, value)
                        number_count += 1
                    else:
                        break
                else:
                    if service is not None:
                        if values.get(_SERVICE_NAME) is not service:
                            others.append(span)
                            continue
                        if _SERVICE_SOURCE not in values:
                            texts += self._by_hand
                            text_count += 1
                    if name is None:
                        name = default_name
                        span_type = span_type or default_type
                    begin = head
                    if span_type:
                        begin = template.head_with_type + pack(span_type) + trace_field
                    if parent_id:
                        ids = _NUMBERS(
                            _SPAN_ID, span_id, _PARENT_ID, parent_id, _START, start_ns, _DURATION, end_ns - start_ns
                        )
                    else:
                        begin = (_TEN_FIELDS if span_type else _NINE_FIELDS) + begin[1:]
                        ids = _NUMBERS_OF_ROOT(_SPAN_ID, span_id, _START, start_ns, _DURATION, end_ns - start_ns)
                    made = b"".join(
                        (
                            begin,
                            ids,
                            names[name],
                            resources.get(resource) or self._add_resource(resource),
                            _META[text_count],
                            first_texts,
                            texts,
                            _METRICS[number_count],
                            numbers,
                        )
                    )
                    if len(made) <= _MAX_BYTES and end_ns <= _MAX_NS and _DATADOG_SERVICE not in parent_values:
                        encoded.append(made)
                        continue
            except KeyError:  # a tag or operation not met before
                if may_learn and self._learn(keys, values, span[5] or default_name):
                    again.append(span)
                    continue
            except (UnicodeEncodeError, struct_error, TypeError, OverflowError, IndexError, RuntimeError):
                pass  # odd text, times, ids or names, very many tags, or a thread that is setting an attribute still
            others.append(span)
        if again:
            self._write(again, mould, encoded, others, rest, may_learn=False)

    def _write_record(
        self,
        span: SpanRecord,
        extra: EncodedTags,
        trace_field: bytes,
        trace_tag: bytes,
        encoded: list[bytes],
        counted: list[DDSpan] | None,
        telling_keys: frozenset[str],
    ) -> bool:
        """Encode a span that is no tuple, for example a local root; return whether it is ordinary."""
        parent = span.local_parent
        values = span.values or _NO_VALUES
        status_code, kind = span.status_code, span.otel_kind
        is_counted = parent is None or kind is not _INTERNAL
        if (
            status_code == STATUS_ERROR
            or span.event_records
            or span.link_records
            or (not span.is_local_root if parent is None else parent.scope is not span.scope)
            or (is_counted and counted is not None and not telling_keys.isdisjoint(values))
        ):
            return False
        parent_values = values if parent is None else parent.values or _NO_VALUES
        compact = (
            span.span_id, span.parent_id, span.start_ns, span.end_ns or 0, span.otel_name, span.operation_name,
            span.scope, values, parent_values,
        )  # fmt: skip
        # `_value_` and not `value`, which is a property written in Python.
        variant = kind._value_ * 6 + status_code * 2 + (parent is None)
        mould = self._mould(compact, trace_field, trace_tag, extra, variant)
        odd: list[FinishedSpan] = []
        if mould is not None:
            self._write([compact], mould, encoded, odd, odd)
        if mould is None or odd:
            return False
        if is_counted and counted is not None:
            counted.append(_told(compact, mould))
        return True

    def _learn(self, keys: PlainKeys, values: Mapping[str, Any], name: str) -> bool:  # Any: see SpanRecord.values
        """Remember the encoded forms of keys and of the operation name; `False` if one is odd or needs a rule."""
        pack = self._pack
        if len(keys.encoded) >= _MAX_NAMES:
            keys.forget_encoded()
        if len(self._names) >= _MAX_NAMES:
            self._names.clear()
        try:
            if not keys.admit(values):
                return False
            for key in (name, *values):
                if len(key) > _MAX_NAME_CHARS:
                    return False
            for key in values:
                if key not in keys.encoded:
                    keys.encoded[key] = pack(key)
            self._names[name] = _NAME + pack(name)
        except (UnicodeEncodeError, RuntimeError):  # the latter: a thread is setting an attribute still
            return False
        return True

    def _add_resource(self, resource: str) -> bytes:
        field = _RESOURCE + self._pack(resource)
        if len(resource) <= _MAX_NAME_CHARS:
            if len(self._resources) >= _MAX_NAMES:
                self._resources.clear()
            self._resources[resource] = field
        return field

    def _complete(self, template: Template) -> bool:
        """Prepare the constant bytes of a template; `False` if the service or a tag of all spans is odd text."""
        pack = self._pack
        try:
            field = b"\xa7service" + pack(template.service)
            template.texts = b"".join(pack(key) + pack(value) for key, value in template.meta.items())
            template.numbers = b"".join(pack(key) + pack(value) for key, value in template.metrics.items())
        except UnicodeEncodeError:
            return False
        template.head_with_type = _ELEVEN_FIELDS + field + _TYPE
        template.text_count = len(template.meta)
        template.number_count = len(template.metrics)
        template.head = _TEN_FIELDS + field
        return True


def _divide(
    spans: Sequence[FinishedSpan], compact: CompactSpan, alike: list[FinishedSpan], rest: list[FinishedSpan]
) -> None:
    """Part the compact spans of the scope and service of one from the rest."""
    scope, service = compact[6], compact[8].get(_SERVICE_NAME)
    for span in spans:
        is_alike = isinstance(span, tuple) and span[6] is scope and span[8].get(_SERVICE_NAME) is service
        (alike if is_alike else rest).append(span)


def _told(compact: CompactSpan, mould: _Mould) -> DDSpan:
    """Return what statistics need to know of a span."""
    span_id, parent_id, start_ns, end_ns, otel_name, name, _, values, _ = compact
    template = mould.template
    meta = template.meta
    if mould.service is not None and _SERVICE_SOURCE not in values:
        meta = {**meta, _SERVICE_SOURCE: "m"}
    fields = mould.keys.fields
    resource = values.get(_RESOURCE_NAME) if _RESOURCE_NAME in fields else None
    span_type = values.get(_SPAN_TYPE) if _SPAN_TYPE in fields else None
    return {
        "service": template.service,
        "name": template.operation_name if name is None else name,
        "resource": resource or otel_name,
        "type": span_type or (template.span_type if name is None else ""),
        "trace_id": 0,
        "span_id": span_id,
        "parent_id": parent_id,
        "start": start_ns,
        "duration": end_ns - start_ns,
        "meta": meta,
        "metrics": template.metrics,
    }
