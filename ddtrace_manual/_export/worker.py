"""The one thread that carries finished traces to the Agent.

It waits until the first chunk has been waiting for the flush interval, or enough bytes wait, or
somebody flushes; then runs one round: `/info` if due → take → process → send → statistics.

While the Agent is away, rounds go on taking and encoding, and sending is tried once in a while:
after 1, 2, 4 … 30 seconds, each varied by ± 25 %, so that a fleet does not return together.

Source: spec/trace-export.md §2, §10.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ddtrace_manual._log import RateLimitedLogger, get_logger

if TYPE_CHECKING:
    from ddtrace_manual._clock import Clock
    from ddtrace_manual._stats import StatsExporter

    from .agent_state import AgentWatch
    from .outbox import Outbox
    from .pipeline import Pipeline
    from .queue import ChunkQueue

__all__ = ["ExportWorker"]

_log = RateLimitedLogger(get_logger("export"))

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_PAUSE_WHILE_AWAITED_S = 0.1
_ATTEMPTS_AT_EXIT = 4


class ExportWorker:
    """Drains the queue. `flush` and `shutdown` may be called from any thread.

    Args:
        queue: Where chunks come from.
        pipeline: Turns a chunk into what is sent of it.
        outbox: Sends it.
        agent: Keeps `/info` fresh.
        apply_features: Called when the Agent's features may have changed.
        stats: Flushes statistics, or `None`.
        interval_s: Longest time a chunk waits before it is sent, in seconds.
        clock: Source of monotonic time.
    """

    def __init__(  # noqa: PLR0913 - wired in one place, by name
        self,
        *,
        queue: ChunkQueue,
        pipeline: Pipeline,
        outbox: Outbox,
        agent: AgentWatch,
        apply_features: Callable[[], None],
        stats: StatsExporter | None,
        interval_s: float,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._pipeline = pipeline
        self._outbox = outbox
        self._agent = agent
        self._apply_features = apply_features
        self._stats = stats
        self._interval_ns = round(interval_s * 1e9)
        self._clock = clock
        self._random = random.Random()  # noqa: S311 - spreads retries
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards everything below
        self._send_due_ns: int | None = None
        self._is_early = False
        self._awaited = 0
        """Number of the newest flush that somebody waits for."""
        self._finished = 0
        """Number of the newest flush that is done."""
        self._finished_well = True
        self._deadline_ns: int | None = None
        """Set by shutdown: when to give up."""
        # Used by the worker thread only:
        self._pause_s = 0.0
        self._resume_ns = 0

    # -- called by the application's threads -----------------------------------------------------

    def wake(self, early: bool) -> None:  # noqa: FBT001 - the queue's callback
        """Note that a first chunk waits, or (`early`) that enough bytes wait; start the thread if needed."""
        with self._changed:
            if self._send_due_ns is None:
                self._send_due_ns = self._clock.monotonic_ns() + self._interval_ns
            self._is_early = self._is_early or early
            self._changed.notify_all()
        self.start()

    def start(self) -> None:
        """Start the thread unless it runs. Fails silently when no thread can be started any more."""
        if self._thread is not None:
            return
        with self._changed:
            if self._thread is not None or self._deadline_ns is not None:
                return
            thread = threading.Thread(target=self._run, name="ddtrace-manual-export", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or the system has no thread left
                _log.warning("start", "Could not start the export thread; traces go out at shutdown, if at all")
                return
            self._thread = thread

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything accepted so far, statistics included; return whether it arrived in time."""
        self.start()
        with self._changed:
            if self._deadline_ns is not None or self._thread is None:
                return self._deadline_ns is None and self._queue.waiting_spans() == 0
            self._awaited += 1
            ticket = self._awaited
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._finished >= ticket or self._deadline_ns is not None, timeout_s)
            if self._finished < ticket:
                self._finished = max(self._finished, ticket)  # nobody waits any more
                return False
            return self._finished_well

    def shutdown(self, timeout_s: float) -> bool:
        """Deliver what is finished and stop; return whether all of it arrived in time. Idempotent."""
        with self._changed:
            if self._deadline_ns is not None:
                return True
            self._deadline_ns = self._clock.monotonic_ns() + round(timeout_s * 1e9)
            self._changed.notify_all()
            thread = self._thread
        self._queue.close()
        if thread is None:
            if self._queue.waiting_spans():
                self._last_round()
        elif thread is not threading.current_thread():
            thread.join(timeout_s)
            if thread.is_alive():
                return False
        return self._finished_well

    def hand_over(self, timeout_s: float) -> None:
        """Stop without a last round: a successor takes over what waits in queue and outbox."""
        with self._changed:
            self._is_replaced = True
            self._deadline_ns = self._clock.monotonic_ns()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    _is_replaced = False

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wait()
            with self._changed:
                is_last = self._deadline_ns is not None
                ticket = self._awaited
            if is_last:
                if not self._is_replaced:
                    self._last_round()
                return
            is_awaited = ticket > self._finished
            try:
                delivered = self._round(is_awaited=is_awaited)
            except Exception:  # noqa: BLE001 - the thread must survive whatever happens
                delivered = False
                _log.log(logging.ERROR, "round", "An export round failed", exc_info=True)
            with self._changed:
                if is_awaited and delivered:
                    self._finished = max(self._finished, ticket)
                    self._finished_well = True
                self._changed.notify_all()
            if is_awaited and not delivered:
                self._pause(_PAUSE_WHILE_AWAITED_S)

    def _wait(self) -> None:
        """Sleep until there is something to do."""
        with self._changed:
            while self._deadline_ns is None and not self._is_early and self._awaited <= self._finished:
                now = self._clock.monotonic_ns()
                due = self._due_ns()
                if due is not None and due <= now:
                    break
                self._changed.wait(None if due is None else (due - now) / 1e9)
            self._is_early = False

    def _due_ns(self) -> int | None:
        """Return when the next round is due without being asked for, or `None` for never."""
        due = self._send_due_ns
        if len(self._outbox):
            due = self._resume_ns if due is None else min(due, self._resume_ns)
        if self._stats is not None and self._pipeline.concentrator is not None:
            stats_due = self._stats.next_due_ns()
            if stats_due is not None:
                due = stats_due if due is None else min(due, stats_due)
        return due

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._deadline_ns is not None, seconds)

    def wait_to_retry(self, delay_s: float) -> bool:
        """Wait before the client tries again; return `True` to give up: in an outage, or when time is over.

        Handed to the Agent client.
        """
        if self._pause_s:
            return True  # an outage is known: one attempt a round
        with self._changed:
            if self._deadline_ns is None:
                self._changed.wait_for(lambda: self._deadline_ns is not None, delay_s)
            if self._deadline_ns is None:
                return False
            left_s = (self._deadline_ns - self._clock.monotonic_ns()) / 1e9
            if left_s <= delay_s:
                return True
        # Shutting down: go on trying as long as there is time.
        threading.Event().wait(min(delay_s, 0.1))
        return False

    def _round(self, *, is_awaited: bool) -> bool:
        """Do one round; return whether everything accepted before it has arrived."""
        if self._agent.refresh(force=is_awaited) or not self._pipeline_is_ready:
            self._pipeline_is_ready = True
            self._apply_features()
        with self._changed:
            self._send_due_ns = None
        for chunk in self._queue.take():
            spans = self._pipeline.process(chunk)
            if spans:
                self._outbox.add(spans, chunk.size_bytes)
            else:
                self._queue.release(chunk.size_bytes)
        delivered = self._send(is_awaited=is_awaited)
        if self._stats is not None and self._pipeline.concentrator is not None:
            delivered = (self._stats.flush(force=True) if is_awaited else self._stats.flush_if_due()) and delivered
        return delivered

    _pipeline_is_ready = False

    def _send(self, *, is_awaited: bool) -> bool:
        """Send what is held unless the Agent is away and it is too early to ask again."""
        now = self._clock.monotonic_ns()
        if self._pause_s and now < self._resume_ns and not is_awaited:
            return False
        delivered = self._outbox.send()
        if len(self._outbox):
            self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            varied = self._pause_s * self._random.uniform(0.75, 1.25)
            self._resume_ns = self._clock.monotonic_ns() + round(varied * 1e9)
        else:
            self._pause_s = 0.0
        return delivered

    def _last_round(self) -> None:
        """Deliver what is left, as long as shutdown allows, then count the rest as lost.

        An Agent that was never reached is asked only a few times: it will not come now.
        """
        delivered = False
        try:
            attempts = 0
            while True:
                attempts += 1
                delivered = self._round(is_awaited=True)
                now = self._clock.monotonic_ns()
                if delivered or not len(self._outbox) or now >= (self._deadline_ns or now):
                    break
                if not self._outbox.was_reached and attempts >= _ATTEMPTS_AT_EXIT:
                    break
                self._pause_s = _FIRST_PAUSE_S  # one attempt a round from here on
                threading.Event().wait(_PAUSE_WHILE_AWAITED_S)
        except Exception:  # noqa: BLE001 - nothing may escape into the exit of the process
            _log.log(logging.ERROR, "last round", "The last export round failed", exc_info=True)
        self._outbox.abandon()
        with self._changed:
            self._finished_well = delivered
            self._finished = self._awaited
            self._changed.notify_all()
