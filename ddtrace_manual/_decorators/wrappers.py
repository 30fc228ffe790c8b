"""What `@traced` returns: a function for a Python function, a transparent proxy for every other callable.

`isinstance`, `inspect`, attributes, signature and documentation of a proxy are those of the callable itself. Which
class it has is decided at decoration time:

- `BoundableCall`: functions that are no Python functions but bind like them (`functools.lru_cache`).
- `DescriptorCall`: a callable that binds in a way of its own (another decorator's wrapper, a compiled method).
- `TracedCall`: a callable that does not bind (an instance with `__call__`, a partial, a builtin).

A proxy leaves the calling to a traced function, `_decorators/functions.py`.

Python looks special methods up on the type, where forwarding attributes does not reach. So each class of callables has
a class of proxies of its own, with the special methods that the callables have.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import wrapt

from .functions import CallKind, is_traced_function, traced_function

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["TracedCall", "attribute_at", "is_traced", "make_traced"]

# Any: callables of every signature pass through this module.

_Proxy: Any = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)  # Any: wrapt before 2.0 has no BaseObjectProxy


class TracedCall(_Proxy):  # type: ignore[misc] # see _Proxy
    """Stands in for a callable that does not bind to instances."""

    def __init__(self, wrapped: Callable[..., Any], plan: Plan, kind: CallKind) -> None:
        super().__init__(wrapped)
        self._self_plan = plan
        self._self_kind = kind
        self._self_call = traced_function(wrapped, plan, kind)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "__wrapped__":
            self._self_call = traced_function(value, self._self_plan, self._self_kind)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make one traced call."""
        return self._self_call(*args, **kwargs)

    def __reduce_ex__(self, protocol: object) -> str | tuple[Any, ...]:
        """Pickle by name where the name leads here, as a function does; else the callable and its options."""
        wrapped = self.__wrapped__
        name = getattr(wrapped, "__qualname__", None)
        if isinstance(name, str) and attribute_at(getattr(wrapped, "__module__", None), name) is self:
            return name
        return make_traced, (wrapped, self._self_plan, self._self_kind)

    def __copy__(self) -> TracedCall:
        return self._around(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> TracedCall:
        return self._around(copy.deepcopy(self.__wrapped__, memo))

    def _around(self, copied: Callable[..., Any]) -> TracedCall:
        if copied is self.__wrapped__:  # a builtin or another immutable callable
            return self
        made: TracedCall = make_traced(copied, self._self_plan, self._self_kind)
        return made

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


class BoundableCall(TracedCall):
    """Stands in for what binds as a function does."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)


class DescriptorCall(TracedCall):
    """Stands in for a callable that binds in a way of its own."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        wrapped = self.__wrapped__
        bound = type(wrapped).__get__(wrapped, instance, owner)
        if bound is wrapped:
            return self
        return make_traced(bound, self._self_plan.for_bound(bound), self._self_kind, binds=False)


_LruCache: type = type(functools.lru_cache(len))


def make_traced(target: Any, plan: Plan, kind: CallKind, *, binds: bool = True) -> Any:
    """Return what takes the place of `target`.

    Args:
        target: Any callable.
        plan: What its calls do.
        kind: What its calls return.
        binds: Whether it may be read from an instance; what was read from one is not bound again.
    """
    # By type(): a foreign proxy says that it is a function, but binds in a way of its own.
    cls: Any = type(target)  # Any: hashable, which type checkers doubt
    if cls is FunctionType:
        return traced_function(target, plan, kind)
    if not binds or not hasattr(cls, "__get__"):
        base: Any = TracedCall
    else:
        base = BoundableCall if issubclass(cls, (_LruCache, BoundableCall)) else DescriptorCall
    return _class_for(base, cls)(target, plan, kind)


def is_traced(function: object) -> bool:
    """Return whether `make_traced` made this."""
    return issubclass(type(function), TracedCall) or is_traced_function(function)


# -- special methods -----------------------------------------------------------------------------------

_FORWARDED_BY_PROXY = frozenset(
    {
        *("__len__", "__contains__", "__iter__", "__reversed__", "__getitem__", "__setitem__", "__delitem__"),
        *("__enter__", "__exit__", "__aenter__", "__aexit__"),
        *("__int__", "__float__", "__complex__", "__index__", "__bytes__"),
    }
)
"""What wrapt forwards whether the wrapped object has it or not, and whose mere presence means something.

Operators are not here: forwarding `+` to an object that has none asks the other operand, as it should.
"""

_OWN = frozenset({"__class__", "__init__", "__new__", "__del__", "__init_subclass__", "__subclasshook__", "__get__"})
"""Special names that are never forwarded: they make, end or derive the proxy itself, or say how it binds."""


@functools.cache
def _class_for(base: Any, wrapped_class: Any) -> Any:
    """Return a class of proxies with the special methods that Python will look for on their type."""
    # Asked of the dictionaries: merely reading `__annotations__` of a class would give it some.
    there = set().union(*(vars(cls) for cls in base.__mro__))
    members: dict[str, Any] = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    for name in _FORWARDED_BY_PROXY:
        if getattr(wrapped_class, name, None) is None:
            members[name] = None  # how a class says that it has no such method
    for name in dir(wrapped_class):
        if _is_special(name) and name not in _OWN and name not in there:
            method = getattr(wrapped_class, name)
            if callable(method):
                members[name] = _forwarding(name)
    return type(base.__name__, (base,), members)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and len(name) > len("____")


def _forwarding(name: str) -> Any:
    def forward(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        wrapped = self.__wrapped__
        return getattr(type(wrapped), name)(wrapped, *args, **kwargs)

    forward.__name__ = forward.__qualname__ = name
    return forward


def attribute_at(module: str | None, qualname: str) -> object:
    """Return what a module has under a dotted name, or `None`."""
    found: object = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
