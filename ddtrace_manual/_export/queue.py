"""Finished chunks on their way from the application's threads to the worker; bounded by bytes.

    put() → waiting chunks → next() → worker → released when delivered or lost

One budget covers everything that was accepted and is not yet delivered: chunks waiting here, being
encoded, and encoded ones kept while the Agent is away. A chunk that does not fit is dropped, the
newest one, because those before it are already on their way.

The worker takes no lock here. A signal handler may interrupt `put` at any point and then wait for the
worker; had the worker to wait for the interrupted frame in turn, neither would ever go on.

Source: spec/trace-export.md §2.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ddtrace_manual._base.process_mark import make_process_mark

from .counters import DropReason

if TYPE_CHECKING:
    from ddtrace_manual._model import SegmentRecord
    from ddtrace_manual._model.finished_span import FinishedSpan

    from .counters import Counters

__all__ = ["Chunk", "ChunkQueue"]

_SPAN_BYTES = 500


Chunk: TypeAlias = "tuple[SegmentRecord, Sequence[FinishedSpan], bool, int]"
"""Finished spans of one segment, as they left it:

the segment, its spans, whether others are still open, and roughly the bytes that these take, in memory and encoded.
That is 500 a span, which covers eight short attributes; whatever is beyond was added up by the span while it was set,
because looking at every value later would cost more than the rest of the queue (bench: ten-span).
"""


class ChunkQueue:
    """Takes chunks from any thread and gives them to the worker.

    Args:
        max_bytes: Budget for everything accepted and not yet released.
        wake_bytes: So many waiting bytes wake the worker before its interval is over.
        wake: Called without the lock when the first chunk waits (`False`) or `wake_bytes` are passed (`True`).
        counters: Counts what is accepted and dropped.
        renew: Called in a process that was forked without Python's hooks, as uWSGI does; returns its own queue.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        wake_bytes: int,
        wake: Callable[[bool], None],
        counters: Counters,
        renew: Callable[[], ChunkQueue] | None = None,
    ) -> None:
        self.max_bytes = max_bytes
        self._limit_bytes = max_bytes  # below 0 while nothing is to be accepted as usual, so that one question does
        self.is_closed = False
        self._wake_bytes = wake_bytes
        self._wake = wake
        self._renew = renew
        self._mark = make_process_mark()
        self._counters = counters
        self._waiting: deque[Chunk] = deque()
        self._successor: ChunkQueue | None = None
        # Reentrant: a finalizer or signal handler that runs inside of `put` may end a span itself.
        self._lock = threading.RLock()  # guards what only `put`, `close` and `forward_to` change
        self._accepted_bytes = 0
        self._released_bytes = 0  # changed by the worker only
        self._taken_bytes = 0  # likewise
        self._woken_at_bytes = 0

    @property
    def used_bytes(self) -> int:
        """How much of the budget is taken."""
        return self._accepted_bytes - self._released_bytes

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, segment: SegmentRecord, spans: Sequence[FinishedSpan], *, partial: bool) -> bool:
        """Accept a chunk, or drop it when the budget has no room; return whether it was accepted.

        A chunk larger than the whole budget is accepted while nothing else is held.
        """
        if not self._mark[0] and self._renew is not None and (own := self._renew()) is not self:
            return own.put(segment, spans, partial=partial)
        count = len(spans)
        extra_bytes = segment.extra_bytes
        if extra_bytes:
            segment.extra_bytes = 0
        size = _SPAN_BYTES * count + extra_bytes
        # A plain tuple: making a named one costs four times as much (bench: ten-span).
        added = ((segment, spans, partial, size),)
        waiting, counters = self._waiting, self._counters
        # Nothing is called in here in the usual case: between calls CPython does not switch threads, and so the lock is
        # never found taken. With calls, eight busy threads spent a fifth of their time on waiting (bench: threads-8).
        with self._lock:
            accepted = self._accepted_bytes + size
            if accepted - self._released_bytes > self._limit_bytes:
                if (successor := self._successor) is not None:
                    segment.extra_bytes += extra_bytes
                    return successor.put(segment, spans, partial=partial)
                if self.is_closed or self._accepted_bytes != self._released_bytes:
                    reason = DropReason.AFTER_SHUTDOWN if self.is_closed else DropReason.OVERFULL_BUFFER
                    counters.drop(reason, spans=count)
                    if not partial:
                        segment.local_root = None  # else only the garbage collector would free the memory
                    return False
            self._accepted_bytes = accepted
            counters.accepted_spans += count
            counters.accepted_chunks += 1
            is_first = not waiting
            waiting += added
            # Once for each `wake_bytes`: from the position of the last call, or of the worker if that is further.
            wake_bytes = self._wake_bytes
            is_early = accepted - self._taken_bytes >= wake_bytes and accepted - self._woken_at_bytes >= wake_bytes
            if is_early:
                self._woken_at_bytes = accepted
        if is_first or is_early:
            self._wake(is_early)
        return True

    def next(self) -> Chunk | None:
        """Take the oldest waiting chunk. Its bytes stay in the budget until released. Worker only."""
        try:
            chunk = self._waiting.popleft()
        except IndexError:
            return None
        _, spans, _, size_bytes = chunk
        self._taken_bytes += size_bytes
        self._counters.taken_spans += len(spans)
        return chunk

    def release(self, size_bytes: int) -> None:
        """Give bytes of delivered or lost chunks back to the budget; negative to take some. Worker only."""
        self._released_bytes += size_bytes

    def set_held(self, size_bytes: int) -> None:
        """Release all bytes of taken chunks but these, whatever was released before. Worker only."""
        self._released_bytes = self._taken_bytes - size_bytes

    def take_over(self, other: ChunkQueue) -> None:
        """Take over what waits in another queue, which no worker serves any more; in front of what waits here.

        These chunks were accepted before: the budget may be exceeded by them. Worker only.
        """
        taken_over: list[Chunk] = []
        try:
            while (chunk := other.next()) is not None:
                _, spans, _, size_bytes = chunk
                taken_over.append(chunk)
                self._counters.taken_spans -= len(spans)
                self._taken_bytes -= size_bytes
                self.release(-size_bytes)
                other.release(size_bytes)
        finally:
            self._waiting.extendleft(reversed(taken_over))

    def forward_to(self, successor: ChunkQueue) -> None:
        """Hand chunks that come from now on to another queue."""
        with self._lock:
            self._successor = successor
            self._limit_bytes = -1

    def close(self) -> None:
        """Refuse chunks from now on."""
        with self._lock:
            self.is_closed = True
            self._limit_bytes = -1
