"""The form in which most finished spans wait for the exporter: a tuple instead of the span.

Most spans are never looked at again by the application: with the tuple in the queue, the span object
and its memory are free at once for the next one, the garbage collector has nothing to visit, and the
worker unpacks one tuple instead of reading ten attributes (bench: ten-span).

A span is compact when its parent is local, of the same instrumentation scope, and it has neither
events, links, a status nor a kind other than internal. The values of the parent are there because its
service, which may still change, says whether the span enters a service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .span import SpanRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from .segment import SegmentRecord

__all__ = ["CompactSpan", "FinishedSpan", "expanded"]

CompactSpan: TypeAlias = tuple[
    int,  # span id
    int,  # parent id
    int,  # start, ns
    int,  # end, ns
    str,  # OpenTelemetry name
    "str | None",  # operation name
    "InstrumentationScope | None",
    Mapping[str, Any],  # values  # Any: attributes may be of any type
    Mapping[str, Any],  # values of the parent  # Any: likewise
]
"""A finished span. Made in two places, `Span.end` and `SpanScope.__exit__`."""

FinishedSpan: TypeAlias = "SpanRecord | CompactSpan"

_Record = TypeVar("_Record", bound=SpanRecord)


def expanded(compact: CompactSpan, segment: SegmentRecord, kind: type[_Record]) -> _Record:
    """Return the span again, as a record of the given class; its parent is a substitute.

    Args:
        compact: The span.
        segment: Its local trace.
        kind: Class of the record; its constructor is not run.
    """
    span, parent = object.__new__(kind), object.__new__(kind)
    (
        span.span_id,
        span.parent_id,
        span.start_ns,
        span.end_ns,
        span.otel_name,
        span.operation_name,
        span.scope,
        span.values,
        parent.values,
    ) = compact
    span.segment = parent.segment = segment
    span.local_parent = parent
    parent.span_id, parent.scope = span.parent_id, span.scope
    # Of one scope, hence made the same way: by the facade or through OpenTelemetry.
    parent.operation_name = None if span.operation_name is None else ""
    return span
