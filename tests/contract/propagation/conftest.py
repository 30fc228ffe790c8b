"""A hop without a tracer: extract, start a local trace, decide where nobody did, inject."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from ddtrace_manual._model import RemoteContext, SegmentRecord
from ddtrace_manual.propagation import PropagationSettings, Propagator

if TYPE_CHECKING:
    from collections.abc import Callable

SPAN_ID = 0x000000024CB016EA
NEW_TRACE_ID = 0x6880A1B2000000000000000000000001


@dataclass
class Hop:
    """What came in, what the local trace knows, and what goes out of a child span."""

    remote: RemoteContext | None
    segment: SegmentRecord
    headers: dict[str, str]
    propagator: Propagator

    def inject_again(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        self.propagator.inject_state(self.segment.trace_id, SPAN_ID, self.segment, headers)
        return headers

    def member(self, name: str) -> str | None:
        """The value of one tracestate member that goes out."""
        for each in self.headers.get("tracestate", "").split(","):
            key, _, value = each.partition("=")
            if key == name:
                return value
        return None


@dataclass
class LocalDecision:
    """What the sampler would decide for a trace without a decision."""

    priority: int = 1
    mechanism: int = 0
    rate: float | None = 1.0
    extra_tags: dict[str, str] = field(default_factory=dict)


def start_segment(remote: RemoteContext | None, decision: LocalDecision) -> SegmentRecord:
    """Do what the engine and the sampler do with an extracted context."""
    segment = SegmentRecord()
    segment.trace_id = (remote.trace_id if remote is not None else 0) or NEW_TRACE_ID
    if remote is not None and remote.trace_id:
        segment.priority = remote.priority
        segment.origin = remote.origin
        segment.tags = dict(remote.tags) if remote.tags else None
        segment.members = remote.members
        segment.ot = remote.ot
        segment.is_random = remote.is_random
        segment.parent_tag = remote.parent_tag
        segment.propagation_error = remote.propagation_error
    if segment.priority is None:
        segment.priority = decision.priority
        segment.tags = {**(segment.tags or {}), "_dd.p.dm": f"-{decision.mechanism}", **decision.extra_tags}
        if decision.rate:
            segment.probability = (decision.rate, decision.priority > 0)
        else:
            segment.threshold_cleared = True
    return segment


@pytest.fixture
def hop() -> Callable[..., Hop]:
    """Carry headers through one service; keyword arguments are settings."""

    def carry(headers, decision: LocalDecision | None = None, local_marker: str | None = None, **settings) -> Hop:
        propagator = Propagator(PropagationSettings(**settings), local_marker=lambda: local_marker)
        remote = propagator.extract_remote(headers)
        segment = start_segment(remote, decision or LocalDecision())
        made = Hop(remote, segment, {}, propagator)
        made.headers = made.inject_again()
        return made

    return carry


@pytest.fixture
def decide() -> type[LocalDecision]:
    """How the sampler decides where nobody did: priority, mechanism, rate."""
    return LocalDecision


@pytest.fixture
def manually() -> Callable[[SegmentRecord, int], None]:
    """Do what a manual keep or drop does to a segment."""

    def decide_by_hand(segment: SegmentRecord, priority: int) -> None:
        segment.priority = priority
        segment.tags = {**(segment.tags or {}), "_dd.p.dm": "-4"}
        segment.probability = None
        segment.threshold_cleared = True

    return decide_by_hand
