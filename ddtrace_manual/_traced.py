"""`@traced`: spans around everything Python can call. `@untraced`: leave a method of a traced class alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from typing_extensions import Unpack

from ._traced_calls import stand_in
from ._traced_classes import (
    UNTRACED_MARK,
    OptionsByFunction,
    functions_of,
    is_descriptor,
    members_to_trace,
    trace_class,
    wrap_descriptor,
)
from ._traced_generators import context_manager_parts, is_generator_runner, runner_of
from ._traced_plan import Arguments, CaptureArgs, CaptureReturn, Plan, TracedOptions, check_options, default_name
from .exceptions import ConfigurationError

if TYPE_CHECKING:
    from functools import cached_property, partialmethod
    from typing import TypeAlias

    from ._types import Kind, LinkTarget, Tags

    _Function: TypeAlias = Callable[..., Any]
    _Descriptor: TypeAlias = (
        staticmethod[..., Any] | classmethod[Any, ..., Any] | property | cached_property[Any] | partialmethod[Any]
    )

__all__ = ["traced", "untraced"]

# Any: callables of every signature and return type are decorated.
_Target = TypeVar("_Target", bound="_Function | _Descriptor")


class TracedDecorator(Protocol):
    """What `traced` with a name or options returns."""

    def __call__(self, target: _Target, /) -> _Target:
        """Return `target`, traced."""
        ...


@overload
def traced(name: _Target, /, **options: Unpack[TracedOptions]) -> _Target: ...


@overload
def traced(name: str | None = None, /, **options: Unpack[TracedOptions]) -> TracedDecorator: ...


def traced(  # noqa: PLR0913 - one keyword for each option
    name: Any = None,
    *,
    service: str | None = None,
    resource: str | Callable[[Arguments], str] | None = None,
    span_type: str | None = None,
    kind: Kind | None = None,
    tags: Tags | Callable[[Arguments], Tags] | None = None,
    links: Iterable[LinkTarget] | None = None,
    measured: bool = False,
    new_trace: bool = False,
    capture_args: CaptureArgs = False,
    capture_return: CaptureReturn = False,
    ignore: tuple[type[BaseException], ...] | type[BaseException] | None = None,
    active_across_yield: bool | None = None,
    only: Iterable[str] | None = None,
) -> Any:
    """Run every call in a span. Use it bare, `@traced`, or called, `@traced("name", option=...)`.

    Args:
        name: Span name; default: `module.qualname`. For a class: the part before the method's name.
        service: Service name; default: the parent's, else the configured one.
        resource: Resource name, or a function that returns it for the arguments of a call, given as a dict by
            parameter name, defaults included.
        span_type: Product category, for example `web`, `sql`, `worker`.
        kind: `internal` (default), `server`, `client`, `producer` or `consumer`.
        tags: Tags, or a function that returns them for the arguments of a call.
        links: Spans of other traces that every call relates to.
        measured: Compute statistics for this span even when it is neither top-level nor a client call.
        new_trace: Start a new trace with every call; the span that was current becomes a link.
        capture_args: Record arguments as tags `function.arg.<name>`: `True` for all but `self` and `cls`, names of
            parameters, or a function from the dict of arguments to a mapping of what to record.
        capture_return: Record the return value as tag `function.return`: `True`, or a function from the value to
            what to record. Not for generators' yielded values.
        ignore: Exceptions that leave the span unmarked.
        active_across_yield: Keep the span of a generator current while it is suspended. Default: only where
            contextlib calls the generator, so that the `with` body is traced.
        only: For a class: exactly these members instead of its public methods.

    What is traced: a function: the call. A coroutine function: the await. A generator or async generator: from the
    first step to exhaustion, close or garbage collection; while it is suspended its span is not current. A function
    under `@contextmanager` or `@asynccontextmanager`, in either order: the `with` body with what is before and after.
    A class: the public methods it defines. A plain function that returns an awaitable or a generator: only the call.

    A function given as an option that raises is counted and logged once; the call goes on without it.

    Raises:
        ConfigurationError: An option is of the wrong type, names an unknown parameter or does not fit the target.
        TypeError: The target cannot be called.

    Example:
        >>> @traced("checkout.pay", resource=lambda args: f"POST /orders/{args['order_id']}", capture_args=["amount"])
        ... def pay(order_id: int, amount: float) -> None: ...
    """
    options = check_options(
        name if isinstance(name, str) else None,
        {
            "service": service,
            "resource": resource,
            "span_type": span_type,
            "kind": kind,
            "tags": tags,
            "links": links,
            "measured": measured,
            "new_trace": new_trace,
            "capture_args": capture_args,
            "capture_return": capture_return,
            "ignore": ignore,
            "active_across_yield": active_across_yield,
            "only": only,
        },
    )
    if name is not None and not isinstance(name, str):
        return _decorate(name, None, options)
    return lambda target: _decorate(target, name, options)


def untraced(target: _Target) -> _Target:
    """Mark a method that a traced class leaves alone.

    Raises:
        TypeError: The target is neither callable nor a descriptor.
    """
    if not callable(target) and not is_descriptor(target):
        raise TypeError(f"@untraced marks functions and methods, not {type(target).__name__}")
    for function in functions_of(target):
        setattr(function, UNTRACED_MARK, True)
    return target


def _decorate(target: Any, name: str | None, options: TracedOptions) -> Any:
    if isinstance(target, type):
        return _decorate_class(target, name, options)
    if "only" in options:
        raise ConfigurationError("option 'only' is for classes")
    if is_descriptor(target):
        return _decorate_descriptor(target, name, options)
    if not callable(target):
        raise TypeError(_why_not_callable(target))
    parts = context_manager_parts(target)
    if parts is not None:
        return _decorate_context_manager(target, parts, name, options)
    runner = runner_of(target)
    if "active_across_yield" in options and not is_generator_runner(runner):
        raise ConfigurationError("option 'active_across_yield' is for generators and context-manager functions")
    return stand_in(target, Plan(target, name, options), runner)


def _decorate_descriptor(target: Any, name: str | None, options: TracedOptions) -> Any:
    functions = functions_of(target)
    suited = OptionsByFunction(options, functions, default_name(functions[0]))

    def wrap(function: Any, suffix: str = "", /) -> Any:
        own = (name or default_name(function)) + suffix if suffix else name
        return _decorate(function, own, suited.of(function))

    return wrap_descriptor(target, wrap)


def _decorate_class(cls: type, name: str | None, options: TracedOptions) -> type:
    members = members_to_trace(cls, options.get("only"))
    functions = [function for member in members.values() for function in functions_of(member)]
    suited = OptionsByFunction(options, functions, default_name(cls))

    def wrap(function: Any, suffix: str = "", /) -> Any:
        own = default_name(function) if name is None else f"{name}.{function.__name__}"
        return _decorate(function, own + suffix, suited.of(function))

    trace_class(cls, wrap, members)
    return cls


def _decorate_context_manager(
    target: Any, parts: tuple[Callable[..., Any], Callable[..., Any]], name: str | None, options: TracedOptions
) -> Any:
    """Trace the generator function inside, and let contextlib make a function of it again."""
    maker, generator_function = parts
    inner = _decorate(generator_function, name or default_name(target), {"active_across_yield": True, **options})
    made = maker(inner)
    for key, value in vars(target).items():
        if key != "__wrapped__":
            setattr(made, key, value)
    return made


def _why_not_callable(target: object) -> str:
    kind = type(target).__name__
    if isinstance(target, (Coroutine, Generator)):
        return f"@traced decorates functions, not a {kind} object: decorate the function that made it"
    return f"@traced decorates functions, methods and classes, not {kind}"
