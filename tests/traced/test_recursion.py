"""Recursion goes as deep through `@traced` as through any wrapper, and leaves nothing behind when it ends."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading

import pytest

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.context import get_current

OPTIONS = {
    "plain": {},
    "options": {"service": "s", "tags": {"a": 1}, "ignore": KeyError},
    "arguments": {"capture_args": ["number"], "capture_return": True, "resource": lambda args: "r"},
}


def wraps(function):
    """Wrap a function as most decorators do."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def wraps_async(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        return await function(*args, **kwargs)

    return wrapper


def depth_of(kind, decorate):
    """Return how many calls fit into the recursion limit, counted in a thread of its own."""
    reached = [0]

    @decorate
    def function(number):
        reached[0] = number
        function(number + 1)

    class Holder:
        @decorate
        def method(self, number):
            reached[0] = number
            self.method(number + 1)

    @decorate
    async def coroutine(number):
        reached[0] = number
        await coroutine(number + 1)

    calls = {
        "function": lambda: function(1),
        "method": lambda: Holder().method(1),
        "coroutine": lambda: coroutine(1).send(None),
    }

    def run():
        with pytest.raises(RecursionError):
            calls[kind]()
        assert not get_current()

    failed = []

    def guarded():
        try:
            run()
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    assert not failed, failed
    return reached[0]


WRAPPERS = {"function": wraps, "method": wraps, "coroutine": wraps_async}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # the one beyond the limit
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("configured", [True, False], ids=["configured", "before configure"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["function", "method", "coroutine"])
def test_depth(monkeypatch, spans, kind, options, configured):
    """The default limit allows at least 0.95 times the calls that it allows through another wrapper."""
    if not configured:
        monkeypatch.setattr(RUNTIME, "engine", None)
        monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
    ours = depth_of(kind, dd.traced("work", **OPTIONS[options]))
    assert ours >= 0.95 * depth_of(kind, WRAPPERS[kind])
    started = {span.segment for span in spans.finished}
    assert all(not segment.open for segment in started)


DEEP = """
import functools, mmap, os, struct, sys
import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._tracing import TracerProvider

if sys.argv[1] == "configured":
    engine = TracerProvider(shutdown_on_exit=False).engine
    engine.hooks.export = lambda *_, **__: None
    RUNTIME.use_engine(engine)

def wraps(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

def depth_of(decorate):
    reached = mmap.mmap(-1, 8)

    @decorate
    def function(number):
        reached[:8] = number.to_bytes(8, "big")
        if number < 40_000:
            function(number + 1)

    if not (child := os.fork()):
        sys.setrecursionlimit(10**6)
        try:
            function(1)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return int.from_bytes(reached[:8], "big")

theirs, ours = depth_of(wraps), depth_of(dd.traced("work", **({"service": "s"} if sys.argv[2] == "options" else {})))
assert ours >= 0.95 * theirs, (ours, theirs)
print(ours, theirs)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("options", ["plain", "options"])
@pytest.mark.parametrize("configured", ["configured", "not"])
def test_depth_with_a_raised_limit(configured, options):
    """With a limit of a million the stack of the process ends no earlier than through another wrapper."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", DEEP, configured, options], check=True, timeout=100)
