"""The cases of spec/sampling.md §20, from `configure()` to what the Agent receives."""

from __future__ import annotations

import json

import pytest
from opentelemetry import trace

import ddtrace_manual as dd
from ddtrace_manual._setup import lifecycle as _setup
from ddtrace_manual.sampling import SamplingRule, SpanSamplingRule, keeps, parse_remote_rules

pytestmark = pytest.mark.integration

R0, R1 = [SamplingRule(0)], [SamplingRule(1)]
NO_STATS = {"trace_stats_computation_enabled": False}


def outcome(span):
    """Return priority, mechanism and rates of a span as received."""
    meta, metrics = span["meta"], span["metrics"]
    rates = {key: metrics[key] for key in ("_dd.rule_psr", "_dd.agent_psr", "_dd.limit_psr") if key in metrics}
    return metrics.get("_sampling_priority_v1"), meta.get("_dd.p.dm"), rates


def incoming(trace_id=1, **more):
    """Return headers of a caller; `priority`, `tags`, `origin` as given."""
    headers = {"x-datadog-trace-id": str(trace_id), "x-datadog-parent-id": "5"}
    names = {"priority": "x-datadog-sampling-priority", "tags": "x-datadog-tags", "origin": "x-datadog-origin"}
    return headers | {names[key]: str(value) for key, value in more.items()}


def run_trace(values=None, *, name="web.request", headers=None, **options):
    """Run one trace of one span."""
    with dd.continue_trace(headers or {}), dd.span(name, tags=values, **options) as span:
        pass
    return span


def test_nothing_configured(configure, delivered):
    """Case 1: kept by default, no rate."""
    configure(**NO_STATS)
    run_trace()
    assert outcome(delivered()["web.request"]) == (1, "-0", {})


@pytest.mark.parametrize(
    ("rules", "rate", "values", "expected"),
    [
        (
            [{"service": "webserver.non-matching", "sample_rate": 0}, {"service": "webserver", "sample_rate": 1}],
            "0",
            {},
            (2, "-3", {"_dd.rule_psr": 1}),
        ),
        ([{"name": "wEb.rEquEst", "sample_rate": 1}], "0", {}, (2, "-3", {"_dd.rule_psr": 1})),
        ([{"service": "WEBServer", "sample_rate": 1}], "0", {}, (2, "-3", {"_dd.rule_psr": 1})),
        ([{"resource": "geT /*", "sample_rate": 1}], "0", {"resource.name": "GET /x"}, (2, "-3", {"_dd.rule_psr": 1})),
        ([{"tags": {"tag": "VA?ue"}, "sample_rate": 1}], "0", {"tag": "value"}, (2, "-3", {"_dd.rule_psr": 1})),
        ([{"service": "w?bs?rv?r", "name": "web.*", "sample_rate": 0}], "1", {}, (-1, "-3", {"_dd.rule_psr": 0})),
        (
            [{"tags": {"tag": "2*"}, "sample_rate": 1}, {"sample_rate": 0}],
            "1",
            {"tag": 20.1},
            (-1, "-3", {"_dd.rule_psr": 0}),
        ),
        (
            [{"tags": {"env": "prod", "flag": "true"}, "sample_rate": 0}],
            "1",
            {"flag": True},
            (-1, "-3", {"_dd.rule_psr": 0}),
        ),
    ],
)  # cases 2, 3, 4, 7
def test_rules_from_the_environment(configure, delivered, rules, rate, values, expected):
    """Rules of the environment see the final service, operation, resource and tags; the first match decides."""
    configure(DD_TRACE_SAMPLING_RULES=json.dumps(rules), DD_TRACE_SAMPLE_RATE=rate, **NO_STATS)
    run_trace(values)
    assert outcome(delivered()["web.request"]) == expected


def test_manual_keep_beats_rules(configure, delivered):
    """Case 5: a manual keep set before the resource that a rule drops wins, and its tag is not sent."""
    configure(sampling_rules=[SamplingRule(0, resource="drop-me"), *R1], **NO_STATS)
    with dd.span("web.request") as span:
        span.set_tag("manual.keep", "")
        span.resource = "drop-me"
    found = delivered()["web.request"]
    assert outcome(found) == (2, "-4", {})
    assert "manual.keep" not in found["meta"]


