"""Statistics as an OTLP histogram (spec/client-stats.md §10)."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._stats import (
    AggregationRules,
    CardinalityLimits,
    Concentrator,
    DurationHistogram,
    SpanMetricsExporter,
    span_metrics_resource,
)

_BOUNDS = [0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0]


def _value(encoded):
    ((kind, value),) = encoded.items()
    if kind == "arrayValue":
        return [_value(element) for element in value["values"]]
    return int(value) if kind == "intValue" else value


def _export(clock, chunk, limits=None):
    """Send a chunk; return the request and its points, each with its attributes as a dictionary."""
    sent = []
    concentrator = Concentrator(
        AggregationRules(peer_tags=["out.host"], additional_tags=["region", "span.kind"], splits_top_level=True),
        limits,
        clock,
        new_sketch=DurationHistogram,
    )
    exporter = SpanMetricsExporter(
        concentrator,
        lambda body: sent.append(json.loads(body)) is None,
        resource=lambda: {"service.name": "checkout", "datadog.process_tags": ["a:b"]},
        clock=clock,
    )
    concentrator.add_chunk(chunk)
    assert exporter.flush(force=True)
    (request,) = sent
    points = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["histogram"]["dataPoints"]
    for point in points:
        point["attributes"] = {item["key"]: _value(item["value"]) for item in point["attributes"]}
    return request, points


def test_request(clock, make_span):
    """One delta histogram in seconds under one resource."""
    request, _ = _export(clock, [make_span()])
    (resource_metrics,) = request["resourceMetrics"]
    assert resource_metrics["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "checkout"}},
        {"key": "datadog.process_tags", "value": {"arrayValue": {"values": [{"stringValue": "a:b"}]}}},
    ]
    (metric,) = resource_metrics["scopeMetrics"][0]["metrics"]
    assert (metric["name"], metric["unit"]) == ("traces.span.sdk.metrics.duration", "s")
    assert metric["histogram"]["aggregationTemporality"] == 1


def test_point_numbers(clock, make_span):
    """Count, sum and extremes are exact; times are those of the bucket; each half has its own point."""
    spans = [make_span(duration=d) for d in (150_000_000, 300_000_000, 0, 20_000_000_000)]
    _, points = _export(clock, [*spans, make_span(duration=1_000_000, error=1)])
    ok, error = points
    assert ok["attributes"]["status.code"] == "STATUS_CODE_OK"
    assert error["attributes"]["status.code"] == "STATUS_CODE_ERROR"
    assert (ok["startTimeUnixNano"], ok["timeUnixNano"]) == ("1700000000000000000", "1700000010000000000")
    assert (ok["count"], ok["sum"], ok["min"], ok["max"]) == ("4", 20.45, 0.0, 20.0)
    assert ok["explicitBounds"] == _BOUNDS
    assert [int(count) for count in ok["bucketCounts"]] == [1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (error["count"], error["bucketCounts"][0]) == ("1", "1")


def test_point_attributes(clock, make_span):
    """What is known about the group is written, a plain group has only the attributes that always apply."""
    plain = make_span()
    full = make_span(
        parent_id=5,
        type="http",
        metrics={},
        meta={
            "span.kind": "client",
            "http.method": "GET",
            "http.route": "/a",
            "http.status_code": "500",
            "grpc.code": "5",
            "_dd.svc_src": "m",
            "_dd.origin": "synthetics-browser",
            "out.host": "db",
            "region": "eu:1",
        },
    )
    _, points = _export(clock, [plain, full])
    assert [point["attributes"] for point in points] == [
        {
            "service.name": "web",
            "status.code": "STATUS_CODE_OK",
            "span.kind": "SPAN_KIND_INTERNAL",
            "span.name": "GET /",
            "datadog.operation.name": "web.request",
            "datadog.is_trace_root": True,
            "datadog.span.top_level": True,
        },
        {
            "service.name": "web",
            "status.code": "STATUS_CODE_OK",
            "span.kind": "SPAN_KIND_CLIENT",
            "span.name": "GET /",
            "http.request.method": "GET",
            "http.route": "/a",
            "http.response.status_code": 500,
            "rpc.response.status_code": "NOT_FOUND",
            "datadog.operation.name": "web.request",
            "datadog.span.type": "http",
            "datadog.svc_src": "m",
            "datadog.origin": "synthetics",
            "datadog.peer_tags": ["out.host:db"],
            "datadog.is_trace_root": False,
            "datadog.span.top_level": False,
            "region": "eu:1",
        },
    ]


def test_top_level_spans_have_their_own_points(clock, make_span):
    """Groups that differ only in being top level are not merged."""
    _, points = _export(clock, [make_span(), make_span(metrics={"_dd.measured": 1})])
    assert [point["attributes"]["datadog.span.top_level"] for point in points] == [True, False]


def test_overflow_row(clock, make_span):
    """The overflow row says nothing about trace root and top level."""
    _, points = _export(clock, [make_span(service="a"), make_span(service="b")], CardinalityLimits(keys=1))
    overflow = points[1]["attributes"]
    assert overflow["service.name"] == "tracer_blocked_value"
    assert "datadog.is_trace_root" not in overflow
    assert "datadog.span.top_level" not in overflow


def test_resource_attributes():
    """Empty values are left out, and global tags with an attribute of their own are not repeated."""
    everything = span_metrics_resource(
        service="s",
        env="e",
        version="v",
        hostname="h",
        runtime_id="r",
        tracer_version="1",
        process_tags="a:b,c:d",
        tags={"env": "x", "service.version": "x", "runtime-id": "x", "team": "core"},
    )
    assert everything == {
        "service.name": "s",
        "service.version": "v",
        "deployment.environment.name": "e",
        "host.name": "h",
        "telemetry.sdk.name": "datadog",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": "1",
        "datadog.runtime_id": "r",
        "datadog.process_tags": ["a:b", "c:d"],
        "datadog.tracer_tags": ["team:core"],
    }
    little = span_metrics_resource(
        service="s", env="", version="", hostname="", runtime_id="", tracer_version="1", process_tags="", tags={}
    )
    assert set(little) == {"service.name", "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version"}


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=50))
def test_histogram_counts_everything(durations):
    """Bucket counts add up, and each count is near the exact one within the accuracy of a bin."""
    histogram = DurationHistogram()
    for duration in durations:
        histogram.add(duration)
    counts = histogram.bucket_counts()
    assert sum(counts) == len(durations) == histogram.count
    assert histogram.sum_ns == sum(durations)
    assert (histogram.min_ns, histogram.max_ns) == (min(durations), max(durations))
    for position, bound in enumerate(_BOUNDS):
        below = sum(counts[: position + 1])
        at_least = sum(duration / 1e9 <= bound * (1 - 0.016) for duration in durations)
        at_most = sum(duration / 1e9 <= bound * (1 + 0.016) for duration in durations)
        assert at_least <= below <= at_most
