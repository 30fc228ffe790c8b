"""The real functions that `@traced` returns for Python functions, of the same kind and with the same parameters.

A traced function is a closure over three objects: the function it calls, the plan of its calls and `TOOLS`. It names no
other object of this package. So picklers that write functions by value (`cloudpickle`, `dill`) take the function and
the plan along and find `TOOLS` by its name in the other process.

Plain functions take `*args, **kwargs`: a call that does not fit is a failed call and has a span. The functions of the
other kinds run only when somebody awaits or advances what they return, so that a call that does not fit has to be
refused when the arguments are bound: they are made with the parameters of the function itself, from a template that is
compiled once for each number of parameters.

One frame for each call: what a function does itself is written out in it, so that recursion goes as deep as through any
`functools.wraps` wrapper.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
from collections.abc import Callable
from enum import Enum
from types import CellType, CodeType, FunctionType
from typing import Any, NamedTuple

from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._api.start import record_exit
from ddtrace_manual._base.context import (
    CLOSED_KEY,
    COLLECTION,
    SPAN_KEY,
    get_current,
    restore,
    set_current,
    skip_closed,
    switch_to,
)

from .generators import Flow, drive, first_step, is_entered_by_contextlib
from .plan import Plan, await_rest, enter, finish, is_awaitable, start

__all__ = ["TOOLS", "CallKind", "is_traced_function", "kind_of", "traced_function"]

# Any: functions of every signature and return type pass through this module.


class CallKind(Enum):
    """What a call of a traced callable returns, and so when its span ends."""

    FUNCTION = "function"
    COROUTINE = "coroutine"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"
    COROUTINE_WRAPPER = "coroutine wrapper"
    """A plain function around a coroutine function: what it returns is awaited in the span."""

    @property
    def is_generator(self) -> bool:
        """Whether the span may stay current across a `yield`."""
        return self in (CallKind.GENERATOR, CallKind.ASYNC_GENERATOR)


def kind_of(target: Any) -> CallKind:
    """Return the kind of a callable, by what it is or what its `__call__` is."""
    for probe in (target, getattr(type(target), "__call__", None)):  # noqa: B004 - the method itself is wanted
        if inspect.iscoroutinefunction(probe):
            return CallKind.COROUTINE
        if inspect.isgeneratorfunction(probe):
            return CallKind.GENERATOR
        if inspect.isasyncgenfunction(probe):
            return CallKind.ASYNC_GENERATOR
    try:
        inner = inspect.unwrap(target)
    except ValueError:  # a cycle of `__wrapped__`
        return CallKind.FUNCTION
    if inner is not target and inspect.iscoroutinefunction(inner):
        return CallKind.COROUTINE_WRAPPER
    return CallKind.FUNCTION


class _Tools:
    """What traced functions use; pickled as the name of the one instance."""

    __slots__ = (
        "Flow",
        "await_rest",
        "closed_key",
        "collection",
        "drive",
        "enter",
        "finish",
        "first_step",
        "get_current",
        "is_awaitable",
        "is_entered_by_contextlib",
        "record_exit",
        "restore",
        "runtime",
        "set_current",
        "skip_closed",
        "span_key",
        "start",
        "switch_to",
        "with_options",
    )

    def __init__(self) -> None:
        self.Flow = Flow
        self.await_rest = await_rest
        self.closed_key = CLOSED_KEY
        self.collection = COLLECTION
        self.drive = drive
        self.enter = enter
        self.finish = finish
        self.first_step = first_step
        self.get_current = get_current
        self.is_awaitable = is_awaitable
        self.is_entered_by_contextlib = is_entered_by_contextlib
        self.record_exit = record_exit
        self.restore = restore
        self.runtime = RUNTIME
        self.set_current = set_current
        self.skip_closed = skip_closed
        self.span_key = SPAN_KEY
        self.start = start
        self.switch_to = switch_to
        self.with_options = _late_with_options

    def __reduce__(self) -> str:
        return "TOOLS"


def _late_with_options(target: Any, plan: Plan, tools: _Tools) -> Any:
    return _with_options(target, plan, tools)


TOOLS = _Tools()


# -- plain functions -----------------------------------------------------------------------------------


def _without_options(target: Any, plan: Plan, tools: _Tools) -> Any:
    def traced_call(*args: Any, **kwargs: Any) -> Any:
        # start(), activate() and restore() written out: five frames less (bench: traced).
        previous = tools.get_current()
        parent: Any = previous.get(tools.span_key)  # Any: see SpanScope.__enter__
        try:
            source: Any = None if parent is None else parent.child_source  # Any: likewise
        except AttributeError:  # another library's span
            source = None
        made: Any
        if source is tools.runtime.source:
            made = active = source.child(parent, plan.name)
        else:
            engine = tools.runtime.engine
            if tools.collection.thread is not None:  # perhaps it must not become current
                return tools.with_options(target, plan, tools)(*args, **kwargs)
            if engine is None or engine.is_watched:
                made = tools.start(plan, previous, args, kwargs)
                if made is None:
                    return target(*args, **kwargs)
                active = getattr(made, "wrapped", made)
            else:
                made = active = engine.start(plan.name, previous)
        context: Any = previous.copy()  # Any: a cast would be a call (bench: traced)
        context[tools.span_key] = active
        try:
            tools.set_current(context)
            return target(*args, **kwargs)
        except BaseException as exc:
            tools.record_exit(made, exc)
            raise
        finally:
            try:
                made.end()
            finally:
                if tools.get_current() is context and tools.closed_key not in previous:
                    tools.set_current(previous)
                else:
                    tools.restore(context, previous)

    return traced_call


def _with_options(target: Any, plan: Plan, tools: _Tools) -> Any:
    def traced_call(*args: Any, **kwargs: Any) -> Any:
        previous = tools.get_current()
        entered = tools.enter(plan, previous, args, kwargs)
        if entered is None:
            return target(*args, **kwargs)
        span, context = entered
        try:
            result = target(*args, **kwargs)
            if plan.capture_return:
                plan.returned(span, result)
            return result  # noqa: TRY300 - what leaves the span is recorded from here, too
        except BaseException as exc:
            tools.record_exit(span, exc, plan.ignore)
            raise
        finally:
            tools.finish(span, context, previous)

    return traced_call


def _around_coroutine(target: Any, plan: Plan, tools: _Tools) -> Any:
    def traced_call(*args: Any, **kwargs: Any) -> Any:
        previous = tools.get_current()
        entered = tools.enter(plan, previous, args, kwargs)
        if entered is None:
            return target(*args, **kwargs)
        span, context = entered
        try:
            result = target(*args, **kwargs)
        except BaseException as exc:
            tools.record_exit(span, exc, plan.ignore)
            tools.finish(span, context, previous)
            raise
        if tools.is_awaitable(result):
            tools.restore(context, previous)
            return tools.await_rest(result, span, plan)
        if plan.capture_return:
            plan.returned(span, result)
        tools.finish(span, context, previous)
        return result

    return traced_call


_PLAIN: dict[Any, CodeType] = {
    factory: factory(None, None, None).__code__  # type: ignore[arg-type] # only its code is wanted
    for factory in (_without_options, _with_options, _around_coroutine)
}


# -- kinds that bind their arguments first -------------------------------------------------------------


class _Template(NamedTuple):
    """Text of a function, and the line of this file that it begins behind, for tracebacks."""

    text: str
    line: int


def _template(text: str) -> _Template:
    return _Template(text, sys._getframe(1).f_lineno)


_COROUTINE = _template("""
async def traced_call({parameters}):
    inner = target({arguments})
    previous = tools.get_current()
    entered = tools.enter(plan, previous{given})
    {forget}
    if entered is None:
        return await inner
    span, context = entered
    try:
        result = await inner
        if plan.capture_return:
            plan.returned(span, result)
        return result
    except BaseException as exc:
        tools.record_exit(span, exc, plan.ignore)
        raise
    finally:
        tools.finish(span, context, previous)
