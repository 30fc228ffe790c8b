"""Captured arguments and return values: named, redacted, and bounded in number, depth and length.

What becomes of a value:

| value | recorded |
|---|---|
| `str` | itself, cut to 200 characters |
| `bool`, `float`, `int` of up to 63 bits | itself |
| `None` | `None` as text |
| `dict`, `list`, `tuple`, `set`, dataclass | one tag for each item: `name.key`, `name.0`; below 4 levels the class |
| empty container | `{}`, `[]`, `()`, `set()` as text |
| `bytes`, `bytearray` | `<5 bytes>` |
| date, time, `Decimal`, `UUID`, path, `range`, `Enum` member | its text |
| anything else | `<module.Class>` |

No `repr` of the application's classes is called and nothing is iterated but the containers above: a captured
argument never runs a query, and never tells what its class keeps for itself. At most 25 tags are recorded for one
call's arguments, and as many for its return value. Arguments that are no containers come first, and containers
share what is left, so that a long list does not hide the argument behind it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import Parameter
from itertools import islice
from operator import itemgetter
from pathlib import PurePath
from typing import Any
from uuid import UUID

__all__ = [
    "ARGUMENT_PREFIX",
    "MAX_DEPTH",
    "MAX_TEXT_CHARS",
    "MAX_VALUES",
    "REDACTED",
    "RETURN_TAG",
    "TRUNCATED_TAG",
    "Parameters",
    "captured_tags",
    "redact_secrets",
    "simple_tags",
]

ARGUMENT_PREFIX = "function.arg."
RETURN_TAG = "function.return"
TRUNCATED_TAG = "function.truncated"
"""Set to true when values were left out."""

MAX_VALUES = 25
MAX_DEPTH = 4
MAX_TEXT_CHARS = 200
MAX_NAME_CHARS = 100
REDACTED = "<redacted>"

_SECRET_NAME = re.compile(
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|credential|authorization|cookie|session[-_]?id|csrf|xsrf|signature"
    r"|(?:api|access|private|secret|signing|encryption|auth)[-_. ]?key"
    r"|(?:^|[-_.])(?:auth|pin|otp|cvv|cvc|ssn)(?:$|[-_.])"
    r"|card[-_]?number|connection[-_]?string|\bdsn\b",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"\s*(?:bearer|basic|digest)\s+\S|eyJ[\w-]+\.[\w-]+\.|-----BEGIN [A-Z ]*PRIVATE KEY", re.IGNORECASE
)

_TEXT_TYPES = (date, time, timedelta, Decimal, UUID, PurePath, range, Enum, complex)
_EMPTY: dict[type, str] = {dict: "{}", list: "[]", tuple: "()", set: "set()", frozenset: "set()"}
_MAX_INT_BITS = 63

Column = tuple[int, str, str, object]
"""Of a parameter: its position, its name, the name of its tag, its default."""

_MISSING = Parameter.empty
_BY_NAME = sys.maxsize
"""Position of a parameter that is only given by name: behind all others."""

_SIMPLE_CHARS = 64
"""Longer text is charged to the queue's budget, which setting a tag does."""

_SIMPLE_INT = 1 << _MAX_INT_BITS
_SECRET_STARTS = frozenset("bBdDeE-")
"""What a text that `_SECRET_TEXT` finds begins with, besides white space."""

Redactor = Callable[[str, object], object]


def redact_secrets(name: str, value: object) -> object:
    """Return `<redacted>` for a value whose name or form says that it is a secret, else the value itself.

    The redactor in use unless `Config.redact` names another.

    Args:
        name: Name of the argument, with the keys that lead into it: `user.password`.
        value: The value; containers are asked about before their items.
    """
    if _SECRET_NAME.search(name) and value is not None and not isinstance(value, bool):
        return REDACTED
    if isinstance(value, (str, bytes)):
        text = value[:MAX_TEXT_CHARS]
        if _SECRET_TEXT.match(text if isinstance(text, str) else text.decode("latin-1")):
            return REDACTED
    return value


