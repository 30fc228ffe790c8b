"""Decorated functions in other processes and interpreters."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

MODULE = """
import ddtrace_manual as dd

@dd.traced
def double(value):
    return value * 2

class Shop:
    @dd.traced
    def sell(self, value):
        return value + 1

@dd.traced("class")
class Traced:
    def work(self, value):
        return value + 2

async def later(value):
    return value

later = dd.traced(later)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that child processes can import."""
    (tmp_path / "traced_in_child.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import traced_in_child

    yield traced_in_child
    del sys.modules["traced_in_child"]


@pytest.mark.parametrize("method", sorted({"spawn", "forkserver"} & set(multiprocessing.get_all_start_methods())))
def test_process_pools(module, method):
    """Functions and methods can be sent to a process pool, as their twins can."""
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        futures = [pool.submit(call, 3) for call in (module.double, module.Shop().sell, module.Traced().work)]
        assert [future.result() for future in futures] == [6, 4, 5]


def test_import_and_decoration_do_nothing_else():
    """Importing and decorating start no thread, load no HTTP client and set no OpenTelemetry provider."""
    code = (
        "import threading, sys\n"
        "import ddtrace_manual as dd\n"
        "from opentelemetry import trace\n"
        "work = dd.traced(lambda: 1)\n"
        "assert work() == 1\n"
        "assert threading.active_count() == 1\n"
        "assert 'requests' not in sys.modules\n"
        "assert trace._TRACER_PROVIDER is None\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
