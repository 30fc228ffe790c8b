"""Attributes: which key they get, whether they are text or number, how nested values become flat.

Every function takes values of any type and raises nothing because of one: an object whose `str()`
fails becomes a placeholder, nested values are followed to `MAX_DEPTH` levels and `MAX_ELEMENTS`
leaves, what lies beyond is left out. What each type becomes is written in `_base/values.py`.

Source: spec/span-mapping.md §3, §6, §7.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, MutableMapping
from decimal import Decimal
from typing import Any

from ddtrace_manual._base import tags
from ddtrace_manual._base.log import get_logger
from ddtrace_manual._base.values import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, clean_value

__all__ = [
    "CONTAINERS",
    "DATADOG_PREFIX",
    "GUARDED",
    "HEADER_PREFIX",
    "HTTP_STATUS",
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "RENAMED",
    "RESERVED",
    "RULED_PREFIXES",
    "SPECIAL",
    "Rules",
    "aliases_of",
    "flatten_texts",
    "format_value",
    "http_status_of",
    "number_of",
    "text_of",
    "write_value",
]

MAX_KNOWN_KEYS = 10_000
MAX_KNOWN_KEY_CHARS = 1_000
"""Keys whose mapping is remembered; when there are more, all are forgotten."""

DATADOG_PREFIX = "datadog."
HEADER_PREFIX = "http.request.header."
RULED_PREFIXES = (DATADOG_PREFIX, HEADER_PREFIX, "_dd")
"""What keys that need a rule start with."""
HEADERS_PREFIX = "http.request.headers."
HTTP_STATUS = "http.status_code"
OTEL_HTTP_STATUS = "http.response.status_code"
DATADOG_HTTP_STATUS = "datadog.http_status_code"
_STATUS_KEYS = (DATADOG_HTTP_STATUS, OTEL_HTTP_STATUS, HTTP_STATUS)

RENAMED: dict[str, str] = {
    "client.address": "http.client_ip",
    "http.response.body.size": "http.response.content_length",
    OTEL_HTTP_STATUS: HTTP_STATUS,
    "http.request.body.size": "http.request.content_length",
    "http.request.header.referrer": "http.referrer",
    "http.request.method": "http.method",
    "network.protocol.version": "http.version",
    "server.address": "http.server_name",
    "url.full": "http.url",
    "user_agent.original": "http.useragent",
}
"""OpenTelemetry key → Datadog key."""

RESERVED = frozenset({tags.SERVICE_NAME, tags.OPERATION_NAME, tags.RESOURCE_NAME, tags.SPAN_TYPE})
"""Attributes that fill a field of the span and never become tags."""

GUARDED = frozenset({tags.ENV, tags.VERSION, HTTP_STATUS, tags.ERROR_MESSAGE, tags.ERROR_TYPE, tags.ERROR_STACK})
"""Datadog keys of which the first value stays: `datadog.*` override, then resource, then span attribute."""

_MANUAL = frozenset({tags.MANUAL_KEEP, tags.MANUAL_DROP})
SPECIAL = GUARDED | _MANUAL | {tags.ANALYTICS_EVENT, tags.OPENTRACING_PRIORITY, tags.MEASURED}
"""Datadog keys that are not simply written."""

_TRUE_TEXTS = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE_TEXTS = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_UNMEASURED_TEXTS = _FALSE_TEXTS | {""}
_INT64_LIMIT = 1 << 63
CONTAINERS = (tuple, dict)
"""What containers are once they were cleaned; their elements become tags of their own."""
_PLAIN = frozenset({str, bool, int, float, bytes, type(None), *CONTAINERS})
"""Types that values are of which were cleaned when they were set; everything else is cleaned here."""
_MAX_DECIMAL_BITS = 14_000
"""Longer integers, of about 4,200 digits, take long to convert to decimal."""
_NUMBERS = (int, float)
_DATADOG_TO_OTEL = {datadog: otel for otel, datadog in RENAMED.items()}

_logger = get_logger("mapping")


def aliases_of(key: str) -> str | None:
    """Return the other spelling of a renamed key, in either direction; `None` when there is none.

    Source: spec/sampling.md §7.3.
    """
    other = RENAMED.get(key) or _DATADOG_TO_OTEL.get(key)
    if other is not None:
        return other
    if key.startswith(HEADER_PREFIX):
        return HEADERS_PREFIX + key[len(HEADER_PREFIX) :]
    if key.startswith(HEADERS_PREFIX):
        return HEADER_PREFIX + key[len(HEADERS_PREFIX) :]
    return None


# --- text and number forms -------------------------------------------------------------------------------------------


def format_value(value: Any, depth: int = 0) -> str:  # noqa: PLR0911 - one return per type; Any: any type
    """Return the string form of a value; sequences become one compact text such as `["a",1]`.

    Source: spec/span-mapping.md §3 (`str_repr`).
    """
    kind = type(value)  # not isinstance(): that asks the object for its __class__, which may do anything
    if issubclass(kind, str):
        return str.__str__(value)
    if kind is bool:
        return "true" if value else "false"
    if issubclass(kind, int):
        return _format_int(int.__pos__(value))
    if issubclass(kind, float):
        return _format_float(float.__pos__(value))
    if kind is bytes:
        return value[:MAX_BYTES].decode("utf-8", "replace")  # type: ignore[no-any-return] # bytes
    if kind not in _PLAIN:
        cleaned = clean_value(value)
        return cleaned if type(cleaned) is str else format_value(cleaned, depth)
    if kind is tuple or kind is dict:
        return _format_container(value, depth)
    return str(value)  # None


def text_of(values: Mapping[str, Any], key: str) -> str:  # Any: attribute values are of any type
    """Return the string form of an attribute; "" when it is absent or `None`."""
    value = values.get(key)
    if type(value) is str:
        return value
    return "" if value is None else format_value(value)


def number_of(values: Mapping[str, Any], key: str) -> int | None:  # Any: attribute values are of any type
    """Return an attribute that is an integer, or a float with an integral value; numeric text does not count.

    Source: spec/span-mapping.md §3 (`num`).
    """
    value: Any = values.get(key)  # Any: as above
    if type(value) is int and -_INT64_LIMIT <= value < _INT64_LIMIT:
        return value
    if not _is_number(value):
        return None
    number: int | float = float.__pos__(value) if issubclass(type(value), float) else int.__pos__(value)
    if isinstance(number, float) and not number.is_integer():
        return None
    return int(number) if -_INT64_LIMIT <= number < _INT64_LIMIT else None


def http_status_of(values: Mapping[str, Any]) -> int:  # Any: attribute values are of any type
    """Return the numeric HTTP status of a span, 0 when it has none.

    Source: spec/span-mapping.md §6.
    """
    for key in _STATUS_KEYS:
        if key in values:
            number = number_of(values, key)
            if number is not None:
                return number
    return 0


def _format_int(value: int) -> str:
    if value.bit_length() <= _MAX_DECIMAL_BITS:
        try:
            return int.__repr__(value)
        except ValueError:  # longer than the interpreter was told to convert to decimal
            pass
    return hex(value)


def _format_float(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if value != value else ("inf" if value > 0 else "-inf")  # noqa: PLR0124 - the test for NaN
    if value.is_integer():
        return str(int(value))
    text = float.__repr__(value)
    return format(Decimal(text), "f") if "e" in text else text


def _format_container(value: Any, depth: int) -> str:  # Any: a sequence, a set or a mapping
    if depth >= MAX_DEPTH:
        return "..."
    parts: list[str] = []
    is_mapping = type(value) is dict
    try:
        for item in value.items() if is_mapping else value:
            if len(parts) >= MAX_ELEMENTS:
                break
            if is_mapping:
                parts.append(f"{_quote(format_value(item[0], depth + 1))}:{_format_element(item[1], depth + 1)}")
            else:
                parts.append(_format_element(item, depth + 1))
    except Exception:  # a container of the application; what came so far is kept
        _logger.debug("could not read all of a %s", type(value).__name__)
    return "{%s}" % ",".join(parts) if is_mapping else "[%s]" % ",".join(parts)  # noqa: UP031 - braces


def _format_element(value: Any, depth: int) -> str:  # Any: attribute values are of any type
    if value is None:
        return "null"
    if type(value) not in _PLAIN:
        value = clean_value(value)
    text = format_value(value, depth)
    return text if type(value) in (bool, int, float, tuple, dict) else _quote(text)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# --- writing ---------------------------------------------------------------------------------------------------------


def write_value(
    meta: MutableMapping[str, str],
    metrics: MutableMapping[str, float],
    key: str,
    value: Any,  # Any: attribute values are of any type
) -> None:
    """Write one value by its type: text and booleans to `meta`, numbers to `metrics`, nested values flattened.

    A key ends up in one of the two maps only; the last write wins. `None` removes the key from both.
    Numbers that are not finite, or too large for a float, are dropped.

    Source: spec/span-mapping.md §7.
    """
    if type(value) not in _PLAIN:
        value = clean_value(value)
    if value is None:
        meta.pop(key, None)
        metrics.pop(key, None)
    elif type(value) in CONTAINERS:
        for leaf_key, leaf in _flatten(key, value):
            _write_leaf(meta, metrics, leaf_key, leaf)
    else:
        _write_leaf(meta, metrics, key, value)


def _write_leaf(
    meta: MutableMapping[str, str],
    metrics: MutableMapping[str, float],
    key: str,
    value: Any,  # Any: attribute values are of any type
) -> None:
    if _is_number(value):
        number = _finite(value)
        if number is None:
            _logger.debug("dropped attribute %r: not a finite number", key)
            return
        metrics[key] = number
        if key in meta:
            del meta[key]
        return
    meta[key] = value if type(value) is str else format_value(value)
    if key in metrics:
        del metrics[key]


def flatten_texts(values: Mapping[str, Any]) -> dict[str, str]:  # Any: attribute values are of any type
    """Return attributes flattened, every leaf as text (links).

    Source: spec/span-mapping.md §9.
    """
    texts: dict[str, str] = {}
    for raw_key, value in values.items():
        key = raw_key if type(raw_key) is str else format_value(raw_key)
        if type(value) not in _PLAIN:
            value = clean_value(value)  # noqa: PLW2901 - from here on the plain one
        if value is None:
            continue
        if type(value) in CONTAINERS:
            for leaf_key, leaf in _flatten(key, value):
                texts[leaf_key] = format_value(leaf)
        else:
            texts[key] = format_value(value)
    return texts


def _flatten(key: str, value: Any) -> list[tuple[str, Any]]:  # Any: attribute values are of any type
    leaves: list[tuple[str, Any]] = []
    _collect(leaves, key, value, 0)
    return leaves


def _collect(leaves: list[tuple[str, Any]], key: str, value: Any, depth: int) -> None:
    """Append the leaves of a container, at most `MAX_ELEMENTS` in all."""
    if depth >= MAX_DEPTH:
        return
    try:
        items = value.items() if type(value) is dict else enumerate(value)
        for part, item in items:
            if len(leaves) >= MAX_ELEMENTS:
                return
            name = f"{key}.{part}" if type(part) in (int, str) else f"{key}.{format_value(part)}"
            if type(item) not in _PLAIN:
                item = clean_value(item)  # noqa: PLW2901 - from here on the plain one
            if type(item) in CONTAINERS:
                _collect(leaves, name, item, depth + 1)
            elif item is not None:
                leaves.append((name, item))
    except Exception:  # a container of the application; what came so far is kept
        _logger.debug("could not read all of attribute %r", key)


def _is_number(value: object) -> bool:
    kind = type(value)
    return kind is not bool and issubclass(kind, _NUMBERS)


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except Exception:  # too large, or `__float__` of a subclass
        return None
    return number if math.isfinite(number) else None


class Rules:
    """How the attributes of one kind of span are written: what is renamed, dropped or treated specially.

    Args:
        rename: Give keys their Datadog names.
        reserved: Reserved attributes fill fields and are no tags.
    """

    def __init__(self, *, rename: bool = True, reserved: bool = True) -> None:
        self._renamed: dict[str, str | None] = dict(RENAMED) if rename else {}
        if reserved:
            self._renamed.update(dict.fromkeys(RESERVED))
        self._known = self._renamed.copy()  # more keys are added as they come, up to a bound
        self._prefixes = (DATADOG_PREFIX, HEADER_PREFIX) if rename else (DATADOG_PREFIX,)
        self._rename = rename
        self.keys = frozenset(self._renamed) | SPECIAL
        """Keys that need these rules, besides those that start with `DATADOG_PREFIX` or `HEADER_PREFIX`."""

    def write(
        self,
        meta: dict[str, str],
        metrics: dict[str, float],
        values: Mapping[str, Any],  # Any: attribute values are of any type
        blocked: set[str],
    ) -> None:
        """Write all attributes; guarded keys only when not in `blocked`, to which they are added."""
        known = self._known
        for raw_key, value in values.items():
            given = raw_key if type(raw_key) is str else format_value(raw_key)
            key = known[given] if given in known else self._map_key(given)
            if key is None:
                continue
            if key in SPECIAL:
                self._write_special(meta, metrics, key, value, blocked)
            elif type(value) is str:
                meta[key] = value
                if metrics:
                    metrics.pop(key, None)
            else:
                write_value(meta, metrics, key, value)

    def _map_key(self, given: str) -> str | None:
        """Return the Datadog key of an attribute, or `None` when it is no tag; remember the answer of short ones."""
        key: str | None = given
        if given.startswith(self._prefixes):
            key = None if given.startswith(DATADOG_PREFIX) else HEADERS_PREFIX + given[len(HEADER_PREFIX) :]
        if len(given) > MAX_KNOWN_KEY_CHARS:
            return key
        if len(self._known) >= MAX_KNOWN_KEYS:
            self._known = self._renamed.copy()
        self._known[given] = key
        return key

    def _write_special(
        self,
        meta: dict[str, str],
        metrics: dict[str, float],
        key: str,
        value: Any,  # Any: attribute values are of any type
        blocked: set[str],
    ) -> None:
        if key in GUARDED:
            self._write_guarded(meta, metrics, key, value, blocked)
        elif key == tags.ANALYTICS_EVENT:
            text = "" if value is None else format_value(value)
            if text in _TRUE_TEXTS:
                metrics[tags.ANALYTICS_RATE] = 1.0
            elif text in _FALSE_TEXTS:
                metrics[tags.ANALYTICS_RATE] = 0.0
        elif key == tags.OPENTRACING_PRIORITY:
            write_value(meta, metrics, tags.SAMPLING_PRIORITY if _is_number(value) else key, value)
        elif key == tags.MEASURED:
            metrics[key] = 1.0 if value is None or _is_measured(value) else 0.0
            meta.pop(key, None)

    def _write_guarded(
        self,
        meta: dict[str, str],
        metrics: dict[str, float],
        key: str,
        value: Any,  # Any: attribute values are of any type
        blocked: set[str],
    ) -> None:
        if key in blocked:
            return
        if key == HTTP_STATUS and self._rename and _is_number(value):
            if not _finite(value):  # 0 is no status
                return
            value = format_value(value)
        write_value(meta, metrics, key, value)
        if key in metrics or meta.get(key):
            blocked.add(key)


def _is_measured(value: Any) -> bool:  # Any: attribute values are of any type
    if _is_number(value):
        return bool(_finite(value))
    return format_value(value) not in _UNMEASURED_TEXTS
