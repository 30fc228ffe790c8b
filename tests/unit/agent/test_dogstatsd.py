from __future__ import annotations

import multiprocessing
import os
import socket

import pytest

from ddtrace_manual._agent import DogStatsdClient, SendResult, report_send
from ddtrace_manual.exceptions import ConfigurationError

PREFIX = "datadog.tracer.exporter.transport."


@pytest.fixture
def receiver():
    """Return a UDP socket on a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


@pytest.fixture
def statsd(receiver):
    """Return a client that sends to the receiver."""
    client = DogStatsdClient(f"udp://127.0.0.1:{receiver.getsockname()[1]}", tags=("lang:python",))
    yield client
    client.close()


def receive(sock):
    return sock.recv(65536).decode()


def test_datagrams(receiver, statsd):
    """Each metric is one datagram: name, value, type, tags."""
    statsd.count("a.b")
    statsd.distribution("d", 1.5, ["x:1", "y:2"])
    statsd.gauge("g", 3)

    assert [receive(receiver) for _ in range(3)] == [
        "a.b:1|c|#lang:python",
        "d:1.5|d|#lang:python,x:1,y:2",
        "g:3|g|#lang:python",
    ]


def test_no_tags(receiver):
    """Without tags there is no tag section; what would break the format is replaced in tags."""
    client = DogStatsdClient(f"http://127.0.0.1:{receiver.getsockname()[1]}")

    client.count("c", 2)
    client.count("c", 2, ["a:b|c,d\ne"])

    assert [receive(receiver), receive(receiver)] == ["c:2|c", "c:2|c|#a:b_c_d_e"]
    client.close()


def test_unix_socket(tmp_path):
    """Datagrams go to a Unix socket when the address says so; one that is full or gone loses them."""
    path = str(tmp_path / "dsd.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(5)
        client = DogStatsdClient(f"unix://{path}")
        client.count("c")
        assert receive(sock) == "c:1|c"
        for _ in range(5_000):
            client.count("c")
        assert client.lost_datagrams > 0
    lost = client.lost_datagrams
    client.count("c")
    assert client.lost_datagrams == lost + 1


@pytest.mark.parametrize("address", ["udp://name.invalid:1", "unix:///nonexistent/dsd.socket"])
def test_unreachable(address):
    """What cannot be sent is lost and counted, nothing is raised."""
    client = DogStatsdClient(address)

    client.count("c")
    client.gauge("g", 1)

    assert client.lost_datagrams == 2


@pytest.mark.parametrize("address", ["", "localhost", "udp://", "unix://", "tcp://h:1", "udp://h:x"])
def test_bad_address(address):
    """What cannot be used as an address is refused."""
    with pytest.raises(ConfigurationError):
        DogStatsdClient(address)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork(receiver, statsd):
    """A child sends over a socket of its own."""
    statsd.count("parent")
    parent_socket = statsd._opened[1]

    process = multiprocessing.get_context("fork").Process(target=statsd.count, args=("child",))
    process.start()
    process.join(20)
    statsd.count("parent")

    assert process.exitcode == 0
    assert statsd._opened[1] is parent_socket
    assert [receive(receiver).partition(":")[0] for _ in range(3)] == ["parent", "child", "parent"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (SendResult("delivered", 200, 2), ["traces.successful:3|c"]),
        (
            SendResult("failed", 503, 2),
            ["traces.failed:3|c|#type:503", "traces.dropped:3|d", "dropped.bytes:9|d"],
        ),
        (SendResult("unsupported", 404, 2), ["traces.failed:3|c|#type:404"]),
        (
            SendResult("network", 0, 2),
            ["traces.failed:3|c|#type:network", "traces.dropped:3|d", "dropped.bytes:9|d"],
        ),
        (
            SendResult("timeout", 0, 2),
            ["traces.failed:3|c|#type:timeout", "traces.dropped:3|d", "dropped.bytes:9|d"],
        ),
        (
            SendResult("failed", 0, 2),
            ["traces.failed:3|c|#type:response_body", "traces.dropped:3|d", "dropped.bytes:9|d"],
        ),
    ],
    ids=["delivered", "503", "404", "network", "timeout", "not HTTP"],
)
def test_health_metrics(receiver, result, expected):
    """Every sent payload is reported, failures with their kind."""
    client = DogStatsdClient(f"udp://127.0.0.1:{receiver.getsockname()[1]}")

    report_send(client, result, chunks=3, payload_bytes=9)

    lines = ["requests:2|d", "sent.bytes:9|d", "traces.sent:3|d", *expected]
    assert [receive(receiver) for _ in lines] == [PREFIX + line for line in lines]
    client.close()
