"""Manual requests in the values of a span (spec/sampling.md §9)."""

from __future__ import annotations

import pytest

from ddtrace_manual._model import SpanRecord
from ddtrace_manual.sampling import manual_request

_IGNORED = [False, "false", 0, 0.0, "0"]
_COUNTED = [True, None, "", "1", 1, "true", "False", b"0", [], 0.5]


@pytest.mark.parametrize("value", _COUNTED)
def test_any_value_counts(value):
    """Every value asks, `None` and the empty text included."""
    assert _request({"manual.keep": value}) is True
    assert _request({"manual.drop": value}) is False


@pytest.mark.parametrize("value", _IGNORED)
def test_false_is_ignored(value):
    """A computed flag that is false asks for nothing."""
    assert _request({"manual.keep": value}) is None
    assert _request({"manual.drop": value}) is None
    assert _request({"manual.drop": True, "manual.keep": value}) is False


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (None, None),
        ({}, None),
        ({"a": 1}, None),
        ({"manual.keep": 1, "manual.drop": 1}, False),
        ({"manual.drop": 1, "manual.keep": 1}, True),
        ({"sampling.priority": 2}, True),
        ({"sampling.priority": 0.5}, True),
        ({"sampling.priority": 0}, False),
        ({"sampling.priority": -1}, False),
        ({"sampling.priority": "1"}, None),
        ({"sampling.priority": True}, None),
        ({"sampling.priority": float("nan")}, None),
        ({"manual.drop": 1, "sampling.priority": 1}, False),
    ],
)
def test_precedence(values, expected):
    """The later of both wins; a numeric `sampling.priority` counts only without them."""
    assert _request(values) is expected


def _request(values):
    span = SpanRecord()
    span.values = values
    return manual_request(span)
