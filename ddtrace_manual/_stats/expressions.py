"""Regular expressions that come from the Agent, matched in bounded time.

The Agent writes them for RE2, which takes linear time; Python's `re` backtracks while it holds the interpreter. With
google-re2 every expression is matched as it is meant. Without it `re` matches only expressions whose cost can be
bounded, on at most 5,000 characters; how many characters are looked at falls with the number of places where the
expression can match the same text in several ways.

Source: spec/trace-export.md §9.3.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["UnsafeExpressionError", "compile_search"]

_MAX_CHARS: Final = 5_000
_MIN_CHARS: Final = 100  # an expression that could look at fewer is refused
_BUDGET: Final = 2_000_000  # steps, at some nanoseconds each: the worst search found takes less than 50 ms
_MANY: Final = 100  # repeats that count as unbounded

_Chars = frozenset[int]
_PARSER: Final = "re._parser" if sys.version_info >= (3, 11) else "sre_parse"
_ASCII: Final = 128
_SAMPLE: Final = frozenset([*range(_ASCII), *map(ord, "é中\u2028")])
_CATEGORIES: Final = {
    "CATEGORY_DIGIT": frozenset(code for code in _SAMPLE if chr(code) in "0123456789"),
    "CATEGORY_SPACE": frozenset(code for code in _SAMPLE if chr(code) in " \t\n\r\f\v"),
    "CATEGORY_WORD": frozenset(code for code in _SAMPLE if code < _ASCII and (chr(code).isalnum() or chr(code) == "_")),
}
_CATEGORIES_NOT: Final = {name.replace("Y_", "Y_NOT_"): _SAMPLE - codes for name, codes in _CATEGORIES.items()}
_NOTHING: Final[_Chars] = frozenset()


class UnsafeExpressionError(ValueError):
    """Python's `re` might take too long for this expression."""


def compile_search(text: str) -> Callable[[str], bool]:
    """Return a function that says whether the expression is found in a text.

    Raises:
        UnsafeExpressionError: google-re2 is not installed, and `re` might take too long.
        ValueError: It is not a regular expression.
    """
    re2 = _load_re2()
    return _search_with_re(text) if re2 is None else _search_with_re2(re2, text)


@lru_cache(maxsize=1)
def _load_re2() -> Any:  # Any: google-re2 has no types
    try:
        return importlib.import_module("re2")
    except ImportError:
        return None


def _search_with_re2(re2: Any, text: str) -> Callable[[str], bool]:  # Any: as above
    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(text.encode(errors="replace"), options)
    except re2.error as error:
        raise ValueError(str(error)) from None
    return lambda searched: pattern.search(searched.encode(errors="replace")) is not None


