"""The current context across threads, executors, processes and tasks; and what happens without help."""

import asyncio
import contextvars
import functools
import inspect
import pickle
import subprocess
import sys
import textwrap
import threading
import types
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest

import ddtrace_manual as dd
from ddtrace_manual import integrations
from ddtrace_manual.integrations import (
    ContextExecutor,
    ContextThread,
    ContextThreadPoolExecutor,
    create_linked_task,
    run_in_executor,
    wrap,
    wrap_for_process,
)


def work(value=None):
    """Make a span, say what baggage there is, and return the value."""
    with dd.span("work") as span:
        span.set_tag("user", dd.get_baggage("user"))
    return value


async def work_async(value=None):
    """As `work`, as a coroutine function."""
    await asyncio.sleep(0)
    return work(value)


class Callable:
    """An object that can be called."""

    def __call__(self, value=None):
        return work(value)


class AsyncCallable:
    """An object whose calls are coroutines."""

    async def __call__(self, value=None):
        return await work_async(value)


NEST = "root\n  work [user=u1]"
APART = "root\nwork [user=None]"


@pytest.fixture
def run_under_root(spans):
    """Run a function while a span is current and baggage is set, and check the tree afterwards."""

    def run(act, expected):
        with dd.span("root") as root:
            dd.set_baggage("user", "u1")
            result = act()
            assert dd.current_span() is root
        spans.assert_tree(expected, ordered=False)
        return result

    return run


def in_thread(fn):
    """Call a function in another thread."""
    thread = threading.Thread(target=fn)
    thread.start()
    thread.join()


# -- wrap ------------------------------------------------------------------------------------------------


def test_without_help_a_thread_begins_a_trace_of_its_own(run_under_root):
    """A new thread has an empty context: neither parent nor baggage."""
    run_under_root(lambda: in_thread(work), APART)


@pytest.mark.parametrize("fn", [work, functools.partial(work, 1), Callable()], ids=["function", "partial", "object"])
def test_wrapped_functions_run_in_the_context_of_the_wrapping(run_under_root, fn):
    """Any callable can be carried into a thread."""
    run_under_root(lambda: in_thread(wrap(fn)), NEST)


@pytest.mark.parametrize(
    "fn", [work_async, functools.partial(work_async, 1), AsyncCallable()], ids=["function", "partial", "object"]
)
def test_wrapped_coroutine_functions_too(run_under_root, fn):
    """The coroutine runs in the context in whatever loop and thread."""
    wrapped = None

    def act():
        nonlocal wrapped
        wrapped = wrap(fn)
        in_thread(lambda: asyncio.run(wrapped()))

    run_under_root(act, NEST)
    assert inspect.iscoroutinefunction(wrapped)


def test_the_callers_context_comes_back(spans):
    """Also when the function raises, or leaves something else current."""

    def leave_open():
        dd.span("left").__enter__()
        raise KeyError

    with dd.span("a"):
        wrapped = wrap(leave_open)
    with dd.span("b") as b:
        with pytest.raises(KeyError):
            wrapped()
        assert dd.current_span() is b


def test_one_wrapping_serves_many_calls(spans):
    """Calls at the same time each run in the context."""
    barrier = threading.Barrier(3)

    def meet():
        barrier.wait(10)
        work()

    with dd.span("root"):
        wrapped = wrap(meet)
        threads = [threading.Thread(target=wrapped) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    spans.assert_tree("root\n" + "  work\n" * 3)


def test_wrapping_keeps_name_and_result(spans):
    """The result is that of the function; the name too."""
    assert wrap(work)(5) == 5
    assert wrap(work).__name__ == "work"
    assert asyncio.run(wrap(work_async)(5)) == 5


def generator():
    """Yield."""
    yield


async def async_generator():
    """Yield."""
    yield


@pytest.mark.parametrize("wrapper", [wrap, wrap_for_process])
@pytest.mark.parametrize(("fn", "reason"), [(5, "int"), (generator, "generator"), (async_generator, "generator")])
def test_what_cannot_be_carried_is_refused(wrapper, fn, reason):
    """The reason is told when wrapping."""
    with pytest.raises(TypeError, match=reason):
        wrapper(fn)


def test_before_configure_everything_just_runs():
    """No span, no context, same results."""
    assert wrap(work)(1) == 1
    assert pickle.loads(pickle.dumps(wrap_for_process(work)))(2) == 2
    with ContextThreadPoolExecutor(1) as pool:
        assert pool.submit(work, 3).result() == 3


# -- threads ---------------------------------------------------------------------------------------------


class Worker(ContextThread):
    """A thread that overrides `run`."""

    def run(self):
        work()


@pytest.mark.parametrize("make", [lambda: ContextThread(target=work, args=(1,)), Worker], ids=["target", "subclass"])
def test_a_context_thread_runs_in_the_context_of_its_start(run_under_root, make):
    """What was current when it was made does not count, what is current at its start does."""
    with dd.span("made"):
        thread = make()

    def act():
        thread.start()
        thread.join()

    run_under_root(act, "made\n" + NEST)
    assert "run" not in vars(thread)
    with pytest.raises(RuntimeError):
        thread.start()


# -- executors -------------------------------------------------------------------------------------------


def test_without_help_a_pool_loses_the_context(run_under_root):
    """Spans in a plain pool begin traces of their own."""

    def act():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()

    run_under_root(act, APART)


@pytest.mark.parametrize("make", [lambda: ContextThreadPoolExecutor(2), lambda: ContextExecutor(ThreadPoolExecutor(2))])
def test_context_executors_run_work_in_the_context_of_its_submission(run_under_root, make):
    """`submit` and `map` both; results arrive."""

    def act():
        with make() as pool:
            return [pool.submit(work, 0).result(), *pool.map(work, range(1, 3))]

    assert run_under_root(act, "root\n" + "  work [user=u1]\n" * 3) == [0, 1, 2]


def test_each_submission_has_its_own_context(spans):
    """One thread of a pool serves several traces one after the other."""
    with ContextThreadPoolExecutor(1) as pool:
        for name in ("a", "b"):
            with dd.span(name):
                pool.submit(work)
        pool.submit(work)
    spans.assert_tree("a\n  work\nb\n  work\nwork", ordered=False)


def test_shutting_down_reaches_the_executor_behind():
    """Arguments are passed on; work is refused afterwards."""
    inner = ThreadPoolExecutor(1)
    pool = ContextExecutor(inner)
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError):
        inner.submit(work)


