"""The current OpenTelemetry context: read, swapped and restored without contextvar tokens.

A token can only be reset in the context it was made in, and resetting one out of order restores
something stale. So an activation remembers the context it replaced and puts it back only while its
own span is still the current one; otherwise it leaves the current context alone and marks its own
as closed, so that whoever would restore it later steps over it.

Contexts made here are plain dictionaries: a third of the cost of `Context(dict)` (bench: ten-span),
and every OpenTelemetry function only reads them. They are never changed once current, except for
the closed mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from opentelemetry import context as _otel_context
from opentelemetry.context.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace.propagation import _SPAN_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

__all__ = [
    "CLOSED_KEY",
    "REMOTE_CONTEXT_KEY",
    "SPAN_KEY",
    "Context",
    "activate",
    "get_current",
    "restore",
    "set_current",
    "skip_closed",
]

SPAN_KEY = _SPAN_KEY
"""Context key of the current span; the one OpenTelemetry uses."""

REMOTE_CONTEXT_KEY = _otel_context.create_key("ddtrace-manual-remote-context")
"""Context key of the `RemoteContext` that an extraction found."""

CLOSED_KEY = _otel_context.create_key("ddtrace-manual-closed")
"""Key in a context whose activation ended while another was current; its value is the context to go back to."""


def _bind() -> tuple[Callable[[], Context], Callable[[Context], object]]:
    """Return how to read and swap the current context, as directly as the runtime context allows."""
    runtime = _otel_context._RUNTIME_CONTEXT
    if type(runtime) is ContextVarsRuntimeContext:
        # The ContextVar's own methods: two Python frames less per access (bench: ten-span).
        return runtime._current_context.get, runtime._current_context.set
    return runtime.get_current, runtime.attach


get_current, set_current = _bind()


def activate(span: Span, previous: Context) -> Context:
    """Make `span` current and return the new context; `previous` is the context it replaces."""
    context: Context = previous.copy()  # type: ignore[assignment] # a cast would be a call (bench: traced)
    context[SPAN_KEY] = span
    set_current(context)
    return context


def restore(context: Context, previous: Context) -> None:
    """Undo an `activate` that returned `context`, from whatever thread, task or order."""
    current = get_current()
    if current is context or current.get(SPAN_KEY) is context[SPAN_KEY]:
        set_current(previous if CLOSED_KEY not in previous else skip_closed(previous))
    else:
        cast("dict[str, Any]", context)[CLOSED_KEY] = previous  # Any: contexts hold anything


def skip_closed(context: Context) -> Context:
    """Return the nearest context, from this one outwards, whose activation has not ended."""
    while (outer := context.get(CLOSED_KEY)) is not None:
        context = cast("Context", outer)
    return context
