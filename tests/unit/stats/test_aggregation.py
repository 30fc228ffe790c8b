"""Which spans count and under which key (spec/client-stats.md §2, §3)."""

from __future__ import annotations

import logging

import pytest

from ddtrace_manual._stats.aggregation import OVERFLOW_KEY, AggregationKey, AggregationRules, count_as
from ddtrace_manual._stats.grpc_status import grpc_status_code, grpc_status_name

_RULES = AggregationRules(peer_tags=("peer.service", "db.instance", "out.host"))


def _key(span, rules=_RULES, top_level=True):
    return AggregationKey(*rules.key(span, top_level))


@pytest.mark.parametrize(
    ("meta", "metrics", "expected"),
    [
        ({}, {"_dd.top_level": 1}, True),
        ({}, {"_top_level": 1.0}, True),
        ({}, {"_dd.measured": 1}, False),
        ({"span.kind": "client"}, {}, False),
        ({"span.kind": "CONSUMER"}, {}, False),
        ({"span.kind": "server"}, {"_dd.top_level": 1}, True),
        ({"span.kind": "internal"}, {}, None),
        ({}, {}, None),
        ({}, {"_dd.top_level": 0, "_dd.measured": 0}, None),
        ({}, {"_dd.top_level": 1, "_dd.partial_version": 0}, None),
        ({"span.kind": "client"}, {"_dd.partial_version": 123}, None),
        ({}, {"_dd.top_level": 1, "_dd.partial_version": -1}, True),
    ],
)
def test_count_as(make_span, meta, metrics, expected):
    """Top-level, measured and kinds that count are counted, open snapshots are not."""
    assert count_as(make_span(meta=meta, metrics=metrics), _RULES.span_kinds) is expected


def test_kinds_follow_the_agent(make_span):
    """The kinds that count are the Agent's, in any case; `internal` never counts, even where it lists that."""
    rules = AggregationRules(span_kinds=["Batch", "Internal"])
    for kind, expected in (
        ("batch", False),
        ("BATCH", False),
        ("client", None),
        ("internal", None),
        ("Internal", None),
    ):
        assert count_as(make_span(meta={"span.kind": kind}, metrics={}), rules.span_kinds) is expected


def test_plain_span(make_span):
    """A span without special tags has empty fields."""
    assert _key(make_span(type="web")) == AggregationKey(
        service="web",
        operation_name="web.request",
        resource_name="GET /",
        span_type="web",
        http_status=0,
        grpc_status="",
        synthetics=False,
        span_kind="",
        trace_root=1,
        http_method="",
        http_endpoint="",
        service_source="",
        peer_tags=(),
        additional_tags=(),
        top_level=None,
    )


@pytest.mark.parametrize(
    ("meta", "metrics", "field", "expected"),
    [
        ({}, {"http.status_code": 404.9}, "http_status", 404),
        ({"http.status_code": "200"}, {}, "http_status", 200),
        ({"http.status_code": "200"}, {"http.status_code": 500}, "http_status", 500),
        ({"http.status_code": "2xx"}, {}, "http_status", 0),
        ({"http.status_code": "-1"}, {}, "http_status", 0),
        ({"http.status_code": "²"}, {}, "http_status", 0),
        ({"http.status_code": "9" * 5000}, {}, "http_status", 0),
        ({"http.status_code": "4294967296"}, {}, "http_status", 0),
        ({}, {"http.status_code": -5}, "http_status", 0),
        ({}, {"http.status_code": float("nan")}, "http_status", 0),
        ({"_dd.origin": "synthetics-browser"}, {}, "synthetics", True),
        ({"_dd.origin": "rum"}, {}, "synthetics", False),
        ({"span.kind": "Server"}, {}, "span_kind", "Server"),
        ({"http.method": "PUT"}, {}, "http_method", "PUT"),
        ({"http.endpoint": "/a", "http.route": "/b"}, {}, "http_endpoint", "/a"),
        ({"http.route": "/b"}, {}, "http_endpoint", "/b"),
        ({"_dd.svc_src": "m"}, {}, "service_source", "m"),
        ({}, {"grpc.code": 5}, "grpc_status", "5"),
    ],
)
def test_fields(make_span, meta, metrics, field, expected):
    """Each field is read where the specification says."""
    assert getattr(_key(make_span(meta=meta, metrics=metrics)), field) == expected


