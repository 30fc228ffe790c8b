"""Client-side statistics from `configure()` to the Agent: when they are on, what is dropped, what the headers say."""

from __future__ import annotations

import json
import socket
from collections import Counter

import pytest

import ddtrace_manual as dd
from ddtrace_manual.sampling import SamplingRule

pytestmark = pytest.mark.integration

R0, R1 = [SamplingRule(0)], [SamplingRule(1)]
TRACES, STATS, METRICS = "/v0.4/traces", "/v0.6/stats", "/v1/metrics"


def run_traces(count, name="web.request", **options):
    """Run traces of one span."""
    for _ in range(count):
        with dd.span(name, **options):
            pass


def hits(agent):
    """Return the hits of all statistics payloads by operation."""
    found = Counter()
    for payload in agent.stats():
        for bucket in payload["Stats"]:
            for group in bucket["Stats"]:
                found[group["Name"]] += group["Hits"]
    return dict(found)


def stats_headers(agent):
    """Return what each trace payload says about statistics, without the common beginning of the names."""
    prefix = "datadog-client-"
    return [
        {name.removeprefix(prefix): value for name, value in each.headers.items() if name.startswith(prefix)}
        for each in agent.requests(TRACES)
    ]


def info_requests(agent):
    """Return how often the Agent was asked for `/info`."""
    return len(agent.requests("/info"))


def test_unsampled_traces_are_counted_and_not_sent(configure, fake_agent):
    """With rate 0 no trace reaches the Agent and every hit does; nothing new means no further payload."""
    configure(sampling_rules=R0)
    run_traces(7)
    assert dd.flush()
    assert hits(fake_agent) == {"web.request": 7}
    assert fake_agent.requests(TRACES) == []
    assert dd.flush()
    assert len(fake_agent.stats()) == 1
    totals = dd.counters()
    assert (totals.filtered_spans, totals.sent_spans, totals.stats_payloads) == (7, 0, 1)


def test_headers_tell_once_what_was_dropped(configure, fake_agent):
    """Dropped traces and spans are told with the next payload that goes out, exactly once."""
    configure(sampling_rules=[SamplingRule(0, name="dropped"), *R1])
    for _ in range(3):
        with dd.span("dropped"), dd.span("child"):
            pass
    assert dd.flush()
    assert fake_agent.requests(TRACES) == []
    for _ in range(2):
        run_traces(1, "kept")
        assert dd.flush()
    told = {"computed-stats": "true", "computed-top-level": "true"}
    assert stats_headers(fake_agent) == [told | {"dropped-p0-traces": "3", "dropped-p0-spans": "6"}, told]


def test_dropped_counts_survive_a_refusal(configure, fake_agent):
    """What a payload told that did not arrive is told again."""
    configure(sampling_rules=[SamplingRule(0, name="dropped"), *R1])
    run_traces(2, "dropped")
    fake_agent.fail(TRACES, times=1, status=400)
    run_traces(1, "lost")
    dd.flush()
    run_traces(1, "kept")
    assert dd.flush()
    assert [headers.get("dropped-p0-traces") for headers in stats_headers(fake_agent)] == ["2", "2"]


