"""What became of spans and traces, counted for `ddtrace_manual.counters()`, health metrics and telemetry."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

__all__ = ["Counters", "DropReason"]

DropReason = str
"""Why spans were lost:

`overfull_buffer`       the buffer had no room
`trace_processor`       a trace filter of the application returned nothing
`serialization_error`   the spans could not be mapped or encoded
`too_large`             a single trace above the largest payload
`rejected`              the Agent refused the payload (4xx)
`shutdown`              the Agent did not take them before the end
`after_shutdown`        they ended after the end
"""


@dataclass(slots=True)
class Counters:
    """Running totals of one process. Changed by the queue (under its lock) and by the worker only."""

    accepted_spans: int = 0
    accepted_chunks: int = 0
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
    events: dict[str, int] = field(default_factory=dict)
    """Failures of hooks the application gave, by name."""
    last_error: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)  # guards the dictionaries

    def drop(self, reason: DropReason, *, spans: int, chunks: int = 1) -> None:
        """Count a loss."""
        with self._lock:
            self.dropped_spans[reason] = self.dropped_spans.get(reason, 0) + spans
            self.dropped_chunks[reason] = self.dropped_chunks.get(reason, 0) + chunks

    def count(self, event: str) -> None:
        """Count one event by name."""
        with self._lock:
            self.events[event] = self.events.get(event, 0) + 1