""")

# switch_to() is written out for the usual case: two frames less for each step (bench: traced-generator).
# Exceptions are thrown in outside of any `except` block: `sys.exc_info()` and `__context__` are the inner one's own.
_GENERATOR = _template("""
def traced_call({parameters}):
    inner = target({arguments})
    outside = tools.get_current()
    if plan.across or (plan.across is None and tools.is_entered_by_contextlib()):
        inner = tools.drive(inner, plan{given})
        entered = None
    else:
        entered = tools.enter(plan, outside{given})
    {forget}
    if entered is None:
        return (yield from inner)
    span, inside = entered
    get_current, set_current, switch_to = tools.get_current, tools.set_current, tools.switch_to
    closed_key, collection = tools.closed_key, tools.collection
    send = resume = inner.send
    argument = None
    try:
        while True:
            value = resume(argument)
            argument = None
            inside = get_current()
            if closed_key in outside:
                outside = tools.skip_closed(outside)
            (set_current if collection.thread is None else switch_to)(outside)
            try:
                argument = yield value
                resume = send
            except BaseException as exc:
                argument = exc
                resume = inner.throw
            value = None  # what was yielded is the caller's alone from here on
            outside = get_current()
            if closed_key in inside:
                inside = tools.skip_closed(inside)
            (set_current if collection.thread is None else switch_to)(inside)
    except StopIteration as stop:  # only `resume` raises it here
        if plan.capture_return:
            plan.returned(span, stop.value)
        return stop.value
    except BaseException as exc:
        tools.record_exit(span, exc, plan.ignore)
        raise
    finally:
        argument = None  # an exception thrown in has this frame in its traceback
        span.end()
        if closed_key in outside:
            outside = tools.skip_closed(outside)
        (set_current if collection.thread is None else switch_to)(outside)
