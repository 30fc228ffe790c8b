"""Coroutine functions."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import pickle
import sys
import warnings

import pytest

import ddtrace_manual as dd


async def double(value: int, *, wait: float = 0) -> int:
    """Double a number."""
    await asyncio.sleep(wait)
    return value * 2


traced_double = dd.traced(double)


@dd.traced
async def by_name(): ...


async def _forever():
    await asyncio.Event().wait()


def test_it_looks_like_its_twin(same_as):
    """Name, signature, docs and every question of inspect give the twin's answers; so does what it returns."""
    same_as(traced_double, double)
    coroutine, twin = traced_double(1), double(1)
    assert inspect.iscoroutine(coroutine)
    assert (coroutine.__name__, coroutine.__qualname__) == (twin.__name__, twin.__qualname__)
    coroutine.close()
    twin.close()
    assert pickle.loads(pickle.dumps(by_name)) is by_name


def test_the_await_is_traced(spans):
    """The span is current through every await, and ends with the last."""

    @dd.traced("work")
    async def work():
        before = dd.current_span().span_id
        await asyncio.sleep(0)
        with dd.span("child"):
            await asyncio.sleep(0)
        return before, dd.current_span().span_id

    ids = asyncio.run(work())
    assert ids == (spans.one("work").span_id,) * 2
    assert spans.tree == ["work", ["child"]]


def test_nothing_starts_before_the_await(spans):
    """A coroutine that was made but not awaited has no span."""

    @dd.traced("work")
    async def work(): ...

    async def main():
        coroutine = work()
        with dd.span("awaiting"):
            await coroutine

    asyncio.run(main())
    assert spans.tree == ["awaiting", ["work"]]


def test_never_awaited_is_told_once():
    """One warning names the coroutine that was never awaited, as without the decorator."""

    def warned(function):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function(1)
            gc.collect()
        return [str(warning.message) for warning in caught]

    assert warned(traced_double) == warned(double) == ["coroutine 'double' was never awaited"]


def test_wrong_arguments_are_reported_by_the_call(spans):
    """A call that does not fit raises at once, not at the await."""
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        traced_double()
    assert not spans.finished


def test_concurrent_tasks_do_not_mix(spans):
    """Tasks that interleave keep their own spans, under the span that gathers them."""

    @dd.traced("task")
    async def task(number):
        with dd.span(f"step {number}"):
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    @dd.traced("all")
    async def everything():
        await asyncio.gather(*(task(number) for number in range(3)))

    asyncio.run(everything())
    assert spans.tree == ["all", ["task", ["step 0"], "task", ["step 1"], "task", ["step 2"]]]


def test_an_exception_passes_unchanged(spans):
    """The exception comes out of the await as it was raised, and the span has an error."""
    error = ValueError("no")

    @dd.traced("work")
    async def work():
        await asyncio.sleep(0)
        raise error

    with pytest.raises(ValueError, match="no") as caught:
        asyncio.run(work())
    assert caught.value is error
    assert spans.one("work").status_code == 2


def test_cancelled_is_no_error(spans):
    """A cancelled coroutine is tagged, not marked as failed, and the cancellation goes on."""

    async def main():
        task = asyncio.create_task(dd.traced("work")(_forever)())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert spans.one("work").status_code == 0
    assert spans.one("work").values == {"span.outcome": "cancelled"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout")
def test_a_timeout_is_the_callers_error(spans):
    """`asyncio.timeout` cancels the inner span and fails the one it leaves as TimeoutError."""

    @dd.traced("outer")
    async def outer():
        async with asyncio.timeout(0.001):
            await dd.traced("inner")(_forever)()

    with pytest.raises(TimeoutError):
        asyncio.run(outer())
    assert spans.one("inner").values == {"span.outcome": "cancelled"}
    assert spans.one("outer").status_code == 2


def test_abandoned(spans):
    """A coroutine that is dropped half-way ends its span and leaves the current span alone."""

    class Once:
        def __await__(self):
            yield "waiting"

    @dd.traced("work")
    async def work():
        await Once()

    with dd.span("caller") as caller:
        coroutine = work()
        assert contextvars.copy_context().run(coroutine.send, None) == "waiting"
        del coroutine
        gc.collect()
        assert dd.current_span() is caller
    assert spans.one("work").values == {"span.outcome": "closed"}


@pytest.mark.parametrize("engine", [True, False])
def test_any_awaitable(monkeypatch, engine):
    """A callable that is marked as a coroutine function may return any awaitable."""
    from ddtrace_manual._api.runtime import RUNTIME

    if not engine:
        monkeypatch.setattr(RUNTIME, "engine", None)

    class Answer:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return 42

    class Ask:
        async def __call__(self):
            return await Answer()

    async def main():
        return await dd.traced("ask")(Ask())()

    assert asyncio.run(main()) == 42


def test_functions_returning_awaitables(spans):
    """A plain function that returns an awaitable is traced for the call alone, and stays a plain function."""

    @dd.traced("call")
    def later():
        return double(1)

    assert not inspect.iscoroutinefunction(later)

    async def main():
        coroutine = later()
        assert spans.names == ["call"]
        return await coroutine

    assert asyncio.run(main()) == 2
