"""Reading rules (spec/sampling.md §6.2, §13, §14.1)."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual.exceptions import ConfigurationError, RemoteConfigError
from ddtrace_manual.sampling import (
    SamplingRule,
    SpanSamplingRule,
    parse_remote_rate,
    parse_remote_rules,
    parse_sampling_rules,
    parse_span_sampling_rules,
)

_GOOD = SamplingRule(0.5, service="web")
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["service", "name", "resource", "tags", "sample_rate", "max_per_second", "provenance", "x"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


def test_a_full_rule():
    """All fields of the JSON form are read; unknown ones and a claimed provenance are ignored."""
    text = """[{"service":"web*","name":"http.server.request","resource":"GET /health*","tags":{"env":"prod","n":5},
               "sample_rate":"0.1","max_per_second":5,"target_span":"root","provenance":"customer"}]"""
    assert parse_sampling_rules(text) == (
        SamplingRule(
            0.1,
            service="web*",
            name="http.server.request",
            resource="GET /health*",
            tags={"env": "prod", "n": "5"},
        ),
    )


@pytest.mark.parametrize(
    ("element", "is_logged"),
    [
        ({"service": "x"}, True),
        ({"sample_rate": "often"}, True),
        ({"sample_rate": [1]}, True),
        ({"sample_rate": None}, True),
        ({"sample_rate": 1, "service": 5}, True),
        ({"sample_rate": 1, "tags": "a"}, True),
        (5, True),
        ("text", True),
        (None, True),
    ],
)
def test_bad_elements_are_skipped(element, is_logged, caplog):
    """An element that cannot be used is skipped with an error line, the others count; strict reading raises."""
    caplog.set_level(logging.ERROR, "ddtrace_manual")
    elements = [element, {"sample_rate": 0.5, "service": "web"}]
    assert parse_sampling_rules(json.dumps(elements)) == (_GOOD,)
    assert bool(caplog.records) is is_logged
    with pytest.raises(ConfigurationError):
        parse_sampling_rules(elements, strict=True)


@pytest.mark.parametrize(
    ("parse", "name"),
    [(parse_sampling_rules, "DD_TRACE_SAMPLING_RULES"), (parse_span_sampling_rules, "DD_SPAN_SAMPLING_RULES")],
)
def test_messages_name_variable_and_position(parse, name, caplog):
    """A line about a wrong element says where it stands; strict reading raises the same with the argument's name."""
    elements = [{"sample_rate": 1, "service": "a"}, {"sample_rate": "x", "service": "a"}]
    parse(elements)
    assert caplog.messages == [f"{name}[1] is skipped: sample_rate: 'x' is not a number"]
    with pytest.raises(ConfigurationError, match=r"^rules\[1\]: sample_rate: 'x' is not a number$"):
        parse(elements, strict=True, source="rules")
    caplog.clear()
    parse("[1")
    assert caplog.messages[0].startswith(f"{name} is ignored: not JSON (")


@pytest.mark.parametrize("text", ["not json", "{}", "5", '"[]"', "[" * 100_000, "{", "null]"])
def test_no_list_gives_no_rules(text, caplog):
    """What is not a JSON array gives no rules and an error line; strict reading raises."""
    caplog.set_level(logging.ERROR, "ddtrace_manual")
    assert parse_sampling_rules(text) == ()
    assert caplog.records
    with pytest.raises(ConfigurationError):
        parse_sampling_rules(text, strict=True)


@pytest.mark.parametrize("value", [None, "", "  ", "[]", [], (), "null"])
def test_nothing_gives_no_rules_silently(value, caplog):
    """No value, an empty one and an empty array mean no rules and need no line."""
    caplog.set_level(logging.DEBUG, "ddtrace_manual")
    assert parse_sampling_rules(value, strict=True) == ()
    assert not caplog.records


def test_empty_and_null_fields_are_no_constraint():
    """An empty text or null in a field constrains nothing."""
    rules = parse_sampling_rules([{"sample_rate": 2, "service": "", "name": None, "resource": "", "tags": None}])
    assert rules == (SamplingRule(1.0),)
    assert rules[0].matches_everything


@pytest.mark.parametrize(
    ("parse", "name"),
    [(parse_sampling_rules, "DD_TRACE_SAMPLING_RULES"), (parse_span_sampling_rules, "DD_SPAN_SAMPLING_RULES")],
)
@pytest.mark.parametrize(("rate", "usable"), [(2, 1.0), ("1.5", 1.0), (-0.5, 0.0), (1e300, 1.0)])
def test_rates_out_of_range(parse, name, rate, usable, caplog):
    """In the environment the nearer end counts, never silently; in code it is an error, as for `sample_rate`."""
    caplog.set_level(logging.WARNING, "ddtrace_manual")
    elements = [{"service": "a", "sample_rate": 1}, {"service": "b", "sample_rate": rate}]
    assert [rule.sample_rate for rule in parse(json.dumps(elements))] == [1.0, usable]
    assert caplog.messages == [f"{name}[1]: sample_rate {rate!r} is not from 0 to 1; {usable:g} counts."]
    with pytest.raises(ConfigurationError, match=r"^sampling_rules\[1\]: sample_rate: .* is not from 0 to 1$"):
        parse(elements, strict=True, source="sampling_rules")


