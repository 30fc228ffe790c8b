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

import inspect
import sys
from _thread import get_ident
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import context as _otel_context
from opentelemetry.context.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace.propagation import _SPAN_KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from opentelemetry.trace import Span

__all__ = [
    "CLOSED_KEY",
    "COLLECTION",
    "ENTERING",
    "NOT_CURRENT",
    "REMOTE_CONTEXT_KEY",
    "SPAN_KEY",
    "Context",
    "activate",
    "add_entry",
    "get_current",
    "is_collecting",
    "restore",
    "set_current",
    "skip_closed",
    "switch_to",
    "take_entry",
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


class Collection:
    """Which thread collects garbage; kept up to date by `_api/collection.py` where that matters."""

    __slots__ = ("thread",)

    def __init__(self) -> None:
        self.thread: int | None = None


COLLECTION = Collection()

ENTERING = Context()
"""What a scope has as its context while it is being entered. Never current."""

NOT_CURRENT = Context()
"""What a scope has as its context when its span was not made current. Never current, and false."""


def is_collecting() -> bool:
    """Return whether this thread must not change its current context because it collects garbage."""
    return COLLECTION.thread is not None and COLLECTION.thread == get_ident()


def switch_to(context: Context) -> None:
    """Make a context current, unless `is_collecting`."""
    if COLLECTION.thread is None or not is_collecting():
        set_current(context)


def activate(span: Span, previous: Context) -> Context:
    """Make `span` current and return the new context; `previous` is the context it replaces.

    Where `is_collecting` nothing is changed and `NOT_CURRENT` returned.
    """
    if COLLECTION.thread is not None and is_collecting():
        return NOT_CURRENT
    context: Context = previous.copy()  # type: ignore[assignment] # a cast would be a call (bench: traced)
    context[SPAN_KEY] = span
    set_current(context)
    return context


def restore(context: Context, previous: Context) -> None:
    """Undo an `activate` that returned `context`, from whatever thread, task or order.

    What is current may also be a span that descends from the one that ends: an interrupted exit left it behind. But
    when a generator leaves its block, an open span that descends from it is the caller's, and stays current.
    """
    if context is NOT_CURRENT:
        return
    if COLLECTION.thread is None or not is_collecting():
        current = get_current()
        span, own = current.get(SPAN_KEY), context.get(SPAN_KEY)
        if current is context or span is own:
            set_current(skip_closed(previous))
            return
        if _descends(span, own) and (getattr(span, "end_ns", None) is not None or not _is_generator_leaving()):
            set_current(skip_closed(previous))
    cast("dict[str, Any]", context)[CLOSED_KEY] = previous  # Any: contexts hold anything


def skip_closed(context: Context) -> Context:
    """Return the nearest context, from this one outwards, whose activation has not ended."""
    while (outer := context.get(CLOSED_KEY)) is not None:
        context = cast("Context", outer)
    return context


def _descends(span: Any, ancestor: Any) -> bool:  # Any: spans of every library
    """Return whether one span descends from another.

    A span that has ended does not know its parent any more. It counts as a descendant when it is of the same trace:
    nobody who is still running in that context can have it as the current span but by an interrupted exit.
    """
    while span is not None and span is not ancestor:
        parent = getattr(span, "local_parent", None) or getattr(span, "given_parent", None)
        if parent is None:
            segment = getattr(span, "segment", None)
            has_ended = getattr(span, "end_ns", None) is not None  # a remote context has no end
            return segment is not None and has_ended and segment is getattr(ancestor, "segment", None)
        span = parent
    return span is not None


def _is_generator_leaving() -> bool:
    """Return whether the block that is being left is one of a generator or async generator."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_flags & _GENERATOR_FLAGS:
            return True
        if not str(frame.f_globals.get("__name__")).startswith("ddtrace_manual."):
            return False
        frame = frame.f_back
    return False


_GENERATOR_FLAGS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


# -- context managers that are entered again while open ------------------------------------------------

# Entries are left in any order, by any thread or task. Each is found by the object that it made current; every access
# is one operation of a dictionary or list, so that there is no lock that a signal handler or a fork could find taken.

_entries: dict[tuple[int, int], tuple[object, object, Any]] = {}  # Any: entries are the owner's business
"""(id of the context manager, id of what it made current) to these two and the entry."""

_entries_not_current: dict[int, list[tuple[object, Any]]] = {}  # Any: likewise
"""Id of the context manager to entries that made nothing current."""


def add_entry(owner: object, marker: object, entry: Any) -> None:  # Any: see _entries
    """Keep an entry of a context manager until it is left.

    Args:
        owner: The context manager.
        marker: What the entry made current; `None` if nothing.
        entry: What `take_entry` is to return.
    """
    if marker is None:
        _entries_not_current.setdefault(id(owner), []).append((owner, entry))
    else:
        _entries[id(owner), id(marker)] = owner, marker, entry


def take_entry(owner: object, marker: object, own: object = None) -> Any:  # noqa: PLR0911 # Any: see _entries
    """Return the entry that is being left, which is forgotten, or `None`.

    It is the one whose marker is current, else one that made nothing current, else the newest that what is current
    descends from, else the newest.

    Args:
        owner: The context manager.
        marker: What is current now, of the kind that was given to `add_entry`.
        own: Marker of an entry that the owner keeps by itself; `None` is returned when it is that one's turn.
    """
    if not _entries and not _entries_not_current:
        return None
    me = id(owner)
    found = _entries.pop((me, id(marker)), None)
    if found is not None:
        return found[2]
    if own is not None and own is marker:
        return None
    not_current = _entries_not_current.get(me)
    if not_current:
        try:
            return not_current.pop()[1]
        except IndexError:  # another thread was quicker
            pass
    mine = [item for item in reversed(list(_entries.items())) if item[0][0] == me]
    mine.sort(key=lambda item: not _descends(marker, item[1][1]))  # a stable sort: still the newest first
    if own is not None and mine and _descends(marker, own) and not _descends(marker, mine[0][1][1]):
        return None
    for key, _ in mine:
        found = _entries.pop(key, None)
        if found is not None:
            return found[2]
    return None
