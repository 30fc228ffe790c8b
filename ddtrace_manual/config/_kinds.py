"""The kinds of settings: how a text is parsed and how a value given in code is checked.

A value in code obeys the same ranges as one in the environment, but nothing is corrected there:
what would be clamped or partly dropped in a text is an error in code.

Source: spec/configuration.md §3, §11.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ._agent_url import parse_agent_url, parse_host, parse_http_url, parse_statsd_url
from ._parsers import (
    DEFAULT_STYLES,
    Corrected,
    parse_bool,
    parse_integer,
    parse_list,
    parse_map,
    parse_number,
    parse_pairs,
    parse_ranges,
    parse_rules,
    sort_styles,
)

__all__ = [
    "AGENT_URL",
    "BOOL",
    "CALLABLE",
    "CALLABLES",
    "ERROR_STATUSES",
    "EXCEPTIONS",
    "HOST",
    "HTTP_URL",
    "INJECTION",
    "LIST",
    "LIST_OR_EMPTY",
    "LOG_LEVEL",
    "MAP",
    "OBJECT",
    "OBJECTS",
    "PAIRS",
    "PATH",
    "REGEXP",
    "SPAN_RULES",
    "STATSD_URL",
    "STRING",
    "STYLES",
    "STYLES_OF_DIRECTION",
    "TRACE_RULES",
    "Kind",
    "at_most_sorted",
    "choice",
    "integer",
    "number",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one kind are written, parsed and checked."""

    label: str
    """Name for the reference page."""
    parse: Callable[[str], object]
    """Text → value or `Corrected`; raises `ValueError`."""
    check: Callable[[object], object]
    """Value from code → value or `Corrected`; raises `ValueError`."""
    keeps_empty: bool = False
    """An empty text is a value; otherwise it means unset."""


def _type_error(expected: str) -> ValueError:
    return ValueError(f"must be {expected}")


def _check_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise _type_error("a bool")
    return value


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise _type_error("a str")
    return value


