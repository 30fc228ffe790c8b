"""The span for something that comes in (a request, a call, a message) and the context it is handled in.

It descends from its headers and from nothing else: a span that happens to be current where a server was
started is not its parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ddtrace_manual._api.other_provider import NoopSpan
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._api.start import start
from ddtrace_manual._base.context import REMOTE_CONTEXT_KEY, SPAN_KEY, Context, get_current, restore, switch_to
from ddtrace_manual._model import LinkRecord, RemoteContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddtrace_manual._model.types import Span

__all__ = ["Incoming", "link_to"]

_NOTHING = Context()


def link_to(context: Context, reason: str) -> tuple[LinkRecord, ...]:
    """Return a link to the span that an extraction found, if it found one.

    Args:
        context: What `extract` returned.
        reason: Why it is no parent; becomes an attribute.
    """
    caller = context.get(REMOTE_CONTEXT_KEY)
    if not isinstance(caller, RemoteContext) or not caller.trace_id:
        return ()
    flags = None if caller.priority is None else int(caller.priority > 0)
    return (LinkRecord(caller.trace_id, caller.span_id, {"reason": reason}, "", flags),)


class Incoming:
    """A span that was started from headers, and its context. Not thread-safe.

    Args:
        name: Operation name.
        options: Of the span, as for `start_span`; taken over.
        carrier: Whatever holds the headers.
        trusted: Whether to continue the caller's trace; otherwise it becomes a link, and its sampling
            decision, origin and baggage are ignored.
        getter: (carrier, name) → value, for carriers of an unusual form.

    Attributes:
        span: The span; the owner ends it.
    """

    __slots__ = ("_context", "_previous", "span")

    def __init__(
        self,
        name: str,
        options: dict[str, Any],  # Any: options of several types
        carrier: object,
        *,
        trusted: bool,
        getter: Callable[[Any, str], Any] | None = None,
    ) -> None:
        found = _NOTHING if RUNTIME.extract is None else RUNTIME.extract(carrier, _NOTHING, getter)
        if not trusted:
            options["links"] = (*options.get("links", ()), *link_to(found, "untrusted_caller"))
            found = _NOTHING
        self._previous = get_current()  # here too, so that an `enter` that was interrupted can be undone
        self.span: Span = start(name, options, found)
        self._context = cast("Context", found.copy())
        # A no-op span stands for what is current already: the caller's span.
        if not isinstance(self.span, NoopSpan):
            cast("dict[str, object]", self._context)[SPAN_KEY] = getattr(self.span, "wrapped", self.span)

    @property
    def marker(self) -> object:
        """What it makes current; `None` for a no-op span."""
        return self._context.get(SPAN_KEY)

    def enter(self) -> None:
        """Make the span's context current until `exit` or `pause`."""
        self._previous = get_current()
        switch_to(self._context)

    def exit(self) -> None:
        """Undo `enter` for good: wherever the application's coroutine was closed, if its span is current there."""
        if SPAN_KEY in self._context:
            restore(self._context, self._previous)
        else:
            switch_to(self._previous)

    def pause(self) -> None:
        """Undo `enter` until the next one: what is suspended within a block finds its span current again."""
        self._context = get_current()
        switch_to(self._previous)
