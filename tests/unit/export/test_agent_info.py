"""What is known about the Agent."""

import pytest

from ddtrace_manual._agent import AgentInfo
from ddtrace_manual._export import AgentWatch
from ddtrace_manual.exceptions import AgentConnectionError, AgentResponseError

STATS_INFO = AgentInfo(version="7.65.0", client_drop_p0s=True, endpoints=frozenset({"/v0.6/stats"}), state_hash="a")


@pytest.fixture
def watch(client, clock):
    return AgentWatch(client, clock=clock)


def test_an_unanswered_request_is_repeated_once_a_second(watch, client, clock):
    """Until an answer came the Agent is asked again after a second, or at once when forced."""
    client.info_script.extend([AgentConnectionError("refused")] * 3)
    watch.refresh()
    assert (watch.was_attempted, watch.was_answered) == (True, False)
    watch.refresh()
    assert client.info_requests == 1
    clock.advance(1)
    watch.refresh()
    assert client.info_requests == 2
    watch.refresh(force=True)
    assert client.info_requests == 3
    watch.refresh(force=True)
    assert watch.was_answered
    watch.refresh(force=True)
    assert client.info_requests == 4


@pytest.mark.parametrize(
    ("error", "answered"),
    [
        (AgentResponseError("not JSON", 200), True),
        (AgentResponseError("forbidden", 403), True),
        (AgentResponseError("starting", 503), False),
        (AgentResponseError("busy", 429), False),
        (AgentResponseError("not HTTP", 0), False),
        (AgentConnectionError("refused"), False),
    ],
)
def test_which_failures_are_answers(watch, client, error, answered):
    """An answer that makes no sense is one; an Agent that cannot answer now has not answered."""
    client.info_script.append(error)
    watch.refresh()
    assert watch.was_answered is answered


def test_features_follow_the_answer(client, clock):
    """A new answer changes the features and is told once; an equal one changes nothing."""
    told = []
    watch = AgentWatch(client, clock=clock, on_info=told.append)
    assert watch.take_change()
    client.info = STATS_INFO
    watch.refresh()
    assert watch.features.stats
    assert watch.take_change()
    assert not watch.take_change()
    clock.advance(299)
    watch.refresh()
    assert client.info_requests == 1
    clock.advance(1)
    watch.refresh()
    assert client.info_requests == 2
    assert not watch.take_change()
    assert told == [STATS_INFO]


def test_another_state_makes_info_due(watch, client):
    """A state hash that is not that of the last answer leads to an early request."""
    watch.saw_state("x")
    client.info = STATS_INFO
    watch.refresh()
    watch.saw_state("a")
    watch.refresh()
    assert client.info_requests == 1
    watch.saw_state("b")
    watch.refresh()
    assert client.info_requests == 2
    watch.expire()
    watch.refresh()
    assert client.info_requests == 3


def test_refused_statistics_stay_off_until_info_changes(watch, client):
    """A 404 to statistics switches only these off, until the Agent says something new."""
    client.info = STATS_INFO
    watch.refresh()
    watch.take_change()
    features = watch.features
    watch.stats_refused()
    assert watch.take_change()
    assert not watch.features.stats
    assert watch.features.span_kinds == features.span_kinds
    watch.expire()
    watch.refresh()
    assert not watch.features.stats
    client.info = AgentInfo(version="7.66.0", client_drop_p0s=True, endpoints=STATS_INFO.endpoints)
    watch.expire()
    watch.refresh()
    assert watch.features.stats
