from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest

from ddtrace_manual._agent import AgentClient, AgentInfo, Headers, RequestsTransport, Response, RetryPolicy
from ddtrace_manual._base import log
from ddtrace_manual.exceptions import AgentConnectionError, AgentResponseError, AgentTimeoutError

BACK_OFF = [0.1, 0.2, 0.4, 0.8, 1.6]
RATES = {"service:,env:": 0.5}


def answer(status=200, body=b"", **headers):
    return Response(status, Headers({name.replace("_", "-"): value for name, value in headers.items()}), body)


def rates_answer(version=None, rates=None):
    fields = {"Datadog-Rates-Payload-Version": version} if version is not None else {}
    return Response(200, Headers(fields), json.dumps({"rate_by_service": RATES if rates is None else rates}).encode())


def broken(error, status):
    error.status = status
    return error


def test_trace_request(transport, client):
    """A trace payload is posted to the endpoint of its format with the documented headers."""
    result = client.send_traces(b"\x90", chunks=3, version="v0.5", extra_headers={"X-Extra": "1", "X-Empty": ""})

    [(method, path, body, headers, timeout_s)] = transport.requests
    assert (method, path, body, timeout_s) == ("POST", "/v0.5/traces", b"\x90", 2.0)
    assert dict(headers) == {
        "datadog-meta-lang": "python",
        "content-type": "application/msgpack",
        "x-datadog-trace-count": "3",
        "datadog-send-real-http-status": "1",
        "datadog-client-computed-top-level": "true",
        "datadog-rates-payload-version": "0",
        "x-extra": "1",
    }
    assert result.delivered
    assert (result.status, result.attempts, result.statuses, result.error) == (200, 1, (200,), "")


def test_stats_request(transport, client):
    """Statistics are posted once, without the headers of traces."""
    result = client.send_stats(b"stats", extra_headers={"X-Extra": "1"})

    [(method, path, body, headers, _)] = transport.requests
    assert (method, path, body) == ("POST", "/v0.6/stats", b"stats")
    assert dict(headers) == {
        "datadog-meta-lang": "python",
        "content-type": "application/msgpack",
        "x-extra": "1",
    }
    assert result.delivered


