"""When to send while the Agent is away, and how long to wait."""

import pytest

from ddtrace_manual._export import Backoff


@pytest.fixture
def backoff(clock):
    return Backoff(timeout_s=2.0, clock=clock, uniform=lambda: 0.5)


def test_pauses_double_up_to_half_a_minute(backoff, clock):
    """While the Agent is away the pauses are 1, 2, 4, 8, 16, 30, 30 seconds, and a delivery ends them."""
    pauses = []
    for _ in range(7):
        assert backoff.may_send()
        backoff.failed()
        assert not backoff.may_send()
        pauses.append((backoff.resume_ns - clock.now_ns) / 1e9)
        clock.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    backoff.delivered()
    assert backoff.may_send()
    backoff.failed()
    assert backoff.resume_ns == clock.now_ns + 1_000_000_000


@pytest.mark.parametrize(("drawn", "pause_s"), [(0.0, 0.75), (1.0, 1.25)])
def test_pauses_vary_by_a_quarter(clock, drawn, pause_s):
    """A pause is varied by a quarter in both directions."""
    backoff = Backoff(timeout_s=2.0, clock=clock, uniform=lambda: drawn)
    backoff.failed()
    assert backoff.resume_ns - clock.now_ns == pause_s * 1e9


def test_the_default_variation_is_random(clock):
    """Without a source of numbers pauses are random within their bounds."""
    backoff = Backoff(timeout_s=2.0, clock=clock)
    backoff.failed()
    assert 0.75e9 <= backoff.resume_ns - clock.now_ns <= 1.25e9


def test_attempts_asked_for_do_not_lengthen_the_pause(backoff, clock):
    """An attempt within a pause, as a flush makes, leaves the time of the next one alone."""
    backoff.failed()
    resume_ns = backoff.resume_ns
    backoff.failed()
    assert backoff.resume_ns == resume_ns


def test_the_agent_may_ask_for_a_longer_pause_once(backoff, clock):
    """The next pause is at least what the Agent asked for."""
    backoff.start_request()
    backoff.end_attempt(10.0)
    backoff.failed()
    assert backoff.resume_ns - clock.now_ns == 10e9
    clock.advance(10)
    backoff.failed()
    assert backoff.resume_ns - clock.now_ns == 2e9


def test_timeouts_double_the_time_of_a_request(backoff, clock):
    """After timeouts a request gets 4, then 8 seconds; after three of them the Agent counts as away."""
    limits, gave_up = [], []
    for _ in range(4):
        limits.append(backoff.start_request())
        clock.advance(limits[-1])
        gave_up.append(backoff.end_attempt(0.1))
    assert limits == [2, 4, 8, 8]
    assert gave_up == [False, False, True, True]
    assert backoff.start_request(slow=False) == 2


def test_patience_lasts_until_a_quick_answer(backoff, clock):
    """A slow answer keeps the longer time, a quick one ends it."""
    backoff.start_request()
    clock.advance(2)
    backoff.end_attempt(0.1)
    backoff.start_request()
    clock.advance(3)
    backoff.delivered()
    assert backoff.start_request() == 4
    clock.advance(1)
    backoff.delivered()
    assert backoff.start_request() == 2


def test_a_slow_probe_warns(backoff, clock):
    """After `/info` has timed out the first payload gets more time, because sending it twice is worse."""
    backoff.start_request(slow=False)
    backoff.end_probe()
    assert backoff.start_request(slow=False) == 2
    clock.advance(2)
    backoff.end_probe()
    assert backoff.start_request() == 4


def test_an_agent_that_is_away_is_asked_once(backoff):
    """While the Agent is away no attempt follows a failed one at once."""
    backoff.start_request()
    assert not backoff.end_attempt(0.1)
    backoff.failed()
    assert backoff.end_attempt(0.1)


def test_requests_end_with_the_deadline(backoff, clock):
    """A request may not take longer than is left, and always takes a moment."""
    backoff.deadline_ns = clock.now_ns + 500_000_000
    assert backoff.start_request() == 0.5
    clock.advance(1)
    assert backoff.start_request() == 0.05
