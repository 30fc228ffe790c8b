"""The provider that OpenTelemetry asks for by name."""

from importlib.metadata import entry_points

import pytest
from opentelemetry import trace

import ddtrace_manual as dd
from ddtrace_manual._setup import lifecycle as _setup

NOWHERE = {
    "agent_url": "http://127.0.0.1:1",
    "instrumentation_telemetry_enabled": False,
    "remote_configuration_enabled": False,
}


def by_name(monkeypatch):
    """What `trace.get_tracer_provider()` does with the variable set."""
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "ddtrace_manual")
    monkeypatch.setenv("DD_TRACE_AGENT_URL", NOWHERE["agent_url"])
    monkeypatch.setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
    monkeypatch.setenv("DD_REMOTE_CONFIGURATION_ENABLED", "false")
    return trace.get_tracer_provider()


def test_it_is_declared():
    """The package declares the entry points that OpenTelemetry looks for."""
    (provider,) = entry_points(group="opentelemetry_tracer_provider", name="ddtrace_manual")
    (propagator,) = entry_points(group="opentelemetry_propagator", name="datadog")
    assert provider.value == f"{_setup.__name__}:{_setup.provider_for_opentelemetry.__name__}"
    assert propagator.load()().fields


def test_it_is_set_up_from_the_environment(fresh_setup, monkeypatch):
    """The first tracer that is asked for sets tracing up; `configure()` then changes that provider."""
    monkeypatch.setenv("DD_SERVICE", "from-environment")
    provider = by_name(monkeypatch)
    assert provider.config.service == "from-environment"
    assert dd.configure(service="later", **NOWHERE) is provider is trace.get_tracer_provider()
    assert _setup.provider_for_opentelemetry() is provider
    assert provider.config.service == "later"


@pytest.mark.parametrize("configured_before", [False, True])
def test_switched_off(fresh_setup, monkeypatch, configured_before):
    """With `DD_TRACE_OTEL_ENABLED=false` OpenTelemetry records nothing, and our own spans are recorded still."""
    monkeypatch.setenv("DD_TRACE_OTEL_ENABLED", "false")
    if configured_before:
        dd.configure(**NOWHERE)
    provider = by_name(monkeypatch)
    assert not provider.get_tracer("x").start_span("x").is_recording()
    for _ in range(2):
        with dd.span("mine") as span:
            assert span.is_recording()
        assert dd.configure(**NOWHERE) is not provider
