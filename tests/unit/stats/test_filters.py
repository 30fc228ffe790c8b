"""Trace filters (spec/trace-export.md §9.3)."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._agent.info import AgentInfo
from ddtrace_manual._stats import NO_FILTERS, TraceFilters
from ddtrace_manual._stats.filters import normalize_env, root_of


def _rejects(make_span, meta, **fields):
    filters = TraceFilters.from_info(AgentInfo(**{name: tuple(value) for name, value in fields.items()}))
    return filters.rejects([make_span(meta=meta, resource=meta.get("resource", "GET /"))])


@pytest.mark.parametrize(
    ("fields", "meta", "expected"),
    [
        ({"filter_tags_reject": ["a:1"]}, {"a": "1"}, True),
        ({"filter_tags_reject": ["a:1"]}, {"a": "11"}, False),
        ({"filter_tags_reject": [" a : 1 "]}, {"a": "1"}, True),
        ({"filter_tags_reject": ["a"]}, {"a": ""}, True),
        ({"filter_tags_reject": ["a:"]}, {"a": "x"}, True),
        ({"filter_tags_reject": ["a"]}, {}, False),
        ({"filter_tags_reject": ["a:1:2"]}, {"a": "1:2"}, True),
        ({"filter_tags_reject": ["b:1", "a:1"]}, {"a": "1"}, True),
        ({"filter_tags_regex_reject": ["a:^x+$"]}, {"a": "xx"}, True),
        ({"filter_tags_regex_reject": ["a:x"]}, {"a": "axb"}, True),
        ({"filter_tags_regex_reject": ["a:x"]}, {}, False),
        ({"filter_tags_regex_reject": ["a"]}, {"a": "anything"}, True),
        ({"filter_tags_regex_reject": ["a:(", "b:1"]}, {"a": "(", "b": "2"}, False),
        ({"filter_tags_require": ["a:1", "b"]}, {"a": "1", "b": "x"}, False),
        ({"filter_tags_require": ["a:1", "b"]}, {"a": "1"}, True),
        ({"filter_tags_require": ["a:1"]}, {"a": "2"}, True),
        ({"filter_tags_regex_require": ["a:^1"]}, {"a": "12"}, False),
        ({"filter_tags_regex_require": ["a:^1"]}, {"a": "21"}, True),
        ({"filter_tags_require": ["a:1"], "filter_tags_reject": ["b"]}, {"a": "1", "b": "x"}, True),
        ({"filter_tags_reject": [":1"]}, {"": "1"}, False),
        ({"ignore_resources": ["^GET /health"]}, {"resource": "GET /healthz"}, True),
        ({"ignore_resources": ["health"]}, {"resource": "GET /"}, False),
        ({"ignore_resources": ["web"]}, {"resource": ""}, True),
        ({"ignore_resources": ["("]}, {}, False),
        ({"filter_tags_reject": ["http.status_code:999"]}, {"http.status_code": "999"}, False),
        ({"filter_tags_reject": ["http.status_code:200"]}, {"http.status_code": "200"}, True),
        ({"filter_tags_reject": ["http.status_code"]}, {"http.status_code": "ok"}, False),
        ({"filter_tags_require": ["http.status_code"]}, {"http.status_code": "99"}, True),
        ({"filter_tags_reject": ["env:prod_env"]}, {"env": "Prod Env"}, True),
        ({}, {"a": "1"}, False),
    ],
)
def test_filters(make_span, fields, meta, expected, caplog):
    """Reject any, require all, ignore resources; values are looked at in the Agent's normal form."""
    caplog.set_level(logging.CRITICAL, "ddtrace_manual")
    assert _rejects(make_span, meta, **fields) is expected


@pytest.mark.parametrize("fields", [{"filter_tags_reject": (":x",)}, {"ignore_resources": ("(",)}])
def test_unusable_entries_are_logged(fields, caplog):
    """An entry without a key, or with a broken expression, is skipped with an error line."""
    caplog.set_level(logging.ERROR, "ddtrace_manual")
    assert not TraceFilters.from_info(AgentInfo(**fields))
    assert len(caplog.records) == 1


def test_no_filters(make_span):
    """Without filters, and for an empty chunk, nothing is rejected."""
    assert not NO_FILTERS
    assert not NO_FILTERS.rejects([make_span()])
    filters = TraceFilters.from_info(AgentInfo(filter_tags_require=("a",)))
    assert filters
    assert not filters.rejects([])


@pytest.mark.parametrize(
    ("spans", "root"),
    [
        ([(1, 0), (2, 1)], 1),
        ([(1, 0), (2, 0), (3, 1)], 2),
        ([(2, 9), (3, 2)], 2),
        ([(2, 9), (3, 8), (4, 3)], 3),
        ([(1, 2), (2, 1)], 2),
    ],
)
def test_root_of(make_span, spans, root):
    """The last span without a parent, else with a parent elsewhere, else the last of all."""
    chunk = [make_span(span_id=span_id, parent_id=parent_id) for span_id, parent_id in spans]
    assert root_of(chunk)["span_id"] == root


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ("Prod Env", "prod_env"),
        ("prod", "prod"),
        ("a  !! b", "a_b"),
        ("1-_prod_", "prod"),
        ("a__b", "a_b"),
        (":x.y/z-1", ":x.y/z-1"),
        ("ÄÖ 1", "äö_1"),
        ("", ""),
        ("123", ""),
        ("a" * 300, "a" * 200),
        ("a" * 199 + " b", "a" * 199),
    ],
)
def test_normalize_env(env, expected):
    """Environments are compared as the Agent writes them."""
    assert normalize_env(env) == expected


@given(st.text(max_size=250))
def test_normalize_env_is_stable(env):
    """Normalising twice changes nothing more, and the bound holds."""
    once = normalize_env(env)
    assert len(once) <= 200
    assert normalize_env(once) == once
