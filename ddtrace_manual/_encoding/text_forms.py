"""Span links and span events as JSON text in `meta`, for formats and Agents without the native fields.

Source: spec/span-mapping.md §9 (links), §10.2 (events).
Deviation: the text is never longer than one tag may be, so that it stays valid JSON instead of being
cut in the middle. An event or link that does not fit has its long strings cut and then loses the
attributes that do not fit; what still does not fit is left out, with everything behind it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._base.tags import EVENTS, SPAN_LINKS
from ddtrace_manual._model import MAX_TEXT_CHARS

from .wire_text import cut_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ddtrace_manual._model import DDSpan

__all__ = ["events_text", "links_text", "with_text_events", "with_text_links"]

_FLAGS_KNOWN: Final = 1 << 31
_SCALARS: Final = ("string_value", "bool_value", "int_value", "double_value")  # by native type number
_ARRAY: Final = 4

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def events_text(events: Iterable[Mapping[str, Any]]) -> str:  # Any: native event fields
    """Return native span events as the text of `meta["events"]`."""
    return _bounded_array(_event(event) for event in events)


def links_text(links: Iterable[Mapping[str, Any]]) -> str:  # Any: native link fields
    """Return native span links as the text of `meta["_dd.span_links"]`."""
    return _bounded_array(_link(link) for link in links)


def with_text_events(dd_span: DDSpan) -> DDSpan:
    """Return the span with its native events moved into `meta`; the argument stays as it is."""
    moved = dd_span.copy()
    events = moved.pop("span_events", None)
    if events:
        _put_text(moved, EVENTS, events_text(events))
    return moved


def with_text_links(dd_span: DDSpan) -> DDSpan:
    """Return the span with its native links moved into `meta`; the argument stays as it is."""
    moved = dd_span.copy()
    links = moved.pop("span_links", None)
    if links:
        _put_text(moved, SPAN_LINKS, links_text(links))
    return moved


def _put_text(moved: DDSpan, key: str, text: str) -> None:
    """Set a tag on a shallow copy of a span; a metric of the same name gives way."""
    moved["meta"] = {**moved.get("meta", {}), key: text}
    if key in moved.get("metrics", ()):
        moved["metrics"] = {name: value for name, value in moved["metrics"].items() if name != key}


def _bounded_array(items: Iterable[dict[str, Any]]) -> str:
    texts: list[str] = []
    length = 1
    for item in items:
        text = _dumps(item)
        if length + len(text) + 1 > MAX_TEXT_CHARS:
            text = _dumps(_shortened(item))
            if length + len(text) + 1 > MAX_TEXT_CHARS:
                break
        length += len(text) + 1
        texts.append(text)
    return f"[{','.join(texts)}]"


def _shortened(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item that fits when it is alone: strings cut, and of the attributes those that fit."""
    short = {key: _cut(value) for key, value in item.items() if key != "attributes"}
    room = MAX_TEXT_CHARS - len(_dumps(short)) - len('[,"attributes":{}]')
    attributes = {}
    for key, value in item.get("attributes", {}).items():
        kept = _cut(value)
        cost = len(_dumps({key: kept})) - 1  # a comma instead of two braces
        if cost <= room:
            attributes[key] = kept
            room -= cost
    if attributes:
        short["attributes"] = attributes
    return short


def _cut(value: Any) -> Any:  # Any: a JSON scalar or a list of them
    if isinstance(value, str):
        return cut_text(value)
    return [_cut(element) for element in value] if isinstance(value, list) else value


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    form = {"name": event["name"], "time_unix_nano": event["time_unix_nano"]}
    attributes = event.get("attributes")
    if attributes:
        form["attributes"] = {key: _plain(value) for key, value in attributes.items()}
    return form


def _plain(typed: Mapping[str, Any]) -> Any:  # Any: a JSON scalar or a list of them
    if typed["type"] == _ARRAY:
        return [_plain(value) for value in typed["array_value"]["values"]]
    return typed[_SCALARS[typed["type"]]]


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = {
        "trace_id": f"{link.get('trace_id_high', 0):016x}{link['trace_id']:016x}",
        "span_id": f"{link['span_id']:016x}",
    }
    if link.get("attributes"):
        form["attributes"] = dict(sorted(link["attributes"].items()))
    if link.get("tracestate"):
        form["tracestate"] = link["tracestate"]
    if link.get("flags"):
        form["flags"] = link["flags"] & ~_FLAGS_KNOWN
    return form
