"""Requests of threads that wait in `flush`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .wakeup import Wakeup

__all__ = ["FlushRequest", "FlushRequests"]


class FlushRequest:
    """A thread that waits.

    Attributes:
        wakeup: Ends the wait.
        arrived: The result.
        missed: Something was lost since the call.
        is_over: The wait has ended.
    """

    __slots__ = ("arrived", "is_over", "missed", "wakeup")

    def __init__(self, wakeup: Wakeup) -> None:
        self.wakeup = wakeup
        self.arrived = False
        self.missed = False
        self.is_over = False

    def end(self, *, arrived: bool) -> None:
        """End the wait."""
        self.arrived = arrived and not self.missed
        self.is_over = True
        self.wakeup.set()


class FlushRequests:
    """Takes requests from any thread; only the worker takes them out, so it needs no lock."""

    def __init__(self) -> None:
        self._waiting: deque[FlushRequest] = deque()

    def add(self, request: FlushRequest) -> None:
        """Add a request."""
        self._waiting.append(request)

    def put_back(self, requests: Iterable[FlushRequest]) -> None:
        """Let requests wait for the next round."""
        self._waiting.extend(requests)

    def is_awaited(self) -> bool:
        """Return whether a thread waits; requests that timed out are removed."""
        waiting = self._waiting
        while waiting and waiting[0].is_over:
            waiting.popleft()
        return bool(waiting)

    def take(self) -> list[FlushRequest]:
        """Remove and return the waiting requests."""
        taken = []
        while self.is_awaited():
            taken.append(self._waiting.popleft())
        return taken

    def end_all(self, *, arrived: bool) -> None:
        """End all waits."""
        for request in self.take():
            request.end(arrived=arrived)
