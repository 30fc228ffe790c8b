"""Attribute values as they are kept: snapshots of what was given, so that later changes do not show.

Nothing is dropped because of its type; typing for the wire happens in `_mapping`. What becomes of a
value here:

| given | kept |
|---|---|
| str | itself, cut to the limit of the provider if there is one |
| bool, int, float, bytes, None | itself |
| bytearray, memoryview | bytes |
| sequence, set | tuple of kept values |
| mapping | dict of kept values; keys as text, empty keys dropped |
| anything else | `str(value)`, or `<unprintable Class>` when that raises |

Keys become text as in the SDK: empty ones and objects without a text of their own are dropped.

Nesting deeper than 16 levels is cut to `...`, which also ends cycles.

Source: spec/span-mapping.md §7; OpenTelemetry specification, common/attribute limits.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ddtrace_manual._errors import safe_str

__all__ = ["clean_items", "clean_key", "clean_value", "items_of", "nanoseconds", "size_of"]

_logger = logging.getLogger("ddtrace_manual.tracing")
_MAX_DEPTH = 16


def clean_value(value: object, max_length: int | None = None, depth: int = 0) -> Any:  # Any: see the table
    """Return the snapshot of one value."""
    if isinstance(value, str):
        text = value if type(value) is str else str.__str__(value)
        return text if max_length is None else text[:max_length]
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return value
    try:
        if isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        if isinstance(value, (Sequence, AbstractSet, Mapping)):
            return "..." if depth >= _MAX_DEPTH else _clean_container(value, max_length, depth + 1)
    except Exception:  # noqa: BLE001 - a container of the application may raise anything while iterated
        return f"<unprintable {type(value).__name__}>"
    text = safe_str(value)
    return text if max_length is None else text[:max_length]


def _clean_container(value: Collection[object], max_length: int | None, depth: int) -> Any:  # Any: see the table
    if not isinstance(value, Mapping):
        return tuple(clean_value(item, max_length, depth) for item in value)
    return {
        name: clean_value(item, max_length, depth)
        for key, item in value.items()
        if (name := clean_key(key)) is not None
    }


def clean_key(key: object) -> str | None:
    """Return an attribute key as text, or `None` when it is to be dropped."""
    if isinstance(key, str):
        return str.__str__(key) or None
    # Like the SDK: what is falsy, and what has only the text that every object has, names nothing.
    cls = type(key)
    try:
        is_nameless = not key or (cls.__str__ is object.__str__ and cls.__repr__ is object.__repr__)
    except Exception:  # noqa: BLE001 - an object of the application may refuse to be true or false
        return None
    return None if is_nameless else safe_str(key)


def items_of(attributes: object) -> Iterable[tuple[object, object]]:
    """Return the pairs of a mapping; nothing for what is none, or fails to be read."""
    try:
        return list(attributes.items())  # type: ignore[attr-defined] # whatever the application gave
    except Exception:  # noqa: BLE001 - a mapping of the application may raise anything
        _logger.debug("Attributes of type %r were dropped: no mapping.", type(attributes))
        return ()


def nanoseconds(value: object) -> int | None:
    """Return a time the application gave as an integer, or `None` when it is no number."""
    try:
        return int(value)  # type: ignore[call-overload,no-any-return] # whatever the application gave
    except Exception:  # noqa: BLE001 - text, infinities, foreign number types
        _logger.debug("A time of type %r was ignored: no number of nanoseconds.", type(value))
        return None


def clean_items(
    items: Mapping[Any, object] | None,
    max_count: int | None,
    max_length: int | None,
) -> tuple[dict[str, Any], int]:  # Any: see the table
    """Return snapshots of attributes and how many were dropped.

    Dropped are keys that are empty or have no text, and the oldest ones beyond `max_count`.
    """
    kept: dict[str, Any] = {}
    if not items:
        return kept, 0
    dropped = 0
    for given, value in items.items() if type(items) is dict else items_of(items):
        key = given
        if type(key) is not str or not key:
            key = clean_key(given)
            if key is None:
                dropped += 1
                continue
        cls = value.__class__
        if cls is int or cls is bool or cls is float or (cls is str and max_length is None):
            kept[key] = value
        else:
            kept[key] = clean_value(value, max_length)
    if max_count is not None:
        for key in list(kept)[: max(0, len(kept) - max_count)]:
            del kept[key]
            dropped += 1
    return kept, dropped


def size_of(value: Any) -> int:  # Any: see the table
    """Return roughly the bytes a kept value takes: 64, and its length if it is text, or that of its items."""
    cls = value.__class__
    if cls is str or cls is bytes:
        return 64 + len(value)
    if cls is tuple:
        return 64 + sum(map(size_of, value))
    if cls is dict:
        return 64 + sum(map(size_of, value)) + sum(map(size_of, value.values()))
    return 64
