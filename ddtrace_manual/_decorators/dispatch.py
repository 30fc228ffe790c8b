"""Which way of tracing fits a target: `@traced` after its options were checked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from ddtrace_manual._api.scope import SpanScope
from ddtrace_manual.exceptions import ConfigurationError

from .classes import (
    UNTRACED_MARK,
    OptionsByFunction,
    functions_of,
    is_descriptor,
    members_to_trace,
    name_of_member,
    trace_class,
    wrap_descriptor,
)
from .functions import kind_of
from .generators import context_manager_parts
from .plan import Plan, default_name
from .wrappers import make_traced

if TYPE_CHECKING:
    from .plan import TracedOptions

__all__ = ["decorate", "mark_untraced"]

# Any: callables of every signature and return type are decorated.


def mark_untraced(target: object) -> None:
    """Mark a method that a traced class leaves alone.

    Raises:
        TypeError: The target is neither callable nor a descriptor.
    """
    if not callable(target) and not is_descriptor(target):
        raise TypeError(f"@untraced marks functions and methods, not {type(target).__name__}")
    for function in functions_of(target):
        setattr(function, UNTRACED_MARK, True)


def decorate(target: Any, name: str | None, options: TracedOptions) -> Any:
    """Return `target` traced; the options were checked. Raises as `traced`."""
    _refuse_registered(target)
    if isinstance(target, type):
        return _decorate_class(target, name, options)
    if "only" in options:
        raise ConfigurationError("option 'only' is for classes")
    if is_descriptor(target):
        return _decorate_descriptor(target, name, options)
    if not callable(target) or isinstance(target, SpanScope):  # a scope has a __call__ that only explains
        raise TypeError(_why_not_callable(target))
    parts = context_manager_parts(target)
    if parts is not None:
        return _decorate_context_manager(target, parts, name, options)
    kind = kind_of(target)
    if "active_across_yield" in options and not kind.is_generator:
        raise ConfigurationError("option 'active_across_yield' is for generators and context-manager functions")
    return make_traced(target, Plan(target, name, options), kind)


def _decorate_descriptor(target: Any, name: str | None, options: TracedOptions) -> Any:
    functions = functions_of(target)
    suited = OptionsByFunction(options, functions, default_name(functions[0]))

    def wrap(function: Any, suffix: str = "", /) -> Any:
        own = (name or default_name(function)) + suffix if suffix else name
        return decorate(function, own, suited.of(function))

    return wrap_descriptor(target, wrap)


def _decorate_class(cls: type, name: str | None, options: TracedOptions) -> type:
    members = members_to_trace(cls, options.get("only"))
    functions = [function for member in members.values() for function in functions_of(member)]
    suited = OptionsByFunction(options, functions, default_name(cls))

    def trace(attribute: str, member: Any) -> Any:
        def wrap(function: Any, suffix: str = "", /) -> Any:
            own = f"{name or default_name(cls)}.{name_of_member(cls, attribute, function)}"
            return decorate(function, own + suffix, suited.of(function))

        return wrap_descriptor(member, wrap) if is_descriptor(member) else wrap(member)

    trace_class(cls, trace, members)
    return cls


def _decorate_context_manager(
    target: Any, parts: tuple[Callable[..., Any], Callable[..., Any]], name: str | None, options: TracedOptions
) -> Any:
    """Trace the generator function inside, and let contextlib make a function of it again."""
    maker, generator_function = parts
    inner = decorate(generator_function, name or default_name(target), {"active_across_yield": True, **options})
    made = maker(inner)
    for key, value in vars(target).items():
        if key != "__wrapped__":
            setattr(made, key, value)
    return made


_MAKERS_OF_OBJECTS = {
    "click.core.Command": "@click.command",
    "celery.app.task.Task": "@app.task",
    "celery.local.Proxy": "@app.task or @shared_task",
    "pydantic._internal._decorators.PydanticDescriptorProxy": "pydantic's validators and serializers",
}
"""Classes of objects that other decorators make of a function and keep, to what makes them."""


def _refuse_registered(target: object) -> None:
    """Refuse an object whose framework calls the function it was made of: a span around the object is never made.

    By type(): asking a Celery proxy for its class would create the task.

    Raises:
        ConfigurationError: It is such an object.
    """
    for cls in type(target).__mro__:
        maker = _MAKERS_OF_OBJECTS.get(f"{cls.__module__}.{cls.__name__}")
        if maker is not None:
            raise ConfigurationError(
                f"@traced is above {maker}, which has taken the undecorated function already: write @traced nearest to"
                " the function, below the other decorators"
            )


def _why_not_callable(target: object) -> str:
    kind = type(target).__name__
    if isinstance(target, (Coroutine, Generator)):
        return f"@traced decorates functions, not a {kind} object: decorate the function that made it"
    return f"@traced decorates functions, methods and classes, not {kind}"