@pytest.mark.parametrize(("parent_id", "expected"), [(0, 1), (5, 2)])
def test_trace_root(make_span, parent_id, expected):
    """Spans without a parent anywhere are trace roots."""
    assert _key(make_span(parent_id=parent_id)).trace_root == expected


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (
            {"span.kind": "client", "out.host": "10.0.0.1:80", "peer.service": "db"},
            ("peer.service:db", "out.host:blocked-ip-address:80"),
        ),
        ({"span.kind": "Producer", "db.instance": ""}, ("db.instance:",)),
        ({"span.kind": "consumer", "_dd.base_service": "x"}, ()),
        ({"span.kind": "server", "out.host": "h", "_dd.base_service": "x"}, ("_dd.base_service:x",)),
        ({"out.host": "h"}, ()),
        ({"span.kind": "internal", "_dd.base_service": "x"}, ("_dd.base_service:x",)),
    ],
)
def test_peer_tags(make_span, meta, expected):
    """Peers of outgoing spans in the Agent's order; other spans name the base service they left."""
    assert _key(make_span(meta=meta)).peer_tags == expected


def test_additional_tags(make_span, caplog, monkeypatch):
    """Additional tags are sorted, unique, at most four, and long values are blocked."""
    caplog.set_level(logging.WARNING, "ddtrace_manual")
    monkeypatch.setattr("ddtrace_manual._stats.aggregation._log.interval_s", 0.0)
    rules = AggregationRules(additional_tags=["e", "b", "a", "b", "d", "c"])
    assert len(caplog.records) == 1
    span = make_span(meta={"a": "1", "b": "", "c": "x" * 200, "d": "x" * 201, "e": "5"})
    assert _key(span, rules).additional_tags == ("a:1", "c:" + "x" * 200, "d:tracer_blocked_value")


def test_top_level_in_the_key(make_span):
    """Only on request top-level and other spans make groups of their own."""
    rules = AggregationRules(splits_top_level=True)
    assert [_key(make_span(), rules, flag).top_level for flag in (True, False)] == [True, False]
    assert _key(make_span(), _RULES, False).top_level is None


def test_overflow_key():
    """The overflow row names nothing but the sentinel."""
    assert set(OVERFLOW_KEY) == {
        "tracer_blocked_value",
        0,
        "",
        ("tracer_blocked_value",),
        ("tracer_blocked_value:",),
        None,
    }


@pytest.mark.parametrize(
    ("meta", "metrics", "expected"),
    [
        ({"rpc.grpc.status_code": "5"}, {}, "5"),
        ({"grpc.code": "StatusCode.NOT_FOUND"}, {}, "5"),
        ({"rpc.grpc.status.code": "InvalidArgument"}, {}, "3"),
        ({"grpc.status.code": "notfound"}, {}, "5"),
        ({"grpc.code": "CANCELED"}, {}, "1"),
        ({"grpc.code": "Cancelled"}, {}, "1"),
        ({"grpc.code": "007"}, {}, "7"),
        ({"grpc.code": "255"}, {}, "255"),
        ({"grpc.code": "256"}, {}, ""),
        ({"grpc.code": "1" * 5000}, {}, ""),
        ({"grpc.code": "ÖK"}, {}, ""),
        ({"grpc.code": "nonsense"}, {"grpc.code": 2}, "2"),
        ({"grpc.code": "OK"}, {"rpc.grpc.status_code": 2}, "0"),
        ({}, {"grpc.status.code": 14.0}, "14"),
        ({}, {"grpc.status.code": 14.5}, ""),
        ({}, {"grpc.status.code": -1}, ""),
        ({}, {"grpc.status.code": 256}, ""),
        ({"rpc.system.name": "grpc", "rpc.response.status_code": "DEADLINE_EXCEEDED"}, {}, "4"),
        ({"rpc.system.name": "connectrpc", "rpc.response.status_code": "not_found"}, {}, "5"),
        ({"rpc.response.status_code": "OK"}, {}, "0"),
        ({"rpc.system": "grpc"}, {"rpc.response.status_code": 2}, "2"),
        ({"rpc.system.name": "jsonrpc", "rpc.response.status_code": "1"}, {}, ""),
        ({"rpc.system.name": "dubbo", "grpc.code": "1"}, {"rpc.response.status_code": 2}, "1"),
        ({}, {}, ""),
    ],
)
def test_grpc_status(meta, metrics, expected):
    """Text before numbers, numbers and names in any of their spellings; what is not understood is none."""
    assert grpc_status_code(meta, metrics) == expected


@pytest.mark.parametrize(("code", "name"), [("0", "OK"), ("16", "UNAUTHENTICATED"), ("17", "17")])
def test_grpc_status_name(code, name):
    """A status has its canonical name, an unnamed one stays a number."""
    assert grpc_status_name(code) == name
