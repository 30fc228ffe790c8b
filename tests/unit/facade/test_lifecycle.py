"""`configure`, `flush`, `shutdown` and `counters`: the life of the library in a process."""

from __future__ import annotations

import http.server
import json
import logging
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as StockProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import ddtrace_manual as dd
from ddtrace_manual._encoding import decode_v04
from ddtrace_manual.exceptions import ConfigurationError


@pytest.fixture
def agent():
    """A minimal Agent on loopback; `.spans()` are all spans it got."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, dict(self.headers), body))
            self._answer(b'{"rate_by_service":{"service:,env:":1}}')

        def do_GET(self):
            self._answer(json.dumps({"endpoints": ["/v0.4/traces"], "version": "7.70.0"}).encode())

        def _answer(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield SimpleNamespace(
        url=f"http://127.0.0.1:{server.server_port}",
        received=received,
        spans=lambda: [
            span for path, _, body in received if path == "/v0.4/traces" for chunk in decode_v04(body) for span in chunk
        ],
    )
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_span_reaches_the_agent(fresh_setup, agent):
    """configure, trace, flush: the span is at the Agent, with service, env and version."""
    provider = dd.configure(service="checkout", env="prod", version="1.4.2", agent_url=agent.url)
    assert provider.config.service == "checkout"
    with dd.span("op", resource="res"):
        pass
    assert dd.flush()
    (span,) = agent.spans()
    assert (span["service"], span["name"], span["resource"]) == ("checkout", "op", "res")
    assert span["meta"]["env"] == "prod"
    assert span["meta"]["version"] == "1.4.2"
    totals = dd.counters()
    assert (totals.created_spans, totals.finished_spans, totals.sent_spans, totals.queued_spans) == (1, 1, 1, 0)
    assert totals.queued_bytes == 0
    assert totals.sent_bytes > 0


def test_otel_and_facade_spans_nest(fresh_setup, agent):
    """Spans of the OpenTelemetry API and of the facade are the same objects and nest in each other."""
    dd.configure(service="s", agent_url=agent.url)
    tracer = trace.get_tracer("lib")
    with tracer.start_as_current_span("otel") as outer, dd.span("facade") as inner:
        assert trace.get_current_span() is inner
        with tracer.start_as_current_span("otel-inner") as innermost:
            assert dd.current_span() is innermost
            assert isinstance(innermost, dd.Span)
    dd.flush()
    by_resource = {span["resource"]: span for span in agent.spans()}
    assert by_resource["facade"]["parent_id"] == outer.span_id
    assert by_resource["otel-inner"]["parent_id"] == inner.span_id


def test_unknown_setting_is_named(fresh_setup):
    """A setting that does not exist raises ConfigurationError naming it, and changes nothing."""
    with pytest.raises(ConfigurationError, match="servise"):
        dd.configure(servise="x")
    assert trace._TRACER_PROVIDER is None


@pytest.mark.parametrize("config", [5, "checkout", {"service": "checkout"}], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("settings", [{}, {"env": "prod"}], ids=len)
def test_what_is_no_config_is_refused(fresh_setup, config, settings):
    """The first argument is a Config; anything else raises ConfigurationError, and changes nothing."""
    with pytest.raises(ConfigurationError, match=rf"^config must be a Config, not {type(config).__name__}"):
        dd.configure(config, **settings)
    assert trace._TRACER_PROVIDER is None


def test_configure_again_swaps_the_pipeline(fresh_setup, agent):
    """A second call replaces settings behind the same provider; spans already queued still arrive."""
    first = dd.configure(service="first", tags={"left": "over"}, agent_url=agent.url)
    open_span = dd.start_span("open-during-swap")
    with dd.span("before"):
        pass
    second = dd.configure(service="second", agent_url=agent.url)
    assert second is first
    open_span.end()
    with dd.span("after"):
        pass
    assert dd.flush()
    by_name = {span["name"]: span for span in agent.spans()}
    assert set(by_name) == {"before", "open-during-swap", "after"}
    assert by_name["after"]["service"] == "second"
    assert "left" not in by_name["after"]["meta"]


def test_shutdown_stops_and_configure_revives(fresh_setup, agent):
    """After shutdown spans are no-ops and late ends are counted; a second shutdown returns at once; configure revives."""
    dd.configure(service="s", agent_url=agent.url)
    late = dd.start_span("late")
    assert dd.shutdown()
    assert dd.shutdown()
    with dd.span("ignored") as ignored:
        assert not ignored.is_recording()
    late.end()
    assert dd.counters().dropped_spans == {"after_shutdown": 1}
    dd.configure(service="s", agent_url=agent.url)
    with dd.span("again"):
        pass
    assert dd.flush()
    assert [span["name"] for span in agent.spans()] == ["again"]


def test_disabled_tracing_does_nothing(fresh_setup, agent):
    """trace_enabled=False: spans do not record, nothing is injected or sent."""
    dd.configure(service="s", agent_url=agent.url, trace_enabled=False)
    with dd.span("a") as span, trace.get_tracer("x").start_as_current_span("b") as otel_span:
        assert not span.is_recording()
        assert not otel_span.is_recording()
        assert dd.inject({}) == {}
    dd.flush()
    assert agent.spans() == []


def test_disabled_tracing_stands_for_the_parent(fresh_setup, agent, monkeypatch):
    """While tracing is disabled a span asks no tracer for anything, and hands on what the caller sent."""
    provider = dd.configure(service="s", agent_url=agent.url, trace_enabled=False)
    monkeypatch.setattr(type(provider), "get_tracer", None)
    remote = trace.NonRecordingSpan(trace.SpanContext(0xA1, 0xB2, is_remote=True))
    with trace.use_span(remote), dd.span("a") as span, dd.span("b", new_trace=True) as other:
        span.set_tag("k", 1)
        assert (span.trace_id, span.span_id) == (0xA1, 0xB2)
        assert (other.trace_id, other.span_id) == (0, 0)


def test_a_foreign_provider_stays_in_charge(fresh_setup, agent, caplog):
    """An OpenTelemetry provider installed before is respected and said so once; the facade works over it."""
    stock = StockProvider()
    exporter = InMemorySpanExporter()
    stock.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(stock)
    with caplog.at_level(logging.WARNING):
        dd.configure(service="s", agent_url=agent.url)
        dd.configure(service="s", agent_url=agent.url)
    assert caplog.text.count("stays in charge") == 1
    with pytest.raises(ValueError, match="x"), dd.span("op", service="svc", kind="client", tags={"k": 1}) as span:
        assert dd.current_span().span_id == span.span_id == trace.get_current_span().get_span_context().span_id
        dd.set_tag("late", "v")
        headers = dd.inject({})
        raise ValueError("x")
    (finished,) = exporter.get_finished_spans()
    assert finished.attributes["service.name"] == "svc"
    assert finished.attributes["operation.name"] == "op"
    assert finished.attributes["k"] == 1
    assert finished.attributes["late"] == "v"
    assert not finished.status.is_ok
    assert headers["x-datadog-parent-id"] == str(finished.context.span_id)
    stock.shutdown()


def test_propagators_are_installed(fresh_setup, agent):
    """After configure() OpenTelemetry's global propagator writes and reads our headers."""
    dd.configure(service="s", agent_url=agent.url)
    carrier = {}
    with dd.span("a") as span:
        propagate.inject(carrier)
    assert carrier["x-datadog-parent-id"] == str(span.span_id)
    assert carrier["traceparent"].split("-")[2] == f"{span.span_id:016x}"
    with dd.span("b", parent=propagate.extract(carrier)) as child:
        pass
    assert (child.trace_id, child.parent_id) == (span.trace_id, span.span_id)


