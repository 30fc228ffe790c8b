"""Writes spans as v0.4 maps, as far as these differ from their template: see `direct.py`, which chooses the spans.

Source: spec/trace-export.md §8.1.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ddtrace_manual._base import tags
from ddtrace_manual._base.ids import MASK_64
from ddtrace_manual._model import MAX_TEXT_CHARS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ddtrace_manual._model.finished_span import CompactSpan, FinishedSpan

    from .templates import PlainKeys, Template
    from .trace_tags import EncodedTags

__all__ = ["Beginnings", "Group", "Mould", "SpanWriter"]

_TIMES = Struct(">Q11sQ7sQ10sQ").pack
_TIMES_OF_ROOT = Struct(">Q7sQ10sQ").pack
"""What follows the name of the field `span_id`: its value, and the fields up to the duration."""
_SPAN_ID = b"\xa7span_id\xcf"
_PARENT_ID, _START, _DURATION = b"\xa9parent_id\xcf", b"\xa5start\xcf", b"\xa8duration\xcf"
_TRACE_ID = b"\xa8trace_id\xcf"
_NAME, _RESOURCE, _TYPE = b"\xa4name", b"\xa8resource", b"\xa4type"
_NINE_FIELDS, _TEN_FIELDS, _ELEVEN_FIELDS = b"\x89", b"\x8a", b"\x8b"
_MAX_SHORT_MAP = 15
_FEW_ENTRIES, _MANY_ENTRIES = 8, 300
_TRUE, _FALSE = b"\xa4true", b"\xa5false"
_SMALL_NUMBERS = {number: Struct(">Bd").pack(0xCB, number) for number in range(1_024)}
"""Counts, sizes, status codes: most integers are small."""
_MAX_NAMES = 2_000
_MAX_NAME_CHARS = 1_000
"""Longer names, keys and resources (long queries) are encoded each time instead of being kept."""
_MAX_NS = (1 << 63) - 1
_SERVICE_NAME, _RESOURCE_NAME, _SPAN_TYPE = tags.SERVICE_NAME, tags.RESOURCE_NAME, tags.SPAN_TYPE
_SERVICE_SOURCE = tags.SERVICE_SOURCE
_DATADOG_SERVICE = "datadog.service"


class Mould(NamedTuple):
    """What spans written one after the other have in common, whatever their trace."""

    scope: InstrumentationScope | None
    service: object
    """The service that they name, as given, and their parents too; `None` when they name none."""
    template: Template
    keys: PlainKeys


Beginnings: TypeAlias = tuple[list[bytes], list[bytes]]
"""How the maps of texts and of numbers of a span begin, by the number of pieces of what follows in them: name of the
field, header, and the entries that are always there. Trace id and further texts follow, and count."""
Group: TypeAlias = "tuple[Sequence[CompactSpan], Mould, EncodedTags | None]"
"""Spans, what they have in common, and further tags."""


class SpanWriter:
    """Writes the spans of one thread.

    Args:
        pack: Returns the msgpack form of a value; raises for text that is no valid Unicode.
    """

    def __init__(self, pack: Callable[[object], bytes]) -> None:
        self._pack = pack
        self._trace_tag = pack(tags.OTEL_TRACE_ID) + b"\xd9\x20"  # 32 hexadecimal digits follow
        self._by_hand = pack(_SERVICE_SOURCE), pack("m")
        # Names and resources recur; the caches start again when full.
        self._names: dict[str, bytes] = {}
        self._resources: dict[str, bytes] = {}
        # Fields of a name that is the resource too.
        self._double_names: dict[str, bytes] = {}

    def write(  # noqa: C901, PLR0912, PLR0915 - the hot path: nothing is called that can be done in place (bench: ten-span)
        self,
        groups: Iterable[Group],
        trace_id: int,
        needs_care: bool,  # once per trace
        out: list[bytes],
        others: list[FinishedSpan],
        rest: list[CompactSpan],
        *,
        may_learn: bool = True,
    ) -> int:
        """Encode the spans that fit the mould of their group.

        Args:
            groups: Spans with a mould and further tags. Besides those that fit there may be others.
            trace_id: Of all of them; 128-bit.
            needs_care: As `SegmentRecord.needs_care`.
            out: Takes the pieces of the encoded ones.
            others: Takes those that are not ordinary.
            rest: Takes those of another mould.
            may_learn: A span with unknown names is tried again.

        Returns:
            How many spans were encoded.
        """
        trace_field = _TRACE_ID + (trace_id & MASK_64).to_bytes(8, "big") + _SPAN_ID
        trace_tag = self._trace_tag + b"%032x" % trace_id
        pack, small, names, resources = self._pack, _SMALL_NUMBERS, self._names, self._resources
        double_names = self._double_names
        written = 0
        again: list[CompactSpan] = []
        for spans, mould, extra in groups:
            mould_scope, service, template, keys = mould
            is_careful = needs_care or service is not None
            known = keys.encoded
            head, typed_head = template.head + trace_field, b""
            beginning_of_texts, beginning_of_numbers = template.beginnings
            extra_texts = trace_tag
            if extra is not None:
                if extra is not template.extra:
                    # The texts themselves, such as the parent of each request, are not in the beginnings.
                    if template.extra is None or extra[1:] != template.extra[1:]:
                        template.extra_beginnings = _beginnings(template, extra, _FEW_ENTRIES)
                    template.extra = extra
                beginning_of_texts, beginning_of_numbers = template.extra_beginnings
                extra_texts += extra.texts
            for span in spans:
                span_id, parent_id, start_ns, end_ns, resource, name, scope, values, parent_values = span
                # Identity: a service taken over from the parent is the same object.
                if scope is not mould_scope or (is_careful and parent_values.get(_SERVICE_NAME) is not service):
                    rest.append(span)
                    continue
                span_type = None
                texts: list[bytes] = []
                numbers: list[bytes] = []
                try:
                    # Whatever is odd is found before `out` is touched.
                    for key, value in values.items():
                        field = known[key]
                        cls = type(value)
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
                            texts.append(field)
                            texts.append(pack(value))
                        elif cls is int:
                            numbers.append(field)
                            numbers.append(small.get(value) or pack(value * 1.0))
                        elif cls is bool:
                            texts.append(field)
                            texts.append(_TRUE if value else _FALSE)
                        elif cls is float and value - value == 0.0:  # finite
                            numbers.append(field)
                            numbers.append(pack(value))
                        else:
                            break
                    else:
                        if is_careful:
                            _look_closely(span, service)
                            if service is not None and _SERVICE_SOURCE not in values:
                                texts += self._by_hand
                        begin = head
                        if name is None:
                            name = template.operation_name
                            if not span_type and (span_type := template.span_type):
                                if not typed_head:
                                    typed_head = template.head_with_type + pack(span_type) + trace_field
                                begin = typed_head
                        if span_type and begin is head:
                            begin = template.head_with_type + pack(span_type) + trace_field
                        duration = end_ns - start_ns
                        if parent_id:
                            times = _TIMES(span_id, _PARENT_ID, parent_id, _START, start_ns, _DURATION, duration)
                        else:
                            begin = (_TEN_FIELDS if span_type else _NINE_FIELDS) + begin[1:]
                            times = _TIMES_OF_ROOT(span_id, _START, start_ns, _DURATION, duration)
                        if resource is name:
                            named = double_names[name]
                        else:
                            named = names[name] + (resources.get(resource) or self._add_resource(resource))
                        # Counted by pieces: a thread may still be setting an attribute, and a wrong count would break
                        # the payload.
                        begin_numbers = beginning_of_numbers[len(numbers)]
                        out += (begin, times, named, beginning_of_texts[len(texts)], extra_texts)
                        out += texts
                        out.append(begin_numbers)
                        out += numbers
                        written += 1
                        continue
                    others.append(span)
                except KeyError:  # a tag or operation not met before
                    is_new = may_learn and self._learn(keys, values, span[5] or template.operation_name)
                    (again if is_new else others).append(span)
                except IndexError:  # more tags than ever before
                    (again if may_learn and _widen(template, extra, len(values) + 1) else others).append(span)
                except (UnicodeEncodeError, struct_error, TypeError, OverflowError, RuntimeError):
                    # Odd text, times, ids or names, or a thread that is setting an attribute still.
                    others.append(span)
            if again:
                tried: list[Group] = [(again, mould, extra)]
                written += self.write(tried, trace_id, needs_care, out, others, rest, may_learn=False)
                again = []
        return written

    def _learn(self, keys: PlainKeys, values: Mapping[str, Any], name: str) -> bool:  # Any: see SpanRecord.values
        """Remember the encoded forms of keys and of the operation name; `False` if one is odd or needs a rule."""
        pack = self._pack
        if len(keys.encoded) >= _MAX_NAMES:
            keys.forget_encoded()
        if len(self._names) >= _MAX_NAMES:
            self._names.clear()
            self._double_names.clear()
        try:
            if not keys.admit(values):
                return False
            for key in (name, *values):
                if len(key) > _MAX_NAME_CHARS:
                    return False
            for key in values:
                if key not in keys.encoded:
                    keys.encoded[key] = pack(key)
            self._names[name] = field = _NAME + pack(name)
            self._double_names[name] = field + _RESOURCE + pack(name)
        except (UnicodeEncodeError, RuntimeError):  # the latter: a thread is setting an attribute still
            return False
        return True

    def _add_resource(self, resource: str) -> bytes:
        """Return the field of a resource.

        Raises:
            OverflowError: It is so long that it must be cut.
        """
        if len(resource) > MAX_TEXT_CHARS:
            raise OverflowError
        field = _RESOURCE + self._pack(resource)
        if len(resource) <= _MAX_NAME_CHARS:
            if len(self._resources) >= _MAX_NAMES:
                self._resources.clear()
            self._resources[resource] = field
        return field

    def complete(self, template: Template) -> bool:
        """Prepare the constant bytes of a template; `False` if the service or a tag of all spans is odd text."""
        pack = self._pack
        if max(map(len, (template.service, *template.meta.values()))) > MAX_TEXT_CHARS:
            return False
        try:
            field = b"\xa7service" + pack(template.service)
            template.texts = b"".join(pack(key) + pack(value) for key, value in template.meta.items())
            template.numbers = b"".join(pack(key) + pack(value) for key, value in template.metrics.items())
        except UnicodeEncodeError:
            return False
        template.beginnings = _beginnings(template, None, _FEW_ENTRIES)
        template.head_with_type = _ELEVEN_FIELDS + field + _TYPE
        template.head = _TEN_FIELDS + field
        return True


def _beginnings(template: Template, extra: EncodedTags | None, entries: int) -> Beginnings:
    """Return how the two maps of a span begin when up to so many entries of its own follow in each."""
    text_count, number_count, numbers = len(template.meta) + 1, len(template.metrics), template.numbers
    if extra is not None:
        text_count += extra.text_count
        number_count += extra.number_count
        numbers += extra.numbers
    return (
        _beginnings_of_map(b"\xa4meta", text_count, template.texts, entries),
        _beginnings_of_map(b"\xa7metrics", number_count, numbers, entries),
    )


def _widen(template: Template, extra: EncodedTags | None, entries: int) -> bool:
    """Make room for so many entries in the maps of spans; `False` if these are too many to be kept."""
    if entries > _MANY_ENTRIES:
        return False
    beginnings = template.beginnings if extra is None else template.extra_beginnings
    for known, wider in zip(beginnings, _beginnings(template, extra, entries), strict=True):
        known[:] = wider  # in place: they are being used
    return True


def _beginnings_of_map(name: bytes, count: int, constants: bytes, entries: int) -> list[bytes]:
    """Return name, header and constants of a map with room for 0, 1, 2 … entries, each twice: they have two pieces."""
    made = []
    for length in range(count, count + entries + 1):
        header = bytes((0x80 | length,)) if length <= _MAX_SHORT_MAP else b"\xde" + length.to_bytes(2, "big")
        made += [name + header + constants] * 2
    return made


def _look_closely(compact: CompactSpan, service: object) -> None:
    """Look for what makes a span of a trace that needs care out of the ordinary.

    Raises:
        OverflowError: There is something.
        RuntimeError: Another thread is setting an attribute still.
    """
    _, _, _, end_ns, _, _, _, values, parent_values = compact
    if (
        end_ns > _MAX_NS
        or _DATADOG_SERVICE in parent_values
        or (service is not None and values.get(_SERVICE_NAME) is not service)
        or any(type(value) is str and len(value) > MAX_TEXT_CHARS for value in values.values())
    ):
        raise OverflowError
