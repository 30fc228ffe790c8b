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

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from ddtrace_manual._base import tags
from ddtrace_manual._encoding.encoded_chunk import CountedSpan, StatsShape
from ddtrace_manual._encoding.templates import FIELD_KEYS, VARIANTS
from ddtrace_manual._encoding.v04_writer import Mould, SpanWriter
from ddtrace_manual._model import STATUS_ERROR, SpanRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ddtrace_manual._encoding.templates import PlainKeys
    from ddtrace_manual._encoding.trace_tags import EncodedTags
    from ddtrace_manual._encoding.v04_writer import Group
    from ddtrace_manual._model import SegmentRecord
    from ddtrace_manual._model.finished_span import CompactSpan, FinishedSpan

    from .span import SpanMapper

__all__ = ["OrdinarySpans"]

_MAX_SHAPES = 2_000
_MAX_SHAPE_CHARS = 1_000
"""Shapes with longer names (long queries) are made each time instead of being kept."""
_MAX_MOULDS = 16
"""Scopes and services of a chunk whose spans are looked for, each in one pass over the chunk."""
_INTERNAL = SpanKind.INTERNAL
_MAX_NS = (1 << 63) - 1
_SCALARS = frozenset({str, int, bool, float})
_DATADOG_SERVICE = "datadog.service"
_NO_VALUES: dict[str, Any] = {}  # Any: as SpanRecord.values
_SERVICE_NAME, _RESOURCE_NAME, _SPAN_TYPE = tags.SERVICE_NAME, tags.RESOURCE_NAME, tags.SPAN_TYPE
_SERVICE_SOURCE = tags.SERVICE_SOURCE