def test_otel_registration_can_be_switched_off(fresh_setup, agent):
    """trace_otel_enabled=False leaves OpenTelemetry's globals alone; the facade still traces."""
    dd.configure(service="s", agent_url=agent.url, trace_otel_enabled=False)
    assert trace._TRACER_PROVIDER is None
    with dd.span("a"):
        pass
    dd.flush()
    assert [span["name"] for span in agent.spans()] == ["a"]


def test_the_resource_may_name_the_service(fresh_setup, agent):
    """A real service name in a resource counts when none is configured; a configured one replaces it."""
    resource = Resource({"service.name": "from-resource", "team": "core"})
    dd.configure(resource=resource, agent_url=agent.url)
    with dd.span("a"):
        pass
    dd.flush()
    dd.configure(resource=resource, service="configured", agent_url=agent.url)
    with dd.span("b"):
        pass
    dd.flush()
    first, second = agent.spans()
    assert (first["service"], first["meta"]["team"]) == ("from-resource", "core")
    assert second["service"] == "configured"


def test_the_resource_needs_no_threads(fresh_setup, agent, monkeypatch):
    """Where no thread can be started the SDK cannot run its detectors; what is configured counts all the same."""

    def fail(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Resource, "create", fail)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=core")
    dd.configure(service="s", agent_url=agent.url)
    with dd.span("a"):
        pass
    dd.flush()
    (span,) = agent.spans()
    assert (span["service"], span["meta"]["team"]) == ("s", "core")


