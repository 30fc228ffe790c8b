"""Datadog's own headers, `x-datadog-*`.

Source: spec/propagation.md §4.

Deliberate choices where other tracers differ: a malformed parent id or priority costs only itself; one
malformed pair costs all tags but never the context; tags keep their order; an error on the way in does
not stop tags on the way out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ddtrace_manual._base import tags as _tags
from ddtrace_manual._base.ids import MASK_64
from ddtrace_manual._model import PropagationState, RemoteContext

from ._settings import DATADOG
from ._values import (
    BLANKS,
    is_decision_maker,
    is_printable,
    is_propagated_tag,
    is_trace_id_high,
    parse_decimal_id,
    parse_origin,
    parse_priority,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = ["FIELDS", "extract", "format_tags", "inject", "parse_tags"]

TRACE_ID: Final = "x-datadog-trace-id"
PARENT_ID: Final = "x-datadog-parent-id"
PRIORITY: Final = "x-datadog-sampling-priority"
ORIGIN: Final = "x-datadog-origin"
TAGS: Final = "x-datadog-tags"

MAX_LENGTH: Final = 512
"""Default of the longest tag header, in characters."""

FIELDS: Final = (TRACE_ID, ORIGIN, PARENT_ID, PRIORITY, TAGS)

_NAMELESS = _tags.PROPAGATED_PREFIX
_OBSOLETE = "_dd.p.upstream_services"
_FEW, _SHORT = 4, 128  # what is small enough to be remembered


def extract(headers: Mapping[str, str], *, tags_max_length: int = MAX_LENGTH) -> RemoteContext | None:
    """Return the context of the headers, or `None` without a valid trace id.

    Args:
        headers: Values by lower-case name.
        tags_max_length: Longest tag header that is read, in characters; 0 reads none.

    Source: spec/propagation.md §4.2.
    """
    text = headers.get(TRACE_ID)
    trace_id = parse_decimal_id(text) if text is not None else None
    if not trace_id:
        return None
    text = headers.get(PARENT_ID)
    remote = RemoteContext(trace_id, (parse_decimal_id(text) if text is not None else None) or 0, style=DATADOG)
    text = headers.get(PRIORITY)
    if text is not None:
        remote.priority = parse_priority(text)
    text = headers.get(ORIGIN)
    if text:
        remote.origin = parse_origin(text)
    text = headers.get(TAGS)
    if text:
        tags, high, error = (_parse_usual if len(text) < _SHORT else parse_tags)(text, tags_max_length)
        if tags:
            remote.tags = tags.copy()  # the remembered one is shared
        if high:
            remote.trace_id = high << 64 | trace_id
        if error is not None:
            remote.propagation_error = error
    return remote


def parse_tags(text: str, max_length: int) -> tuple[dict[str, str], int, str | None]:
    """Parse `x-datadog-tags`.

    Returns:
        The tags to keep, in order and without `_dd.p.tid`; the high half of the trace id or 0; and the value
        of `_dd.propagation_error` or `None`.

    Source: spec/propagation.md §4.3, §4.4.
    """
    text = text.strip(BLANKS)
    if not text:
        return {}, 0, None
    if max_length <= 0:
        return {}, 0, "disabled"
    if len(text) > max_length:
        return {}, 0, "extract_max_size"
    tags = _split(text)
    if tags is None:
        return {}, 0, "decoding_error"
    tags.pop(_NAMELESS, None)
    tags.pop(_OBSOLETE, None)
    high, error = 0, None
    tid = tags.pop(_tags.TRACE_ID_HIGH, None)
    if tid is not None:
        if is_trace_id_high(tid):
            high = int(tid, 16)
        else:
            error = f"malformed_tid {tid}"
    dm = tags.get(_tags.DECISION_MAKER)
    if dm is not None and not is_decision_maker(dm):
        del tags[_tags.DECISION_MAKER]
        error = "decoding_error"
    return tags, high, error


# Traces begun in one second share the high half of their ids, so the same few texts arrive again and again.
_parse_usual = lru_cache(maxsize=256)(parse_tags)


def _split(text: str) -> dict[str, str] | None:
    """Return the tags that start with `_dd.p.`, or `None` when any pair is malformed."""
    if not is_printable(text):
        return None
    tags: dict[str, str] = {}
    for member in text.split(","):
        key, _, value = member.partition("=")
        key = key.strip(BLANKS)
        value = value.strip(BLANKS)
        if not (key and value) or " " in key:
            return None
        if key.startswith(_tags.PROPAGATED_PREFIX):
            tags[key] = value
    return tags


def inject(
    trace_id: int,
    span_id: int,
    state: PropagationState,
    headers: MutableMapping[str, str],
    *,
    tags: Mapping[str, str] | None = None,
    tags_max_length: int = MAX_LENGTH,
) -> None:
    """Write the headers of a span; an error of the tags is noted in `state.propagation_error`.

    Args:
        trace_id: 128-bit, not 0.
        span_id: Not 0.
        state: Priority and origin.
        headers: Receives lower-case names.
        tags: Tags to send; not changed. A copy that no other thread changes.
        tags_max_length: Longest tag header that is written, in characters; 0 writes none.

    Source: spec/propagation.md §4.1, §4.3.
    """
    headers[TRACE_ID] = str(trace_id & MASK_64)
    headers[PARENT_ID] = str(span_id)
    priority = state.priority
    if priority is not None:
        headers[PRIORITY] = "1" if priority == 1 else str(priority)
    origin = state.origin
    if origin and is_printable(origin):
        headers[ORIGIN] = origin
    if tags or trace_id > MASK_64:
        text, error = format_tags(trace_id, tags, tags_max_length)
        if text:
            headers[TAGS] = text
        if error is not None:
            state.propagation_error = error


def format_tags(trace_id: int, tags: Mapping[str, str] | None, max_length: int) -> tuple[str, str | None]:
    """Return the value of `x-datadog-tags`, "" for none, and the propagation error, if any."""
    pairs = tuple(tags.items()) if tags else ()
    if len(pairs) < _FEW and sum([len(key) + len(value) for key, value in pairs]) < _SHORT:
        return _join_usual(trace_id >> 64, pairs, max_length)
    return _join(trace_id >> 64, pairs, max_length)


def _join(high: int, pairs: tuple[tuple[str, str], ...], max_length: int) -> tuple[str, str | None]:
    items = []
    for key, value in pairs:
        if key == _tags.TRACE_ID_HIGH:
            continue
        text = value.strip(BLANKS)
        if not (text and is_printable(text) and "," not in text and is_propagated_tag(key)):
            return "", "encoding_error"
        items.append(f"{key}={text}")
    if high:
        items.append(f"{_tags.TRACE_ID_HIGH}={high:016x}")
    if not items:
        return "", None
    if max_length <= 0:
        return "", "disabled"
    joined = ",".join(items)
    return (joined, None) if len(joined) <= max_length else ("", "inject_max_size")


_join_usual = lru_cache(maxsize=256)(_join)
