from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest
from opentelemetry import context as otel_context

from ddtrace_manual._agent import Headers, RequestsTransport
from ddtrace_manual._agent.transport import MAX_RESPONSE_BYTES, split_agent_url
from ddtrace_manual.exceptions import AgentConnectionError, AgentResponseError, AgentTimeoutError, ConfigurationError

LONG_S = 5.0
SHORT_S = 0.5
HEAD = b"HTTP/1.1 200 OK\r\n"


def post(transport, body=b"payload", *, path="/v0.4/traces", headers=None, timeout_s=LONG_S):
    return transport.request("POST", path, body, {"User-Agent": "Tracer/1", **(headers or {})}, timeout_s)


def never(connection):
    connection.recv(1)  # until the other side gives up


def dripping(data, pause_s=0.02):
    def drip(connection):
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(pause_s)

    return drip


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def test_request(server):
    """A request arrives as it was given, with Content-Length and nothing that was not asked for."""
    response = post(RequestsTransport(server.url), headers={"X-Datadog-Trace-Count": "1"})

    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/v0.4/traces", b"payload")
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "user-agent": "Tracer/1",
        "x-datadog-trace-count": "1",
        "content-length": "7",
        "connection": "close",
    }
    assert (response.status, response.body) == (200, b"OK")
    assert response.headers["CONTENT-LENGTH"] == "2"


@pytest.mark.parametrize(("body", "length"), [(None, "0"), (b"", "0"), (b"\x90", "1"), (b"x" * 3_000_000, "3000000")])
def test_body(server, body, length):
    """The length of a body is announced, also of none; nothing is sent in chunks."""
    assert post(RequestsTransport(server.url), body).status == 200

    [request] = server.requests
    assert request.headers["content-length"] == length
    assert request.body == (body or b"")
    assert "transfer-encoding" not in request.headers


def test_get(server):
    """A GET has no body."""
    RequestsTransport(server.url).request("GET", "/info", None, {}, LONG_S)

    [request] = server.requests
    assert (request.method, request.path, request.body) == ("GET", "/info", b"")


def test_unix_socket(unix_server):
    """Requests go over a Unix socket when the address says so."""
    server, path = unix_server

    assert post(RequestsTransport(f"unix://{path}")).status == 200

    [request] = server.requests
    assert (request.path, request.headers["host"], request.body) == ("/v0.4/traces", "localhost", b"payload")


def test_path_prefix(server):
    """The path of the address precedes that of the request."""
    post(RequestsTransport(f"{server.url}/base/"))

    assert server.requests[0].path == "/base/v0.4/traces"


def test_ipv6():
    """An IPv6 address in brackets is used; here it refuses."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with pytest.raises(AgentConnectionError):
        post(RequestsTransport("http://[::1]:9"))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_redirect(server, answer):
    """A redirect is an answer; it is not followed."""
    server.answers.append(answer)

    assert post(RequestsTransport(server.url)).status == 302
    assert len(server.requests) == 1


def test_no_proxy_no_netrc(server, monkeypatch, tmp_path):
    """Proxy variables and netrc are ignored."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    assert post(RequestsTransport(server.url)).status == 200
    assert "authorization" not in server.requests[0].headers


