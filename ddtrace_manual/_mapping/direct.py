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

from ddtrace_manual import _tags as tags
from ddtrace_manual._encoded import CountedSpan, StatsShape
from ddtrace_manual._model import STATUS_ERROR, SpanRecord

from .span_writer import Mould, SpanWriter
from .templates import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ddtrace_manual._compact import CompactSpan, FinishedSpan

    from .first import EncodedTags
    from .span import SpanMapper
    from .span_writer import Group, OfTrace

__all__ = ["OrdinarySpans"]

_MAX_SHAPES = 2_000
_MAX_SHAPE_CHARS = 1_000
"""Shapes with longer names (long queries) are made each time instead of being kept."""
_MAX_MOULDS = 16
"""Scopes and services of a chunk whose spans are looked for, each in one pass over the chunk."""
_INTERNAL = SpanKind.INTERNAL
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
        # Spans of the facade that name no service, by variant: nearly all are.
        self._facade_moulds: list[Mould | None] = [None] * VARIANTS
        # Shapes recur; the cache starts again when full.
        self._shapes: dict[tuple[object, ...], StatsShape] = {}

    def encode(
        self,
        spans: Sequence[FinishedSpan],
        first: FinishedSpan,
        first_tags: EncodedTags | None,
        trace_id: int,
        telling_keys: frozenset[str] | None,
        *,
        needs_care: bool,
    ) -> tuple[bytes, int, bool, list[CountedSpan], list[FinishedSpan]]:
        """Encode the ordinary spans of a chunk.

        Args:
            spans: Finished spans.
            first: The one that is to be the first of the chunk.
            first_tags: What it carries besides its own; `None`: it is not ordinary.
            trace_id: 128-bit.
            telling_keys: Attributes that statistics look at; `None` when there are no statistics.
            needs_care: As `SegmentRecord.needs_care`.

        Returns:
            The ordinary spans as v0.4 maps one after the other, how many, whether the first span is among them (and
            then it is the first), what statistics may count of them, and the spans that are not ordinary, among them
            the first span at the beginning.
        """
        writer = self._writer
        of_trace = writer.of_trace(trace_id, needs_care)
        out: list[bytes] = []
        others: list[FinishedSpan] = []
        rest: list[FinishedSpan] = []
        records: list[SpanRecord] = []
        counted: list[CountedSpan] = []
        groups: list[Group] = []
        is_record = isinstance(first, SpanRecord)
        of_first = self._group_of(first, first_tags, telling_keys) if first_tags is not None else None
        if of_first is None:
            others.append(first)
        else:
            groups.append(of_first)
        left = spans if is_record else [span for span in spans if span is not first]
        # The tuples of one scope and service at a time; nearly always these are all.
        compact: Any = left[0] if left else None  # Any: a tuple or not, which is asked next
        if compact.__class__ is tuple and (mould := self._mould_of(compact, needs_care)) is not None:
            groups.append((left, mould, None))
        else:
            rest += [span for span in left if span is not first]
        count = writer.write(groups, of_trace, out, others, rest, records)
        is_first_encoded = False
        if of_first is not None:
            (compact,), mould, _ = of_first
            # Another thread may have changed the service of its parent meanwhile: then it is in `rest`.
            if (others and others[0] is compact) or (rest and any(span is compact for span in rest)):
                others = [first, *(span for span in others if span is not compact)]
                rest = [span for span in rest if span is not compact]
            else:
                is_first_encoded = True
                if is_record and telling_keys is not None and _may_count(first):  # type: ignore[arg-type] # is_record says so
                    counted.append(self._counted(compact, mould))
        has_more_records = len(records) > (1 if is_record else 0)  # the first span is among them
        if rest or has_more_records:
            records = [span for span in records if span is not first]
            count += self._write_rest(rest, records, of_trace, out, others, counted, telling_keys)
        return b"".join(out), count, is_first_encoded, counted, others

    def _write_rest(
        self,
        rest: list[FinishedSpan],
        records: list[SpanRecord],
        of_trace: OfTrace,
        out: list[bytes],
        others: list[FinishedSpan],
        counted: list[CountedSpan],
        telling_keys: frozenset[str] | None,
    ) -> int:
        """Encode what is not of the mould of most: other scopes and services, and spans that are no tuples."""
        count = 0
        for _ in range(_MAX_MOULDS):
            left, rest = rest, []
            compact = next((span for span in left if not isinstance(span, SpanRecord)), None)
            if compact is None:
                records += left  # type: ignore[arg-type] # all of them are
                break
            mould = self._mould_of(compact, True)
            if mould is None:
                _divide(left, compact, others, rest, records)
            else:
                count += self._writer.write([(left, mould, None)], of_trace, out, others, rest, records)
        others += rest  # of yet another scope or service
        for span in records:
            group = self._group_of(span, None, telling_keys)
            if group is None or not self._writer.write([group], of_trace, out, [], [], []):
                others.append(span)
                continue
            count += 1
            if telling_keys is not None and _may_count(span):
                counted.append(self._counted(group[0][0], group[1]))  # type: ignore[arg-type] # made by _group_of
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

    def _mould_of(self, compact: CompactSpan, needs_care: bool) -> Mould | None:  # noqa: FBT001 - once per trace
        """Return the mould of a compact span, unless it is out of the ordinary."""
        service = compact[8].get(_SERVICE_NAME) if needs_care else None
        return self._mould(compact[6], compact[5], service, 0)

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
        is_usual = scope is None and service is None and name is not None
        if is_usual and (known := self._facade_moulds[variant]) is not None:
            return known
        template = self._mapper.template_of(scope, service, variant)
        if template is None:
            return None
        if not template.head and not self._writer.complete(template):
            return None
        mould = Mould(scope, service, template, self._otel_keys if name is None else self._facade_keys)
        if is_usual:
            self._facade_moulds[variant] = mould
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


def _divide(
    spans: Sequence[FinishedSpan],
    compact: CompactSpan,
    alike: list[FinishedSpan],
    rest: list[FinishedSpan],
    records: list[SpanRecord],
) -> None:
    """Part the compact spans of the scope and service of one from the rest."""
    scope, service = compact[6], compact[8].get(_SERVICE_NAME)
    for span in spans:
        if isinstance(span, SpanRecord):
            records.append(span)
        else:
            is_alike = span[6] is scope and span[8].get(_SERVICE_NAME) is service
            (alike if is_alike else rest).append(span)


def _may_count(span: SpanRecord) -> bool:
    """Tell whether statistics may count a span; `AggregationRules` decides."""
    return span.local_parent is None or span.otel_kind is not _INTERNAL