class InlineExecutor(Executor):
    """Somebody's own executor, which calls at once."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: ThreadPoolExecutor(1),
        lambda: ContextThreadPoolExecutor(1),
        lambda: ContextExecutor(InlineExecutor()),
    ],
    ids=["default", "plain", "context", "wrapped"],
)
def test_run_in_executor(run_under_root, make):
    """The helper carries the context into every executor."""

    async def main():
        executor = make()
        result = await run_in_executor(executor, work, 7)
        if executor is not None:
            executor.shutdown()
        return result

    assert run_under_root(lambda: asyncio.run(main()), NEST) == 7


def test_the_loops_own_way_loses_the_context_and_to_thread_does_not(run_under_root):
    """`loop.run_in_executor` starts without parent; with a context executor, or `asyncio.to_thread`, it does not."""

    async def main():
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, work)
        await asyncio.to_thread(work)
        loop.set_default_executor(ContextThreadPoolExecutor(1))
        await loop.run_in_executor(None, work)

    run_under_root(lambda: asyncio.run(main()), "root\n  work\n  work\nwork")


def test_run_in_executor_needs_a_loop():
    """Outside of a loop it says so."""
    with pytest.raises(RuntimeError, match="running event loop"):
        run_in_executor(None, work)


# -- processes -------------------------------------------------------------------------------------------


def test_a_call_for_another_process_carries_headers(spans):
    """What is pickled continues the trace wherever it is unpickled, and leaves the context there as it was."""
    with dd.span("root") as root:
        dd.set_baggage("user", "u1")
        data = pickle.dumps(wrap_for_process(work))
        assert repr(pickle.loads(data)).startswith("wrap_for_process(<function work")
    with dd.span("elsewhere") as elsewhere:
        assert pickle.loads(data)(3) == 3
        assert dd.current_span() is elsewhere
    assert spans.find("work").trace_id == root.trace_id
    spans.assert_tree("root\n  work [user=u1]\nelsewhere")


@pytest.mark.parametrize("fn", [work_async, AsyncCallable()])
def test_a_coroutine_cannot_be_sent_to_a_process(fn):
    """The reason is told when wrapping."""
    with pytest.raises(TypeError, match="another process"):
        wrap_for_process(fn)


def test_process_pools_are_recognised():
    """Wrapping another executor chooses what can be pickled."""
    with ProcessPoolExecutor(1) as pool:  # no process starts before the first submission
        assert isinstance(ContextExecutor(pool)._wrap(work), type(wrap_for_process(work)))


SCRIPT = """
import multiprocessing
import sys
import ddtrace_manual as dd
from ddtrace_manual.integrations import ContextProcessPoolExecutor

URL, METHOD = sys.argv[1:]

def setup():
    dd.configure(service="app", agent_url=URL)

@dd.traced("work")
def work(number):
    return number * 2

if __name__ == "__main__":
    setup()
    context = multiprocessing.get_context(METHOD)
    initializer = setup if METHOD == "spawn" else None
    with dd.span("root"), ContextProcessPoolExecutor(1, mp_context=context, initializer=initializer) as pool:
        print(pool.submit(work, 1).result(), *pool.map(work, [2, 3], chunksize=2))