class OrdinarySpans:
    """Encodes ordinary spans. Used by the worker thread only.

    Args:
        mapper: Knows templates and plain keys.
        pack: Returns the msgpack form of a value; raises for text that is no valid Unicode.
    """

    def __init__(self, mapper: SpanMapper, pack: Callable[[object], bytes]) -> None:
        self._mapper = mapper
        self._writer = SpanWriter(pack)
        self._facade_keys = mapper.facade_keys
        self._otel_keys = mapper.otel_keys
        # Of spans that name no service, by variant: the one used last, which nearly always fits.
        self._last_moulds: list[Mould | None] = [None] * VARIANTS
        # Shapes recur; the cache starts again when full.
        self._shapes: dict[tuple[object, ...], StatsShape] = {}

    def encode(
        self,
        segment: SegmentRecord,
        spans: Sequence[FinishedSpan],
        first: FinishedSpan,
        first_tags: EncodedTags | None,
        telling_keys: frozenset[str] | None,
        *,
        needs_care: bool,
    ) -> tuple[list[bytes], int, bool, list[CountedSpan], list[FinishedSpan]]:
        """Encode the ordinary spans of a chunk.

        Args:
            segment: Their local trace.
            spans: Finished spans.
            first: The one that is to be the first of the chunk.
            first_tags: What it carries besides its own; `None`: it is not ordinary.
            telling_keys: Attributes that statistics look at; `None` when there are no statistics.
            needs_care: Of the segment, which may change meanwhile.

        Returns:
            The ordinary spans as v0.4 maps one after the other, in pieces behind an empty one; how many; whether the
            first span is among them (and then it is the first); what statistics may count of them; and the spans that
            are not ordinary, among them the first span at the beginning.
        """
        trace_id = segment.trace_id
        out: list[bytes] = [b""]
        others: list[FinishedSpan] = []
        rest: list[CompactSpan] = []
        counted: list[CountedSpan] = []
        groups: list[Group] = []
        records: Sequence[SpanRecord] = ()
        left: Sequence[CompactSpan]
        if first is spans[-1] and not segment.holds_records and first.__class__ is not tuple:
            left = spans[:-1]  # type: ignore[assignment] # that is what the segment says
        else:
            left = [span for span in spans if not isinstance(span, SpanRecord) and span is not first]
            records = [span for span in spans if isinstance(span, SpanRecord) and span is not first]
        of_first = self._group_of(first, first_tags, telling_keys) if first_tags is not None else None
        if of_first is None:
            others.append(first)
        else:
            groups.append(of_first)
        if left:
            # The spans of one scope and service at a time; nearly always these are all.
            mould = self._mould_of(left[0], needs_care)
            if mould is None:
                rest = left  # type: ignore[assignment] # it is a list of its own
            else:
                groups.append((left, mould, None))
        count = self._writer.write(groups, trace_id, needs_care, out, others, rest)
        is_first_encoded = False
        if of_first is not None:
            (compact,), mould, _ = of_first
            # Another thread may have changed the service of its parent meanwhile: then it is in `rest`.
            if (others and others[0] is compact) or (rest and any(span is compact for span in rest)):
                others = [first, *(span for span in others if span is not compact)]
                rest = [span for span in rest if span is not compact]
            else:
                is_first_encoded = True
                if telling_keys is not None and isinstance(first, SpanRecord) and _may_count(first):
                    counted.append(self._counted(compact, mould))
        if rest or records:
            count += self._write_rest(rest, records, (trace_id, needs_care), out, others, counted, telling_keys)
        return out, count, is_first_encoded, counted, others

    def count(
        self, spans: Sequence[FinishedSpan], root: SpanRecord | None, stats_keys: frozenset[str], *, needs_care: bool
    ) -> tuple[list[CountedSpan], list[FinishedSpan]]:
        """Return what statistics may count of the simple spans of a dropped trace, and the spans that are not simple.

        A simple span has no error and no reason of its own to be sent; nothing is encoded.

        Args:
            spans: Finished spans of one local trace.
            root: The local root when it is not simple whatever it holds.
            stats_keys: Attributes that statistics look at.
            needs_care: Of the segment.
        """
        counted: list[CountedSpan] = []
        slow_path_spans: list[FinishedSpan] = []
        last_scope: object = self  # no scope
        last_service: object = None
        is_known, keys = False, self._facade_keys
        for span in spans:
            if isinstance(span, SpanRecord):
                group = None if span is root else self._group_of(span, None, stats_keys)
                if group is None:
                    slow_path_spans.append(span)
                    continue
                (compact,), mould, _ = group
                may_count = _may_count(span)
                if _is_simple(compact, mould.keys, mould.service) and not (may_count and _has_odd_values(compact)):
                    if may_count:
                        counted.append(self._counted(compact, mould))
                else:
                    slow_path_spans.append(span)
                continue
            _, _, _, _, _, _, scope, values, parent_values = span
            service = parent_values.get(_SERVICE_NAME) if needs_care else None
            if scope is not last_scope or service is not last_service:
                last_scope, last_service = scope, service
                found = self._mould_of(span, needs_care)
                is_known = found is not None
                if found is not None:
                    keys = found.keys
            # Most spans have only keys that are known to be plain (bench: ten-span, of a dropped trace).
            if not is_known or (
                (needs_care or not keys.plain.issuperset(values)) and not _is_simple(span, keys, service)
            ):
                slow_path_spans.append(span)
        return counted, slow_path_spans

    def _write_rest(
        self,
        rest: list[CompactSpan],
        records: Sequence[SpanRecord],
        of_trace: tuple[int, bool],
        out: list[bytes],
        others: list[FinishedSpan],
        counted: list[CountedSpan],
        telling_keys: frozenset[str] | None,
    ) -> int:
        """Encode what is not of the mould of most: other scopes and services, and spans that are no tuples."""
        count = 0
        for _ in range(_MAX_MOULDS):
            if not rest:
                break
            left, rest = rest, []
            mould = self._mould_of(left[0], True)
            if mould is None:
                rest = _set_aside(left, others)
            else:
                count += self._writer.write([(left, mould, None)], *of_trace, out, others, rest)
        others += rest  # of yet another scope or service
        for span in records:
            group = self._group_of(span, None, telling_keys)
            if group is None or not self._writer.write([group], *of_trace, out, [], []):
                others.append(span)
                continue
            count += 1
            if telling_keys is not None and _may_count(span):
                counted.append(self._counted(group[0][0], group[1]))
        return count

    def _group_of(
        self, span: FinishedSpan, extra: EncodedTags | None, telling_keys: frozenset[str] | None
    ) -> Group | None:
        """Return what `SpanWriter.write` takes to encode this span; `None` when it is not ordinary."""
        if not isinstance(span, SpanRecord):
            mould = self._mould_of(span, True)
            return None if mould is None else ((span,), mould, extra)
        parent, scope, name = span.local_parent, span.scope, span.operation_name
        values = span.values or _NO_VALUES
        parent_values = values if parent is None else parent.values or _NO_VALUES
        status_code, kind = span.status_code, span.otel_kind
        if (
            status_code == STATUS_ERROR
            or span.event_records
            or span.link_records
            or (not span.is_local_root if parent is None else parent.scope is not scope)
            or (telling_keys is not None and not telling_keys.isdisjoint(values) and _may_count(span))
        ):
            return None
        compact = (
            span.span_id, span.parent_id, span.start_ns, span.end_ns or 0, span.otel_name, name, scope, values,
            parent_values,
        )  # fmt: skip
        # `_value_` and not `value`, which is a property written in Python.
        variant = kind._value_ * 6 + status_code * 2 + (parent is None)
        mould = self._mould(scope, name, parent_values.get(_SERVICE_NAME), variant)
        return None if mould is None else ((compact,), mould, extra)

    def _mould_of(self, compact: CompactSpan, needs_care: bool) -> Mould | None:  # once per trace
        """Return the mould of a compact span, unless it is out of the ordinary."""
        _, _, _, _, _, name, scope, _, parent_values = compact
        return self._mould(scope, name, parent_values.get(_SERVICE_NAME) if needs_care else None, 0)

    def _mould(
        self, scope: InstrumentationScope | None, name: str | None, service: object, variant: int
    ) -> Mould | None:
        """Return the mould of spans, unless they are out of the ordinary.

        Args:
            scope: Their instrumentation scope.
            name: Operation name of one of them; `None` if they were made through OpenTelemetry.
            service: The service that they and their parents name, as given.
            variant: See `templates.VARIANTS`.
        """
        # Those of the facade, which have an operation name, have no scope; those of OpenTelemetry the other way round.
        is_usual = service is None and (scope is None) is (name is not None)
        if is_usual and (known := self._last_moulds[variant]) is not None and known.scope is scope:
            return known
        template = self._mapper.template_of(scope, service, variant)
        if template is None:
            return None
        if not template.head and not self._writer.complete(template):
            return None
        mould = Mould(scope, service, template, self._otel_keys if name is None else self._facade_keys)
        if is_usual:
            self._last_moulds[variant] = mould
        return mould

    def _counted(self, compact: CompactSpan, mould: Mould) -> CountedSpan:
        """Return what statistics need to know of a span; they look at no other attributes of ordinary ones."""
        _, parent_id, start_ns, end_ns, otel_name, name, _, values, _ = compact
        template = mould.template
        resource = span_type = None
        if _RESOURCE_NAME in mould.keys.fields:
            resource, span_type = values.get(_RESOURCE_NAME), values.get(_SPAN_TYPE)
        by_hand = mould.service is not None and _SERVICE_SOURCE not in values
        key = template, name, resource or otel_name, span_type, parent_id == 0, by_hand
        shape = self._shapes.get(key)
        if shape is None:
            shape = StatsShape(
                {
                    "service": template.service,
                    "name": template.operation_name if name is None else name,
                    "resource": resource or otel_name,
                    "type": span_type or (template.span_type if name is None else ""),
                    "trace_id": 0,
                    "span_id": 0,
                    "parent_id": parent_id,
                    "start": 0,
                    "duration": 0,
                    "meta": {**template.meta, _SERVICE_SOURCE: "m"} if by_hand else template.meta,
                    "metrics": template.metrics,
                },
                recurs=len(otel_name) + len(resource or "") + len(span_type or "") <= _MAX_SHAPE_CHARS,
            )
            if shape.recurs:
                if len(self._shapes) >= _MAX_SHAPES:
                    self._shapes.clear()
                self._shapes[key] = shape
        return shape, end_ns, end_ns - start_ns


