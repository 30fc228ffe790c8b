"""`@contextmanager` and `@asynccontextmanager`, above and below `@traced`: the `with` body is traced."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import pickle

import pytest

import ddtrace_manual as dd


@contextlib.contextmanager
def plain(value: int, *, suppress: bool = False):
    """Give a value."""
    try:
        yield value
    except KeyError:
        if not suppress:
            raise


plain.unit = "piece"
above = dd.traced(plain)
below = contextlib.contextmanager(dd.traced(plain.__wrapped__))


@dd.traced
@contextlib.contextmanager
def by_name():
    yield


ORDERS = pytest.mark.parametrize("manager", [above, below], ids=["above", "below"])


@contextlib.asynccontextmanager
async def aplain(value: int, *, suppress: bool = False):
    """Give a value."""
    await asyncio.sleep(0)
    try:
        yield value
    except KeyError:
        if not suppress:
            raise
    await asyncio.sleep(0)


aabove = dd.traced(aplain)
abelow = contextlib.asynccontextmanager(dd.traced(aplain.__wrapped__))
ASYNC_ORDERS = pytest.mark.parametrize("manager", [aabove, abelow], ids=["above", "below"])


def test_it_looks_like_its_twin(same_as):
    """Decorated above or below, function and context manager give the twin's answers."""
    same_as(above, plain)
    same_as(aabove, aplain)
    for manager in (above, below):
        assert type(manager(1)) is type(plain(1))
        with pytest.raises(TypeError):
            manager()
    assert pickle.loads(pickle.dumps(by_name)) is by_name


@ORDERS
def test_the_body_is_traced(spans, manager):
    """The span is current in the body and covers what is before and after it."""
    with dd.span("caller") as caller:
        with manager(3) as value:
            assert value == 3
            assert dd.current_span().operation_name.endswith("plain")
            with dd.span("body"):
                pass
        assert dd.current_span() is caller
    assert spans.tree == ["caller", ["plain", ["body"]]]


@ORDERS
def test_errors_of_the_body(spans, manager):
    """An exception that leaves the block is recorded; one that the manager swallows is not."""
    error = KeyError("no")
    with pytest.raises(KeyError) as caught, manager(3):
        raise error
    assert caught.value is error
    assert spans.one().status_code == 2
    with manager(3, suppress=True):
        raise KeyError
    assert spans.finished[-1].status_code == 0


@ORDERS
def test_as_a_decorator(spans, manager):
    """Used as a decorator, every call has a span."""

    @manager(3)
    def work():
        with dd.span("work"):
            pass

    work()
    work()
    assert spans.tree == ["plain", ["work"], "plain", ["work"]]


@ORDERS
def test_nested(spans, manager):
    """Blocks nest, also left by ExitStack."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(manager(1))
        stack.enter_context(manager(2))
    assert spans.tree == ["plain", ["plain"]]


def test_inside_a_closed_generator(spans):
    """A block that a closed generator leaves ends with it."""

    def numbers():
        with above(1):
            yield 1

    with dd.span("caller") as caller:
        generator = numbers()
        next(generator)
        generator.close()
        assert dd.current_span() is caller
    assert spans.one("plain").values == {"span.outcome": "closed"}


def test_switched_off(spans):
    """`active_across_yield=False` treats it as any other generator."""
    manager = dd.traced("quiet", active_across_yield=False)(plain)
    with dd.span("caller") as caller, manager(1):
        assert dd.current_span() is caller
    assert spans.tree == ["caller", ["quiet"]]


def test_methods(spans):
    """Context-manager methods are traced alike."""

    class Pool:
        @dd.traced("above")
        @contextlib.contextmanager
        def above(self):
            yield self

        @contextlib.contextmanager
        @dd.traced("below")
        def below(self):
            yield self

    pool = Pool()
    with pool.above() as first, pool.below() as second:
        assert first is second is pool
    assert spans.tree == ["above", ["below"]]


@ASYNC_ORDERS
def test_the_async_body_is_traced(spans, manager):
    """The span is current in the body of `async with`, across awaits."""

    async def main():
        with dd.span("caller") as caller:
            async with manager(3) as value:
                await asyncio.sleep(0)
                assert value == 3
                assert dd.current_span().operation_name.endswith("aplain")
                with dd.span("body"):
                    await asyncio.sleep(0)
            assert dd.current_span() is caller

    asyncio.run(main())
    assert spans.tree == ["caller", ["aplain", ["body"]]]


@ASYNC_ORDERS
def test_errors_of_the_async_body(spans, manager):
    """An exception that leaves the block is recorded; one that the manager swallows is not."""
    error = KeyError("no")

    async def main():
        with pytest.raises(KeyError) as caught:
            async with manager(3):
                raise error
        assert caught.value is error
        async with manager(3, suppress=True):
            raise KeyError

    asyncio.run(main())
    assert [span.status_code for span in spans.finished] == [2, 0]


def test_entered_and_left_in_different_tasks(spans):
    """A block left in another task than it was entered in ends its span and disturbs neither."""

    async def main():
        with dd.span("caller") as caller:
            manager = aabove(1)
            await asyncio.create_task(manager.__aenter__())
            assert dd.current_span() is caller

            async def leave():
                await manager.__aexit__(None, None, None)
                assert dd.current_span() is caller

            await asyncio.create_task(leave())
            assert dd.current_span() is caller

    asyncio.run(main())
    assert spans.tree == ["caller", ["aplain"]]


@contextlib.contextmanager
def connection():
    with dd.span("before"):
        pass
    try:
        yield
    finally:
        with dd.span("after"):
            pass


connection = dd.traced("connection")(connection)


def across():
    yield
    with dd.span("after"):
        pass


across = dd.traced("across", active_across_yield=True)(across)


def in_thread(work):
    """Run `work` in a thread with a copy of this context, as thread pools of web frameworks do."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, work).result()


