"""`check`: mistakes in how a program makes spans, found in its source; nothing of it is run or imported."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._version import __version__

from .render import plain_text

if TYPE_CHECKING:
    from .check_rules import Mistake

__all__ = ["add_check", "python_files"]

_FOUND: Final = 1
_NOT_CHECKED: Final = 2
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def add_check(commands: Any) -> None:  # Any: the class of `add_subparsers` is private
    """Add the command `check`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="find mistakes in how a program makes spans",
        description="Read Python files, without running them. Exit status 1: mistakes were found; 2: a file cannot be"
        " read. A comment `# ddtrace-manual: ignore` on the line silences it.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, or a folder of .py files")
    parser.add_argument("--format", choices=("text", "json", "sarif"), default="text", help="default: text")
    parser.set_defaults(run=_check)


def python_files(paths: Sequence[str]) -> Iterator[Path]:
    """Yield the files that are named and the `.py` files of folders; environments and hidden folders are skipped."""
    for name in paths:
        if not Path(name).is_dir():
            yield Path(name)
            continue
        for folder, below, files in os.walk(name):
            below[:] = sorted(
                each
                for each in below
                if not each.startswith(".") and each not in _SKIPPED and not Path(folder, each, "pyvenv.cfg").exists()
            )
            yield from (Path(folder, each) for each in sorted(files) if each.endswith(".py"))


def _check(options: argparse.Namespace) -> int:
    from .check_rules import find_mistakes

    found: list[tuple[str, Mistake]] = []
    status = 0
    for path in python_files(options.paths):
        try:
            mistakes = find_mistakes(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as exc:  # noqa: PERF203 - file by file
            print(plain_text(f"check: {path}: not checked: {exc}"), file=sys.stderr)
            status = _NOT_CHECKED
        else:
            found += [(path.as_posix(), each) for each in mistakes]
    if options.format == "text":
        for name, each in found:
            print(plain_text(f"{name}:{each.line}:{each.column}: {each.rule} {each.message}"))
    else:
        print(json.dumps(_sarif(found) if options.format == "sarif" else _document(found), indent=2))
    return status or (_FOUND if found else 0)


def _document(found: Sequence[tuple[str, Mistake]]) -> list[dict[str, Any]]:  # Any: JSON
    return [
        {"path": name, "line": each.line, "column": each.column, "rule": each.rule, "message": each.message}
        for name, each in found
    ]


def _sarif(found: Sequence[tuple[str, Mistake]]) -> dict[str, Any]:  # Any: JSON
    """Return a SARIF 2.1.0 log."""
    from .check_rules import RULES

    results = [
        {
            "ruleId": each.rule,
            "level": "warning",
            "message": {"text": each.message},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": name},
                        "region": {"startLine": each.line, "startColumn": each.column},
                    }
                }
            ],
        }
        for name, each in found
    ]
    driver = {
        "name": "ddtrace-manual",
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": text}} for rule, text in RULES.items()],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }
