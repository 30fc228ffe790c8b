"""Ids and time that a test can predict."""

from __future__ import annotations

import itertools
import threading

from ddtrace_manual._base.ids import MASK_64, IdSource

__all__ = ["FixedClock", "SequentialIds"]

_NS_PER_S = 1_000_000_000
_FIRST_SECOND = 1_700_000_000


class FixedClock:
    """A clock that stands still until it is told otherwise. Thread-safe.

    Args:
        start_ns: Time it shows at first, in nanoseconds since the Unix epoch.
        step_ns: Nanoseconds it goes on by itself after each reading of the monotonic clock, so that
            every span takes some time; 0 makes all spans instantaneous.
    """

    def __init__(self, start_ns: int = _FIRST_SECOND * _NS_PER_S, *, step_ns: int = 0) -> None:
        self.start_ns = start_ns
        self.step_ns = step_ns
        self._lock = threading.Lock()  # guards _elapsed_ns
        self._elapsed_ns = 0

    def advance(self, seconds: float = 0.0, *, ns: int = 0) -> None:
        """Let time pass.

        Args:
            seconds: How long, in seconds; negative is an error.
            ns: Further nanoseconds.

        Raises:
            ValueError: Time would go back.
        """
        step = round(seconds * _NS_PER_S) + ns
        if step < 0:
            raise ValueError(f"a clock cannot go back by {-step} ns")
        with self._lock:
            self._elapsed_ns += step

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return self.start_ns + self._elapsed_ns

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the clock was made; goes on by the step afterwards."""
        with self._lock:
            now = self._elapsed_ns
            self._elapsed_ns = now + self.step_ns
        return now


class SequentialIds(IdSource):
    """Trace ids and span ids that count up, each from a number of its own. Thread-safe.

    Args:
        first_trace_id: First 128-bit trace id.
        first_span_id: First 64-bit span id; 0 is skipped.
    """

    def __init__(self, first_trace_id: int = 1, first_span_id: int = 1) -> None:
        spans = itertools.count(first_span_id)
        super().__init__(lambda _bits: next(spans) & MASK_64)
        self._traces = itertools.count(first_trace_id)

    def trace_id(self) -> int:
        """Return the next trace id; 0 is skipped."""
        return next(self._traces) & ((1 << 128) - 1) or self.trace_id()
