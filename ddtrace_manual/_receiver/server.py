"""A small Datadog Agent double on loopback, for tests and for looking at traces.

It speaks the Agent's endpoints, keeps what it gets in a bounded `Store`, and fails on request.
It listens on 127.0.0.1 only and keeps nothing on disk.

Source: spec/trace-export.md §5, §9; spec/client-stats.md §8; spec/telemetry-remote-config.md.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import struct
import threading
import zlib
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast

from typing_extensions import Self

from .faults import Fault, Script
from .store import REMOTE_CONFIG_PATH, STATS_PATH, TELEMETRY_PATH, TRACE_PATHS, Received, Store, decode

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["DEFAULT_INFO", "FakeAgent"]

DEFAULT_INFO: Final[dict[str, Any]] = {  # Any: JSON
    "version": "7.65.0",
    "endpoints": ["/info", *TRACE_PATHS, STATS_PATH, TELEMETRY_PATH, REMOTE_CONFIG_PATH],
    "client_drop_p0s": True,
    "span_events": True,
    "span_meta_structs": True,
    "long_running_spans": True,
    "peer_tags": ["db.instance", "db.name", "out.host", "peer.hostname", "peer.service"],
    "span_kinds_stats_computed": ["client", "consumer", "producer", "server"],
    "config": {"default_env": "none"},
}
"""What `/info` answers by default."""

_TAKEN = 200
_TELEMETRY_TAKEN = 202
_MALFORMED = 400
_UNKNOWN = 404
_UNSIZED = 411
_NO_LINGER = struct.pack("ii", 1, 0)


class FakeAgent:
    """Datadog's Agent, as far as a tracer can tell. A context manager, and the `fake_agent` fixture.

    Change `info`, `rates` and `remote_config` at any time; the next answer has them.

    Args:
        port: Port to listen on; 0 lets the system choose.
        store: Where requests are kept; default: the last 1000 requests, at most 64 MiB.

    Attributes:
        store: What was received; see also `traces()`, `spans()`, `stats()`, `telemetry()` and `requests()`.
        info: JSON document that `/info` answers; its hash is the `Datadog-Agent-State` of every answer.
        rates: Sampling rates by `service:…,env:…`, in every answer to traces.
        remote_config: JSON document that `/v0.7/config` answers.
    """

    def __init__(self, *, port: int = 0, store: Store | None = None) -> None:
        self.store = store if store is not None else Store()
        self.info: dict[str, Any] = dict(DEFAULT_INFO)  # Any: JSON, here and below
        self.rates: dict[str, float] = {}
        self.remote_config: dict[str, Any] = {}
        self._port = port
        self._script = Script()
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        # What the store offers is offered here too: one object is enough in a test.
        self.requests = self.store.requests
        self.traces = self.store.traces
        self.spans = self.store.spans
        self.stats = self.store.stats
        self.telemetry = self.store.telemetry

    # -- life ----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen from now on.

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

    # -- script --------------------------------------------------------------------------------------

    def fail(
        self,
        path: str | None = None,
        *,
        times: int | None = None,
        status: int | None = None,
        body: bytes | None = None,
        delay_s: float = 0.0,
        reset: bool = False,
        garbage: bool = False,
        truncate: bool = False,
    ) -> None:
        """Fail from now on; several calls follow one another. Without any way to fail: status 503.

        Args:
            path: Only requests to this path, for example `/v0.4/traces`; default: all.
            times: For so many requests; default: until `recover()`.
            status: Answer with this HTTP status.
            body: Answer with this body.
            delay_s: Wait before the answer, in seconds.
            reset: Cut the connection instead of answering.
            garbage: Answer with something that is not HTTP.
            truncate: Cut the connection in the middle of the answer.
        """
        is_plain = status is None and body is None and not (delay_s or reset or garbage or truncate)
        fault = Fault(503 if is_plain else status, body, delay_s, reset, garbage, truncate)
        self._script.add(fault, path, times)

    def recover(self) -> None:
        """Answer well again."""
        self._script.clear()

    # -- what was received ---------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[FakeAgent], bool], timeout_s: float = 5.0) -> bool:
        """Wait until the condition, asked again after each request, holds; return whether it does.

        Args:
            condition: For example `lambda agent: len(agent.spans()) == 3`.
            timeout_s: Longest time to wait, in seconds.
        """
        return self.store.wait_for(lambda: condition(self), timeout_s)

    def clear(self) -> None:
        """Forget what was received."""
        self.store.clear()

    # -- answering -----------------------------------------------------------------------------------

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[Fault | None, int, bytes]:
        """Take one request; return what to do wrong, the status and the body of the answer."""
        fault = self._script.next(path)
        if fault is not None and fault.delay_s:
            self._stopping.wait(fault.delay_s)
        payload, error = None, ""
        try:
            payload = decode(path, body)
        except Exception as exc:  # noqa: BLE001 - decoders of anything a client may send
            error = f"{type(exc).__name__}: {exc}"
        status, answer = self._good_answer(path, error)
        if fault is not None:
            status = fault.status if fault.status is not None else status
            answer = fault.body if fault.body is not None else answer
        seen = 0 if fault is not None and (fault.reset or fault.garbage) else status
        self.store.add(Received(method, path, headers, body, payload, error, seen))
        return fault, status, answer

    def _good_answer(self, path: str, error: str) -> tuple[int, bytes]:
        if error:
            return _MALFORMED, error.encode()
        if path == "/info":
            return _TAKEN, self.info_body()
        if path in TRACE_PATHS:
            return _TAKEN, json.dumps({"rate_by_service": self.rates}).encode()
        if path == REMOTE_CONFIG_PATH:
            return _TAKEN, json.dumps(self.remote_config).encode()
        if path == TELEMETRY_PATH:
            return _TELEMETRY_TAKEN, b"{}"
        return (_TAKEN, b"{}") if path == STATS_PATH else (_UNKNOWN, b"404 page not found\n")

    def info_body(self) -> bytes:
        """Return the answer to `/info`."""
        return json.dumps(self.info).encode()


class _Server(ThreadingHTTPServer):
    """The listening socket, and the connections that are open."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], agent: FakeAgent) -> None:
        self.agent = agent
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
        """Stay silent: clients that hang up are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers; decides nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        agent = cast("_Server", self.server).agent
        length = self.headers.get("Content-Length")
        if length is None and self.command != "GET":
            self._write(_UNSIZED, b"", agent)
            return
        body = self.rfile.read(int(length or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-encoding") == "gzip":
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError, zlib.error):
                self._write(_MALFORMED, b"not gzip", agent)
                return
        fault, status, answer = agent.answer(self.command, self.path.partition("?")[0], headers, body)
        if fault is not None and fault.reset:
            self._reset()
        elif fault is not None and fault.garbage:
            self.close_connection = True
            self.wfile.write(b"\x00garbage\xff\r\n")
        elif fault is not None and fault.truncate:
            self.close_connection = True
            self._write(status, answer, agent, sent=len(answer) // 2)
        else:
            self._write(status, answer, agent)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names that http.server looks up

    def _write(self, status: int, body: bytes, agent: FakeAgent, sent: int | None = None) -> None:
        """Answer; `sent` cuts the body short."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Datadog-Agent-Version", str(agent.info.get("version", "")))
        self.send_header("Datadog-Agent-State", hashlib.sha256(agent.info_body()).hexdigest())
        self.end_headers()
        self.wfile.write(body[:sent])

    def _reset(self) -> None:
        """Cut the connection with a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        # The file holds the socket open as well; only the last close resets.
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Stay silent."""
