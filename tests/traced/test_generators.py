"""Generators: a span from the first step to the end, current only during steps."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import inspect
import sys
import threading

import pytest

import ddtrace_manual as dd
from ddtrace_manual._base.context import get_current


def count(limit: int, *, start: int = 0):
    """Count up, and return how far."""
    for number in range(start, limit):  # noqa: UP028 - a body with a loop
        yield number
    return limit


traced_count = dd.traced(count)


def test_it_looks_like_its_twin(same_as):
    """The function, and the generator it returns, give the twin's answers."""
    same_as(traced_count, count)
    made, twin = traced_count(1), count(1)
    assert type(made) is type(twin)
    assert (made.__name__, made.__qualname__) == (twin.__name__, twin.__qualname__)
    assert inspect.getgeneratorstate(made) == inspect.getgeneratorstate(twin)
    with pytest.raises(TypeError):
        traced_count()


def test_suspended_is_not_current(spans):
    """The span is current inside every step and never between them."""
    inside = []

    @dd.traced("numbers")
    def numbers():
        for number in range(3):
            inside.append(dd.current_span().span_id)
            yield number
            inside.append(dd.current_span().span_id)

    with dd.span("caller") as caller:
        for _ in numbers():
            assert dd.current_span() is caller
            with dd.span("between"):
                pass
        assert dd.current_span() is caller
    assert set(inside) == {spans.one("numbers").span_id}
    assert spans.tree == ["caller", ["numbers", "between", "between", "between"]]


def test_no_span_without_a_step(spans):
    """A generator that is never advanced has no span, and closing it makes none."""
    traced_count(3).close()
    del_me = traced_count(3)
    del del_me
    with pytest.raises(KeyError):
        traced_count(3).throw(KeyError())
    assert not spans.finished


def test_spans_open_across_a_yield_stay_inside(spans):
    """A span the generator holds open while suspended is its own current span again, not its caller's."""

    @dd.traced("outer")
    def outer():
        with dd.span("held"):
            yield
            with dd.span("deep"):
                yield
        with dd.span("after"):
            yield

    with dd.span("caller") as caller:
        for _ in outer():
            assert dd.current_span() is caller
    assert spans.tree == ["caller", ["outer", ["held", ["deep"], "after"]]]


def test_baggage_stays_inside():
    """Baggage set between two yields is there after the next, and never at the caller's."""

    @dd.traced("outer")
    def outer():
        dd.set_baggage("key", "inside")
        yield
        assert dd.get_baggage("key") == "inside"

    for _ in outer():
        assert dd.get_baggage("key") is None
    assert dd.get_baggage("key") is None


def test_send_throw_and_the_return_value(spans):
    """Values and exceptions go in, values and the result come out."""

    @dd.traced("talk")
    def talk():
        got = yield "ready"
        try:
            yield got * 2
        except KeyError as exc:
            assert sys.exc_info()[1] is exc
            got = yield "caught"
        assert sys.exc_info() == (None, None, None)
        return got

    generator = talk()
    assert next(generator) == "ready"
    assert generator.send(4) == 8
    assert generator.throw(KeyError("k")) == "caught"
    with pytest.raises(StopIteration) as stop:
        generator.send("result")
    assert stop.value.value == "result"
    assert spans.one("talk").status_code == 0
    with pytest.raises(StopIteration):
        next(generator)


def test_yield_from_keeps_the_result(spans):
    """`yield from` a traced generator gives its return value; nested ones nest."""

    @dd.traced("outer")
    def outer():
        result = yield from traced_count(2)
        return result + 1

    def drain():
        return (yield from outer())

    generator = drain()
    assert [next(generator), next(generator)] == [0, 1]
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == 3
    assert spans.tree == ["outer", ["count"]]


def test_what_it_raises_later_knows_no_thrown_exception():
    """An exception raised after a thrown one was handled has no `__context__`, as without the decorator."""

    @dd.traced
    def talk():
        with contextlib.suppress(KeyError):
            yield
        raise ValueError

    generator = talk()
    next(generator)
    with pytest.raises(ValueError) as caught:
        generator.throw(KeyError())
    assert caught.value.__context__ is None


@pytest.mark.parametrize("how", ["break", "close", "del", "del in a cycle", "collected elsewhere"])
def test_ending_early(spans, how):
    """However a generator is left, its span ends, cleanup runs under it, and the current span is right."""

    @dd.traced("numbers")
    def numbers():
        try:
            with dd.span("held"):
                yield 1
        finally:
            if how != "del in a cycle":
                with dd.span("cleanup"):
                    pass

    with dd.span("caller") as caller:
        if how == "break":
            for _ in numbers():
                break
        elif how == "close":
            generator = numbers()
            next(generator)
            generator.close()
        elif how == "del":
            generator = numbers()
            next(generator)
            del generator
        elif how == "del in a cycle":
            holder = [numbers()]
            next(holder[0])
            holder.append(holder)
            del holder
        else:
            generator = numbers()
            contextvars.Context().run(next, generator)
            del generator
        gc.collect()
        assert dd.current_span() is caller
        assert get_current() is get_current()
    held = spans.one("held")
    outer = spans.one("numbers")
    assert held.parent_id == outer.span_id
    assert outer.values == {"span.outcome": "closed"}
    assert outer.status_code == 0
    if how != "del in a cycle":
        assert spans.one("cleanup").parent_id == outer.span_id
    assert outer.parent_id == (0 if how == "collected elsewhere" else caller.span_id)


