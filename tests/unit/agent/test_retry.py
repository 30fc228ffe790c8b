from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._agent import RetryPolicy
from ddtrace_manual._agent.retry import is_retryable


@pytest.mark.parametrize("status", [0, 408, 429, 500, 502, 503, 504, 599])
def test_retryable(status):
    """What may pass is tried again."""
    assert is_retryable(status)


@pytest.mark.parametrize("status", [100, 200, 301, 400, 401, 403, 404, 413, 415, 499])
def test_final(status):
    """Other answers are final."""
    assert not is_retryable(status)
    assert RetryPolicy().delay_s(0, status) is None


@given(st.integers(0, 4), st.floats(0, 1))
def test_jitter(retries_made, uniform):
    """Delays double and vary by a fifth."""
    delay_s = RetryPolicy(uniform=lambda: uniform).delay_s(retries_made, 0)

    assert delay_s == pytest.approx(0.1 * 2**retries_made, rel=0.2000001)


def test_last_retry():
    """After five retries it is over."""
    assert RetryPolicy().delay_s(4, 503) is not None
    assert RetryPolicy().delay_s(5, 503) is None
    assert RetryPolicy().delay_s(5, 503, "1") is None


def test_random_source():
    """The application's random numbers are not used up."""
    random.seed(1)
    expected = random.random()
    random.seed(1)

    RetryPolicy().delay_s(0, 0)

    assert random.random() == expected
