"""What an extraction leaves in an OpenTelemetry context, for whoever starts or injects a span from it.

    propagation.extract → context: RemoteContext, baggage, metadata of baggage → engine, facade

The keys live here because the engine reads them and must not import `propagation`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from opentelemetry import baggage
from opentelemetry.context.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span

from ddtrace_manual._base.context import REMOTE_CONTEXT_KEY, SPAN_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .propagation import RemoteContext

__all__ = [
    "BAGGAGE_KEY",
    "BAGGAGE_METADATA_KEY",
    "baggage_context",
    "baggage_metadata",
    "keep_baggage",
    "remote_context_of",
    "without_baggage",
    "without_baggage_metadata",
]

BAGGAGE_KEY: str = next(iter(baggage.set_baggage("key", "value", Context())))
"""Context key of OpenTelemetry's baggage, found through its public functions."""

BAGGAGE_METADATA_KEY = "ddtrace-manual-baggage-metadata"
"""Context key of `{item: (value, metadata)}`; the metadata holds while the item still has that very value."""

_BAGGAGE_KEYS = (BAGGAGE_KEY, BAGGAGE_METADATA_KEY)
_VIEW = "_ddtrace_manual_baggage"


def remote_context_of(context: Mapping[str, object]) -> RemoteContext | None:
    """Return the extracted context that a span started in `context` continues, or `None`.

    There is none while the current span is a local one or belongs to another trace than the one
    extracted: then the span alone decides. The result may have trace id 0 (behaviour `restart`: a new
    trace with links) or span id 0 (a root that continues a given trace).

    Source: spec/propagation.md §4.5, §14.1.
    """
    span = context.get(SPAN_KEY, INVALID_SPAN)
    carried = getattr(span, "remote_context", None)
    if carried is not None:
        return cast("RemoteContext", carried)
    remote = cast("RemoteContext | None", context.get(REMOTE_CONTEXT_KEY))
    if remote is None or hasattr(span, "propagation_state"):
        return None
    span_context = span.get_span_context() if isinstance(span, Span) else INVALID_SPAN.get_span_context()
    if not (remote.trace_id and remote.span_id):
        return None if span_context.is_valid else remote
    same = span_context.trace_id == remote.trace_id and span_context.span_id == remote.span_id
    return remote if same else None


def baggage_metadata(context: Mapping[str, object]) -> Mapping[str, tuple[str, str]]:
    """Return the metadata kept beside the baggage of `context`, as `{item: (value, metadata)}`."""
    found = context.get(BAGGAGE_METADATA_KEY)
    return cast("Mapping[str, tuple[str, str]]", found) if found else {}


def without_baggage_metadata(context: Mapping[str, object], key: str) -> Context:
    """Return `context` without the metadata of one item, which is being set anew or removed.

    Source: spec/propagation.md §9.2 item 6.
    """
    kept = {name: entry for name, entry in baggage_metadata(context).items() if name != key}
    return Context({**context, BAGGAGE_METADATA_KEY: kept})


def without_baggage(context: Mapping[str, object]) -> Context:
    """Return `context` without any baggage."""
    return Context({key: value for key, value in context.items() if key not in _BAGGAGE_KEYS})


def keep_baggage(span: Span, context: Mapping[str, object]) -> None:
    """Let a span keep the baggage of `context` as its own view, for whoever injects that span from elsewhere.

    Source: spec/propagation.md §9.3.
    """
    kept_by: Span = getattr(span, "wrapped", span)
    if isinstance(kept_by, NonRecordingSpan) and not kept_by.get_span_context().is_valid:
        return  # shared by all who have no span
    view = {key: context[key] for key in _BAGGAGE_KEYS if key in context}
    with suppress(AttributeError, TypeError):  # a foreign span with slots keeps nothing
        setattr(kept_by, _VIEW, view)


def baggage_context(span: Span, current: Context) -> Context:
    """Return `current` with the baggage of a span: its own view, else that of its nearest parent that has one.

    The current span, and one without any view, have the baggage of the current context. A span that ended knows its
    parents no more.
    """
    looked_at: object = getattr(span, "wrapped", span)
    if looked_at is current.get(SPAN_KEY):
        return current
    while looked_at is not None:
        view = getattr(looked_at, _VIEW, None)
        if view is not None:
            return Context({**without_baggage(current), **view})
        looked_at = getattr(looked_at, "local_parent", None)
    return current
