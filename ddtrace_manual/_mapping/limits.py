"""Strings too long for the wire.

Looked for only in spans whose encoded size is large: a test per string would cost every span.

Source: spec/span-mapping.md §13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddtrace_manual._model import DDSpan

__all__ = ["MAX_STRING_CHARACTERS", "truncate_long_strings"]

MAX_STRING_CHARACTERS = 25_000
"""Longest string that is sent; a longer one is cut to 2,500 characters, mark included."""
_KEPT_CHARACTERS = 2_486
_MARK = "<truncated>..."


def truncate_long_strings(dd_span: DDSpan) -> None:
    """Cut every over-long string of a span in place: names, tag keys and values, links, events."""
    dd_span["service"] = _cut(dd_span["service"])
    dd_span["name"] = _cut(dd_span["name"])
    dd_span["resource"] = _cut(dd_span["resource"])
    if "type" in dd_span:
        dd_span["type"] = _cut(dd_span["type"])
    dd_span["meta"] = {_cut(key): _cut(value) for key, value in dd_span["meta"].items()}
    dd_span["metrics"] = {_cut(key): value for key, value in dd_span["metrics"].items()}
    if "span_links" in dd_span:
        dd_span["span_links"] = _cut_nested(dd_span["span_links"])
    if "span_events" in dd_span:
        dd_span["span_events"] = _cut_nested(dd_span["span_events"])


def _cut(text: str) -> str:
    return text if len(text) <= MAX_STRING_CHARACTERS else text[:_KEPT_CHARACTERS] + _MARK


def _cut_nested(value: Any) -> Any:  # Any: links and events nest maps, lists and scalars
    if type(value) is str:
        return _cut(value)
    if type(value) is list:
        return [_cut_nested(item) for item in value]
    if type(value) is dict:
        return {_cut(key): _cut_nested(item) for key, item in value.items()}
    return value
