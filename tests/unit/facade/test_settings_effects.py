"""Every setting that is used changes something that can be seen from outside, through `configure()` alone.

One row per setting: its variable, a value, what is looked at, and what is seen without and with the value.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import RandomIdGenerator, SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from opentelemetry.util._once import Once

import ddtrace_manual as dd
from ddtrace_manual._base import log
from ddtrace_manual._export import SignalHandler
from ddtrace_manual._receiver.server import FakeAgent
from ddtrace_manual._setup import lifecycle as _setup
from ddtrace_manual._setup import log_handlers as _log_setup
from ddtrace_manual.config import SETTINGS

DATADOG = {
    "x-datadog-trace-id": "11",
    "x-datadog-parent-id": "12",
    "x-datadog-sampling-priority": "2",
    "x-datadog-tags": "_dd.p.usr=me",
}
W3C = {"traceparent": f"00-{21:032x}-{22:016x}-01"}
KEEP_NONE = {"DD_TRACE_SAMPLE_RATE": "0"}


def sigterm_is_handled(_world):
    """Say whether the handler of SIGTERM is the library's; `shutdown()` removes it."""
    return isinstance(signal.getsignal(signal.SIGTERM), SignalHandler)


class World:
    """A process with one configuration, and the Agent it talks to."""

    def __init__(self, agent, statsd):
        self.agent = agent
        self.statsd = statsd

    @property
    def config(self):
        """The effective configuration."""
        return _setup._setup.provider.config

    @property
    def parts(self):
        """What `configure()` built."""
        return _setup._setup.parts

    def span(self, **options):
        """Make one span; return what the Agent got of it, or `None`."""
        with dd.span("op", **options):
            pass
        dd.flush()
        return next(iter(self.agent.spans()), None)

    def otel_span(self, name, **options):
        """As `span`, through the OpenTelemetry API."""
        tracer = _setup._setup.provider.get_tracer("scope")
        tracer.start_span(name, context=otel_context.Context(), **options).end()
        dd.flush()
        return next(iter(self.agent.spans()), None)

    def trace_request(self):
        """Make one span; return the request that carried it."""
        self.span()
        return next(each for each in self.agent.requests() if each.path.endswith("/traces"))

    def stats(self):
        """Return all groups of statistics."""
        dd.flush()
        return [group for each in self.agent.stats() for bucket in each["Stats"] for group in bucket["Stats"]]

    def metrics(self):
        """Make one span; return the health metrics that were sent."""
        self._forget_metrics()
        self.span()
        try:
            return [self.statsd.recv(65536).decode()]
        except TimeoutError:
            return []

    def _forget_metrics(self):
        self.statsd.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.statsd.recv(65536)
        self.statsd.settimeout(0.1)


@pytest.fixture
def world(clean_runtime, monkeypatch):
    """Run a program in a process in which nothing was configured before."""
    statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    statsd.bind(("127.0.0.1", 0))
    statsd.settimeout(0.1)
    fields = vars(clean_runtime).copy()
    with FakeAgent() as agent:

        def run(look, environ, settings):
            agent.clear()
            agent.recover()
            agent.info["version"] = "7.70.0"
            vars(clean_runtime).clear()
            vars(clean_runtime).update(fields)
            fresh = _setup._Setup()
            fresh.is_exit_hooked = True
            with monkeypatch.context() as patch:
                patch.setattr(_setup, "_setup", fresh)
                patch.setattr(trace, "_TRACER_PROVIDER", None)
                patch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
                patch.setenv("DD_TRACE_AGENT_URL", agent.url)
                patch.setenv("DD_TRACE_STARTUP_LOGS", "false")
                for name, value in environ.items():
                    (patch.setenv if value is not None else lambda name, _: patch.delenv(name))(name, value)
                dd.configure(**settings)
                try:
                    return look(World(agent, statsd))
                finally:
                    dd.shutdown(2.0)
                    _log_setup.undo_log_settings()

        run.port = agent.port
        run.statsd_port = statsd.getsockname()[1]
        run.url = agent.url
        yield run
    statsd.close()


