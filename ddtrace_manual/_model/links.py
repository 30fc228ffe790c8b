"""What a span can be linked to, as a `LinkRecord`: spans, span contexts, OpenTelemetry links, contexts, headers.

Source: spec/span-mapping.md §9.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, TraceFlags, TraceState

from ddtrace_manual._base.context import REMOTE_CONTEXT_KEY, SPAN_KEY
from ddtrace_manual._base.errors import class_name
from ddtrace_manual._base.values import items_of

from .propagation import RemoteContext
from .span import LinkRecord

__all__ = ["ReadHeaders", "is_link_target", "link_record", "otel_link", "plain_span_context"]

_logger = logging.getLogger("ddtrace_manual.tracing")

ReadHeaders: TypeAlias = Callable[[Any, "Context | None", Any], Context]
"""(carrier, base context, getter) → context, as `extract`."""


def is_link_target(value: object) -> bool:
    """Return whether a value is of a kind that can be linked to; it may still name nothing."""
    try:
        return isinstance(value, (Span, SpanContext, Link, LinkRecord)) or _may_hold_headers(value)
    except Exception:  # an object of the application may refuse to be asked
        return False


def link_record(
    target: object, attributes: Mapping[str, Any] | None = None, read_headers: ReadHeaders | None = None
) -> LinkRecord | None:
    """Return a link to whatever `target` names, or `None` when it names nothing.

    Linking to a local span does not decide its sampling: flags are unknown unless it is decided.

    Args:
        target: A span, a span context, an OpenTelemetry link, a context (what `extract` returns), or headers
            in any form that `extract` takes.
        attributes: Details of the link, over those of an OpenTelemetry link.
        read_headers: Reads headers; without it they name nothing.
    """
    try:
        return _record_of(target, _readable(attributes), read_headers)
    except Exception:
        _logger.debug("A link to an object of type %s could not be read.", class_name(target), exc_info=True)
        return None


def plain_span_context(context: object) -> SpanContext | None:
    """Return a valid span context whose flags and trace state are of OpenTelemetry's types; `None` for anything else.

    Callers without type checks give the trace state as header text or as a dict, and the flags as a number.
    """
    if not isinstance(context, SpanContext) or not context.is_valid:
        return None
    flags, state = context.trace_flags, context.trace_state
    if type(flags) is TraceFlags and type(state) is TraceState:
        return context
    if type(context.trace_id) is not int or type(context.span_id) is not int:
        return None
    return SpanContext(
        context.trace_id, context.span_id, context.is_remote is True, _plain_flags(flags), _plain_state(state)
    )


def _plain_flags(flags: object) -> TraceFlags:
    return TraceFlags(int.__pos__(flags) & 0xFF) if isinstance(flags, int) else TraceFlags(0)


def _plain_state(state: object) -> TraceState:
    if isinstance(state, TraceState):
        return state
    try:
        if isinstance(state, str):
            return TraceState.from_header([str.__str__(state)])
        if isinstance(state, Mapping):
            return TraceState([(str(key), str(value)) for key, value in state.items()])
    except Exception:  # not a trace state: the ids still hold
        _logger.debug("A trace state of type %s could not be read.", class_name(state))
    return TraceState()


def _readable(attributes: object) -> dict[Any, Any]:
    """Return attributes as a dict; empty when they cannot be read."""
    if type(attributes) is dict:
        return attributes
    return {key: value for key, value in items_of(attributes) if type(key) is str}


def _record_of(target: object, attributes: Mapping[str, Any], read_headers: ReadHeaders | None) -> LinkRecord | None:
    if isinstance(target, Link):
        return _from_span_context(target.context, {**_readable(target.attributes), **attributes})
    if isinstance(target, SpanContext):
        return _from_span_context(target, attributes)
    if isinstance(target, Span):
        return _from_span(target, attributes)
    if isinstance(target, LinkRecord):
        return target
    return _from_carrier(target, attributes, read_headers) if _may_hold_headers(target) else None


def otel_link(record: LinkRecord) -> Link:
    """Return the link as an OpenTelemetry object; unknown flags become 0."""
    state = TraceState.from_header([record.tracestate]) if record.tracestate else None
    flags = TraceFlags((record.flags or 0) & 0xFF)
    return Link(SpanContext(record.trace_id, record.span_id, record.is_remote, flags, state), record.attributes)


def _from_span(span: Span, attributes: Mapping[str, Any]) -> LinkRecord | None:
    segment = getattr(span, "segment", None)
    if segment is None:
        return _from_span_context(span.get_span_context(), attributes)
    flags = int((segment.priority or 0) > 0) if segment.decided else None
    span_id: int = cast("Any", span).span_id
    return LinkRecord(segment.trace_id, span_id, attributes, "", flags, is_remote=False)


def _from_span_context(context: object, attributes: Mapping[str, Any]) -> LinkRecord | None:
    """Return a link as OpenTelemetry allows it: also to nothing, when there are details."""
    if not isinstance(context, SpanContext):
        return None
    state = _plain_state(context.trace_state)
    if not (context.is_valid or attributes or state):
        return None
    flags = int(_plain_flags(context.trace_flags))
    trace_id, span_id = operator.index(context.trace_id), operator.index(context.span_id)
    header = state.to_header() if state else ""
    return LinkRecord(trace_id, span_id, attributes, header, flags, is_remote=context.is_remote is True)


def _may_hold_headers(value: object) -> bool:
    """Return whether a value is a mapping, a message, or pairs, as `extract` takes them."""
    if isinstance(value, (list, tuple)):
        return all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value)  # a pair
    return isinstance(value, Mapping) or callable(getattr(type(value), "items", None))


def _from_carrier(target: object, attributes: Mapping[str, Any], read_headers: ReadHeaders | None) -> LinkRecord | None:
    """Read a context, or extract one from headers; keys of contexts are no header names."""
    if isinstance(target, Mapping) and (
        isinstance(target, Context) or SPAN_KEY in target or REMOTE_CONTEXT_KEY in target
    ):
        return _from_context(target, attributes)
    if read_headers is None:
        return None
    return _from_context(read_headers(target, Context(), None), attributes)


def _from_context(context: Mapping[str, object], attributes: Mapping[str, Any]) -> LinkRecord | None:
    span = context.get(SPAN_KEY)
    remote = context.get(REMOTE_CONTEXT_KEY)
    if isinstance(span, Span) and span is not INVALID_SPAN:
        record = _from_span(span, attributes)
        if record is not None and getattr(span, "remote_context", None) is remote and _flags_are_unknown(remote):
            record.flags = None
        return record
    if not isinstance(remote, RemoteContext):
        return None
    if remote.trace_id:  # a trace without a calling span
        flags = None if remote.priority is None else int(remote.priority > 0)
        return LinkRecord(remote.trace_id, remote.span_id, attributes, "", flags)
    # Extraction was told to restart: it says by links where the headers came from.
    for link in remote.links:
        return LinkRecord(link.trace_id, link.span_id, {**link.attributes, **attributes}, link.tracestate, link.flags)
    return None


def _flags_are_unknown(remote: object) -> bool:
    return isinstance(remote, RemoteContext) and remote.priority is None and remote.flags is None
