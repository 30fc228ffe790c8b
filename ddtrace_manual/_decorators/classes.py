"""Tracing what holds functions: descriptors and classes."""

from __future__ import annotations

import functools
import inspect
import sys
from types import FunctionType, GenericAlias, MethodType
from typing import TYPE_CHECKING, Any, Protocol

from ddtrace_manual._base.log import get_logger
from ddtrace_manual.exceptions import ConfigurationError

from .arguments import Parameters
from .functions import kind_of
from .generators import context_manager_parts
from .wrappers import attribute_at, is_traced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .plan import TracedOptions

__all__ = [
    "UNTRACED_MARK",
    "OptionsByFunction",
    "Wrap",
    "functions_of",
    "is_descriptor",
    "members_to_trace",
    "name_of_member",
    "trace_class",
    "wrap_descriptor",
]

_log = get_logger("traced")

UNTRACED_MARK = "__ddtrace_manual_untraced__"
"""Attribute of functions that a traced class leaves alone."""

_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE

# Any: members of every type pass through this module.


class Wrap(Protocol):
    """Traces one function of a descriptor or class."""

    def __call__(self, function: Any, suffix: str = "", /) -> Any:
        """Return the traced function; `suffix` is added to its span name."""
        ...


_PROPERTIES = (property, functools.cached_property)
_DESCRIPTORS = (staticmethod, classmethod, *_PROPERTIES, functools.partialmethod, functools.singledispatchmethod)


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
    if isinstance(target, functools.singledispatchmethod):
        return functions_of(target.func)
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
        if isinstance(target, functools.singledispatchmethod):
            return _TracedDispatch(target, wrap)
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


class _TracedDispatch(functools.singledispatchmethod):  # type: ignore[type-arg] # of any return type
    """A single-dispatch method whose calls are traced, whatever implementation they reach."""

    def __init__(self, target: functools.singledispatchmethod[Any], wrap: Wrap) -> None:
        super().__init__(target.func)
        self.dispatcher = target.dispatcher  # shared: what is registered with one is there for both
        self._wrap = wrap

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        bound = super().__get__(instance, owner)
        owned = self.func.__get__(instance, owner)
        if type(bound) is FunctionType and isinstance(owned, MethodType):
            bound.__signature__ = inspect.signature(owned)  # type: ignore[attr-defined] # without the instance
        return self._wrap(bound)


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


def trace_class(cls: type, trace: Callable[[str, Any], Any], members: Mapping[str, Any]) -> None:
    """Replace these members of a class, as `members_to_trace` gives them, by traced ones.

    Args:
        cls: The class.
        trace: (name of the member, member) → traced member.
        members: What to replace.

    Raises:
        TypeError: The class does not allow its attributes to be set; none is replaced.
    """
    made: dict[int, Any] = {}  # an alias of a method stays the same object
    for name, member in members.items():
        if id(member) not in made:
            made[id(member)] = trace(name, member)
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


def name_of_member(cls: type, attribute: str, function: Any) -> str:
    """Return the name of a method: its own, or the attribute's if it was not made by `def` in the class."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) and _qualname(function) == f"{cls.__qualname__}.{name}" else attribute


def members_to_trace(cls: type, only: Iterable[str] | None) -> dict[str, Any]:
    """Return the callables that a class defines itself and whose name has no leading underscore.

    What is left alone has a reason in `_why_not`; all of it is listed in the log at debug level. With `only`, exactly
    these names, also private ones and properties.

    Raises:
        ConfigurationError: `only` names something that the class does not define or that cannot be traced.
        TypeError: The class is built in.
    """
    if cls.__flags__ & _IMMUTABLE_TYPE:
        raise TypeError(f"cannot trace the class {cls.__qualname__}: it is built in")
    members = cls.__dict__
    if only is not None:
        chosen = {name: _chosen(cls, name, members) for name in only}
        return {name: member for name, member in chosen.items() if not _is_traced(member)}
    fields = _annotated(cls)
    candidates = {name: member for name, member in members.items() if callable(member) or is_descriptor(member)}
    reasons = {name: _why_not(cls, name, member, fields) for name, member in candidates.items()}
    left = [f"{name} ({reason})" for name, reason in reasons.items() if reason is not None]
    if left:
        _log.debug("The traced class %s leaves alone: %s.", cls.__qualname__, ", ".join(left))
    return {name: candidates[name] for name, reason in reasons.items() if reason is None}


def _why_not(cls: type, name: str, member: Any, fields: Iterable[str]) -> str | None:  # noqa: PLR0911 - a table
    """Return why a callable or descriptor is not traced; `None` if it is."""
    function = functions_of(member)[0]
    if name.startswith("_"):
        return "private"
    if isinstance(member, _PROPERTIES):
        return "a property"
    if type(member) is GenericAlias or type(member).__module__ in _TYPING:
        return "a type"
    if isinstance(member, (type, cls)):
        return "a class" if isinstance(member, type) else "an instance of the class"
    if getattr(function, UNTRACED_MARK, False):
        return "untraced"
    if _is_traced(member):
        return "traced already"
    if name in fields:
        return "a field"
    if not is_descriptor(member) and hasattr(type(member), "__set__"):
        return "a data descriptor"
    return "defined elsewhere" if _is_from_elsewhere(cls, function) else None


_TYPING = frozenset({"typing", "typing_extensions"})


def _annotated(cls: type) -> Iterable[str]:
    if sys.version_info >= (3, 14):
        import annotationlib  # only there

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def _qualname(function: Any) -> str:
    name = getattr(function, "__qualname__", "")
    return name if isinstance(name, str) else ""


def _is_from_elsewhere(cls: type, function: Any) -> bool:
    """Return whether a callable has a place of its own, to which the class only refers."""
    if getattr(function, "__objclass__", cls) is not cls:  # a method of a built-in class
        return True
    module, qualname = getattr(function, "__module__", None), _qualname(function)
    if module == cls.__module__ and qualname.startswith(f"{cls.__qualname__}."):
        return False
    return bool(qualname) and attribute_at(module, qualname) is function


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
