"""The counters."""

from ddtrace_manual._export import Counters


def test_accepted_spans_are_queued_until_settled():
    """What was accepted is queued until it is sent, filtered or lost; what was never accepted is not."""
    counters = Counters(accepted_spans=5)
    counters.drop("overfull_buffer", spans=3)
    assert counters.queued_spans == 5
    counters.lose("rejected", spans=2)
    counters.lose("rejected", spans=1, chunks=2)
    assert counters.queued_spans == 2
    assert counters.dropped_spans == {"overfull_buffer": 3, "rejected": 3}
    assert counters.dropped_chunks == {"overfull_buffer": 1, "rejected": 3}


def test_events_are_counted_by_name():
    """Events add up by name."""
    counters = Counters()
    counters.count("a")
    counters.count("a")
    assert counters.events == {"a": 2}