def test_decision_is_late_and_then_final(configure, delivered):
    """Case 6 and §3: tags set after the start count until headers are injected, later ones do not."""
    rules = [
        SamplingRule(rate, tags={key: glob})
        for rate, key, glob in ((0, "tag2", "val2"), (1, "tag1", "val1"), (0, "tag0", "val*"))
    ]
    configure(sampling_rules=rules, **NO_STATS)
    with dd.span("web.request", tags={"tag0": "val0"}) as span:
        span.set_tag("tag1", "val1")
        with dd.span("child"):
            headers = dd.inject({})
        span.set_tag("tag2", "val2")
    assert (headers["x-datadog-sampling-priority"], headers["traceparent"][-2:]) == ("2", "01")
    assert outcome(delivered()["web.request"]) == (2, "-3", {"_dd.rule_psr": 1})


@pytest.mark.parametrize(
    "look",
    [
        lambda span: (span.trace_id, span.span_id),
        lambda _span: dd.start_span("other").end(),
        lambda span: trace.use_span(span).__enter__(),
    ],
)
def test_needing_ids_decides_nothing(configure, delivered, look):
    """Ids, children and making a span current leave the decision open: a tag set afterwards still counts."""
    configure(sampling_rules=[SamplingRule(0, tags={"late": "yes"})], **NO_STATS)
    span = dd.start_span("web.request")
    look(span)
    span.set_tag("late", "yes")
    span.end()
    assert outcome(delivered()["web.request"])[0] == -1


def test_looking_at_the_flags_decides(configure, delivered):
    """`get_span_context()` gives final flags, so it decides."""
    configure(sampling_rules=[SamplingRule(0, tags={"late": "yes"}), *R1], **NO_STATS)
    span = dd.start_span("web.request")
    assert span.get_span_context().trace_flags.sampled
    span.set_tag("late", "yes")
    span.end()
    assert outcome(delivered()["web.request"])[0] == 2


@pytest.mark.parametrize(
    ("headers", "manual", "expected"),
    [
        (incoming(priority=1, origin="synthetics;=web,z"), None, (1, None, {})),  # case 8
        (incoming(priority=0), None, (0, None, {})),
        (incoming(priority=0), "keep", (2, "-4", {})),  # case 9
        (incoming(priority=2, tags="_dd.p.dm=-1"), "drop", (-1, "-4", {})),
        (incoming(priority=2, tags="_dd.p.ksr=0.1,_dd.p.dm=-1"), None, (2, "-1", {})),  # case 13
        (incoming(priority=7), None, (7, None, {})),
        (incoming(1212121212121212121, origin="rum", tags="_dd.p.dm=-1"), None, (-1, "-3", {"_dd.rule_psr": 0})),
    ],
)
def test_inherited_decisions(configure, delivered, headers, manual, expected):
    """A priority that came in is used and passed on as it is; without one the decision is made here."""
    configure(sampling_rules=R0, **NO_STATS)
    with dd.continue_trace(headers), dd.span("web.request") as span:
        if manual is not None:
            getattr(span, manual)()
        injected = dd.inject({})
    found = delivered()["web.request"]
    assert outcome(found) == expected
    assert injected["x-datadog-sampling-priority"] == str(expected[0])
    assert found["trace_id"] == int(headers["x-datadog-trace-id"])
    assert found["meta"].get("_dd.origin") == headers.get("x-datadog-origin")
    if "ksr" in headers.get("x-datadog-tags", "") and manual is None:
        assert found["meta"]["_dd.p.ksr"] == "0.1"
        assert "_dd.p.ksr=0.1" in injected["x-datadog-tags"]


def test_inherited_by_tracestate(configure, delivered):
    """Case 13 as W3C headers: priority, mechanism and rate come from the `dd` member."""
    configure(sampling_rules=R0, **NO_STATS)
    headers = {
        "traceparent": "00-0000000000000000000000000000002a-0000000000000005-01",
        "tracestate": "dd=s:2;t.dm:-1;t.ksr:0.1",
    }
    run_trace(headers=headers)
    found = delivered()["web.request"]
    assert (outcome(found), found["meta"]["_dd.p.ksr"]) == ((2, "-1", {}), "0.1")


