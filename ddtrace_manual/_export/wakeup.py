"""Wakes a waiting thread; safe to call from signal handlers and finalizers."""

from __future__ import annotations

import threading

__all__ = ["Wakeup"]


class Wakeup:
    """A binary semaphore. `set()` is remembered until a thread waits.

    Why not `threading.Event` or `Condition`: their locks may be held by the very frame that a signal
    handler or a finalizer has interrupted, and then `set()` never returns. `set()` here is one atomic
    operation, so a span may end, and `flush()` and `shutdown()` may be called, inside of both.

    Create it as late as possible: `gevent` may replace locks at any time, and one created before would
    block all greenlets.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiting thread, or the next one that waits."""
        try:
            self._lock.release()
        except (RuntimeError, ValueError):  # already set; gevent's locks raise the second
            return

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until set or the timeout expires; return whether it was set."""
        timeout = -1 if timeout_s is None else min(max(timeout_s, 0.0), threading.TIMEOUT_MAX)
        return self._lock.acquire(timeout=timeout)