def test_cookies(server):
    """A cookie is not sent back."""
    server.answers.append(HEAD + b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
    transport = RequestsTransport(server.url)

    post(transport)
    post(transport)

    assert "cookie" not in server.requests[1].headers


def test_answer_without_length(server):
    """A body that ends with the connection is complete."""
    server.answers.append(HEAD + b"\r\nuntil the end")

    assert post(RequestsTransport(server.url)).body == b"until the end"


def test_interim_answers(server):
    """Interim answers are passed over."""
    server.answers.append(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + HEAD + b"Content-Length: 0\r\n\r\n")

    assert post(RequestsTransport(server.url)).status == 200


def test_chunked_answer(server):
    """An answer in chunks is put together."""
    server.answers.append(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

    assert post(RequestsTransport(server.url)).body == b"abc"


@pytest.mark.parametrize(
    ("answer", "error", "status"),
    [
        (b"", AgentConnectionError, 0),
        (reset, AgentConnectionError, 0),
        (HEAD + b"Content-Length: 10\r\n\r\nabc", AgentConnectionError, 200),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\n", AgentConnectionError, 500),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", AgentConnectionError, 200),
        (b"\x00\x01rubbish\r\n\r\n", AgentResponseError, 0),
        (b"SSH-2.0-OpenSSH\r\n", AgentResponseError, 0),
        (HEAD + b"X: y\r\n" * 200 + b"\r\n", AgentResponseError, 0),
        (HEAD + b"X: " + b"y" * 70_000, AgentResponseError, 0),
        (HEAD + b"\r\n" + b"x" * (MAX_RESPONSE_BYTES + 1), AgentResponseError, 200),
    ],
    ids=[
        "closed",
        "reset",
        "short body",
        "no body",
        "short chunk",
        "rubbish",
        "another protocol",
        "many headers",
        "long header",
        "huge body",
    ],
)
def test_faulty_answer(server, answer, error, status):
    """A faulty answer is an Agent error of the right kind, with the status if there was one."""
    server.answers.append(answer)

    with pytest.raises(error) as caught:
        post(RequestsTransport(server.url))

    assert caught.value.status == status


def test_largest_answer(server):
    """An answer of the greatest length is accepted."""
    server.answers.append(HEAD + b"\r\n" + b"x" * MAX_RESPONSE_BYTES)

    assert len(post(RequestsTransport(server.url)).body) == MAX_RESPONSE_BYTES


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (never, 0),
        (dripping(HEAD * 100), 0),
        (dripping(HEAD + b"X-Long: " + b"y" * 1000), 0),
        (dripping(b"HTTP/1.1 100 Continue\r\n\r\n" * 40), 0),
        (lambda connection: (connection.sendall(HEAD + b"\r\n"), dripping(b"z" * 1000)(connection)), 200),
    ],
    ids=["never answers", "drips status", "drips headers", "drips interim answers", "drips body"],
)
def test_deadline(server, answer, status):
    """The whole exchange ends in time, however slowly the answer comes."""
    server.answers.append(answer)
    start = time.monotonic()

    with pytest.raises(AgentTimeoutError) as caught:
        post(RequestsTransport(server.url), timeout_s=SHORT_S)

    assert time.monotonic() - start < 2 * LONG_S  # each answer drips for longer
    assert caught.value.status == status


