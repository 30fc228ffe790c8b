"""Those who wait in `flush`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .wakeup import Bell

__all__ = ["FlushRequest", "FlushRequests"]


class FlushRequest:
    """Somebody who waits.

    Attributes:
        bell: Ends the wait.
        arrived: The result.
        missed: Something was lost since the call.
        is_over: Nobody waits any more.
    """

    __slots__ = ("arrived", "bell", "is_over", "missed")

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.arrived = False
        self.missed = False
        self.is_over = False

    def end(self, *, arrived: bool) -> None:
        """End the wait."""
        self.arrived = arrived and not self.missed
        self.is_over = True
        self.bell.ring()


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
        """Say whether somebody waits; those who gave up are forgotten."""
        waiting = self._waiting
        while waiting and waiting[0].is_over:
            waiting.popleft()
        return bool(waiting)

    def take(self) -> list[FlushRequest]:
        """Take out all who wait."""
        taken = []
        while self.is_awaited():
            taken.append(self._waiting.popleft())
        return taken

    def end_all(self, *, arrived: bool) -> None:
        """End all waits."""
        for request in self.take():
            request.end(arrived=arrived)
