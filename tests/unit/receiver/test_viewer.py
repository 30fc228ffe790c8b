"""The receiver behind `run` and `view`: Agent endpoints, data for the page, and forwarding."""

import contextlib
import gzip
import json
import threading

import pytest

from ddtrace_manual import _encoding
from ddtrace_manual._receiver import FakeAgent, TraceViewer, forward
from ddtrace_manual.exceptions import ConfigurationError

SPAN = {
    "service": "s",
    "name": "n",
    "resource": "r",
    "trace_id": 0xABCDEF0123456789,
    "span_id": (1 << 63) + 1,
    "start": 1_796_094_484_000_000_123,
    "duration": 4,
    "meta": {"k": "v"},
    "metrics": {"m": 1.0},
}


def encode(version, chunks):
    if version == "v1.0":
        return _encoding.V1Encoder(_encoding.PayloadHeader()).encode(chunks)
    return {"v0.5": _encoding.V05Encoder}.get(version, _encoding.V04Encoder)().encode(chunks)


@pytest.fixture
def viewer():
    with TraceViewer() as running:
        yield running


def get(ask, viewer, path):
    status, headers, body = ask(viewer, "GET", path)
    assert status == 200, (path, body)
    assert headers["Content-Type"] == "application/json"
    return json.loads(body)


