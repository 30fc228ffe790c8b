"""The cases of spec/sampling.md §20 and §7.3, with the real mapping as the sampler's eyes."""

from __future__ import annotations

import json

import pytest
from opentelemetry.trace import SpanKind

from ddtrace_manual._mapping import Mapper, MappingSettings
from ddtrace_manual._model import SegmentRecord, SpanRecord
from ddtrace_manual.sampling import (
    RateLimiter,
    SamplingRule,
    ServiceRates,
    SpanSampler,
    SpanSamplingRule,
    TraceSampler,
    parse_sampling_rules,
)

_MAPPER = Mapper(
    MappingSettings(
        service="webserver",
        env="prod",
        version="1.2",
        tags={"team": "core"},
        resource_attributes={"cloud.region": "eu-west-1"},
    )
)
_R0 = [{"sample_rate": 0}]
_R1 = [{"sample_rate": 1}]


class _StoppedClock:
    def wall_ns(self):
        return 0

    monotonic_ns = wall_ns


def _sampler(rules=(), rate=None, limit=100, *, explicit=False, agent=None):
    rates = ServiceRates()
    rates.update(agent or {})
    return TraceSampler(
        span_view=_MAPPER,
        rules=parse_sampling_rules(json.dumps(list(rules))),
        sample_rate=rate,
        limiter=RateLimiter(limit, _StoppedClock()),
        rate_limit_is_explicit=explicit,
        service_rates=rates,
        env="prod",
    )


def _segment(values=None, *, name="web.request", otel_name="", kind=SpanKind.INTERNAL, trace_id=1, **inherited):
    segment = SegmentRecord()
    segment.trace_id = trace_id
    for field, value in inherited.items():
        setattr(segment, field, value)
    root = SpanRecord()
    root.operation_name = name
    root.otel_name = otel_name
    root.otel_kind = kind
    root.values = values or {}
    root.span_id = trace_id & 0xFF or 1
    root.start_ns, root.end_ns = 1, 2
    root.is_local_root = True
    root.segment = segment
    segment.local_root = root
    return segment


def _decide(sampler, values=None, **kwargs):
    segment = _segment(values, **kwargs)
    sampler.decide(segment, segment.local_root)
    return segment


def _dm(segment):
    return (segment.tags or {}).get("_dd.p.dm")


_WEB = {"service": "webserver", "name": "web.request"}


@pytest.mark.parametrize(
    ("rules", "rate", "values", "priority", "rule_rate"),
    [
        (
            [{"service": "webserver.non-matching", "sample_rate": 0}, {"service": "webserver", "sample_rate": 1}],
            0,
            {},
            2,
            1,
        ),
        ([{"name": "wEb.rEquEst", "sample_rate": 1}], 0, {}, 2, 1),
        ([{"service": "wEbServEr", "sample_rate": 1}], 0, {}, 2, 1),
        ([{"resource": "gEt /Users", "sample_rate": 1}], 0, {"resource.name": "GET /users"}, 2, 1),
        ([{"tags": {"tag": "VaL*"}, "sample_rate": 1}], 0, {"tag": "value"}, 2, 1),
        ([{"service": "w?bs?rv?r", "name": "web.*", "sample_rate": 0}], 1, {}, -1, 0),
        (
            [{"resource": "drop-me", "sample_rate": 0}, *_R1],
            None,
            {"manual.keep": "", "resource.name": "drop-me"},
            2,
            None,
        ),
        ([{"tags": {"tag": "2*"}, "sample_rate": 1}, *_R0], None, {"tag": 20.1}, -1, 0),
        ([{"tags": {"tag": "2*"}, "sample_rate": 1}, *_R0], None, {"tag": 20.0}, 2, 1),
        ([{"name": "web.*", "sample_rate": 1}], 0, {"operation.name": "other"}, -1, 0),
        ([{"service": "webserver", "sample_rate": 1}], 0, {"service.name": "db"}, -1, 0),
    ],
)  # cases 2-7
def test_rules(rules, rate, values, priority, rule_rate):
    """Rules see service, operation, resource and tags as the product will show them."""
    segment = _decide(_sampler(rules, rate), values)
    assert (segment.priority, segment.rule_rate) == (priority, rule_rate)


def test_nothing_configured():
    """Case 1: kept by default, without any rate."""
    segment = _decide(_sampler())
    assert (segment.priority, _dm(segment), segment.rule_rate, segment.limit_rate) == (1, "-0", None, None)


def test_derived_operation_name():
    """The name a rule sees is the Datadog operation name, not the OpenTelemetry span name."""
    sampler = _sampler([{"name": "http.server.request", "sample_rate": 0}])
    values = {"http.request.method": "GET"}
    assert _decide(sampler, values, name=None, otel_name="GET", kind=SpanKind.SERVER).priority == -1
    assert _decide(sampler, values, name=None, otel_name="http.server.request", kind=SpanKind.CLIENT).priority == 1


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        ({"http.request.method": "GET"}, {"http.method": "get"}),
        ({"http.method": "GET"}, {"http.request.method": "get"}),
        ({"http.response.status_code": 500}, {"http.status_code": "5??"}),
        ({"http.status_code": 500}, {"http.response.status_code": "500"}),
        ({"url.full": "http://x"}, {"http.url": "http*"}),
        ({"user_agent.original": "curl"}, {"http.useragent": "curl"}),
        ({"server.address": "h"}, {"http.server_name": "h"}),
        ({"client.address": "h"}, {"http.client_ip": "h"}),
        ({"network.protocol.version": "2"}, {"http.version": "2"}),
        ({"http.request.body.size": 10}, {"http.request.content_length": "10"}),
        ({"http.response.body.size": 10}, {"http.response.content_length": "10"}),
        ({"http.request.header.x-id": "7"}, {"http.request.headers.x-id": "7"}),
        ({}, {"env": "prod"}),
        ({}, {"team": "core"}),
        ({}, {"cloud.region": "eu-*"}),
        ({"flag": True}, {"flag": "true"}),
    ],
)
def test_tags_under_either_name(values, tags):
    """A rule may use either spelling of a tag; the resource, global tags and the environment take part."""
    assert _decide(_sampler([{"tags": tags, "sample_rate": 0}]), values).priority == -1
    assert _decide(_sampler([{"tags": dict.fromkeys(tags, "no"), "sample_rate": 0}]), values).priority == 1