def test_rules_from_code_pass_through():
    """Lists given in code may mix rules and mappings."""
    assert parse_sampling_rules([_GOOD, {"sample_rate": 0}], strict=True) == (_GOOD, SamplingRule(0))
    rule = SpanSamplingRule(name="a")
    assert parse_span_sampling_rules((rule,), strict=True) == (rule,)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({"service": "a*"}, SpanSamplingRule(service="a*")),
        (
            {"name": "n", "sample_rate": "0.5", "max_per_second": "50"},
            SpanSamplingRule(name="n", sample_rate=0.5, max_per_second=50),
        ),
        ({"service": "a", "sample_rate": 7}, SpanSamplingRule(service="a", sample_rate=1.0)),
        ({"service": "[a]", "resource": "ignored"}, SpanSamplingRule(service="[a]")),
        ({"service": "a", "max_per_second": 0}, SpanSamplingRule(service="a", max_per_second=0)),
        ({"service": ""}, None),
        ({"sample_rate": 1}, None),
        ({"service": "a", "sample_rate": "x"}, None),
        ({"service": "a", "max_per_second": {}}, None),
    ],
)
def test_span_rules(element, expected, caplog):
    """Span rules need a service or a name; the rate defaults to 1; unusable ones are skipped."""
    caplog.set_level(logging.ERROR, "ddtrace_manual")
    assert parse_span_sampling_rules(json.dumps([element])) == (() if expected is None else (expected,))
    assert bool(caplog.records) is (expected is None)


@given(_JSON)
def test_any_json_is_survived(document):
    """No document makes reading raise, and every rule that comes out is usable."""
    text = json.dumps([document])
    for rule in (*parse_sampling_rules(text), *parse_span_sampling_rules(text)):
        assert 0.0 <= rule.sample_rate <= 1.0
    try:
        remote = parse_remote_rules([document])
    except RemoteConfigError:
        return
    assert all(not rule.matches_everything for rule in remote)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (
            {"service": "s", "sample_rate": 0.5, "provenance": "customer", "tags": [{"key": "k", "value_glob": "v*"}]},
            SamplingRule(0.5, service="s", tags={"k": "v*"}, provenance="customer"),
        ),
        (
            {"sample_rate": 1, "provenance": "dynamic", "tags": {"k": "v"}},
            SamplingRule(1, tags={"k": "v"}, provenance="dynamic"),
        ),
        ({"name": "n", "sample_rate": 0, "provenance": "other"}, SamplingRule(0, name="n")),
        (
            {"resource": "*", "sample_rate": 1, "provenance": "customer"},
            SamplingRule(1, resource="*", provenance="customer"),
        ),
        ({"service": "s", "provenance": "customer"}, None),
        ({"service": "s", "sample_rate": 1}, None),
        ({"sample_rate": 1, "provenance": "customer"}, None),
        ({"service": "", "sample_rate": 1, "provenance": "customer"}, None),
        ({"service": "s", "sample_rate": 1, "provenance": "customer", "tags": [{"key": "k"}]}, None),
        ({"service": "s", "sample_rate": 1, "provenance": "customer", "tags": [{"value_glob": "k"}]}, None),
        ({"service": "s", "sample_rate": 1, "provenance": "customer", "tags": ["k"]}, None),
        ({"service": "s", "sample_rate": 1, "provenance": "customer", "tags": 5}, None),
        (5, None),
    ],
)
def test_remote_rules(element, expected):
    """Remote rules need a rate, a provenance and a matcher; one that lacks something is dropped, others apply."""
    good = {"service": "good", "sample_rate": 1, "provenance": "dynamic"}
    rules = parse_remote_rules([element, good])
    assert rules[:-1] == (() if expected is None else (expected,))
    assert rules[-1].service == "good"


@pytest.mark.parametrize(
    "value",
    [
        {},
        "[]",
        [{"service": "s", "sample_rate": 1.5, "provenance": "customer"}],
        [{"service": "s", "sample_rate": "1"}],
    ],
)
def test_remote_errors(value):
    """No array, or a rate that is no number from 0 to 1, puts the whole file in error."""
    with pytest.raises(RemoteConfigError):
        parse_remote_rules(value)


@pytest.mark.parametrize(("value", "expected"), [(None, None), (0, 0.0), (0.5, 0.5), (1, 1.0)])
def test_remote_rate(value, expected):
    """A remote rate is a number from 0 to 1, or null for no override."""
    assert parse_remote_rate(value) == expected
    assert parse_remote_rules(None) == ()


@pytest.mark.parametrize("value", [True, "0.5", -0.1, 1.1, float("nan"), []])
def test_bad_remote_rate(value):
    """Anything else is an error, so that nothing of the file is applied."""
    with pytest.raises(RemoteConfigError):
        parse_remote_rate(value)
