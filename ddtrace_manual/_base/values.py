"""Values of tags, attributes and metrics: copied and reduced to plain types where they are given.

| given | kept |
|---|---|
| str, bool, int, float, bytes, `None` | itself; of a subclass the plain value |
| bytearray, memoryview | bytes, cut to what a span can carry |
| `Enum` member | its value, by this table |
| numpy's bool | bool |
| other real `numbers.Number` (`Decimal`, `Fraction`, numpy scalars) | int or float |
| date, time, datetime | `isoformat()` |
| named tuple, dataclass, pydantic model | dict by field name; fields with `repr=False` are left out |
| mapping | dict; keys as text, empty keys dropped |
| other sequence, set | tuple |
| anything else | `str(value)`, or `<unprintable Class>` when that raises |

One value keeps at most 1,000 elements, counted across all levels, and 16 levels; what lies deeper becomes `...`, which
also ends cycles. A container that fails while it is read keeps what was read before.

Nothing here raises because of a value: its class, truth, length, text, hash, comparison and iteration may all fail.
`type(value)` is asked before `isinstance`, which may run code of the value.

Source: spec/span-mapping.md §7.
"""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields as dataclass_fields
from datetime import date, time
from enum import Enum
from itertools import islice
from numbers import Number
from typing import Any

from .errors import class_name, safe_str

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "MAX_PAIRS",
    "clean_key",
    "clean_mapping",
    "clean_value",
    "is_a",
    "is_true",
    "items_of",
    "metric_of",
    "nanoseconds",
]

_logger = logging.getLogger("ddtrace_manual.tracing")

MAX_DEPTH = 16
"""Levels of nesting that are kept."""
MAX_ELEMENTS = 1_000
"""Elements of one value that are kept, in all its levels together."""
MAX_BYTES = 100_004
"""Bytes that are read of a buffer: as UTF-8 they are more than the 25,000 characters that a span can carry."""
MAX_PAIRS = 2_000
"""Attributes that are read of one mapping; a span keeps 128 by default."""
_MAX_NUMBER_CHARS = 100

_PLAIN = frozenset({str, bool, int, float, bytes, type(None)})
_NUMPY_BOOLS = frozenset({"bool", "bool_"})


def is_a(value: object, classes: type | tuple[type, ...]) -> bool:
    """Return `isinstance(value, classes)`; `False` when the value fails to be asked."""
    try:
        return isinstance(value, classes)
    except Exception:  # `__class__` of the application
        return False


def is_true(value: object) -> bool:
    """Return `bool(value)`; `False` when that raises."""
    try:
        return bool(value)
    except Exception:  # `__bool__` or `__len__` of the application
        return False


def clean_value(value: object, max_length: int | None = None) -> Any:  # Any: see the table
    """Return the snapshot of one value.

    Args:
        value: Of any type.
        max_length: Longer texts are cut.
    """
    return _Cleaner(max_length).clean(value, 0)


def clean_key(key: Any) -> str | None:  # Any: whatever the application gave
    """Return an attribute key as text, or `None` when it is to be dropped."""
    cls: Any = type(key)  # Any: a class of any kind
    if issubclass(cls, str):
        return str.__str__(key) or None
    # Like the SDK: what is falsy, and what has only the text that every object has, names nothing.
    try:
        is_nameless = not key or (cls.__str__ is object.__str__ and cls.__repr__ is object.__repr__)
    except Exception:  # an object of the application may refuse to be true or false
        return None
    return None if is_nameless else safe_str(key)


def items_of(attributes: object) -> list[tuple[Any, Any]]:  # Any: whatever the application gave
    """Return the pairs of a mapping, at most 2,000; what cannot be read is left out."""
    pairs: list[tuple[Any, Any]] = []
    if attributes is None:
        return pairs
    try:
        # Read in one step where it is a dict, so that no other thread can change it meanwhile.
        pairs.extend(islice(attributes.items(), MAX_PAIRS))  # type: ignore[attr-defined] # whatever came
    except Exception:  # a mapping of the application may raise anything
        _logger.debug("Attributes of type %s were dropped: not a mapping, or not readable.", class_name(attributes))
    if type(attributes) is dict:
        return pairs
    return [pair for pair in pairs if type(pair) is tuple and len(pair) == 2]  # key and value


def nanoseconds(value: object) -> int | None:
    """Return a time the application gave as an integer, or `None` when it is no number."""
    try:
        return int.__pos__(int(value))  # type: ignore[call-overload] # whatever the application gave
    except Exception:  # text, infinities, foreign number types
        _logger.debug("A time of type %s was ignored: no number of nanoseconds.", class_name(value))
        return None


def clean_mapping(attributes: object) -> dict[str, Any]:  # Any: see the table
    """Return snapshots of attributes; empty when they cannot be read."""
    named = ((clean_key(key), value) for key, value in items_of(attributes))
    return {key: clean_value(value) for key, value in named if key is not None}


