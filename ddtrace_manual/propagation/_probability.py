"""The `ot` member of tracestate: randomness and threshold of a consistent probability decision.

Source: spec/propagation.md §6 (OpenTelemetry OTEP 235). Computed only when a W3C header is written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ddtrace_manual._base.ids import MASK_64

if TYPE_CHECKING:
    from ddtrace_manual._model import PropagationState

__all__ = ["compute", "drop_threshold", "format_items", "items_to_send", "parse_items"]

Items = tuple[tuple[str, str | None], ...]

_RANDOMNESS: Final = "rv"
_THRESHOLD: Final = "th"
_KNOWN = (_RANDOMNESS, _THRESHOLD)
_PATTERNS = {_RANDOMNESS: re.compile("[0-9a-f]{14}"), _THRESHOLD: re.compile("[0-9a-f]{1,14}")}
_KNUTH_FACTOR = 1111111111111111111
_SCALE = 1 << 56
_USUAL = re.compile("rv:([0-9a-f]{14});th:([0-9a-f]{1,14})")
_MAX_LENGTH = 256


def parse_items(text: str) -> Items | None:
    """Parse and sanitise a received member; `None` when nothing usable is left.

    Source: spec/propagation.md §6.2.
    """
    usual = _USUAL.fullmatch(text)
    if usual is not None:
        return (_RANDOMNESS, usual[1]), (_THRESHOLD, usual[2])
    found: dict[str, str | None] = {}
    for item in text.split(";"):
        if item:
            key, colon, value = item.partition(":")
            found[key] = value if colon else None
    for key, pattern in _PATTERNS.items():
        if key in found:
            value_or_none = found[key]
            if value_or_none is None or pattern.fullmatch(value_or_none) is None:
                del found[key]
    return tuple(found.items()) or None


def drop_threshold(items: Items | None) -> Items | None:
    """Return the items without `th`, or `None` when nothing is left."""
    if items is None:
        return None
    return tuple(item for item in items if item[0] != _THRESHOLD) or None


def compute(trace_id: int, rate: float, *, kept: bool) -> Items:
    """Return `rv` and `th` of a decision that hashed the trace id against `rate` (0-1, not 0).

    Source: spec/propagation.md §6.1.
    """
    hashed = (trace_id & MASK_64) * _KNUTH_FACTOR & MASK_64
    randomness = (MASK_64 - hashed) >> 8
    threshold = min(max(round((1 - rate) * _SCALE), 0), _SCALE - 1)
    # Cutting 64 bits to 56 may move the value across the threshold; it must agree with the decision.
    if kept:
        randomness = max(randomness, threshold)
    elif randomness >= threshold:
        randomness = max(threshold - 1, 0)
    return (_RANDOMNESS, f"{randomness:014x}"), (_THRESHOLD, f"{threshold:014x}".rstrip("0") or "0")


def items_to_send(state: PropagationState, trace_id: int) -> Items | None:
    """Return what the member says now; the state is not changed.

    Source: spec/propagation.md §6.1-§6.3.
    """
    items = state.ot
    if state.threshold_cleared:
        return drop_threshold(items)
    probability = state.probability
    if probability is None or state.probability_unknown:
        return items
    rate, kept = probability
    if rate <= 0:
        return drop_threshold(items)
    if items is None:
        return compute(trace_id, rate, kept=kept)
    if items[0][0] in _KNOWN or any(key in _KNOWN for key, _ in items):
        return items
    return compute(trace_id, rate, kept=kept) + items


def format_items(items: Items) -> str:
    """Return the member's value: `rv`, `th`, the others in order.

    At most 256 characters; items that do not fit are left out.
    """
    if len(items) == 2 and items[0][0] == _RANDOMNESS and items[1][0] == _THRESHOLD:  # the usual pair
        return f"rv:{items[0][1]};th:{items[1][1]}"
    chosen: list[str] = []
    length = -1
    ordered = sorted(items, key=lambda item: _KNOWN.index(item[0]) if item[0] in _KNOWN else len(_KNOWN))
    for key, value in ordered:
        text = key if value is None else f"{key}:{value}"
        if length + 1 + len(text) <= _MAX_LENGTH:
            chosen.append(text)
            length += 1 + len(text)
    return ";".join(chosen)