def in_new_thread(work):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def in_other_context(work):
    return contextvars.Context().run(work)


PLACES = pytest.mark.parametrize("place", [in_thread, in_new_thread, in_other_context])


@PLACES
def test_what_runs_after_the_yield_is_under_the_span_wherever_it_is_left(spans, place):
    """Entered in one thread or context and left in another one, which keeps its own current span."""
    with dd.span("caller") as caller:
        manager = connection()
        in_thread(manager.__enter__)

        def leave():
            with dd.span("elsewhere", new_trace=True) as elsewhere:
                manager.__exit__(None, None, None)
                assert dd.current_span() is elsewhere

        place(leave)
        assert dd.current_span() is caller
    assert spans.tree == ["caller", ["connection", ["before", "after"]], "elsewhere"]


@PLACES
def test_left_where_nothing_is_current(spans, place):
    manager = connection()
    in_new_thread(manager.__enter__)

    def leave():
        assert not manager.__exit__(ValueError, ValueError("no"), None)
        assert dd.current_span().span_id == 0

    place(leave)
    assert spans.tree == ["connection", ["before", "after"]]
    assert spans.one("connection").status_code == 2


@PLACES
def test_a_generator_that_stays_current_is_resumed_elsewhere(spans, place):
    steps = across()
    in_new_thread(lambda: next(steps))
    place(lambda: list(steps))
    assert spans.tree == ["across", ["after"]]


def test_an_abandoned_block_is_closed_under_its_span(spans):
    """Garbage collection ends the span, and leaves the current one of whoever runs then."""
    manager = connection()
    in_new_thread(manager.__enter__)
    with dd.span("bystander", new_trace=True) as bystander:
        del manager
        gc.collect()
        assert dd.current_span() is bystander
    assert spans.tree == ["connection", ["before", "after"], "bystander"]


@contextlib.asynccontextmanager
async def aconnection():
    try:
        yield
    finally:
        with dd.span("after"):
            await asyncio.sleep(0)


aconnection = dd.traced("aconnection")(aconnection)


def test_what_runs_after_an_async_yield_is_under_the_span_in_another_task(spans):
    async def main():
        with dd.span("caller") as caller:
            manager = aconnection()
            await asyncio.create_task(manager.__aenter__())

            async def leave():
                with dd.span("elsewhere", new_trace=True) as elsewhere:
                    await manager.__aexit__(None, None, None)
                    assert dd.current_span() is elsewhere

            await asyncio.create_task(leave())
            assert dd.current_span() is caller

    asyncio.run(main())
    assert spans.tree == ["caller", ["aconnection", ["after"]], "elsewhere"]


@pytest.fixture
@dd.traced("fixture", active_across_yield=True)
def resource(spans):
    yield spans
    with dd.span("teardown"):
        pass


@pytest.fixture
def finished(spans):
    """Looks at the spans after the fixture under test was torn down."""
    yield
    assert spans.tree == ["fixture", ["body", "teardown"]]


@pytest.mark.usefixtures("finished", "resource")
def test_the_span_of_a_fixture_is_current_in_the_test():
    with dd.span("body"):
        pass