def _search_with_re(text: str) -> Callable[[str], bool]:
    try:
        # RE2's classes are those of ASCII.
        limit = _limit(text)
        pattern = re.compile(text, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return lambda searched: pattern.search(searched[:limit]) is not None


def _limit(text: str) -> int:
    """Return how many characters may be searched."""
    if "[[:" in text:
        raise UnsafeExpressionError("it has a class that re does not know")
    parsed = importlib.import_module(_PARSER).parse(text, re.ASCII)
    cost = _Cost()
    cost.sequence(list(parsed), _NOTHING, repeats=1)
    operations = [str(operation) for operation, _ in list(parsed)[:1]]
    degree = cost.ambiguous + cost.scans + (operations != ["AT"])
    factor = cost.factor * cost.steps
    limit = int((_BUDGET / factor) ** (1 / max(degree, 1))) if factor <= _BUDGET else 0
    if limit < _MIN_CHARS:
        raise UnsafeExpressionError("it can match the same text in too many ways")
    return min(limit, _MAX_CHARS)


@dataclass(slots=True)
class _Cost:
    """How the steps of a search grow with the length of the text: length ** (ambiguous + scans), times factor."""

    ambiguous: int = 0
    """Unbounded repeats that can give way to what follows in several places."""
    scans: bool = False
    """There are other unbounded repeats."""
    factor: int = 1
    steps: int = 1
    """What bounded repeats add to each attempt."""

    def sequence(self, nodes: Iterable[Any], follow: _Chars, *, repeats: int) -> tuple[_Chars, bool]:  # Any: parser's
        """Add a sequence; return the characters it can begin with, and whether it can be empty.

        Args:
            nodes: Of the parser.
            follow: What may come next.
            repeats: How often the innermost loops around it may run in all; 1 for none.
        """
        first, nullable = _NOTHING, True
        for operation, argument in reversed(list(nodes)):
            here = first | follow if nullable else first
            begins, is_empty = self._node(str(operation), argument, here, repeats)
            first = begins | first if is_empty else begins
            nullable = nullable and is_empty
        return first, nullable

    def _node(self, operation: str, argument: Any, follow: _Chars, repeats: int) -> tuple[_Chars, bool]:
        if operation == "AT":
            return _NOTHING, True
        if operation == "SUBPATTERN":
            return self.sequence(argument[-1], follow, repeats=repeats)
        if operation == "BRANCH":
            return self._branch(argument[1], follow, repeats)
        if operation in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = argument
            return self._repeat(int(low), int(high), body, follow, repeats)
        return _characters(operation, argument), False

    def _branch(self, alternatives: Iterable[Any], follow: _Chars, repeats: int) -> tuple[_Chars, bool]:
        """Add alternatives as if all of them were tried one after the other."""
        seen, first, empty = _NOTHING, _NOTHING, False
        for nodes in alternatives:
            begins, is_empty = self.sequence(nodes, follow, repeats=repeats)
            effective = begins | follow if is_empty else begins
            if effective & seen or (empty and is_empty):
                self._ambiguity(2, repeats)
            seen, first, empty = seen | effective, first | begins, empty or is_empty
        return first, empty

    def _repeat(self, low: int, high: int, body: Any, follow: _Chars, repeats: int) -> tuple[_Chars, bool]:
        begins, is_empty = _first(body)
        if high > _MANY and repeats > _MANY:
            raise UnsafeExpressionError("it has an unbounded repeat inside another")
        if high > 1 and is_empty:
            raise UnsafeExpressionError("it repeats what can be empty")
        self.sequence(body, follow | begins if high > 1 else follow, repeats=max(repeats, high))
        if low != high and begins & follow:
            self._ambiguity(high - low + 1, repeats)
        elif high > _MANY:
            self.scans = True
        else:
            self.steps += high
        return begins, is_empty or low == 0

    def _ambiguity(self, ways: int, repeats: int) -> None:
        """Note that the same text can be matched in several ways."""
        if repeats > 1:
            raise UnsafeExpressionError("it can match the same text in several ways inside a repeat")
        if ways > _MANY:
            self.ambiguous += 1
        else:
            self.factor *= ways


def _first(nodes: Iterable[Any]) -> tuple[_Chars, bool]:  # Any: parser's
    """Return the characters a sequence can begin with, and whether it can be empty."""
    first = _NOTHING
    for operation, argument in nodes:
        name = str(operation)
        if name == "AT":
            continue
        if name == "SUBPATTERN":
            begins, is_empty = _first(argument[-1])
        elif name == "BRANCH":
            firsts = [_first(each) for each in argument[1]]
            begins, is_empty = _NOTHING.union(*(each for each, _ in firsts)), any(each for _, each in firsts)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            begins, is_empty = _first(argument[2])
            is_empty = is_empty or int(argument[0]) == 0
        else:
            begins, is_empty = _characters(name, argument), False
        first |= begins
        if not is_empty:
            return first, False
    return first, True


def _characters(operation: str, argument: Any) -> _Chars:  # Any: parser's
    """Return the characters of the sample that a node matches, in either case."""
    if operation == "ANY":
        return _SAMPLE
    if operation == "LITERAL":
        return _either_case(argument)
    if operation == "NOT_LITERAL":
        return _SAMPLE - {argument}
    if operation != "IN":
        raise UnsafeExpressionError(f"it uses {operation.lower()}, which RE2 does not know either")
    found: set[int] = set()
    # What is excluded is taken exactly, what is included generously: the result is never too small.
    negated = str(argument[0][0]) == "NEGATE"
    widened: Callable[[int], _Chars] = (lambda code: frozenset([code])) if negated else _either_case
    for kind, value in argument[negated:]:
        name = str(kind)
        if name == "LITERAL":
            found |= widened(value)
        elif name == "RANGE":
            found |= {each for code in _SAMPLE if value[0] <= code <= value[1] for each in widened(code)}
            found |= widened(value[0]) | widened(value[1])
        else:
            category = str(value)
            found |= _CATEGORIES.get(category) or _CATEGORIES_NOT[category]
    return (_SAMPLE - found) if negated else frozenset(found)


def _either_case(code: int) -> _Chars:
    """Return a character in both cases, and for one outside ASCII all that are."""
    if code >= _ASCII:
        return frozenset([code, *(each for each in _SAMPLE if each >= _ASCII)])
    return frozenset({ord(chr(code).lower()), ord(chr(code).upper())})
