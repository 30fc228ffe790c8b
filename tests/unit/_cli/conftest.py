"""Servers that are Agents, and servers that are none."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading

import pytest

from ddtrace_manual._receiver.server import FakeAgent


@pytest.fixture
def agent():
    """An Agent double on loopback."""
    with FakeAgent() as running:
        yield running


class _Website(http.server.BaseHTTPRequestHandler):
    """Answers everything with a page and the server's status."""

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        page = b"<html>\x1b[31mWelcome</html>"
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def date_time_string(self, timestamp=None):
        return self.server.date or super().date_time_string(timestamp)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - names that http.server looks up

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def website():
    """A web server that is no Agent; set `.status` and `.date`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Website) as server:
        server.status, server.date = 200, ""
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def banner():
    """Address of a server that greets, as mail servers do, and speaks no HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))

    def greet():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"220 mail ready\r\n")

    thread = threading.Thread(target=greet)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