def _set_aside(spans: Sequence[CompactSpan], others: list[FinishedSpan]) -> list[CompactSpan]:
    """Add the spans of the scope and service of the first to `others`; return the rest."""
    _, _, _, _, _, _, scope, _, parent_values = spans[0]
    service = parent_values.get(_SERVICE_NAME)
    rest: list[CompactSpan] = []
    for span in spans:
        is_alike = span[6] is scope and span[8].get(_SERVICE_NAME) is service
        (others if is_alike else rest).append(span)
    return rest


def _may_count(span: SpanRecord) -> bool:
    """Tell whether statistics may count a span; `AggregationRules` decides."""
    return span.local_parent is None or span.otel_kind is not _INTERNAL


def _is_simple(span: CompactSpan, keys: PlainKeys, service: object) -> bool:
    """Tell whether no attribute makes a span one that statistics count, or one that the Agent must get."""
    _, _, _, _, _, _, _, values, parent_values = span
    return keys.admit(values) and values.get(_SERVICE_NAME) is service and _DATADOG_SERVICE not in parent_values


def _has_odd_values(span: CompactSpan) -> bool:
    """Tell whether times or attributes of a span that statistics may count are not simply written as they are."""
    _, _, start_ns, end_ns, _, _, _, values, _ = span
    return not 0 <= start_ns <= end_ns <= _MAX_NS or any(
        type(value) not in _SCALARS or (key in FIELD_KEYS and type(value) is not str) for key, value in values.items()
    )
