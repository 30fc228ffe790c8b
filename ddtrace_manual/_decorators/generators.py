"""How generators and async generators are traced: suspended is not current.

The generator a caller gets is a real one that drives the decorated one. Before every step the context the
decorated generator was suspended with is made current, its open spans and baggage included; after every step the
context of whoever asked for the step is put back. Nothing is kept between steps but plain references: no contextvar
token, no task. So steps may come from several threads, tasks and contexts, and a generator may be abandoned.

Exceptions are thrown into the decorated generator outside of any `except` block: its `sys.exc_info()` and the
`__context__` of what it raises are those it would have by itself.
"""

from __future__ import annotations

import contextlib
import sys
import types
from types import CodeType
from typing import TYPE_CHECKING, Any

from ddtrace_manual._api.start import activate_span, record_exit
from ddtrace_manual._base.context import CLOSED_KEY, SPAN_KEY, get_current, restore, skip_closed
from ddtrace_manual._base.context import switch_to as set_current

from .plan import Plan, enter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from ddtrace_manual._base.context import Context
    from ddtrace_manual._model.types import Span

__all__ = ["Flow", "context_manager_parts", "drive", "first_step", "is_entered_by_contextlib"]

# Any: generators of every type pass through this module.


def drive(
    inner: Generator[Any, Any, Any], plan: Plan, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
) -> Generator[Any, Any, Any]:
    """Run a generator in a span that stays current while it is suspended, until it ends.

    Resumed where the span is not current (another thread, task or context), a step runs under it nevertheless, and the
    caller's context is put back after the step.
    """
    first = get_current()
    elsewhere: Context | None = None
    span = plan.start(args, kwargs or {}, first)
    del args, kwargs  # the generator may let go of them
    own = activate_span(span, first)
    resume: Callable[[Any], Any] = inner.send
    argument: Any = None
    try:
        while True:
            value = resume(argument)
            argument = None
            inside = get_current()
            if elsewhere is not None:
                set_current(_still_open(elsewhere))
            try:
                argument = yield value
                resume = inner.send
            except BaseException as exc:  # goes to the generator, whatever it is
                argument = exc
                resume = inner.throw
            value = None  # what was yielded is the caller's alone from here on
            elsewhere = None if _is_current(inside) else get_current()
            if elsewhere is not None:
                set_current(_still_open(inside))
    except StopIteration as stop:  # only `resume` raises it here
        plan.returned(span, stop.value)
        return stop.value
    except BaseException as exc:
        record_exit(span, exc, plan.ignore)
        raise
    finally:
        argument = None  # an exception thrown in has this frame in its traceback
        span.end()
        if elsewhere is not None:
            set_current(_still_open(elsewhere))
        if own is not None:
            restore(own, first)


class Flow:
    """The span of an async generator, and the context it is suspended with."""

    __slots__ = ("first", "inside", "own", "span", "stays")

    def __init__(self, span: Span, own: Context, first: Context, *, stays: bool) -> None:
        self.span = span
        self.own = self.inside = own
        self.first = first
        self.stays = stays

    @classmethod
    def start(cls, plan: Plan, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Flow | None:
        """Start the span; `None` when nobody records it. Called by the traced function in its first step."""
        stays = is_entered_by_contextlib(3) if plan.across is None else plan.across
        first = get_current()
        entered = enter(plan, first, args, kwargs or {})
        if entered is None:
            return None
        if not stays:
            set_current(first)
        return cls(*entered, first, stays=stays)

    def run(self, step: Any) -> Any:
        """Return what to await for a step to be made in the span."""
        return self._run_here(step) if self.stays and _is_current(self.inside) else self._run(step)

    async def _run_here(self, step: Any) -> Any:
        """Await one step in the context of the caller, where the span is current."""
        try:
            return await step
        finally:
            self.inside = get_current()

    @types.coroutine
    def _run(self, step: Any) -> Generator[Any, Any, Any]:
        """Await one step in the context of the generator; while the step waits, the caller's is current."""
        outside = get_current()
        inside = self.inside
        set_current(inside if CLOSED_KEY not in inside else skip_closed(inside))
        resume: Callable[[Any], Any] = step.send
        argument: Any = None
        try:
            while True:
                signal = resume(argument)
                argument = None
                self.inside = get_current()
                set_current(_still_open(outside))
                try:
                    argument = yield signal
                    resume = step.send
                except BaseException as exc:  # goes to the generator, whatever it is
                    argument = exc
                    resume = step.throw
                outside = get_current()
                set_current(_still_open(self.inside))
        except StopIteration as stop:  # only `resume` raises it here
            return stop.value
        finally:
            argument = None  # see drive
            self.inside = get_current()
            set_current(outside if CLOSED_KEY not in outside else skip_closed(outside))

    def finish(self) -> None:
        """End the span; the caller's context is current again."""
        self.span.end()
        if self.stays:
            restore(self.own, self.first)


def _is_current(context: Context) -> bool:
    """Return whether this context is current, or another one with the same span."""
    current = get_current()
    return current is context or current.get(SPAN_KEY) is context.get(SPAN_KEY)


def _still_open(context: Context) -> Context:
    """Return `context`, or what lies around it if its span was ended meanwhile."""
    return context if CLOSED_KEY not in context else skip_closed(context)


def first_step(inner: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Ask for the first step without telling the event loop about the generator.

    The loop knows the driving generator, and closes it when it is abandoned or the loop ends. Were it to know both,
    it would close both at once, and complain that one of them is running. The finalizer keeps the garbage collector
    from closing the inner one by itself when both are in one cycle.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, _leave_it)
    try:
        return inner.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _leave_it(generator: object) -> None:
    """Finalize nothing: the driving generator does."""


# -- context managers ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _sample() -> Generator[None]:
    yield


@contextlib.asynccontextmanager
async def _async_sample() -> AsyncGenerator[None]:
    yield


_MAKERS: dict[CodeType, Any] = {
    _sample.__code__: contextlib.contextmanager,
    _async_sample.__code__: contextlib.asynccontextmanager,
}
"""The function that contextlib puts around a generator function, by its code, to the decorator that made it."""

_ENTRIES = frozenset(
    {
        contextlib._GeneratorContextManager.__enter__.__code__,
        contextlib._AsyncGeneratorContextManager.__aenter__.__code__,
    }
)
"""Code that advances a generator for the first time for the sake of a `with` block."""


def context_manager_parts(target: object) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Return contextlib's decorator and the generator function under it, if that is what `target` is."""
    if type(target) is not types.FunctionType or target.__code__ not in _MAKERS:
        return None
    generator_function = getattr(target, "__wrapped__", None)
    return None if generator_function is None else (_MAKERS[target.__code__], generator_function)


def is_entered_by_contextlib(depth: int = 2) -> bool:
    """Return whether a generator's first step is that of a `with` block; called by the generator itself.

    Args:
        depth: How many frames lie between this one and whoever advances the generator, that one included.
    """
    return sys._getframe(depth).f_code in _ENTRIES