def test_rate_limit(configure, delivered):
    """Case 10: with a limit of one, the second of two traces is dropped with its rule's tags, and the share is told."""
    configure(sampling_rules=R1, rate_limit=1, **NO_STATS)
    for name in ("first", "second"):
        run_trace(name=name)
    found = delivered()
    assert outcome(found["first"]) == (2, "-3", {"_dd.rule_psr": 1, "_dd.limit_psr": 1})
    assert outcome(found["second"]) == (-1, "-3", {"_dd.rule_psr": 1, "_dd.limit_psr": 0.5})


def test_rate_limit_without_rules(configure, delivered, caplog):
    """Case 11: a limit does nothing without rules, and that is said at start-up."""
    configure(DD_TRACE_RATE_LIMIT="1", **NO_STATS)
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "DD_TRACE_RATE_LIMIT=1 has no effect without sampling rules or a sample rate"
    ]
    for name in ("first", "second"):
        run_trace(name=name)
    assert [outcome(span)[0] for span in delivered().values()] == [1, 1]


@pytest.mark.parametrize(("rate", "ksr"), [(0.0000001, "0"), (0.00000051, "0.000001")])
def test_small_rates(configure, delivered, rate, ksr):
    """Case 12: tiny rates as text."""
    configure(sampling_rules=[SamplingRule(rate)], **NO_STATS)
    run_trace()
    assert delivered()["web.request"]["meta"]["_dd.p.ksr"] == ksr


def test_manual_decision_of_a_child(configure, delivered):
    """Case 14: a drop asked for by a child shows on the first span of the chunk, without any rate."""
    configure(sample_rate=1.0, **NO_STATS)
    with dd.span("web.request"), dd.span("child") as child:
        child.set_tag("manual.drop", None)
    found = delivered()
    assert outcome(found["web.request"]) == (-1, "-4", {})
    assert outcome(found["child"]) == (None, None, {})
    assert "_dd.p.ksr" not in found["web.request"]["meta"]


def test_manual_decision_through_opentelemetry(configure, delivered):
    """The same tag on a span of the OpenTelemetry API counts too."""
    configure(sample_rate=0.0, **NO_STATS)
    tracer = trace.get_tracer("lib")
    with tracer.start_as_current_span("root"), tracer.start_as_current_span("child") as child:
        child.set_attribute("manual.keep", True)
        assert dd.inject({})["x-datadog-sampling-priority"] == "2"
    assert {outcome(span)[0] for span in delivered()["internal"]} == {2, None}


def test_last_manual_decision_wins(configure, delivered):
    """After a decision and after headers went out, each manual call replaces the one before."""
    configure(sample_rate=0.0, **NO_STATS)
    seen = []
    with dd.span("web.request") as span:
        seen.append(dd.inject({}))
        span.keep()
        seen.append(dd.inject({}))
        dd.drop()
        seen.append(dd.inject({}))
        dd.keep()
    assert [headers["x-datadog-sampling-priority"] for headers in seen] == ["-1", "2", "-1"]
    assert "th:" not in seen[1].get("tracestate", "")
    assert outcome(delivered()["web.request"]) == (2, "-4", {})


def test_agent_rates(configure, delivered, fake_agent):
    """Case 15: rates of the Agent apply after its first answer, by service and environment, by the hash."""
    fake_agent.rates = {"service:web,env:prod": 0.25}
    configure(service="web", **NO_STATS)
    run_trace(name="before", headers=incoming(10))
    assert outcome(delivered()["before"]) == (1, "-0", {})
    run_trace(name="kept", headers=incoming(1))
    run_trace(name="dropped", headers=incoming(10))
    run_trace(name="elsewhere", headers=incoming(10), service="db")
    found = delivered()
    assert outcome(found["kept"]) == (1, "-1", {"_dd.agent_psr": 0.25})
    assert outcome(found["dropped"]) == (0, "-1", {"_dd.agent_psr": 0.25})
    assert found["kept"]["meta"]["_dd.p.ksr"] == "0.25"
    assert outcome(found["elsewhere"]) == (1, "-0", {})


def test_agent_rates_outlive_a_new_configuration(configure, delivered, fake_agent):
    """Configured again for the same Agent, the first trace follows its rates already; another Agent's begin empty."""
    fake_agent.rates = {"service:webserver,env:prod": 0.0}
    configure(**NO_STATS)
    run_trace()
    delivered()
    configure(version="2", **NO_STATS)
    run_trace()
    assert outcome(delivered()["web.request"]) == (0, "-1", {"_dd.agent_psr": 0})
    configure(agent_url=f"http://localhost:{fake_agent.port}", **NO_STATS)
    run_trace()
    assert outcome(delivered()["web.request"])[1] == "-0"


