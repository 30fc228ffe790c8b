"""Strict parsers of the values that several header formats share.

`int()` would take `1_000`, `+5`, ` 12 ` and digits of other alphabets, so characters are tested first.
Every function takes time linear in the length of its input.
"""

from __future__ import annotations

import re
from typing import Final

from ddtrace_manual._base import tags
from ddtrace_manual._base.ids import MASK_64
from ddtrace_manual._base.log import get_logger

__all__ = [
    "BLANKS",
    "is_decision_maker",
    "is_printable",
    "is_propagated_tag",
    "is_trace_id_high",
    "parse_decimal_id",
    "parse_origin",
    "parse_priority",
]

BLANKS: Final = " \t"

_log = get_logger("propagation")

_MAX_ID_DIGITS = 20
_MAX_ORIGIN = 256  # characters
_PRIORITIES = {"-1": -1, "0": 0, "1": 1, "2": 2}
_MIN_PRIORITY, _MAX_PRIORITY = -128, 127
_DECISION_MAKERS = frozenset(f"-{mechanism}" for mechanism in range(256))
_DECISION_MAKER = re.compile("-[0-9]{1,3}")
_TRACE_ID_HIGH = re.compile("[0-9a-f]{16}")
_ZERO_HIGH = "0" * 16
_PREFIX_LENGTH = len(tags.PROPAGATED_PREFIX)


def is_printable(text: str) -> bool:
    """Whether all characters are in 0x20-0x7E; nothing else may enter a header."""
    return text.isascii() and text.isprintable()


def parse_decimal_id(text: str) -> int | None:
    """Parse an id in 0 … 2^64-1, or return `None`."""
    if len(text) < _MAX_ID_DIGITS and text.isascii() and text.isdigit():
        return int(text)
    text = text.strip(BLANKS)
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > _MAX_ID_DIGITS:
        text = text.lstrip("0")
        if len(text) > _MAX_ID_DIGITS:
            return None
    value = int(text or "0")
    return value if value <= MASK_64 else None


def parse_priority(text: str) -> int | None:
    """Parse a sampling priority in -128 … 127, or return `None` for unknown.

    Source: spec/propagation.md §4.2 item 3.
    """
    known = _PRIORITIES.get(text)
    if known is not None:
        return known
    text = text.strip(BLANKS)
    digits = text[1:] if text.startswith(("-", "+")) else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    digits = digits.lstrip("0") or "0"
    if len(digits) > len(str(-_MIN_PRIORITY)):
        return None
    value = -int(digits) if text.startswith("-") else int(digits)
    return value if _MIN_PRIORITY <= value <= _MAX_PRIORITY else None


def parse_origin(text: str) -> str | None:
    """Return the origin of a trace, or `None` when it is too long or not printable."""
    if len(text) > _MAX_ORIGIN:
        _log.debug("Dropped an origin of %d characters; at most %d are accepted", len(text), _MAX_ORIGIN)
        return None
    return text if is_printable(text) else None


def is_decision_maker(text: str) -> bool:
    """Whether the text is a valid `_dd.p.dm`: `-` and one to three digits, at most 255 (§4.3 item 6)."""
    return text in _DECISION_MAKERS or (_DECISION_MAKER.fullmatch(text) is not None and int(text) >= -255)


def is_trace_id_high(text: str) -> bool:
    """Whether the text is a valid `_dd.p.tid`: 16 lower-case digits, not all zero (§4.4)."""
    return _TRACE_ID_HIGH.fullmatch(text) is not None and text != _ZERO_HIGH


def is_propagated_tag(key: str) -> bool:
    """Whether the key may be sent: `_dd.p.` and at least one of 0x21-0x7E except `,` and `=` (§4.3)."""
    return (
        len(key) > _PREFIX_LENGTH
        and key.startswith(tags.PROPAGATED_PREFIX)
        and is_printable(key)
        and " " not in key
        and "," not in key
        and "=" not in key
    )
