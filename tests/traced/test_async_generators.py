"""Async generators: as generators, and suspended also while a step waits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import sys

import pytest

import ddtrace_manual as dd


async def count(limit: int):
    """Count up."""
    for number in range(limit):
        await asyncio.sleep(0)
        yield number


traced_count = dd.traced(count)


@pytest.fixture(autouse=True)
def nothing_logged(caplog):
    """No test here may make asyncio or anything else log."""
    caplog.set_level(logging.WARNING)
    yield
    assert not caplog.records


def test_it_looks_like_its_twin(same_as):
    """The function, and the generator it returns, give the twin's answers."""
    same_as(traced_count, count)
    made, twin = traced_count(1), count(1)
    assert type(made) is type(twin)
    assert (made.__name__, made.__qualname__) == (twin.__name__, twin.__qualname__)
    with pytest.raises(TypeError):
        traced_count()


def test_suspended_is_not_current(spans):
    """The span is current inside every step, across its awaits, and never between the steps."""

    @dd.traced("numbers")
    async def numbers():
        for number in range(2):
            with dd.span(f"make {number}"):
                await asyncio.sleep(0)
            yield number

    async def main():
        with dd.span("caller") as caller:
            async for _ in numbers():
                assert dd.current_span() is caller
                with dd.span("between"):
                    await asyncio.sleep(0)
            assert dd.current_span() is caller

    asyncio.run(main())
    assert spans.tree == ["caller", ["numbers", ["make 0", "make 1"], "between", "between"]]


def test_suspended_inside_a_step_is_not_current(spans):
    """While a step waits for the event loop, whoever runs in the same context sees its own span."""

    @dd.traced("numbers")
    async def numbers():
        with dd.span("held"):
            await asyncio.sleep(0)
            assert dd.current_span().operation_name == "held"
            yield 1

    with dd.span("caller") as caller:
        generator = numbers()
        step = generator.asend(None)
        step.send(None)  # as an event loop does
        assert dd.current_span() is caller
        with pytest.raises(StopIteration) as stop:
            step.send(None)
        assert stop.value.value == 1
        assert dd.current_span() is caller
        with pytest.raises(StopIteration):
            generator.aclose().send(None)
        assert dd.current_span() is caller
    assert spans.tree == ["caller", ["numbers", ["held"]]]


def test_asend_athrow(spans):
    """Values and exceptions go in, values come out."""

    @dd.traced("talk")
    async def talk():
        got = yield "ready"
        try:
            yield got * 2
        except KeyError as exc:
            assert sys.exc_info()[1] is exc
            yield "caught"

    async def main():
        generator = talk()
        assert await generator.__anext__() == "ready"
        assert await generator.asend(4) == 8
        assert await generator.athrow(KeyError("k")) == "caught"
        with pytest.raises(StopAsyncIteration):
            await generator.asend(None)
        with pytest.raises(StopAsyncIteration):
            await generator.asend(None)

    asyncio.run(main())
    assert spans.one("talk").status_code == 0


def test_aclose(spans):
    """Closing runs the cleanup under the span, which is tagged and no error."""

    @dd.traced("numbers")
    async def numbers():
        try:
            yield 1
        finally:
            with dd.span("cleanup"):
                await asyncio.sleep(0)

    async def main():
        with dd.span("caller") as caller:
            async with contextlib.aclosing(numbers()) as generator:
                async for _ in generator:
                    break
            assert dd.current_span() is caller

    asyncio.run(main())
    assert spans.tree == ["caller", ["numbers", ["cleanup"]]]
    assert spans.one("numbers").values == {"span.outcome": "closed"}


@pytest.mark.parametrize("cycle", [False, True])
def test_abandoned(spans, cycle):
    """A generator left by `break` is closed by the event loop, once, with its cleanup under its span."""
    closed = []

    @dd.traced("numbers")
    async def numbers(holder):
        try:
            with dd.span("held"):
                yield 1
        finally:
            await asyncio.sleep(0)
            with dd.span("cleanup"):
                closed.append(1)

    async def main():
        with dd.span("caller") as caller:
            holder = []
            generator = numbers(holder if cycle else None)
            holder.append(generator)
            async for _ in generator:
                break
            del holder, generator
            gc.collect()
            for _ in range(5):
                await asyncio.sleep(0)
            assert dd.current_span() is caller

    asyncio.run(main())
    assert closed == [1]
    assert spans.one("held").parent_id == spans.one("numbers").span_id == spans.one("cleanup").parent_id


