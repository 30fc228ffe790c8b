"""What one export round does: `/info` if due → take → process → send → statistics.

A round may fail anywhere. The accounting runs after each one, so that every loss is counted.

Source: spec/trace-export.md §2, §3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ddtrace_manual._base.log import RateLimitedLogger, get_logger

if TYPE_CHECKING:
    import threading

    from ddtrace_manual._agent import AgentClient
    from ddtrace_manual._base.clock import Clock
    from ddtrace_manual._stats import BucketExporter

    from .accounting import Accounting
    from .agent_info import AgentWatch
    from .backoff import Backoff
    from .delivery import Delivery
    from .pipeline import Pipeline
    from .queue import ChunkQueue
    from .worker import ExportWorker

__all__ = ["ExportRounds"]

_log = RateLimitedLogger(get_logger("export"))

_MOST_FAILURES = 3
"""After so many failed rounds one after the other, `flush` waits no longer."""


class ExportRounds:
    """The rounds of a worker, which holds their parts and says when to do one. Used by one thread at a time."""

    _queue: ChunkQueue
    _pipeline: Pipeline
    _delivery: Delivery
    _accounting: Accounting
    _agent: AgentWatch
    _client: AgentClient
    _backoff: Backoff
    _stats: BucketExporter
    _stats_go_elsewhere: bool
    _clock: Clock
    _interval_ns: int
    _has_no_delay: bool
    _apply_features: Callable[[], None]
    _agent_log: RateLimitedLogger
    _thread: threading.Thread | None
    _predecessor: ExportWorker | None
    _is_replaced: bool
    _is_in_last_round: bool
    _send_due_ns: int | None
    _failed_rounds: int
    _failures_in_a_row: int

    def _take_over(self) -> None:
        raise NotImplementedError

    def _limit_last_round(self) -> None:
        raise NotImplementedError

    def _has_work(self) -> bool:
        predecessor = self._predecessor
        return bool(self._queue) or bool(self._delivery) or (predecessor is not None and predecessor._has_work())

    def _guarded_round(self, *, is_awaited: bool) -> bool:
        """Run one export round; never raises. Return whether nothing is left."""
        try:
            is_empty = self._round(is_awaited=is_awaited)
        except (Exception, SystemExit):  # the thread must survive whatever happens
            _log.log(logging.ERROR, "round", "An export round failed", exc_info=True)
            return self._end_failed_round()
        else:
            self._failures_in_a_row = 0
            return is_empty
        finally:
            self._balance()
            self._accounting.report_drops(self._agent_log, is_away=self._backoff.is_away)

    def _end_failed_round(self) -> bool:
        """Schedule the next round; return whether to give up because nothing is left and rounds keep failing."""
        self._failures_in_a_row += 1
        self._send_due_ns = self._clock.monotonic_ns() + self._interval_ns
        self._backoff.failed()
        if self._failures_in_a_row < _MOST_FAILURES:
            return False
        self._failed_rounds += 1
        return not self._has_work()

    def _balance(self) -> None:
        """Balance the accounts, unless a predecessor or successor holds part of the spans."""
        if self._predecessor is None and not self._is_replaced:
            self._accounting.balance()

    def _lost(self) -> int:
        return self._accounting.lost() + self._failed_rounds

    def _round(self, *, is_awaited: bool) -> bool:
        """Do one round; return whether nothing is left."""
        self._take_over()
        is_late = self._is_too_late()
        may_send = not is_late and (is_awaited or self._backoff.may_send())
        if may_send:
            self._client.timeout_s = self._backoff.start_request(slow=False)
            self._agent.refresh(force=is_awaited)
            self._backoff.end_probe()
            self._limit_last_round()
        if self._agent.take_change():
            self._apply_features()
        self._send_due_ns = None
        self._process_waiting()
        if self._delivery and may_send:
            self._send()
        if self._may_flush_stats() and not is_late:
            self._client.timeout_s = self._backoff.start_request()
            if is_awaited or self._has_no_delay:
                self._stats.flush(force=True)
            else:
                self._stats.flush_if_due()
        return not self._delivery

    def _is_too_late(self) -> bool:
        """Return whether the time of `shutdown` is over, so that nobody waits for the thread."""
        is_over = self._clock.monotonic_ns() >= (self._backoff.deadline_ns or 0)
        return self._is_in_last_round and self._thread is not None and is_over

    def _may_flush_stats(self) -> bool:
        """Return whether statistics are on and can be sent."""
        return self._pipeline.concentrator is not None and (self._stats_go_elsewhere or not self._delivery)

    def _process_waiting(self) -> None:
        """Process the chunks that wait now; later ones are left for the next round."""
        pipeline, delivery, queue = self._pipeline, self._delivery, self._queue
        counted = pipeline.concentrator is not None
        for _ in range(len(queue)):
            chunk = queue.next()
            if chunk is None:
                return
            if to_send := pipeline.process(chunk):
                delivery.add(to_send, chunk[3], counted=counted)
            else:
                queue.release(chunk[3])
        pipeline.record_statistics()
        delivery.close_batch()

    def _send(self) -> None:
        was_away = self._backoff.is_away
        if not self._delivery.send():
            self._backoff.failed()
        elif was_away:
            self._agent.expire()  # another Agent may have come back
            self._backoff.delivered()

    def _was_reached(self) -> bool:
        return self._delivery.was_reached or self._agent.was_answered
