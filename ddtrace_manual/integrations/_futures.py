"""The current context, carried into other threads, processes and tasks.

Python gives a new thread an empty context and a task a copy of the current one. So without these
helpers spans in a thread or a worker process begin traces of their own, and spans of a task that
outlives its creator become late children of an ended span.

What is carried is OpenTelemetry's current context as a whole (current span, baggage), and between
processes what headers carry. A helper takes the context when work is handed over: at `submit`,
`start`, or when `wrap` is called.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from typing_extensions import ParamSpec, Unpack

from ddtrace_manual._api.propagate import continue_trace, inject
from ddtrace_manual._api.scope import span
from ddtrace_manual._base.context import get_current, set_current

if TYPE_CHECKING:
    from contextvars import Context as ContextVars

    from ddtrace_manual._model.types import SpanOptions

__all__ = [
    "ContextExecutor",
    "ContextProcessPoolExecutor",
    "ContextThread",
    "ContextThreadPoolExecutor",
    "create_linked_task",
    "run_in_executor",
    "wrap",
    "wrap_for_process",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def wrap(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a callable that runs `fn` in the context that is current now, wherever it is called.

    Works for functions and coroutine functions, and for any number of calls, also at the same time.
    The caller's own context is current again afterwards.

    Args:
        fn: What to run. For a generator function use `traced`: its body runs where it is consumed.

    Raises:
        TypeError: Not callable, or a generator function.

    Example:
        >>> threading.Timer(5.0, wrap(refresh)).start()
    """
    _check(fn)
    context = get_current()
    if _is_async(fn):

        @functools.wraps(fn)
        async def run_async(*args: _P.args, **kwargs: _P.kwargs) -> Any:  # Any: what the coroutine returns
            previous = get_current()
            set_current(context)
            try:
                return await cast("Callable[_P, Coroutine[Any, Any, Any]]", fn)(*args, **kwargs)
            finally:
                set_current(previous)

        return cast("Callable[_P, _R]", run_async)

    @functools.wraps(fn)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        previous = get_current()
        set_current(context)
        try:
            return fn(*args, **kwargs)
        finally:
            set_current(previous)

    return run


def wrap_for_process(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a picklable callable that continues the current trace in the process where it is called.

    There, tracing must have been configured: it is in a forked child of a configured process; a
    spawned one calls `configure()` itself, for example in the executor's `initializer`.

    Args:
        fn: What to run; must be picklable itself.

    Raises:
        TypeError: Not callable, or a generator or coroutine function.
    """
    _check(fn)
    if _is_async(fn):
        raise TypeError(f"a coroutine cannot be sent to another process: {fn!r}")
    return _Continued(fn, inject({}))


class _Continued(Generic[_P, _R]):
    """A function and the headers of the trace that it continues; see `wrap_for_process`."""

    def __init__(self, fn: Callable[_P, _R], headers: Mapping[str, str]) -> None:
        self._fn = fn
        self._headers = headers

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with continue_trace(self._headers):
            return self._fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"wrap_for_process({self._fn!r})"


def _check(fn: object) -> None:
    if not callable(fn):
        raise TypeError(f"expected a callable, not {type(fn).__name__}")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"the body of a generator runs where it is consumed; decorate it with traced: {fn!r}")


def _is_async(fn: object) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


class ContextThreadPoolExecutor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose work runs in the context of whoever submitted it.

    `submit`, `map` and `loop.run_in_executor` all take the context; spans of the work are children of
    the span that was current.
    """

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        """Schedule a call; see `ThreadPoolExecutor.submit`."""
        return super().submit(wrap(fn), *args, **kwargs)


class ContextProcessPoolExecutor(ProcessPoolExecutor):
    """A `ProcessPoolExecutor` whose work continues the trace of whoever submitted it.

    See `wrap_for_process` for what the worker processes need. `map` with a `chunksize` takes the
    context once for all.
    """

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        """Schedule a call; see `ProcessPoolExecutor.submit`."""
        return super().submit(wrap_for_process(fn), *args, **kwargs)


class ContextExecutor(Executor):
    """Any executor, with work that runs in the context of whoever submitted it.

    For executors that somebody else made. Shutting this down shuts down the executor behind it.

    Args:
        executor: Gets the work; if it is a `ProcessPoolExecutor`, headers are carried (`wrap_for_process`).
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._wrap = _wrapper_for(executor)

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        """Schedule a call; see `concurrent.futures.Executor.submit`."""
        return self._executor.submit(self._wrap(fn), *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # as its base
        """Shut down the executor behind; see `concurrent.futures.Executor.shutdown`."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def _wrapper_for(executor: Executor | None) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return how to wrap work for an executor; what wraps by itself gets it as it is."""
    if isinstance(executor, (ContextExecutor, ContextProcessPoolExecutor, ContextThreadPoolExecutor)):
        return _as_it_is
    return wrap_for_process if isinstance(executor, ProcessPoolExecutor) else wrap


def _as_it_is(fn: Callable[_P, _R]) -> Callable[_P, _R]:
    return fn


def run_in_executor(executor: Executor | None, fn: Callable[..., _R], *args: Any) -> asyncio.Future[_R]:
    """Run a function in an executor and in the current context; `loop.run_in_executor` loses the context.

    `asyncio.to_thread` needs no help: it carries the context.

    Args:
        executor: `None` for the default one of the running loop.
        fn: What to run.
        *args: Its arguments. Any: they are of every type.

    Raises:
        RuntimeError: No event loop is running.
    """
    return asyncio.get_running_loop().run_in_executor(executor, _wrapper_for(executor)(fn), *args)


class ContextThread(threading.Thread):
    """A `threading.Thread` that runs in the context that was current when it was started.

    Also for subclasses that override `run`.
    """

    def start(self) -> None:
        """Start the thread; see `threading.Thread.start`."""
        work = wrap(self.run)

        def run() -> None:
            self.__dict__.pop("run", None)  # the thread would keep itself alive
            work()

        self.__dict__["run"] = run
        super().start()


def create_linked_task(
    coro: Coroutine[Any, Any, _R],  # Any: what a coroutine is sent and yields
    name: str | None = None,
    *,
    task_name: str | None = None,
    context: ContextVars | None = None,
    **options: Unpack[SpanOptions],
) -> asyncio.Task[_R]:
    """Start a task in a trace of its own that is linked to the current span, instead of being its child.

    For work that outlives what started it: its trace is complete by itself, and the trace of the
    starter does not wait for it. The whole task is one span. Keep the returned task, as for
    `asyncio.create_task`.

    Args:
        coro: What to run.
        name: Operation name of the task's span; default: the qualified name of the coroutine.
        task_name: Name of the task.
        context: As for `asyncio.create_task`; needs Python 3.11.
        **options: See `SpanOptions`.

    Raises:
        ConfigurationError: An option is unknown or of the wrong type.
        RuntimeError: No event loop is running.
        TypeError: Not a coroutine.
    """
    if not asyncio.iscoroutine(coro):
        raise TypeError(f"expected a coroutine, not {type(coro).__name__}")
    options["new_trace"] = True
    scope = span(name or str(getattr(coro, "__qualname__", "task")), **options)

    async def run() -> _R:
        async with scope:
            return await coro

    extra: dict[str, Any] = {} if context is None else {"context": context}  # Any: an argument of newer Pythons
    task = asyncio.get_running_loop().create_task(run(), name=task_name, **extra)
    # A task that is cancelled before its first step never awaits the coroutine.
    task.add_done_callback(lambda _task: coro.close())
    return task