def test_agent_rates_are_used_for_later_traces(fresh_setup, agent):
    """Rates of an answer decide the traces after it."""
    dd.configure(service="s", agent_url=agent.url)
    for name in ("first", "second"):
        with dd.span(name):
            pass
        assert dd.flush()
    first, second = agent.spans()
    assert first["meta"]["_dd.p.dm"] == "-0"
    assert second["meta"]["_dd.p.dm"] == "-1"
    assert second["metrics"]["_dd.agent_psr"] == 1.0


def test_without_configure_lifecycle_calls_are_harmless(fresh_setup):
    """flush, shutdown and counters work before configure()."""
    assert dd.flush(0.1)
    assert dd.shutdown(0.1)
    assert dd.counters() == dd.CounterSnapshot()


def test_an_absent_agent_costs_little():
    """Without an Agent a program runs as if nothing happened, warns in one line a minute at most, and exits soon."""
    program = (
        "import ddtrace_manual as dd, time\n"
        "dd.configure(service='s', agent_url='http://127.0.0.1:9')\n"
        "for _ in range(200):\n"
        "    with dd.span('a'): pass\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "done\n"
    assert len(done.stderr.splitlines()) <= 1, done.stderr


def test_importing_loads_no_heavy_module():
    """`import ddtrace_manual` starts nothing and loads neither requests nor asyncio nor the SDK's exporters."""
    program = (
        "import sys, threading, ddtrace_manual\n"
        "heavy = {'requests', 'asyncio', 'urllib3', 'msgpack', 'opentelemetry.sdk.trace', 'yaml', 'ssl'}\n"
        "print(sorted(heavy & sys.modules.keys()), threading.active_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[] 1\n"


class Parents(SpanProcessor):
    """Notes the parents of spans that start and end."""

    def __init__(self):
        self.seen = []

    def on_start(self, span, parent_context=None):
        self.seen.append((span.parent.span_id, span.parent.is_remote))

    def on_end(self, span):
        self.seen.append((span.parent.span_id, span.parent.is_remote))


@pytest.mark.parametrize("through", ["facade", "OpenTelemetry"])
def test_a_parent_from_before_a_shutdown_is_not_remote(fresh_setup, agent, through):
    """It lives in this process, whichever engine made it."""
    processor = Parents()
    dd.configure(service="s", agent_url=agent.url)
    parent = dd.start_span("parent")
    dd.shutdown()
    provider = dd.configure(service="s", agent_url=agent.url, span_processors=[processor])
    if through == "facade":
        child = dd.start_span("child", parent=parent)
    else:
        child = provider.get_tracer("x").start_span("child", trace.set_span_in_context(parent))
    assert child.trace_id == parent.trace_id
    child.end()
    assert processor.seen == [(parent.span_id, False)] * 2