def meta(key, **options):
    """Look at a text tag of a span."""
    return lambda world: world.span(**options)["meta"].get(key)


def metric(key, **options):
    """Look at a number of a span."""
    return lambda world: world.span(**options)["metrics"].get(key)


def field(key, **options):
    """Look at a field of a span."""
    return lambda world: world.span(**options)[key]


def header(name):
    """Look at a header of the request with traces."""
    return lambda world: world.trace_request().headers.get(name)


def written(*names):
    """Look at which of these headers are written."""

    def look(world):
        with dd.span("op"):
            dd.set_baggage("k", "v")
            carrier = dd.inject({})
        return [name for name in names if name in carrier]

    return look


def read(headers, see):
    """Look at a span that continues a trace."""

    def look(world):
        dd.extract(headers)  # with the organisation guard on, this makes the library ask for the marker
        dd.flush()
        with dd.continue_trace(headers), dd.span("op"):
            pass
        dd.flush()
        return see(world.agent.spans()[0])

    return look


def partial(world):
    """Look at how many spans of an unfinished trace arrive."""
    with dd.span("root"):
        for _ in range(3):
            with dd.span("child"):
                pass
        world.parts.worker.flush(5)  # dd.flush() hands over whatever has finished
        return len(world.agent.spans())


def stack_lines(world):
    """Look at how long a stack is."""

    def fail(depth):
        return fail(depth - 1) if depth else 1 / 0

    with pytest.raises(ZeroDivisionError), dd.span("op"):
        fail(3)
    dd.flush()
    return world.agent.spans()[0]["meta"]["error.stack"].count("File ")


def many(see):
    """Look at what becomes of several traces."""

    def look(world):
        for number in range(6):
            with dd.span("op", resource=f"r{number}", tags={"http.endpoint": f"/e{number}", "t": str(number)}) as span:
                span.set_attribute("http.method", "GET")
                span.set_tag("peer.service", f"p{number}")
                span.set_tag("span.kind", "client")
        dd.flush()
        return see(world)

    return look


def arrives(world):
    """Look at whether a span arrives at our Agent; nobody else is sent one."""
    return world.parts.agent_address.endswith(f":{world.agent.port}") and bool(world.span())


def slow_agent(world):
    """Look at whether an Agent that takes half a second is waited for."""
    world.agent.fail("/v0.4/traces", delay_s=0.4, times=1, status=200)
    world.span()
    return dd.counters().failed_requests > 0


def old_agent(world):
    """Look at statistics with an Agent that is too old for them."""
    world.agent.info["version"] = "7.0.0"
    world.span()
    return bool(world.stats())


def foreign_marker(headers):
    """Look at whether the priority of a context from elsewhere counts."""

    def look(world):
        world.agent.info["org_prop_marker"] = "mine"
        try:
            return read(headers, lambda span: span["metrics"].get("_sampling_priority_v1"))(world)
        finally:
            del world.agent.info["org_prop_marker"]

    return look


def log_line(level):
    """Look at whether a record of the library gets as far as its own handlers."""

    def look(world):
        logger = logging.getLogger("ddtrace_manual.effects")
        seen = []
        handler = logging.Handler()
        handler.emit = seen.append
        logger.addHandler(handler)
        try:
            logger.log(level, "x")
        finally:
            logger.removeHandler(handler)
        return bool(seen)

    return look


def handlers(world):
    """Look at the handlers that were added."""
    return [type(handler).__name__ for handler in logging.getLogger("ddtrace_manual").handlers]


def file_handler(see):
    """Look at the handler of the log file."""
    return lambda world: [see(handler) for handler in logging.getLogger("ddtrace_manual").handlers]


def unflushed(world):
    """Look at how many spans arrived without a flush, the moment the block is left."""
    with dd.span("op"):
        pass
    return len(world.agent.spans())


def spans_seen_by(world):
    """Look at what a processor given in code saw."""
    world.span()
    return world.config.span_processors[0].seen if world.config.span_processors else 0


def events_field(world):
    """Look at whether span events are sent as a field of their own."""
    with dd.span("op"):
        dd.add_event("e")
    dd.flush()
    return "span_events" in world.agent.spans()[0]


