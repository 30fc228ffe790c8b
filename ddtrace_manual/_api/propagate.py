"""`inject`, `extract`, `continue_trace` and baggage: the facade over whatever propagator is in charge.

Before `configure()` nothing is injected and extraction gives the context it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from opentelemetry import baggage
from opentelemetry.trace import Span as OtelSpan

from ddtrace_manual._base.context import (
    CLOSED_KEY,
    REMOTE_CONTEXT_KEY,
    SPAN_KEY,
    Context,
    add_entry,
    get_current,
    skip_closed,
    switch_to,
    take_entry,
)
from ddtrace_manual._base.values import clean_key, is_a
from ddtrace_manual._model.remote import baggage_context, keep_baggage, without_baggage, without_baggage_metadata

from .runtime import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from types import TracebackType

__all__ = [
    "clear_baggage",
    "continue_trace",
    "extract",
    "extract_environ",
    "get_baggage",
    "inject",
    "inject_environ",
    "remove_baggage",
    "set_baggage",
]

_C = TypeVar("_C")


def inject(
    carrier: _C | None = None,
    *,
    span: OtelSpan | None = None,
    setter: Callable[[_C, str, str], None] | None = None,
) -> _C:
    """Write the headers that continue the current trace, and return the carrier.

    Args:
        carrier: A mutable mapping or a list of pairs; default: a new dict. Headers that an earlier trace left there,
            its baggage included, are replaced or removed, whatever the case of their names and also as bytes.
        span: Inject this span, and the baggage that was set on it or on its parents, instead of the current one.
        setter: (carrier, name, value) → writes one header, for carriers of another form.

    Nothing is written without a span or baggage, or before `configure()`. Never raises.

    Source: spec/propagation.md §12.
    """
    target: Any = {} if carrier is None else carrier  # Any: carriers of every form
    if RUNTIME.inject is not None:
        context = get_current()
        if span is not None and is_a(span, OtelSpan):
            context = cast("Context", {**baggage_context(span, context), SPAN_KEY: getattr(span, "wrapped", span)})
        RUNTIME.inject(target, context, setter)
    return cast("_C", target)


def extract(
    carrier: Any,  # Any: carriers of every form
    *,
    getter: Callable[[Any, str], Any] | None = None,
) -> Context:
    """Read trace headers and return a context that can be a `parent`.

    Args:
        carrier: A mapping, pairs (names may repeat), a WSGI environment, an ASGI scope or its headers, or an
            `http.client` message; names in any case, values `str`, `bytes` or lists of them.
        getter: (carrier, name) → value, list of values or `None`, for carriers of another form.

    The context is the current one plus what was found; headers without a usable trace leave its current span in
    place. Never raises.

    Source: spec/propagation.md §3, §11.
    """
    base = get_current()
    return base if RUNTIME.extract is None else RUNTIME.extract(carrier, base, getter)


class continue_trace:  # noqa: N801 - used like a function
    """Continue the trace that headers describe, for the length of a `with` block.

    Spans started inside are children of the caller's span. Headers without a trace change nothing.

    Args:
        carrier: As for `extract`.
        getter: As for `extract`.

    Example:
        >>> with continue_trace(request.headers), span("http.request", kind="server"):
        ...     handle(request)
    """

    __slots__ = ("_carrier", "_getter")

    def __init__(self, carrier: Any, *, getter: Callable[[Any, str], Any] | None = None) -> None:  # Any: see extract
        self._carrier = carrier
        self._getter = getter

    def __enter__(self) -> Context:
        previous = get_current()
        context = extract(self._carrier, getter=self._getter)
        add_entry(self, context.get(REMOTE_CONTEXT_KEY), (context, previous))
        try:
            switch_to(context)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return context

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        current = get_current()
        entry = take_entry(self, current.get(REMOTE_CONTEXT_KEY))
        if entry is None:
            return
        context, previous = entry
        if current is context or current.get(REMOTE_CONTEXT_KEY) is context.get(REMOTE_CONTEXT_KEY):
            switch_to(skip_closed(previous))
        elif context is not previous:
            context[CLOSED_KEY] = previous

    async def __aenter__(self) -> Context:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)


def inject_environ(env: MutableMapping[str, str]) -> MutableMapping[str, str]:
    """Write the current trace into environment variables for a child process, and return them.

    Names are header names in upper case with `_` for `-`, for example `TRACEPARENT`; variables of an
    earlier trace and of its baggage are removed.
    """
    if RUNTIME.inject_environ is not None:
        RUNTIME.inject_environ(env, get_current())
    return env


def extract_environ(env: Mapping[str, str] | None = None) -> Context:
    """Read a trace from environment variables, as `inject_environ` writes them.

    Args:
        env: The variables; default: those of this process.
    """
    base = get_current()
    if RUNTIME.extract_environ is None or RUNTIME.environ is None:
        return base
    return RUNTIME.extract_environ(RUNTIME.environ() if env is None else env, base)


def get_baggage(key: str | None = None, *, span: OtelSpan | None = None) -> Any:  # Any: a value, or a mapping of all
    """Return one baggage item, or all of them as a mapping.

    Args:
        key: Name of the item; `None` for all. An item that is not there is `None`.
        span: Look at what this span would inject instead of at the current context.

    Source: spec/propagation.md §9.3.
    """
    context = baggage_context(span, get_current()) if span is not None and is_a(span, OtelSpan) else None
    if key is None:
        return baggage.get_all(context)
    name = clean_key(key)
    return None if name is None else baggage.get_baggage(name, context)


def set_baggage(key: str, value: str | None, *, span: OtelSpan | None = None) -> None:
    """Set a baggage item in the current context; it goes with every trace header from here on.

    The item stays until the block that made the current span is left; children see it, and what they
    set does not come back. `opentelemetry.baggage` sees the same items.

    Args:
        key: Name; blanks around it are not sent.
        value: Anything with a text; an item without text is not sent, and `None` removes the item, as with tags.
        span: Set it on this span instead: `inject(span=span)` and its children's will write it. When
            the span is the current one, that is the same.

    Source: spec/propagation.md §9.3.
    """
    if value is None:
        remove_baggage(key, span=span)
        return
    name = clean_key(key)
    if name is not None:
        _change_baggage(lambda context: without_baggage_metadata(baggage.set_baggage(name, value, context), name), span)


def remove_baggage(key: str, *, span: OtelSpan | None = None) -> None:
    """Remove a baggage item from the current context, or from the view of one span; see `set_baggage`."""
    name = clean_key(key)
    if name is not None:
        _change_baggage(lambda context: without_baggage_metadata(baggage.remove_baggage(name, context), name), span)


def clear_baggage(*, span: OtelSpan | None = None) -> None:
    """Remove all baggage items from the current context, or from the view of one span; see `set_baggage`."""
    # Empty instead of absent: an injection removes what an earlier one wrote into the carrier.
    _change_baggage(lambda context: baggage.clear(without_baggage(context)), span)


def _change_baggage(change: Callable[[Context], Context], span: OtelSpan | None) -> None:
    """Apply a change to the current context, or to the view that a span keeps; the current span keeps it as well."""
    current = get_current()
    active = current.get(SPAN_KEY)
    if span is None or not is_a(span, OtelSpan) or getattr(span, "wrapped", span) is active:
        changed = change(current)
        switch_to(changed)
        span = cast("OtelSpan | None", active)
    else:
        changed = change(baggage_context(span, current))
    if span is not None:
        keep_baggage(span, changed)
