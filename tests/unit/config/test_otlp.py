"""Where each OTLP signal is sent."""

from __future__ import annotations

import pytest

TARGETS = [
    ({}, "metrics", ("grpc", "http://localhost:4317")),
    ({}, "logs", ("grpc", "http://localhost:4317")),
    ({}, "traces", ("http/protobuf", "http://localhost:4318/v1/traces")),
    (
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "DD_AGENT_HOST": "agent"},
        "metrics",
        ("http/protobuf", "http://agent:4318/v1/metrics"),
    ),
    (
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4320/"},
        "metrics",
        ("http/protobuf", "http://c:4320/v1/metrics"),
    ),
    (
        {
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4321/v1/metrics",
        },
        "metrics",
        ("http/protobuf", "http://c:4321/v1/metrics"),
    ),
    (
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:1/as/is/", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        "metrics",
        ("grpc", "http://c:1/as/is/"),
    ),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4320/"}, "logs", ("grpc", "http://c:4320")),
    ({"DD_TRACE_AGENT_URL": "unix:///x"}, "logs", ("grpc", "http://localhost:4317")),
    ({"DD_AGENT_HOST": "::1"}, "logs", ("grpc", "http://[::1]:4317")),
    ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "traces", ("http/json", "http://localhost:4318/v1/traces")),
    (
        {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        "logs",
        ("grpc", "http://localhost:4317"),
    ),
]


@pytest.mark.parametrize(("environ", "signal", "expected"), TARGETS)
def test_a_signal_goes_where_its_variables_say(load, environ, signal, expected):
    """The signal's own variables count before the general ones, those before the defaults."""
    config = load(environ)
    target = config.otlp(signal)
    assert (target.protocol, target.endpoint) == expected
    assert (target.headers, target.timeout_s, config.warnings) == ({}, 10.0, ())


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "500"}, 0.5),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "500", "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "2000"}, 2.0),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "500", "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "0"}, 0.5),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}, 10.0),
    ],
)
def test_timeouts_are_given_in_seconds(load, environ, seconds):
    """Timeouts are milliseconds in variables, seconds in code, and 0 means unset."""
    assert load(environ).otlp("logs").timeout_s == seconds


def test_headers_of_the_signal_replace_the_general_ones(load):
    """Headers are taken from one variable, the signal's first, percent-decoded."""
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "a=1%202", "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "b=2"}
    config = load(environ)
    assert (config.otlp("logs").headers, config.otlp("metrics").headers) == ({"b": "2"}, {"a": "1 2"})


def test_an_unknown_protocol_is_unset(load):
    """An unknown protocol costs one warning and the general one counts."""
    config = load({"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "carrier", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
    assert config.otlp("logs").protocol == "http/protobuf"
    assert len(config.warnings) == 1


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({}, "http://localhost:4318/v1/metrics"),
        ({"DD_AGENT_HOST": "agent"}, "http://agent:4318/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4320"}, "http://c:4320/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:1/as/is"}, "http://c:1/as/is"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://localhost:4318/v1/metrics"),
    ],
)
def test_span_metrics_speak_json_over_http(load, environ, endpoint):
    """Statistics as OTLP metrics go to the HTTP address whatever protocol is configured."""
    target = load(environ).span_metrics_target()
    assert (target.protocol, target.endpoint) == ("http/json", endpoint)
