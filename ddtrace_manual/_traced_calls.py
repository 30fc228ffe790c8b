"""The objects that stand in for decorated callables, and how calls of functions and coroutines are traced.

A stand-in is a transparent proxy: `isinstance`, `inspect`, attributes, signature and documentation are those of the
callable itself. Which class stands in is decided at decoration time:

- `TracedFunction`: a plain function without options. The hot path, written out in one frame.
- `BoundableCall`: any other function. Both bind to instances as functions do, as real methods.
- `DescriptorCall`: a callable that binds in a way of its own (another decorator's wrapper).
- `TracedCall`: a callable that does not bind (an instance with `__call__`, a partial, a builtin).

`wrapt.FunctionWrapper` was tried and costs 0.3 µs more per call and 0.5 µs more per method (bench: traced).
"""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
from collections.abc import Callable, Coroutine
from types import FunctionType, MethodType
from typing import Any

import wrapt

from ._context import CLOSED_KEY, SPAN_KEY, Context, get_current, restore, set_current
from ._runtime import RUNTIME
from ._span import activate_span, leave
from ._traced_plan import Plan, records_anything

__all__ = [
    "Runner",
    "TracedCall",
    "TracedFunction",
    "run_coroutine",
    "run_function",
    "stand_in",
    "take_name",
]

# Any: callables of every signature pass through this module.
Runner = Callable[[Callable[..., Any], Plan, tuple[Any, ...], dict[str, Any]], Any]
"""(callable, plan, args, kwargs) → result: makes one traced call."""

_Proxy: Any = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)  # Any: wrapt before 2.0 has no BaseObjectProxy


class TracedCall(_Proxy):  # type: ignore[misc] # see _Proxy
    """Stands in for a callable that does not bind to instances."""

    def __init__(self, wrapped: Callable[..., Any], plan: Plan, runner: Runner) -> None:
        super().__init__(wrapped)
        # In one: reading an attribute of a proxy costs thirty times as much as of another object (bench: traced).
        self._self_parts: tuple[Any, Plan, Runner] = wrapped, plan, runner

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "__wrapped__":
            _, plan, runner = self._self_parts
            self._self_parts = value, plan, runner

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make one traced call."""
        wrapped, plan, runner = self._self_parts
        return runner(wrapped, plan, args, kwargs)

    def __reduce_ex__(self, protocol: object) -> str | tuple[Any, ...]:
        """Pickle by name where the name leads here, as a function does; else the callable and its options."""
        wrapped, plan, runner = self._self_parts
        name = getattr(wrapped, "__qualname__", None)
        if isinstance(name, str) and _at(getattr(wrapped, "__module__", None), name) is self:
            return name
        return _again, (wrapped, plan.name, plan.given, runner)

    def __copy__(self) -> TracedCall:
        return self._around(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> TracedCall:
        return self._around(copy.deepcopy(self.__wrapped__, memo))

    def _around(self, copied: Callable[..., Any]) -> TracedCall:
        wrapped, plan, runner = self._self_parts
        if copied is wrapped:  # a function or another immutable callable
            return self
        return type(self)(copied, plan, runner)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class BoundableCall(TracedCall):
    """Stands in for a function."""

    # The proxy would make every function look like a container to `collections.abc`.
    __iter__ = None
    __len__ = None
    __contains__ = None

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)


class DescriptorCall(TracedCall):
    """Stands in for a callable that binds in a way of its own."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        wrapped, plan, runner = self._self_parts
        bound = type(wrapped).__get__(wrapped, instance, owner)
        if bound is wrapped:
            return self
        return TracedCall(bound, plan.for_bound(bound), runner)


