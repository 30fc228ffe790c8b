"""Value types that several parts share: what a trace carries, what a span recorded, what goes on the wire.

    carrier → RemoteContext → SegmentRecord ← SpanRecord … → DDSpan → payload

`SpanRecord` and `SegmentRecord` are plain data with class-level defaults: an instance holds only
what differs from the default, which is what makes a span cheap, and lets the mapping and the
sampler be tested without a tracer. The engine (`_tracing`) subclasses both and adds behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from opentelemetry.trace import SpanKind
from typing_extensions import Required

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

__all__ = [
    "AUTO_KEEP",
    "AUTO_REJECT",
    "MAX_TEXT_CHARS",
    "MECHANISM_AGENT_RATE",
    "MECHANISM_DEFAULT",
    "MECHANISM_MANUAL",
    "MECHANISM_REMOTE_DYNAMIC_RULE",
    "MECHANISM_REMOTE_USER_RULE",
    "MECHANISM_RULE",
    "MECHANISM_SPAN_RULE",
    "RANDOM_FLAG",
    "STATUS_ERROR",
    "STATUS_OK",
    "STATUS_UNSET",
    "USER_KEEP",
    "USER_REJECT",
    "DDSpan",
    "EventRecord",
    "HeaderCache",
    "LinkRecord",
    "PropagationState",
    "RemoteContext",
    "SegmentRecord",
    "SpanRecord",
]

# Sampling priorities (spec/sampling.md §2). Keep iff > 0; other integers may arrive and are preserved.
USER_REJECT = -1
AUTO_REJECT = 0
AUTO_KEEP = 1
USER_KEEP = 2

# Bit of the W3C trace flags: the trace id is random (spec/propagation.md §5.1).
RANDOM_FLAG = 2

# Sampling mechanisms: `_dd.p.dm` is "-" followed by the number (spec/sampling.md §2).
MECHANISM_DEFAULT = 0
MECHANISM_AGENT_RATE = 1
MECHANISM_RULE = 3
MECHANISM_MANUAL = 4
MECHANISM_SPAN_RULE = 8
MECHANISM_REMOTE_USER_RULE = 11
MECHANISM_REMOTE_DYNAMIC_RULE = 12

MAX_TEXT_CHARS = 25_000
"""Longer texts are cut on their way to the Agent (spec/span-mapping.md §13)."""

# OpenTelemetry status codes, as the integers of `StatusCode`.
STATUS_UNSET = 0
STATUS_OK = 1
STATUS_ERROR = 2


class HeaderCache(Protocol):
    """Headers written for one span of a trace, to be written again for another one."""

    def write(self, state: PropagationState, span_id: int, headers: dict[str, str]) -> bool:
        """Add the headers of a span; return False when the state has changed since they were made."""
        ...


class PropagationState:
    """What travels with a trace besides its ids; shared by all spans of one local trace.

    Mutable. Whoever changes these fields of a segment holds the engine's decision lock.

    Source: spec/propagation.md §1.1.
    """

    priority: int | None = None
    """Sampling priority; `None` until known. Any integer survives pass-through."""
    origin: str | None = None
    """`x-datadog-origin`, for example `synthetics`."""
    tags: dict[str, str] | None = None
    """Propagated tags `_dd.p.*` in order of arrival, `_dd.p.dm` and `_dd.p.ksr` among them; never `_dd.p.tid`."""
    members: tuple[tuple[str, str], ...] = ()
    """tracestate members of other vendors, in order; `dd` and `ot` excluded."""
    ot: tuple[tuple[str, str | None], ...] | None = None
    """Items of the received `ot` member, sanitised, in order: (key, value), or (text, None) for one without colon."""
    probability: tuple[float, bool] | None = None
    """(rate, kept) of a local decision that was a probability decision; `ot` is computed from it on injection."""
    threshold_cleared: bool = False
    """A later decision was not probabilistic: `th` must not be written (spec/propagation.md §6.3)."""
    probability_unknown: bool = False
    """A user's sampler took part: nothing is computed for `ot` (spec/propagation.md §6.1)."""
    is_random: bool = False
    """The W3C random flag of the trace id: set in every `traceparent` (spec/propagation.md §5.1)."""
    propagation_error: str | None = None
    """Value of `_dd.propagation_error`; the last error wins."""
    parent_tag: str | None = None
    """Value of `_dd.parent_id`: the last Datadog span id (`p` of the `dd` member), verbatim."""
    repeated_headers: HeaderCache | None = None
    """What the propagator wrote last, for the next injection; it checks itself whether that still holds."""


