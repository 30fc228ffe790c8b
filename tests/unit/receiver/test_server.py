"""The Agent double: it speaks the Agent's endpoints, keeps what it gets, and fails on request."""

import contextlib
import gzip
import hashlib
import http.client
import json
import socket
import threading
import time

import pytest

import ddtrace_manual as dd
from ddtrace_manual import _encoding
from ddtrace_manual._receiver import DEFAULT_INFO, FakeAgent
from ddtrace_manual.testing import SpanRecorder

SPAN = {
    "service": "s",
    "name": "n",
    "resource": "r",
    "trace_id": 1,
    "span_id": 2,
    "start": 3,
    "duration": 4,
    "meta": {"k": "v"},
    "metrics": {"m": 1.0},
}


def ask(agent, method, path, body=None, headers=None):
    """Send one request; return status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=5)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def encoder(version):
    """Return an encoder of one format."""
    if version == "v1.0":
        return _encoding.V1Encoder(_encoding.PayloadHeader())
    return {"v0.4": _encoding.V04Encoder, "v0.5": _encoding.V05Encoder}[version]()


@pytest.mark.parametrize("version", ["v0.4", "v0.5", "v1.0"])
def test_traces_are_decoded_in_every_format(fake_agent, version):
    """The answer carries the rates; the spans can be read whatever the format."""
    fake_agent.rates = {"service:s,env:": 0.5}
    status, headers, body = ask(fake_agent, "PUT", f"/{version}/traces", encoder(version).encode([[SPAN]]))
    assert (status, json.loads(body)) == (200, {"rate_by_service": {"service:s,env:": 0.5}})
    assert headers["Datadog-Agent-State"] == hashlib.sha256(ask(fake_agent, "GET", "/info")[2]).hexdigest()
    (span,) = fake_agent.spans()
    assert (span["name"], span["meta"]["k"], span["metrics"]["m"]) == ("n", "v", 1.0)
    assert fake_agent.traces() == [[span]]


def test_other_endpoints_answer(fake_agent):
    """Info, statistics, telemetry and remote configuration behave as the Agent's; the rest is not there."""
    stats = {"Hostname": "", "Env": "", "Version": "", "Stats": [], "Service": "s"}
    fake_agent.remote_config = {"roots": []}
    event = json.dumps({"request_type": "app-started"}).encode()
    requests = [
        ("GET", "/info?x=1", None, 200, DEFAULT_INFO),
        ("POST", "/v0.6/stats", _encoding.encode_stats(stats), 200, {}),
        ("POST", "/telemetry/proxy/api/v2/apmtelemetry", event, 202, {}),
        ("POST", "/v0.7/config", b"{}", 200, {"roots": []}),
    ]
    for method, path, body, expected_status, expected in requests:
        status, _, answer = ask(fake_agent, method, path, body)
        assert (status, json.loads(answer)) == (expected_status, expected), path
    assert ask(fake_agent, "POST", "/v9/nothing", b"x")[0] == 404
    assert fake_agent.stats()[0]["Service"] == "s"
    assert fake_agent.telemetry() == [{"request_type": "app-started"}]
    assert [each.path for each in fake_agent.requests()] == [
        "/info",
        "/v0.6/stats",
        "/telemetry/proxy/api/v2/apmtelemetry",
        "/v0.7/config",
        "/v9/nothing",
    ]


def test_malformed_bodies_are_refused_and_kept(fake_agent):
    """A body that cannot be read is answered 400, with the reason in the record."""
    assert ask(fake_agent, "PUT", "/v0.4/traces", b"\xc1")[0] == 400
    assert ask(fake_agent, "PUT", "/v0.4/traces", b"no", {"Content-Encoding": "gzip"})[0] == 400
    (kept,) = fake_agent.requests()
    assert (kept.body, kept.payload, kept.status, bool(kept.error)) == (b"\xc1", None, 400, True)
    assert fake_agent.traces() == []


def test_compressed_bodies_are_read(fake_agent):
    """A gzip body is kept as decompressed."""
    body = _encoding.V04Encoder().encode([[SPAN]])
    assert ask(fake_agent, "PUT", "/v0.4/traces", gzip.compress(body), {"Content-Encoding": "gzip"})[0] == 200
    assert fake_agent.requests()[0].body == body
    assert len(fake_agent.spans()) == 1


