"""The counters."""

import pytest

from ddtrace_manual._export import Counters, DropReason


def test_accepted_spans_are_queued_until_accounted_for():
    """What was accepted is queued until it is sent, filtered or lost; what was never accepted is not."""
    counters = Counters(accepted_spans=5)
    counters.drop(DropReason.OVERFULL_BUFFER, spans=3)
    assert counters.queued_spans == 5
    counters.drop(DropReason.REJECTED, spans=2)
    counters.drop(DropReason.REJECTED, spans=1, chunks=2)
    assert counters.queued_spans == 2
    assert counters.dropped_spans == {"overfull_buffer": 3, "rejected": 3}
    assert counters.dropped_chunks == {"overfull_buffer": 1, "rejected": 3}


def test_events_are_counted_by_name():
    """Events add up by name."""
    counters = Counters()
    counters.count("a")
    counters.count("a")
    assert counters.events == {"a": 2}


@pytest.mark.parametrize("reason", DropReason)
def test_a_reason_decides_which_totals_a_loss_changes(reason):
    counters = Counters(accepted_spans=5)
    counters.drop(reason, spans=2)
    assert counters.queued_spans == (3 if reason.was_accepted else 5)
    assert counters.finished_spans == (5 if reason.was_accepted else 7)
    assert counters.failed_spans == (2 if reason.is_failure else 0)
    assert reason.was_accepted or not reason.is_failure
    assert (str(reason), f"{reason}", type(str(reason))) == (reason.value, reason.value, str)
