"""One local trace: which of its spans are open, which are finished, what was decided.

Invariant: `open` holds the spans that were started here and not ended. When it becomes empty the
finished spans form a chunk; a child started later from an ended span opens the segment again, with
the same decision, and makes a later chunk. While spans are open, finished ones leave when the local
root ends, when there are enough of them, or when the oldest has waited long enough and another ends.

Threads: a span enters `open` when it starts and leaves it when it ends; leaving is the claim that
makes one of two concurrent ends win. Then it is appended to `finished`. Each of these steps is atomic
by itself, so starting and ending take no lock. Nor does handing over, which one thread at a time does:
whoever takes the segment's reference out of `OpenSegments.references`, which is one step too. It takes
what is in `finished` and leaves the list object in place, so that nobody can append to a list that was
given away, puts the reference back unless the segment is complete, and then looks again: whoever found
the reference taken has left it spans. A complete segment is not listed, as `is_listed` says; listing it
again takes a lock. If two last spans end in the same instant they may leave as two chunks; none is lost.

Memory: finished spans of a segment with open spans stay here, at most `partial_flush_min_spans` of
them and about `HELD_BYTES`; with partial flushing off there is no bound.

Source: spec/trace-export.md §1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from ddtrace_manual._model import MAX_TEXT_CHARS, UNCHARGED_NAME_CHARS, RemoteContext, SegmentRecord

from .values import size_of

if TYPE_CHECKING:
    from ddtrace_manual._model.finished_span import CompactSpan

    from .engine import Engine
    from .span import Span

__all__ = ["HELD_BYTES", "RandomIdSegment", "Segment"]


HELD_BYTES = 1_000_000
"""So many bytes of long texts make the finished spans of a segment leave when the next one ends."""


class Segment(SegmentRecord):
    """A segment of the engine."""

    holds_records = False
    is_listed = False
    """`OpenSegments` lists it, or a thread is handing it over."""
    collected_spans = 0
    """Open spans of a segment that was garbage-collected."""

    def __init__(self, engine: Engine, trace_id: int) -> None:
        self.engine = engine
        self.trace_id = trace_id
        wall_ns = engine.wall_ns()
        # Times of a segment are monotonic readings plus this offset, so that a jump of the wall
        # clock cannot make a span negative or hours long.
        self.clock_offset_ns = wall_ns - engine.monotonic_ns()
        self.flush_due_ns = wall_ns + engine.max_wait_ns
        """From this time of the segment on, a span that ends looks whether others wait for too long. 0: they do."""
        self.needs_care = False  # here and not above: reading it from the class costs more (bench: ten-span)
        self.open: set[Span] = set()
        self.finished: list[Span | CompactSpan] = []
        self.reference: ref[Segment] = ref(self)
        self.is_listed = True
        engine.references[self.reference] = None

    def __del__(self) -> None:
        if self.is_listed:
            self.engine.segments.collect(self)

    def inherit(self, remote: RemoteContext) -> None:
        """Take over what was extracted. The extracted context keeps a copy of its own, as received."""
        self.priority = remote.priority
        self.origin = remote.origin
        if remote.tags is not None:
            self.tags = dict(remote.tags)
        self.members = remote.members
        if remote.origin or remote.members:
            self.needs_care = True
        self.ot = remote.ot
        if remote.is_random:
            self.is_random = True
        self.propagation_error = remote.propagation_error
        self.parent_tag = remote.parent_tag

    def reserve_bytes(self, size_bytes: int) -> None:
        """Add to `extra_bytes` what attributes take; call it before a span shows them.

        An update may be lost to another thread: it is an estimate. That a text is long is noted whatever happens.
        """
        if size_bytes > MAX_TEXT_CHARS:
            self.needs_care = True
        self.extra_bytes += size_bytes
        if self.extra_bytes > HELD_BYTES:
            self.flush_due_ns = 0

    def charge_text(self, text: str | None) -> None:
        """Charge a text that is no attribute, if it is long."""
        if text is not None and len(text) > UNCHARGED_NAME_CHARS:
            self.reserve_bytes(size_of(text))

    def decide(self) -> None:
        """Make the sampling decision now, unless it was made."""
        if not self.decided:
            self.engine.decide(self)

    def __repr__(self) -> str:
        return (
            f"Segment(trace_id={self.trace_id:032x}, open={len(self.open)}, finished={len(self.finished)}, "
            f"priority={self.priority}, decided={self.decided})"
        )


class RandomIdSegment(Segment):
    """A segment whose trace id comes from a generator that claims the W3C random flag for its ids."""

    is_random = True