class RemoteContext(PropagationState):
    """What an extraction found. One instance belongs to one request; nothing is shared between two.

    Attributes:
        trace_id: 128-bit, 0 = no trace found (links may still be there: behaviour `restart`).
        span_id: 64-bit id of the calling span; 0 is legal (spec/propagation.md §4.5).
        style: First style that gave a context, for example `datadog`; "" for none.
        flags: W3C trace flags as received, or `None`.
        links: Span links produced by the extraction, for the first span started from this context.
        span_is_datadog: Whether `span_id` may be written as `p` when this context is injected as it is (§5.6).
        segment: The local trace that was started from this context, once there is one; set by the engine.
    """

    segment: SegmentRecord | None = None

    def __init__(
        self,
        trace_id: int = 0,
        span_id: int = 0,
        *,
        style: str = "",
        flags: int | None = None,
        links: tuple[LinkRecord, ...] = (),
        span_is_datadog: bool = True,
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.style = style
        self.flags = flags
        self.links = links
        self.span_is_datadog = span_is_datadog

    def __repr__(self) -> str:
        return (
            f"RemoteContext(trace_id={self.trace_id:032x}, span_id={self.span_id:016x}, style={self.style!r}, "
            f"priority={self.priority}, origin={self.origin!r}, tags={self.tags}, members={self.members}, ot={self.ot})"
        )


class SegmentRecord(PropagationState):
    """One local trace: all spans of a trace that descend from one entry into this process.

    The sampler writes `priority`, `tags`, `probability` and the `*_rate` fields; `map_chunk` reads all.
    """

    trace_id: int = 0
    """128-bit trace id."""
    local_root: SpanRecord | None = None
    """First span of the segment; `None` after the segment has been exported (breaks a reference cycle)."""
    decided: bool = False
    """The priority is final; only a manual decision changes it."""
    manual: bool = False
    """A manual keep or drop decided."""
    rule_rate: float | None = None
    """`_dd.rule_psr`, on the local root."""
    agent_rate: float | None = None
    """`_dd.agent_psr`, on the local root."""
    limit_rate: float | None = None
    """`_dd.limit_psr`, on the local root."""
    extra_bytes: int = 0
    """Roughly the bytes that values of finished and open spans take beyond what every span is charged; see
    `spec/trace-export.md` §2. Kept while values are set, so that nothing has to be measured at the end."""
    needs_care: bool = True
    """The trace may have an origin or members of other vendors, or a span of it a service of its own, a time that was
    given, or a text so long that it must be cut: what most traces have not, and would cost to look for in each span.

    The engine sets it wherever such a thing enters: `Segment.inherit`; `Span._note` for the keys of services, also as
    attributes of `start_span`; given times of start and end; `Segment.charge` for long texts. Trace filters,
    which may change anything, make `Pipeline` set it."""
    holds_records: bool = True
    """Finished spans besides the local root may be records instead of tuples (`_compact.py`), and then refer to their
    local parents, which the exporter makes them forget."""


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


class DDSpan(TypedDict, total=False):
    """A Datadog span: the v0.4 map, as the mapping makes it (spec/trace-export.md §8.1).

    `service`, `name`, `resource`, `trace_id`, `span_id`, `start`, `duration`, `meta` and `metrics`
    are always there; `parent_id`, `error`, `type` and the rest only when not empty.
    `span_links` and `span_events` are in native form; encoders that need the text forms convert.
    """

    service: Required[str]
    name: Required[str]
    resource: Required[str]
    type: str
    trace_id: Required[int]
    span_id: Required[int]
    parent_id: int
    start: Required[int]
    duration: Required[int]
    error: int
    meta: Required[dict[str, str]]
    metrics: Required[dict[str, float]]
    meta_struct: dict[str, bytes]
    span_links: list[dict[str, Any]]  # Any: mixed value types, see §8.1
    span_events: list[dict[str, Any]]
