"""A scriptable server on a real socket, and a transport without any."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field

import pytest

from ddtrace_manual._agent import AgentClient, Headers, Response, RetryPolicy
from ddtrace_manual._base.log import RateLimitedLogger, get_logger

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """Answers each request with the next entry of `answers`, then with 200.

    An answer is bytes, sent before the connection is closed, or a function of the connection.
    `requests` are the requests received; `connections` counts connections, `closed` is released for each that ended,
    `arrived` for each request.
    """

    def __init__(self, listener):
        self.answers = []
        self.requests = []
        self.connections = 0
        self.closed = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self.keep_open = False
        self.stopping = threading.Event()
        self._listener = listener
        self._listener.settimeout(0.02)  # here, because a short test may close it before the thread runs
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self):
        return self._listener.getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.stopping.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self):
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            connection.settimeout(5)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        self._talk(connection)
        self.closed.release()

    def _talk(self, connection):
        with connection, contextlib.suppress(OSError, ValueError), connection.makefile("rb") as stream:
            while line := stream.readline():
                method, path, _ = line.decode().split()
                headers = {}
                while (line := stream.readline().strip()) != b"":
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", 0)))
                self.requests.append(Received(method, path, headers, body))
                answer = self.answers.pop(0) if self.answers else OK
                self.arrived.release()
                if callable(answer):
                    answer(connection)
                    return
                connection.sendall(answer)
                if not self.keep_open:
                    return


@pytest.fixture
def server():
    """Return a server on a free TCP port of the loopback interface."""
    running = Server(socket.create_server(("127.0.0.1", 0)))
    yield running
    running.stop()


@pytest.fixture
def unix_server(tmp_path):
    """Return a server on a Unix socket, and its path."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = str(tmp_path / "apm.socket")
    listener.bind(path)
    listener.listen()
    running = Server(listener)
    yield running, path
    running.stop()


@dataclass
class ScriptedTransport:
    """Answers with the entries of `answers`: a `Response`, or an exception to raise; then with 200."""

    answers: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    address: str = "http://agent:8126"

    def request(self, method, path, body, headers, timeout_s):
        self.requests.append((method, path, body, Headers(headers), timeout_s))
        answer = self.answers.pop(0) if self.answers else Response(200)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def transport():
    """Return a transport that needs no server."""
    return ScriptedTransport()


@pytest.fixture
def waits():
    """Return the list of waits, in seconds, that the client of this test made."""
    return []


@pytest.fixture
def client(transport, waits):
    """Return a client without jitter that only notes its waits."""

    def wait(delay_s):
        waits.append(round(delay_s, 6))
        return False

    return AgentClient(
        transport,
        headers={"Datadog-Meta-Lang": "python"},
        wait=wait,
        retry=RetryPolicy(uniform=lambda: 0.5),
        log=RateLimitedLogger(get_logger("agent")),
    )