def test_deadline_while_sending():
    """A server that does not read does not hold up the sender."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = RequestsTransport(f"http://127.0.0.1:{listener.getsockname()[1]}")

        with pytest.raises(AgentTimeoutError):
            post(transport, b"x" * 20_000_000, timeout_s=SHORT_S)


@pytest.mark.parametrize("what", ["waiting", "sending", "reading"])
def test_another_thread_may_interrupt(server, what):
    """A request that waits for its server can be broken off from outside; later ones are not affected."""
    arrived = threading.Event()
    errors = []

    def begin(connection):
        if what == "reading":
            connection.sendall(HEAD + b"Content-Length: 5\r\n\r\n")
        arrived.set()
        never(connection)

    def run(transport, body):
        try:
            post(transport, body, timeout_s=60.0)
        except AgentTimeoutError as exc:
            errors.append((str(exc), exc.status))

    with socket.create_server(("127.0.0.1", 0)) as full:
        server.answers.append(begin)
        port = full.getsockname()[1] if what == "sending" else server.port
        transport = RequestsTransport(f"http://127.0.0.1:{port}")
        transport.interrupt(1)
        thread = threading.Thread(target=run, args=(transport, b"x" * (20_000_000 if what == "sending" else 1)))
        thread.start()
        if what != "sending":
            assert arrived.wait(LONG_S)
        while thread.is_alive():  # it may not have begun to send, or to read, yet
            transport.interrupt(thread.ident)
            thread.join(0.05)
    assert errors == [("no complete answer before the end", 200 * (what == "reading"))]
    transport.interrupt(thread.ident)
    if what != "sending":
        assert post(transport).status == 200


def test_refused():
    """No listener is a connection error that says so; a pending exception of the caller does not confuse it."""
    try:
        raise TimeoutError
    except TimeoutError:
        with pytest.raises(AgentConnectionError, match="refused"):
            post(RequestsTransport("http://127.0.0.1:9"))


@pytest.mark.parametrize("url", ["http://name.invalid:8126", "unix:///nonexistent/apm.socket", "unix://" + "x" * 200])
def test_unreachable(url):
    """An unknown host or missing socket is a connection error."""
    with pytest.raises(AgentConnectionError):
        post(RequestsTransport(url))


def test_no_unix_sockets(monkeypatch):
    """Where there are no Unix sockets the error says so."""
    monkeypatch.delattr(socket, "AF_UNIX")

    with pytest.raises(AgentConnectionError, match="no Unix sockets"):
        post(RequestsTransport("unix:///tmp/socket"))


def test_tls_without_tls(server):
    """Speaking TLS to a plain server is a connection error."""
    server.answers.append(b"")

    with pytest.raises(AgentConnectionError):
        post(RequestsTransport(server.url.replace("http:", "https:")))


@pytest.mark.parametrize(("reuse", "connections"), [(False, 2), (True, 1)])
def test_connections(server, reuse, connections):
    """A connection is used once, or kept when asked to."""
    server.keep_open = True
    transport = RequestsTransport(server.url, reuse_connections=reuse)

    assert [post(transport).status for _ in range(2)] == [200, 200]

    assert server.connections == connections
    transport.close()
    transport.close()
    assert post(transport).status == 200
    transport.close()


def test_connection_that_ended(server):
    """A kept connection that the server has closed is replaced."""
    transport = RequestsTransport(server.url, reuse_connections=True)

    for _ in range(3):
        assert post(transport).status == 200
        assert server.closed.acquire(timeout=5)
    transport.close()


def test_several_threads(server):
    """Threads may share a transport; each request keeps its own deadline."""
    server.answers.append(never)
    transport = RequestsTransport(server.url)
    outcomes = []

    def slow():
        try:
            post(transport, timeout_s=SHORT_S)
        except AgentTimeoutError:
            outcomes.append("timeout")

    thread = threading.Thread(target=slow)
    thread.start()
    assert server.arrived.acquire(timeout=5)
    assert post(transport).status == 200
    thread.join()
    assert outcomes == ["timeout"]


@pytest.mark.parametrize("reuse_connections", [False, True])
def test_simultaneous_requests_say_nothing(server, caplog, reuse_connections):
    """When requests overlap, as at the start, nothing is written into the application's log."""
    server.keep_open = True
    server.answers.extend([never, never])
    transport = RequestsTransport(server.url, reuse_connections=reuse_connections)

    def slow():
        with contextlib.suppress(AgentTimeoutError):
            post(transport, timeout_s=SHORT_S)

    threads = [threading.Thread(target=slow) for _ in range(2)]
    with caplog.at_level("INFO"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert post(transport).status == 200
    transport.close()
    assert not caplog.records


def test_closing_during_a_request(server, monkeypatch):
    """The connection of a request under way is closed when it ends, also while the interpreter exits."""
    monkeypatch.setattr(weakref.finalize, "_shutdown", True)  # as then: finalisers do nothing any more
    server.keep_open = True
    asked, answer, ended = threading.Event(), threading.Event(), threading.Event()

    def respond(connection):
        asked.set()
        answer.wait(LONG_S)
        connection.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        if connection.recv(1) == b"":
            ended.set()

    server.answers.append(respond)
    transport = RequestsTransport(server.url, reuse_connections=True)
    exchanger = transport._exchanger()  # held, so that only closing can end the connection
    thread = threading.Thread(target=post, args=(transport,))
    thread.start()
    assert asked.wait(LONG_S)
    transport.close()
    answer.set()
    thread.join()
    assert ended.wait(LONG_S)
    assert transport._exchanger() is not exchanger


def test_threads_share_one_exchanger(server, monkeypatch):
    """Threads that ask for the first time at the same moment share connections: none is left over."""
    from ddtrace_manual._agent import exchange

    together, real = threading.Barrier(2), exchange.Exchanger

    def make(*args, **options):
        together.wait(LONG_S)
        return real(*args, **options)

    monkeypatch.setattr(exchange, "Exchanger", make)
    transport = RequestsTransport(server.url)
    found = []
    threads = [threading.Thread(target=lambda: found.append(transport._exchanger())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] is found[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork(server):
    """A child opens connections of its own; the parent's stay usable."""
    server.keep_open = True
    transport = RequestsTransport(server.url, reuse_connections=True)
    post(transport, b"parent")

    def in_child():
        post(transport, b"child")
        assert list(transport._opened) == [os.getpid()]  # the parent's are let go of

    process = multiprocessing.get_context("fork").Process(target=in_child)
    process.start()
    process.join(20)
    post(transport, b"parent again")
    transport.close()

    assert process.exitcode == 0
    assert [request.body for request in server.requests] == [b"parent", b"child", b"parent again"]
    assert server.connections == 2


def test_suppressed_instrumentation(server, monkeypatch):
    """While a request is under way, OpenTelemetry instrumentation of the HTTP library is told to keep out."""
    seen = []
    transport = RequestsTransport(server.url)
    exchanger = transport._exchanger()
    exchange = exchanger.exchange

    def spy(*args):
        seen.extend(
            otel_context.get_value(key)
            for key in (otel_context._SUPPRESS_INSTRUMENTATION_KEY, otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY)
        )
        return exchange(*args)

    monkeypatch.setattr(exchanger, "exchange", spy)
    post(transport)

    assert seen == [True, True]
    assert otel_context.get_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY) is None


def test_late_import():
    """Importing the package does not import the HTTP library."""
    code = "import sys, ddtrace_manual._agent; sys.exit(bool({'requests', 'urllib3'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_import_that_fails(monkeypatch):
    """When the HTTP library cannot be imported, as at the end of the interpreter, there is no connection."""
    monkeypatch.setitem(sys.modules, "ddtrace_manual._agent.exchange", None)

    with pytest.raises(AgentConnectionError, match="cannot import"):
        post(RequestsTransport("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8126", ("http://localhost:8126", None)),
        ("http://localhost:8126/", ("http://localhost:8126", None)),
        ("https://host/a/b/?x#y", ("https://host/a/b", None)),
        ("http://[::1]:8126", ("http://[::1]:8126", None)),
        ("unix:///var/run/datadog/apm.socket", ("http://localhost", "/var/run/datadog/apm.socket")),
        ("unix://relative", ("http://localhost", "relative")),
    ],
)
def test_addresses(url, expected):
    """An address is split into the base of URLs and the path of a socket."""
    assert split_agent_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8126",
        "ftp://host",
        "http://",
        "http://:8126",
        "http://[::1",
        "http://h:x",
        "unix://",
        r"windows:pipe\dd",
    ],
)
def test_bad_address(url):
    """What cannot be used as an address is refused when the transport is made."""
    with pytest.raises(ConfigurationError):
        RequestsTransport(url)


def test_address_without_credentials(server):
    """Credentials are used for the request, never shown."""
    transport = RequestsTransport(server.url.replace("//", "//me:secret@"))
    post(transport)

    assert transport.address == server.url
    assert server.requests[0].headers["authorization"].startswith("Basic ")


def test_headers():
    """Names of header fields do not depend on case."""
    headers = Headers({"Retry-After": "1"})

    assert headers["retry-after"] == headers.get("RETRY-AFTER") == "1"
    assert (list(headers), len(headers)) == (["retry-after"], 1)
    assert "retry-after" in repr(headers)