def refused_payload(world):
    """Look at whether the log shows a payload that the Agent refused."""
    lines = []
    logger = logging.getLogger("ddtrace_manual.agent")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    world.agent.fail("/v0.4/traces", status=400)
    try:
        world.span()
    finally:
        logger.removeHandler(handler)
    return any("payload" in line for line in lines)


def otlp_request(world):
    """Make a span; return the request with statistics as OTLP metrics, or `None`."""
    world.span()
    return next(
        (each for each in world.agent.requests() if "resourceMetrics" in each.body.decode(errors="replace")), None
    )


def otlp_path(world):
    """Look at where statistics go as OTLP metrics."""
    request = otlp_request(world)
    return request and request.path


def otlp_header(name):
    """Look at a header of the OTLP metrics."""
    return lambda world: otlp_request(world).headers.get(name)


class Seen(SpanProcessor):
    """Counts spans."""

    seen = 0

    def on_end(self, span):
        self.seen += 1


class OneId(RandomIdGenerator):
    """Always the same trace id."""

    def generate_trace_id(self):
        return 77


@dd.traced(capture_args=True)
def captured(word):
    """Have an argument captured."""


def captured_argument(world):
    """Look at a captured argument."""
    captured("fish")
    dd.flush()
    return "fish" in str(world.agent.spans()[0]["meta"])


def error_of_key_error(world):
    """Look at the error field of a span that a KeyError left."""
    with contextlib.suppress(KeyError), dd.span("op"):
        raise KeyError
    dd.flush()
    return world.agent.spans()[0].get("error", 0)


SPAN_METRICS = {"OTEL_TRACES_SPAN_METRICS_ENABLED": "1"}
RULE = json.dumps([{"sample_rate": 0}])
SPAN_RULE = json.dumps([{"name": "op"}])
FOREIGN = {**DATADOG, "x-datadog-tags": "_dd.p.opm=theirs", "x-datadog-sampling-priority": "2"}
SERVER_SPAN = {"kind": SpanKind.SERVER, "attributes": {"http.request.method": "GET"}}
QUERY_SPAN = {"kind": "client", "tags": {"db.system": "postgresql", "db.name": "orders"}}

