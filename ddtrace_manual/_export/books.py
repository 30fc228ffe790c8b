"""The account of what workers have taken out of their queues.

Every step between the queue and the Agent moves or settles spans by itself. Whatever interrupts one of them, this
looks after each round at what is really held, and counts what is neither held nor settled as lost.

Source: spec/trace-export.md §2, "Nothing leaves the books".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddtrace_manual._base.log import DELIVERY, RateLimitedLogger, get_logger

if TYPE_CHECKING:
    from .counters import Counters
    from .delivery import Outbox
    from .queue import ChunkQueue

__all__ = ["Books"]

_log = RateLimitedLogger(get_logger("export"))


class Books:
    """Keeps counters and budget true. Used by the worker thread only.

    Args:
        counters: Of the process.
        queue: Whose budget is taken by what is held.
        outbox: Holds all that was taken out of the queue and is not settled.
    """

    def __init__(self, counters: Counters, queue: ChunkQueue, outbox: Outbox) -> None:
        self._counters = counters
        self._queue = queue
        self._outbox = outbox
        self._reported_drops = 0

    def balance(self) -> None:
        """Count what is missing as lost, and give its bytes back; between two rounds."""
        counters = self._counters
        held_spans, held_bytes = self._outbox.held()
        missing = counters.taken_spans - counters.settled_spans - held_spans
        if missing > 0:
            counters.lose("serialization_error", spans=missing)
            _log.error("balance", "Lost %d spans in an export round that failed", missing)
        self._queue.set_held(held_bytes)

    def lost(self) -> int:
        """Return a number that grows with everything that was accepted and will not arrive."""
        dropped = self._counters.dropped_spans
        lost = sum(dropped.get(reason, 0) for reason in ("serialization_error", "too_large", "rejected"))
        return lost + self._counters.lost_stats_payloads

    def report_drops(self, log: RateLimitedLogger, *, is_away: bool) -> None:
        """Say how many spans found the buffer full, as soon as the log has room for it."""
        drops = self._counters.dropped_spans.get("overfull_buffer", 0)
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
