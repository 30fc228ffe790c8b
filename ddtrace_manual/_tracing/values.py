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

Nesting deeper than 16 levels is cut to `...`, which also ends cycles.

Source: spec/span-mapping.md §7; OpenTelemetry specification, common/attribute limits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ddtrace_manual._errors import safe_str

__all__ = ["clean_items", "clean_value", "size_of"]

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
        if (name := key if isinstance(key, str) else safe_str(key))
    }


def clean_items(
    items: Mapping[Any, object] | None,
    max_count: int | None,
    max_length: int | None,
) -> tuple[dict[str, Any], int]:  # Any: see the table
    """Return snapshots of attributes and how many were dropped.

    Dropped are keys that are empty or no strings, and the oldest ones beyond `max_count`.
    """
    kept: dict[str, Any] = {}
    if not items:
        return kept, 0
    dropped = 0
    for key, value in items.items():
        if not isinstance(key, str) or not key:
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
