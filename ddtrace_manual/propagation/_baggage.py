"""W3C Baggage, and the older `ot-baggage-` headers.

Source: spec/propagation.md §9; https://www.w3.org/TR/baggage/.

Deliberate choices where others differ: OpenTelemetry's own propagator writes a blank as `+` and passes over
malformed pairs; here a blank is `%20`, `+` stays `+`, and one malformed pair discards the whole header.
A literal `%` is encoded, so that every value comes back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Final, TypedDict
from urllib.parse import quote, unquote

from ._values import BLANKS, is_printable

__all__ = ["FIELDS", "LEGACY_PREFIX", "Limits", "extract", "extract_legacy", "inject", "inject_legacy", "text_of"]

BAGGAGE: Final = "baggage"
LEGACY_PREFIX: Final = "ot-baggage-"

FIELDS: Final = (BAGGAGE,)

_SAFE_IN_KEY: Final = "!#$&'*+-.^_`|~"
_SAFE_IN_VALUE: Final = _SAFE_IN_KEY + "()/:<>?@[]{}"
_PLAIN = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

Items = dict[str, tuple[str, str]]
"""Value and metadata by key."""

Count = Callable[[str, str], None]
"""Receives the name and the tag of a metric to count."""


class Limits(TypedDict):
    """Keyword arguments that all functions of this module share."""

    max_items: int
    max_bytes: int
    count: Count


_TRUNCATED = "context_header.truncated"
_TOO_MANY = "truncation_reason:baggage_item_count_exceeded"
_TOO_LONG = "truncation_reason:baggage_byte_count_exceeded"


def extract(headers: Mapping[str, str], *, max_items: int = 64, max_bytes: int = 8192, count: Count) -> Items:
    """Return the items of the header; none at all when one of its pairs is malformed.

    Args:
        headers: Values by lower-case name.
        max_items: Items beyond are not read.
        max_bytes: Reading stops before the pair that would exceed it, commas included.
        count: Receives what was cut off or malformed.

    Source: spec/propagation.md §9.2.
    """
    text = headers.get(BAGGAGE)
    if not text or max_items <= 0:
        return {}
    pairs = text.split(",", max_items)
    if len(pairs) > max_items:
        pairs.pop()
        count(_TRUNCATED, _TOO_MANY)
    items: Items = {}
    length = -1
    for pair in pairs:
        length += 1 + (len(pair) if pair.isascii() else len(pair.encode(errors="replace")))
        if length > max_bytes:
            count(_TRUNCATED, _TOO_LONG)
            break
        text, _, metadata = pair.partition(";")
        key, _, value = text.partition("=")
        key = _decode(key)
        value = _decode(value)
        if not (key and value):
            count("context_header_style.malformed", "header_style:baggage")
            return {}
        items[key] = (value, metadata.strip(BLANKS))
    return items


def _decode(text: str) -> str:
    text = text.strip()
    return unquote(text) if "%" in text else text


def inject(
    items: Mapping[str, object],
    metadata: Mapping[str, tuple[str, str]],
    headers: MutableMapping[str, str],
    *,
    max_items: int = 64,
    max_bytes: int = 8192,
    count: Count,
) -> None:
    """Write the header, if there is an item to write.

    Args:
        items: Values of any type by key, in order.
        metadata: Value and metadata by key; ignored where the value has changed since.
        headers: Receives lower-case names.
        max_items: Items beyond are not written.
        max_bytes: Writing stops before the item that would exceed it, commas included.
        count: Receives what was cut off.

    Source: spec/propagation.md §9.1.
    """
    parts: list[str] = []
    length = -1
    for key, value in items.items():
        name, text = text_of(key).strip(), text_of(value).strip()
        if not (name and text):
            continue
        if len(parts) >= max_items:
            count(_TRUNCATED, _TOO_MANY)
            break
        # Encoding never shortens: what is too long already is not encoded at all.
        part = _encode(name, text, metadata.get(key), value) if len(name) + len(text) < max_bytes else None
        if part is None or length + 1 + len(part) > max_bytes:
            count(_TRUNCATED, _TOO_LONG)
            break
        parts.append(part)
        length += 1 + len(part)
    if parts:
        headers[BAGGAGE] = ",".join(parts)


def text_of(value: object) -> str:
    """Return a key or value as text; "" for `None` and when the application's object cannot say what it is."""
    try:
        return "" if value is None else str(value)
    except Exception:  # an object of the application
        return ""


def _encode(name: str, text: str, entry: tuple[str, str] | None, value: object) -> str:
    if _PLAIN.fullmatch(name) is None:
        name = quote(name, safe=_SAFE_IN_KEY, errors="replace")
    if _PLAIN.fullmatch(text) is None:
        text = quote(text, safe=_SAFE_IN_VALUE, errors="replace")
    if entry is not None and entry[0] is value and entry[1] and is_printable(entry[1]) and "," not in entry[1]:
        return f"{name}={text};{entry[1]}"
    return f"{name}={text}"


class _Room:
    """What the limits of the `baggage` header leave for further items of `ot-baggage-` headers."""

    def __init__(self, max_items: int, max_bytes: int, count: Count) -> None:
        self._items = max_items
        self._bytes = max_bytes + len(",")
        self._count = count

    def takes(self, name: str, text: str) -> bool:
        """Say whether one more item fits, and reserve its room: what it would take as `name=text,`."""
        if self._items <= 0:
            self._count(_TRUNCATED, _TOO_MANY)
            return False
        self._items -= 1
        self._bytes -= len(name.encode(errors="replace")) + len(text.encode(errors="replace")) + len("=,")
        if self._bytes < 0:
            self._count(_TRUNCATED, _TOO_LONG)
            return False
        return True


def extract_legacy(headers: Mapping[str, str], *, max_items: int = 64, max_bytes: int = 8192, count: Count) -> Items:
    """Return the items of `ot-baggage-<key>` headers (§9.5), within the limits of `extract`."""
    room = _Room(max_items, max_bytes, count)
    start = len(LEGACY_PREFIX)
    items: Items = {}
    for name, value in headers.items():
        if name.startswith(LEGACY_PREFIX) and len(name) > start and value:
            if not room.takes(name[start:], value):
                break
            items[name[start:]] = (value, "")
    return items


def inject_legacy(
    items: Mapping[str, object],
    headers: MutableMapping[str, str],
    *,
    max_items: int = 64,
    max_bytes: int = 8192,
    count: Count,
) -> None:
    """Write each item as a header of its own, unencoded; what is illegal in a header is left out (§9.5).

    The limits of `inject` hold here too.
    """
    room = _Room(max_items, max_bytes, count)
    for key, value in items.items():
        name, text = text_of(key).strip(), text_of(value).strip()
        if text and is_printable(text) and _TOKEN.fullmatch(name) is not None:
            if not room.takes(name, text):
                break
            headers[LEGACY_PREFIX + name] = text
