"""What the receiver got: recent requests with their decoded payloads, bounded in number and bytes."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from ddtrace_manual._encoding import decode_stats, decode_v04, decode_v05, decode_v1

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtrace_manual._encoding import StatsPayload
    from ddtrace_manual._model import DDSpan

__all__ = [
    "FLARE_PATH",
    "REMOTE_CONFIG_PATH",
    "STATS_PATH",
    "TELEMETRY_PATH",
    "TRACE_PATHS",
    "Received",
    "Store",
    "decode",
]

STATS_PATH: Final = "/v0.6/stats"
TELEMETRY_PATH: Final = "/telemetry/proxy/api/v2/apmtelemetry"
REMOTE_CONFIG_PATH: Final = "/v0.7/config"
FLARE_PATH: Final = "/tracer_flare/v1"

_DECODERS: Final[Mapping[str, Callable[[bytes], Any]]] = {  # Any: each payload has a shape of its own
    "/v0.4/traces": decode_v04,
    "/v0.5/traces": decode_v05,
    "/v1.0/traces": decode_v1,
    STATS_PATH: decode_stats,
    TELEMETRY_PATH: json.loads,
    REMOTE_CONFIG_PATH: json.loads,
}
TRACE_PATHS: Final = tuple(path for path in _DECODERS if path.endswith("/traces"))


def decode(path: str, body: bytes) -> Any:  # Any: see _DECODERS
    """Return the payload of a request, `None` where the path has none.

    Raises:
        Exception: Whatever the decoder raises for a malformed payload.
    """
    decoder = _DECODERS.get(path)
    return decoder(body) if decoder is not None and body else None


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    method: str
    path: str
    """Without the query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """As decompressed."""
    payload: Any = None  # Any: see _DECODERS
    """Decoded body of the Agent's endpoints; `None` when it was empty or malformed."""
    error: str = ""
    """Why the body could not be decoded."""
    status: int = 200
    """Status it was answered with; 0 when the connection was cut instead."""


class Store:
    """Recent requests, oldest first. Thread-safe.

    Args:
        max_requests: Beyond that the oldest go.
        max_bytes: Sum of the bodies; beyond that the oldest go, but for the newest one.

    Attributes:
        received: Requests so far, those that are gone included.
    """

    def __init__(self, max_requests: int = 1000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.received = 0
        self._changed = threading.Condition()  # guards the fields below
        self._requests: deque[Received] = deque()
        self._bytes = 0

    def add(self, request: Received) -> None:
        """Keep a request."""
        with self._changed:
            self.received += 1
            self._requests.append(request)
            self._bytes += len(request.body)
            while len(self._requests) > self.max_requests or (self._bytes > self.max_bytes and len(self._requests) > 1):
                self._bytes -= len(self._requests.popleft().body)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all requests."""
        with self._changed:
            self._requests.clear()
            self._bytes = 0

    def requests(self, path: str | None = None) -> list[Received]:
        """Return the requests to `path`, or all."""
        with self._changed:
            return [each for each in self._requests if path in (None, each.path)]

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the condition, asked again after each request, holds; return whether it does.

        Args:
            condition: May use the other methods.
            timeout_s: Longest time to wait, in seconds.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                seen = self.received
            if condition():
                return True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            with self._changed:
                self._changed.wait_for(lambda seen=seen: self.received != seen, left_s)  # type: ignore[misc] # bound at once

    def traces(self) -> list[list[DDSpan]]:
        """Return the chunks of all trace payloads that were accepted, whatever their format."""
        accepted = [each for each in self.requests() if each.path in TRACE_PATHS and each.status == 200]
        return [chunk for each in accepted for chunk in cast("list[list[DDSpan]]", each.payload or [])]

    def spans(self) -> list[DDSpan]:
        """Return all spans of `traces`."""
        return [span for chunk in self.traces() for span in chunk]

    def stats(self) -> list[StatsPayload]:
        """Return the statistics payloads."""
        return [each.payload for each in self.requests(STATS_PATH) if each.payload is not None]

    def telemetry(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return the telemetry events."""
        return [each.payload for each in self.requests(TELEMETRY_PATH) if each.payload is not None]
