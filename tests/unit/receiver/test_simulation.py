"""What sampling rules would keep of recorded traces."""

import pytest

import ddtrace_manual as dd
from ddtrace_manual._receiver import clean_span, simulate
from ddtrace_manual.sampling import SamplingRule, keeps
from ddtrace_manual.testing import SpanRecorder

SECOND = 1_000_000_000


def test_the_first_matching_rule_decides_by_the_trace_id(make_span):
    traces = [
        [make_span(trace_id, 1, service="a" if trace_id % 2 else "b", resource="r")] for trace_id in range(1, 401)
    ]
    rules = [SamplingRule(0.25, service="A"), SamplingRule(0.0, resource="?", name="n"), SamplingRule(1.0)]
    report = simulate(traces, rules, rate_limit=-1)
    expected = sum(keeps(trace_id, 0.25) for trace_id in range(1, 401, 2))
    assert [(row["traces"], row["kept"]) for row in report["rules"]] == [(200, expected), (200, 0), (0, 0)]
    assert report["total"] == {
        "traces": 400,
        "kept": expected,
        "rate": expected / 400,
        "recorded_kept": 400,
        "limited": 0,
    }
    assert {(row["service"], row["resource"]): row["kept"] for row in report["resources"]} == {
        ("a", "r"): expected,
        ("b", "r"): 0,
    }


def test_tags_and_numbers_match(make_span):
    traces = [[make_span(1, meta={"env": "prod"}, metrics={"http.status_code": 500.0})], [make_span(2)]]
    rules = [SamplingRule(0.0, tags={"env": "pr*", "http.status_code": "5??"})]
    report = simulate(traces, rules)
    assert [(row["rule"], row["traces"], row["kept"]) for row in report["rules"]] == [
        (rules[0].to_dict(), 1, 0),
        ("no rule: kept", 1, 1),
    ]


def test_the_rate_limit_uses_the_start_times(make_span):
    """Ten traces in one second, then one much later."""
    times = [number * SECOND // 100 for number in range(10)] + [100 * SECOND]
    traces = [[make_span(number + 1, start=SECOND + at)] for number, at in enumerate(times)]
    total = simulate(traces, [SamplingRule(1.0)], rate_limit=3)["total"]
    assert (total["kept"], total["limited"]) == (4, 7)


def test_decisions_by_hand_stay(make_span):
    kept = make_span(1, meta={"_dd.p.dm": "-4"}, metrics={"_sampling_priority_v1": 2})
    dropped = make_span(2, meta={"_dd.p.dm": "-4"}, metrics={"_sampling_priority_v1": -1})
    report = simulate([[kept], [dropped]], [SamplingRule(0.0)])
    assert report["rules"][-1]["rule"] == "decided by hand"
    assert (report["total"]["kept"], report["total"]["recorded_kept"]) == (1, 1)


def test_only_the_local_root_is_looked_at(make_span):
    traces = [[make_span(1, 3, 2, service="inner", start=2_000), make_span(1, 2, 77, service="outer")]]
    assert simulate(traces, [SamplingRule(0.0, service="inner")])["total"]["kept"] == 1
    assert simulate(traces, [SamplingRule(0.0, service="outer")])["total"]["kept"] == 0


def test_many_places_are_summed_up(make_span):
    traces = [[make_span(number, resource=str(number))] for number in range(1, 1200)]
    report = simulate(traces, [])
    assert len(report["resources"]) == 1001
    assert report["resources"][0]["service"] == "(others)"
    assert report["resources"][0]["traces"] == 199


@pytest.mark.parametrize("rate", [0.3])
def test_the_answer_is_that_of_the_tracer(rate):
    """The same traces, sampled by the library with these rules."""
    rules = [{"service": "web", "resource": "GET *", "sample_rate": rate}]
    with SpanRecorder(trace_sampling_rules=rules, service="web", trace_rate_limit=-1) as recorder:
        for number in range(60):
            with dd.span("request", resource=f"GET /{number}"):
                pass
        traces = [[clean_span(span) for span in chunk] for chunk in recorder.payload()]
    total = simulate(traces, [SamplingRule(rate, service="web", resource="GET *")], rate_limit=-1)["total"]
    assert total["kept"] == total["recorded_kept"]
    assert total["traces"] == 60
