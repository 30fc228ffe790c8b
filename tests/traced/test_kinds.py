"""What is a function and what is a proxy, and that each is found where Python insists on one."""

from __future__ import annotations

import asyncio
import collections.abc
import functools
import inspect
import os
import sys
import types
import warnings

import pytest

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME


def plain(a, b=2, /, c=3, *rest: int, d, e=5, **more) -> str: ...
async def coroutine(a, b=2, /, c=3, *rest: int, d, e=5, **more) -> str:
    return a, b, c, rest, d, e, more


def generator(a, b=2, /, c=3, *rest: int, d, e=5, **more) -> str:
    yield a, b, c, rest, d, e, more


async def async_generator(a, b=2, /, c=3, *rest: int, d, e=5, **more) -> str:
    yield a, b, c, rest, d, e, more


async def no_parameters():
    return ()


async def keywords_only(*, plan=1, target):
    return plan, target


async def positional(plan, target, tools, inner=4):
    return plan, target, tools, inner


ALL = [plain, coroutine, generator, async_generator, no_parameters, keywords_only, positional]
OPTIONS = [{}, {"service": "s"}, {"capture_args": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "options", "capture"])
@pytest.mark.parametrize("twin", ALL)
def test_functions_are_functions_of_the_same_kind(same_as, twin, options):
    """The type is that of functions, and the code says of which kind."""
    twin.mark = "x"
    traced = dd.traced(**options)(twin)
    same_as(traced, twin)
    assert type(traced) is types.FunctionType
    kinds = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
    assert traced.__code__.co_flags & kinds == twin.__code__.co_flags & kinds
    assert traced.__wrapped__ is twin
    assert getattr(traced, "__type_params__", ()) == getattr(twin, "__type_params__", ())
    if twin is not plain:
        assert inspect.getfullargspec(traced) == inspect.getfullargspec(twin)


async def first(steps):
    return await steps.__anext__()


def run(kind, made):
    if kind is generator:
        return next(made)
    return asyncio.run(first(made) if kind is async_generator else made)


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "options", "capture"])
@pytest.mark.parametrize("twin", [coroutine, generator, async_generator])
def test_parameters_of_every_sort_arrive(twin, options):
    """Positional-only, by name, surplus and default arguments are passed as they were given."""
    traced = dd.traced(**options)(twin)
    assert run(twin, traced(1, d=4)) == (1, 2, 3, (), 4, 5, {})
    assert run(twin, traced(1, 0, 9, 8, d=4, e=6, a=7, z=0)) == (1, 0, 9, (8,), 4, 6, {"a": 7, "z": 0})
    for arguments in ((), (1,)):
        with pytest.raises(TypeError) as expected:
            twin(*arguments)
        with pytest.raises(TypeError) as caught:
            traced(*arguments)
        assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "options", "capture"])
def test_parameters_may_have_the_names_of_the_machinery(options):
    """The names that the traced function uses itself are free for parameters."""
    traced = dd.traced(**options)
    assert asyncio.run(traced(positional)(1, tools=3, target=2)) == (1, 2, 3, 4)
    assert asyncio.run(traced(keywords_only)(target=2)) == (1, 2)
    assert asyncio.run(traced(no_parameters)()) == ()


def test_implicit_class_methods(spans):
    """`__init_subclass__` and `__class_getitem__` are class methods because they are functions."""
    seen = []

    class Base:
        @dd.traced("subclass")
        def __init_subclass__(cls, **kwargs):
            seen.append((cls, kwargs))

        @dd.traced("getitem")
        def __class_getitem__(cls, item):
            return cls, item

        @dd.traced("new")
        def __new__(cls):
            return object.__new__(cls)

    class Heir(Base, key=1): ...

    assert seen == [(Heir, {"key": 1})]
    assert Heir[3] == (Heir, 3)
    assert isinstance(Heir(), Heir)
    assert spans.names == ["subclass", "getitem", "new"]


def test_generators_that_can_be_awaited(spans):
    """A generator function of `types.coroutine` can be awaited, under its span."""

    @dd.traced("sleep")
    @types.coroutine
    def sleep():
        inside.append(dd.current_span().operation_name)
        yield
        inside.append(dd.current_span().operation_name)
        return 3

    @dd.traced("outer")
    async def outer():
        return await sleep()

    inside = []
    assert asyncio.run(outer()) == 3
    assert inside == ["sleep", "sleep"]
    assert spans.tree == ["outer", ["sleep"]]


