"""What the receiver does wrong on request."""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["Fault", "Script"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail. What is not given is as in a good answer."""

    status: int | None = None
    """HTTP status to answer with."""
    body: bytes | None = None
    """Body to answer with."""
    delay_s: float = 0.0
    """Wait before anything else, in seconds; ends early when the receiver stops."""
    reset: bool = False
    """Read the request and cut the connection without an answer."""
    garbage: bool = False
    """Answer with something that is not HTTP, then cut the connection."""
    truncate: bool = False
    """Announce the body in full, send half of it, then cut the connection."""


class Script:
    """Faults in the order they were asked for, each for so many requests of a path. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _rows
        self._rows: list[tuple[Fault, str | None, int | None]] = []

    def add(self, fault: Fault, path: str | None, times: int | None) -> None:
        """Fail the next `times` requests to `path`; `None` stands for all."""
        with self._lock:
            self._rows.append((fault, path, times))

    def clear(self) -> None:
        """Fail no more."""
        with self._lock:
            self._rows.clear()

    def next(self, path: str) -> Fault | None:
        """Return what to do wrong with this request, and count it."""
        with self._lock:
            for index, (fault, wanted, times) in enumerate(self._rows):
                if wanted not in (None, path):
                    continue
                if times is not None:
                    if times <= 1:
                        del self._rows[index]
                    else:
                        self._rows[index] = (fault, wanted, times - 1)
                return fault
        return None
