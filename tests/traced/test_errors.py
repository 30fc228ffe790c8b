"""Exceptions that leave traced callables: once in full, ancestors in brief; what is no error."""

from __future__ import annotations

import asyncio
import builtins
import json
import sys

import pytest

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.errors import IgnoredExceptions


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
    """An exception that cannot be described still goes on unchanged, and its span is marked."""
    error = Hostile()
    with pytest.raises(Hostile) as caught:
        dd.traced("work", **options)(raiser(error))()
    assert caught.value is error
    assert spans.one("work").status_code == 2
    assert not counted


def test_tracebacks_stay_short():
    """The machinery adds one frame per decorated call to a traceback."""
    import traceback

    inner = dd.traced("inner")(raiser(ValueError("no")))
    with pytest.raises(ValueError) as caught:
        inner()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["traced_call", "work"]
    assert len(names) == 3


class BaseExceptionGroup(BaseException):
    """A group as Python 3.10 gets it from a backport."""

    def __init__(self, message, exceptions):
        super().__init__(message)
        self.exceptions = tuple(exceptions)


GROUPS = [BaseExceptionGroup, *([builtins.BaseExceptionGroup] if sys.version_info >= (3, 11) else [])]
CANCELLED = asyncio.CancelledError
GROUP_ROWS = [
    ([KeyError("a"), KeyError("b")], 0, None),
    ([CANCELLED(), CANCELLED()], 0, "cancelled"),
    ([KeyError("a"), CANCELLED()], 0, "cancelled"),
    ([KeyError("a"), ValueError("b")], 2, None),
    ([CANCELLED(), ValueError("b")], 2, None),
    ([CANCELLED(), GeneratorExit()], 2, None),
]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("leaves", "status", "outcome"), GROUP_ROWS)
def test_a_group_is_what_all_its_leaves_are(spans, group, nested, leaves, status, outcome):
    error = group("all", leaves)
    if nested:
        error = group("outer", [error, leaves[0]])
    with pytest.raises(BaseException) as caught:
        dd.traced("work", ignore=KeyError)(raiser(error))()
    assert caught.value is error
    assert spans.one().status_code == status
    assert spans.one().values.get("span.outcome") == outcome


def test_a_group_nested_deeper_than_the_stack(spans):
    error = KeyError("a")
    for _ in range(5000):
        error = BaseExceptionGroup("g", [error])
    with pytest.raises(BaseExceptionGroup):
        dd.traced("work", ignore=KeyError)(raiser(error))()
    assert spans.one().status_code == 0
    while isinstance(error, BaseExceptionGroup):  # freed one by one: all at once would exhaust the stack
        error = error.exceptions[0]


class Numbers:
    @dd.traced("next", ignore=KeyError)
    def __next__(self):
        raise StopIteration

    @dd.traced("anext")
    async def __anext__(self):
        raise StopAsyncIteration


@dd.traced
class TracedNumbers:
    def __next__(self):
        raise StopIteration


def test_the_end_of_an_iteration_is_no_error(spans):
    with pytest.raises(StopIteration):
        Numbers().__next__()
    with pytest.raises(StopAsyncIteration):
        asyncio.run(Numbers().__anext__())
    with pytest.raises(StopIteration):
        TracedNumbers().__next__()
    assert {span.status_code for span in spans.finished} == {0}


def test_the_end_of_an_iteration_elsewhere_is_an_error(spans):
    with pytest.raises(StopIteration):
        dd.traced("work")(raiser(StopIteration()))()
    assert spans.one().status_code == 2


@pytest.mark.parametrize("ignored", [LookupError, "LookupError", "json.decoder.JSONDecodeError"])
def test_exceptions_ignored_everywhere(spans, monkeypatch, ignored):
    """Classes and names mean subclasses as well, in `span` and `traced`."""
    monkeypatch.setattr(RUNTIME, "ignored", IgnoredExceptions((ignored,)))
    error = json.JSONDecodeError("no", "", 0) if ignored == "json.decoder.JSONDecodeError" else KeyError("a")
    with pytest.raises(type(error)):
        dd.traced("work")(raiser(error))()
    with pytest.raises(type(error)), dd.span("block"):
        raise error
    with pytest.raises(ZeroDivisionError):
        dd.traced("other")(raiser(ZeroDivisionError()))()
    assert [span.status_code for span in spans.finished] == [0, 0, 2]
