"""What `RequestsTransport` does with `requests` and `urllib3`; importing this module imports them.

An adapter is used without a `Session`, which would add proxies, netrc, cookies, redirects and hooks.
`requests` bounds each read from the socket but not the sum of them, so the connections made here
take their timeout from one deadline before every operation on the socket.
"""

from __future__ import annotations

import errno
import http.client
import io
import queue
import socket
import stat
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from requests import PreparedRequest, Request
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from ddtrace_manual.exceptions import AgentConnectionError, AgentError, AgentResponseError, AgentTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response as RequestsResponse
    from typing_extensions import Buffer

__all__ = ["Exchanger"]

_READ_BYTES: Final = 1 << 16


class _Deadline(threading.local):
    """The end of the exchange that the current thread is in."""

    expires_at = 0.0
    in_use: dict[int, socket.socket] | None = None
    """Where the connection is noted on which a thread waits."""

    def start(self, timeout_s: float, in_use: dict[int, socket.socket]) -> None:
        self.expires_at = time.monotonic() + timeout_s
        self.in_use = in_use

    def remaining_s(self) -> float:
        remaining = self.expires_at - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the whole exchange took too long")
        return remaining


_deadline: Final = _Deadline()


class _DeadlineReader(io.RawIOBase):
    """The receiving half of a socket."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int | None:
        self._sock.settimeout(_deadline.remaining_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # Any: passed on
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock))


class _DeadlineMixin:
    """Mixed into a connection of urllib3. `self` is Any: host, port and socket are that class's."""

    response_class: Any = _DeadlineResponse  # Any: declared differently by each version of the type stubs

    def _new_conn(self: Any) -> socket.socket:
        """Try the addresses of the host one after the other, all within the deadline."""
        failure = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                _connect(sock, address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as exc:
                failure = exc
            else:
                return sock
        raise failure

    def send(self: Any, data: Any) -> None:  # Any: as declared by http.client
        if self.sock is not None:
            self.sock.settimeout(_deadline.remaining_s())
            if _deadline.in_use is not None:
                _deadline.in_use[threading.get_ident()] = self.sock
        super().send(data)  # type: ignore[misc]  # provided by the class this is mixed into


def _connect(sock: socket.socket, address: Any) -> None:  # Any: depends on the address family
    try:
        sock.settimeout(_deadline.remaining_s())
        sock.connect(address)
    except BaseException:
        sock.close()
        raise


class _HTTPConnection(_DeadlineMixin, HTTPConnection):
    pass


class _HTTPSConnection(_DeadlineMixin, HTTPSConnection):
    pass


class _Idle(queue.LifoQueue[Any]):  # Any: a connection of urllib3, or None in place of one
    """Holds idle connections; closes one too many, about which the pool would warn in the application's log."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # as inherited
        try:
            super().put(item, block=False)
        except queue.Full:
            if item is not None:
                item.close()


class _HTTPPool(HTTPConnectionPool):
    QueueCls = _Idle
    ConnectionCls: Any = _HTTPConnection  # Any: the protocol it is declared with is not met by urllib3 itself


class _HTTPSPool(HTTPSConnectionPool):
    """Trusts what the system trusts, or `SSL_CERT_FILE`, besides the authorities that `requests` brings along."""

    QueueCls = _Idle
    ConnectionCls: Any = _HTTPSConnection  # Any: the protocol it is declared with is not met by urllib3 itself

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: passed on
        import ssl  # there are Pythons without it

        super().__init__(*args, **{**kwargs, "ssl_context": ssl.create_default_context()})


def _unix_pool(path: str) -> type[HTTPConnectionPool]:
    class _UnixConnection(_HTTPConnection):
        def _new_conn(self) -> socket.socket:
            if not hasattr(socket, "AF_UNIX"):
                raise OSError("this platform has no Unix sockets")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                _connect(sock, path)
            except OSError as exc:
                if exc.errno == errno.EPROTOTYPE:  # ignored by urllib3, which would go on without a connection
                    raise ConnectionRefusedError(f"{path} is a socket of another type") from None
                if isinstance(exc, ConnectionRefusedError) and not _is_socket(path):
                    raise ConnectionRefusedError(f"{path} is not a socket") from None
                raise
            return sock

    class _UnixPool(_HTTPPool):
        ConnectionCls: Any = _UnixConnection  # Any: the protocol it is declared with is not met by urllib3 itself

    return _UnixPool


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return True  # it has gone meanwhile, or nobody may look


class Exchanger:
    """Carries out exchanges over one pool of connections. Thread-safe; belongs to the process that made it.

    Args:
        local_path: Socket to connect to whatever the URL says; `None` for TCP.
        max_bytes: Longest response body accepted.
        reuse_connections: Keep connections for further exchanges.
    """

    def __init__(self, local_path: str | None, max_bytes: int, *, reuse_connections: bool) -> None:
        self._max_bytes = max_bytes
        self._reuse_connections = reuse_connections
        # One pool of one connection: a larger one is filled with placeholders anew for every request.
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)
        self._prepared: dict[tuple[str, str], PreparedRequest] = {}
        self._in_use: dict[int, socket.socket] = {}
        self._interrupted: set[int] = set()
        self._adapter.poolmanager.pool_classes_by_scheme = {
            "http": _HTTPPool if local_path is None else _unix_pool(local_path),
            "https": _HTTPSPool,
        }

    def exchange(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, header fields and body of the answer; errors as `Transport.request`."""
        outer = sys.exc_info()[1]
        status = 0
        _deadline.start(timeout_s, self._in_use)
        try:
            response = self._adapter.send(self._request(method, url, body, headers), stream=True, timeout=timeout_s)
            status = response.status_code
            try:
                return status, dict(response.headers), self._read(response)
            finally:
                response.close()
                if not self._reuse_connections:
                    self.close()
        except AgentError:
            raise
        except Exception as exc:
            error = _translated(exc, outer)
            if threading.get_ident() in self._interrupted:
                error = AgentTimeoutError("no complete answer before the end")
            error.status = status
            raise error from exc
        finally:
            self._in_use.pop(threading.get_ident(), None)
            self._interrupted.discard(threading.get_ident())

    def interrupt(self, thread_id: int) -> None:
        """Let the exchange of another thread fail, if it waits for its peer."""
        sock = self._in_use.get(thread_id)
        if sock is not None:
            self._interrupted.add(thread_id)
            with suppress(OSError):  # it has ended meanwhile
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # that of a TLS socket would pull its state away

    def _request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> PreparedRequest:
        """Return a prepared request; method and URL, of which there are few, are prepared only once."""
        known = self._prepared.get((method, url))
        if known is None:
            known = self._prepared[method, url] = Request(method, url).prepare()
        request = known.copy()
        request.prepare_headers({**known.headers, **headers})  # the former: what the URL says about who asks
        request.body = body or None
        request.prepare_content_length(request.body)
        return request

    def close(self) -> None:
        """Close idle connections, and keep none from now on: exchanges under way close theirs when they end.

        Dropping a pool closes its connections by a finaliser of urllib3, but not during the exit of the interpreter.
        So the adapter is not closed: it would forget its pools, to which an exchange may yet give back a connection.
        """
        self._reuse_connections = False
        pools = self._adapter.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118 - the container refuses to be iterated
            with suppress(KeyError):  # another thread was faster
                _close_idle(pools[key])

    def _read(self, response: RequestsResponse) -> bytes:
        pieces = []
        length = 0
        while piece := response.raw.read(_READ_BYTES, decode_content=False):
            pieces.append(piece)
            length += len(piece)
            if length > self._max_bytes:
                raise AgentResponseError(f"the answer is longer than {self._max_bytes} bytes", response.status_code)
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > length:
            raise ConnectionResetError(f"the connection ended after {length} of {announced} bytes")
        return b"".join(pieces)


def _close_idle(pool: HTTPConnectionPool) -> None:
    """Close the connections that wait in a pool; the pool stays usable for whoever holds it."""
    waiting = pool.pool
    with suppress(queue.Empty):
        while waiting is not None:
            connection = waiting.get(block=False)
            if connection is not None:
                connection.close()


def _translated(exc: Exception, outer: BaseException | None) -> AgentError:
    """Return what a third-party exception means; `outer` was being handled before and has nothing to do with it."""
    error: AgentError = AgentConnectionError(_innermost_text(exc, outer))
    for cause in _causes(exc, outer):
        if isinstance(cause, TimeoutError):
            error = AgentTimeoutError("no complete answer in time")
            break
        if isinstance(cause, http.client.HTTPException) and not isinstance(
            cause, (http.client.RemoteDisconnected, http.client.IncompleteRead)
        ):
            error = AgentResponseError(f"the answer is not HTTP: {type(cause).__name__}")
            break
    return error


def _causes(exc: BaseException, outer: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = exc
    while current is not None and current is not outer and current not in chain:
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _innermost_text(exc: BaseException, outer: BaseException | None) -> str:
    innermost = _causes(exc, outer)[-1]
    return f"{type(innermost).__name__}: {innermost}"