def _text_of(value: object) -> str:
    """Return how a scalar is written in a `k:v` map."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise _type_error("a mapping of str to str")


def _check_map(value: object) -> dict[str, str]:
    if isinstance(value, str):
        return parse_map(value)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _type_error("a mapping of str to str")
    return {key: _text_of(item) for key, item in value.items()}


def _check_pairs(value: object) -> dict[str, str]:
    return parse_pairs(value) if isinstance(value, str) else _check_map(value)


def _check_names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return parse_list(value)
    if not isinstance(value, Iterable):
        raise _type_error("a sequence of str")
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise _type_error("a sequence of str")
    return names


def _check_path(value: object) -> str:
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    raise _type_error("a path")


BOOL: Final = Kind("bool", parse_bool, _check_bool)
STRING: Final = Kind("string", str, _check_text)
PATH: Final = Kind("path", str, _check_path)
LIST: Final = Kind("list", parse_list, _check_names)
LIST_OR_EMPTY: Final = Kind("list", parse_list, _check_names, keeps_empty=True)
MAP: Final = Kind("map `k:v`", parse_map, _check_map)
PAIRS: Final = Kind("map `k=v`", parse_pairs, _check_pairs)
HOST: Final = Kind("host", parse_host, lambda value: parse_host(_check_text(value)))
AGENT_URL: Final = Kind("URL", parse_agent_url, lambda value: parse_agent_url(_check_text(value)))
STATSD_URL: Final = Kind("URL", parse_statsd_url, lambda value: parse_statsd_url(_check_text(value)))
HTTP_URL: Final = Kind("URL", parse_http_url, lambda value: parse_http_url(_check_text(value)))


def integer(low: int | None = None, high: int | None = None, *, clamp: bool = False, unit: str = "") -> Kind:
    """Return the kind of an integer in low … high; `clamp` moves a text out of range to the nearest end."""

    def judge(value: int) -> int | Corrected:
        nearest = value
        if low is not None and value < low:
            nearest = low
        if high is not None and value > high:
            nearest = high
        if nearest == value:
            return value
        reason = f"must be {_describe(low, high)}"
        if clamp:
            return Corrected(nearest, f"{reason}, using {nearest}")
        raise ValueError(reason)

    def check(value: object) -> int | Corrected:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _type_error("an int")
        return judge(value)

    return Kind(f"int{unit and ' '}{unit}", lambda text: judge(parse_integer(text)), check)


def number(
    low: float | None = None,
    high: float | None = None,
    *,
    positive: bool = False,
    magnitude: bool = False,
    clamp: bool = False,
    unit: str = "",
) -> Kind:
    """Return the kind of a finite number.

    Args:
        low: Least value.
        high: Greatest value.
        positive: 0 is not allowed, nor is anything below.
        magnitude: The sign is ignored.
        clamp: A text above `high` means `high`.
        unit: Unit for the reference page.
    """

    def judge(value: float) -> float | Corrected:
        if magnitude:
            value = abs(value)
        if positive and value <= 0:
            raise ValueError("must be greater than 0")
        if high is not None and value > high and clamp:
            return Corrected(high, f"must be at most {high:g}, using {high:g}")
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"must be {_describe(low, high)}")
        return value

    def check(value: object) -> float | Corrected:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _type_error("a number")
        if not math.isfinite(value):
            raise _type_error("a finite number")
        return judge(float(value))

    return Kind(f"number{unit and ' '}{unit}", lambda text: judge(parse_number(text)), check)


def _describe(low: float | None, high: float | None) -> str:
    if high is None:
        return f"at least {low:g}"
    if low is None:
        return f"at most {high:g}"
    return f"in {low:g}-{high:g}"


def choice(*names: str, **spellings: str) -> Kind:
    """Return the kind of one of several words, in any case; `spellings` maps further words to one of them."""
    words = {name.lower(): name for name in names} | spellings
    reason = f"must be one of {', '.join(names)}"

    def parse(text: str) -> str:
        try:
            return words[text.strip().lower()]
        except KeyError:
            raise ValueError(reason) from None

    return Kind("one of " + ", ".join(f"`{name}`" for name in names), parse, lambda value: parse(_check_text(value)))


LOG_LEVEL: Final = choice("notset", "debug", "info", "warning", "error", "critical", "off", warn="warning")


def _parse_injection(text: str) -> bool | Corrected:
    if text.strip().lower() == "structured":
        return True
    try:
        return parse_bool(text)
    except ValueError:
        return Corrected(value=False, reason="must be true, 1, structured, false or 0; log injection is off")


INJECTION: Final = Kind(
    "bool or `structured`",
    _parse_injection,
    lambda value: _parse_injection(value) if isinstance(value, str) else _check_bool(value),
)


def _parse_styles(text: str) -> tuple[str, ...] | Corrected:
    """Parse the styles of both directions; the default list stands in when no name is known."""
    styles = sort_styles(text.split(","))
    if not styles.known and not styles.none:
        return Corrected(DEFAULT_STYLES, f"has no known propagation style, using {','.join(DEFAULT_STYLES)}")
    return _with_unknown(styles.known, styles.unknown)


def _parse_direction(text: str) -> tuple[str, ...] | Corrected:
    """Parse the styles of one direction; nothing known means that it is off."""
    styles = sort_styles(text.split(","))
    return _with_unknown(styles.known, styles.unknown)


def _with_unknown(known: tuple[str, ...], unknown: tuple[str, ...]) -> tuple[str, ...] | Corrected:
    if not unknown:
        return known
    return Corrected(known, f"dropped unknown propagation style {', '.join(map(repr, unknown))}")


def _check_styles(value: object) -> tuple[str, ...] | Corrected:
    styles = sort_styles(_check_names(value))
    return _with_unknown(styles.known, styles.unknown)


STYLES: Final = Kind("list of styles", _parse_styles, _check_styles)
STYLES_OF_DIRECTION: Final = Kind("list of styles", _parse_direction, _check_styles, keeps_empty=True)


def _check_ranges(value: object) -> tuple[tuple[int, int], ...] | Corrected:
    if isinstance(value, str):
        return parse_ranges(value)
    if not isinstance(value, Iterable):
        raise _type_error("a text, or a sequence of status codes and (low, high) pairs")
    ranges: list[tuple[int, int]] = []
    for item in value:
        pair = (item, item) if isinstance(item, int) else item
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(end, int) for end in pair)):
            raise _type_error("a text, or a sequence of status codes and (low, high) pairs")
        ranges.append((min(pair), max(pair)))
    return tuple(ranges)


ERROR_STATUSES: Final = Kind("ranges", parse_ranges, _check_ranges)


def _rules_check(*, needs_rate: bool) -> Callable[[object], tuple[object, ...]]:
    """Return a check of rules given as dictionaries, rule objects or JSON text."""

    def check(value: object) -> tuple[object, ...]:
        if isinstance(value, str):
            value = parse_rules(value)
        if not isinstance(value, Sequence):
            raise _type_error("a sequence of rules")
        for rule in value:
            if isinstance(rule, Mapping):
                if needs_rate and "sample_rate" not in rule:
                    raise ValueError("every rule must have a sample_rate")
            elif not hasattr(rule, "sample_rate"):
                raise _type_error("a sequence of mappings or rule objects")
        return tuple(dict(rule) if isinstance(rule, Mapping) else rule for rule in value)

    return check


TRACE_RULES: Final = Kind("JSON array", parse_rules, _rules_check(needs_rate=True))
SPAN_RULES: Final = Kind("JSON array", parse_rules, _rules_check(needs_rate=False))


def _parse_regexp(text: str) -> str | Corrected:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as exc:
        return Corrected(None, f"is not a regular expression ({exc}); query strings are not recorded")
    return text


REGEXP: Final = Kind(
    "regular expression", _parse_regexp, lambda value: _parse_regexp(_check_text(value)), keeps_empty=True
)


def at_most_sorted(limit: int) -> Kind:
    """Return the kind of a sorted list without repetitions, of which only the first `limit` names count."""

    def judge(names: tuple[str, ...]) -> tuple[str, ...] | Corrected:
        ordered = sorted(set(names))
        if len(ordered) <= limit:
            return tuple(ordered)
        return Corrected(tuple(ordered[:limit]), f"dropped {', '.join(ordered[limit:])}: at most {limit} names count")

    return Kind("list", lambda text: judge(parse_list(text)), lambda value: judge(_check_names(value)))


def _never_text(text: str) -> object:
    raise ValueError(f"cannot be given as text: {text!r}")  # pragma: no cover - such settings have no variable


def _check_callable(value: object) -> object:
    if not callable(value):
        raise _type_error("callable")
    return value


def _check_objects(value: object) -> tuple[object, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise _type_error("a sequence")
    return tuple(value)


def _check_callables(value: object) -> tuple[object, ...]:
    return tuple(_check_callable(item) for item in _check_objects(value))


def _check_exceptions(value: object) -> tuple[object, ...]:
    given = (value,) if isinstance(value, (str, type)) else value
    if not isinstance(given, Iterable):
        raise _type_error("exception classes, or their names")
    exceptions = tuple(given)
    for item in exceptions:
        if not (isinstance(item, type) and issubclass(item, BaseException)) and not (isinstance(item, str) and item):
            raise _type_error("exception classes, or their names")
    return exceptions


OBJECT: Final = Kind("object", _never_text, lambda value: value)
OBJECTS: Final = Kind("sequence", _never_text, _check_objects)
CALLABLE: Final = Kind("callable", _never_text, _check_callable)
CALLABLES: Final = Kind("sequence of callables", _never_text, _check_callables)
EXCEPTIONS: Final = Kind("exceptions", _never_text, _check_exceptions)
