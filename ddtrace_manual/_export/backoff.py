"""When to send while the Agent is away, and how long to wait for one that is slow. No I/O.

Away: nothing was delivered although the client tried several times. From then on one attempt is made
after 1, 2, 4 … 30 seconds, each varied by ± 25 %, so that a fleet does not return together.

Slow: a request that timed out may have been processed nevertheless, so every further timeout risks
sending the same chunks once more. Each one doubles the time the next request may take, up to four times
the configured one, until an answer comes within the configured time again.

Source: spec/trace-export.md §4, §7. Deviation: other tracers drop what the retries could not deliver.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddtrace_manual._base.clock import Clock

__all__ = ["Backoff"]

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_VARIATION = 0.25
_MOST_PATIENCE = 4
_TIMEOUTS_BEFORE_AWAY = 3
_SHORTEST_TIMEOUT_S = 0.05


class Backoff:
    """The state of one connection to an Agent. Used by the worker thread only.

    Args:
        timeout_s: Configured time for one request, in seconds.
        clock: Source of monotonic time.
        uniform: Returns numbers in 0.0-1.0; varies the pauses. The default leaves the
            application's generator alone.

    Attributes:
        is_away: The Agent takes nothing at present.
        resume_ns: When to try again then.
        deadline_ns: When everything must have ended, once that is known.
    """

    def __init__(self, *, timeout_s: float, clock: Clock, uniform: Callable[[], float] | None = None) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._uniform = uniform if uniform is not None else random.SystemRandom().random
        self._pause_s = 0.0
        self._asked_s = 0.0
        self._patience = 1
        self._timeouts = 0
        self._started_ns = 0
        self._limit_s = timeout_s
        self.is_away = False
        self.resume_ns = 0
        self.deadline_ns: int | None = None

    def may_send(self) -> bool:
        """Return whether it is time to send."""
        return not self.is_away or self._clock.monotonic_ns() >= self.resume_ns

    def start_request(self, *, slow: bool = True) -> float:
        """Note that a request begins; return how long it may take, in seconds.

        Args:
            slow: Whether a slow Agent gets more than the configured time.
        """
        self._started_ns = self._clock.monotonic_ns()
        limit = self._timeout_s * (self._patience if slow else 1)
        if self.deadline_ns is not None:
            limit = min(limit, (self.deadline_ns - self._started_ns) / 1e9)
        self._limit_s = max(limit, _SHORTEST_TIMEOUT_S)
        return self._limit_s

    def end_probe(self) -> None:
        """Note that a request which may safely be repeated has ended: a slow one warns of slow ones to come."""
        if self._took_s() >= self._limit_s:
            self._patience = max(self._patience, 2)

    def end_attempt(self, delay_s: float) -> bool:
        """Note that a request failed; return whether to make no further attempt now.

        Args:
            delay_s: How long the client, or the Agent by `Retry-After`, would wait before the next.
        """
        self._asked_s = delay_s
        if self._took_s() >= self._limit_s:
            self._timeouts += 1
            self._patience = min(self._patience * 2, _MOST_PATIENCE)
        return self.is_away or self._timeouts >= _TIMEOUTS_BEFORE_AWAY

    def delivered(self) -> None:
        """Note that the Agent has taken something."""
        self.is_away = False
        self._pause_s = 0.0
        self._timeouts = 0
        if self._took_s() < self._timeout_s:
            self._patience = 1

    def failed(self) -> None:
        """Note that the Agent takes nothing; choose when to try again.

        An attempt requested during a pause does not make the pause longer.
        """
        now = self._clock.monotonic_ns()
        if self.is_away and now < self.resume_ns:
            return
        self.is_away = True
        self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        varied = max(self._pause_s * (1 - _VARIATION + 2 * _VARIATION * self._uniform()), self._asked_s)
        self._asked_s = 0.0
        self.resume_ns = now + round(varied * 1e9)

    def _took_s(self) -> float:
        return (self._clock.monotonic_ns() - self._started_ns) / 1e9
