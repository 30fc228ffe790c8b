"""Exceptions that leave traced callables: once in full, ancestors in brief; what is no error."""

from __future__ import annotations

import asyncio
import builtins
import sys

import pytest

import ddtrace_manual as dd


def events(span):
    return [record for record in span.event_records or () if record.name == "exception"]


def raiser(error):
    def work():
        raise error

    return work


def test_once_in_full_then_in_brief(spans):
    """The innermost span has type, message and stack; its ancestors have the error, type and message."""
    error = ValueError("no")
    inner = dd.traced("inner")(raiser(error))
    middle = dd.traced("middle")(inner)
    outer = dd.traced("outer", service="s")(middle)
    with pytest.raises(ValueError):
        outer()
    assert [span.status_code for span in spans.finished] == [2, 2, 2]
    [event] = events(spans.one("inner"))
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["exception.message"] == "no"
    assert "in work" in event.attributes["exception.stacktrace"]
    for name in ("middle", "outer"):
        span = spans.one(name)
        assert not events(span)
        assert span.values["error.type"] == "ValueError"
        assert span.values["error.message"] == "no"
        assert "error.stack" not in span.values


def test_another_exception_is_told_again(spans):
    """An ancestor left by another exception tells that one in full, its cause included."""
    inner = dd.traced("inner")(raiser(KeyError("first")))

    @dd.traced("outer")
    def outer():
        try:
            inner()
        except KeyError as exc:
            raise RuntimeError("second") from exc

    with pytest.raises(RuntimeError):
        outer()
    [event] = events(spans.one("outer"))
    stack = event.attributes["exception.stacktrace"]
    assert event.attributes["exception.type"] == "RuntimeError"
    assert "KeyError: 'first'" in stack
    assert "direct cause" in stack


def test_the_same_exception_in_another_trace(spans):
    """An exception raised again elsewhere is told in full there, too."""
    error = ValueError("no")
    for _ in range(2):
        with pytest.raises(ValueError):
            dd.traced("work")(raiser(error))()
    assert [len(events(span)) for span in spans.finished] == [1, 1]


def test_a_handled_exception_marks_only_the_inner_span(spans):
    """A caller that handles the exception has no error."""
    inner = dd.traced("inner")(raiser(ValueError("no")))

    @dd.traced("outer")
    def outer():
        with pytest.raises(ValueError):
            inner()

    outer()
    assert spans.one("inner").status_code == 2
    assert spans.one("outer").status_code == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups")
def test_exception_groups(spans):
    """A group is one error whose stack shows its members; spans of the members have their own."""

    @dd.traced("part")
    async def part(number):
        await asyncio.sleep(0)
        raise ValueError(f"part {number}")

    @dd.traced("all")
    async def everything():
        async with asyncio.TaskGroup() as group:
            group.create_task(part(1))
            group.create_task(part(2))

    with pytest.raises(builtins.ExceptionGroup):
        asyncio.run(everything())
    [event] = events(spans.one("all"))
    assert event.attributes["exception.type"] == "ExceptionGroup"
    assert "part 1" in event.attributes["exception.stacktrace"]
    assert "part 2" in event.attributes["exception.stacktrace"]
    parts = [span for span in spans.finished if span.operation_name == "part"]
    assert sorted(events(span)[0].attributes["exception.message"] for span in parts) == ["part 1", "part 2"]


BASE_EXCEPTIONS = [
    (SystemExit(0), 0, "exit"),
    (SystemExit(), 0, "exit"),
    (SystemExit(1), 2, None),
    (SystemExit("message"), 2, None),
    (GeneratorExit(), 0, "closed"),
    (asyncio.CancelledError(), 0, "cancelled"),
    (KeyboardInterrupt(), 2, None),
    (StopIteration(3), 2, None),
    (type("Own", (BaseException,), {})(), 2, None),
]


@pytest.mark.parametrize(("error", "status", "outcome"), BASE_EXCEPTIONS, ids=repr)
@pytest.mark.parametrize("options", [{}, {"service": "s"}], ids=["plain", "options"])
def test_base_exceptions(spans, error, status, outcome, options):
    """Ways to end that are no failure are tagged; every other BaseException is an error. All go on."""
    with pytest.raises(type(error)) as caught:
        dd.traced("work", **options)(raiser(error))()
    assert caught.value is error
    assert spans.one("work").status_code == status
    assert spans.one("work").values.get("span.outcome") == outcome


def test_set_error_by_hand(spans):
    """An error set by hand stays when the function returns normally."""

    @dd.traced("work")
    def work():
        try:
            raise ValueError("handled")
        except ValueError:
            dd.set_error()

    work()
    assert spans.one("work").status_code == 2
    assert len(events(spans.one("work"))) == 1


class Hostile(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    @property
    def __dict__(self):
        raise RuntimeError("no dict")


@pytest.mark.parametrize("options", [{}, {"service": "s"}], ids=["plain", "options"])
def test_hostile_exceptions(spans, counted, options):
    """An exception that cannot be described still goes on unchanged, and is counted."""
    error = Hostile()
    with pytest.raises(Hostile) as caught:
        dd.traced("work", **options)(raiser(error))()
    assert caught.value is error
    assert spans.names == ["work"]
    assert counted == {"error_not_recorded": 1}


def test_tracebacks_stay_short():
    """The machinery adds one frame per decorated call to a traceback."""
    import traceback

    inner = dd.traced("inner")(raiser(ValueError("no")))
    with pytest.raises(ValueError) as caught:
        inner()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["traced_call", "work"]
    assert len(names) == 3
