"""Decorated functions, sent to other processes by every pickler: they arrive decorated, with their options."""

from __future__ import annotations

import copy
import importlib
import multiprocessing
import pickle
import subprocess
import sys

import pytest

import ddtrace_manual as dd

SCRIPT = """
import asyncio, contextlib, importlib, subprocess, sys
import ddtrace_manual as dd

options = dict(service="billing", resource=lambda args: f"order {args['order']}", tags={"team": "a"}, capture_return=True)

@dd.traced("function", **options)
def function(order, note="-"):
    return order

@dd.traced("plain")
def plain(order, note="-"):
    return order

@dd.traced("coroutine", **options)
async def coroutine(order, note="-"):
    return order

@dd.traced("generator", **options)
def generator(order, note="-"):
    yield order

@dd.traced("async generator", **options)
async def async_generator(order, note="-"):
    yield order

@dd.traced("manager", **options)
@contextlib.contextmanager
def manager(order, note="-"):
    yield order

class Adder:
    def __call__(self, order):
        return order

instance = dd.traced("instance", service="billing")(Adder())
anonymous = dd.traced("lambda", **options)(lambda order: order)

class Shop:
    @dd.traced("method", **options)
    def sell(self, order):
        return order

method = Shop().sell

@dd.traced("recursive", **options)
def recursive(order):
    return order if order == 7 else recursive(order + 1)

pickler = importlib.import_module(sys.argv[1])
names = ["function", "plain", "coroutine", "generator", "async_generator", "manager", "instance", "anonymous", "method",
         "recursive"]
sys.stdout.buffer.write(pickler.dumps({name: globals()[name] for name in names}))
"""

READER = """
import asyncio, importlib, sys
import ddtrace_manual as dd
from ddtrace_manual._base.context import get_current
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._tracing import TracerProvider

finished = []
engine = TracerProvider(shutdown_on_exit=False).engine
engine.hooks.export = lambda _segment, chunk, *, partial: finished.extend(chunk)
RUNTIME.use_engine(engine)
loaded = importlib.import_module(sys.argv[1]).loads(sys.stdin.buffer.read())

async def drain(steps):
    return [item async for item in steps]

def call(name, function):
    made = function(7)
    if name == "coroutine":
        return asyncio.run(made)
    if name == "generator":
        return list(made)[0]
    if name == "async_generator":
        return asyncio.run(drain(made))[0]
    if name == "manager":
        with made as value:
            assert dd.current_span().operation_name == "manager"
            return value
    return made

for name, function in loaded.items():
    assert call(name, function) == 7, name
    span = finished.pop()
    assert not finished
    assert span.operation_name == {"async_generator": "async generator", "anonymous": "lambda"}.get(
        name, name), span.operation_name
    if name != "plain":
        assert span.service == "billing", name
    if name not in ("plain", "instance"):
        assert span.values["resource.name"] == "order 7", name
        assert span.values["team"] == "a", name
    assert not get_current(), name
if sys.argv[1] == "dill":  # which leaves out globals of the main program, decorated or not
    sys.exit()
assert loaded["recursive"](5) == 7
assert [span.values["resource.name"] for span in finished] == ["order 7", "order 6", "order 5"]
"""


@pytest.mark.parametrize("pickler", ["cloudpickle", "dill"])
def test_functions_of_the_main_program_are_sent_by_value(tmp_path, pickler):
    """What `__main__` defines, a lambda among it, arrives in a process that does not know the program."""
    (tmp_path / "program.py").write_text(SCRIPT)
    (tmp_path / "reader.py").write_text(READER)
    sent = subprocess.run(
        [sys.executable, "-W", "ignore", "program.py", pickler], cwd=tmp_path, check=True, capture_output=True
    )
    subprocess.run([sys.executable, "reader.py", pickler], cwd=tmp_path, check=True, input=sent.stdout)


@dd.traced("by name", service="s")
def by_name(value):
    return value


@dd.traced("coroutine", service="s")
async def by_name_later(value):
    return value


@dd.traced("steps", service="s")
def by_name_steps(value):
    yield value


@dd.traced("async steps", service="s")
async def by_name_async_steps(value):
    yield value


IMPORTABLE = [by_name, by_name_later, by_name_steps, by_name_async_steps]


@pytest.mark.parametrize("pickler", ["pickle", "cloudpickle", "dill"])
@pytest.mark.parametrize("function", IMPORTABLE)
def test_importable_functions_are_sent_by_name(pickler, function):
    """A function that can be imported is the same object again."""
    module = importlib.import_module(pickler)
    assert module.loads(module.dumps(function)) is function


@pytest.mark.parametrize("function", IMPORTABLE)
def test_copies_are_the_function(function):
    """Copying a function gives the function."""
    assert copy.copy(function) is copy.deepcopy([function])[0] is function


@pytest.mark.parametrize("pickler", ["cloudpickle", "dill"])
def test_under_another_name(spans, pickler):
    """Where the name leads to the undecorated function, the function is sent by value."""
    module = importlib.import_module(pickler)
    again = module.loads(module.dumps(dd.traced("other", service="s")(_undecorated)))
    assert again(3) == 3
    assert spans.one("other").service == "s"


def _undecorated(value):
    return value


POOL = """
import multiprocessing, sys
import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._tracing import TracerProvider

@dd.traced("work", service="s")
def work(value):
    span = dd.current_span()
    return getattr(span, "operation_name", None), span.service, value

def configure():
    RUNTIME.use_engine(TracerProvider(shutdown_on_exit=False).engine)

if __name__ == "__main__":
    if sys.argv[1] == "joblib":
        import joblib
        [got] = joblib.Parallel(n_jobs=2)([joblib.delayed(lambda value: (configure(), work(value))[1])(3)])
    else:
        with multiprocessing.get_context(sys.argv[1]).Pool(1, configure) as pool:
            [got] = pool.map(work, [3])
    assert got == ("work", "s", 3), got
"""


@pytest.mark.parametrize("method", [*multiprocessing.get_all_start_methods(), "joblib"])
def test_pools(tmp_path, method):
    """A function of the main program is traced in the processes of a pool, however they start."""
    program = tmp_path / "pool_program.py"
    program.write_text(POOL)
    subprocess.run([sys.executable, "-W", "ignore", str(program), method], check=True, timeout=60)


def test_pickle_refuses_what_it_cannot_find():
    """`pickle` sends functions by name only, as everywhere: under another name it raises instead of losing the span."""
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(dd.traced("other")(_undecorated))