# variable, value, what to look at, seen without, seen with, other variables for both
CASES = [
    ("DD_TRACE_ENABLED", "false", lambda w: w.span() is None, False, True, {}),
    ("DD_SERVICE", "shop", field("service"), "base", "shop", {"DD_TAGS": "service:base"}),
    ("DD_ENV", "prod", meta("env"), None, "prod", {}),
    ("DD_VERSION", "1.2", meta("version"), None, "1.2", {}),
    ("DD_TAGS", "team:a", meta("team"), None, "a", {}),
    ("DD_SERVICE_MAPPING", "a:b", field("service", service="a"), "a", "b", {}),
    ("DD_TRACE_OTEL_ENABLED", "false", lambda w: trace._TRACER_PROVIDER is None, False, True, {}),
    (
        "DD_TRACE_OTEL_SEMANTICS_ENABLED",
        "true",
        lambda w: "http.method" in w.otel_span("GET", **SERVER_SPAN)["meta"],
        True,
        False,
        {},
    ),
    ("DD_APM_TRACING_ENABLED", "false", metric("_dd.apm.enabled"), None, 0, {}),
    ("DD_HOSTNAME", "box", lambda w: w.span()["meta"]["_dd.hostname"] == "box", False, True, {"DD_TRACE_REPORT_HOSTNAME": "1"}),
    ("DD_TRACE_REPORT_HOSTNAME", "true", meta("_dd.hostname"), None, "box", {"DD_HOSTNAME": "box"}),
    (
        "DD_EXPERIMENTAL_PROPAGATE_PROCESS_TAGS_ENABLED",
        "false",
        lambda w: "_dd.tags.process" in w.span()["meta"],
        True,
        False,
        {},
    ),
    ("DD_TRACE_GIT_METADATA_ENABLED", "false", meta("_dd.git.commit.sha"), "abc", None, {"DD_GIT_COMMIT_SHA": "abc"}),
    ("DD_GIT_REPOSITORY_URL", "https://h/r", meta("_dd.git.repository_url"), None, "https://h/r", {}),
    ("DD_GIT_COMMIT_SHA", "abc", meta("_dd.git.commit.sha"), None, "abc", {}),
    ("DD_MAIN_PACKAGE", "pkg", meta("_dd.python_main_package"), None, "pkg", {}),
    ("DD_EXTERNAL_ENV", "it-false", header("datadog-external-env"), None, "it-false", {}),
    (
        "DD_ENTITY_ID",
        "pod",
        lambda w: any("dd.internal.entity_id:pod" in text for text in w.metrics()),
        False,
        True,
        {"DD_TRACE_HEALTH_METRICS_ENABLED": "1", "DD_DOGSTATSD_PORT": "{statsd_port}", "DD_DOGSTATSD_HOST": "127.0.0.1"},
    ),
    ("DD_TRACE_AGENT_URL", "{url}", arrives, False, True, {"DD_TRACE_AGENT_URL": None, "DD_TRACE_AGENT_PORT": "1"}),
    ("DD_AGENT_HOST", "127.0.0.2", lambda w: w.parts.agent_address, "http://localhost:1", "http://127.0.0.2:1", {"DD_TRACE_AGENT_URL": None, "DD_TRACE_AGENT_PORT": "1"}),
    ("DD_TRACE_AGENT_PORT", "{port}", arrives, False, True, {"DD_TRACE_AGENT_URL": None, "DD_AGENT_HOST": "127.0.0.1"}),
    ("DD_TRACE_AGENT_TIMEOUT_SECONDS", "0.1", slow_agent, False, True, {}),
    ("DD_DOGSTATSD_URL", "udp://127.0.0.1:{statsd_port}", lambda w: bool(w.metrics()), False, True, {"DD_TRACE_HEALTH_METRICS_ENABLED": "1"}),
    ("DD_DOGSTATSD_HOST", "127.0.0.1", lambda w: bool(w.metrics()), False, True, {"DD_TRACE_HEALTH_METRICS_ENABLED": "1", "DD_AGENT_HOST": "127.0.0.3", "DD_DOGSTATSD_PORT": "{statsd_port}"}),
    ("DD_DOGSTATSD_PORT", "{statsd_port}", lambda w: bool(w.metrics()), False, True, {"DD_TRACE_HEALTH_METRICS_ENABLED": "1", "DD_DOGSTATSD_HOST": "127.0.0.1"}),
    ("DD_DOGSTATSD_DISABLE", "true", lambda w: bool(w.metrics()), True, False, {"DD_TRACE_HEALTH_METRICS_ENABLED": "1", "DD_DOGSTATSD_URL": "udp://127.0.0.1:{statsd_port}"}),
    ("DD_TRACE_HEALTH_METRICS_ENABLED", "true", lambda w: bool(w.metrics()), False, True, {"DD_DOGSTATSD_URL": "udp://127.0.0.1:{statsd_port}"}),
    ("DD_TRACE_API_VERSION", "v0.5", lambda w: w.trace_request().path, "/v0.4/traces", "/v0.5/traces", {}),
    ("DD_TRACE_AGENT_PROTOCOL_VERSION", "1.0", lambda w: w.trace_request().path, "/v0.4/traces", "/v1.0/traces", {}),
    ("DD_TRACE_PARTIAL_FLUSH_ENABLED", "false", partial, 2, 0, {"DD_TRACE_PARTIAL_FLUSH_MIN_SPANS": "2"}),
    ("DD_TRACE_PARTIAL_FLUSH_MIN_SPANS", "3", partial, 0, 3, {}),
    ("DD_TRACE_WRITER_INTERVAL_SECONDS", "0.25", lambda w: w.parts.worker._interval_ns, 10**9, 25 * 10**7, {}),
    ("DD_TRACE_WRITER_BUFFER_SIZE_BYTES", "1", many(lambda w: dd.counters().dropped_spans.get("overfull_buffer", 0) > 0), False, True, {}),
    ("DD_TRACE_WRITER_MAX_PAYLOAD_SIZE_BYTES", "1500", many(lambda w: len(w.agent.requests("/v0.4/traces")) > 1), False, True, {}),
    ("DD_TRACE_WRITER_REUSE_CONNECTIONS", "true", header("connection"), "close", None, {}),
    ("DD_TRACE_SPAN_TRACEBACK_MAX_SIZE", "1", lambda w: stack_lines(w) > 1, True, False, {}),
    ("DD_TRACE_SAMPLE_RATE", "0", lambda w: w.span() is None, False, True, {}),
    ("DD_TRACE_SAMPLING_RULES", RULE, lambda w: w.span() is None, False, True, {}),
    ("DD_TRACE_RATE_LIMIT", "0", lambda w: w.span() is None, False, True, {"DD_TRACE_SAMPLE_RATE": "1"}),
    ("DD_SPAN_SAMPLING_RULES", SPAN_RULE, lambda w: w.span() is None, True, False, KEEP_NONE),
    ("DD_SPAN_SAMPLING_RULES_FILE", "{rules}", lambda w: w.span() is None, True, False, KEEP_NONE),
    ("DD_TRACE_PROPAGATION_STYLE", "b3", written("b3", "traceparent"), ["traceparent"], ["b3"], {}),
    ("DD_TRACE_PROPAGATION_STYLE_INJECT", "datadog", written("traceparent", "baggage"), ["traceparent", "baggage"], [], {}),
    ("DD_TRACE_PROPAGATION_STYLE_EXTRACT", "", read(DATADOG, lambda span: span["trace_id"] == 11), True, False, {}),
    ("DD_TRACE_PROPAGATION_EXTRACT_FIRST", "true", read({**DATADOG, **W3C}, lambda span: "span_links" in span), True, False, {}),
    ("DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT", "ignore", read(DATADOG, lambda span: span["trace_id"] == 11), True, False, {}),
    ("DD_TRACE_PROPAGATION_HTTP_BAGGAGE_ENABLED", "true", written("ot-baggage-k"), [], ["ot-baggage-k"], {}),
    ("DD_TRACE_X_DATADOG_TAGS_MAX_LENGTH", "0", written("x-datadog-tags"), ["x-datadog-tags"], [], {}),
    ("DD_TRACE_BAGGAGE_MAX_ITEMS", "0", written("baggage"), ["baggage"], [], {}),
    ("DD_TRACE_BAGGAGE_MAX_BYTES", "1", written("baggage"), ["baggage"], [], {}),
    ("DD_TRACE_BAGGAGE_TAG_KEYS", "k", read({**DATADOG, "baggage": "k=v"}, lambda span: span["meta"].get("baggage.k")), None, "v", {}),
    ("DD_TRACE_128_BIT_TRACEID_GENERATION_ENABLED", "false", lambda w: "_dd.p.tid" in w.span()["meta"], True, False, {}),
    ("DD_TRACE_ORG_GUARD_ENABLED", "true", foreign_marker(FOREIGN), 2, 1, {}),
    ("DD_TRACE_ORG_GUARD_STRICT", "true", foreign_marker(DATADOG), 2, 1, {"DD_TRACE_ORG_GUARD_ENABLED": "1"}),
    ("DD_TRACE_ORG_GUARD_TRUSTED_OPMS", "theirs", foreign_marker(FOREIGN), 1, 2, {"DD_TRACE_ORG_GUARD_ENABLED": "1"}),
    ("DD_TRACE_PEER_SERVICE_DEFAULTS_ENABLED", "true", meta("peer.service", **QUERY_SPAN), None, "orders", {}),
    ("DD_TRACE_PEER_SERVICE_MAPPING", "orders:shop-db", meta("peer.service", **QUERY_SPAN), "orders", "shop-db", {"DD_TRACE_PEER_SERVICE_DEFAULTS_ENABLED": "1"}),
    ("DD_TRACE_DEBUG", "true", log_line(logging.DEBUG), False, True, {}),
    ("DD_TRACE_LOG_LEVEL", "ERROR", log_line(logging.WARNING), True, False, {}),
    ("DD_TRACE_STARTUP_LOGS", "true", lambda w: _setup._setup.startup_check is None, True, False, {}),
    ("DD_TRACE_LOG_STREAM_HANDLER", "false", handlers, ["_StderrHandler"], [], {"DD_TRACE_DEBUG": "1"}),
    ("DD_TRACE_LOG_FILE", "{folder}/a.log", handlers, [], ["PrivateLogFile"], {}),
    ("DD_TRACE_LOG_FILE_LEVEL", "ERROR", file_handler(lambda handler: handler.level), [logging.DEBUG], [logging.ERROR], {"DD_TRACE_LOG_FILE": "{folder}/a.log"}),
    ("DD_TRACE_LOG_FILE_SIZE_BYTES", "99", file_handler(lambda handler: handler.maxBytes), [15_728_640], [99], {"DD_TRACE_LOG_FILE": "{folder}/a.log"}),
    ("DD_TRACE_LOG_DIRECTORY", "{folder}/logs", handlers, [], ["PrivateLogFile"], {}),
    ("DD_TRACE_LOGGING_RATE", "5", lambda w: log._Shared.interval_s, 60, 5, {}),
    ("DD_LOGS_INJECTION", "false", lambda w: _setup.RUNTIME.logs_injection, True, False, {}),
    ("DD_TRACE_STATS_COMPUTATION_ENABLED", "false", many(lambda w: bool(w.stats())), True, False, {}),
    ("DD_TRACE_STATS_COMPUTATION_IGNORE_AGENT_VERSION", "true", old_agent, False, True, {}),
    ("DD_TRACE_STATS_ADDITIONAL_TAGS", "t", many(lambda w: bool(w.stats()[0]["AdditionalMetricTags"])), False, True, {}),
    ("DD_TRACE_STATS_CARDINALITY_LIMIT", "2", many(lambda w: len(w.stats())), 6, 3, {}),
    ("DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT", "1", many(lambda w: len({g["Resource"] for g in w.stats()})), 6, 2, {}),
    ("DD_TRACE_STATS_HTTP_ENDPOINT_CARDINALITY_LIMIT", "1", many(lambda w: len({g["HTTPEndpoint"] for g in w.stats()})), 6, 2, {}),
    ("DD_TRACE_STATS_PEER_TAGS_CARDINALITY_LIMIT", "1", many(lambda w: len({str(g["PeerTags"]) for g in w.stats()})), 6, 2, {}),
    ("DD_TRACE_STATS_ADDITIONAL_TAGS_CARDINALITY_LIMIT", "1", many(lambda w: len({str(g["AdditionalMetricTags"]) for g in w.stats()})), 6, 2, {"DD_TRACE_STATS_ADDITIONAL_TAGS": "t"}),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=1", meta("a"), None, "1", {}),
    ("OTEL_TRACES_EXPORTER", "none", lambda w: w.span() is None, False, True, {}),
    ("_DD_TRACE_STATS_WRITER_INTERVAL", "2", lambda w: w.parts.statistics.concentrator.bucket_ns, 10**10, 2 * 10**9, {}),
    ("DD_TRACE_NATIVE_SPAN_EVENTS", "false", events_field, True, False, {}),
    ("_DD_TRACE_WRITER_LOG_ERROR_PAYLOADS", "true", refused_payload, False, True, {}),
    ("OTEL_TRACES_SPAN_METRICS_ENABLED", "true", otlp_path, None, "/v1/metrics", {"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}", otlp_path, None, "/v1/metrics", SPAN_METRICS),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "{url}/mine", otlp_path, None, "/mine", SPAN_METRICS),
    ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=1", otlp_header("x-a"), None, "1", {**SPAN_METRICS, "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-a=1", otlp_header("x-a"), None, "1", {**SPAN_METRICS, "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "100", lambda w: w.config.span_metrics_target().timeout_s, 10, 0.1, SPAN_METRICS),
    ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "100", lambda w: w.config.span_metrics_target().timeout_s, 10, 0.1, SPAN_METRICS),
    ("_DD_TRACE_METRICS_OTEL_FLUSH_INTERVAL", "500", lambda w: w.parts.statistics.concentrator.bucket_ns, 10**10, 5 * 10**8, SPAN_METRICS),
    ("_DD_TRACE_WRITER_ADDITIONAL_HEADERS", "X-A:1", header("x-a"), None, "1", {}),
    ("_DD_SC_LOCAL_FILE_OVERRIDE", "{local}", meta("env"), None, "file", {}),
    ("_DD_SC_MANAGED_FILE_OVERRIDE", "{local}", meta("env"), None, "file", {}),
    ("resource_from_span_name", True, lambda w: w.otel_span("n", **SERVER_SPAN)["resource"], "GET", "n", {}),
    ("trace_writer_synchronous_write", True, unflushed, 0, 1, {}),
    ("trace_writer_synchronous_timeout", 0.5, lambda w: w.config.trace_writer_synchronous_timeout, 2.0, 0.5, {}),
    ("handle_sigterm", False, sigterm_is_handled, True, False, {}),
    ("redact", lambda name, value: "gone", captured_argument, True, False, {}),
    ("ignore_exceptions", [KeyError], error_of_key_error, 1, 0, {}),
    ("add_tags", {"a": "1"}, meta("a"), None, "1", {}),
    ("trace_filters", [lambda chunk: None], lambda w: w.span() is None, False, True, {}),
    ("span_processors", [Seen()], spans_seen_by, 0, 1, {}),
    ("resource", Resource({"a": "1"}), meta("a"), None, "1", {}),
    ("sampler", ALWAYS_OFF, lambda w: w.span() is None, False, True, {}),
    ("id_generator", OneId(), lambda w: w.span()["trace_id"] == 77, False, True, {}),
    ("span_limits", SpanLimits(max_span_attributes=0), meta("t", tags={"t": "1"}), "1", None, {}),
]  # fmt: skip