def test_odd_agent_rates(configure, delivered, fake_agent):
    """Rates that are no numbers are skipped, others clamped; a body that makes no sense changes nothing."""
    fake_agent.rates = {"service:webserver,env:prod": "often", "service:a,env:prod": None, "service:b,env:prod": -3}
    configure(**NO_STATS)
    run_trace()
    delivered()
    run_trace()
    run_trace(name="other", service="b")
    found = delivered()
    assert outcome(found["web.request"]) == (1, "-0", {})
    assert outcome(found["other"]) == (0, "-1", {"_dd.agent_psr": 0})
    fake_agent.fail("/v0.4/traces", times=1, status=200, body=b"[1")
    run_trace()
    delivered()
    run_trace(name="other", service="b")
    assert outcome(delivered()["other"])[1] == "-1"


def test_remote_rules(configure, delivered):
    """Case 16: remote rules replace local ones with a mechanism of their own; removed, the local ones are back."""
    configure(sampling_rules=R0, **NO_STATS)
    sampler = _setup._setup.parts.sampler
    rule = {"service": "webserver", "sample_rate": 0.5, "provenance": "customer"}
    sampler.update(remote_rules=parse_remote_rules([rule]))
    run_trace(headers=incoming(1))
    assert outcome(delivered()["web.request"]) == (2, "-11", {"_dd.rule_psr": 0.5})
    sampler.update()
    run_trace()
    assert outcome(delivered()["web.request"]) == (-1, "-3", {"_dd.rule_psr": 0})


def test_changed_tags_are_seen_by_rules(configure, delivered):
    """When global tags change at run time, spans carry them and rules match them."""
    configure(sampling_rules=[SamplingRule(0, tags={"team": "core"})], **NO_STATS)
    _setup._setup.parts.change_mapping(tags={"team": "core"})
    run_trace()
    found = delivered()["web.request"]
    assert (found["meta"]["team"], outcome(found)[0]) == ("core", -1)


def test_single_span_of_a_dropped_trace(configure, delivered):
    """Case 17: only the chosen span is sent; as first of its chunk it says what became of its trace."""
    configure(sampling_rules=R0, span_sampling_rules=[SpanSamplingRule(name="child", max_per_second=50)])
    with dd.span("web.request"), dd.span("child") as child:
        pass
    found = delivered()
    assert set(found) == {"child"}
    metrics, meta = found["child"]["metrics"], found["child"]["meta"]
    assert outcome(found["child"]) == (-1, "-3", {})
    assert meta["_dd.p.tid"] == f"{child.trace_id >> 64:016x}"
    assert metrics["_dd.span_sampling.mechanism"] == 8
    assert (metrics["_dd.span_sampling.rule_rate"], metrics["_dd.span_sampling.max_per_second"]) == (1, 50)


@pytest.mark.parametrize(
    ("settings", "headers", "is_marked", "priority"),
    [
        ({"sampling_rules": R1}, {}, False, 2),  # case 18
        ({"sampling_rules": R0}, {}, True, -1),
        ({"sampling_rules": R1}, incoming(priority=0), True, 0),
        ({"sampling_rules": R0}, incoming(priority=1), False, 1),
    ],
)
def test_span_rules_touch_dropped_traces_only(configure, delivered, settings, headers, is_marked, priority):
    """A span rule leaves kept traces alone, whoever kept them, and never changes the priority."""
    configure(span_sampling_rules=[SpanSamplingRule(service="web*", name="web.re?uest")], **settings, **NO_STATS)
    run_trace(headers=headers)
    found = delivered()["web.request"]
    assert ("_dd.span_sampling.mechanism" in found["metrics"]) is is_marked
    assert outcome(found)[0] == priority


def test_partial_flush(configure, delivered):
    """Case 19: the decision is made before the first chunk; every chunk's first span and the late root carry it."""
    configure(sampling_rules=R0, trace_partial_flush_min_spans=1, **NO_STATS)
    with dd.span("web.request") as root:
        with dd.span("child"):
            pass
        early = delivered()
        root.set_tag("late", "yes")
    assert outcome(early["child"]) == (-1, "-3", {})
    assert outcome(delivered()["web.request"]) == (-1, "-3", {"_dd.rule_psr": 0})


