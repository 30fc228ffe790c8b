"""Sampling decisions in words."""

import pytest

from ddtrace_manual._receiver.decisions import explain_decision
from ddtrace_manual.sampling import SamplingRule
from ddtrace_manual.sampling._rules import CompiledRule


@pytest.mark.parametrize(
    ("trace_id", "meta", "metrics", "kept", "words"),
    [
        (1, {}, {}, None, ["carries a sampling priority"]),
        (1, {"_dd.p.dm": "-0"}, {"_sampling_priority_v1": 1}, True, ["Priority 1", "Mechanism 0", "default keeps"]),
        (1, {"_dd.p.dm": "-1", "_dd.p.ksr": "1"}, {"_sampling_priority_v1": 1, "_dd.agent_psr": 1}, True, ["Agent's rate is 100 %", "within"]),
        (1, {"_dd.p.dm": "-3"}, {"_sampling_priority_v1": 2, "_dd.rule_psr": 0.25, "_dd.limit_psr": 0.8}, True, ["DD_TRACE_SAMPLING_RULES", "rate 25 %", "80 %"]),
        (1, {"_dd.p.dm": "-3"}, {"_sampling_priority_v1": -1, "_dd.rule_psr": 1}, False, ["rate limit (DD_TRACE_RATE_LIMIT) turned"]),
        (1, {"_dd.p.dm": "-3"}, {"_sampling_priority_v1": -1, "_dd.rule_psr": 0.000001}, False, ["0.0001 %", "outside that share"]),
        (1, {"_dd.p.dm": "-3"}, {"_sampling_priority_v1": 2, "_dd.rule_psr": 0.000001}, True, ["changed afterwards"]),
        (1, {"_dd.p.dm": "-4"}, {"_sampling_priority_v1": -1}, False, ["program itself"]),
        (1, {"_dd.p.dm": "-11"}, {"_sampling_priority_v1": 2, "_dd.rule_psr": 1}, True, ["remote configuration"]),
        (1, {"_dd.p.dm": "-12"}, {"_sampling_priority_v1": 2, "_dd.rule_psr": 1}, True, ["adaptive"]),
        (1, {"_dd.p.dm": "-99", "_dd.p.ksr": "0.5"}, {"_sampling_priority_v1": 5}, True, ["not known here", "The rate was 0.5"]),
        (1, {}, {"_sampling_priority_v1": 0}, False, ["_dd.p.dm is missing", "decided automatically"]),
        (1, {"_dd.p.dm": "-3"}, {"_sampling_priority_v1": -5, "_dd.span_sampling.mechanism": 8, "_dd.span_sampling.rule_rate": 0.5}, False, ["DD_SPAN_SAMPLING_RULES: 1 span, at 50 %"]),
    ],
)  # fmt: skip
def test_explanations(make_span, trace_id, meta, metrics, kept, words):
    decision = explain_decision([make_span(trace_id, meta=meta, metrics=metrics)])
    text = " ".join(decision["lines"])
    assert decision["kept"] is kept
    assert all(word in text for word in words), text


def test_the_decision_of_a_caller_that_is_not_here(make_span):
    """A trace that began elsewhere: the headers brought the priority, and perhaps who decided."""
    inherited = make_span(1, 2, 99, metrics={"_sampling_priority_v1": 1})
    assert "came with the headers of the caller" in " ".join(explain_decision([inherited])["lines"])
    known = make_span(1, 2, 99, meta={"_dd.p.dm": "-3"}, metrics={"_sampling_priority_v1": 1})
    assert "not among the spans received" in " ".join(explain_decision([known])["lines"])


def test_values_on_another_span_count(make_span):
    """The first span of a part carries the decision when the root comes later."""
    child = make_span(1, 3, 2, start=5_000, meta={"_dd.p.dm": "-4"}, metrics={"_sampling_priority_v1": 2})
    decision = explain_decision([child, make_span(1, 2)])
    assert (decision["priority"], decision["mechanism"]) == (2, "4")


RULES = [
    CompiledRule(SamplingRule(0.0, service="other")),
    CompiledRule(SamplingRule(1.0, resource="R")),
    CompiledRule(SamplingRule(0.5)),
]


@pytest.mark.parametrize(
    ("meta", "rate", "resource", "expected"),
    [
        ({"_dd.p.dm": "-3"}, 1.0, "r", 'rule 2 matches: {"sample_rate": 1.0, "resource": "R"}'),
        ({"_dd.p.dm": "-3"}, 0.5, "x", "the last rule matches, which is for everything"),
        ({"_dd.p.dm": "-3"}, 0.7, "r", None),  # the program had other rules
        ({"_dd.p.dm": "-11"}, 1.0, "r", None),
    ],
)
def test_which_rule_it_was(make_span, meta, rate, resource, expected):
    """No span says; but rules of the environment that match and have that rate tell."""
    metrics = {"_sampling_priority_v1": 2, "_dd.rule_psr": rate}
    text = " ".join(explain_decision([make_span(1, meta=meta, metrics=metrics, resource=resource)], RULES)["lines"])
    assert expected in text if expected else "Of the settings here" not in text


def test_no_spans():
    assert explain_decision([])["lines"] == ["No spans."]
