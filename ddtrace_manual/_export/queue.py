"""Finished chunks on their way from the application's threads to the worker; bounded by bytes.

    put() → waiting chunks → take() → worker → released when delivered or lost

One budget covers everything that was accepted and is not yet delivered: chunks waiting here, being
encoded, and encoded ones kept while the Agent is away. A chunk that does not fit is dropped, the
newest one, because those before it are already on their way.

Source: spec/trace-export.md §2.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ddtrace_manual._model import SegmentRecord, SpanRecord

    from .counters import Counters

__all__ = ["Chunk", "ChunkQueue", "estimate_bytes"]

_SPAN_BYTES = 400
_VALUE_BYTES = 64
_EVENT_BYTES = 200


class Chunk(NamedTuple):
    """Finished spans of one segment, as they left it."""

    segment: SegmentRecord
    spans: Sequence[SpanRecord]
    partial: bool
    size_bytes: int
    """Estimated size; see `estimate_bytes`."""


def estimate_bytes(spans: Sequence[SpanRecord]) -> int:
    """Return roughly how many bytes these spans take, in memory and encoded.

    400 a span, 64 an attribute, 200 an event or link with its attributes, and the length of long strings.
    """
    size = _SPAN_BYTES * len(spans)
    for span in spans:
        values = span.values
        if values:
            size += _VALUE_BYTES * len(values)
            for value in values.values():
                # Numbers are covered by the constant; only text and containers can be large (bench: ten-span).
                cls = value.__class__
                if cls is str:
                    size += len(value)
                elif cls is not int and cls is not float and cls is not bool:
                    size += _size_of(value)
        for record in (*(span.event_records or ()), *(span.link_records or ())):
            size += _EVENT_BYTES + sum(_size_of(value) for value in (record.attributes or {}).values())
    return size


def _size_of(value: object) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(_VALUE_BYTES + _size_of(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_VALUE_BYTES + _size_of(item) for item in value)
    return 8


class ChunkQueue:
    """Takes chunks from any thread and gives them to the worker.

    Args:
        max_bytes: Budget for everything accepted and not yet released.
        wake_bytes: So many waiting bytes wake the worker before its interval is over.
        wake: Called without the lock when the first chunk waits (`False`) or `wake_bytes` are passed (`True`).
        counters: Counts what is accepted and dropped.
    """

    def __init__(self, *, max_bytes: int, wake_bytes: int, wake: Callable[[bool], None], counters: Counters) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.is_closed = False
        self._wake_bytes = wake_bytes
        self._wake = wake
        self._counters = counters
        self._waiting: list[Chunk] = []
        self._waiting_bytes = 0
        self._lock = threading.Lock()  # guards everything above but the settings, and the accepted counts

    def put(self, segment: SegmentRecord, spans: Sequence[SpanRecord], *, partial: bool) -> bool:
        """Accept a chunk, or drop it when the budget has no room; return whether it was accepted.

        A chunk larger than the whole budget is accepted while nothing else is held.
        """
        size = estimate_bytes(spans)
        chunk = Chunk(segment, spans, partial, size)
        with self._lock:
            accepted = not self.is_closed and (self.used_bytes + size <= self.max_bytes or not self.used_bytes)
            if accepted:
                is_first = not self._waiting
                was_below = self._waiting_bytes < self._wake_bytes
                self._waiting.append(chunk)
                self.used_bytes += size
                self._waiting_bytes += size
                passed = was_below and self._waiting_bytes >= self._wake_bytes
                self._counters.accepted_spans += len(spans)
                self._counters.accepted_chunks += 1
        if not accepted:
            self._counters.drop("after_shutdown" if self.is_closed else "overfull_buffer", spans=len(spans))
            return False
        if is_first or passed:
            self._wake(passed)
        return True

    def take(self) -> list[Chunk]:
        """Return all waiting chunks, oldest first. Their bytes stay in the budget until released."""
        with self._lock:
            taken, self._waiting = self._waiting, []
            self._waiting_bytes = 0
            return taken

    def release(self, size_bytes: int) -> None:
        """Give bytes of delivered or lost chunks back to the budget."""
        with self._lock:
            self.used_bytes -= size_bytes

    def charge(self, size_bytes: int) -> None:
        """Take bytes from the budget for chunks that come from elsewhere."""
        self.release(-size_bytes)

    def take_over(self, other: ChunkQueue) -> None:
        """Accept what waits in another queue, whose chunks were counted as accepted there."""
        for chunk in other.take():
            other.release(chunk.size_bytes)
            if self.put(chunk.segment, chunk.spans, partial=chunk.partial):
                self._counters.accepted_spans -= len(chunk.spans)
                self._counters.accepted_chunks -= 1

    def close(self) -> None:
        """Refuse chunks from now on."""
        with self._lock:
            self.is_closed = True

    def accepted_chunks(self) -> int:
        """Return how many chunks were accepted so far."""
        with self._lock:
            return self._counters.accepted_chunks

    def waiting_spans(self) -> int:
        """Return how many spans wait to be taken."""
        with self._lock:
            return sum(len(chunk.spans) for chunk in self._waiting)
