"""Tracing what holds functions: descriptors and classes."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from ._arguments import Parameters
from ._traced_calls import is_traced
from ._traced_functions import kind_of
from ._traced_generators import context_manager_parts
from .exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._traced_plan import TracedOptions

__all__ = [
    "UNTRACED_MARK",
    "OptionsByFunction",
    "Wrap",
    "functions_of",
    "is_descriptor",
    "members_to_trace",
    "trace_class",
    "wrap_descriptor",
]

UNTRACED_MARK = "__ddtrace_manual_untraced__"
"""Attribute of functions that a traced class leaves alone."""

_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE

# Any: members of every type pass through this module.


class Wrap(Protocol):
    """Traces one function of a descriptor or class."""

    def __call__(self, function: Any, suffix: str = "", /) -> Any:
        """Return the traced function; `suffix` is added to its span name."""
        ...


_NOT_METHODS = (property, functools.cached_property, functools.partialmethod)
_DESCRIPTORS = (staticmethod, classmethod, property, functools.cached_property, functools.partialmethod)


def is_descriptor(target: object) -> bool:
    """Return whether `target` holds functions that can be traced in its place."""
    return isinstance(target, _DESCRIPTORS)


def functions_of(target: Any) -> list[Any]:
    """Return the functions of a descriptor, or the target itself."""
    if isinstance(target, (staticmethod, classmethod)):
        return [target.__func__]
    if isinstance(target, property):
        return [function for function in (target.fget, target.fset, target.fdel) if function is not None]
    if isinstance(target, (functools.cached_property, functools.partialmethod)):
        return [target.func]
    return [target]


def wrap_descriptor(target: Any, wrap: Wrap) -> Any:
    """Return a descriptor like `target` whose functions are traced.

    Raises:
        TypeError: A class derived from the descriptor's cannot be made again from its function.
    """
    try:
        if isinstance(target, (staticmethod, classmethod)):
            return type(target)(wrap(target.__func__))
        if isinstance(target, property):
            return _wrap_property(target, wrap)
        if isinstance(target, functools.cached_property):
            made = type(target)(wrap(target.func))
            made.attrname = target.attrname  # set when the class was made
            return made
        return type(target)(wrap(target.func), *target.args, **target.keywords)
    except TypeError as exc:
        raise TypeError(f"cannot trace a {type(target).__name__}: {exc}; decorate the function inside it") from exc


def _wrap_property(target: property, wrap: Wrap) -> property:
    if target.fget is not None:
        target = target.getter(wrap(target.fget))
    if target.fset is not None:
        target = target.setter(wrap(target.fset, ".setter"))
    if target.fdel is not None:
        target = target.deleter(wrap(target.fdel, ".deleter"))
    return target


class OptionsByFunction:
    """Gives each of several functions the options that fit it.

    Raises:
        ConfigurationError: `capture_args` names a parameter that none of the functions has.
    """

    def __init__(self, options: TracedOptions, functions: Iterable[Any], owner: str) -> None:
        self._options = options
        names = options.get("capture_args")
        self._names = names if isinstance(names, tuple) else ()
        known: set[str] = set()
        for function in functions:
            known.update(self._names_of(function))
        unknown = [repr(name) for name in self._names if name not in known]
        if unknown:
            raise ConfigurationError(f"option 'capture_args' names {', '.join(unknown)}, nothing in {owner} has it")

    def of(self, function: Any) -> TracedOptions:
        """Return the options for one function."""
        options = self._options.copy()
        options.pop("only", None)
        if self._names:
            options["capture_args"] = self._names_of(function)
        if context_manager_parts(function) is None and not kind_of(function).is_generator:
            options.pop("active_across_yield", None)
        return options

    def _names_of(self, function: Any) -> tuple[str, ...]:
        parameters = Parameters(function)
        return self._names if parameters.open_ended else tuple(n for n in self._names if n in parameters.names)


def trace_class(cls: type, wrap: Wrap, members: Mapping[str, Any]) -> None:
    """Replace these members of a class, as `members_to_trace` gives them, by traced ones.

    Raises:
        TypeError: The class does not allow its attributes to be set; none is replaced.
    """
    made: dict[int, Any] = {}  # an alias of a method stays the same object
    for member in members.values():
        if id(member) not in made:
            made[id(member)] = wrap_descriptor(member, wrap) if is_descriptor(member) else wrap(member)
    done: list[str] = []
    try:
        for name, member in members.items():
            setattr(cls, name, made[id(member)])
            done.append(name)
    except Exception as exc:
        for name in done:
            setattr(cls, name, members[name])
        raise TypeError(
            f"cannot trace the class {cls.__qualname__}: its attributes cannot be set ({exc}); decorate its methods"
        ) from exc


def members_to_trace(cls: type, only: Iterable[str] | None) -> dict[str, Any]:
    """Return the public methods that a class defines itself.

    Methods of every kind, class methods and static methods whose name has no leading underscore; not properties,
    not what was inherited, not nested classes, not functions that come from elsewhere (a dataclass default), not
    what is `@untraced` or traced already. With `only`, exactly these names, also private ones and properties.

    Raises:
        ConfigurationError: `only` names something that the class does not define or that cannot be traced.
        TypeError: The class is built in.
    """
    if cls.__flags__ & _IMMUTABLE_TYPE:
        raise TypeError(f"cannot trace the class {cls.__qualname__}: it is built in")
    members = cls.__dict__
    if only is None:
        chosen = {name: member for name, member in members.items() if _is_public_method(cls, name, member)}
    else:
        chosen = {name: _chosen(cls, name, members) for name in only}
    return {name: member for name, member in chosen.items() if not _is_traced(member)}


def _is_public_method(cls: type, name: str, member: object) -> bool:
    if name.startswith("_") or isinstance(member, _NOT_METHODS):
        return False
    function = functions_of(member)[0]
    return (
        isinstance(function, FunctionType)
        and function.__module__ == cls.__module__
        and function.__qualname__.startswith(f"{cls.__qualname__}.")
        and not getattr(function, UNTRACED_MARK, False)
    )


def _chosen(cls: type, name: str, members: Mapping[str, Any]) -> Any:
    if name not in members:
        raise ConfigurationError(f"option 'only' names {name!r}, which {cls.__qualname__} does not define itself")
    member = members[name]
    if not is_descriptor(member) and (isinstance(member, type) or not callable(member)):
        raise ConfigurationError(
            f"option 'only' names {name!r}, which is no method or property of {cls.__qualname__} "
            f"but a {type(member).__name__}"
        )
    return member


def _is_traced(member: object) -> bool:
    return any(
        is_traced(function) or is_traced(getattr(function, "__wrapped__", None)) for function in functions_of(member)
    )
