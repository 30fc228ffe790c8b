"""Accounts for every span that a worker has taken out of its queue.

Each step between the queue and the Agent counts its own spans. If an exception interrupts a step, spans may be missing
from all counters. After each round this module compares the counters with what is really held, and counts the rest as
lost.

Source: spec/trace-export.md §2, "Nothing leaves the books".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddtrace_manual._base.log import DELIVERY, RateLimitedLogger, get_logger

from .counters import DropReason

if TYPE_CHECKING:
    from .counters import Counters
    from .delivery import Delivery
    from .queue import ChunkQueue

__all__ = ["Accounting"]

_log = RateLimitedLogger(get_logger("export"))


class Accounting:
    """Keeps the counters and the budget of the queue correct. Used by the worker thread only.

    Args:
        counters: Of the process.
        queue: Whose budget is taken by what is held.
        delivery: Holds every span taken out of the queue that no counter has.
    """

    def __init__(self, counters: Counters, queue: ChunkQueue, delivery: Delivery) -> None:
        self._counters = counters
        self._queue = queue
        self._delivery = delivery
        self._reported_drops = 0

    def balance(self) -> None:
        """Count missing spans as lost and release their bytes. Call between rounds."""
        counters = self._counters
        held_spans, held_bytes = self._delivery.held()
        missing = counters.taken_spans - counters.accounted_spans - held_spans
        if missing > 0:
            counters.drop(DropReason.SERIALIZATION_ERROR, spans=missing)
            _log.error("balance", "Lost %d spans in an export round that failed", missing)
        self._queue.set_held(held_bytes)

    def lost(self) -> int:
        """Return a number that grows whenever accepted data is lost."""
        return self._counters.failed_spans + self._counters.lost_stats_payloads

    def report_drops(self, log: RateLimitedLogger, *, is_away: bool) -> None:
        """Log how many spans were dropped because the buffer was full, when the rate limit of the log allows it."""
        drops = self._counters.dropped_spans.get(DropReason.OVERFULL_BUFFER, 0)
        if drops == self._reported_drops or not log.is_free(DELIVERY):
            return
        why = f"; the Agent takes nothing: {self._counters.last_error}" if is_away else ""
        log.warning(
            DELIVERY,
            "Dropped %d finished spans, the newest ones: the buffer of %d bytes is full"
            " (DD_TRACE_WRITER_BUFFER_SIZE_BYTES)%s",
            drops - self._reported_drops,
            self._queue.max_bytes,
            why,
        )
        self._reported_drops = drops
