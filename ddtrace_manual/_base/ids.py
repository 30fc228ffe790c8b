"""Ids: how they are made and how they are written.

Trace ids are 128-bit integers laid out as 32 bits of Unix seconds, 32 zero bits
and 64 random bits; span ids are random 64-bit integers, never 0.

Source: spec/span-mapping.md §2, spec/propagation.md §4.4.
"""

from __future__ import annotations

import os
import random
from functools import partial
from typing import TYPE_CHECKING

from .clock import SYSTEM_CLOCK, Clock
from .process_mark import make_process_mark

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MASK_64", "IdSource", "format_span_id", "format_trace_id"]

MASK_64 = (1 << 64) - 1


def format_trace_id(trace_id: int) -> str:
    """Return the id as 32 lower-case hexadecimal digits."""
    return f"{trace_id:032x}"


def format_span_id(span_id: int) -> str:
    """Return the id as 16 lower-case hexadecimal digits."""
    return f"{span_id:016x}"


class IdSource:
    """Random ids from a generator of its own, so that `random.seed()` in the application is harmless.

    Attributes:
        claims_random: Whether new trace ids carry the W3C random flag; no Datadog tracer claims it for its own.

    Args:
        random_bits: Returns so many random bits; `None` seeds a generator from the system.
        clock: Gives the seconds in the high half of a trace id.
        trace_id_128_bit: `False` leaves the high half of new trace ids 0.
    """

    claims_random = False

    def __init__(
        self,
        random_bits: Callable[[int], int] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        trace_id_128_bit: bool = True,
    ) -> None:
        self._own = random.Random() if random_bits is None else None  # noqa: S311 - ids are no secrets
        self._bits = random_bits if random_bits is not None else self._own.getrandbits  # type: ignore[union-attr]
        self._clock = clock
        self._long = trace_id_128_bit
        self._mark = make_process_mark()
        self.random_span_id = partial(self._bits, 64)
        """A span id, 0 once in 2^64 calls: `random_span_id() or span_id()` is the cheap way (bench: ten-span)."""

    def reseed(self) -> None:
        """Seed anew from the system; a forked child must not repeat its parent's ids."""
        self._mark = make_process_mark()
        if self._own is not None:
            self._own.seed(os.urandom(32))

    def notice_fork(self) -> None:
        """Seed anew in a process that was forked without Python's hooks; called where a local trace begins."""
        if not self._mark[0]:
            self.reseed()

    def span_id(self) -> int:
        """Return a new span id in 1 … 2^64-1."""
        while True:
            value = self._bits(64)
            if value:
                return value

    def trace_id(self) -> int:
        """Return a new trace id in the layout of the module docstring."""
        if not self._mark[0]:
            self.reseed()
        new_span_id = self.random_span_id
        low = new_span_id() or self.span_id()
        if not self._long:
            return low
        return (self._clock.wall_ns() // 1_000_000_000 & 0xFFFFFFFF) << 96 | low
