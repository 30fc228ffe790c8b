"""The token bucket (spec/sampling.md §8)."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual.sampling import RateLimiter


class _Clock:
    now_ns = 0

    def wall_ns(self):
        raise AssertionError("the limiter must not look at wall time")

    def monotonic_ns(self):
        return self.now_ns


def test_one_per_second(clock):
    """With a limit of one, the second of two simultaneous requests is refused and a later one granted."""
    limiter = RateLimiter(1, clock)
    assert [limiter.allow(), limiter.allow()] == [True, False]
    clock.advance(0.999)
    assert not limiter.allow()
    clock.advance(0.001)
    assert limiter.allow()


def test_tokens_return_in_fractions(clock):
    """Ten steps of a tenth of a second are one second, without rounding loss."""
    limiter = RateLimiter(1, clock)
    limiter.allow()
    granted = []
    for _ in range(10):
        clock.advance(0.1)
        granted.append(limiter.allow())
    assert granted == [False] * 9 + [True]


@pytest.mark.parametrize(
    ("limit", "granted"),
    [(0, 0), (-1, 50), (3, 3), (0.5, 1), (2.5, 2)],
)
def test_burst(clock, limit, granted):
    """The bucket begins full: 0 grants nothing, a negative limit everything, a fraction at least one."""
    limiter = RateLimiter(limit, clock)
    assert sum(limiter.allow() for _ in range(50)) == granted


def test_a_fraction_grants_one_per_its_period(clock):
    """Half a token a second grants one request every two seconds."""
    limiter = RateLimiter(0.5, clock)
    assert limiter.allow()
    clock.advance(1)
    assert not limiter.allow()
    clock.advance(1)
    assert limiter.allow()


def test_period(clock):
    """A period of a minute grants one request a minute."""
    limiter = RateLimiter(1, clock, period_s=60)
    assert limiter.allow()
    clock.advance(59)
    assert not limiter.allow()
    clock.advance(1)
    assert limiter.allow()


def test_effective_rate(clock):
    """The effective rate counts the request itself and averages with the window before."""
    limiter = RateLimiter(1, clock)
    assert limiter.effective_rate() == 1.0
    limiter.allow()
    assert limiter.effective_rate() == 1.0
    limiter.allow()
    assert limiter.effective_rate() == 0.5
    clock.advance(1)
    limiter.allow()
    assert limiter.effective_rate() == 0.75
    limiter.allow()
    assert limiter.effective_rate() == 0.5


def test_late_clock_reading_takes_no_tokens_back():
    """A thread that read the clock earlier but comes later does not shrink the budget."""
    clock = _Clock()
    limiter = RateLimiter(2, clock)
    clock.now_ns = 10
    assert limiter.allow()
    clock.now_ns = 5
    assert limiter.allow()


@given(
    limit=st.integers(0, 20),
    steps=st.lists(st.integers(0, 400_000_000), max_size=80),
)
def test_never_exceeds_its_bound(limit, steps):
    """Any stretch of time grants at most a full bucket plus what flowed back during it."""
    clock = _Clock()
    limiter = RateLimiter(limit, clock)
    granted = []
    for step in steps:
        clock.now_ns += step
        if limiter.allow():
            granted.append(clock.now_ns)
        assert 0.0 <= limiter.effective_rate() <= 1.0
    for index, begin in enumerate(granted):
        for count, end in enumerate(granted[index:], start=1):
            assert count <= limit + limit * (end - begin) / 1e9


def test_threads_share_one_budget(clock):
    """Requests from several threads together get no more than the limit."""
    limiter = RateLimiter(50, clock)
    granted = []
    threads = [threading.Thread(target=lambda: granted.extend(limiter.allow() for _ in range(40))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 50


def test_fork_while_locked(clock):
    """After a fork the limiter works even if another thread of the parent held its lock."""
    limiter = RateLimiter(1, clock)
    limiter._lock.acquire()
    limiter.reset_after_fork()
    assert limiter.allow()
