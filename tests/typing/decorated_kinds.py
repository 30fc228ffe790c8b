# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""Checked by mypy and pyright, never executed: every decorated kind keeps its type, and bad calls are reported.

A comment that silences an error is itself an error where there is none, so each one is an assertion.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Generator

from typing_extensions import assert_type

import ddtrace_manual as dd


@dd.traced
def function(left: int, *, right: str = "") -> float:
    return left + len(right)


@dd.traced("name", service="s")
def named(left: int) -> str:
    return str(left)


assert_type(function(1, right="x"), float)
assert_type(named(1), str)
function("1")  # type: ignore[arg-type]
function(1, "x")  # type: ignore[call-arg]
function(1, wrong=2)  # type: ignore[call-arg]
named()  # type: ignore[call-arg]


@dd.traced
async def coroutine(value: int) -> str:
    return str(value)


@dd.traced(capture_return=True)
def generator(value: int) -> Generator[int, str, bytes]:
    yield value
    return b""


@dd.traced()
async def async_generator(value: int) -> AsyncGenerator[int, str]:
    yield value


assert_type(generator(1), Generator[int, str, bytes])
assert_type(async_generator(1), AsyncGenerator[int, str])


async def use() -> None:
    assert_type(await coroutine(1), str)
    await coroutine("1")  # type: ignore[arg-type]
    async for number in async_generator(1):
        assert_type(number, int)
    async with async_manager(1) as entered:
        assert_type(entered, int)


@dd.traced
@contextlib.contextmanager
def manager(value: int) -> Generator[int, None, None]:
    yield value


@contextlib.contextmanager
@dd.traced
def manager_above(value: int) -> Generator[int, None, None]:
    yield value


@dd.traced("name")
@contextlib.asynccontextmanager
async def async_manager(value: int) -> AsyncGenerator[int, None]:
    yield value


with manager(1) as entered, manager_above(2) as entered_above:
    assert_type(entered, int)
    assert_type(entered_above, int)
manager("1")  # type: ignore[arg-type]


class Shop:
    @dd.traced
    def sell(self, what: str) -> int:
        return len(what)

    @dd.traced("name")
    async def sell_later(self, what: str) -> int:
        return len(what)

    @dd.traced
    @classmethod
    def make(cls, name: str) -> Shop:
        return cls()

    @classmethod
    @dd.traced
    def make_inside(cls, name: str) -> Shop:
        return cls()

    @dd.traced
    @staticmethod
    def tax(rate: int) -> float:
        return rate / 100

    @staticmethod
    @dd.traced("name")
    def tax_inside(rate: int) -> float:
        return rate / 100

    @property
    @dd.traced
    def size(self) -> int:
        return 1

    @functools.cached_property
    @dd.traced("name")
    def report(self) -> str:
        return ""

    @dd.untraced
    def quiet(self, value: int) -> int:
        return value


shop = Shop()
assert_type(shop.sell("pear"), int)
assert_type(Shop.sell(shop, "pear"), int)
assert_type(Shop.make("x"), Shop)
assert_type(Shop.make_inside("x"), Shop)
assert_type(Shop.tax(19), float)
assert_type(shop.tax_inside(19), float)
assert_type(shop.size, int)
assert_type(shop.report, str)
assert_type(shop.quiet(1), int)
shop.sell(1)  # type: ignore[arg-type]
Shop.make(1)  # type: ignore[arg-type]
shop.tax_inside("19")  # type: ignore[arg-type]
shop.quiet("1")  # type: ignore[arg-type]


@dd.traced
class Whole:
    def __init__(self, size: int) -> None:
        self.size = size

    def work(self, value: int) -> str:
        return str(value + self.size)


@dd.traced("name", only=["work"])
class Chosen(Whole):
    pass


assert_type(Whole(1), Whole)
assert_type(Chosen(1).work(2), str)
Whole("1")  # type: ignore[arg-type]


class Heir(Whole):
    pass


class Adder:
    def __call__(self, value: int) -> int:
        return value


assert_type(dd.traced(Adder()), Adder)
assert_type(dd.traced("name")(Adder())(1), int)
assert_type(dd.traced(functools.partial(function, 1)), functools.partial[float])
as_callable: Callable[[int], str] = dd.traced("x")(named)

dd.traced(5)  # type: ignore[call-overload]
dd.traced("name")(5)  # type: ignore[type-var]
dd.traced(coroutine(1))  # type: ignore[call-overload]
dd.untraced(5)  # type: ignore[type-var]
