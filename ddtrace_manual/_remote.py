"""What an extraction leaves in an OpenTelemetry context, for whoever starts or injects a span from it.

    propagation.extract → context: RemoteContext, baggage, metadata of baggage → engine, facade

The keys live here because the engine reads them and must not import `propagation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry import baggage
from opentelemetry.context.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from ._context import REMOTE_CONTEXT_KEY, SPAN_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._model import RemoteContext

__all__ = [
    "BAGGAGE_KEY",
    "BAGGAGE_METADATA_KEY",
    "baggage_metadata",
    "remote_context_of",
    "without_baggage_metadata",
]

BAGGAGE_KEY: str = next(iter(baggage.set_baggage("key", "value", Context())))
"""Context key of OpenTelemetry's baggage, found through its public functions."""

BAGGAGE_METADATA_KEY = "ddtrace-manual-baggage-metadata"
"""Context key of `{item: (value, metadata)}`; the metadata holds while the item still has that very value."""


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
