"""A span, its events and its links as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

if TYPE_CHECKING:
    from .segment import SegmentRecord

__all__ = [
    "MAX_TEXT_CHARS",
    "STATUS_ERROR",
    "STATUS_OK",
    "STATUS_UNSET",
    "UNCHARGED_NAME_CHARS",
    "EventRecord",
    "LinkRecord",
    "SpanRecord",
]

MAX_TEXT_CHARS = 25_000
"""Longer texts are cut on their way to the Agent (spec/span-mapping.md §13)."""

UNCHARGED_NAME_CHARS = 128
"""Longer names of spans are charged to the memory budget (spec/trace-export.md §2)."""

# OpenTelemetry status codes, as the integers of `StatusCode`.
STATUS_UNSET = 0
STATUS_OK = 1
STATUS_ERROR = 2


class SpanRecord:
    """What one span recorded, in OpenTelemetry's words.

    The values are as the application gave them, copied where they were mutable; typing, renaming
    and flattening happen in `_mapping`.
    """

    otel_name: str = ""
    """Name of the OpenTelemetry span; resource name of last resort."""
    operation_name: str | None = None
    """Set iff the span was made by the Datadog-style facade: its operation name. An attribute `operation.name` wins."""
    otel_kind: SpanKind = SpanKind.INTERNAL
    span_id: int = 0
    parent_id: int = 0
    """Span id of the parent, local or remote; 0 = none."""
    start_ns: int = 0
    """Nanoseconds since the Unix epoch."""
    end_ns: int | None = None
    """`None` while the span is open."""
    values: Mapping[str, Any] | None = None  # Any: attributes may be of any type, see spec/span-mapping.md §7
    """Attributes in insertion order."""
    event_records: list[EventRecord] | None = None
    link_records: list[LinkRecord] | None = None
    status_code: int = STATUS_UNSET
    status_description: str | None = None
    scope: InstrumentationScope | None = None
    segment: SegmentRecord
    local_parent: SpanRecord | None = None
    """The parent when it lives in this process; `None` again once this span ended or was mapped (no chains of old
    spans)."""
    editor: int = 0
    """Id of the thread on which trace filters may change the span although it has ended; 0 = nobody may."""
    is_local_root: bool = False
    """No local parent: the trace begins here or continues a remote one."""


@dataclass(slots=True)
class EventRecord:
    """An event of a span."""

    name: str
    time_ns: int
    """Nanoseconds since the Unix epoch."""
    attributes: Mapping[str, Any] | None = None  # Any: as SpanRecord.values
    dropped_attributes: int = 0


@dataclass(slots=True)
class LinkRecord:
    """A link from a span to another."""

    trace_id: int
    """128-bit."""
    span_id: int
    attributes: Mapping[str, Any] = field(default_factory=dict)  # Any: as SpanRecord.values
    tracestate: str = ""
    """W3C header text; kept as text because OpenTelemetry's `TraceState` rejects legal foreign lists."""
    flags: int | None = None
    """W3C trace flags (low byte only), or `None` when unknown."""
    dropped_attributes: int = 0
    is_remote: bool = True
    """Whether the linked span is known to be of another process; OpenTelemetry exporters pass it on."""