def around(function):
    """Wrap a coroutine function by a plain one, as many decorators do."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize("configured", [True, False])
def test_plain_wrappers_of_coroutine_functions(monkeypatch, spans, configured):
    """What a plain wrapper of a coroutine function returns is awaited in the span; the wrapper stays what it is."""
    if not configured:
        monkeypatch.setattr(RUNTIME, "engine", None)

    @dd.traced("work", capture_return=True)
    @around
    async def work(value):
        await asyncio.sleep(0)
        with dd.span("child"):
            return value

    async def main():
        with dd.span("caller"):
            made = work(3)
            assert inspect.iscoroutine(made)
            assert made.__name__ == "work"
            return await made

    assert not inspect.iscoroutinefunction(work)
    assert asyncio.run(main()) == 3
    assert spans.tree == (["caller", ["work", ["child"]]] if configured else [])


def test_plain_wrappers_that_run_the_coroutine(spans):
    """A wrapper that returns no awaitable is traced for its call, an error of the call or the await is recorded."""

    def sync(function):
        return functools.wraps(function)(lambda *args: asyncio.run(function(*args)))

    @dd.traced("work", capture_return=True)
    @sync
    async def work(value):
        return 1 / value

    assert work(1) == 1
    with pytest.raises(ZeroDivisionError):
        work(0)

    @dd.traced("later")
    @around
    async def later():
        raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(later())
    assert [span.status_code for span in spans.finished] == [0, 2, 2]
    assert spans.finished[0].values == {"function.return": 1}


def test_an_awaitable_that_is_dropped(spans):
    """What is never awaited ends its span, with the warning that the coroutine gives by itself."""

    @dd.traced("work")
    @around
    async def work(): ...

    with pytest.warns(RuntimeWarning, match="coroutine '.*work' was never awaited"):
        work()
    assert spans.names == ["work"]


def test_single_dispatch(spans):
    """Generic functions stay generic, above and below `@traced`."""

    @dd.traced("show")
    @functools.singledispatch
    def show(value):
        return "object"

    @show.register
    def _(value: int):
        return "int"

    assert (show("x"), show(1)) == ("object", "int")
    assert show.dispatch(int)(1) == "int"
    assert spans.names == ["show", "show"]


def test_single_dispatch_methods(spans):
    """A generic method is traced whatever implementation is called; more can be registered afterwards."""

    class Shop:
        @dd.traced("show", capture_args=["value"])
        @functools.singledispatchmethod
        def show(self, value):
            return "object"

        @show.register
        def _(self, value: int):
            return "int"

    shop = Shop()
    assert isinstance(inspect.getattr_static(Shop, "show"), functools.singledispatchmethod)
    assert (shop.show("x"), shop.show(1)) == ("object", "int")
    assert spans.names == ["show", "show"]
    assert [span.values["function.arg.value"] for span in spans.finished] == ["x", 1]


def test_asynchronous_partial_methods(spans):
    """A partial method of a coroutine function is traced for the await."""

    class Shop:
        async def sell(self, what, count):
            with dd.span("child"):
                return what, count

        pear = dd.traced("pear")(functools.partialmethod(sell, "pear"))

    assert asyncio.run(Shop().pear(2)) == ("pear", 2)
    assert spans.tree == ["pear", ["child"]]


class Nothing:
    def __call__(self):
        return 1


class Everything(Nothing):
    named = None

    def __set_name__(self, owner, name):
        type(self).named = name

    def __get__(self, instance, owner=None):
        return self if instance is None else "read"

    def __set__(self, instance, value):
        instance.written = value

    def __delete__(self, instance):
        del instance.written

    def __await__(self):
        yield from ()
        return "awaited"

    def __aiter__(self):
        return self

    async def __anext__(self):
        raise StopAsyncIteration

    def __iter__(self):
        return iter([1, 2])

    def __next__(self):
        return 3

    def __fspath__(self):
        return "path"

    def __enter__(self):
        return "entered"

    def __exit__(self, *_): ...

    def __len__(self):
        return 2

    def __getitem__(self, item):
        return item


PROTOCOLS = [
    *(collections.abc.Awaitable, collections.abc.AsyncIterable, collections.abc.AsyncIterator, collections.abc.Sized),
    *(collections.abc.Iterable, collections.abc.Iterator, collections.abc.Container, os.PathLike),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("twin", [Nothing(), Everything(), functools.partial(len), functools.lru_cache(abs), len])
def test_a_proxy_has_the_protocols_of_its_object(twin, protocol):
    """What looks for special methods finds those that the object has, and no others."""
    assert isinstance(dd.traced(twin), protocol) == isinstance(twin, protocol)


def test_special_methods_of_a_proxy_are_called():
    """Each special method reaches the object."""

    class Holder:
        field = dd.traced(Everything())

    holder = Holder()
    assert Everything.named == "field"
    assert holder.field == "read"
    holder.field = 4
    assert holder.written == 4
    del holder.field
    assert not hasattr(holder, "written")
    traced = Holder.field

    async def main():
        return await traced, [item async for item in traced]

    assert asyncio.run(main()) == ("awaited", [])
    assert (list(traced), next(traced), os.fspath(traced), len(traced), traced[5]) == ([1, 2], 3, "path", 2, 5)
    with traced as entered:
        assert entered == "entered"
    for missing in (len, iter, next, os.fspath, lambda it: it[0], lambda it: it.__enter__):
        with pytest.raises((TypeError, AttributeError)):
            missing(dd.traced(Nothing()))()


@dd.traced
def deprecated():
    warnings.warn("old", DeprecationWarning, stacklevel=3)


@dd.traced
def deprecated_without_counting():
    warnings.warn("old", DeprecationWarning, skip_file_prefixes=tuple(dd.__path__))


def test_warnings_point_at_the_caller():
    """A traced function counts one level more, or leaves out this package by its path."""

    def line_warned_of(function):
        with pytest.warns(DeprecationWarning, match="old") as caught:
            function()
        assert caught[0].filename == __file__
        return caught[0].lineno

    expected = line_warned_of.__code__.co_firstlineno + 2
    assert line_warned_of(deprecated) == expected
    if sys.version_info >= (3, 12):
        assert line_warned_of(deprecated_without_counting) == expected
