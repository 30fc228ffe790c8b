"""Instances with `__call__`, and `functools.partial`."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle

import pytest

import ddtrace_manual as dd


class Adder:
    """Adds."""

    def __init__(self, base):
        self.base = base

    def __call__(self, value):
        return self.base + value

    def __len__(self):
        return self.base


class AsyncAdder(Adder):
    async def __call__(self, value):
        await asyncio.sleep(0)
        return self.base + value


class Generating(Adder):
    def __call__(self, value):
        yield self.base + value


def add(left, right=0):
    """Add."""
    return left + right


async def add_later(left, right=0):
    return left + right


def test_instances_look_like_their_twin(same_as, spans):
    """A traced callable object answers, contains and is what its twin is; its span has the name of its class."""
    twin = Adder(3)
    traced = dd.traced(twin)
    same_as(traced, twin)
    assert (traced(1), traced.base, len(traced), isinstance(traced, Adder)) == (4, 3, 3, True)
    assert spans.one().operation_name == f"{__name__}.Adder"


def test_instances_copy_and_pickle(spans):
    """Copies and pickles are traced copies of the object."""
    traced = dd.traced("add", service="s")(Adder(3))
    for again in (copy.copy(traced), copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))):
        assert again.__wrapped__ is not traced.__wrapped__
        assert again(1) == 4
        assert spans.finished[-1].service == "s"


@pytest.mark.parametrize("options", [{}, {"tags": {"a": 1}}])
def test_replacing_what_is_wrapped(spans, options):
    """Whoever exchanges the object behind a traced one, as proxies of wrapt allow, has the new one called."""
    traced = dd.traced("add", **options)(Adder(3))
    traced.__wrapped__ = lambda first, second: first * second
    assert traced(3, 4) == 12
    assert copy.copy(traced)(3, 4) == 12
    assert spans.names == ["add", "add"]


def test_instances_do_not_bind(spans):
    """As a class attribute the object gets no instance, as its twin does not."""

    class Holder:
        call = dd.traced("add")(Adder(3))

    assert Holder().call(1) == 4


def test_asynchronous_instances(spans):
    """An async `__call__` is traced for the await, a generating one for its steps."""
    assert asyncio.run(dd.traced("later")(AsyncAdder(1))(2)) == 3
    assert list(dd.traced("steps")(Generating(1))(2)) == [3]
    assert spans.names == ["later", "steps"]


def test_partials(same_as, spans):
    """A partial is traced under the name of its function, and stays a partial."""
    twin = functools.partial(add, 1)
    traced = dd.traced(twin)
    same_as(traced, twin)
    assert traced(2) == 3
    assert isinstance(traced, functools.partial)
    assert (traced.func, traced.args) == (add, (1,))
    assert spans.one().operation_name == f"{__name__}.add"
    assert pickle.loads(pickle.dumps(traced))(2) == 3


def test_partials_of_coroutine_functions(spans):
    """A partial of a coroutine function is one, and is traced for the await."""
    traced = dd.traced("later")(functools.partial(add_later, 1))
    assert inspect.iscoroutinefunction(traced)
    assert asyncio.run(traced(2)) == 3
    assert spans.names == ["later"]


def test_partials_of_traced_functions(spans):
    """A traced function can be made a partial of."""
    assert functools.partial(dd.traced("add")(add), 1)(2) == 3
    assert spans.names == ["add"]


def test_captured_arguments_of_partials(spans):
    """The arguments captured are those that the partial still takes."""
    dd.traced("add", capture_args=True)(functools.partial(add, 1))(2)
    assert spans.one().values == {"function.arg.right": 2}
