"""Ids and clock that a test can predict."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from ddtrace_manual.testing import FixedClock, SequentialIds


def test_a_fixed_clock_stands_still_until_it_is_moved():
    """Both readings stay the same, then differ by what was advanced."""
    clock = FixedClock(5_000)
    assert [clock.wall_ns(), clock.wall_ns(), clock.monotonic_ns(), clock.monotonic_ns()] == [5_000, 5_000, 0, 0]
    clock.advance(1.5, ns=3)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (1_500_005_003, 1_500_000_003)


def test_a_stepping_clock_goes_on_after_each_monotonic_reading():
    """The first reading gives the start; reading the wall moves nothing."""
    clock = FixedClock(0, step_ns=10)
    assert [clock.monotonic_ns(), clock.wall_ns(), clock.monotonic_ns(), clock.monotonic_ns()] == [0, 10, 10, 20]


@pytest.mark.parametrize("arguments", [{"seconds": -1}, {"ns": -1}, {"seconds": 1, "ns": -1_000_000_001}])
def test_time_does_not_go_back(arguments):
    """Going back is refused, and the clock stays where it is."""
    clock = FixedClock(7)
    with pytest.raises(ValueError, match="go back"):
        clock.advance(**arguments)
    assert clock.wall_ns() == 7


def test_ids_count_up_separately():
    """Trace ids and span ids each begin where they were told to."""
    ids = SequentialIds(10, 20)
    assert [ids.trace_id(), ids.span_id(), ids.random_span_id(), ids.trace_id()] == [10, 20, 21, 11]


@pytest.mark.parametrize(("first_trace_id", "first_span_id"), [(0, 0), (1 << 128, 1 << 64)])
def test_no_id_is_zero(first_trace_id, first_span_id):
    """Zero, also after an overflow, is skipped: it means "none"."""
    ids = SequentialIds(first_trace_id, first_span_id)
    assert (ids.trace_id(), ids.span_id()) == (1, 1)


def test_ids_are_unique_across_threads():
    """Two threads never get the same id."""
    ids = SequentialIds()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ids.span_id(), range(400)))
    assert sorted(made) == list(range(1, 401))
