"""A client over a scripted Agent, and answers as the backend makes them."""

from __future__ import annotations

import json

import pytest

from ddtrace_manual._agent import AgentClient
from ddtrace_manual._agent.transport import Headers, Response
from ddtrace_manual._receiver.remote_config import remote_config_answer
from ddtrace_manual._remote_config import Identity, RemoteConfigClient
from ddtrace_manual.exceptions import AgentConnectionError


class ScriptedAgent:
    """A transport. `answer` is a JSON document, bytes, or an exception; `offers` is what `/info` lists."""

    def __init__(self):
        self.answer = {}
        self.status = 200
        self.offers = ["/v0.7/config"]
        self.infos = 0
        self.polls = []

    def request(self, _method, path, body, _headers, _timeout_s):
        if path == "/info":
            self.infos += 1
            if self.offers is None:
                raise AgentConnectionError("nobody")
            return Response(200, Headers(), json.dumps({"endpoints": self.offers}).encode())
        self.polls.append(json.loads(body))
        if isinstance(self.answer, Exception):
            raise self.answer
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return Response(self.status, Headers(), body)

    def offer(self, files, version=1):
        self.answer = remote_config_answer(files, version)


class RecordingProduct:
    """A product that remembers what it was given; content `bad` is an error, `raise` raises."""

    name = "APM_TRACING"
    capabilities = (12, 29)

    def __init__(self):
        self.held = {}
        self.calls = []
        self.completed = 0

    def update(self, removed, changed):
        self.calls.append(([file.path for file in removed], [file.path for file in changed]))
        for file in removed:
            self.held.pop(file.path)
        for file in changed:
            if file.content == b"raise":
                raise ValueError("broken handler")
            self.held[file.path] = file.content
        return {file.path: "bad content" for file in changed if file.content == b"bad"}

    def complete(self):
        self.completed += 1


class Time:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def agent():
    return ScriptedAgent()


@pytest.fixture
def product():
    return RecordingProduct()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def client(agent, product, time):
    return RemoteConfigClient(
        AgentClient(agent, headers={}),
        identity=lambda: Identity("rid", "1.0.0rc2.dev3+g1", "checkout", "prod", "1.4.0", ("team:apm",), ("a:b",)),
        products=[product],
        extra_services=lambda: ["other"],
        monotonic=time,
    )


def path(config_id="1", product="APM_TRACING"):
    return f"datadog/2/{product}/{config_id}/config"
