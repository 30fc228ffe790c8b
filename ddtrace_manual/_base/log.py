"""Loggers under one top name, and a limiter that keeps repeated failures to one line a minute.

Names of loggers are `ddtrace_manual.<area>`. Handlers are added only where a setting asks for them
(`_setup/log_handlers.py`).
"""

from __future__ import annotations

import logging
import time
from typing import Final

__all__ = ["DELIVERY", "LOGGER_NAME", "RateLimitedLogger", "get_logger", "set_logging_interval"]

LOGGER_NAME = "ddtrace_manual"


class _Shared:
    """What `configure()` chose for all loggers of the library."""

    interval_s = 60.0


def set_logging_interval(interval_s: float) -> None:
    """Set the shortest time between two lines of one kind, in seconds, wherever no other was asked for."""
    _Shared.interval_s = interval_s


def get_logger(area: str) -> logging.Logger:
    """Return the logger of one area of the library, for example `export`."""
    return logging.getLogger(f"{LOGGER_NAME}.{area}")


class RateLimitedLogger:
    """Logs at most one line per kind and interval; the next one says how many were skipped.

    Thread-safe without a lock (which a fork could leave locked): two threads that fail in the same
    instant may both log. At level DEBUG nothing is limited.

    Args:
        logger: Where lines go.
        interval_s: Shortest time between two lines of one kind, in seconds; 0 is unlimited, `None` as configured.
    """

    def __init__(self, logger: logging.Logger, interval_s: float | None = None) -> None:
        self._logger = logger
        self.interval_s = interval_s
        self._last: dict[str, tuple[float, int]] = {}

    def log(self, level: int, kind: str, message: str, *args: object, exc_info: bool = False) -> None:
        """Log `message % args` unless a line of this kind was logged less than the interval ago."""
        try:
            if not self._logger.isEnabledFor(level):
                return
            skipped = self._admit(kind)
            if skipped is None:
                return
            if skipped:
                message += " [%d skipped]"
                args = (*args, skipped)
            self._logger.log(level, message, *args, exc_info=exc_info)
        except Exception:  # noqa: S110 - a broken handler of the application must not break tracing
            pass

    def warning(self, kind: str, message: str, *args: object) -> None:
        """`log` at WARNING."""
        self.log(logging.WARNING, kind, message, *args)

    def error(self, kind: str, message: str, *args: object, exc_info: bool = False) -> None:
        """`log` at ERROR."""
        self.log(logging.ERROR, kind, message, *args, exc_info=exc_info)

    def is_free(self, kind: str) -> bool:
        """Say whether a line of this kind would not be skipped now: for those that can be told later as well."""
        last = self._last.get(kind)
        return last is None or self._is_unlimited() or time.monotonic() - last[0] >= self._limit_s()

    def claim(self, kind: str) -> bool:
        """Say whether a line of this kind may be logged elsewhere now; the next one has to wait for the interval."""
        return self._admit(kind) is not None

    def _limit_s(self) -> float:
        return _Shared.interval_s if self.interval_s is None else self.interval_s

    def _is_unlimited(self) -> bool:
        return self._limit_s() <= 0 or self._logger.isEnabledFor(logging.DEBUG)

    def _admit(self, kind: str) -> int | None:
        """Return the number of lines skipped before this one, or `None` to skip it too."""
        if self._is_unlimited():
            return 0
        now = time.monotonic()
        last = self._last.get(kind)
        if last is not None and now - last[0] < self._limit_s():
            self._last[kind] = (last[0], last[1] + 1)
            return None
        self._last[kind] = (now, 0)
        return last[1] if last is not None else 0


DELIVERY: Final = "delivery"
"""Kind of every line about data that the Agent does not take, and about its return, whoever notices."""
