"""Ranges of numbers, wherever their ends are."""

from __future__ import annotations

import pytest

from ddtrace_manual.config._kinds import integer, number
from ddtrace_manual.config._parsers import Corrected


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (integer(1), 0, "must be at least 1"),
        (integer(high=5), 6, "must be at most 5"),
        (integer(1, 5), 6, "must be in 1-5"),
        (number(0.5), 0.25, "must be at least 0.5"),
        (number(high=5), 5.5, "must be at most 5"),
        (number(0, 1), 1.5, "must be in 0-1"),
        (number(positive=True), 0, "must be greater than 0"),
        (number(positive=True, magnitude=True), 0, "must be greater than 0"),
    ],
)
def test_values_out_of_range_are_refused(kind, value, reason):
    """Text and code obey the same range, and the reason names it."""
    for judge, given in ((kind.parse, str(value)), (kind.check, value)):
        with pytest.raises(ValueError, match=f"^{reason}$"):
            judge(given)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [(integer(1, 5, clamp=True), "9", 5), (integer(1, 5, clamp=True), "-9", 1), (number(high=5, clamp=True), "9", 5)],
)
def test_clamping_says_so(kind, text, value):
    """A clamped value is never silent."""
    result = kind.parse(text)
    assert isinstance(result, Corrected)
    assert (result.value, f"using {value}" in result.reason) == (value, True)