ELSEWHERE = {
    "DD_TRACE_HEADER_TAGS",
    "DD_TRACE_HTTP_SERVER_ERROR_STATUSES",
    "DD_TRACE_HTTP_CLIENT_ERROR_STATUSES",
    "DD_TRACE_HTTP_CLIENT_TAG_QUERY_STRING",
    "DD_HTTP_SERVER_TAG_QUERY_STRING",
    "DD_TRACE_OBFUSCATION_QUERY_STRING_REGEXP",
    "DD_REMOTE_CONFIGURATION_ENABLED",
    "DD_REMOTE_CONFIG_POLL_INTERVAL_SECONDS",
}
"""What only the helpers for HTTP or remote configuration look at; tested with them."""


@pytest.mark.parametrize(
    ("name", "value", "look", "without", "with_value", "others"), CASES, ids=[row[0] for row in CASES]
)
def test_setting_has_its_effect(world, tmp_path, name, value, look, without, with_value, others):
    """A setting changes what it says it changes, and its absence leaves that alone."""
    (tmp_path / "rules.json").write_text(SPAN_RULE)
    (tmp_path / "local.yaml").write_text("apm_configuration_default:\n  DD_ENV: file\n")
    places = {
        "{url}": world.url,
        "{port}": str(world.port),
        "{statsd_port}": str(world.statsd_port),
        "{rules}": str(tmp_path / "rules.json"),
        "{local}": str(tmp_path / "local.yaml"),
        "{folder}": str(tmp_path),
    }

    def filled(text):
        for place, real in places.items():
            text = text.replace(place, real) if isinstance(text, str) else text
        return text

    environ = {variable: filled(text) for variable, text in others.items()}
    assert world(look, environ, {}) == without
    if name.isupper():
        assert world(look, {**environ, name: filled(value)}, {}) == with_value
    else:
        assert world(look, environ, {name: value}) == with_value


def test_every_used_setting_is_in_the_table():
    """A setting that claims an effect is tested for it; one without effect is not."""
    tested = {row[0] for row in CASES} | ELSEWHERE
    used = {row.env or row.name for row in SETTINGS if row.is_used}
    assert tested == used
