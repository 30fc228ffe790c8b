"""`make profile`: where the time of one of our workloads goes, by function.

    python benchmarks/profile_ours.py ten-span

cProfile makes small functions look dearer than they are: use it to find candidates, `make bench` to judge.
"""

from __future__ import annotations

import contextlib
import cProfile
import importlib
import os
import pstats
import sys
import threading
import time
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE / "adapters"))

import runs  # noqa: E402 - its folder is known only now
import workloads  # noqa: E402 - likewise

SPANS, BATCHES = 500_000, 50
"""As many batches are made as have so many spans, and no more than so many."""


def main() -> None:
    """Profile the application's thread, then everything that runs on the library's own threads."""
    name = sys.argv[1] if len(sys.argv) > 1 else "ten-span"
    workload = workloads.WORKLOADS[name]
    with runs.sink() as url:
        os.environ.update(runs.environment(url, workload))
        # CPU time of the thread: waiting does not count.
        application, background = cProfile.Profile(time.thread_time), cProfile.Profile(time.thread_time)
        # Python 3.12 and later allow one profiler at a time: there the other threads are left out.
        threading.setprofile(_start_once(background))
        adapter = importlib.import_module("ours")
        adapter.set_up()
        run = getattr(adapter, workload.function)
        if workload.size:
            run = partial(run, size=workload.size)
        run(workload.batch)
        adapter.flush()
        for _ in range(min(BATCHES, SPANS // (workload.batch * workload.spans_each))):
            application.enable()
            run(workload.batch)
            application.disable()
            adapter.flush()
        adapter.shut_down()
    for title, profile in (("application thread", application), ("own threads", background)):
        print(f"\n{name}: {title}")
        profile.create_stats()
        if profile.stats:  # type: ignore[attr-defined]  # missing in the stubs
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def _start_once(profile: cProfile.Profile) -> object:
    """Return a profile hook that hands its thread over to `profile`."""

    def hook(*_: object) -> None:
        sys.setprofile(None)
        with contextlib.suppress(ValueError):  # another profiler is active
            profile.enable()

    return hook


if __name__ == "__main__":
    main()
