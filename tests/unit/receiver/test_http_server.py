"""What a receiver refuses before looking at it."""

import gzip
import socket
import zlib

import pytest

from ddtrace_manual._receiver import TraceViewer, http_server
from ddtrace_manual._receiver.http_server import MAX_BODY_BYTES, is_loopback_host


@pytest.fixture
def viewer():
    with TraceViewer() as running:
        yield running


def raw(viewer, *parts):
    """Send bytes and return the first line of the answer and the rest."""
    with socket.create_connection(("127.0.0.1", viewer.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return answer.partition(b"\r\n")[0].decode(), answer


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8126", "LOCALHOST.", "127.0.0.1", "127.9.9.9:1", "[::1]:8126"]
)
def test_loopback_hosts(host):
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8126", "10.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example",
     "localhost@evil.example", "evil.example/localhost", "[::1", "localhost:99999", "0.0.0.0", "2130706433"],
)  # fmt: skip
def test_other_hosts(host):
    assert not is_loopback_host(host)


@pytest.mark.parametrize("path", ["/", "/api/traces", "/info", "/v0.4/traces"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
    ids=["host", "origin", "no-origin", "both"],
)
def test_requests_of_other_web_pages_are_refused(viewer, ask, path, headers):
    """DNS rebinding, and pages that send requests across origins."""
    status, _, body = ask(viewer, "POST" if path.startswith("/v") else "GET", path, b"\x90", headers)
    assert status == 403
    assert body.startswith((b"only requests", b"requests of other"))
    assert viewer.store.version == 0


def test_the_page_itself_may_ask(viewer, ask):
    assert ask(viewer, "POST", "/api/clear", b"", {"Origin": viewer.url})[0] == 200
    assert ask(viewer, "GET", "/", None, {"Host": f"localhost:{viewer.port}"})[0] == 200


def test_it_listens_on_loopback_only(viewer):
    assert viewer._server.server_address[0] == "127.0.0.1"


def test_two_hosts_are_refused(viewer):
    assert "403" in raw(viewer, b"GET /info HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")[0]


def test_a_whole_address_as_target_is_refused(viewer):
    assert "400" in raw(viewer, b"GET http://evil.example/info HTTP/1.1\r\nHost: localhost\r\n\r\n")[0]


@pytest.mark.parametrize(
    "fields",
    [b"Content-Length: -1", b"Content-Length: x", b"Content-Length: 1\r\nContent-Length: 2", b"Content-Length: +1",
     b"Transfer-Encoding: gzip", b"Content-Length: 9\r\nX: y"],
)  # fmt: skip
def test_bad_lengths_are_refused(viewer, fields):
    """Among them a body that is shorter than announced."""
    assert "400" in raw(viewer, b"PUT /v0.4/traces HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n\r\n\x90")[0]


def test_long_bodies_are_refused_unread(viewer):
    """The answer comes before the body, which need not exist."""
    length = str(MAX_BODY_BYTES + 1).encode()
    line, _ = raw(viewer, b"PUT /v0.4/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n")
    assert "413" in line


def test_long_chunked_bodies_are_refused(viewer, monkeypatch):
    monkeypatch.setattr(http_server, "MAX_BODY_BYTES", 10)
    head = b"PUT /v0.4/traces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert "413" in raw(viewer, head, b"6\r\n123456\r\n", b"6\r\n123456\r\n0\r\n\r\n")[0]
    assert "400" in raw(viewer, head, b"zz\r\n")[0]
    assert "200" in raw(viewer, head, b"1;name=value\r\n\x90\r\n0\r\nTrailer: x\r\n\r\n")[0]


def test_long_decompressed_bodies_are_refused(viewer, ask, monkeypatch):
    """A small body may become a huge one."""
    monkeypatch.setattr(http_server, "MAX_BODY_BYTES", 5000)
    gzipped = {"Content-Encoding": "gzip"}
    assert ask(viewer, "PUT", "/v0.4/traces", gzip.compress(bytes(6000)), gzipped)[0] == 413
    assert ask(viewer, "PUT", "/v0.4/traces", gzip.compress(b"\x90"), gzipped)[0] == 200
    assert ask(viewer, "PUT", "/v0.4/traces", gzip.compress(b"\x90")[:-5], gzipped)[0] == 400
    assert ask(viewer, "PUT", "/v0.4/traces", zlib.compress(b"\x90"), {"Content-Encoding": "deflate"})[0] == 415
