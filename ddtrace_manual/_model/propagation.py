"""Value types that several parts share: what a trace carries, what a span recorded, what goes on the wire.

    carrier → RemoteContext → SegmentRecord ← SpanRecord … → DDSpan → payload

`SpanRecord` and `SegmentRecord` are plain data with class-level defaults: an instance holds only
what differs from the default, which is what makes a span cheap, and lets the mapping and the
sampler be tested without a tracer. The engine (`_tracing`) subclasses both and adds behaviour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .segment import SegmentRecord
    from .span import LinkRecord

__all__ = [
    "AUTO_KEEP",
    "AUTO_REJECT",
    "MECHANISM_AGENT_RATE",
    "MECHANISM_DEFAULT",
    "MECHANISM_MANUAL",
    "MECHANISM_REMOTE_DYNAMIC_RULE",
    "MECHANISM_REMOTE_USER_RULE",
    "MECHANISM_RULE",
    "MECHANISM_SPAN_RULE",
    "RANDOM_FLAG",
    "USER_KEEP",
    "USER_REJECT",
    "HeaderCache",
    "PropagationState",
    "RemoteContext",
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
