"""The one thread that carries finished traces to the Agent.

It waits until the first chunk has been waiting for the flush interval, or enough bytes wait, or
somebody flushes; then runs one round: `/info` if due → take → process → send → statistics.

While the Agent is away rounds go on taking and encoding; when to send is up to `Backoff`. Statistics stay
in their buckets meanwhile, because a payload of statistics is never sent twice.

Other threads leave requests in fields and set the wakeup. No lock is shared with them, because a
signal handler may call `flush` or `shutdown` whatever the interrupted frame was doing.

Source: spec/trace-export.md §2, §10.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ddtrace_manual._base.log import DELIVERY, RateLimitedLogger, get_logger

from .accounting import Accounting
from .flush_requests import FlushRequest, FlushRequests
from .rounds import ExportRounds
from .wakeup import Wakeup

if TYPE_CHECKING:
    from ddtrace_manual._agent import AgentClient
    from ddtrace_manual._base.clock import Clock
    from ddtrace_manual._stats import BucketExporter

    from .agent_info import AgentWatch
    from .backoff import Backoff
    from .counters import Counters
    from .delivery import Delivery
    from .pipeline import Pipeline
    from .queue import ChunkQueue

__all__ = ["ExportWorker"]

_log = RateLimitedLogger(get_logger("export"))

_THREAD_NAME = "ddtrace-manual-export"
_FIRST_AWAITED_PAUSE_S = 0.1
_LONGEST_AWAITED_PAUSE_S = 0.5
_NO_DELAY_NS = 5_000_000
"""After `send_without_delay`: traces that finish at the same time share a request."""
_TAKE_OVER_STEP_S = 0.2
_NEVER_REACHED_NS = 1_000_000_000
_SHARE_FOR_REQUESTS = 0.96
"""Part of the time of `shutdown`; the rest is for counting what was not delivered."""


class ExportWorker(ExportRounds):
    """Drains the queue. `wake`, `flush` and `shutdown` may be called from anywhere.

    Args:
        queue: Where chunks come from.
        pipeline: Turns a chunk into what is sent of it.
        delivery: Sends it.
        agent: Keeps `/info` fresh.
        client: Whose requests are given a time limit here; calls `wait_to_retry`.
        backoff: When to send while the Agent is away.
        apply_features: Called when the Agent's features may have changed.
        stats: Flushes statistics.
        stats_go_elsewhere: They do not go to the Agent: its absence does not hold them back.
        counters: Of the process.
        interval_s: Longest time a chunk waits before it is sent, in seconds.
        clock: Source of monotonic time.
        prepare: Called on the thread before its first round, to import what it needs.
        make_wakeup: Makes `Wakeup` objects.
        make_thread: Makes the thread; takes `target`, `name` and `daemon`.
        agent_log: Shared with all who notice that the Agent does not take data, so that it costs one line a minute.
    """

    def __init__(  # noqa: PLR0913 - wired in one place, by name
        self,
        *,
        queue: ChunkQueue,
        pipeline: Pipeline,
        delivery: Delivery,
        agent: AgentWatch,
        client: AgentClient,
        backoff: Backoff,
        apply_features: Callable[[], None],
        stats: BucketExporter,
        counters: Counters,
        interval_s: float,
        clock: Clock,
        prepare: Callable[[], None] | None = None,
        stats_go_elsewhere: bool = False,
        make_wakeup: Callable[[], Wakeup] = Wakeup,
        make_thread: Callable[..., threading.Thread] | None = None,
        agent_log: RateLimitedLogger = _log,
    ) -> None:
        self._queue = queue
        self._agent_log = agent_log
        self._pipeline = pipeline
        self._delivery = delivery
        self._accounting = Accounting(counters, queue, delivery)
        self._agent = agent
        self._client = client
        self._backoff = backoff
        self._apply_features = apply_features
        self._stats = stats
        self._stats_go_elsewhere = stats_go_elsewhere
        self._counters = counters
        self._interval_ns = round(interval_s * 1e9)
        self._clock = clock
        self._prepare = prepare
        self._make_wakeup = make_wakeup
        self._make_thread = make_thread
        self._start_lock = threading.RLock()  # guards starting: no second thread. The worker never takes it.
        self._is_starting = False
        self._is_served_here = False
        """A caller of `flush` does the rounds: no thread can be started. Changed with the lock."""
        self._served_by = 0
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        self._wakeup: Wakeup | None = None
        # Left here for the worker by other threads; each is written in one step.
        self._is_early = False
        self._has_no_delay = False
        self._flushes = FlushRequests()
        self._deadline_ns: int | None = None
        """Set by shutdown: when to give up."""
        self._is_replaced = False
        self._predecessor: ExportWorker | None = None
        # Left by the worker for others:
        self._is_done = False
        self._all_arrived = False
        # Used by the worker only:
        self._send_due_ns: int | None = None
        self._awaited_pause_s = _FIRST_AWAITED_PAUSE_S
        self._failed_rounds = 0
        self._failures_in_a_row = 0
        self._is_in_last_round = False
        self._is_limited = False

    # -- called from anywhere --------------------------------------------------------------------

    @property
    def is_away(self) -> bool:
        """Whether the Agent is known to take nothing at present."""
        return self._backoff.is_away

    def wake(self, early: bool) -> None:  # the queue's callback
        """Note that a first chunk waits, or (`early`) that enough bytes wait; start the thread if needed."""
        if early:
            self._is_early = True
        self.start()
        self._set_wakeup()

    def start(self) -> None:
        """Start the thread unless it runs. If the system cannot start one, log a warning and try again next time."""
        if self._needs_no_thread():
            return
        with self._start_lock:
            if self._needs_no_thread():
                return
            self._is_starting = True
            try:
                wakeup = self._make_wakeup()
                thread = (self._make_thread or threading.Thread)(target=self._run, name=_THREAD_NAME, daemon=True)
                self._wakeup = wakeup
                thread.start()
            except Exception:  # the interpreter ends, the system has no thread left, daemons are forbidden
                _log.warning("start", "Could not start the export thread; traces go out in flush() and at shutdown")
            else:
                self._thread = thread
            finally:
                self._is_starting = False

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything accepted so far, statistics included.

        Returns:
            True if everything was delivered in time; False when called on the worker thread while work is left.
        """
        if self._pid != os.getpid():
            return True  # in a process forked without Python's hooks: nothing has finished here yet
        if self._deadline_ns is not None:
            return self._all_arrived
        self.start()
        thread = self._thread
        if thread is None:
            return self._flush_here(timeout_s)
        if thread is threading.current_thread():
            return not self._has_work()
        request = FlushRequest(self._make_wakeup())
        self._flushes.add(request)
        self._set_wakeup()
        if self._is_done:  # ended meanwhile, perhaps without having seen the request
            request.end(arrived=self._all_arrived)
        request.wakeup.wait(timeout_s)
        request.is_over = True
        return request.arrived

    def shutdown(self, timeout_s: float) -> bool:
        """Deliver what is finished and stop; return whether all of it arrived in time. Idempotent."""
        if self._pid != os.getpid():
            return True
        self._queue.close()  # first: what is accepted now is seen by the last round
        with self._start_lock:
            if self._deadline_ns is not None:
                return self._all_arrived
            deadline_ns = self._clock.monotonic_ns() + round(timeout_s * _SHARE_FOR_REQUESTS * 1e9)
            self._backoff.deadline_ns = self._deadline_ns = deadline_ns
            thread = self._thread
        if thread is None and self._is_served_here:
            self._wait_for_caller(timeout_s)
        elif thread is None:
            if self._has_work():
                self._run_last_round()
            else:
                self._end(arrived=True)
        elif thread is not threading.current_thread():
            self._set_wakeup()
            thread.join(max(timeout_s * _SHARE_FOR_REQUESTS, 0))
            if thread.is_alive():
                self._client.interrupt(thread.ident)  # in a request that began before, with more time
                thread.join(max(timeout_s * (1 - _SHARE_FOR_REQUESTS), 0))
            if thread.is_alive():
                left = self._counters.queued_spans
                self._agent_log.warning(
                    DELIVERY, "Shutdown ends after %.1f s with %d spans not delivered", timeout_s, left
                )
        return self._all_arrived

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread, after `shutdown`."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and self._pid == os.getpid():
            thread.join(max(timeout_s, 0))

    def send_without_delay(self) -> None:
        """Send what waits now, and from now on each chunk as it comes, with its statistics. Does not wait."""
        if self._pid != os.getpid() or self._ends():
            return
        self._interval_ns = min(self._interval_ns, _NO_DELAY_NS)
        self._is_early = self._has_no_delay = True
        self.start()
        self._set_wakeup()

    def replace_with(self, successor: ExportWorker) -> None:
        """Stop without a last round; the successor takes over what is left. Does not wait.

        The caller must direct new chunks to the successor's queue.
        """
        successor._predecessor = self
        with self._start_lock:
            if self._deadline_ns is None:
                self._is_replaced = True
                self._deadline_ns = self._clock.monotonic_ns()
        self._set_wakeup()
        if self._thread is not None or self._has_work():
            successor.start()

    def wait_to_retry(self, delay_s: float) -> bool:
        """Wait before the client tries again; return `True` to make no further attempt now.

        Handed to the client, which calls it on the worker thread.
        """
        if self._backoff.end_attempt(delay_s) or self._ends():
            return True
        self._sleep(delay_s)
        if self._ends():
            return True
        self._client.timeout_s = self._backoff.start_request()
        return False

    def pause(self, delay_s: float) -> bool:
        """Wait on the worker thread; return `True` when the end has come: nothing is tried again."""
        if not self._ends():
            self._sleep(delay_s)
        return self._ends()

    def _needs_no_thread(self) -> bool:
        return self._thread is not None or self._is_starting or self._is_served_here or self._ends()

    def _ends(self) -> bool:
        """Return whether `shutdown` or `replace_with` was called."""
        return self._deadline_ns is not None

    def _set_wakeup(self) -> None:
        wakeup = self._wakeup
        if wakeup is not None:
            wakeup.set()

    # -- without a thread ------------------------------------------------------------------------

    def _flush_here(self, timeout_s: float) -> bool:
        """Run rounds on the calling thread, because no thread can be started."""
        until = self._clock.monotonic_ns() + round(max(timeout_s, 0) * 1e9)
        with self._start_lock:
            if self._thread is not None or self._is_starting or self._is_served_here or self._ends():
                return False  # another thread, or the frame that a signal handler has interrupted, sees to it
            self._is_served_here = True
            self._served_by = threading.get_ident()
        former, self._backoff.deadline_ns = self._backoff.deadline_ns, until
        lost_before = self._lost()
        pause_s = _FIRST_AWAITED_PAUSE_S
        try:
            while not self._ends():
                is_empty = self._guarded_round(is_awaited=True)
                left_s = (until - self._clock.monotonic_ns()) / 1e9
                if is_empty or left_s <= 0 or self._failed_rounds:
                    return is_empty and self._lost() == lost_before
                self._sleep(min(pause_s, left_s))
                pause_s = min(pause_s * 2, _LONGEST_AWAITED_PAUSE_S)
            return False
        finally:
            with self._start_lock:
                self._is_served_here = False
                self._backoff.deadline_ns = self._deadline_ns if self._ends() else former
            if self._ends() and not self._is_replaced and not self._is_done:
                self._run_last_round()

    def _wait_for_caller(self, timeout_s: float) -> None:
        """Wait for the thread in `flush`; a signal handler that interrupted that thread must not wait long."""
        wakeup = self._make_wakeup()
        until = self._clock.monotonic_ns() + round(timeout_s * 1e9)
        while not self._is_done and self._served_by != threading.get_ident() and self._clock.monotonic_ns() < until:
            wakeup.wait(0.02)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._balance()
            if not self._is_done and self._ends():
                self._end(arrived=False)
            elif not self._is_done:  # something like GreenletExit: the next chunk or flush starts another one
                self._thread = None

    def _serve(self) -> None:
        try:
            if self._prepare is not None:
                self._prepare()
        except Exception:  # what is missing will be missed, and reported, where it is needed
            _log.log(logging.ERROR, "prepare", "Could not prepare the export thread", exc_info=True)
        while not self._ends():
            self._wait()
            if not self._ends():
                self._turn()
        if self._is_replaced:
            self._leave()
        else:
            self._run_last_round()

    def _turn(self) -> None:
        """Run one round and answer the flush requests it served."""
        flushes = self._flushes.take()
        lost_before = self._lost()
        is_empty = self._guarded_round(is_awaited=bool(flushes))
        if self._lost() != lost_before:
            for request in flushes:
                request.missed = True
        if is_empty:
            self._awaited_pause_s = _FIRST_AWAITED_PAUSE_S
            for request in flushes:
                request.end(arrived=True)
        elif flushes:
            self._flushes.put_back(flushes)
            self._sleep(self._awaited_pause_s)
            self._awaited_pause_s = min(self._awaited_pause_s * 2, _LONGEST_AWAITED_PAUSE_S)

    def _wait(self) -> None:
        """Sleep until there is something to do."""
        wakeup = self._wakeup
        while wakeup is not None and not self._ends() and not self._is_early:
            due = self._due_ns()
            now = self._clock.monotonic_ns()
            if self._flushes.is_awaited() or (due is not None and due <= now):
                break
            wakeup.wait(None if due is None else (due - now) / 1e9)
        self._is_early = False

    def _due_ns(self) -> int | None:
        """Return when the next round is due, or `None` if none is."""
        if self._send_due_ns is None and (self._queue or self._predecessor is not None):
            self._send_due_ns = self._clock.monotonic_ns() + self._interval_ns
        dues = [self._send_due_ns]
        if self._delivery:
            dues.append(self._backoff.resume_ns)
        if self._may_flush_stats():
            dues.append(self._stats.next_due_ns())
        return min((due for due in dues if due is not None), default=None)

    def _sleep(self, seconds: float) -> None:
        """Sleep, but return early when the worker ends."""
        wakeup = self._wakeup or self._make_wakeup()
        until = self._clock.monotonic_ns() + round(seconds * 1e9)
        while self._is_in_last_round or not self._ends():
            left_ns = until - self._clock.monotonic_ns()
            if left_ns <= 0:
                return
            wakeup.wait(left_ns / 1e9)

    # -- taking over ------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Take over from the worker before this one, once it has stopped."""
        predecessor = self._predecessor
        if predecessor is None:
            return
        thread = predecessor._thread
        if thread is not None and thread is not threading.current_thread():
            while thread.is_alive() and not self._ends():
                thread.join(_TAKE_OVER_STEP_S)
            thread.join(max(0.0, ((self._deadline_ns or 0) - self._clock.monotonic_ns()) / 1e9))
            if thread.is_alive():
                return
        self._predecessor = None
        predecessor._take_over()
        self._delivery.take_over(predecessor._delivery)
        self._queue.take_over(predecessor._queue)

    # -- the end ---------------------------------------------------------------------------------

    def _run_last_round(self) -> None:
        """Deliver what is left within the time of shutdown, then count the rest as lost."""
        if self._is_in_last_round:  # a signal handler shuts down what it interrupted in starting the thread
            return
        self._is_in_last_round = True
        arrived = False
        try:
            arrived = self._try_until_deadline()
            left = self._delivery.abandon()
            if left:
                self._agent_log.warning(
                    DELIVERY, "Lost %d spans at shutdown: the Agent did not take them in time", left
                )
        except (Exception, SystemExit):  # nothing may escape into the exit of the process
            _log.log(logging.ERROR, "last round", "The last export round failed", exc_info=True)
        self._balance()
        self._end(arrived=arrived and not self._has_work())

    def _try_until_deadline(self) -> bool:
        """Repeat rounds until everything is delivered or time is over; return whether everything was."""
        pause_s = _FIRST_AWAITED_PAUSE_S
        lost_before = self._lost()
        while True:
            self._limit_last_round()
            is_empty = self._guarded_round(is_awaited=True)
            left_s = ((self._backoff.deadline_ns or 0) - self._clock.monotonic_ns()) / 1e9
            if is_empty or left_s <= 0:
                return is_empty and self._lost() == lost_before
            self._sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, _LONGEST_AWAITED_PAUSE_S)

    def _limit_last_round(self) -> None:
        """Give an Agent that did not answer the first request, and never before, one more second."""
        if self._is_limited or not self._is_in_last_round or not self._agent.was_attempted or self._was_reached():
            return
        self._is_limited = True
        give_up_ns = self._clock.monotonic_ns() + _NEVER_REACHED_NS
        self._backoff.deadline_ns = min(self._backoff.deadline_ns or give_up_ns, give_up_ns)

    def _leave(self) -> None:
        """End for the successor, which takes over queue and delivery but not the statistics."""
        try:
            if self._stats_go_elsewhere or not self._backoff.is_away:
                self._client.timeout_s = self._backoff.start_request()
                self._stats.flush(force=True)
        finally:
            self._end(arrived=False)

    def _end(self, *, arrived: bool) -> None:
        self._all_arrived = arrived
        self._is_done = True
        self._flushes.end_all(arrived=arrived)
