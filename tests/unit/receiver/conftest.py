"""Requests to receivers, and spans to send."""

from __future__ import annotations

import http.client

import pytest

from ddtrace_manual._receiver import clean_span


@pytest.fixture
def ask():
    """Send one request to a receiver; return status, headers and body of the answer."""

    def send(receiver, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    return send


@pytest.fixture
def make_span():
    """Make a span as it is stored."""

    def make(trace_id=1, span_id=2, parent_id=0, **fields):
        raw = {"service": "s", "name": "n", "resource": "r", "start": 1_000, "duration": 100, "meta": {}, "metrics": {}}
        return clean_span({**raw, "trace_id": trace_id, "span_id": span_id, "parent_id": parent_id, **fields})

    return make