def test_an_exception_ends_the_span(spans):
    """What the body raises comes out unchanged and is an error of the span."""
    error = ValueError("no")

    @dd.traced("numbers")
    def numbers():
        yield 1
        raise error

    with dd.span("caller") as caller:
        generator = numbers()
        next(generator)
        with pytest.raises(ValueError) as caught:
            next(generator)
        assert dd.current_span() is caller
    assert caught.value is error
    assert spans.one("numbers").status_code == 2


def test_refusing_to_close():
    """A generator that yields instead of closing is reported as without the decorator."""

    @dd.traced
    def stubborn():
        while True:
            try:
                yield 1
            except GeneratorExit:
                yield 2
                return

    generator = stubborn()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()
    generator = stubborn()
    next(generator)
    assert generator.throw(GeneratorExit()) == 2
    assert list(generator) == []


def test_steps_in_several_threads(spans):
    """Steps from different threads run under the span, and leave each thread's own span current."""

    @dd.traced("numbers")
    def numbers():
        for number in range(4):
            with dd.span(f"make {number}"):
                pass
            yield number

    generator = numbers()
    seen = []

    def step():
        with dd.span("thread") as own:
            seen.append(next(generator))
            assert dd.current_span() is own

    for _ in range(4):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    generator.close()
    assert seen == [0, 1, 2, 3]
    outer = spans.one("numbers")
    assert all(span.parent_id == outer.span_id for span in spans.finished if span.operation_name.startswith("make"))


def test_interleaved_generators(spans):
    """Two traced generators advanced in turn keep their own current spans."""

    @dd.traced("numbers")
    def numbers(name):
        for number in range(2):
            with dd.span(f"{name}{number}"):
                yield

    with dd.span("caller"):
        for _ in zip(numbers("a"), numbers("b"), strict=False):
            pass
    ids = {span.span_id: span.operation_name for span in spans.finished}
    first, second = [span for span in spans.finished if span.operation_name == "numbers"]
    parents = {span.operation_name: span.parent_id for span in spans.finished if span.operation_name[1:].isdigit()}
    assert parents["a0"] == parents["a1"] != parents["b0"] == parents["b1"]
    assert {parents["a0"], parents["b0"]} == {first.span_id, second.span_id}
    assert ids[first.parent_id] == ids[second.parent_id] == "caller"


def test_the_callers_span_may_end_while_suspended(spans):
    """A step after the end of the span it was last resumed from restores whatever is current then."""
    with dd.span("first"):
        generator = traced_count(3)
        next(generator)
    with dd.span("second") as second:
        next(generator)
        assert dd.current_span() is second
    generator.close()
    assert dd.current_span().span_id == 0
    assert spans.one("count").parent_id == spans.one("first").span_id


def test_what_was_yielded_is_not_kept():
    """After the next step the machinery holds no reference to the value yielded before."""
    import weakref

    class Chunk:
        pass

    @dd.traced
    def chunks():
        yield Chunk()
        assert reference() is None
        yield None

    generator = chunks()
    reference = weakref.ref(next(generator))
    next(generator)
    generator.close()


def test_arguments_are_not_kept():
    """An argument the generator lets go of is freed while it is suspended."""
    import weakref

    class Chunk:
        pass

    @dd.traced
    def consume(chunk):
        del chunk
        yield

    chunk = Chunk()
    reference = weakref.ref(chunk)
    generator = consume(chunk)
    del chunk
    next(generator)
    assert reference() is None
    generator.close()


def test_a_thrown_exception_is_not_kept():
    """An exception that left the generator is freed without the garbage collector."""
    import weakref

    class Problem(Exception):
        pass

    gc.disable()
    try:
        generator = traced_count(3)
        next(generator)
        problem = Problem()
        reference = weakref.ref(problem)
        with pytest.raises(Problem):
            generator.throw(problem)
        del problem
        sys.exc_info()
        assert reference() is None
    finally:
        gc.enable()


def test_active_across_yield(spans):
    """On request the span stays current while the generator is suspended, until it ends."""

    @dd.traced("session", active_across_yield=True)
    def session():
        yield dd.current_span().span_id

    with dd.span("caller") as caller:
        generator = session()
        assert dd.current_span() is caller
        assert next(generator) == dd.current_span().span_id
        with dd.span("inside"):
            pass
        assert list(generator) == []
        assert dd.current_span() is caller
    assert spans.tree == ["caller", ["session", ["inside"]]]


def test_before_configure(monkeypatch, spans):
    """Without an engine the steps, what is sent and the result pass through."""
    from ddtrace_manual._api.runtime import RUNTIME

    @dd.traced
    def talk():
        got = yield "ready"
        with pytest.raises(KeyError):
            yield got
        return "result"

    monkeypatch.setattr(RUNTIME, "engine", None)
    generator = talk()
    assert next(generator) == "ready"
    assert generator.send("sent") == "sent"
    with pytest.raises(StopIteration) as stop:
        generator.throw(KeyError())
    assert stop.value.value == "result"
    assert not spans.finished


def test_functions_returning_generators(spans):
    """A plain function that returns a generator is traced for the call alone."""

    @dd.traced("call")
    def later():
        return count(2)

    assert not inspect.isgeneratorfunction(later)
    generator = later()
    assert spans.names == ["call"]
    assert list(generator) == [0, 1]
