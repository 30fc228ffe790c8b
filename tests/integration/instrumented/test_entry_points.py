"""OpenTelemetry finds the provider and the propagator by their entry points."""

import pytest

pytestmark = pytest.mark.integration

QUIET = {"DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false", "DD_TRACE_AGENT_URL": "http://127.0.0.1:1"}
OURS = {"OTEL_PYTHON_TRACER_PROVIDER": "ddtrace_manual", "OTEL_PYTHON_CONFIGURATOR": "ddtrace_manual", **QUIET}
# The distribution of OpenTelemetry exports to a collector unless told not to.
STOCK = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}

SHOW = """
import sys
from opentelemetry import propagate, trace
provider = trace.get_tracer_provider()
span = trace.get_tracer("x").start_span("x")
print(type(provider).__module__, span.is_recording(), type(propagate.get_global_textmap()).__module__)
"""


def test_provider_by_name(run):
    """Without any code, `OTEL_PYTHON_TRACER_PROVIDER` names our provider, for `opentelemetry-instrument` and alone."""
    expected = "ddtrace_manual._tracing.provider True ddtrace_manual.propagation._otel\n"
    assert run("-c", SHOW, auto=True, **OURS).stdout == expected
    assert run("-c", SHOW, **OURS).stdout == expected


def test_provider_by_name_is_the_configured_one(run):
    """`configure()` in the program changes the provider that OpenTelemetry found, and does not make another."""
    program = """
from opentelemetry import trace
import ddtrace_manual as dd
tracer = trace.get_tracer("early")
provider = dd.configure(service="later")
assert provider is trace.get_tracer_provider()
with dd.span("outer") as outer, tracer.start_as_current_span("inner") as inner:
    assert inner.parent.span_id == outer.span_id
print(provider.config.service, inner.resource.attributes["service.name"])
"""
    assert run("-c", program, auto=True, **OURS).stdout == "later later\n"


def test_provider_by_name_when_opentelemetry_is_switched_off(run):
    """`DD_TRACE_OTEL_ENABLED=false` gives OpenTelemetry a provider that records nothing; our own spans stay."""
    program = (
        SHOW
        + """
import ddtrace_manual as dd
for _ in range(2):
    with dd.span("mine") as mine:
        print(mine.is_recording(), span.is_recording())
    dd.configure()
"""
    )
    lines = run("-c", program, auto=True, DD_TRACE_OTEL_ENABLED="false", **OURS).stdout.splitlines()
    assert lines[0].startswith("ddtrace_manual._setup.lifecycle False")
    assert lines[1:] == ["True False", "True False"]


def test_propagator_by_name_for_the_stock_sdk(run):
    """`OTEL_PROPAGATORS=datadog` makes the SDK's own provider speak our headers, unsampled traces included."""
    program = """
from opentelemetry import propagate, trace
assert type(trace.get_tracer_provider()).__module__ == "opentelemetry.sdk.trace"
headers = {"x-datadog-trace-id": "7", "x-datadog-parent-id": "8", "x-datadog-sampling-priority": "1"}
with trace.get_tracer("x").start_as_current_span("x", propagate.extract(headers)) as span:
    propagate.inject(out := {})
    assert out["x-datadog-trace-id"] == "7" and out["x-datadog-sampling-priority"] == "1", out
    assert out["x-datadog-parent-id"] == str(span.get_span_context().span_id), out
print("done")
"""
    done = run("-c", program, auto=True, OTEL_PROPAGATORS="datadog", **STOCK)
    assert done.stdout == "done\n"


def test_foreign_provider_is_respected(run):
    """Where the distribution installed its provider, `configure()` says so once, and our spans are made with it."""
    program = """
import ddtrace_manual as dd
from opentelemetry import trace
import logging
logging.basicConfig(format="%(message)s", force=True)  # the distribution's own handler writes nowhere
foreign = trace.get_tracer_provider()
for _ in range(2):
    dd.configure(service="mine")
assert trace.get_tracer_provider() is foreign
with dd.span("outer", tags={"a": 1}) as outer, trace.get_tracer("x").start_as_current_span("inner") as inner:
    assert inner.parent.span_id == outer.span_id != 0
    print(type(trace.get_current_span()).__module__)
"""
    done = run("-c", program, auto=True, DD_TRACE_ENABLED="true", **STOCK, **QUIET)
    assert done.stdout == "opentelemetry.sdk.trace\n"
    assert done.stderr.count("it stays in charge") == 1


@pytest.mark.parametrize(
    ("auto", "environ", "warns"),
    [
        (True, {}, False),
        (True, {"OTEL_METRICS_EXPORTER": "none"}, False),
        (True, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        (False, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, True),
    ],
)
def test_no_warning_about_what_opentelemetry_instrument_sets(run, auto, environ, warns):
    """It names the OTLP exporters where nobody chose any; who chose them hears that they have no effect."""
    program = """
import logging, os
assert os.environ["OTEL_TRACES_EXPORTER"] == "otlp"
logging.basicConfig(format="%(message)s", force=True)
import ddtrace_manual as dd
dd.configure()
print("done")
"""
    done = run("-c", program, auto=auto, **OURS, **environ)
    assert done.stdout == "done\n"
    assert ("has no effect" in done.stderr) is warns