""")

_ASYNC_GENERATOR = _template("""
async def traced_call({parameters}):
    inner = target({arguments})
    flow = tools.Flow.start(plan{given})
    {forget}
    step = tools.first_step(inner)
    try:
        while True:
            value = await (step if flow is None else flow.run(step))
            try:
                sent = yield value
                step = inner.asend(sent)
            except BaseException as exc:
                step = inner.athrow(exc)
            value = sent = None  # what was yielded is the caller's alone from here on
    except StopAsyncIteration:  # only a step raises it here
        return
    except BaseException as exc:
        if flow is not None:
            tools.record_exit(flow.span, exc, plan.ignore)
        raise
    finally:
        step = None  # an exception thrown in has this frame in its traceback
        if flow is not None:
            flow.finish()
""")

_TEMPLATES = {
    CallKind.COROUTINE: _COROUTINE,
    CallKind.GENERATOR: _GENERATOR,
    CallKind.ASYNC_GENERATOR: _ASYNC_GENERATOR,
}


class _Shape(NamedTuple):
    """How many parameters of each sort a function has."""

    positional_only: int = 0
    positional: int = 0
    keyword_only: int = 0
    rest: bool = True
    keywords: bool = True


def _shape_of(code: CodeType) -> _Shape:
    return _Shape(
        code.co_posonlyargcount,
        code.co_argcount - code.co_posonlyargcount,
        code.co_kwonlyargcount,
        bool(code.co_flags & inspect.CO_VARARGS),
        bool(code.co_flags & inspect.CO_VARKEYWORDS),
    )


def _keyword_names(shape: _Shape) -> list[str]:
    return [f"keyword_{number}" for number in range(shape.keyword_only)]


@functools.cache
def _code_for(kind: CallKind, shape: _Shape, *, gives: bool) -> CodeType:
    """Return the code of a traced function with numbered parameters; `gives`: it hands its arguments to the plan."""
    positional = [f"argument_{number}" for number in range(shape.positional_only + shape.positional)]
    keywords = _keyword_names(shape)
    parameters = list(positional)
    if shape.positional_only:
        parameters.insert(shape.positional_only, "/")
    if shape.rest:
        parameters.append("*rest")
    elif keywords:
        parameters.append("*")
    parameters += keywords
    passed = [*positional, *["*rest"] * shape.rest]
    named = ["**keywords"] * shape.keywords
    everything = [*positional, *["rest"] * shape.rest, *keywords, *["keywords"] * shape.keywords]
    by_name = [*(f"{name!r}: {name}" for name in keywords), *named]
    template = _TEMPLATES[kind]
    text = template.text.format(
        parameters=", ".join([*parameters, *named]),
        arguments=", ".join([*passed, *(f"{name}={name}" for name in keywords), *named]),
        given=f", ({''.join(f'{name}, ' for name in passed)}), {{{', '.join(by_name)}}}" if gives else "",
        forget=f"del {', '.join(everything)}" if everything else "pass",
    )
    source = "\n" * (template.line - 1) + "def make(target, plan, tools):" + text.replace("\n", "\n    ")
    namespace: dict[str, Any] = {}
    exec(compile(f"{source}\n    return traced_call", __file__, "exec"), namespace)  # noqa: S102 - a template above
    code: CodeType = namespace["make"](None, None, None).__code__
    return code


def _code_like(target: Any, kind: CallKind, *, gives: bool) -> CodeType:
    """Return the code of a traced function with the parameters of `target`."""
    own = target.__code__ if type(target) is FunctionType else None
    shape = _Shape() if own is None else _shape_of(own)
    code = _code_for(kind, shape, gives=gives)
    if own is None:
        return code
    if own.co_flags & inspect.CO_ITERABLE_COROUTINE:  # what `types.coroutine` makes of a generator function
        code = code.replace(co_flags=code.co_flags | inspect.CO_ITERABLE_COROUTINE)
    # Parameters are variables by their position: to rename them is to rename the first variables. By name occur those
    # that are passed by keyword.
    count = own.co_argcount + own.co_kwonlyargcount + shape.rest + shape.keywords
    names = own.co_varnames[:count] + code.co_varnames[count:]
    if not shape.keyword_only:
        return code.replace(co_varnames=names)
    renamed = dict(zip(_keyword_names(shape), own.co_varnames[own.co_argcount :], strict=False))
    return code.replace(co_varnames=names, co_consts=tuple(_renamed(value, renamed) for value in code.co_consts))


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, tuple):
        return tuple(_renamed(item, names) for item in value)
    return names.get(value, value) if isinstance(value, str) else value


# -- making them ---------------------------------------------------------------------------------------

_GLOBALS: dict[str, Any] = {"__builtins__": builtins, "__name__": __name__}
"""Globals of traced functions, which use none: picklers that write a function's globals find nothing else."""


def traced_function(target: Callable[..., Any], plan: Plan, kind: CallKind) -> FunctionType:
    """Return a function that makes traced calls of `target`; it has name, parameters and attributes of that."""
    if kind in _TEMPLATES:
        code = _code_like(target, kind, gives=plan.uses_arguments)
    elif kind is CallKind.COROUTINE_WRAPPER:
        code = _PLAIN[_around_coroutine]
    else:
        code = _PLAIN[_without_options if plan.is_plain else _with_options]
    values = {"target": target, "plan": plan, "tools": TOOLS}
    made = FunctionType(code, _GLOBALS, None, None, tuple(CellType(values[name]) for name in code.co_freevars))
    functools.update_wrapper(made, target)
    if type(target) is FunctionType:
        made.__defaults__, made.__kwdefaults__ = target.__defaults__, target.__kwdefaults__
    return made


def is_traced_function(function: Any) -> bool:
    """Return whether `traced_function` made a function."""
    return type(function) is FunctionType and function.__code__.co_filename == __file__