@pytest.mark.parametrize("version", ["v0.3", "v0.4", "v0.5", "v1.0"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_traces_of_every_format(viewer, ask, version, method):
    assert ask(viewer, method, f"/{version}/traces", encode(version, [[SPAN]]))[::2] == (200, b'{"rate_by_service":{}}')
    trace = get(ask, viewer, "/api/trace?id=abcdef0123456789")
    assert trace["trace_id"] == str(0xABCDEF0123456789)
    (span,) = trace["tree"]
    assert (span["span_id"], span["start"], span["meta"]["k"]) == (str((1 << 63) + 1), "1796094484000000123", "v")
    assert span["span_id_hex"] == "8000000000000001"


def test_json_payloads(viewer, ask):
    """Some tracers write v0.4 as JSON."""
    json_type = {"Content-Type": "application/json; charset=utf-8"}
    assert ask(viewer, "PUT", "/v0.4/traces", json.dumps([[SPAN]]), json_type)[0] == 200
    assert viewer.store.total == 1
    for body in (b"{}", b"[1]", b"nothing", b"[" * 100_000):
        assert ask(viewer, "PUT", "/v0.4/traces", body, json_type)[0] == 400


@pytest.mark.parametrize(
    "body",
    [b"\xc1", b"\x81\xa1a\x01", b"\x91\x05", b"\x91\x91\x05", b"hello", bytes(1000), b"\x91" * 5000],
)
@pytest.mark.parametrize("version", ["v0.4", "v0.5", "v1.0"])
def test_rubbish_is_refused(viewer, ask, version, body):
    status, _, reason = ask(viewer, "PUT", f"/{version}/traces", body)
    assert status == 400
    assert b"EncodingError" in reason
    assert ask(viewer, "PUT", "/v0.4/traces", encode("v0.4", [[SPAN]]))[0] == 200


def test_payloads_without_spans_are_accepted(viewer, ask):
    for body in (b"", b"\x90", b"\x91\x90"):
        assert ask(viewer, "PUT", "/v0.4/traces", body)[0] == 200
    assert viewer.store.version == 0


def test_other_endpoints_of_the_agent(viewer, ask):
    """Tracers are told to send everything: what they do not sample can be looked at too."""
    info = get(ask, viewer, "/info")
    assert info["client_drop_p0s"] is False
    assert "/v0.4/traces" in info["endpoints"]
    assert ask(viewer, "POST", "/v0.6/stats", b"x")[0] == 200
    assert ask(viewer, "POST", "/telemetry/proxy/api/v2/apmtelemetry", b"{}")[0] == 202
    assert ask(viewer, "POST", "/v0.7/config", b"{}")[0] == 200
    assert ask(viewer, "GET", "/v0.4/traces")[0] == 404
    assert ask(viewer, "POST", "/profiling/v1/input", b"x")[0] == 404
    assert ask(viewer, "DELETE", "/")[0] == 501


def test_the_page_admits_nothing_but_itself(viewer, ask):
    """Its policy names its own style and script by hash; a placeholder that never matches would break the page."""
    status, headers, body = ask(viewer, "GET", "/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["X-Frame-Options"] == "DENY"
    text = body.decode()
    assert text.count("<script") == text.count("<style") == 1
    for address in ("http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert address not in text, address


def test_without_the_page(ask):
    with TraceViewer(web=False) as viewer:
        assert ask(viewer, "GET", "/")[0] == 404
        assert ask(viewer, "GET", "/api/traces")[0] == 404
        assert ask(viewer, "PUT", "/v0.4/traces", encode("v0.4", [[SPAN]]))[0] == 200


def test_the_list_waits_for_news(viewer, ask):
    first = get(ask, viewer, "/api/traces")
    assert (first["keys"], first["traces"], first["version"]) == ([], [], 0)
    answers = []
    path = f"/api/traces?after=0&wait=20&instance={first['instance']}"
    waiter = threading.Thread(target=lambda: answers.append(get(ask, viewer, path)))
    waiter.start()
    ask(viewer, "PUT", "/v0.4/traces", encode("v0.4", [[SPAN]]))
    waiter.join(15)
    assert [trace["name"] for trace in answers[0]["traces"]] == ["n"]
    unchanged = get(ask, viewer, f"/api/traces?after=1&instance={first['instance']}")
    assert (unchanged["keys"], unchanged["traces"]) == (["1"], [])
    assert len(get(ask, viewer, "/api/traces?after=1&instance=another")["traces"]) == 1
    assert len(get(ask, viewer, "/api/traces?after=x&wait=-1")["traces"]) == 1


def test_search_and_export(viewer, ask):
    ask(viewer, "PUT", "/v0.4/traces", encode("v0.4", [[SPAN]]))
    assert get(ask, viewer, "/api/search?q=k%3Av")["keys"] == ["1"]
    assert get(ask, viewer, "/api/search?q=absent")["keys"] == []
    assert get(ask, viewer, "/api/export")[0][0]["span_id"] == (1 << 63) + 1
    assert ask(viewer, "GET", "/api/trace?id=5")[0] == 404
    assert ask(viewer, "GET", "/api/trace")[0] == 404
    assert ask(viewer, "POST", "/api/clear", b"")[0] == 200
    assert get(ask, viewer, "/api/export") == []


@pytest.mark.parametrize(
    "body",
    [b"x", b"[]", b'{"rules": [{"sample_rate": 2}]}', b'{"rules": "["}', b'{"rules": [], "rate_limit": "many"}', b'{"rules": [], "rate_limit": true}', b"[" * 100_000],
)  # fmt: skip
def test_wrong_sampling_rules(viewer, ask, body):
    status, _, answer = ask(viewer, "POST", "/api/sample", body)
    assert status == 400
    assert json.loads(answer)["error"]


def test_sampling_rules(viewer, ask):
    ask(viewer, "PUT", "/v0.4/traces", encode("v0.4", [[SPAN]]))
    status, _, answer = ask(viewer, "POST", "/api/sample", b'{"rules": [{"sample_rate": 0}], "rate_limit": 5}')
    assert (status, json.loads(answer)["total"]["kept"]) == (200, 0)


def test_everything_is_passed_on(ask):
    """Path, query, headers and body as they came; the answer is the real Agent's, with its headers."""
    with FakeAgent() as agent, TraceViewer(forward_url=agent.url) as viewer:
        agent.rates = {"service:s,env:": 0.5}
        body = gzip.compress(encode("v0.4", [[SPAN]]))
        headers = {"Content-Encoding": "gzip", "Datadog-Meta-Lang": "go", "X-Datadog-Trace-Count": "1"}
        status, answered, answer = ask(viewer, "PUT", "/v0.4/traces?x=1", body, headers)
        assert (status, json.loads(answer)) == (200, {"rate_by_service": {"service:s,env:": 0.5}})
        assert answered["Datadog-Agent-Version"] == agent.info["version"]
        assert get(ask, viewer, "/info") == agent.info
        (received, _) = agent.requests()
        assert received.headers["datadog-meta-lang"] == "go"
        assert received.headers["content-encoding"] == "gzip"
        assert received.payload == [[SPAN]]
        assert viewer.store.total == 1
        assert ask(viewer, "GET", "/api/traces")[0] == 200
        assert len(agent.requests()) == 2  # what the page asks for is ours
        agent.fail("/v0.6/stats", status=429, body=b"slow down")
        assert ask(viewer, "POST", "/v0.6/stats", b"")[::2] == (429, b"slow down")
        assert (viewer.forwarder.sent, viewer.forwarder.failed, viewer.forwarder.error) == (3, 0, "")


def test_an_agent_that_does_not_answer_loses_nothing(ask):
    """The traces are kept here and the tracer gets an answer; the page says what is wrong."""
    with FakeAgent() as agent, TraceViewer(forward_url=agent.url) as viewer:
        agent.stop()
        assert ask(viewer, "PUT", "/v0.4/traces", encode("v0.4", [[SPAN]]))[0] == 200
        assert viewer.store.total == 1
        assert viewer.forwarder.failed == 1
        state = get(ask, viewer, "/api/traces")["forward"]
        assert state["address"] == agent.url
        assert state["error"]
        agent.start()
        ask(viewer, "GET", "/info")
        assert get(ask, viewer, "/api/traces")["forward"]["error"] == ""


def test_an_agent_that_hangs_does_not_hold_up_every_request(ask, monkeypatch):
    """After one request without an answer in time, the next ones do not wait."""
    monkeypatch.setattr(forward, "_TIMEOUT_S", 0.2)
    with FakeAgent() as agent, TraceViewer(forward_url=agent.url) as viewer:
        agent.fail(delay_s=60)
        for _ in range(3):
            assert ask(viewer, "PUT", "/v0.4/traces", encode("v0.4", [[SPAN]]))[0] == 200
        assert (viewer.forwarder.sent, viewer.forwarder.failed) == (0, 3)
        assert len(agent.requests()) <= 1


def test_forwarding_to_itself_ends(ask):
    with TraceViewer() as viewer:
        viewer.forwarder = TraceViewer(forward_url=viewer.url).forwarder
        assert ask(viewer, "GET", "/info")[0] == 508


def test_a_wrong_address_to_forward_to():
    with pytest.raises(ConfigurationError):
        TraceViewer(forward_url="ftp://nowhere")


def test_stopping_ends_waiting_requests(ask):
    """A page that waits for news does not hold up the end."""
    ended = []
    with TraceViewer() as viewer:
        instance = viewer.store.instance

        def wait():
            with contextlib.suppress(OSError):
                ask(viewer, "GET", f"/api/traces?after=0&wait=25&instance={instance}")
            ended.append(True)

        waiter = threading.Thread(target=wait)
        waiter.start()
    waiter.join(10)
    assert ended == [True]
