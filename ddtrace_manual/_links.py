"""What a span can be linked to, as a `LinkRecord`: spans, span contexts, OpenTelemetry links, contexts, headers.

Source: spec/span-mapping.md §9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, TraceFlags, TraceState

from ._context import REMOTE_CONTEXT_KEY, SPAN_KEY
from ._model import LinkRecord, RemoteContext
from ._runtime import RUNTIME

__all__ = ["is_link_target", "link_record", "otel_link"]

_NOTHING: Mapping[str, Any] = {}  # Any: attribute values are of any type, here and below


def is_link_target(value: object) -> bool:
    """Return whether a value is of a kind that can be linked to; it may still name nothing."""
    return isinstance(value, (Span, SpanContext, Link, LinkRecord)) or _may_hold_headers(value)


def link_record(target: object, attributes: Mapping[str, Any] | None = None) -> LinkRecord | None:
    """Return a link to whatever `target` names, or `None` when it names nothing.

    Linking to a local span does not decide its sampling: flags are unknown unless it is decided.

    Args:
        target: A span, a span context, an OpenTelemetry link, a context (what `extract` returns), or headers
            in any form that `extract` takes.
        attributes: Details of the link, over those of an OpenTelemetry link.
    """
    if isinstance(target, Link):
        return _from_span_context(target.context, {**(target.attributes or _NOTHING), **(attributes or _NOTHING)})
    if isinstance(target, SpanContext):
        return _from_span_context(target, attributes or {})
    if isinstance(target, Span):
        return _from_span(target, attributes or {})
    if isinstance(target, LinkRecord):
        return target
    return _from_carrier(target, attributes or {}) if _may_hold_headers(target) else None


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
    if not isinstance(context, SpanContext) or not (context.is_valid or attributes or context.trace_state):
        return None
    state = context.trace_state.to_header() if context.trace_state else ""
    flags = int(context.trace_flags)
    return LinkRecord(context.trace_id, context.span_id, attributes, state, flags, is_remote=context.is_remote)


def _may_hold_headers(value: object) -> bool:
    """Return whether a value is a mapping, a message, or pairs, as `extract` takes them."""
    if isinstance(value, (list, tuple)):
        return all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value)  # noqa: PLR2004 - a pair
    return isinstance(value, Mapping) or callable(getattr(type(value), "items", None))


def _from_carrier(target: object, attributes: Mapping[str, Any]) -> LinkRecord | None:
    """Read a context, or extract one from headers; keys of contexts are no header names."""
    if isinstance(target, Mapping) and (
        isinstance(target, Context) or SPAN_KEY in target or REMOTE_CONTEXT_KEY in target
    ):
        return _from_context(target, attributes)
    if RUNTIME.extract is None:
        return None
    return _from_context(RUNTIME.extract(target, Context(), None), attributes)


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
