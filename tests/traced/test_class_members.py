"""Which members a traced class traces: every callable it defines, with few exceptions that the log names."""

from __future__ import annotations

import asyncio
import functools
import logging
import typing

import pytest

import ddtrace_manual as dd
from ddtrace_manual.exceptions import ConfigurationError


def elsewhere(self): ...


def without_wraps(function):
    def wrapper(self, *args):
        return function(self, *args)

    return wrapper


def async_without_wraps(function):
    async def wrapper(self, *args):
        return await function(self, *args)

    return wrapper


class Binding:
    """A decorator that is an object."""

    def __init__(self, function):
        self.function = function

    def __get__(self, instance, owner=None):
        return functools.partial(self, instance)

    def __call__(self, *args):
        return self.function(*args)


class cython_function_or_method:  # noqa: N801 - the name that Cython gives it
    """What a compiled method looks like: not a Python function, but it binds like one."""

    def __init__(self, function):
        self._function = function
        self.__name__, self.__qualname__, self.__module__ = function.__name__, function.__qualname__, __name__

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self._function, instance)

    def __call__(self, *args):
        return self._function(*args)


class Caller:
    def __call__(self, *args):
        return args


MEMBERS = {
    "method": lambda self, value: value,
    "cached": functools.lru_cache(lambda self, value: value),
    "bound": Binding(lambda self, value: value),
    "unwrapped": without_wraps(lambda self, value: value),
    "compiled": cython_function_or_method(
        elsewhere.__class__((lambda self, value: value).__code__, globals(), "compiled")
    ),
    "partial": functools.partialmethod(lambda self, first, value: value, 0),
    "dispatched": functools.singledispatchmethod(lambda self, value: value),
    "static": staticmethod(lambda value: value),
    "of_class": classmethod(lambda cls, value: value),
    "arranged": staticmethod(functools.partial(lambda value: value)),
}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("named", [True, False])
def test_every_callable_is_traced_under_its_name(spans, name, named):
    """Whatever makes a method, its calls have a span with the name of the attribute."""
    cls = type("Shop", (), {"__module__": __name__, "__qualname__": "Shop", name: MEMBERS[name]})
    dd.traced("shop" if named else None)(cls)
    assert getattr(cls(), name)(7) == 7
    assert spans.names == [f"shop.{name}" if named else f"{__name__}.Shop.{name}"]


def test_asynchronous_members(spans):
    """Decorated coroutine functions are traced for the await."""

    @dd.traced("shop")
    class Shop:
        @async_without_wraps
        async def later(self, value):
            with dd.span("child"):
                return value

    assert asyncio.run(Shop().later(3)) == 3
    assert spans.tree == ["later", ["child"]]


def test_what_is_left_alone_is_logged(spans, caplog):
    """The log says at debug level which callables of the class are not traced, and why."""
    caplog.set_level(logging.DEBUG, "ddtrace_manual")

    class Column(Caller):
        def __get__(self, instance, owner=None):
            return self

        def __set__(self, instance, value): ...

    @dd.traced
    class Shop:
        borrowed = elsewhere
        size = len
        upper = str.upper
        column = Column()
        handler: typing.Any = Caller()
        Alias = typing.List[int]  # noqa: UP006 - an object that can be called
        Row = list[int]

        class Inner: ...

        def _private(self): ...

        @property
        def stock(self): ...

        @dd.untraced
        @functools.lru_cache  # noqa: B019 - this one lives as long as the test
        def quiet(self): ...

        @dd.traced
        def own(self): ...

        def work(self): ...

    [record] = [record for record in caplog.records if "leaves alone" in record.getMessage()]
    message = record.getMessage()
    for left in (
        *("borrowed (defined elsewhere)", "size (defined elsewhere)", "upper (defined elsewhere)"),
        *("column (a data descriptor)", "handler (a field)", "Alias (a type)", "Row (a type)", "Inner (a class)"),
        *("_private (private)", "stock (a property)", "quiet (untraced)", "own (traced already)"),
    ):
        assert left in message
    assert "work" not in message
    Shop().work()
    Shop().quiet()
    assert spans.names == [f"{__name__}.{Shop.__qualname__}.work"]


@pytest.mark.parametrize("name", ["pay {order_id}", "pay {}", "{order!r}", "GET /orders/{id}"])
def test_names_that_are_templates(name):
    """A name with a field that nobody fills in is refused, with what to use instead."""
    for decorate in (dd.traced, lambda name: dd.traced(name, service="s")):
        with pytest.raises(ConfigurationError, match=r"not filled in.*capture_args=\[\.\.\.\] or tags=\.\.\."):
            decorate(name)