class Parameters:
    """Names of a callable's parameters, and the arguments of a call by name.

    Binding by hand costs a tenth of `inspect.Signature.bind`, which checks what the call itself checks anyway.

    Attributes:
        open_ended: Names beyond the parameters may occur: there are `**kwargs`, or nothing is known.
    """

    def __init__(self, target: Callable[..., object]) -> None:
        try:
            parameters = list(inspect.signature(target).parameters.values())
        except (TypeError, ValueError):  # a builtin without a signature
            parameters = []
            self.open_ended = True
            self._rest: str | None = "args"
            self._keywords: str | None = None
        else:
            self._rest = _name_of(parameters, inspect.Parameter.VAR_POSITIONAL)
            self._keywords = _name_of(parameters, inspect.Parameter.VAR_KEYWORD)
            self.open_ended = self._keywords is not None
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._positional = [p.name for p in parameters if p.kind in positional]
        self._defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        self._named = {p.name for p in parameters if p.kind in (positional[1], inspect.Parameter.KEYWORD_ONLY)}
        self.names = [p.name for p in parameters]

    def arguments(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, Any]:  # Any: of any type
        """Return the arguments of a call by parameter name, defaults included.

        Positional arguments beyond the named ones are a tuple under the name of `*args`; keywords beyond them are a
        dict under the name of `**kwargs`. A call that will fail gives what can be told.
        """
        bound: dict[str, Any] = dict(zip(self._positional, args, strict=False))
        if self._rest is not None:
            bound[self._rest] = args[len(self._positional) :]
        if kwargs:
            surplus: dict[str, object] = {}
            for name, value in kwargs.items():
                (bound if name in self._named else surplus)[name] = value
            if self._keywords is not None:
                bound[self._keywords] = surplus
            elif surplus and self.open_ended:
                bound.update(surplus)
        elif self._keywords is not None:
            bound[self._keywords] = {}
        for name, default in self._defaults.items():
            bound.setdefault(name, default)
        return bound

    def selected(self, bound: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:  # Any: of any type
        """Return the arguments of these names; one that the call does not have is left out."""
        surplus = bound.get(self._keywords) if self._keywords is not None else None
        found = {}
        for name in names:
            if name in bound:
                found[name] = bound[name]
            elif surplus and name in surplus:
                found[name] = surplus[name]
        return found

    def columns(self, names: tuple[str, ...]) -> tuple[Column, ...] | None:
        """Return where `simple_tags` finds these arguments; `None` if it cannot, or has to hide some by their name."""
        if self._rest is not None or self.open_ended or len(names) > MAX_VALUES:
            return None
        if not self._named.issuperset(self.names) or any(
            len(name) > MAX_NAME_CHARS or _SECRET_NAME.search(name) for name in names
        ):
            return None
        index = {name: number for number, name in enumerate(self._positional)}
        return tuple(
            (index.get(name, _BY_NAME), name, ARGUMENT_PREFIX + name, self._defaults.get(name, _MISSING))
            for name in names
        )


def simple_tags(
    columns: tuple[Column, ...],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> dict[str, Any] | None:  # Any: values of tags
    """Return what `captured_tags` would for arguments that are short text and numbers; `None` if one is not."""
    count = len(args)
    tags = {}
    for index, name, tag, default in columns:
        value = args[index] if index < count else kwargs.get(name, default)
        cls = value.__class__
        if cls is str:
            first = value[:1]  # type: ignore[index] # a str
            if len(value) > _SIMPLE_CHARS or first in _SECRET_STARTS or first.isspace():  # type: ignore[arg-type]
                return None
        elif cls is int:
            if not -_SIMPLE_INT < value < _SIMPLE_INT:  # type: ignore[operator] # an int
                return None
        elif cls is not bool:
            return None
        tags[tag] = value
    return tags


def _name_of(parameters: list[inspect.Parameter], kind: object) -> str | None:
    return next((p.name for p in parameters if p.kind is kind), None)


def captured_tags(
    values: Mapping[str, object],
    prefix: str,
    redact: Redactor | None = None,
) -> dict[str, str | int | float | bool]:
    """Return the tags that record `values`, each named `prefix` + name.

    Args:
        values: Captured values by name.
        prefix: Put before every name, but not shown to the redactor.
        redact: (name, value) → value to record; default: `redact_secrets`.

    Raises:
        Exception: Whatever the redactor or a container of the application raises.
    """
    capture = _Capture(prefix, redact or redact_secrets)
    containers: list[tuple[int, str, object]] = []
    for name, value in values.items():
        text = _text(str(name), MAX_NAME_CHARS)
        size = _size(value)
        if size:
            containers.append((size, text, value))
        else:
            capture.add(text, value, 0)
    containers.sort(key=itemgetter(0))  # what a small one leaves of its share goes to those after it
    for index, (_, text, value) in enumerate(containers):
        free = MAX_VALUES - len(capture.tags)
        capture.limit = len(capture.tags) + free // (len(containers) - index)
        capture.add(text, value, 0)
    if capture.truncated:
        capture.tags[TRUNCATED_TAG] = True
    return capture.tags


class _Capture:
    """Collects the tags of one call."""

    def __init__(self, prefix: str, redact: Redactor) -> None:
        self._prefix = prefix
        self._redact = redact
        self.tags: dict[str, str | int | float | bool] = {}
        self.limit = MAX_VALUES
        self.truncated = False

    def add(self, name: str, value: object, depth: int) -> None:
        """Record a value and, down to the depth allowed, what it contains."""
        if len(self.tags) >= self.limit:
            self.truncated = True
            return
        value = self._redact(name, value)
        items = _items(value) if depth < MAX_DEPTH else None
        if items is None:
            self.tags[self._prefix + name] = _leaf(value)
            return
        for key, item in islice(items, MAX_VALUES + 1):
            self.add(
                f"{name}.{_text(str(key) if isinstance(key, _KEY_TYPES) else _class_name(key), MAX_NAME_CHARS)}",
                item,
                depth + 1,
            )


_KEY_TYPES = (str, int, float, bool, type(None), *_TEXT_TYPES)


def _items(value: object) -> Iterable[tuple[object, object]] | None:
    """Return what a container contains by key; `None` for an empty one and for everything else."""
    if isinstance(value, dict):
        return value.items() if value else None
    if isinstance(value, (list, tuple, set, frozenset)):
        if not value:
            return None
        names = getattr(value, "_fields", None) if isinstance(value, tuple) else None
        return zip(names, value, strict=False) if isinstance(names, tuple) else enumerate(value)
    if is_dataclass(value) and not isinstance(value, type):
        return ((field.name, getattr(value, field.name, None)) for field in fields(value) if field.repr)
    return None


def _size(value: object) -> int:
    """Return how many items a container has, about; 0 for an empty one and for everything else."""
    if isinstance(value, (str, int, float)):
        return 0
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return len(value)
    return len(fields(value)) if is_dataclass(value) and not isinstance(value, type) else 0


def _leaf(value: object) -> str | int | float | bool:  # noqa: PLR0911 - the table of the module, row by row
    """Return what is recorded for a value without items."""
    if isinstance(value, str):
        return _text(str.__str__(value), MAX_TEXT_CHARS)
    if value is None or isinstance(value, bool):
        return "None" if value is None else value
    if isinstance(value, Enum):
        return _text(f"{type(value).__name__}.{value.name}", MAX_TEXT_CHARS)
    if isinstance(value, int):
        bits = value.bit_length()
        return int(value) if bits <= _MAX_INT_BITS else f"<int of {bits} bits>"
    if isinstance(value, float):
        return float(value) if float("-inf") < value < float("inf") else float.__repr__(value)
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    if isinstance(value, _TEXT_TYPES):
        return _text(str(value), MAX_TEXT_CHARS)
    empty = _EMPTY.get(type(value))
    return empty if empty is not None and not value else _class_name(value)


def _class_name(value: object) -> str:
    cls = type(value)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    return f"<{_text(name, MAX_TEXT_CHARS)}>"


def _text(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