def test_chunked_bodies_are_read(fake_agent):
    """A client that does not say how long the body is sends it in chunks."""
    assert ask(fake_agent, "PUT", "/v0.4/traces", iter([b"\x91", b"\x90"]))[0] == 200
    assert fake_agent.traces() == [[]]


def test_faults_follow_one_another(fake_agent):
    """Each fault lasts for so many requests of its path; then answers are good again."""
    fake_agent.fail("/v0.6/stats", times=1)
    fake_agent.fail(times=2, status=429, body=b"slow down")
    fake_agent.fail("/info", status=500)
    answers = [ask(fake_agent, "GET", "/info") for _ in range(3)]
    assert [(status, body) for status, _, body in answers[:2]] == [(429, b"slow down")] * 2
    assert answers[2][0] == 500
    assert [ask(fake_agent, "POST", "/v0.6/stats", b"")[0] for _ in range(2)] == [503, 200]
    fake_agent.recover()
    assert ask(fake_agent, "GET", "/info")[0] == 200
    fake_agent.clear()
    assert fake_agent.requests() == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"reset": True}, (ConnectionResetError, http.client.RemoteDisconnected)),
        ({"garbage": True}, http.client.BadStatusLine),
        ({"truncate": True}, http.client.IncompleteRead),
    ],
    ids=["reset", "garbage", "truncate"],
)
def test_broken_connections(fake_agent, fault, error):
    """The request is read and recorded; the client gets no whole answer."""
    fake_agent.fail(times=1, **fault)
    with pytest.raises(error):
        ask(fake_agent, "GET", "/info")
    assert [each.status for each in fake_agent.requests()] == [200 if "truncate" in fault else 0]
    assert ask(fake_agent, "GET", "/info")[0] == 200


def test_a_late_answer_does_not_hold_up_the_end():
    """A delay ends with the server; meanwhile other requests are answered."""
    with FakeAgent() as agent:
        agent.fail("/info", delay_s=60)

        def ask_late():
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(agent, "GET", "/info")

        late = threading.Thread(target=ask_late)
        late.start()
        assert ask(agent, "POST", "/v0.6/stats", b"")[0] == 200
        started = time.monotonic()
    late.join(5)
    assert not late.is_alive()
    assert time.monotonic() - started < 30


def test_a_short_delay_is_kept(fake_agent):
    """The answer comes after the delay, and is good."""
    fake_agent.fail(times=1, delay_s=0.05)
    started = time.monotonic()
    assert ask(fake_agent, "GET", "/info")[0] == 200
    assert time.monotonic() - started >= 0.05


def test_a_restart_keeps_the_port_and_cuts_connections():
    """Stopped it refuses; idle connections notice; started again it is at the same address."""
    agent = FakeAgent()
    agent.stop()  # nothing to stop is no mistake
    with agent:
        assert agent.start() is agent
        port = agent.port
        idle = socket.create_connection(("127.0.0.1", port), timeout=5)
        ask(agent, "GET", "/info")
        agent.stop()
        assert idle.recv(1) == b""
        idle.close()
        with pytest.raises(ConnectionError):
            ask(agent, "GET", "/info")
        agent.start()
        assert agent.port == port
        assert ask(agent, "GET", "/info")[0] == 200
    assert len(agent.requests()) == 2
    assert agent.url == f"http://127.0.0.1:{port}"


def test_waiting_for_what_arrives(fake_agent):
    """A test can wait for a condition instead of sleeping."""
    sender = threading.Thread(target=ask, args=(fake_agent, "GET", "/info"))
    sender.start()
    assert fake_agent.wait_for(lambda agent: len(agent.requests("/info")) == 1)
    assert not fake_agent.wait_for(lambda agent: len(agent.requests()) == 2, timeout_s=0.01)
    sender.join()


def test_recorded_spans_can_be_sent_by_hand(fake_agent):
    """What the recorder calls a payload is one: the Agent reads it back unchanged."""
    with SpanRecorder() as spans, dd.span("root"), dd.span("child"):
        pass
    payload = spans.payload()
    assert ask(fake_agent, "PUT", "/v0.4/traces", _encoding.V04Encoder().encode(payload))[0] == 200
    assert fake_agent.traces() == payload
