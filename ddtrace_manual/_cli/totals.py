"""What all traces of a run come to: how many, how many failed, the slowest, and where the time went, by span name.

Self time is the part of a span during which none of its children ran.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["NameTotals", "Totals", "self_times"]

_Span = Mapping[str, Any]  # Any: the fields have different types

_MOST_NAMES: Final = 1000
_OTHER_NAMES: Final = "(other names)"


@dataclass(slots=True)
class NameTotals:
    """Spans of one name."""

    spans: int = 0
    errors: int = 0
    total_ns: int = 0
    self_ns: int = 0


class Totals:
    """Sums over traces; never more than 1000 names. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self.traces = 0
        self.failed_traces = 0
        self.spans = 0
        self.slowest: tuple[int, str, str, str] | None = None
        """(nanoseconds, name, resource, trace id in hex) of the slowest trace."""
        self.names: dict[str, NameTotals] = {}

    def add(self, trace_id_hex: str, spans: Sequence[_Span]) -> None:
        """Count a trace."""
        if not spans:
            return
        own = self_times(spans)
        begin = min(span["start"] for span in spans)
        duration = max(span["start"] + span["duration"] for span in spans) - begin
        root = min(spans, key=lambda span: (span["parent_id"] != 0, span["start"]))
        with self._lock:
            self.traces += 1
            self.failed_traces += any(span["error"] for span in spans)
            self.spans += len(spans)
            if self.slowest is None or duration > self.slowest[0]:
                self.slowest = (duration, root["name"], root["resource"], trace_id_hex)
            for span, self_ns in zip(spans, own, strict=True):
                name = span["name"]
                if name not in self.names and len(self.names) >= _MOST_NAMES:
                    name = _OTHER_NAMES
                row = self.names.setdefault(name, NameTotals())
                row.spans += 1
                row.errors += span["error"]
                row.total_ns += span["duration"]
                row.self_ns += self_ns

    def costliest(self, count: int) -> tuple[list[tuple[str, NameTotals, float]], int]:
        """Return (name, totals, share of all self time) of the names with most self time, and how many are left."""
        with self._lock:
            everything = sum(row.self_ns for row in self.names.values()) or 1
            rows = sorted(self.names.items(), key=lambda item: (-item[1].self_ns, item[0]))
        return [(name, row, row.self_ns / everything) for name, row in rows[:count]], max(0, len(rows) - count)


def self_times(spans: Sequence[_Span]) -> list[int]:
    """Return for each span how long, in nanoseconds, it ran while none of its children did."""
    children: dict[int, list[tuple[int, int]]] = {}
    for span in spans:
        if span["parent_id"] != span["span_id"]:
            times = (span["start"], span["start"] + span["duration"])
            children.setdefault(span["parent_id"], []).append(times)
    return [_uncovered(span, children.get(span["span_id"], [])) for span in spans]


def _uncovered(span: _Span, children: list[tuple[int, int]]) -> int:
    begin, end = span["start"], span["start"] + span["duration"]
    covered, reached = 0, begin
    for child_begin, child_end in sorted(children):
        first, last = max(child_begin, reached), min(child_end, end)
        if last > first:
            covered += last - first
            reached = last
    own: int = end - begin - covered
    return own
