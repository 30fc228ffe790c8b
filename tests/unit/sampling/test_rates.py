"""Rates and the Agent's table (spec/sampling.md §4, §11, §12)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual.sampling import ServiceRates, format_ksr, keeps
from ddtrace_manual.sampling._rates import Rate, is_number

_IDS = st.integers(1, (1 << 128) - 1)
_RATES = st.floats(0, 1)


@given(_IDS, _RATES, _RATES)
def test_a_higher_rate_keeps_what_a_lower_one_keeps(trace_id, one, other):
    """Sampling is deterministic per id and monotonic in the rate, and only the low half of the id counts."""
    low, high = sorted((one, other))
    assert keeps(trace_id, low) is Rate(low).keeps(trace_id) is keeps(trace_id & (1 << 64) - 1, low)
    if keeps(trace_id, low):
        assert keeps(trace_id, high)


@given(st.integers(0, 1_000_000), st.integers(1, 9))
def test_ksr_agrees_with_decimal_arithmetic(millionths, tenth):
    """The text is the decimal rounding of the rate, halves up."""
    rate = millionths / 1_000_000 + tenth / 10_000_000
    if rate > 1 or tenth == 5:
        return
    exact = Decimal(rate).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    assert Decimal(format_ksr(rate)) == exact
    assert "e" not in format_ksr(rate).lower()


@pytest.mark.parametrize(
    ("service", "env", "rate"),
    [
        ("web", "prod", 0.25),
        ("Web", "Prod", 0.25),
        ("Exact", "", 0.75),
        ("other", "prod", 0.5),
        ("web", "", 0.5),
    ],
)
def test_lookup(service, env, rate):
    """The exact pair wins, then its normalised form, then the default entry."""
    rates = ServiceRates()
    rates.update({"service:,env:": 0.5, "service:web,env:prod": 0.25, "service:Exact,env:": 0.75})
    found = rates.lookup(service, env)
    assert found is not None
    assert found.value == rate


def test_update_replaces_the_whole_table():
    """An update forgets earlier entries, an empty one forgets all, and what is no table changes nothing."""
    rates = ServiceRates()
    assert rates.lookup("web", "") is None
    rates.update({"service:web,env:": 0.1})
    rates.update(None)
    rates.update(["service:,env:"])
    assert rates.lookup("web", "").value == 0.1
    assert rates.lookup("other", "") is None
    rates.update({"service:other,env:": 0.2})
    assert rates.lookup("web", "") is None
    rates.update({})
    assert rates.lookup("other", "") is None


def test_update_clamps_and_skips():
    """Numbers outside 0-1 are clamped, what is no finite number or no text key is skipped."""
    rates = ServiceRates()
    rates.update({"a": 7, "b": -1, "c": True, "d": "0.5", "e": float("nan"), "f": None, 5: 0.5, "g": 0.5, "h": 10**400})
    assert {key: rate.value for key, rate in rates.table.items()} == {"a": 1.0, "b": 0.0, "g": 0.5}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, True), (0.5, True), (True, False), ("1", False), (None, False), (float("inf"), False), (10**400, False)],
)
def test_is_number(value, expected):
    """Only finite numbers that fit a float are numbers."""
    assert is_number(value) is expected


def test_rate_shows_its_text():
    """The representation is the propagated text."""
    assert repr(Rate(0.25)) == "Rate(0.25)"
