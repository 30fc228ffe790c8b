"""What became of spans and traces, counted for `ddtrace_manual.counters()`, health metrics and telemetry."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Counters", "DropReason"]

DropReason = str
"""Why spans were lost:

`overfull_buffer`       the buffer had no room
`trace_processor`       a trace filter of the application dropped them
`serialization_error`   the spans could not be mapped or encoded
`too_large`             a single trace above the largest payload, or refused as such by the Agent
`rejected`              the Agent refused the payload (4xx), or this payload again and again while it took others
`shutdown`              the Agent did not take them before the end
`after_shutdown`        they ended after the end
"""


@dataclass(slots=True)
class Counters:
    """Running totals of one process.

    Every accepted span is settled exactly once, so `accepted = queued + sent + filtered + dropped`,
    where `overfull_buffer` and `after_shutdown` were not accepted.

    Without a lock, so that a signal handler can never meet a held one: the queue changes, under its
    own lock, what it accepts and the two reasons above; the worker changes everything else.
    """

    accepted_spans: int = 0
    accepted_chunks: int = 0
    taken_spans: int = 0
    """Accepted spans that a worker has taken out of its queue: it holds them, or they are settled. Worker only."""
    settled_spans: int = 0
    """Accepted spans that were sent, filtered or dropped."""
    sent_spans: int = 0
    sent_chunks: int = 0
    sent_payloads: int = 0
    sent_bytes: int = 0
    filtered_spans: int = 0
    """Unsampled, or rejected by the Agent's own filters; counted in statistics where they are on."""
    filtered_chunks: int = 0
    dropped_spans: dict[DropReason, int] = field(default_factory=dict)
    dropped_chunks: dict[DropReason, int] = field(default_factory=dict)
    requests: int = 0
    """HTTP attempts with traces, retries included."""
    errors: int = 0
    """Attempts that failed."""
    stats_payloads: int = 0
    """Payloads of statistics that the Agent took."""
    lost_stats_payloads: int = 0
    collapsed_spans: dict[str, int] = field(default_factory=dict)
    """Spans counted in statistics under a blocked value, by kind of limit (spec/client-stats.md §5)."""
    events: dict[str, int] = field(default_factory=dict)
    """Failures of hooks the application gave, by name. Two threads that fail in the same instant may count once."""
    last_error: str = ""

    @property
    def queued_spans(self) -> int:
        """Spans accepted and not yet settled."""
        return max(0, self.accepted_spans - self.settled_spans)

    @property
    def finished_spans(self) -> int:
        """Spans of all chunks that came here, accepted or not."""
        dropped = self.dropped_spans
        return self.accepted_spans + dropped.get("overfull_buffer", 0) + dropped.get("after_shutdown", 0)

    def drop(self, reason: DropReason, *, spans: int, chunks: int = 1) -> None:
        """Count a loss."""
        self.dropped_spans[reason] = self.dropped_spans.get(reason, 0) + spans
        self.dropped_chunks[reason] = self.dropped_chunks.get(reason, 0) + chunks

    def lose(self, reason: DropReason, *, spans: int, chunks: int = 1) -> None:
        """Count the loss of accepted spans. Worker only."""
        self.settled_spans += spans
        self.drop(reason, spans=spans, chunks=chunks)

    def count(self, event: str) -> None:
        """Count one event by name."""
        self.events[event] = self.events.get(event, 0) + 1
