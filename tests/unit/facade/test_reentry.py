"""Context managers that are entered again while they are open, and exits that are interrupted."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time

import pytest

import ddtrace_manual as dd
from ddtrace_manual._base import context as _context
from ddtrace_manual._base.context import get_current
from ddtrace_manual._model import RemoteContext, SegmentRecord
from ddtrace_manual.integrations import traced_consumer, traced_producer

HEADERS = {"x-datadog-trace-id": "7", "x-datadog-parent-id": "8", "x-datadog-sampling-priority": "1"}

MANAGERS = {
    "span": lambda _tracer: dd.span("work"),
    "span with options": lambda _tracer: dd.span("work", kind="client", tags={"a": 1}),
    "continue_trace": lambda _tracer: dd.continue_trace(HEADERS),
    "traced_consumer": lambda _tracer: traced_consumer("orders", HEADERS, system="kafka"),
    "traced_producer": lambda _tracer: traced_producer("orders", system="kafka"),
    "start_as_current_span": lambda tracer: tracer.start_as_current_span("work"),
}


@pytest.fixture(params=MANAGERS)
def shared(request, spans):
    """One context manager object, for every kind that the package offers."""
    return MANAGERS[request.param](spans.provider.get_tracer("tests"))


@pytest.fixture(autouse=True)
def _no_entry_left():
    yield
    assert not _context._entries
    assert not any(_context._entries_not_current.values())


def unfinished(spans):
    return dd.counters().created_spans - len(spans)


def test_a_shared_manager_works_in_recursion(shared, spans):
    seen = []

    def recurse(depth):
        with shared:
            inside = get_current()
            seen.append(inside)
            if depth:
                recurse(depth - 1)
            assert get_current() is inside

    before = get_current()
    recurse(5)
    assert get_current() is before
    assert len({id(context) for context in seen}) == 6
    assert unfinished(spans) == 0


def test_a_shared_manager_works_in_interleaved_tasks(shared, spans):
    order = []

    async def task(number, turns):
        before = get_current()
        with shared:
            inside = get_current()
            for _ in range(turns):
                await asyncio.sleep(0)
                assert get_current() is inside
            with dd.span(f"child {number}"):
                await asyncio.sleep(0)
        assert get_current() is before
        order.append(number)

    async def main():
        await asyncio.gather(task(0, 3), task(1, 1), task(2, 2), task(3, 7))

    asyncio.run(main())
    assert order != sorted(order, reverse=True)
    assert unfinished(spans) == 0


def test_a_shared_manager_works_in_threads(shared, spans):
    barrier = threading.Barrier(8)
    failures = []

    def run():
        before = get_current()
        for _ in range(50):
            barrier.wait()
            with shared:
                inside = get_current()
                with dd.span("child"):
                    pass
                if get_current() is not inside:
                    failures.append("inside")
            if get_current() is not before:
                failures.append("outside")

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert unfinished(spans) == 0


def test_a_shared_manager_works_one_after_the_other(shared, spans):
    before = get_current()
    for _ in range(3):
        with shared:
            assert get_current() is not before
        assert get_current() is before
    assert unfinished(spans) == 0


def test_an_outer_scope_heals_what_interrupted_exits_left(spans):
    before = get_current()
    with dd.span("outer") as outer:
        inside = get_current()
        dd.span("open").__enter__()
        ended = dd.span("ended")
        ended.__enter__().end()
    assert get_current() is before
    with outer_again() as _:
        pass
    assert inside is not before
    assert outer.end_ns is not None


def outer_again():
    return dd.span("after")


def test_signals_that_raise_leave_nothing_behind(spans):
    class Interrupted(BaseException):
        pass

    def interrupt(*_):
        raise Interrupted

    before = get_current()
    raised = left = iterations = 0
    gc.disable()  # what a handler raises within a callback of the collector cannot go anywhere
    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        with dd.span("outer"):
            inside = get_current()
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                iterations += 1
                try:
                    with dd.span("a"), dd.span("b"):
                        pass
                except Interrupted:
                    raised += 1
                left += get_current() is not inside
                if get_current() is not inside:
                    _context.set_current(inside)
            signal.setitimer(signal.ITIMER_REAL, 0)
            dd.span("left").__enter__()
    except Interrupted:  # between two iterations
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        gc.enable()
    assert get_current() is before
    assert raised or left or iterations
    assert left <= max(1, iterations // 100)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="collections start between two instructions there")
def test_no_span_becomes_current_while_garbage_is_collected(spans):
    seen = []

    class Garbage:
        def __init__(self):
            self.itself = self

        def __del__(self):
            before = get_current()
            with dd.span("finalizer"), spans.provider.get_tracer("tests").start_as_current_span("too"):
                seen.append(get_current() is before)
            dd.traced(lambda: seen.append(get_current() is before))()
            seen.append(get_current() is before)

    with dd.span("outer") as outer:
        Garbage()
        gc.collect()
        assert dd.current_span() is outer
        with dd.span("inner") as inner:
            assert dd.current_span() is inner
    assert seen == [True, True, True]
    assert len(spans) == 5


def test_an_entry_is_left_while_another_extracted_context_is_current():
    """An extracted context has a segment once a span was started from it, but no end."""
    owner, first, second, current = object(), RemoteContext(1, 2), RemoteContext(1, 3), RemoteContext(4, 5)
    current.segment = SegmentRecord()
    _context.add_entry(owner, first, "first")
    _context.add_entry(owner, second, "second")
    assert [_context.take_entry(owner, current) for _ in range(3)] == ["second", "first", None]
