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
import inspect
import sys
import types
from types import CodeType
from typing import TYPE_CHECKING, Any

from ._context import CLOSED_KEY, get_current, restore, set_current, skip_closed
from ._span import activate_span, leave
from ._traced_calls import Runner, run_coroutine, run_function, take_name
from ._traced_plan import Plan, records_anything

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from ._context import Context

__all__ = ["context_manager_parts", "is_generator_runner", "run_async_generator", "run_generator", "runner_of"]

# Any: generators of every type pass through this module.


def run_generator(
    target: Callable[..., Generator[Any, Any, Any]], plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[Any, Any, Any]:
    """Return a generator that runs the one `target` returns in a span, from its first step to its end."""
    inner = target(*args, **kwargs)
    if not records_anything():
        return inner
    outer = _drive(inner, plan, args, kwargs, stays=_stays_current(plan))
    take_name(outer, inner)
    return outer


def run_async_generator(
    target: Callable[..., AsyncGenerator[Any, Any]], plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[Any, Any]:
    """Return an async generator that runs the one `target` returns in a span, from its first step to its end."""
    inner = target(*args, **kwargs)
    if not records_anything():
        return inner
    outer = _drive_async(inner, plan, args, kwargs, stays=_stays_current(plan))
    take_name(outer, inner)
    return outer


def runner_of(target: Any) -> Runner:
    """Return how calls are made, by what the target is or what its `__call__` is."""
    for probe in (target, getattr(type(target), "__call__", None)):  # noqa: B004 - the method itself is wanted
        if inspect.iscoroutinefunction(probe):
            return run_coroutine
        if inspect.isgeneratorfunction(probe):
            return run_generator
        if inspect.isasyncgenfunction(probe):
            return run_async_generator
    return run_function


def is_generator_runner(runner: Runner) -> bool:
    """Return whether this is the runner of generators or async generators."""
    return runner is run_generator or runner is run_async_generator


def _drive(
    inner: Generator[Any, Any, Any], plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any], *, stays: bool
) -> Generator[Any, Any, Any]:
    outside = first = get_current()
    span = plan.begin(args, kwargs, outside)
    del args, kwargs  # the generator may let go of them
    own = activate_span(span, outside)
    inside = own or outside
    resume: Callable[[Any], Any] = inner.send
    argument: Any = None
    try:
        while True:
            value = resume(argument)
            argument = None
            if not stays:
                inside = get_current()
                set_current(_still_open(outside))
            try:
                argument = yield value
                resume = inner.send
            except BaseException as exc:  # noqa: BLE001 - goes to the generator, whatever it is
                argument = exc
                resume = inner.throw
            value = None  # what was yielded is the caller's alone from here on
            if not stays:
                outside = get_current()
                set_current(_still_open(inside))
    except StopIteration as stop:  # only `resume` raises it here
        plan.returned(span, stop.value)
        return stop.value
    except BaseException as exc:
        leave(span, exc, plan.ignore)
        raise
    finally:
        argument = None  # an exception thrown in has this frame in its traceback
        span.end()
        if not stays:
            set_current(_still_open(outside))
        elif own is not None:
            restore(own, first)


async def _drive_async(
    inner: AsyncGenerator[Any, Any], plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any], *, stays: bool
) -> AsyncGenerator[Any, Any]:
    first = get_current()
    span = plan.begin(args, kwargs, first)
    del args, kwargs  # the generator may let go of them
    own = activate_span(span, first)
    if own is not None and not stays:
        set_current(first)
    flow = _Flow(own or first)
    step: Any = _first_step(inner)  # Any: cleared at the end
    try:
        while True:
            value = await (step if stays else _run_step(flow, step))
            try:
                sent = yield value
                step = inner.asend(sent)
            except BaseException as exc:  # noqa: BLE001 - goes to the generator, whatever it is
                step = inner.athrow(exc)
            value = sent = None  # what was yielded is the caller's alone from here on
    except StopAsyncIteration:  # only a step raises it here
        return
    except BaseException as exc:
        leave(span, exc, plan.ignore)
        raise
    finally:
        step = None  # an exception thrown in has this frame in its traceback
        span.end()
        if stays and own is not None:
            restore(own, first)


class _Flow:
    """The context an async generator is suspended with."""

    __slots__ = ("inside",)

    def __init__(self, inside: Context) -> None:
        self.inside = inside


@types.coroutine
def _run_step(flow: _Flow, step: Any) -> Generator[Any, Any, Any]:
    """Await one step of an async generator in its own context; while the step waits, the caller's is current."""
    outside = get_current()
    set_current(_still_open(flow.inside))
    resume: Callable[[Any], Any] = step.send
    argument: Any = None
    try:
        while True:
            signal = resume(argument)
            argument = None
            flow.inside = get_current()
            set_current(_still_open(outside))
            try:
                argument = yield signal
                resume = step.send
            except BaseException as exc:  # noqa: BLE001 - goes to the generator, whatever it is
                argument = exc
                resume = step.throw
            outside = get_current()
            set_current(_still_open(flow.inside))
    except StopIteration as stop:  # only `resume` raises it here
        return stop.value
    finally:
        argument = None  # see _drive
        flow.inside = get_current()
        set_current(_still_open(outside))


def _still_open(context: Context) -> Context:
    """Return `context`, or what lies around it if its span was ended meanwhile."""
    return context if CLOSED_KEY not in context else skip_closed(context)


def _first_step(inner: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
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

_CALLERS = frozenset({getattr(contextlib._GeneratorContextManager.__init__, "__code__", None)})
"""Code that calls a generator function for the sake of a `with` block."""


def context_manager_parts(target: object) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Return contextlib's decorator and the generator function under it, if that is what `target` is."""
    if type(target) is not types.FunctionType or target.__code__ not in _MAKERS:
        return None
    generator_function = getattr(target, "__wrapped__", None)
    return None if generator_function is None else (_MAKERS[target.__code__], generator_function)


def _stays_current(plan: Plan) -> bool:
    """Return whether the span is current in the caller between the steps; called by a runner.

    Unless the option says so, that is when contextlib calls: then between the steps lies the `with` block.
    """
    if plan.across is not None:
        return plan.across
    # 0 is this function, 1 the runner, 2 the stand-in's __call__, 3 whoever called it.
    return sys._getframe(3).f_code in _CALLERS