def test_left_open_at_the_end_of_the_loop(spans):
    """A generator that is still held when the loop ends is closed by the loop, without complaint."""
    holder = []

    @dd.traced("numbers")
    async def numbers():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)

    async def main():
        holder.append(numbers())
        await holder[0].__anext__()

    asyncio.run(main())
    assert spans.names == ["numbers"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout")
def test_a_timeout_inside_a_step(spans):
    """`asyncio.timeout` around a step cancels it and leaves the caller's span current."""

    @dd.traced("slow")
    async def slow():
        yield 1
        await asyncio.Event().wait()
        yield 2

    async def main():
        with dd.span("caller") as caller:
            generator = slow()
            await generator.__anext__()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await generator.__anext__()
            assert dd.current_span() is caller

    asyncio.run(main())
    assert spans.one("slow").values == {"span.outcome": "cancelled"}
    assert spans.one("slow").status_code == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout")
def test_a_timeout_inside_the_generator(spans):
    """`asyncio.timeout` between two yields works, since steps run in the caller's task."""

    @dd.traced("guarded")
    async def guarded():
        try:
            async with asyncio.timeout(0.001):
                yield 1
                await asyncio.Event().wait()
        except TimeoutError:
            yield "late"

    async def main():
        return [value async for value in guarded()]

    assert asyncio.run(main()) == [1, "late"]
    assert spans.one("guarded").status_code == 0


def test_steps_in_several_tasks(spans):
    """Steps from different tasks run under the span, and leave each task's own span current."""

    @dd.traced("numbers")
    async def numbers():
        for number in range(3):
            with dd.span(f"make {number}"):
                await asyncio.sleep(0)
                yield number

    async def step(generator):
        with dd.span("task") as own:
            value = await generator.__anext__()
            assert dd.current_span() is own
            return value

    async def main():
        generator = numbers()
        values = [await asyncio.create_task(step(generator)) for _ in range(3)]
        await asyncio.create_task(closing(generator))
        return values

    async def closing(generator):
        await generator.aclose()

    assert asyncio.run(main()) == [0, 1, 2]
    outer = spans.one("numbers")
    assert all(span.parent_id == outer.span_id for span in spans.finished if span.operation_name.startswith("make"))


def test_concurrent_steps_are_refused():
    """Two steps at once are an error, as without the decorator."""

    async def main(function):
        generator = function(3)
        results = await asyncio.gather(generator.__anext__(), generator.__anext__(), return_exceptions=True)
        await generator.aclose()
        return [str(result) for result in results]

    assert asyncio.run(main(traced_count)) == asyncio.run(main(count))


def test_no_span_without_a_step(spans):
    """A generator that is never advanced has no span."""

    async def main():
        await traced_count(1).aclose()

    asyncio.run(main())
    assert not spans.finished


def test_an_exception_ends_the_span(spans):
    """What the body raises comes out unchanged and is an error of the span."""
    error = ValueError("no")

    @dd.traced("numbers")
    async def numbers():
        yield 1
        raise error

    async def main():
        with dd.span("caller") as caller, pytest.raises(ValueError) as caught:
            async for _ in numbers():
                assert dd.current_span() is caller
        assert caught.value is error

    asyncio.run(main())
    assert spans.one("numbers").status_code == 2


def test_active_across_yield(spans):
    """On request the span stays current while the generator is suspended, until it ends."""

    @dd.traced("session", active_across_yield=True)
    async def session():
        await asyncio.sleep(0)
        yield

    async def main():
        with dd.span("caller") as caller:
            async for _ in session():
                with dd.span("inside"):
                    await asyncio.sleep(0)
            assert dd.current_span() is caller

    asyncio.run(main())
    assert spans.tree == ["caller", ["session", ["inside"]]]


def test_without_an_event_loop(spans):
    """Driven by hand and dropped, a generator cleans up without an event loop."""

    @dd.traced("numbers")
    async def numbers():
        try:
            yield 1
        finally:
            dd.set_tag("cleaned", True)

    generator = numbers()
    with pytest.raises(StopIteration):
        generator.asend(None).send(None)
    del generator
    gc.collect()
    assert spans.one("numbers").values == {"cleaned": True, "span.outcome": "closed"}


def test_before_configure(monkeypatch, spans):
    """Without an engine the steps, what is sent and what is thrown pass through."""
    from ddtrace_manual._api.runtime import RUNTIME

    @dd.traced
    async def talk():
        got = yield "ready"
        with pytest.raises(KeyError):
            yield got
        yield "caught"

    async def main():
        generator = talk()
        assert await generator.__anext__() == "ready"
        assert await generator.asend("sent") == "sent"
        assert await generator.athrow(KeyError()) == "caught"
        await generator.aclose()

    monkeypatch.setattr(RUNTIME, "engine", None)
    asyncio.run(main())
    assert not inspect.isgeneratorfunction(traced_count)
    assert not spans.finished
