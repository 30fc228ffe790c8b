"""A thread that calls a function at a fixed interval, and is started again in forked children.

Used by whatever reports or polls by itself. Importing this module starts and registers nothing.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from .log import RateLimitedLogger, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PeriodicThread", "Wakeup"]

_log = RateLimitedLogger(get_logger("periodic"))


class Wakeup:
    """A binary semaphore: `set` is remembered until somebody waits.

    A signal handler may call `set`, whatever the interrupted frame was doing.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiting thread, or the next one that waits."""
        try:
            self._lock.release()
        except (RuntimeError, ValueError):  # is set already; gevent's locks raise the second
            return

    def wait(self, timeout_s: float) -> bool:
        """Wait until set, at most `timeout_s` seconds; return whether it was."""
        return self._lock.acquire(timeout=min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))


class PeriodicThread:
    """Calls `action` at `start`, then every `interval_s` seconds, on one daemon thread.

    Calls keep to the grid given by the first one, however long an action takes; a call that is missed is not
    made up for. An exception of `action` is logged, and the next call is made as usual. After `os.fork()`
    the child gets a thread of its own, whose first call is made at once.

    Args:
        action: Called on the thread.
        name: Name of the thread.
        interval_s: Seconds between two calls; may be changed through the attribute at any time.
        at_stop: Called on the thread as its last act, after `stop`.
        after_fork: Called in a forked child, in the hook of the fork, before the new thread is started. It
            replaces what belongs to the parent: locks, identifiers. Returns whether to start the thread.
        monotonic: Source of time, in seconds.
        make_wakeup: Makes what the thread waits on; a fake clock brings its own.
    """

    def __init__(
        self,
        action: Callable[[], None],
        *,
        name: str,
        interval_s: float,
        at_stop: Callable[[], None] | None = None,
        after_fork: Callable[[], bool] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        make_wakeup: Callable[[], Wakeup] = Wakeup,
    ) -> None:
        self.interval_s = interval_s
        self._action = action
        self._name = name
        self._at_stop = at_stop
        self._after_fork = after_fork
        self._monotonic = monotonic
        self._make_wakeup = make_wakeup
        self._thread: threading.Thread | None = None
        self._wakeup: Wakeup | None = None
        self._pid = 0
        self._is_woken = False
        self._is_stopping = False
        self._has_ended = False

    @property
    def is_running(self) -> bool:
        """Whether the thread was started in this process and has not ended."""
        return self._thread is not None and self._pid == os.getpid() and not self._has_ended

    @property
    def ident(self) -> int | None:
        """Identifier of the thread, as `threading.get_ident()` gives it there; `None` when there is none."""
        return self._thread.ident if self._thread is not None else None

    def start(self) -> bool:
        """Start the thread unless it runs; return whether it runs now. After `stop` nothing is started."""
        if self._is_stopping:
            return False
        if self.is_running:
            return True
        self._pid = os.getpid()
        self._has_ended = self._is_woken = False
        self._wakeup = self._make_wakeup()
        thread = threading.Thread(target=self._run, args=(self._wakeup,), name=self._name, daemon=True)
        self._thread = thread
        try:
            thread.start()
        except Exception:  # the interpreter ends, no thread is left, daemons are forbidden
            self._thread = None
            _log.warning(self._name, "Could not start the thread %s", self._name)
            return False
        _restart_after_fork(self)
        return True

    def wake(self) -> None:
        """Call `action` now instead of at the next tick; the grid stays. Does not wait."""
        self._is_woken = True
        if self._wakeup is not None:
            self._wakeup.set()

    def stop(self, timeout_s: float) -> bool:
        """Stop for good, after the call under way and `at_stop`.

        Returns:
            Whether the thread has ended in time; True when it never ran. On the thread itself it returns at once.
        """
        self._is_stopping = True
        _threads.discard(self)
        thread = self._thread
        if thread is None or self._pid != os.getpid():
            return True
        if self._wakeup is not None:
            self._wakeup.set()
        if thread is threading.current_thread():
            return False
        thread.join(max(timeout_s, 0.0))
        return not thread.is_alive()

    def _recreate(self) -> None:
        """Start the thread of a forked child; that of the parent does not exist here."""
        if self._is_stopping or self._pid == os.getpid():
            return
        self._thread = self._wakeup = None
        if self._after_fork is None or self._after_fork():
            self.start()

    def _run(self, wakeup: Wakeup) -> None:
        try:
            due = self._monotonic()
            while not self._is_stopping:
                self._guarded(self._action)
                due = self._wait(wakeup, due)
            if self._at_stop is not None:
                self._guarded(self._at_stop)
        finally:
            self._has_ended = True

    def _wait(self, wakeup: Wakeup, last_due: float) -> float:
        """Wait for the next tick, `wake` or `stop`; return the tick that has passed last."""
        while True:
            now = self._monotonic()
            missed = max(int((now - last_due) // self.interval_s), 0)
            last_due += missed * self.interval_s
            if missed or self._is_woken or self._is_stopping:
                self._is_woken = False
                return last_due
            wakeup.wait(last_due + self.interval_s - now)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # the thread goes on
            _log.error(self._name, "The thread %s has failed, and goes on", self._name, exc_info=True)


_threads: weakref.WeakSet[PeriodicThread] = weakref.WeakSet()
_is_hooked = False


def _restart_after_fork(thread: PeriodicThread) -> None:
    """Let forked children start `thread` again."""
    global _is_hooked  # noqa: PLW0603 - the hook is registered once, with the first thread
    _threads.add(thread)
    if not _is_hooked and hasattr(os, "register_at_fork"):
        _is_hooked = True
        os.register_at_fork(after_in_child=_start_threads_of_child)


def _start_threads_of_child() -> None:
    for thread in list(_threads):
        thread._recreate()
