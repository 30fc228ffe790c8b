"""Random generators, driven at random, behave as their undecorated twins.

A program is a list of actions that a generator body carries out; a script is what a caller does with the generator.
Both twins run the same program under the same script; what comes out of every step, how it ends, and the caller's
context after every step must be equal. The traced one must besides have all its spans ended at the end.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ddtrace_manual as dd
from ddtrace_manual._base.context import get_current

PROGRAMS = st.lists(
    st.sampled_from(
        [
            *(
                "yield",
                "yield",
                "yield",
                "yield from",
                "span",
                "end span",
                "catch",
                "catch all",
                "reraise",
                "end catch",
            ),
            *("finally", "finally span", "yield in finally", "raise", "return", "baggage", "wait"),
        ]
    ),
    max_size=8,
)
SCRIPTS = st.lists(
    st.sampled_from(["next", "next", "next", "send", "throw", "throw exit", "close", "in span", "elsewhere"]),
    max_size=10,
)


class Problem(Exception):
    pass


@pytest.fixture(autouse=True, scope="module")
def refusals_are_expected():
    """Generators that refuse to close are part of the game, for both twins."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _unraisable: None
    yield
    sys.unraisablehook = hook


def body(program, log):
    """Return a generator function that carries out a program; blocks nest to the end of it, or to their `end`."""
    actions = iter(program)

    def run():  # noqa: PLR0912 - an interpreter: one branch for each action
        for number, action in enumerate(actions, 1):
            if action == "yield":
                log.append(("sent", (yield number)))
            elif action == "yield from":
                log.append(("from", (yield from iter([number, number]))))
            elif action == "span":
                with dd.span("held"):
                    yield from run()
            elif action in ("catch", "catch all", "reraise"):
                kinds = BaseException if action == "catch all" else Problem
                try:
                    yield from run()
                except kinds as exc:
                    log.append(("caught", type(exc), type(exc.__context__), sys.exc_info()[1] is exc))
                    if action == "reraise":
                        raise
            elif action.startswith("finally") or action == "yield in finally":
                try:
                    yield from run()
                finally:
                    log.append(("finally", type(sys.exc_info()[1])))
                    if action == "finally span":
                        with dd.span("cleanup"):
                            pass
                    if action == "yield in finally":
                        yield "refused"
            elif action.startswith("end"):
                return None
            elif action == "raise":
                raise Problem(number)
            elif action == "return":
                return number
            elif action == "baggage":
                dd.set_baggage("key", str(number))
        return "end"

    return run


def drive(generator, script):
    """Do what the script says; return what came out, and the span names and baggage seen after every step."""
    results = []
    for number, action in enumerate(script):
        scope = dd.span("caller") if action == "in span" else contextlib.nullcontext()
        with scope:
            before = get_current()
            results.append(outcome(step, generator, action, number))
            results.append(get_current() is before)
    return results


def step(generator, action, number):
    if action == "send":
        return generator.send(number)
    if action == "throw":
        return generator.throw(Problem(number))
    if action == "throw exit":
        return generator.throw(GeneratorExit())
    if action == "close":
        return generator.close()
    if action == "elsewhere":
        return contextvars.copy_context().run(next, generator)
    return next(generator)


def outcome(function, *args):
    try:
        return "value", function(*args)
    except BaseException as exc:
        return type(exc), str(exc), getattr(exc, "value", None), type(exc.__context__), type(exc.__cause__)


def quiet(results):
    """Leave out the message of an error that names the generator's internals."""
    return [r[:1] if isinstance(r, tuple) and r[0] is RuntimeError else r for r in results]


@settings(max_examples=400)
@given(PROGRAMS, SCRIPTS)
def test_generators(program, script):
    """A traced generator gives what its twin gives, for every sequence of steps, and leaks no context."""
    twin_log, log = [], []
    plain = body(program, twin_log)()
    # The twin may leave its spans current in the caller: each of its scripts runs in a context of its own.
    expected = contextvars.copy_context().run(drive, plain, script)
    contextvars.copy_context().run(_discard, plain)

    traced = dd.traced("traced")(body(program, log))()
    before = get_current()
    results = drive(traced, script)
    _discard(traced)
    assert get_current() is before
    assert [r for r in quiet(results) if not isinstance(r, bool)] == [
        r for r in quiet(expected) if not isinstance(r, bool)
    ]
    assert all(r for r in results if isinstance(r, bool))
    assert log == twin_log


def _discard(generator):
    """End a generator that may refuse."""
    for _ in range(20):
        try:
            generator.close()
        except RuntimeError:
            continue
        except BaseException:
            break
        break


class Pause:
    """Suspends a step once, as waiting for the event loop does."""

    def __await__(self):
        yield "waiting"


async def async_body(program, log):  # noqa: PLR0912 - an interpreter: one branch for each action
    """Carry out a program without nested generators, which `yield from` would need."""
    with contextlib.ExitStack() as stack:
        number = 0
        try:
            for action in program:
                number += 1
                if action.startswith("yield"):
                    try:
                        log.append(("sent", (yield number)))
                    except Problem as exc:
                        log.append(("caught", type(exc.__context__)))
                        if "catch" not in program:
                            raise
                elif action == "wait":
                    await Pause()
                elif action == "span":
                    stack.enter_context(dd.span("held"))
                elif action == "end span":
                    stack.pop_all().close()
                elif action == "baggage":
                    dd.set_baggage("key", str(number))
                elif action == "raise":
                    raise Problem(number)
                elif action == "return":
                    return
        finally:
            if "finally" in program:
                log.append("finally")
                await Pause()
            if "yield in finally" in program:
                yield "refused"


ASYNC_SCRIPTS = st.lists(
    st.sampled_from(["next", "next", "send", "throw", "throw exit", "close", "in span"]), max_size=8
)


def drive_async(generator, script):
    """Do what the script says, by hand, and look at the context also whenever a step waits."""
    results, same = [], []

    def finish(ask, number, before):
        steps = ask(number).__await__()
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value
            finally:
                same.append(get_current() is before)

    for number, action in enumerate(script):
        scope = dd.span("caller") if action == "in span" else contextlib.nullcontext()
        with scope:
            before = get_current()
            awaitable = {
                "send": generator.asend,
                "throw": lambda n: generator.athrow(Problem(n)),
                "throw exit": lambda n: generator.athrow(GeneratorExit()),
                "close": lambda n: generator.aclose(),
            }.get(action, lambda n: generator.__anext__())
            results.append(outcome(finish, awaitable, number, before))
    return results, same


@settings(max_examples=400)
@given(PROGRAMS, ASYNC_SCRIPTS)
def test_async_generators(program, script):
    """A traced async generator gives what its twin gives, and leaks no context, also while a step waits."""
    twin_log, log = [], []
    plain = async_body(program, twin_log)
    expected, _ = contextvars.copy_context().run(drive_async, plain, script)
    contextvars.copy_context().run(_discard_async, plain)

    traced = dd.traced("traced")(async_body)(program, log)
    before = get_current()
    results, same = drive_async(traced, script)
    _discard_async(traced)
    assert get_current() is before
    assert quiet(results) == quiet(expected)
    assert all(same)
    assert log == twin_log


def _discard_async(generator):
    """End an async generator that may refuse."""

    async def close():
        for _ in range(20):
            try:
                await generator.aclose()
            except RuntimeError:
                continue
            except BaseException:
                break
            break

    steps = close().__await__()
    for _ in steps:
        pass
