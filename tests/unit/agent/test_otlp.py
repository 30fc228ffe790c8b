"""Posting to an OTLP receiver: address, retries, and silence about secrets."""

from __future__ import annotations

import logging

import pytest

from ddtrace_manual._agent import Headers, OtlpClient, Response, RetryPolicy
from ddtrace_manual.exceptions import AgentConnectionError, ConfigurationError


class ScriptedTransport:
    """Answers with the next status of a script; an exception is raised, a pair has a `Retry-After`."""

    def __init__(self, *script):
        self.script = list(script)
        self.requests = []

    def request(self, method, path, body, headers, timeout_s):
        self.requests.append((method, path, body, dict(headers), timeout_s))
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        status, after = answer if isinstance(answer, tuple) else (answer, None)
        return Response(status, Headers({"Retry-After": after} if after else {}))


def make(*script, endpoint="http://h:4318/v1/metrics", headers=None, give_up_after=99):
    """Return a client with a scripted transport, and the waits it makes."""
    waits = []

    def wait(delay_s):
        waits.append(delay_s)
        return len(waits) > give_up_after

    transport = ScriptedTransport(*script)
    client = OtlpClient(
        endpoint,
        headers=headers or {},
        wait=wait,
        transport=transport,
        retry=RetryPolicy(max_retries=4, jitter=0.0),
    )
    return client, transport, waits


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("http://h:4318/v1/metrics", "/v1/metrics"),
        ("https://user:pw@h/custom/?tenant=7", "/custom/?tenant=7"),
        ("http://h:1", "/"),
        ("http://[::1]:4318/v1/metrics", "/v1/metrics"),
    ],
)
def test_the_endpoint_is_used_as_it_is(endpoint, path):
    """Path and query of the endpoint are those of the request, with the configured fields and the timeout."""
    client, transport, _ = make(200, endpoint=endpoint, headers={"api-key": "k"})
    assert client.send(b"{}", 2.5)
    assert transport.requests == [("POST", path, b"{}", {"Content-Type": "application/json", "api-key": "k"}, 2.5)]


@pytest.mark.parametrize("endpoint", ["gopher://x", "h:4318", "http://", "http://[", ""])
def test_no_endpoint(endpoint):
    """What is no HTTP address is refused at once."""
    with pytest.raises(ConfigurationError):
        make(200, endpoint=endpoint)


@pytest.mark.parametrize(
    ("script", "taken", "waits"),
    [
        ([202], True, []),
        ([503, AgentConnectionError("gone"), 429, 200], True, [0.1, 0.2, 0.4]),
        ([500], False, [0.1, 0.2, 0.4, 0.8]),
        ([(503, "3"), 200], True, [3.0]),
        ([400], False, []),
        ([404], False, []),
        ([301], False, []),
    ],
)
def test_retries(script, taken, waits, caplog):
    """Four retries with doubling waits for what may pass, none for a refusal; one line when the body is lost."""
    client, _, waited = make(*script)
    assert client.send(b"{}", 1.0) is taken
    assert waited == waits
    assert len(caplog.records) == (0 if taken else 1)


def test_giving_up_early():
    """When waiting says so, as at shutdown, no further attempt is made."""
    client, transport, _ = make(503, give_up_after=0)
    assert not client.send(b"{}", 1.0)
    assert len(transport.requests) == 1


def test_messages_hold_no_secrets(caplog):
    """Neither credentials, query nor header fields are logged."""
    caplog.set_level(logging.DEBUG)
    client, _, _ = make(400, endpoint="http://user:pw@h:1/p?token=t0p", headers={"x": "secret"})
    client.send(b"{}", 1.0)
    (record,) = caplog.records
    assert "http://h:1/p" in record.getMessage()
    assert not any(word in record.getMessage() for word in ("pw", "t0p", "secret"))