def test_inherited():
    """Cases 8, 9 and 13: a received decision stays, unless a manual tag overrides it."""
    assert _decide(_sampler(_R0), priority=1, origin="synthetics;=web,z").priority == 1
    kept = _decide(_sampler(_R0), {"manual.keep": "1"}, priority=0)
    assert (kept.priority, _dm(kept)) == (2, "-4")
    tags = {"_dd.p.dm": "-1", "_dd.p.ksr": "0.1"}
    received = _decide(_sampler(_R0), priority=2, tags=tags)
    assert (received.priority, received.tags) == (2, tags)


def test_context_without_priority():
    """Ids and origin alone are decided here, with the tags of a new decision."""
    segment = _decide(_sampler(rate=1), trace_id=1212121212121212121, origin="rum")
    assert (segment.priority, _dm(segment), segment.origin) == (2, "-3", "rum")


def test_rate_limit():
    """Cases 10 and 11: a limit of one lets one rule-kept trace through and does nothing without rules."""
    limited = _sampler(_R1, limit=1, explicit=True)
    assert [_decide(limited).priority for _ in range(2)] == [2, -1]
    without_rules = _sampler(limit=1, explicit=True)
    assert [_decide(without_rules).priority for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("rules", "rate", "explicit", "expected"),
    [
        ((), 1, False, ("-3", 2, 1, None)),
        ((), 1e-06, False, ("-3", -1, 1e-06, None)),
        (_R1, 1, False, ("-3", 2, 1, None)),
        (_R0, 1, False, ("-3", -1, 0, None)),
        (_R0, 1, True, ("-3", -1, 0, 1.0)),
    ],
)
def test_limit_rate_table(rules, rate, explicit, expected):
    """The table of §8: mechanism, priority, rule rate and when the limit's rate is written."""
    segment = _decide(_sampler(rules, rate, limit=3, explicit=explicit), trace_id=10)
    assert (_dm(segment), segment.priority, segment.rule_rate, segment.limit_rate) == expected


@pytest.mark.parametrize(("rate", "ksr"), [(0.0000001, "0"), (0.00000051, "0.000001")])
def test_small_rates(rate, ksr):
    """Case 12: the text of tiny rates."""
    assert _decide(_sampler([{"sample_rate": rate}])).tags["_dd.p.ksr"] == ksr


def test_manual_drop_on_the_wire():
    """Case 14: a drop asked for by a child appears as for the root."""
    sampler = _sampler(rate=1)
    segment = _decide(sampler)
    sampler.decide_manual(segment, keep=False)
    (root,) = _MAPPER.map_chunk(segment, [segment.local_root], partial=False)
    assert root["metrics"]["_sampling_priority_v1"] == -1
    assert root["meta"]["_dd.p.dm"] == "-4"
    assert "_dd.p.ksr" not in root["meta"]
    assert not [key for key in root["metrics"] if key.endswith("_psr")]


@pytest.mark.parametrize(("trace_id", "priority"), [(1, 1), (10, 0)])
def test_agent_rate(trace_id, priority):
    """Case 15: the Agent's rate for the root's service decides by the hash."""
    sampler = _sampler(agent={"service:web,env:prod": 0.25})
    segment = _decide(sampler, {"service.name": "web"}, trace_id=trace_id)
    assert (segment.priority, segment.agent_rate, segment.tags) == (
        priority,
        0.25,
        {"_dd.p.dm": "-1", "_dd.p.ksr": "0.25"},
    )


def test_remote_rules():
    """Case 16: remote rules decide with their own mechanism; removed, the local ones do again."""
    sampler = _sampler(_R0)
    sampler.update(remote_rules=[SamplingRule(0.5, service="webserver", provenance="customer")])
    segment = _decide(sampler)
    assert (_dm(segment), segment.rule_rate) == ("-11", 0.5)
    sampler.update()
    assert _dm(_decide(sampler)) == "-3"


@pytest.mark.parametrize(("rules", "selected"), [(_R0, True), (_R1, False)])
def test_span_rules(rules, selected):
    """Cases 17 and 18: a span rule marks spans of dropped traces only."""
    segment = _decide(_sampler(rules))
    chunk = _MAPPER.map_chunk(segment, [segment.local_root], partial=False)
    SpanSampler([SpanSamplingRule(service="webserver", name="web.request")]).sample(chunk, segment.priority)
    assert ("_dd.span_sampling.mechanism" in chunk[0]["metrics"]) is selected
    assert chunk[0]["metrics"]["_sampling_priority_v1"] == segment.priority
