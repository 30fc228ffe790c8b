"""What became of spans and traces, counted for `ddtrace_manual.counters()`, health metrics and telemetry."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from typing_extensions import Self

__all__ = ["Counters", "DropReason"]


class DropReason(str, Enum):
    """Why finished spans were lost. Members equal their text, under which they are reported.

    Attributes:
        was_accepted: The queue had accepted the spans. They count in `Counters.accepted_spans`.
        is_failure: Spans that the application wanted to keep did not arrive: `flush()` returns `False`.
    """

    was_accepted: bool
    is_failure: bool

    OVERFULL_BUFFER = "overfull_buffer", False, False
    """The buffer had no room."""
    AFTER_SHUTDOWN = "after_shutdown", False, False
    """The spans ended after `shutdown()`."""
    TRACE_PROCESSOR = "trace_processor", True, False
    """A trace filter of the application dropped them."""
    SERIALIZATION_ERROR = "serialization_error", True, True
    """The spans could not be mapped or encoded."""
    TOO_LARGE = "too_large", True, True
    """A single trace exceeds the largest payload, or the Agent refused it as too large."""
    REJECTED = "rejected", True, True
    """The Agent refused the payload (4xx), or refused this payload repeatedly while it took others."""
    SHUTDOWN = "shutdown", True, True
    """The Agent did not take them before `shutdown()` ended."""

    def __new__(cls, text: str, was_accepted: bool, is_failure: bool) -> Self:  # only called above
        member = str.__new__(cls, text)
        member._value_ = text
        member.was_accepted = was_accepted
        member.is_failure = is_failure
        return member

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment] # annotated as a function of two arguments


_NOT_ACCEPTED = tuple(reason for reason in DropReason if not reason.was_accepted)
_FAILURES = tuple(reason for reason in DropReason if reason.is_failure)


@dataclass(slots=True)
class Counters:
    """Running totals of one process.

    Every accepted span is accounted for exactly once: `accepted = queued + sent + filtered + dropped`, where `dropped`
    has only the reasons with `was_accepted`.

    Without a lock, so that a signal handler can never meet a held one: the queue changes, under its
    own lock, what it accepts and the reasons for not accepting; the worker changes everything else.
    """

    accepted_spans: int = 0
    accepted_chunks: int = 0
    taken_spans: int = 0
    """Accepted spans that a worker has taken out of its queue: held by it or accounted for. Worker only."""
    accounted_spans: int = 0
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
        """Accepted spans that are not accounted for yet."""
        return max(0, self.accepted_spans - self.accounted_spans)

    @property
    def finished_spans(self) -> int:
        """Spans of all chunks that came here, accepted or not."""
        return self.accepted_spans + sum(self.dropped_spans.get(reason, 0) for reason in _NOT_ACCEPTED)

    @property
    def failed_spans(self) -> int:
        """Spans whose loss makes `flush()` return `False`."""
        return sum(self.dropped_spans.get(reason, 0) for reason in _FAILURES)

    def drop(self, reason: DropReason, *, spans: int, chunks: int = 1) -> None:
        """Count a loss. The reasons with `was_accepted` are counted by the worker only."""
        if reason.was_accepted:
            self.accounted_spans += spans
        self.dropped_spans[reason] = self.dropped_spans.get(reason, 0) + spans
        self.dropped_chunks[reason] = self.dropped_chunks.get(reason, 0) + chunks

    def count(self, event: str) -> None:
        """Count one event by name."""
        self.events[event] = self.events.get(event, 0) + 1