def test_manual_keep_after_a_partial_flush(configure, delivered):
    """A manual keep after a chunk left counts for the chunks that follow."""
    configure(sampling_rules=R0, trace_partial_flush_min_spans=1, **NO_STATS)
    with dd.span("web.request"):
        with dd.span("child"):
            pass
        assert outcome(delivered()["child"])[0] == -1
        dd.keep()
    assert outcome(delivered()["web.request"]) == (2, "-4", {})


def test_hash_and_threshold(configure, delivered):
    """Case 20: ids of the vectors are kept as listed, and `ot` says with which threshold."""
    configure(sampling_rules=[SamplingRule(0.5)], rate_limit=-1, **NO_STATS)
    kept = {}
    for trace_id in (
        1,
        10,
        100,
        1000,
        18444899399302180862,
        9223372036854775807,
        4611686018427387903,
        5198373796167680436,
    ):
        with dd.continue_trace(incoming(trace_id)), dd.span("web.request"):
            headers = dd.inject({})
        kept[trace_id] = headers["x-datadog-sampling-priority"] == "2"
        assert headers["tracestate"].split("ot=")[1].split(",")[0].endswith("th:8")
    assert [trace_id for trace_id, is_kept in kept.items() if is_kept] == [
        1,
        100,
        1000,
        18444899399302180862,
        9223372036854775807,
    ]
    assert all(is_kept == keeps(trace_id, 0.5) for trace_id, is_kept in kept.items())
    assert {outcome(span)[0] for span in delivered()["web.request"]} == {2, -1}


def test_two_entries_of_one_extracted_context(configure, delivered):
    """Two local roots below one extracted context share one decision."""
    configure(sampling_rules=R1, rate_limit=1, **NO_STATS)
    context = dd.extract(incoming(42))
    for name in ("first", "second"):
        dd.start_span(name, parent=context).end()
    assert [outcome(span)[0] for span in delivered().values()] == [2, 2]


def test_wrong_rule_in_code(configure, delivered):
    """A rule in code that cannot be used raises, naming argument and position, and leaves all as it was."""
    configure(sampling_rules=R0, **NO_STATS)
    for settings, message in (
        ({"sampling_rules": [{"sample_rate": 1}, {"sample_rate": "often"}]}, r"sampling_rules\[1\]: sample_rate"),
        ({"sampling_rules": [{"sample_rate": 1, "tags": 5}]}, r"sampling_rules\[0\]: tags"),
        ({"span_sampling_rules": [{"sample_rate": 1}]}, r"span_sampling_rules\[0\]: .*service or a name"),
    ):
        with pytest.raises(dd.exceptions.ConfigurationError, match=message):
            configure(**settings)
    run_trace()
    assert outcome(delivered()["web.request"])[0] == -1


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("DD_TRACE_SAMPLING_RULES", '[{"service": "x"}, {"sample_rate": 0}]', "DD_TRACE_SAMPLING_RULES[0] is skipped"),
        ("DD_TRACE_SAMPLING_RULES", '[{"sample_rate": 0},', "DD_TRACE_SAMPLING_RULES"),
        ("DD_TRACE_SAMPLING_RULES", '{"sample_rate": 0}', "DD_TRACE_SAMPLING_RULES"),
        ("DD_TRACE_SAMPLE_RATE", "1.5", "DD_TRACE_SAMPLE_RATE"),
        ("DD_TRACE_SAMPLE_RATE", "nan", "DD_TRACE_SAMPLE_RATE"),
        ("DD_TRACE_RATE_LIMIT", "many", "DD_TRACE_RATE_LIMIT"),
        ("DD_SPAN_SAMPLING_RULES", '[{"name": "a"}, 7]', "DD_SPAN_SAMPLING_RULES[1] is skipped"),
        ("DD_SPAN_SAMPLING_RULES_FILE", "/does/not/exist", "DD_SPAN_SAMPLING_RULES_FILE"),
    ],
)
def test_wrong_environment(configure, delivered, caplog, variable, text, message):
    """A value of the environment that cannot be used costs one message that names it, and never the traces."""
    configure(**{variable: text}, **NO_STATS)
    (record,) = [each for each in caplog.records if each.levelname in ("WARNING", "ERROR")]
    assert message in record.getMessage()
    run_trace()
    assert outcome(delivered()["web.request"])[0] == (-1 if "[0] is skipped" in message else 1)
