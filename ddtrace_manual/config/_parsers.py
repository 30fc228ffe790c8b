"""Text → value, pure: every form in which a setting can be written in the environment or in a file.

A parser returns the value, raises `ValueError` with the reason when the text is unusable, or
returns `Corrected` when it is usable only after something was dropped or clamped.

Source: spec/configuration.md §3, §3.1, §5.2; spec/propagation.md §2.1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "DEFAULT_STYLES",
    "Corrected",
    "Styles",
    "format_map",
    "parse_bool",
    "parse_integer",
    "parse_list",
    "parse_map",
    "parse_number",
    "parse_pairs",
    "parse_ranges",
    "parse_rules",
    "sort_styles",
]

_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_RANGE: Final = re.compile(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?")

DEFAULT_STYLES: Final = ("datadog", "tracecontext", "baggage")
_STYLES: Final = {
    "datadog": "datadog",
    "tracecontext": "tracecontext",
    "b3multi": "b3multi",
    "b3": "b3",
    "b3 single header": "b3",
    "baggage": "baggage",
}


@dataclass(frozen=True, slots=True)
class Corrected:
    """A usable value, after part of the text was dropped or clamped."""

    value: object
    reason: str
    """What was wrong, as the end of a sentence about the variable."""


@dataclass(frozen=True, slots=True)
class Styles:
    """Propagation styles found in a list of names."""

    known: tuple[str, ...]
    """Canonical names in order, each once; `none` is not among them."""
    unknown: tuple[str, ...]
    none: bool
    """`none` was among the names."""


def parse_bool(text: str) -> bool:
    """Parse `true`, `1`, `false` or `0` in any case."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("must be true, 1, false or 0")


def parse_integer(text: str) -> int:
    """Parse a decimal integer with an optional sign."""
    word = text.strip()
    if not _INTEGER.fullmatch(word):
        raise ValueError("must be an integer")
    return int(word)


def parse_number(text: str) -> float:
    """Parse a finite decimal number; the exponent form is allowed."""
    word = text.strip()
    if not _NUMBER.fullmatch(word):
        raise ValueError("must be a number")
    value = float(word)
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def parse_list(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list; pieces are trimmed, empty ones dropped."""
    return tuple(piece for piece in map(str.strip, text.split(",")) if piece)


def parse_map(text: str) -> dict[str, str]:
    """Parse `k:v` pieces separated by commas, or by spaces when there is no comma at all.

    A piece without colon is a key with an empty value, a piece without key is dropped, and the
    last of several equal keys counts.

    Source: spec/configuration.md §3.1.
    """
    result: dict[str, str] = {}
    for piece in text.split("," if "," in text else " "):
        key, _, value = piece.strip().partition(":")
        key = key.strip()
        if key:
            result[key] = value.strip()
    return result


def format_map(values: Mapping[str, str]) -> str:
    """Return `k:v` pieces joined by commas, in insertion order."""
    return ",".join(f"{key}:{value}" for key, value in values.items())


def parse_pairs(text: str) -> dict[str, str]:
    """Parse `k=v` pieces separated by commas; values are percent-decoded.

    Raises:
        ValueError: A piece has no `=` or no key, which invalidates the whole text (OpenTelemetry's rule).

    Source: spec/configuration.md §5.2.
    """
    result: dict[str, str] = {}
    for piece in parse_list(text):
        key, separator, value = piece.partition("=")
        key = key.strip()
        if not separator or not key:
            raise ValueError("every piece must have the form key=value")
        result[key] = unquote(value.strip())
    return result


def parse_ranges(text: str) -> tuple[tuple[int, int], ...] | Corrected:
    """Parse `a-b,c` into inclusive ranges; the order of a and b does not matter.

    Raises:
        ValueError: No piece is usable.

    Source: spec/configuration.md §8.6.
    """
    ranges: list[tuple[int, int]] = []
    bad: list[str] = []
    for piece in parse_list(text):
        match = _RANGE.fullmatch(piece)
        if match is None:
            bad.append(piece)
            continue
        first = int(match[1])
        last = int(match[2]) if match[2] is not None else first
        ranges.append((min(first, last), max(first, last)))
    if not ranges:
        raise ValueError("must be a list of numbers and ranges a-b")
    if bad:
        return Corrected(tuple(ranges), f"skipped {', '.join(map(repr, bad))}: neither a number nor a range a-b")
    return tuple(ranges)


def parse_rules(text: str) -> tuple[object, ...]:
    """Parse a JSON array; its elements are judged by the sampler.

    Raises:
        ValueError: Not JSON, or not an array.
    """
    import json  # most processes have no rules

    try:
        rules = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"must be a JSON array ({exc})") from None
    if not isinstance(rules, list):
        raise ValueError("must be a JSON array")  # noqa: TRY004 - the text is wrong, not a type
    return tuple(rules)


def sort_styles(names: Iterable[str]) -> Styles:
    """Sort names of propagation styles into known, in canonical spelling, and unknown ones.

    Source: spec/propagation.md §2.1.
    """
    known: dict[str, None] = {}
    unknown: list[str] = []
    none = False
    for name in names:
        word = name.strip().lower()
        if word == "none":
            none = True
        elif word in _STYLES:
            known[_STYLES[word]] = None
        elif word:
            unknown.append(name.strip())
    return Styles(tuple(known), tuple(unknown), none)
