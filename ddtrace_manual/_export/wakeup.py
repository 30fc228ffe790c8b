"""A bell that one thread waits for and anybody may ring, from anywhere."""

from __future__ import annotations

import threading

__all__ = ["Bell"]


class Bell:
    """A binary semaphore: ringing is remembered until somebody waits.

    Why not `threading.Event` or `Condition`: their locks may be held by the very frame that a signal
    handler or a finalizer has interrupted, and then `set()` never returns. Ringing here is one atomic
    operation, so a span may end, and `flush()` and `shutdown()` may be called, inside of both.

    Make a bell as late as possible: `gevent` may replace locks at any time, and a bell made before
    would block all greenlets.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake the waiting thread, or the next one that waits."""
        try:
            self._lock.release()
        except (RuntimeError, ValueError):  # has been rung already; gevent's locks raise the second
            return

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until rung, at most so many seconds; return whether it was."""
        timeout = -1 if timeout_s is None else min(max(timeout_s, 0.0), threading.TIMEOUT_MAX)
        return self._lock.acquire(timeout=timeout)
