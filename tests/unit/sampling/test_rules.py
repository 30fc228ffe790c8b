"""Rules: their public form and matching (spec/sampling.md §6.2, §7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._model import SpanRecord
from ddtrace_manual.exceptions import ConfigurationError
from ddtrace_manual.sampling import SamplingRule, SpanSamplingRule
from ddtrace_manual.sampling._rules import CompiledRule, effective_rules


def _matches(rule, view, values=None, operation_name=None):
    span = SpanRecord()
    span.values = values
    span.operation_name = operation_name
    return CompiledRule(rule).matches(span, view)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"service": "web*"}, True),
        ({"service": "db*"}, False),
        ({"name": "WEB.request"}, True),
        ({"name": "http.*"}, False),
        ({"resource": "get /users"}, True),
        ({"resource": "GET /users/"}, False),
        ({"service": "", "name": None}, True),
        ({"service": "*", "name": "**", "resource": "*"}, True),
        ({"service": "webserver", "name": "nope"}, False),
        ({"tags": {"team": "co*"}}, True),
        ({"tags": {"team": "core", "absent": "*"}}, False),
        ({"tags": {"Team": "core"}}, False),
        ({"tags": {"te*": "core"}}, False),
        ({"tags": {"team": None}}, True),
        ({"tags": {"blank": ""}}, True),
    ],
)
def test_all_given_fields_must_match(view, fields, expected):
    """A rule matches when every field that is given matches; keys of tags are exact."""
    assert _matches(SamplingRule(1, **fields), view, {"team": "core", "blank": ""}) is expected


@pytest.mark.parametrize(
    ("value", "matching", "others"),
    [
        (20.0, ["20", "2*", "2?", "*"], ["20.0", "2"]),
        (20.1, ["*", "**", "***"], ["20", "2*", "2?", "20.1", "????"]),
        (-100, ["-100", "-1*", "*"], ["100"]),
        (-0.5, ["*", "***"], ["-0.5", "-*"]),
        (0, ["0", "?", "**"], ["", "00"]),
        (5, ["5", "*", "***"], ["6"]),
        (1000, ["1000", "1*", "*"], ["10"]),
        (True, ["true", "TRUE", "t*"], ["1", "True?"]),
        (False, ["false"], ["0"]),
        ("prod", ["PROD", "p*"], ["staging"]),
        pytest.param(10**5000, ["*"], ["1*"], id="huge"),
        (["a"], ["*"], ["a", "a*"]),
        (None, [], ["*", "", "None"]),
    ],
)
def test_tag_values(view, value, matching, others):
    """Whole numbers compare as decimal integers, other floats only with stars, an absent tag with nothing."""
    for pattern in matching:
        assert _matches(SamplingRule(1, tags={"tag": pattern}), view, {"tag": value}), pattern
    for pattern in others:
        assert not _matches(SamplingRule(1, tags={"tag": pattern}), view, {"tag": value}), pattern


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SamplingRule("often"), "sample_rate"),
        (lambda: SamplingRule(None), "sample_rate"),
        (lambda: SamplingRule(True), "sample_rate"),
        (lambda: SamplingRule(float("nan")), "sample_rate"),
        (lambda: SamplingRule(1.5), "sample_rate: 1.5 is not from 0 to 1"),
        (lambda: SpanSamplingRule(service="a", sample_rate=-0.1), "sample_rate: -0.1 is not from 0 to 1"),
        (lambda: SamplingRule(1, service=5), "service"),
        (lambda: SamplingRule(1, tags=["a"]), "tags"),
        (lambda: SamplingRule(1, tags={1: "a"}), "tags"),
        (lambda: SamplingRule(1, provenance="me"), "provenance"),
        (SpanSamplingRule, "service or a name"),
        (lambda: SpanSamplingRule(service="", name=""), "service or a name"),
        (lambda: SpanSamplingRule(service="a", max_per_second="x"), "max_per_second"),
    ],
)
def test_bad_values_in_code_raise(make, message):
    """A rule made in code with an unusable value raises at once and names the field."""
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_rules_are_values():
    """Rules compare by value, can be hashed and cannot be changed."""
    rule = SamplingRule(1, service="web", tags={"n": 20.0, "b": True, "s": "x*"})
    assert rule.sample_rate == 1.0
    assert rule.tags == {"n": "20", "b": "true", "s": "x*"}
    assert rule == SamplingRule("1.0", service="web", tags={"n": "20", "b": "true", "s": "x*"})
    assert len({rule, SamplingRule(1, service="web", tags=rule.tags)}) == 1
    with pytest.raises(AttributeError):
        rule.service = "db"
    assert SpanSamplingRule(service="a", max_per_second=2.0).max_per_second == 2
    assert SpanSamplingRule(service="a", max_per_second=2.5).max_per_second == 2.5


def test_to_dict():
    """The JSON form of a rule leaves out what is not constrained."""
    assert SamplingRule(0.5).to_dict() == {"sample_rate": 0.5}
    full = SamplingRule(0, service="s", name="n", resource="r", tags={"k": "v"}, provenance="dynamic")
    assert full.to_dict() == {
        "sample_rate": 0.0,
        "service": "s",
        "name": "n",
        "resource": "r",
        "tags": {"k": "v"},
        "provenance": "dynamic",
    }


@pytest.mark.parametrize(
    ("remote_rules", "remote_rate", "local_rate", "expected"),
    [
        (None, None, None, ["local"]),
        ((), None, 0.1, ["local", 0.1]),
        (None, 0.5, None, ["local", 0.5]),
        (None, 0.5, 0.1, ["local", 0.5]),
        (("r",), None, None, ["r"]),
        (("r",), None, 0.1, ["r", 0.1]),
        (("r",), 0.5, 0.1, ["r", 0.5]),
        (None, 0.0, 0.1, ["local", 0.0]),
    ],
)
def test_effective_rules(remote_rules, remote_rate, local_rate, expected):
    """Remote rules replace local ones, a remote rate replaces the local catch-all."""
    remote = None if remote_rules is None else [SamplingRule(1, service=name) for name in remote_rules]
    rules = effective_rules([SamplingRule(1, service="local")], local_rate, remote, remote_rate)
    assert [rule.service or rule.sample_rate for rule in rules] == expected


@given(st.lists(st.sampled_from(["customer", "dynamic", "default"]), max_size=8))
def test_rules_are_sorted_stably_by_provenance(provenances):
    """Customer rules come first, then dynamic ones, then the rest, each in the order given."""
    given_rules = [SamplingRule(1, service=str(i), provenance=p) for i, p in enumerate(provenances)]
    rules = effective_rules([], None, given_rules, None)
    wanted = [rule for p in ("customer", "dynamic", "default") for rule in given_rules if rule.provenance == p]
    assert list(rules) == wanted
