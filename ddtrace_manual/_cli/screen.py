"""Writes reports and tables to the terminal: plain text, or prettier with the extra `[console]`."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from .findings import Finding, Level, summary, traces_can_arrive

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PlainScreen", "RichScreen", "Screen", "make_screen", "printable"]

_WIDTH: Final = 100
_LABEL_CELLS: Final = 9
_STYLES: Final[dict[Level, str]] = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}


class Screen(Protocol):
    """Where output goes."""

    def line(self, text: str) -> None:
        """Write a line as it is."""
        ...

    def report(self, findings: Iterable[Finding]) -> None:
        """Write findings, each with what to do, and what they come to."""
        ...

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table."""
        ...


class PlainScreen:
    """Text for every terminal, file and pipe."""

    def line(self, text: str) -> None:
        """See `Screen.line`."""
        print(printable(text))

    def report(self, findings: Iterable[Finding]) -> None:
        """See `Screen.report`."""
        found = list(findings)
        for finding in found:
            self.line(_wrapped(finding.level.ljust(_LABEL_CELLS), finding.what))
            if finding.advice:
                self.line(_wrapped(" " * _LABEL_CELLS + "→ ", finding.advice))
        self.line(f"\n{summary(found)}")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """See `Screen.table`."""
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
        for row in [head, *rows]:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            self.line("  ".join([*cells, row[-1]]).rstrip())


class RichScreen:
    """The same with colours and lines, by `rich`."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str) -> None:
        """See `Screen.line`."""
        self._console.print(text, markup=False, highlight=False)

    def report(self, findings: Iterable[Finding]) -> None:
        """See `Screen.report`."""
        from rich.table import Table  # an extra
        from rich.text import Text

        found = list(findings)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for finding in found:
            text = Text(finding.what)
            if finding.advice:
                text.append(f"\n→ {finding.advice}", style="dim")
            grid.add_row(Text(finding.level, style=_STYLES[finding.level]), text)
        self._console.print(grid)
        verdict = _STYLES["ok" if traces_can_arrive(found) else "problem"]
        self._console.print(Text(f"\n{summary(found)}", style=verdict))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """See `Screen.table`."""
        from rich import box  # an extra
        from rich.table import Table
        from rich.text import Text

        table = Table(*head, box=box.SIMPLE_HEAD)
        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table)


def make_screen(*, plain: bool = False) -> Screen:
    """Return the prettiest screen there is; plain text when asked for, without `rich`, and for files and pipes."""
    if plain or not sys.stdout.isatty():
        return PlainScreen()
    try:
        from rich.console import Console  # an extra
    except ImportError:
        return PlainScreen()
    return RichScreen(Console())


def _wrapped(label: str, text: str) -> str:
    """Return the text behind a label, later lines below its beginning."""
    lines = textwrap.wrap(text, _WIDTH - len(label), break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * len(label)}".join([label + (lines[0] if lines else ""), *lines[1:]])


def printable(text: str, stream: TextIO | None = None) -> str:
    """Return the text with what the encoding of the output lacks replaced.

    Args:
        text: What to write.
        stream: Where to; default: standard output.
    """
    encoding = (sys.stdout if stream is None else stream).encoding or "utf-8"
    return text.encode(encoding, errors="backslashreplace").decode(encoding)
