"""Draws traces on the terminal as they arrive, and a summary at the end."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from ddtrace_manual.config import process_environ

from .render import format_duration, plain_text, render_trace
from .screen import printable
from .totals import Totals

if TYPE_CHECKING:
    from ddtrace_manual._receiver import StoredTrace, TraceViewer

__all__ = ["Live"]

_QUIET_S: Final = 1.2
"""A trace is drawn when nothing of it has arrived for so long: other processes send their parts once a second."""
_LONGEST_PAUSE_S: Final = 0.25
_MOST_LINES: Final = 150
_MOST_ROWS: Final = 15
_NAME_CELLS: Final = 44


class Live:
    """Shows what a viewer receives.

    Args:
        viewer: What receives.
        trees: Draw at most so many traces a second; 0 draws none.
        stream: Where to write; default: standard error, so that the output of a program stays its own.
    """

    def __init__(self, viewer: TraceViewer, *, trees: int, stream: TextIO | None = None) -> None:
        self.totals = Totals()
        self._viewer = viewer
        self._store = viewer.store
        self._store.on_removed = self._count_removed
        self._trees = trees
        self._stream = stream if stream is not None else sys.stderr
        self._drawn: dict[int, int] = {}
        self._budget = float(trees)
        self._budget_s = time.monotonic()
        self._skipped = 0
        self._forward_error = ""
        terminal = self._stream.isatty()
        self._color = terminal and not process_environ().get("NO_COLOR")
        self._width = min(shutil.get_terminal_size((110, 24)).columns if terminal else 110, 140)

    def line(self, text: str = "") -> None:
        """Write a line."""
        print(printable(text, self._stream), file=self._stream, flush=True)

    def run_until(self, is_over: Callable[[], bool]) -> None:
        """Draw what arrives until something is over; `store.wake()` makes this ask again at once."""
        while not is_over():
            version = self._store.version
            self.draw(_QUIET_S)
            self._tell_forward_state()
            if not is_over():
                self._store.wait(version, _LONGEST_PAUSE_S, until_woken=True)

    def draw(self, quiet_s: float) -> None:
        """Draw the traces of which nothing has arrived for so many seconds."""
        due = self._store.due(self._drawn, quiet_s)
        now_s = time.monotonic()
        self._budget = min(float(self._trees), self._budget + (now_s - self._budget_s) * self._trees)
        self._budget_s = now_s
        shown = due[: int(self._budget)]
        self._budget -= len(shown)
        if self._skipped and shown:
            self._tell_skipped()
        self._skipped += len(due) - len(shown)
        for trace, spans in shown:
            self._draw_trace(trace, spans)

    def finish(self) -> None:
        """Draw the rest and write the summary."""
        self._budget = max(self._budget, float(self._trees))
        self.draw(0.0)
        if self._skipped and self._trees:
            self._tell_skipped()
        for trace, spans in self._store.traces():
            self.totals.add(trace.trace_id_hex, spans)
        self._summary()

    def _draw_trace(self, trace: StoredTrace, spans: Sequence[dict[str, Any]]) -> None:
        lines = render_trace(spans, width=self._width, color=self._color).splitlines()
        if len(lines) > _MOST_LINES:
            lines[_MOST_LINES:] = [f"… {len(lines) - _MOST_LINES} more lines"]
        self.line()
        for text in lines:
            self.line(text)
        if trace.omitted:
            self.line(f"{trace.omitted} more spans of this trace were not kept: it is too large")

    def _tell_skipped(self) -> None:
        self.line(f"\n… {self._skipped} traces not drawn (--trees {self._trees})")
        self._skipped = 0

    def _tell_forward_state(self) -> None:
        forwarder = self._viewer.forwarder
        if forwarder is None or bool(forwarder.error) == bool(self._forward_error):
            return
        self._forward_error = forwarder.error
        state = f"does not answer: {plain_text(self._forward_error)}" if self._forward_error else "answers again"
        self.line(f"{forwarder.address} {state}")

    def _count_removed(self, trace: StoredTrace) -> None:
        self.totals.add(trace.trace_id_hex, trace.spans())

    def _summary(self) -> None:
        totals = self.totals
        if totals.slowest is None:
            self.line("\nNo traces arrived.")
            return
        failed = f"{totals.failed_traces} with errors" if totals.failed_traces else "no errors"
        parts = [_count(totals.traces, "trace"), _count(totals.spans, "span"), failed]
        self.line(f"\n{' · '.join(parts)}")
        duration, name, resource, trace_id_hex = totals.slowest
        what = name if resource in (name, "") else f"{name}  {resource}"
        self.line(f"slowest: {format_duration(duration)}  {plain_text(what)[:80]}  trace {trace_id_hex}")
        rows, left = totals.costliest(_MOST_ROWS)
        names = [_cut(plain_text(name) or "?") for name, _, _ in rows]
        cells = max(len("span name"), *map(len, names))
        head = f"{'spans':>7}  {'errors':>6}  {'total':>9}  {'self time':>9}  {'share':>6}"
        self.line(f"\n{'span name'.ljust(cells)}  {head}")
        for shown, (_, row, share) in zip(names, rows, strict=True):
            times = f"{format_duration(row.total_ns):>9}  {format_duration(row.self_ns):>9}"
            self.line(f"{shown.ljust(cells)}  {row.spans:>7}  {row.errors:>6}  {times}  {share * 100:>4.0f} %")
        if left:
            self.line(f"… {_count(left, 'more name')}")


def _cut(text: str) -> str:
    return text if len(text) <= _NAME_CELLS else f"{text[: _NAME_CELLS - 1]}…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