def metric_of(value: Any) -> float | None:  # Any: of every type
    """Return the number that a metric is set to; `None` for what is none: not a number, nor the text of one."""
    kind = type(value)
    if issubclass(kind, str):
        return _parse_number(str.__str__(value))
    cleaned = value if kind in _PLAIN else clean_value(value)
    if type(cleaned) is bool and (kind is bool or kind.__module__ == "numpy"):
        return int(cleaned)
    is_number = type(cleaned) in (int, float) and (kind in _PLAIN or is_a(value, Number))
    return cleaned if is_number else None


def _parse_number(text: str) -> float | None:
    text = text.strip()
    if len(text) > _MAX_NUMBER_CHARS or not text.isascii() or "_" in text:
        return None
    for parse in (int, float):
        try:
            number = parse(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


class _Cleaner:
    """Takes the snapshot of one value, whose elements it counts."""

    __slots__ = ("_left", "_max_length")

    def __init__(self, max_length: int | None) -> None:
        self._left = MAX_ELEMENTS
        self._max_length = max_length

    def clean(self, value: Any, depth: int) -> Any:  # Any: see the table
        kind = type(value)
        if kind is str:
            return self._cut(value)
        if kind in _PLAIN:
            return value
        try:
            return self._clean_subclass(value, kind) if issubclass(kind, _BASES) else self._clean_other(value, depth)
        except Exception:  # an object of the application may raise anything
            return self._cut(safe_str(value))

    def _cut(self, text: str) -> str:
        return text if self._max_length is None else text[: self._max_length]

    def _clean_subclass(self, value: Any, kind: type) -> Any:  # Any: see the table
        """Return the plain value of an instance of a subclass, without running its methods."""
        if issubclass(kind, str):
            return self._cut(str.__str__(value))
        if issubclass(kind, int):
            return int.__pos__(value)
        if issubclass(kind, float):
            return float.__pos__(value)
        try:
            view = memoryview(value)
            return bytes(view if view.nbytes <= MAX_BYTES else view.cast("B")[:MAX_BYTES])
        except Exception:  # a released buffer, or one whose elements lie apart
            return f"<unprintable {class_name(value)}>"

    def _clean_other(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 - one return per row; Any: see the table
        kind = type(value)
        if kind.__module__ == "numpy" and kind.__name__ in _NUMPY_BOOLS:
            return bool(value)
        if is_a(value, Number):
            number = _real_number(value)
            return self._cut(safe_str(value)) if number is None else number
        if is_a(value, (date, time)):
            return self._cut(safe_str(value.isoformat()))
        is_enum = is_a(value, Enum)
        names = None if is_enum else _field_names(value, kind)
        if not is_enum and names is None and not is_a(value, (Sequence, AbstractSet, Mapping)):
            return self._cut(safe_str(value))
        if depth >= MAX_DEPTH:
            return "..."
        if is_enum:
            return self.clean(value.value, depth + 1)
        if names is not None:
            return self._clean_pairs([(name, getattr(value, name, None)) for name in names], depth + 1)
        is_mapping = is_a(value, Mapping)
        elements, is_complete = _read(value.items() if is_mapping else value, self._left)
        if not elements and not is_complete:
            return f"<unprintable {class_name(value)}>"
        return self._clean_pairs(elements, depth + 1) if is_mapping else self._clean_elements(elements, depth + 1)

    def _clean_elements(self, elements: list[Any], depth: int) -> tuple[Any, ...]:
        kept = []
        for element in elements:
            if self._left <= 0:
                break
            self._left -= 1
            kept.append(self.clean(element, depth))
        return tuple(kept)

    def _clean_pairs(self, pairs: list[Any], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for pair in pairs:
            if self._left <= 0:
                break
            self._left -= 1
            key, value = pair
            name = clean_key(key)
            if name is not None:
                kept[name] = self.clean(value, depth)
        return kept


_BASES = (str, int, float, bytes, bytearray, memoryview)


def _read(elements: Iterable[Any], limit: int) -> tuple[list[Any], bool]:
    """Return the first elements, and whether they could be read without an error.

    They are read in one step, so that no other thread can change a dict meanwhile.
    """
    read: list[Any] = []
    try:
        read.extend(islice(elements, limit))
    except Exception:  # a container of the application may raise anything while iterated
        _logger.debug("Could not read all of a container: iterating over a %s failed.", class_name(elements))
        return read, False
    return read, True


def _real_number(value: Any) -> float | None:
    """Return a number as int or float; infinity when it is too large for either, `None` when it is not real."""
    if hasattr(type(value), "__index__"):
        return int.__pos__(operator.index(value))
    if not hasattr(type(value), "__float__") or is_a(value, complex):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _field_names(value: object, kind: Any) -> list[str] | None:  # Any: a class of any kind
    """Return the names of the fields of a named tuple, a dataclass or a pydantic model; `None` for anything else."""
    if issubclass(kind, tuple):
        names = getattr(kind, "_fields", None)
        return list(names) if type(names) is tuple else None
    if hasattr(kind, "__dataclass_fields__"):
        return [field.name for field in dataclass_fields(kind) if field.repr]
    models = getattr(kind, "__pydantic_fields__", None)
    if type(models) is dict:
        extra = getattr(value, "__pydantic_extra__", None) or ()
        return [name for name, field in models.items() if field.repr] + list(islice(extra, MAX_ELEMENTS))
    return None
