"""Passes requests on to a real Agent."""

from __future__ import annotations

import threading
import time
from typing import Final

from ddtrace_manual._agent.transport import RequestsTransport
from ddtrace_manual.exceptions import AgentError, AgentTimeoutError

from .http_server import Reply, Request

__all__ = ["Forwarder"]

_MARK: Final = "x-ddtrace-manual-forwarded"
_LOOP: Final = 508
_TIMEOUT_S: Final = 5.0
_PAUSE_S: Final = 10.0
"""After an answer that did not come in time: the tracers wait too, and must not wait with every request."""
_OF_THE_CONNECTION: Final = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Header fields that belong to one connection, in lower case."""
_OF_THE_BODY: Final = frozenset({"content-encoding"})  # answers are read decompressed


class Forwarder:
    """Sends what arrives to another Agent and returns that one's answers. Thread-safe.

    Args:
        agent_url: Where to, as for `DD_TRACE_AGENT_URL`.

    Attributes:
        address: `agent_url` without credentials.

    Raises:
        ConfigurationError: The address is none.
    """

    def __init__(self, agent_url: str) -> None:
        self._transport = RequestsTransport(agent_url, reuse_connections=False)
        self.address = self._transport.address
        self._lock = threading.Lock()  # guards the fields below
        self._sent = 0
        self._failed = 0
        self._error = ""
        self._paused_until_s = 0.0

    @property
    def sent(self) -> int:
        """Requests that the Agent answered."""
        with self._lock:
            return self._sent

    @property
    def failed(self) -> int:
        """Requests that it did not answer."""
        with self._lock:
            return self._failed

    @property
    def error(self) -> str:
        """Why the last request failed; "" when it did not."""
        with self._lock:
            return self._error

    def pass_on(self, request: Request) -> Reply | None:
        """Return the Agent's answer, or `None` when there is none."""
        if _MARK in request.headers:
            return Reply(_LOOP, b"this receiver forwards to itself\n", {"Content-Type": "text/plain"})
        with self._lock:
            if time.monotonic() < self._paused_until_s:
                self._failed += 1
                return None
        headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_CONNECTION}
        headers[_MARK] = "1"
        path = f"{request.path}?{request.query}" if request.query else request.path
        body = request.raw_body if request.raw_body or request.method != "GET" else None
        try:
            answer = self._transport.request(request.method, path, body, headers, _TIMEOUT_S)
        except AgentError as exc:
            with self._lock:
                self._failed += 1
                self._error = str(exc)
                if isinstance(exc, AgentTimeoutError):
                    self._paused_until_s = time.monotonic() + _PAUSE_S
            return None
        with self._lock:
            self._sent += 1
            self._error = ""
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name not in _OF_THE_CONNECTION and name not in _OF_THE_BODY and name not in {"date", "server"}
        }
        return Reply(answer.status, answer.body, kept)
