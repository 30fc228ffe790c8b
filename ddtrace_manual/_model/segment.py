"""A local trace as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .propagation import PropagationState

if TYPE_CHECKING:
    from .span import SpanRecord

__all__ = [
    "SegmentRecord",
]


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
    attributes of `start_span`; given times of start and end; `Segment.reserve_bytes` for long texts. Trace filters,
    which may change anything, make `Pipeline` set it."""
    holds_records: bool = True
    """Finished spans besides the local root may be records instead of tuples (`_model/finished_span.py`), and then
    refer to their local parents, which the exporter makes them forget."""
