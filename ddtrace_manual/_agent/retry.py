"""When to try a request again, and how long to wait before.

Source: spec/trace-export.md §7.
Deviation: the delay is varied at random, so that the processes of a fleet do not return together
when their Agent does.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RetryPolicy", "is_retryable", "parse_retry_after"]

_FIRST_SERVER_ERROR: Final = 500
_MAX_RETRY_AFTER_DIGITS: Final = 9


def is_retryable(status: int) -> bool:
    """Return whether a request that failed with this status may succeed later; 0 = there was no answer."""
    return status in {0, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or status >= _FIRST_SERVER_ERROR


def parse_retry_after(text: str | None) -> float | None:
    """Return the seconds in a `Retry-After` header; `None` for a date, rubbish or nothing."""
    text = (text or "").strip()
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_RETRY_AFTER_DIGITS:
        return None
    return float(text)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off: 100, 200, 400, 800, 1600 ms, each ± 20 %."""

    max_retries: int = 5
    """Attempts after the first one."""
    first_delay_s: float = 0.1
    factor: float = 2.0
    jitter: float = 0.2
    """Largest part, 0.0-1.0, by which a delay is shortened or lengthened."""
    max_retry_after_s: float = 10.0
    """Longest wait that the Agent may ask for, in seconds."""
    uniform: Callable[[], float] = random.SystemRandom().random
    """Returns numbers in 0.0-1.0; spreads the delays. The default leaves the application's generator alone."""

    def delay_s(self, retries_made: int, status: int, retry_after: str | None = None) -> float | None:
        """Return the seconds to wait before the next attempt, or `None` to give up.

        Args:
            retries_made: Attempts so far, without the first one.
            status: Of the last answer; 0 = there was none.
            retry_after: The answer's `Retry-After` header; counts for 429 and 503.
        """
        if retries_made >= self.max_retries or not is_retryable(status):
            return None
        delay = self.first_delay_s * self.factor**retries_made
        delay *= 1 + self.jitter * (2 * self.uniform() - 1)
        asked = parse_retry_after(retry_after)
        if asked is None or status not in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            return delay
        return max(delay, min(asked, self.max_retry_after_s))
