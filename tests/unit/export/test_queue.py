"""The bounded queue."""

import sys

import pytest

from ddtrace_manual._export import ChunkQueue, Counters
from ddtrace_manual._model import SegmentRecord

SEGMENT = SegmentRecord()


@pytest.fixture
def calls():
    return []


@pytest.fixture
def queue(calls):
    return ChunkQueue(max_bytes=2500, wake_bytes=1200, wake=calls.append, counters=Counters())


def drain(queue):
    taken = []
    while (chunk := queue.next()) is not None:
        taken.append(chunk[1])
    return taken


def test_what_does_not_fit_is_dropped_newest_first(queue, spans):
    """Chunks beyond the budget are dropped and counted, those accepted before stay; released bytes make room."""
    chunks = [spans(1) for _ in range(7)]
    assert [queue.put(SEGMENT, chunk, partial=False) for chunk in chunks] == [True] * 5 + [False] * 2
    assert queue._counters.dropped_spans == {"overfull_buffer": 2}
    assert queue.used_bytes == 2500
    assert drain(queue) == chunks[:5]
    assert not queue.put(SEGMENT, spans(1), partial=False)
    queue.release(500)
    assert queue.put(SEGMENT, spans(1), partial=False)


def test_one_oversized_chunk_is_accepted_while_nothing_is_held(queue, spans):
    """A chunk larger than the budget passes when the budget is untouched, and nothing passes beside it."""
    assert queue.put(SEGMENT, spans(10), partial=False)
    assert not queue.put(SEGMENT, spans(1), partial=False)


def test_the_worker_is_woken_for_the_first_chunk_and_for_many_bytes(queue, calls, spans):
    """The first waiting chunk wakes gently, and each time the threshold is passed the worker is woken early."""
    for _ in range(5):
        queue.put(SEGMENT, spans(1), partial=False)
    assert calls == [False, True]
    drain(queue)
    queue.release(2500)
    for _ in range(3):
        queue.put(SEGMENT, spans(1), partial=False)
    assert calls == [False, True, False, True]


def test_a_closed_queue_accepts_nothing(queue, spans):
    """After closing, chunks are dropped and counted under a reason of their own."""
    queue.close()
    assert not queue.put(SEGMENT, spans(3), partial=False)
    assert queue._counters.dropped_spans == {"after_shutdown": 3}
    assert queue._counters.dropped_chunks == {"after_shutdown": 1}


def test_a_successor_gets_what_comes_later_and_adopts_what_waits(queue, spans):
    """After forwarding, new chunks land in the successor, behind the taken_over ones, and budgets move along."""
    successor = ChunkQueue(max_bytes=2500, wake_bytes=1200, wake=lambda early: None, counters=queue._counters)
    old = [spans(1), spans(1)]
    for chunk in old:
        queue.put(SEGMENT, chunk, partial=False)
    queue.forward_to(successor)
    queue.close()
    late = spans(1)
    assert queue.put(SEGMENT, late, partial=True)
    successor.take_over(queue)
    assert (queue.used_bytes, successor.used_bytes) == (0, 1500)
    assert drain(successor) == [*old, late]
    assert queue._counters.accepted_spans == 3


def test_put_may_be_interrupted_by_put(queue, spans):
    """A finalizer that ends a span inside of `put` neither blocks nor corrupts the accounts."""

    class Interrupting:
        def __init__(self):
            self.armed = True

        def __call__(self, early):
            if self.armed:
                self.armed = False
                queue.put(SEGMENT, spans(1), partial=False)

    queue._wake = Interrupting()
    with queue._lock:  # as if interrupted within the critical section
        queue.put(SEGMENT, spans(1), partial=False)
    assert len(queue) == 2
    assert queue.used_bytes == 1000


def test_sizes_are_estimated_from_spans_and_what_the_segment_added_up(queue, spans):
    """An estimate is a constant for each span plus the extra bytes of the segment, which it takes."""
    segment = SegmentRecord()
    segment.extra_bytes = 234
    queue.put(segment, spans(2), partial=True)
    assert queue.used_bytes == 2 * 500 + 234
    queue.put(segment, spans(1), partial=False)
    assert [queue.next()[3] for _ in range(2)] == [1234, 500]


def test_an_unannounced_child_gets_a_queue_of_its_own(queue, spans, monkeypatch):
    """In a process forked without Python's hooks the first chunk goes to a new queue, not to the parent's."""
    own = ChunkQueue(max_bytes=2500, wake_bytes=1200, wake=lambda early: None, counters=Counters())
    queue._renew = lambda: own
    queue._mark = [0]
    assert queue.put(SEGMENT, spans(1), partial=False)
    assert (len(queue), len(own)) == (0, 1)


class WatchedLock:
    """A lock that lets a profile function see what happens while it is held."""

    def __enter__(self):
        sys.setprofile(self._saw)

    def __exit__(self, *_):
        sys.setprofile(None)

    def __init__(self):
        self.calls = []

    def _saw(self, frame, event, arg):
        is_own = frame.f_code in (type(self).__enter__.__code__, type(self).__exit__.__code__)
        if event in ("call", "c_call") and not is_own and arg is not sys.setprofile:
            self.calls.append(arg or frame.f_code)


def test_nothing_is_called_while_the_lock_is_held(queue, spans):
    """Between calls no other thread gets its turn, so that busy threads never find the lock taken."""
    queue._lock = lock = WatchedLock()
    for _ in range(3):
        queue.put(SEGMENT, spans(1), partial=False)
    assert lock.calls == []
    queue.close()
    queue.put(SEGMENT, spans(1), partial=False)
    assert lock.calls  # the refused ones call: that this would be seen
