"""What `counters()` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CounterSnapshot"]


@dataclass(frozen=True, slots=True)
class CounterSnapshot:
    """What happened in this process so far, also before an earlier `shutdown()`.

    While no span starts or ends and nothing is being sent, `created = open + finished` and
    `finished = queued + sent + filtered + dropped`.
    """

    created_spans: int = 0
    open_spans: int = 0
    """Started and not ended, also those that the application has forgotten."""
    finished_spans: int = 0
    queued_spans: int = 0
    """Finished and not yet delivered, those among them that wait for others of their trace."""
    queued_bytes: int = 0
    sent_spans: int = 0
    sent_traces: int = 0
    """Chunks; a trace that was flushed in parts counts once for each."""
    sent_bytes: int = 0
    sent_payloads: int = 0
    filtered_spans: int = 0
    """Not sent because the trace is unsampled or the Agent's filters reject it."""
    dropped_spans: Mapping[str, int] = field(default_factory=dict)
    """Lost, by reason: `overfull_buffer`, `trace_processor`, `serialization_error`, `too_large`, `rejected`,
    `shutdown`, `after_shutdown`."""
    dropped_traces: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    """Requests with traces, retries included."""
    failed_requests: int = 0
    stats_payloads: int = 0
    """Payloads of statistics that were taken."""
    lost_stats_payloads: int = 0
    """Payloads of statistics that were not; they are never sent twice."""
    collapsed_spans: Mapping[str, int] = field(default_factory=dict)
    """Spans counted in statistics under `tracer_blocked_value`, by the limit that was reached: `whole_key`,
    `resource`, `http_endpoint`, `peer_tags`, `additional_metric_tags`."""
    events: Mapping[str, int] = field(default_factory=dict)
    """Failures of functions the application gave to the library, by name."""
    last_error: str = ""
    """Why the last payload was not delivered."""
