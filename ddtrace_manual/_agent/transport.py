"""One HTTP exchange with the Agent, over TCP or a Unix socket.

The whole exchange has one deadline, however slowly the other side answers; the answer is bounded;
redirects, proxies, netrc and cookies do not exist here; nothing of it is traced.

`requests` is imported with the first request, not with this module: it costs tens of milliseconds
and the worker thread can pay that.

Source: spec/trace-export.md §4.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
    attach,
    detach,
    set_value,
)

from ddtrace_manual.exceptions import AgentConnectionError, ConfigurationError

if TYPE_CHECKING:
    from .exchange import Exchanger

__all__ = ["MAX_RESPONSE_BYTES", "Headers", "RequestsTransport", "Response", "Transport", "split_agent_url"]

MAX_RESPONSE_BYTES: Final = 1 << 20
"""Longest response body accepted, in bytes."""
_UNIX_SCHEME: Final = "unix://"


class Headers(Mapping[str, str]):
    """Header fields by name; the case of names does not matter."""

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        self._fields = {name.lower(): value for name, value in (fields or {}).items()}

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields})"


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""


class Transport(Protocol):
    """Carries requests to one server. Safe to use from several threads and after a fork."""

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Response:
        """Send one request and return the whole answer.

        Args:
            method: For example `POST`.
            path: Begins with `/`; the path of the server's address is put in front.
            body: Sent with `Content-Length`; `None` for none.
            headers: Valid header fields; nothing but `Host`, `Accept-Encoding` and `Content-Length` is added.
            timeout_s: For the whole exchange, in seconds.

        Raises:
            AgentConnectionError: No connection, or it broke before the answer was complete.
            AgentTimeoutError: No complete answer in time.
            AgentResponseError: The answer was not HTTP, or longer than `MAX_RESPONSE_BYTES`.
        """
        ...


class RequestsTransport:
    """The transport for real servers, on `requests`.

    Resolving a host name is not interrupted by the timeout; it only counts towards it.

    Args:
        agent_url: `http://host:port[/prefix]`, `https://…` or `unix:///path`.
        reuse_connections: Keep the connection open between requests; never across a fork.

    Attributes:
        address: `agent_url` without credentials, for messages.

    Raises:
        ConfigurationError: Another scheme, or no host or path.
    """

    def __init__(self, agent_url: str, *, reuse_connections: bool = False) -> None:
        self._base_url, self._local_path = split_agent_url(agent_url)
        self.address = _without_credentials(agent_url)
        self._reuse_connections = reuse_connections
        # By process id, and only by atomic operations: a fork could leave a lock locked.
        self._opened: dict[int, Exchanger] = {}

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Response:
        """See `Transport.request`."""
        context = set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True)
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True, context))
        try:
            if not self._reuse_connections:
                headers = {**headers, "Connection": "close"}
            status, fields, answer = self._exchanger().exchange(method, self._base_url + path, body, headers, timeout_s)
        finally:
            detach(token)
        return Response(status, Headers(fields), answer)

    def interrupt(self, thread_id: int) -> None:
        """Break off the request that another thread waits for; not while it resolves a name."""
        opened = self._opened.get(os.getpid())
        if opened is not None:
            opened.interrupt(thread_id)

    def close(self) -> None:
        """Close idle connections. The transport can still be used."""
        opened = self._opened.pop(os.getpid(), None)
        if opened is not None:
            opened.close()

    def _exchanger(self) -> Exchanger:
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None:
            try:
                from .exchange import Exchanger  # see the module docstring
            except ImportError as exc:  # nothing can be imported any more once the interpreter ends
                raise AgentConnectionError(f"cannot import the HTTP library: {exc}") from exc
            made = Exchanger(self._local_path, MAX_RESPONSE_BYTES, reuse_connections=self._reuse_connections)
            opened = self._opened.setdefault(pid, made)  # another thread may have been faster
            for other in self._opened.keys() - {pid}:
                self._opened.pop(other, None)  # the parent's connections: let go of them here
        return opened


def split_agent_url(agent_url: str) -> tuple[str, str | None]:
    """Return the base URL of requests without a trailing slash, and the path of the socket if there is one.

    Raises:
        ConfigurationError: Not a URL this transport can use.
    """
    if agent_url.startswith(_UNIX_SCHEME):
        path = agent_url[len(_UNIX_SCHEME) :]
        if not path:
            raise ConfigurationError(f"{agent_url!r} names no socket")
        return "http://localhost", path
    try:
        parts = urlsplit(agent_url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(f"{_without_credentials(agent_url)!r} is not an http://, https:// or unix:// address")
    return agent_url.split("?", 1)[0].split("#", 1)[0].rstrip("/"), None


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path
