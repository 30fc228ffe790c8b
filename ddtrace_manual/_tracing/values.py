"""Attributes as they are kept, and how many bytes they take.

Nothing is dropped because of its type; what is kept of one value is written in `_base/values.py`, typing for the wire
happens in `_mapping`. Keys become text as in the SDK: empty ones and objects without a text of their own are dropped.

Source: spec/span-mapping.md §7; OpenTelemetry specification, common/attribute limits.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ddtrace_manual._base.values import clean_key, clean_value, items_of, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["clean_items", "clean_key", "clean_value", "items_of", "nanoseconds", "size_of"]


def clean_items(
    items: Mapping[Any, object] | None,
    max_count: int | None,
    max_length: int | None,
) -> tuple[dict[str, Any], int]:  # Any: see the table
    """Return snapshots of attributes and how many were dropped.

    Dropped are keys that are empty or have no text, and the oldest ones beyond `max_count`.
    """
    kept: dict[str, Any] = {}
    dropped = 0
    for given, value in items_of(items):
        key = given if type(given) is str and given else clean_key(given)
        if key is None:
            dropped += 1
        else:
            kept[key] = value
    if max_count is not None and len(kept) > max_count:
        excess = len(kept) - max_count
        kept = dict(islice(kept.items(), excess, None))
        dropped += excess
    for key, value in kept.items():
        cls = type(value)
        if cls is not int and cls is not bool and cls is not float and (cls is not str or max_length is not None):
            kept[key] = clean_value(value, max_length)
    return kept, dropped


def size_of(value: Any) -> int:  # Any: see the table
    """Return roughly the bytes a kept value takes: 64, and those of its characters, or of its items."""
    cls = value.__class__
    if cls is str:
        return 64 + (len(value) if value.isascii() else str.__sizeof__(value))
    if cls is bytes:
        return 64 + len(value)
    if cls is tuple:
        return 64 + sum(map(size_of, value))
    if cls is dict:
        return 64 + sum(map(size_of, value)) + sum(map(size_of, value.values()))
    return 64
