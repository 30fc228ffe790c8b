"""HTTP over a Windows named pipe, with a connected socket, as a file, in its place."""

from __future__ import annotations

import errno
import select
import socket
import time

import pytest

from ddtrace_manual._agent import RequestsTransport, pipe
from ddtrace_manual.exceptions import AgentConnectionError, AgentTimeoutError, ConfigurationError

URL = r"windows:\\.\pipe\datadog-apm"
PATH = r"\\.\pipe\datadog-apm"


@pytest.fixture
def pipes(server, monkeypatch):
    """Let pipes lead to the server; return those that were opened. An exception in `failures` is raised instead."""

    class Pipes(list):
        failures = ()

    opened = Pipes()

    def connect(path):
        assert path == PATH
        if opened.failures:
            raise opened.failures.pop(0)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            opened.append(connection.makefile("rwb", buffering=0))
        return opened[-1]

    monkeypatch.setattr(pipe, "_open", connect)
    monkeypatch.setattr(pipe, "_has_data", lambda file: bool(select.select([file], [], [], 0)[0]))
    return opened


def post(transport, body=b"payload", timeout_s=5.0):
    return transport.request("POST", "/v0.4/traces", body, {"User-Agent": "Tracer/1"}, timeout_s)


def test_requests_through_a_pipe(server, pipes):
    """Requests and answers go through the pipe, which is opened anew for each, also when reuse is asked for."""
    big = bytes(300_000)
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 429 Later\r\n\r\n"]
    transport = RequestsTransport(URL, reuse_connections=True)
    assert transport.address == URL
    assert (post(transport).body, post(transport, big).status) == (b"hello", 429)
    assert [(request.path, request.body) for request in server.requests] == [
        ("/v0.4/traces", b"payload"),
        ("/v0.4/traces", big),
    ]
    assert server.requests[0].headers["host"] == "localhost"
    assert [file.closed for file in pipes] == [True, True]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda _: None, AgentConnectionError),
        (lambda connection: connection.recv(1), AgentTimeoutError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", AgentConnectionError),
    ],
)
def test_answers_that_do_not_come(server, pipes, answer, error):
    """An Agent that ends, or stays silent, is an error in time; the pipe is closed."""
    server.answers = [answer]
    begin = time.monotonic()
    with pytest.raises(error):
        post(RequestsTransport(URL), timeout_s=0.3)
    assert time.monotonic() - begin < 2.0
    assert pipes[0].closed


def test_a_broken_pipe_has_ended(server, pipes, monkeypatch):
    """Windows reports the end of the other side as an error: it is the end of the answer."""

    def has_data(_):
        raise BrokenPipeError

    monkeypatch.setattr(pipe, "_has_data", has_data)
    with pytest.raises(AgentConnectionError, match="RemoteDisconnected"):
        post(RequestsTransport(URL))
    assert pipes[0].closed


def test_a_busy_pipe_is_waited_for(server, pipes):
    """When all instances of a pipe are in use, the next free one is waited for, within the timeout."""
    pipes.failures = [OSError(errno.EINVAL, "busy")] * 3
    assert post(RequestsTransport(URL)).status == 200
    pipes.failures = [OSError(errno.EINVAL, "busy")] * 1000
    with pytest.raises(AgentConnectionError, match="busy"):
        post(RequestsTransport(URL), timeout_s=0.1)


def test_a_pipe_that_is_not_there(pipes):
    """Without an Agent there is no pipe, which is said."""
    pipes.failures = [FileNotFoundError(errno.ENOENT, "No such file or directory")]
    with pytest.raises(AgentConnectionError, match="FileNotFoundError"):
        post(RequestsTransport(URL))


def test_where_there_are_no_pipes():
    """On other systems the path is that of a file which does not exist."""
    with pytest.raises(AgentConnectionError, match="FileNotFoundError"):
        post(RequestsTransport(URL))
    with pytest.raises(ConfigurationError, match="names no pipe"):
        RequestsTransport("windows:pipe")