"""


@pytest.mark.integration
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_process_pool_continues_the_trace(fake_agent, tmp_path, method):
    """Spans of worker processes are children, and are sent although such processes run no exit functions."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), fake_agent.url, method], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "2 4 6\n"), done.stderr
    assert fake_agent.wait_for(lambda agent: len(agent.spans()) == 4)
    (root,) = [each for each in fake_agent.spans() if each["name"] == "root"]
    children = [each for each in fake_agent.spans() if each["name"] == "work"]
    assert [(each["trace_id"], each["parent_id"]) for each in children] == [(root["trace_id"], root["span_id"])] * 3


# -- tasks -----------------------------------------------------------------------------------------------


def test_without_help_a_task_is_a_child_of_what_started_it(spans):
    """`asyncio.create_task` copies the context: the task's spans may end long after their parent."""

    async def main():
        with dd.span("request"):
            task = asyncio.create_task(work_async())
        await task

    asyncio.run(main())
    spans.assert_tree("request\n  work")


def test_a_linked_task_has_a_trace_of_its_own(spans):
    """The task is one span in a new trace, linked to the span that started it, with the options given."""

    async def main():
        with dd.span("request"):
            task = create_linked_task(work_async(9), "job.refresh", task_name="t1", service="jobs")
            assert task.get_name() == "t1"
        return await task

    assert asyncio.run(main()) == 9
    spans.assert_tree("request\njob.refresh [service=jobs]\n  work [service=jobs]")
    request, job = spans.roots()
    assert job.trace_id != request.trace_id
    assert [(link.trace_id, link.span_id) for link in job.links] == [(request.trace_id, request.span_id)]


def test_a_linked_task_without_anything_current_has_no_link(spans):
    """The default name is that of the coroutine; an error in the task is recorded and raised to whoever awaits it."""

    async def fail():
        raise ValueError("broken")

    async def main():
        with pytest.raises(ValueError, match="broken"):
            await create_linked_task(fail())

    asyncio.run(main())
    (span,) = spans
    assert span.name.endswith("fail")
    assert (span.error, span.links) == (True, [])


def test_a_linked_task_cancelled_at_once_warns_about_nothing(spans):
    """A coroutine that never began is closed."""

    async def main():
        task = create_linked_task(work_async())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(spans) == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks take a context from 3.11 on")
def test_a_linked_task_can_have_a_context_of_its_own(spans):
    """In an empty context there is nothing to link to."""

    async def main():
        with dd.span("request"):
            await create_linked_task(work_async(), "job", context=contextvars.Context())

    asyncio.run(main())
    spans.assert_tree("request\njob\n  work", ordered=False)
    assert spans.find("job").links == []


def test_mistakes_with_tasks_are_told():
    """A function instead of its coroutine, a wrong option, no loop."""
    with pytest.raises(TypeError, match="coroutine"):
        create_linked_task(work_async)
    coro = work_async()
    with pytest.raises(dd.exceptions.ConfigurationError, match="servce"):
        create_linked_task(coro, servce="x")
    with pytest.raises(RuntimeError, match="running event loop"):
        create_linked_task(coro, "job")
    coro.close()


# -- the package -----------------------------------------------------------------------------------------


def test_names_are_imported_when_used():
    """Every name that needs no extra exists; importing the package loads neither asyncio nor multiprocessing."""
    assert integrations.__all__ == sorted(integrations.__all__)
    own = [name for module in ("._futures", "._logging") for name in integrations._MODULES[module]]
    assert all(callable(getattr(integrations, name)) for name in own)
    assert set(integrations.__all__) <= set(dir(integrations))
    with pytest.raises(AttributeError, match="nothing"):
        integrations.nothing
    check = (
        "import sys, ddtrace_manual.integrations as i; assert 'ddtrace_manual.integrations._futures' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_a_stand_in_for_a_library_counts_as_installed(monkeypatch):
    """A module that a test puts in a library's place has no specification, and can be imported."""
    monkeypatch.setitem(sys.modules, "stand_in", types.ModuleType("stand_in"))
    assert integrations._is_installed("stand_in")
    assert not integrations._is_installed("no_such_library")


@pytest.mark.parametrize("gone", [(), ("grpc",), ("aiohttp", "celery", "grpc", "httpx")])
def test_star_import_gives_what_is_installed(gone):
    """`import *` and `dir()` leave out the names whose library is missing; such a name alone says what is missing."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys({gone!r}))
from ddtrace_manual.integrations import *
import ddtrace_manual.integrations as i
homes = {{name: home for name, home in i._HOMES.items() if i._LIBRARIES.get(home) in {gone!r}}}
assert set(i.__all__) == set(i._HOMES) - set(homes) <= set(globals()) & set(dir(i)), i.__all__
assert not set(homes) & set(dir(i))
for name in homes:
    try:
        getattr(i, name)
    except ImportError as exc:
        assert i._LIBRARIES[homes[name]] in str(exc), exc
    else:
        raise AssertionError(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
