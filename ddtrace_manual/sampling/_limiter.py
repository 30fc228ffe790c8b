"""A token bucket that also knows which share of the requests it granted lately.

Source: spec/sampling.md §8.
"""

from __future__ import annotations

import threading
from typing import Final

from ddtrace_manual._base.clock import SYSTEM_CLOCK, Clock

__all__ = ["RateLimiter"]

_WINDOW_NS: Final = 1_000_000_000


class RateLimiter:
    """Grants so many requests per period, with bursts of at most one period's worth.

    Tokens return continuously. A limit between 0 and 1 still has room for one token, otherwise it
    would never grant anything. Thread-safe.

    Args:
        limit: Requests granted per period; 0 grants none, a negative number grants all.
        clock: Source of monotonic time.
        period_s: Length of the period in seconds.
    """

    def __init__(self, limit: float, clock: Clock = SYSTEM_CLOCK, *, period_s: float = 1.0) -> None:
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()  # guards everything below
        # Credit is counted in token-nanoseconds: with a whole limit everything stays a whole number, so ten steps
        # of 0.1 s give exactly one second's worth.
        self._token_cost = round(period_s * 1e9)
        self._capacity = max(1, limit) * self._token_cost if limit > 0 else 0
        self._credit: float = self._capacity
        self._refilled_ns = clock.monotonic_ns()
        self._window_start_ns: int | None = None
        self._allowed = 0
        self._total = 0
        self._previous: float | None = None

    def allow(self) -> bool:
        """Take a token if there is one, and count the request either way."""
        now = self._clock.monotonic_ns()
        with self._lock:
            allowed = self._take(now)
            self._count(now, allowed=allowed)
            return allowed

    def effective_rate(self) -> float:
        """Return the share of requests granted lately, 0.0-1.0, the last request included.

        The mean of the current and the previous window of one second; 1.0 before the first request.
        """
        with self._lock:
            current = self._current()
            return current if self._previous is None else (current + self._previous) / 2

    def reset_after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.Lock()

    def _take(self, now: int) -> bool:
        if self.limit < 0:
            return True
        # Another thread may have read the clock later and come first; tokens must not be taken back.
        elapsed = now - self._refilled_ns
        if elapsed > 0:
            self._credit = min(self._capacity, self._credit + elapsed * self.limit)
            self._refilled_ns = now
        if self._credit < self._token_cost:
            return False
        self._credit -= self._token_cost
        return True

    def _count(self, now: int, *, allowed: bool) -> None:
        if self._window_start_ns is None:
            self._window_start_ns = now
        elif now - self._window_start_ns >= _WINDOW_NS:
            self._previous = self._current()
            self._allowed = self._total = 0
            self._window_start_ns = now
        self._total += 1
        self._allowed += allowed

    def _current(self) -> float:
        return self._allowed / self._total if self._total else 1.0