class TracedFunction(BoundableCall):
    """Stands in for a plain function that is traced without options."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function in a span."""
        # run_function() with begin(), activate() and restore() written out: five frames less (bench: traced).
        wrapped, plan, _ = self._self_parts
        previous = get_current()
        parent: Any = previous.get(SPAN_KEY)  # Any: see SpanScope.__enter__
        try:
            source: Any = None if parent is None else parent.child_source  # Any: likewise
        except AttributeError:  # another library's span
            source = None
        if source is RUNTIME.source:
            made = source.child(parent, plan.name)
        else:
            engine = RUNTIME.engine
            if engine is None or engine.is_watched:
                return run_function(wrapped, plan, args, kwargs)
            made = engine.start(plan.name, previous)
        context: Context = previous.copy()  # type: ignore[assignment] # a cast would be a call (bench: traced)
        context[SPAN_KEY] = made
        set_current(context)
        try:
            return wrapped(*args, **kwargs)
        except BaseException as exc:
            leave(made, exc)
            raise
        finally:
            made.end()
            if get_current() is context and CLOSED_KEY not in previous:
                set_current(previous)
            else:
                restore(context, previous)


def stand_in(target: Callable[..., Any], plan: Plan, runner: Runner) -> TracedCall:
    """Return the object that stands in for `target`."""
    # By type(): a foreign proxy says that it is a function, but binds in a way of its own.
    if issubclass(type(target), (FunctionType, _LruCache, BoundableCall)):
        if runner is run_function and plan.is_plain:
            return TracedFunction(target, plan, runner)
        return BoundableCall(target, plan, runner)
    if hasattr(type(target), "__get__"):
        return DescriptorCall(target, plan, runner)
    return TracedCall(target, plan, runner)


def run_function(target: Callable[..., Any], plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function in a span."""
    previous = get_current()
    span = plan.begin(args, kwargs, previous)
    context = activate_span(span, previous)
    try:
        result = target(*args, **kwargs)
        if plan.capture_return:
            plan.returned(span, result)
        return result  # noqa: TRY300 - what leaves the span is told from here, too
    except BaseException as exc:
        leave(span, exc, plan.ignore)
        raise
    finally:
        span.end()
        if context is not None:
            restore(context, previous)


def run_coroutine(
    target: Callable[..., Coroutine[Any, Any, Any]], plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Coroutine[Any, Any, Any]:
    """Return a coroutine that awaits the one `target` returns in a span.

    The target is called at once, so that wrong arguments are reported where they are given.
    """
    awaitable = target(*args, **kwargs)
    if not records_anything():
        return awaitable
    outer = _await_in_span(_Unstarted(awaitable), plan, args, kwargs)
    take_name(outer, awaitable)
    return outer


def take_name(outer: Any, inner: Any) -> None:
    """Name a coroutine or generator like the one it runs, for warnings and debuggers."""
    with contextlib.suppress(AttributeError):  # an awaitable or iterator of another kind
        outer.__name__, outer.__qualname__ = inner.__name__, inner.__qualname__


class _Unstarted:
    """Holds a coroutine until it is started; discards it without a second "never awaited" warning if it never is."""

    __slots__ = ("awaitable",)

    def __init__(self, awaitable: Any) -> None:
        self.awaitable = awaitable

    def __del__(self) -> None:
        if self.awaitable is not None and hasattr(self.awaitable, "close"):
            self.awaitable.close()


async def _await_in_span(held: _Unstarted, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    awaitable, held.awaitable = held.awaitable, None
    previous = get_current()
    span = plan.begin(args, kwargs, previous)
    del args, kwargs  # the coroutine may let go of them
    context = activate_span(span, previous)
    try:
        result = await awaitable
        if plan.capture_return:
            plan.returned(span, result)
        return result  # noqa: TRY300 - what leaves the span is told from here, too
    except BaseException as exc:
        leave(span, exc, plan.ignore)
        raise
    finally:
        span.end()
        if context is not None:
            restore(context, previous)


_LruCache: type = type(functools.lru_cache(len))


def _at(module: str | None, qualname: str) -> object:
    """Return what a module has under a dotted name, or `None`."""
    found: object = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _again(target: Any, name: str, given: Any, runner: Runner) -> TracedCall:
    """Decorate an unpickled callable as it was."""
    return stand_in(target, Plan(target, name, given), runner)