def test_errors_of_dropped_traces_are_sent(configure, fake_agent):
    """A chunk with an error goes out whole although its trace is dropped."""
    configure(sampling_rules=R0)
    with pytest.raises(ValueError), dd.span("web.request"), dd.span("child"):
        raise ValueError
    assert dd.flush()
    assert [(span["name"], span["error"]) for span in fake_agent.spans()] == [("web.request", 1), ("child", 1)]
    assert fake_agent.spans()[0]["metrics"]["_sampling_priority_v1"] == -1
    (group,) = fake_agent.stats()[0]["Stats"][0]["Stats"]
    assert (group["Hits"], group["Errors"], group["TopLevelHits"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("info", "settings", "is_on"),
    [
        ({}, {}, True),
        ({"version": "7.64.3"}, {}, False),
        ({"version": "test"}, {}, False),
        ({"version": "test"}, {"DD_TRACE_STATS_COMPUTATION_IGNORE_AGENT_VERSION": "true"}, True),
        ({"client_drop_p0s": False}, {}, False),
        ({"endpoints": [TRACES]}, {}, False),
        ({}, {"DD_TRACE_STATS_COMPUTATION_ENABLED": "false"}, False),
        ({}, {"DD_APM_TRACING_ENABLED": "false"}, False),
    ],
)
def test_when_statistics_are_on(configure, fake_agent, info, settings, is_on):
    """Only a suitable Agent and the setting switch statistics on; otherwise all is sent and the Agent counts."""
    fake_agent.info |= info
    configure(sampling_rules=R0, **settings)
    run_traces(2)
    assert dd.flush()
    assert bool(fake_agent.stats()) is is_on
    assert len(fake_agent.spans()) == (0 if is_on else 2)
    if not is_on:
        # Without APM tracing nobody is to compute statistics, the Agent included.
        expected = "true" if "DD_APM_TRACING_ENABLED" in settings else None
        assert [headers.get("computed-stats") for headers in stats_headers(fake_agent)] == [expected]


def test_agent_that_refuses_statistics(configure, fake_agent):
    """After a 404 traces are sent in full and uncounted, until `/info` changes."""
    configure(sampling_rules=R0)
    fake_agent.fail(STATS, times=1, status=404)
    run_traces(1, "first")
    assert not dd.flush()
    run_traces(1, "second")
    assert dd.flush()
    assert [span["name"] for span in fake_agent.spans()] == ["second"]
    assert "computed-stats" not in stats_headers(fake_agent)[0]
    fake_agent.info["peer_tags"] = ["changed"]
    run_traces(1, "third")
    assert dd.flush()  # its answer carries the new state
    run_traces(1, "fourth")
    assert dd.flush()
    assert [span["name"] for span in fake_agent.spans()] == ["second", "third"]
    assert hits(fake_agent)["fourth"] == 1
    assert dd.counters().lost_stats_payloads == 1


@pytest.mark.parametrize("rules", [R0, R1])
def test_info_is_asked_again_when_its_state_changes(configure, fake_agent, rules):
    """Another state in the answer to traces or statistics makes `/info` due; equal states do not."""
    configure(sampling_rules=rules)
    run_traces(1)
    assert dd.flush()
    run_traces(1)
    assert dd.flush()
    assert info_requests(fake_agent) == 1
    fake_agent.info["peer_tags"] = ["shop.shelf"]
    run_traces(1)
    assert dd.flush()
    with dd.span("call", kind="client", tags={"shop.shelf": "A7"}):
        pass
    assert dd.flush()
    assert info_requests(fake_agent) == 2
    groups = [group for payload in fake_agent.stats() for bucket in payload["Stats"] for group in bucket["Stats"]]
    assert [group["PeerTags"] for group in groups if group["Name"] == "call"] == [["shop.shelf:A7"]]


def test_filters_of_the_agent(configure, fake_agent):
    """A trace that the Agent's filters reject gives neither statistics nor payload, and is not told as dropped."""
    fake_agent.info |= {"ignore_resources": ["^GET /health"], "filter_tags": {"reject": ["team:noise"]}}
    configure(sampling_rules=R1)
    run_traces(1, "health", resource="GET /healthz")
    run_traces(1, "noise", tags={"team": "noise"})
    run_traces(1, "kept")
    assert dd.flush()
    assert hits(fake_agent) == {"kept": 1}
    assert [span["name"] for span in fake_agent.spans()] == ["kept"]
    assert "dropped-p0-traces" not in stats_headers(fake_agent)[0]


def test_collapsed_spans_are_reported(configure, fake_agent):
    """What does not fit is counted under a blocked value, none is lost, and counters and health metrics say so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(5)
        configure(
            DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT="2",
            DD_TRACE_HEALTH_METRICS_ENABLED="true",
            DD_DOGSTATSD_URL=f"udp://127.0.0.1:{statsd.getsockname()[1]}",
        )
        for number in range(5):
            run_traces(1, resource=f"GET /{number}")
        assert dd.flush()
        received = []
        while not any("collapsed_spans" in line for line in received):
            received += statsd.recv(65536).decode().splitlines()
    (bucket,) = fake_agent.stats()[0]["Stats"]
    assert {group["Resource"]: group["Hits"] for group in bucket["Stats"]} == {
        "GET /0": 1,
        "GET /1": 1,
        "tracer_blocked_value": 3,
    }
    assert dd.counters().collapsed_spans == {"resource": 3}
    (line,) = [line for line in received if "collapsed_spans" in line]
    assert line.startswith("datadog.tracer.stats.collapsed_spans:3|c|#")
    assert "collapsed_spans:resource" in line


ODD_SPANS = (
    {},
    {"measured": True},
    {"kind": "client"},
    {"service": "db"},
    {"tags": {"_dd.measured": 1}},
    {"tags": {"_dd.measured": 0}},
    {"tags": {"_top_level": 1}},
    {"tags": {"_dd.top_level": 1}},
    {"tags": {"span.kind": "server"}},
    {"tags": {"span.kind": "Consumer"}},
    {"kind": "client", "tags": {"_dd.partial_version": 3}},
    {"tags": {"http.status_code": 200}, "measured": True},
    {"tags": {"service.name": "cache"}},
    {"tags": {"manual.keep": False}, "span_type": "web"},
)


def test_kept_and_dropped_traces_are_counted_alike(configure, fake_agent):
    """Whatever marks a span, a trace gives the same statistics whether it is sent or not."""
    fake_agent.info["span_kinds_stats_computed"] = ["server", "client", "consumer", "internal"]
    seen = []
    for rules in (R1, R0):
        configure(sampling_rules=rules, rate_limit=-1)
        with dd.span("root"):
            for number, options in enumerate(ODD_SPANS):
                with dd.span(f"span{number}", **options):
                    pass
        assert dd.flush()
        groups = [group for payload in fake_agent.stats() for bucket in payload["Stats"] for group in bucket["Stats"]]
        timeless = ("Duration", "OkSummary", "ErrorSummary")
        seen.append(sorted(repr({k: v for k, v in group.items() if k not in timeless}) for group in groups))
        assert bool(fake_agent.spans()) is (rules is R1)
        fake_agent.clear()
    assert seen[0] == seen[1]
    assert len(seen[0]) >= 6


@pytest.fixture
def configure_otlp(configure, fake_agent):
    """Configure statistics as OTLP metrics; the Agent double is the receiver too."""
    fake_agent.fail(METRICS, status=200, body=b"{}")

    def run(**settings):
        return configure(
            OTEL_TRACES_SPAN_METRICS_ENABLED="true",
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{fake_agent.url}{METRICS}?tenant=7",
            OTEL_EXPORTER_OTLP_METRICS_HEADERS="x-key=secret",
            **settings,
        )

    return run


def points(agent):
    """Return the data points of all OTLP requests, each with its attributes as a dictionary."""
    found = []
    for request in agent.requests(METRICS):
        (resource,) = json.loads(request.body)["resourceMetrics"]
        (metric,) = resource["scopeMetrics"][0]["metrics"]
        assert metric["name"] == "traces.span.sdk.metrics.duration"
        for point in metric["histogram"]["dataPoints"]:
            values = {each["key"]: next(iter(each["value"].values())) for each in point["attributes"]}
            found.append(point | {"attributes": values})
    return found


def test_statistics_as_otlp_metrics(configure_otlp, fake_agent):
    """Span metrics go to the OTLP receiver, none to the Agent; unsampled traces are dropped, payloads say so."""
    configure_otlp(sampling_rules=[SamplingRule(0, name="dropped"), *R1], version="3", DD_TAGS="team:core")
    for name in ("dropped", "kept"):
        with dd.span(name), dd.span("call", kind="client"):
            pass
    assert dd.flush()
    assert fake_agent.stats() == []
    assert {span["name"] for span in fake_agent.spans()} == {"kept", "call"}
    (headers,) = stats_headers(fake_agent)
    assert (headers["computed-stats"], headers["dropped-p0-traces"]) == ("yes", "1")
    (request,) = fake_agent.requests(METRICS)
    assert (request.headers["content-type"], request.headers["x-key"]) == ("application/json", "secret")
    resource = json.loads(request.body)["resourceMetrics"][0]["resource"]["attributes"]
    texts = {each["key"]: each["value"].get("stringValue") for each in resource}
    assert (texts["service.name"], texts["service.version"], texts["deployment.environment.name"]) == (
        "webserver",
        "3",
        "prod",
    )
    counts = {
        (p["attributes"]["span.name"], p["attributes"]["datadog.span.top_level"]): p["count"]
        for p in points(fake_agent)
    }
    assert counts == {("dropped", True): "1", ("kept", True): "1", ("call", False): "2"}
    assert dd.counters().stats_payloads == 1


@pytest.mark.parametrize(
    "settings", [{"DD_TRACE_STATS_COMPUTATION_ENABLED": "false"}, {"DD_TRACE_STATS_COMPUTATION_ENABLED": "true"}]
)
def test_otlp_metrics_need_no_suitable_agent(configure_otlp, fake_agent, settings):
    """The Agent's version, and the setting for statistics at the Agent, do not matter."""
    fake_agent.info["version"] = "6.1.0"
    configure_otlp(sampling_rules=R0, **settings)
    run_traces(3)
    assert dd.flush()
    assert [point["count"] for point in points(fake_agent)] == ["3"]
    assert fake_agent.spans() == []


def test_otlp_metrics_without_agent(configure_otlp, fake_agent):
    """They go out although the Agent takes no traces."""
    configure_otlp(sampling_rules=R1)
    fake_agent.fail(TRACES, status=503)
    run_traces(3)
    assert not dd.flush(0.2)
    assert fake_agent.wait_for(lambda agent: agent.requests(METRICS), 20)
    assert [point["count"] for point in points(fake_agent)] == ["3"]
    assert fake_agent.spans() == []


def test_otlp_metrics_are_tried_again(configure_otlp, fake_agent):
    """A receiver that is busy is asked again, up to four times, but only once at shutdown."""
    configure_otlp(sampling_rules=R0)
    fake_agent.recover()
    fake_agent.fail(METRICS, times=2, status=503)
    fake_agent.fail(METRICS, status=200)
    run_traces(1)
    assert dd.flush(10.0)
    assert [request.status for request in fake_agent.requests(METRICS)] == [503, 503, 200]
    fake_agent.recover()
    fake_agent.clear()
    fake_agent.fail(METRICS, status=503)
    run_traces(1)
    assert not dd.shutdown()
    assert len(fake_agent.requests(METRICS)) == 1
    assert dd.counters().lost_stats_payloads == 1


def test_unusable_otlp_endpoint(configure_otlp, fake_agent, caplog, configure):
    """An endpoint that is no address is reported once; traces are not affected."""
    configure(OTEL_TRACES_SPAN_METRICS_ENABLED="true", OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="gopher://x")
    run_traces(1)
    dd.flush()
    assert len(fake_agent.spans()) == 1
    assert len([each for each in caplog.records if "OTLP" in each.getMessage()]) == 1