@pytest.mark.parametrize(
    ("reaction", "outcome", "status", "waited"),
    [
        (answer(202), "delivered", 202, []),
        (answer(302), "rejected", 302, []),
        (answer(400), "rejected", 400, []),
        (answer(404), "unsupported", 404, []),
        (answer(415), "unsupported", 415, []),
        (answer(413), "too_large", 413, []),
        (answer(408), "failed", 408, BACK_OFF),
        (answer(429), "overloaded", 429, BACK_OFF),
        (answer(500), "failed", 500, BACK_OFF),
        (answer(503), "failed", 503, BACK_OFF),
        (AgentConnectionError("refused"), "network", 0, BACK_OFF),
        (AgentTimeoutError("late"), "timeout", 0, BACK_OFF),
        (AgentResponseError("not HTTP"), "failed", 0, BACK_OFF),
        (AgentResponseError("too long", 200), "delivered", 200, []),
        (AgentResponseError("too long", 404), "unsupported", 404, []),
        (broken(AgentConnectionError("mid-body"), 200), "delivered", 200, []),
        (broken(AgentTimeoutError("mid-body"), 500), "failed", 500, BACK_OFF),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)
def test_outcomes(transport, client, waits, reaction, outcome, status, waited):
    """Each answer has its outcome; what may pass is tried again with growing waits, five times."""
    transport.answers = [reaction] * 6

    result = client.send_traces(b"\x90", chunks=1)

    assert (result.outcome, result.status) == (outcome, status)
    assert waits == waited
    assert result.attempts == len(transport.requests) == len(waited) + 1
    assert result.statuses == (status,) * result.attempts
    assert bool(result.error) is not result.delivered
    assert result.delivered is (outcome == "delivered")


@pytest.mark.parametrize("reaction", [answer(503), AgentConnectionError("refused")], ids=["503", "refused"])
def test_stats_are_not_sent_twice(transport, client, waits, reaction):
    """A failed statistics payload is lost: it might have been counted."""
    transport.answers = [reaction]

    assert not client.send_stats(b"").delivered
    assert (len(transport.requests), waits) == (1, [])


def test_recovery(transport, client, waits):
    """The first good answer ends the retries."""
    transport.answers = [AgentConnectionError("refused"), answer(500), rates_answer()]

    result = client.send_traces(b"\x90", chunks=1)

    assert (result.outcome, result.statuses, result.rates) == ("delivered", (0, 500, 200), RATES)
    assert waits == [0.1, 0.2]


@pytest.mark.parametrize(
    ("status", "text", "waited"),
    [
        (429, "3", 3.0),
        (503, "3", 3.0),
        (429, "0", 0.1),
        (429, "86400", 10.0),
        (500, "3", 0.1),
        (429, "Fri, 07 Nov 2025 23:59:59 GMT", 0.1),
        (429, "-3", 0.1),
        (429, "٣", 0.1),
        (429, "9" * 400, 0.1),
    ],
)
def test_retry_after(transport, client, waits, status, text, waited):
    """An Agent may ask for a longer wait, up to a bound."""
    transport.answers = [answer(status, Retry_After=text)]

    assert client.send_traces(b"\x90", chunks=1).delivered
    assert waits == [waited]


def test_stopped_while_waiting(transport):
    """When the wait says so the retries end at once."""
    transport.answers = [answer(503)] * 6
    client = AgentClient(transport, headers={}, wait=lambda _: True)

    assert client.send_traces(b"\x90", chunks=1).attempts == 1


def test_own_wait(transport):
    """Without a wait of the caller the client sleeps."""
    transport.answers = [answer(503)] * 2
    client = AgentClient(transport, headers={}, retry=RetryPolicy(max_retries=1, first_delay_s=0.0))

    assert client.send_traces(b"\x90", chunks=1).attempts == 2


def test_rates_version(transport, client):
    """Rates count only when their version is new; the last version is sent along."""
    transport.answers = [
        rates_answer("a"),
        rates_answer("a", {"service:x,env:": 1}),
        rates_answer("b"),
        answer(200, b"OK", Datadog_Rates_Payload_Version="c"),
        rates_answer(),
    ]

    results = [client.send_traces(b"\x90", chunks=1).rates for _ in range(5)]

    assert results == [RATES, None, RATES, None, RATES]
    sent = [headers["Datadog-Rates-Payload-Version"] for _, _, _, headers, _ in transport.requests]
    assert sent == ["0", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    "body",
    [b"", b"OK", b"null", b"[]", b'{"rate_by_service": 1}', b'{"rate_by_service": [0.5]}', b"\xff", b"[" * 100_000],
)
def test_no_rates(transport, client, body):
    """An answer without rates changes nothing."""
    transport.answers = [answer(200, body)]

    result = client.send_traces(b"\x90", chunks=1)

    assert (result.outcome, result.rates) == ("delivered", None)


def test_rubbish_among_rates(transport, client):
    """What is no number is left out; a version that no header can carry is not sent back."""
    rates = '{"rate_by_service": {"a": 1, "b": "1", "c": null, "d": true, "e": NaN, "f": 0.25, "g": 1%s}}'
    transport.answers = [answer(200, (rates % ("0" * 400)).encode(), Datadog_Rates_Payload_Version="é€")]

    assert client.send_traces(b"\x90", chunks=1).rates == {"a": 1.0, "f": 0.25}
    client.send_traces(b"\x90", chunks=1)
    assert transport.requests[1][3]["Datadog-Rates-Payload-Version"] == "0"


def test_an_answer_that_cannot_be_read_is_an_answer(transport, client, monkeypatch):
    """The Agent has the payload, whatever reading its rates comes to."""

    def fail(_body):
        raise MemoryError

    monkeypatch.setattr("ddtrace_manual._agent.client._parse_rates", fail)
    transport.answers = [answer(200, b"{}")]
    result = client.send_traces(b"\x90", chunks=1)
    assert (result.outcome, result.rates) == ("delivered", None)


def test_a_transport_that_raises_anything_gave_no_answer(transport, client):
    """An exception of any kind while a request is made counts as a failed connection."""
    transport.answers = [MemoryError("none left")]
    result = client.send_stats(b"\x90")
    assert (result.outcome, result.error) == ("network", "MemoryError: none left")


def test_agent_state(transport, client):
    """The state hash is handed on, also from failures."""
    transport.answers = [answer(200, Datadog_Agent_State="s1"), answer(400, Datadog_Agent_State="s2")]

    assert client.send_traces(b"\x90", chunks=1).agent_state == "s1"
    assert client.send_traces(b"\x90", chunks=1).agent_state == "s2"
    assert client.send_traces(b"\x90", chunks=1).agent_state == ""


def test_info(transport, client):
    """The Agent is asked what it can do."""
    transport.answers = [answer(200, b'{"version": "7.65.0"}', Datadog_Container_Tags_Hash="h")]

    info = client.fetch_info()

    assert (info.version, info.container_tags_hash) == ("7.65.0", "h")
    assert transport.requests[0][:3] == ("GET", "/info", None)


def test_info_of_an_old_agent(transport, client):
    """An Agent without /info has no optional feature."""
    transport.answers = [answer(404)]

    assert client.fetch_info() == AgentInfo()


@pytest.mark.parametrize(
    ("reaction", "error"),
    [
        (answer(500), AgentResponseError),
        (answer(200, b"OK"), AgentResponseError),
        (answer(200, b"[]"), AgentResponseError),
        (AgentTimeoutError("late"), AgentTimeoutError),
    ],
)
def test_no_info(transport, client, reaction, error):
    """No usable answer is an Agent error."""
    transport.answers = [reaction]

    with pytest.raises(error):
        client.fetch_info()


def test_other_requests(transport, client):
    """Other parts send their own requests with the common headers; nothing is retried."""
    transport.answers = [answer(500)]

    response = client.request("POST", "/telemetry", b"{}", headers={"DD-Agent": "x"}, timeout_s=1.0)

    assert response.status == 500
    method, path, body, headers, timeout_s = transport.requests[0]
    assert (method, path, body, timeout_s) == ("POST", "/telemetry", b"{}", 1.0)
    assert dict(headers) == {"datadog-meta-lang": "python", "dd-agent": "x"}


def test_log(transport, client, caplog, monkeypatch):
    """Failures of every kind and their end share one line a minute, without payloads; the next tells what was left out.

    The end is told as soon as there is room, unless the failure is back.
    """
    now = 100.0
    monkeypatch.setattr(log, "time", SimpleNamespace(monotonic=lambda: now))
    caplog.set_level(logging.INFO, "ddtrace_manual")
    refused, away = answer(400), AgentConnectionError("refused")
    steps = [  # seconds later, what, its answer, the line
        (0, "traces", refused, "ERROR Could not send 2 bytes of traces to the Agent at http://agent:8126/v0.4/traces"),
        (1, "stats", away, ""),
        (1, "traces", refused, ""),
        (1, "traces", answer(200), ""),
        (50, "stats", away, ""),
        (8, "traces", answer(200), "INFO The Agent takes traces again [3 skipped]"),
        (59, "traces", refused, ""),
        (0.5, "stats", answer(200), ""),
        (0.5, "stats", answer(200), "INFO The Agent takes stats again [1 skipped]"),
        (
            60,
            "stats",
            answer(404),
            "ERROR Could not send 2 bytes of stats to the Agent at http://agent:8126/v0.6/stats",
        ),
        (1, "stats", answer(200), ""),
        (1, "traces", answer(200), ""),
        (60, "traces", answer(200), "INFO The Agent takes stats and traces again"),
        (60, "traces", answer(200), ""),
    ]
    for later, kind, each, line in steps:
        now += later
        caplog.clear()
        transport.answers = [each]
        client.send_traces(b"\x90\xab", chunks=1) if kind == "traces" else client.send_stats(b"\x90\xab")
        lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        assert [text.partition(" (")[0] for text in lines] == [line] * bool(line)
        assert "90ab" not in caplog.text


def test_log_of_payloads(transport, caplog):
    """Payloads are logged only when asked for."""
    transport.answers = [answer(400)]

    AgentClient(transport, headers={}, log_payloads=True).send_traces(b"\x90\xab", chunks=1)

    assert caplog.records[0].getMessage().endswith("status 400, payload 90ab")


def test_real_server(server):
    """Client and transport together deliver, through an Agent that is away for a while."""
    server.answers = [b"", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"]
    client = AgentClient(
        RequestsTransport(server.url), headers={"Datadog-Meta-Lang": "python"}, retry=RetryPolicy(first_delay_s=0.0)
    )

    result = client.send_traces(b"\x90", chunks=1)

    assert (result.outcome, result.statuses) == ("delivered", (0, 503, 200))
    assert [request.body for request in server.requests] == [b"\x90"] * 3
