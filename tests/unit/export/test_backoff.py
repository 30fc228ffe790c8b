"""When to send while the Agent is away, and how long to wait."""

import pytest

from ddtrace_manual._export import Pace


@pytest.fixture
def pace(clock):
    return Pace(timeout_s=2.0, clock=clock, uniform=lambda: 0.5)


def test_pauses_double_up_to_half_a_minute(pace, clock):
    """While the Agent is away the pauses are 1, 2, 4, 8, 16, 30, 30 seconds, and a delivery ends them."""
    pauses = []
    for _ in range(7):
        assert pace.may_send()
        pace.failed()
        assert not pace.may_send()
        pauses.append((pace.resume_ns - clock.now_ns) / 1e9)
        clock.advance(pauses[-1])
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    pace.delivered()
    assert pace.may_send()
    pace.failed()
    assert pace.resume_ns == clock.now_ns + 1_000_000_000


@pytest.mark.parametrize(("drawn", "pause_s"), [(0.0, 0.75), (1.0, 1.25)])
def test_pauses_vary_by_a_quarter(clock, drawn, pause_s):
    """A pause is varied by a quarter in both directions."""
    pace = Pace(timeout_s=2.0, clock=clock, uniform=lambda: drawn)
    pace.failed()
    assert pace.resume_ns - clock.now_ns == pause_s * 1e9


def test_the_default_variation_is_random(clock):
    """Without a source of numbers pauses are random within their bounds."""
    pace = Pace(timeout_s=2.0, clock=clock)
    pace.failed()
    assert 0.75e9 <= pace.resume_ns - clock.now_ns <= 1.25e9


def test_attempts_asked_for_do_not_lengthen_the_pause(pace, clock):
    """An attempt within a pause, as a flush makes, leaves the time of the next one alone."""
    pace.failed()
    resume_ns = pace.resume_ns
    pace.failed()
    assert pace.resume_ns == resume_ns


def test_the_agent_may_ask_for_a_longer_pause_once(pace, clock):
    """The next pause is at least what the Agent asked for."""
    pace.start_request()
    pace.end_attempt(10.0)
    pace.failed()
    assert pace.resume_ns - clock.now_ns == 10e9
    clock.advance(10)
    pace.failed()
    assert pace.resume_ns - clock.now_ns == 2e9


def test_timeouts_double_the_time_of_a_request(pace, clock):
    """After timeouts a request gets 4, then 8 seconds; after three of them the Agent counts as away."""
    limits, gave_up = [], []
    for _ in range(4):
        limits.append(pace.start_request())
        clock.advance(limits[-1])
        gave_up.append(pace.end_attempt(0.1))
    assert limits == [2, 4, 8, 8]
    assert gave_up == [False, False, True, True]
    assert pace.start_request(slow=False) == 2


def test_patience_lasts_until_a_quick_answer(pace, clock):
    """A slow answer keeps the longer time, a quick one ends it."""
    pace.start_request()
    clock.advance(2)
    pace.end_attempt(0.1)
    pace.start_request()
    clock.advance(3)
    pace.delivered()
    assert pace.start_request() == 4
    clock.advance(1)
    pace.delivered()
    assert pace.start_request() == 2


def test_a_slow_probe_warns(pace, clock):
    """After `/info` has timed out the first payload gets more time, because sending it twice is worse."""
    pace.start_request(slow=False)
    pace.end_probe()
    assert pace.start_request(slow=False) == 2
    clock.advance(2)
    pace.end_probe()
    assert pace.start_request() == 4


def test_an_agent_that_is_away_is_asked_once(pace):
    """While the Agent is away no attempt follows a failed one at once."""
    pace.start_request()
    assert not pace.end_attempt(0.1)
    pace.failed()
    assert pace.end_attempt(0.1)


def test_requests_end_with_the_deadline(pace, clock):
    """A request may not take longer than is left, and always takes a moment."""
    pace.deadline_ns = clock.now_ns + 500_000_000
    assert pace.start_request() == 0.5
    clock.advance(1)
    assert pace.start_request() == 0.05
