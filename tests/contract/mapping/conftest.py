"""Spans written down as keyword arguments, and what the mapping makes of them."""

from collections.abc import Callable

import pytest
from opentelemetry.trace import SpanKind

from ddtrace_manual._mapping import Mapper, MappingSettings
from ddtrace_manual._model import AUTO_KEEP, DDSpan, SegmentRecord, SpanRecord

KINDS = {kind.name: kind for kind in SpanKind}


def build_span(attributes=None, *, kind="INTERNAL", segment=None, **fields) -> SpanRecord:
    """A finished local root unless `fields` say otherwise."""
    span = SpanRecord()
    span.otel_name = "otel.name"
    span.otel_kind = KINDS[kind]
    span.span_id = 2
    span.start_ns = 1_000
    span.end_ns = 1_500
    span.is_local_root = True
    span.values = attributes
    if segment is None:
        segment = SegmentRecord()
        segment.trace_id = 1
        segment.priority = AUTO_KEEP
    span.segment = segment
    for name, value in fields.items():
        setattr(span, name, value)
    if segment.local_root is None and span.is_local_root:
        segment.local_root = span
    return span


@pytest.fixture
def make_span() -> Callable[..., SpanRecord]:
    return build_span


@pytest.fixture
def map_one() -> Callable[..., DDSpan]:
    """Map one span, alone in its chunk: `map_one({"a": 1}, kind="CLIENT", settings={"env": "prod"})`."""

    def run(attributes=None, *, settings=None, **fields) -> DDSpan:
        span = build_span(attributes, **fields)
        (dd_span,) = Mapper(MappingSettings(**(settings or {}))).map_chunk(span.segment, [span], partial=False)
        return dd_span

    return run
