"""An HTTP server on loopback, and what every request must satisfy before a receiver sees it.

A web page must not reach a receiver through the browser of the person who runs it: requests for a host that is not
loopback (DNS rebinding) and requests that another page sends (`Origin`) are refused.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
import threading
import zlib
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from typing_extensions import Self

if TYPE_CHECKING:
    from types import TracebackType

    from .faults import Fault

__all__ = ["MAX_BODY_BYTES", "LoopbackReceiver", "Reply", "Request", "is_loopback_host"]

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Longest body that is accepted, as sent and as decompressed."""

_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403
_TOO_LARGE: Final = 413
_UNSUPPORTED_ENCODING: Final = 415
_IDLE_TIMEOUT_S: Final = 300.0
_LONGEST_CHUNK_LINE: Final = 1024
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_DIGITS: Final = re.compile(r"[0-9]{1,18}\Z")
_HEX_DIGITS: Final = re.compile(r"[0-9a-fA-F]{1,15}\Z")


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request."""

    method: str
    path: str
    """Without the query."""
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """As decompressed."""
    raw_body: bytes
    """As sent."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or one way to fail instead."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Besides `Content-Length`; `Content-Type` is JSON unless given."""
    fault: Fault | None = None


class _RefusedError(Exception):
    """The request cannot be accepted."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class LoopbackReceiver:
    """A server on 127.0.0.1 that can be stopped and started again. A context manager.

    Args:
        port: Port to listen on; 0 lets the system choose.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def reply(self, request: Request) -> Reply:
        """Answer one request; called from several threads."""

    def start(self) -> Self:
        """Start listening.

        Raises:
            OSError: The port is taken.
        """
        if self._server is None:
            self._stopping.clear()
            self._server = server = _Server(("127.0.0.1", self._port), self)
            self._port = server.server_port
            self._thread = threading.Thread(
                target=server.serve_forever, args=(0.02,), name="ddtrace-manual-receiver", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and all connections; `start` opens the same port again, as a restarted Agent does."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._server = self._thread = None
        self._stopping.set()
        server.shutdown()
        server.cut_connections()
        server.server_close()
        thread.join()

    @property
    def port(self) -> int:
        """The port it listens on; it stays the same over `stop` and `start`."""
        return self._port

    @property
    def url(self) -> str:
        """Address for `configure(agent_url=…)` or `DD_TRACE_AGENT_URL`."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def is_loopback_host(authority: str) -> bool:
    """Say whether a `Host` value, with or without a port, names this machine's loopback interface."""
    try:
        parts = urlsplit(f"//{authority}")
        host = parts.hostname or ""
        _ = parts.port  # raises for one that is out of range
    except ValueError:
        return False
    if "@" in authority or "/" in authority:
        return False
    if host.rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(ThreadingHTTPServer):
    """The listening socket, and the connections that are open."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], receiver: LoopbackReceiver) -> None:
        self.receiver = receiver
        self._lock = threading.Lock()  # guards _connections
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """End all connections, idle ones included, so that clients notice."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):  # the client may have been faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients may hang up at any time."""


class _Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers."""

    protocol_version = "HTTP/1.1"
    server_version = "ddtrace-manual"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = _IDLE_TIMEOUT_S

    def _serve(self) -> None:
        receiver = cast("_Server", self.server).receiver
        try:
            request = self._read_request()
        except _RefusedError as refusal:
            self.close_connection = True  # the body may be unread
            self._write(Reply(refusal.status, f"{refusal}\n".encode(), {"Content-Type": "text/plain"}))
            return
        reply = receiver.reply(request)
        fault = reply.fault
        if fault is not None and fault.reset:
            self._reset()
        elif fault is not None and fault.garbage:
            self.close_connection = True
            self.wfile.write(b"\x00garbage\xff\r\n")
        elif fault is not None and fault.truncate:
            self.close_connection = True
            self._write(reply, sent=len(reply.body) // 2)
        else:
            self._write(reply)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names that http.server looks up

    def _read_request(self) -> Request:
        self._check_sender()
        if not self.path.startswith("/"):
            raise _RefusedError(_BAD_REQUEST, "the target is not a path")
        raw = self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = _decompressed(raw, headers.get("content-encoding", "identity").strip().lower())
        path, _, query = self.path.partition("?")
        return Request(self.command, path, query, headers, body, raw)

    def _check_sender(self) -> None:
        """Refuse what a web page of somebody else can make a browser send."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) > 1 or not all(map(is_loopback_host, hosts)):
            raise _RefusedError(_FORBIDDEN, "only requests for localhost are answered")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            raise _RefusedError(_FORBIDDEN, "requests of other web pages are not answered")

    def _read_body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            if self.headers["Transfer-Encoding"].strip().lower() != "chunked":
                raise _RefusedError(_BAD_REQUEST, "unknown transfer encoding")
            return self._read_chunks()
        lengths = set(self.headers.get_all("Content-Length") or ["0"])
        length = lengths.pop().strip()
        if lengths or not _DIGITS.match(length):
            raise _RefusedError(_BAD_REQUEST, "bad Content-Length")
        if int(length) > MAX_BODY_BYTES:
            raise _RefusedError(_TOO_LARGE, "the body is longer than 64 MiB")
        return self._read_exactly(int(length))

    def _read_chunks(self) -> bytes:
        """Read a body in chunks of HTTP/1.1."""
        body = bytearray()
        while True:
            size = self.rfile.readline(_LONGEST_CHUNK_LINE).partition(b";")[0].strip().decode("latin-1")
            if not _HEX_DIGITS.match(size):
                raise _RefusedError(_BAD_REQUEST, "bad chunk")
            if len(body) + int(size, 16) > MAX_BODY_BYTES:
                raise _RefusedError(_TOO_LARGE, "the body is longer than 64 MiB")
            if int(size, 16) == 0:
                while self.rfile.readline(_LONGEST_CHUNK_LINE).strip():
                    pass  # trailers
                return bytes(body)
            body += self._read_exactly(int(size, 16))
            self.rfile.readline(_LONGEST_CHUNK_LINE)

    def _read_exactly(self, length: int) -> bytes:
        body = self.rfile.read(length) if length else b""
        if len(body) != length:
            raise _RefusedError(_BAD_REQUEST, "the body is incomplete")
        return body

    def _write(self, reply: Reply, sent: int | None = None) -> None:
        """Answer; `sent` cuts the body short."""
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body[:sent])

    def _reset(self) -> None:
        """Cut the connection with a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        # The file holds the socket open as well; only the last close resets.
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Stay silent."""


def _decompressed(body: bytes, encoding: str) -> bytes:
    """Return a body without its content encoding, at most `MAX_BODY_BYTES` long."""
    if encoding in ("identity", "") or not body:
        return body
    if encoding != "gzip":
        raise _RefusedError(_UNSUPPORTED_ENCODING, "only gzip is understood")
    reader = zlib.decompressobj(wbits=31)
    try:
        found = reader.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise _RefusedError(_BAD_REQUEST, "not gzip") from None
    if len(found) > MAX_BODY_BYTES:
        raise _RefusedError(_TOO_LARGE, "the body is longer than 64 MiB")
    if not reader.eof:
        raise _RefusedError(_BAD_REQUEST, "not gzip")
    return found
