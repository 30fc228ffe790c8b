"""How the sampler sees an open span: spec/sampling.md §7.2, §7.3."""

import pytest
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ddtrace_manual._mapping import Mapper, MappingSettings

SETTINGS = MappingSettings(
    service="svc",
    env="prod",
    version="1",
    tags={"team": "core", "n": 3},
    resource_attributes={"host.name": "h", "service.version": "2", "server.address": "srv"},
)


@pytest.mark.parametrize(
    ("attributes", "key", "value"),
    [
        ({"k": "text"}, "k", "text"),
        ({"k": True}, "k", True),
        ({"k": 20.0}, "k", 20.0),
        ({"k": -100}, "k", -100),
        ({"k": None}, "k", None),
        ({"k": [1]}, "k", None),
        ({"k": {"a": 1}}, "k", None),
        ({"k": b"bytes"}, "k", "bytes"),
        ({}, "k", None),
        ({"K": 1}, "k", None),
        ({"http.request.method": "GET"}, "http.method", "GET"),
        ({"http.method": "GET"}, "http.request.method", "GET"),
        ({"url.full": "u"}, "http.url", "u"),
        ({"user_agent.original": "u"}, "http.useragent", "u"),
        ({"client.address": "c"}, "http.client_ip", "c"),
        ({"network.protocol.version": "2"}, "http.version", "2"),
        ({"http.request.body.size": 5}, "http.request.content_length", 5),
        ({"http.response.body.size": 5}, "http.response.content_length", 5),
        ({"http.request.header.x": "y"}, "http.request.headers.x", "y"),
        ({"http.request.headers.x": "y"}, "http.request.header.x", "y"),
        ({"http.request.header.referrer": "r"}, "http.referrer", "r"),
        ({"http.response.status_code": 500}, "http.status_code", 500),
        ({"http.status_code": 500.0}, "http.response.status_code", 500),
        ({"http.status_code": "5xx"}, "http.status_code", "5xx"),
        ({"http.response.status_code": "5xx"}, "http.status_code", "5xx"),
        ({}, "http.status_code", None),
        ({"server.address": "mine"}, "http.server_name", "mine"),
        ({}, "http.server_name", "srv"),
        ({}, "server.address", "srv"),
        ({}, "host.name", "h"),
        ({}, "team", "core"),
        ({}, "n", 3.0),
        ({"team": "mine"}, "team", "mine"),
        ({"team": None}, "team", None),
        ({}, "env", "prod"),
        ({"env": "mine"}, "env", "mine"),
        ({"datadog.env": "over", "env": "mine"}, "env", "over"),
        ({}, "deployment.environment.name", "prod"),
        ({}, "version", "1"),
        ({"service.name": "other"}, "version", "2"),
        ({"version": "mine"}, "version", "mine"),
        ({"service.version": "mine"}, "version", "mine"),
        ({"datadog.version": "over", "version": "mine"}, "version", "over"),
        ({}, "service.version", "2"),
        ({}, "span.kind", "server"),
        ({"span.kind": "odd"}, "span.kind", "odd"),
        ({}, "otel.scope.name", "lib"),
    ],
)
def test_tag(make_span, attributes, key, value):
    """A tag is found under either spelling, on the span, the resource or among the global tags."""
    span = make_span(attributes, kind="SERVER", end_ns=None, scope=InstrumentationScope("lib"))
    found = Mapper(SETTINGS).tag(span, key)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("attributes", "otel_resource", "env", "version"),
    [
        ({}, {}, None, None),
        ({"env": "a", "version": "b"}, {}, "a", "b"),
        ({"env": "a", "version": "b"}, {"env": "c", "version": "d"}, "c", "d"),
    ],
)
@pytest.mark.parametrize("otel_semantics", [False, True])
def test_env_and_version(make_span, attributes, otel_resource, env, version, otel_semantics):
    """Environment and version are those that the exported span has."""
    settings = MappingSettings(resource_attributes=otel_resource, otel_semantics=otel_semantics)
    mapper, span = Mapper(settings), make_span(attributes)
    assert (mapper.tag(span, "env"), mapper.tag(span, "version")) == (env, version)
    (dd_span,) = mapper.map_chunk(span.segment, [span], partial=False)
    assert (dd_span["meta"].get("env"), dd_span["meta"].get("version")) == (env, version)


def test_names_of_an_open_span(make_span):
    """Names follow what is set on the span at that moment."""
    mapper = Mapper(SETTINGS)
    span = make_span({}, kind="SERVER", end_ns=None)
    assert (mapper.service_name(span), mapper.operation_name(span), mapper.resource_name(span)) == (
        "svc",
        "server.request",
        "otel.name",
    )
    span.values = {"http.method": "GET", "http.route": "/x", "service.name": "other"}
    assert (mapper.service_name(span), mapper.operation_name(span), mapper.resource_name(span)) == (
        "other",
        "http.server.request",
        "GET /x",
    )
