"""Strings that may go on the wire: valid Unicode and of bounded length.

Encoders call this only after a payload failed to pack or came out suspiciously large, so that
ordinary spans pay nothing.

Source: spec/span-mapping.md §13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ddtrace_manual._model import MAX_TEXT_CHARS

__all__ = ["bounded_text", "cut_text", "repaired", "valid_text"]

_KEPT_CHARS: Final = 2_486
_MARK: Final = "<truncated>..."


def bounded_text(text: str) -> str:
    """Return the text, or its first 2,486 characters and a mark when it is longer than 25,000."""
    return text if len(text) <= MAX_TEXT_CHARS else text[:_KEPT_CHARS] + _MARK


def cut_text(text: str) -> str:
    """Return the text, or its first 2,486 characters and a mark when it is longer than these together."""
    return text if len(text) <= _KEPT_CHARS + len(_MARK) else text[:_KEPT_CHARS] + _MARK


def valid_text(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD, and pairs of them joined."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def repaired(value: Any) -> Any:  # Any: a span or any part of one
    """Return a copy of a span, or of a part of one, whose strings are all valid and bounded, keys included."""
    if isinstance(value, str):
        return valid_text(bounded_text(value))
    if isinstance(value, Mapping):
        return {repaired(key): repaired(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [repaired(item) for item in value]
    return value
