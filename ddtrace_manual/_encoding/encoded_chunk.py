"""A chunk whose ordinary spans are bytes already, on its way from the mapping to statistics and payload.

Source: spec/trace-export.md §8.1; made by `_mapping/simple_spans.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddtrace_manual._model import DDSpan

__all__ = ["CountedSpan", "EncodedChunk", "StatsShape"]


class StatsShape:
    """What statistics look at in spans that differ in nothing but ids and times; made once for all of them.

    Attributes:
        span: Such a span; its ids and times mean nothing.
        recurs: The same object will be used for the next such span.
        rules: By which the next two were found; statistics fill in all of these.
        key: The group it belongs to.
        top_level: Whether it counts as top level; `None` when it does not count.
    """

    __slots__ = ("key", "recurs", "rules", "span", "top_level")

    def __init__(self, span: DDSpan, *, recurs: bool) -> None:
        self.span = span
        self.recurs = recurs
        self.rules: object = None
        self.key: Any = ()  # Any: the classes of statistics are not known here
        self.top_level: bool | None = None


CountedSpan: TypeAlias = tuple[StatsShape, int, int]
"""Shape, end in Unix nanoseconds, duration in nanoseconds."""


class EncodedChunk(NamedTuple):
    """The spans of a chunk. The first one is that which carries the tags of the trace."""

    pieces: list[bytes]
    """Ordinary spans in the v0.4 format, one after the other; the first piece is empty: room for the array header."""
    encoded_spans: int
    """How many these are."""
    others: Sequence[DDSpan]
    """The other spans."""
    is_first_encoded: bool
    """The first span of the chunk is the first in `pieces`; otherwise it is the first of `others`."""
    counted: list[CountedSpan]
    """Those in `pieces` that statistics may count; empty while there are none."""
