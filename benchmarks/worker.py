"""One run: one library, one workload, in a process of its own. Prints its measurements as one line of JSON.

`compare.py` starts it with the interpreter of the library's environment. Modes:

    cpu      repeat the workload in batches, flushing after each, until enough CPU time is spent
    memory   make many spans as fast as possible, flush, report the highest resident size
    import   time the import alone
    start    time everything up to the first finished span: import, set-up, span
    count    make so many batches, for instructions.py, which counts from outside
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

IMPORTS = {
    "ours": ["ddtrace_manual"],
    "ours_encoders": ["ddtrace_manual"],
    "ours_features": ["ddtrace_manual"],
    "ddtrace_peer": ["ddtrace.trace"],
    "otel_peer": ["opentelemetry.sdk.trace.export", "opentelemetry.exporter.otlp.proto.http.trace_exporter"],
}
"""What a program that traces by hand imports."""


def main() -> None:
    """Run the mode named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=sorted(MODES))
    parser.add_argument("adapter", choices=sorted(IMPORTS))
    parser.add_argument("--workload", default="ten_span")
    parser.add_argument("--spans-each", type=int, default=10, help="spans of one iteration")
    parser.add_argument("--batch", type=int, default=190, help="iterations between two flushes")
    parser.add_argument("--size", type=int, default=0, help="second argument of the workload; 0: it has none")
    parser.add_argument("--threads", type=int, default=0, help="share each batch among threads; 0: main thread")
    parser.add_argument("--set-up", default="set_up", help="function of the adapter that configures the library")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time to spend")
    parser.add_argument("--batches", type=int, default=1, help="batches to make in mode count")
    parser.add_argument("--total", type=int, default=200_000, help="spans to make in mode memory")
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent / "adapters"))
    print(json.dumps(MODES[args.mode](args)))


def measure_cpu(args: argparse.Namespace) -> dict[str, float]:
    """Return µs per span in the application's threads and in the whole process, everything delivered."""
    adapter = importlib.import_module(args.adapter)
    getattr(adapter, args.set_up)()
    run = timed(adapter, args)
    run(args.batch)
    adapter.flush()
    gc.collect()
    gc.freeze()  # what the imports left behind is not collected again and again inside the measurement
    iterations, app_s = 0, 0.0
    begin = time.process_time()
    while time.process_time() - begin < args.seconds:
        app_s += run(args.batch)
        adapter.flush()
        iterations += args.batch
    adapter.shut_down()
    cpu_s = time.process_time() - begin
    spans = iterations * args.spans_each
    return {
        "app_us": app_s / spans * 1e6,
        "cpu_us": cpu_s / spans * 1e6,
        "spans": spans + args.batch * args.spans_each,
    }


def timed(adapter: Any, args: argparse.Namespace) -> Callable[[int], float]:  # Any: a module
    """Return the workload as a function that returns the CPU time of the threads that ran it, in seconds."""
    run = getattr(adapter, args.workload)
    if args.size:
        run = partial(run, size=args.size)

    def timed_run(count: int) -> float:
        before = time.thread_time()
        run(count)
        return time.thread_time() - before

    return Crew(timed_run, args.threads) if args.threads else timed_run


class Crew:
    """Threads that share a batch and run at the same time. They live on between batches.

    Args:
        run: Runs so many iterations and returns their CPU time, in seconds.
        threads: How many.
    """

    def __init__(self, run: Callable[[int], float], threads: int) -> None:
        self._run = run
        self._count = 0
        self._spent_s = [0.0] * threads
        self._begin, self._end = threading.Barrier(threads + 1), threading.Barrier(threads + 1)
        sys.setswitchinterval(1e-4)  # shares are short: by default one thread would be done before the next begins
        for number in range(threads):
            threading.Thread(target=self._work, args=(number,), daemon=True).start()

    def __call__(self, count: int) -> float:
        """Run a batch; return the sum of the threads' CPU times, in seconds."""
        self._count, rest = divmod(count, len(self._spent_s))
        assert not rest, "the batch cannot be shared evenly"
        self._begin.wait()
        self._end.wait()
        return sum(self._spent_s)

    def _work(self, number: int) -> None:
        while True:
            self._begin.wait()
            self._spent_s[number] = self._run(self._count)
            self._end.wait()


def measure_memory(args: argparse.Namespace) -> dict[str, float]:
    """Return the highest resident size in MiB."""
    adapter = importlib.import_module(args.adapter)
    getattr(adapter, args.set_up)()
    run = getattr(adapter, args.workload)
    for _ in range(args.total // (args.spans_each * args.batch)):
        run(args.batch)
    adapter.flush()
    adapter.shut_down()
    spans = args.total // (args.spans_each * args.batch) * args.batch * args.spans_each
    return {"peak_mib": peak_mib(), "spans": spans}


def measure_import(args: argparse.Namespace) -> dict[str, float]:
    """Return the time that the import takes, in ms: passed and spent."""
    wall, cpu = time.perf_counter(), time.process_time()
    for name in IMPORTS[args.adapter]:
        importlib.import_module(name)
    return {"wall_ms": (time.perf_counter() - wall) * 1e3, "cpu_ms": (time.process_time() - cpu) * 1e3}


def measure_start(args: argparse.Namespace) -> dict[str, float]:
    """Return the time up to the first finished traces, in ms: passed and spent."""
    wall, cpu = time.perf_counter(), time.process_time()
    adapter: Any = importlib.import_module(args.adapter)  # Any: a module
    adapter.set_up()
    adapter.ten_span(1)
    return {"wall_ms": (time.perf_counter() - wall) * 1e3, "cpu_ms": (time.process_time() - cpu) * 1e3}


def make_batches(args: argparse.Namespace) -> dict[str, float]:
    """Return how many spans were made and delivered; the same work in every run."""
    adapter = importlib.import_module(args.adapter)
    getattr(adapter, args.set_up)()
    run = timed(adapter, args)
    gc.disable()  # when it runs depends on what was imported
    for _ in range(args.batches):
        run(args.batch)
        adapter.flush()
    adapter.shut_down()
    return {"spans": args.batches * args.batch * args.spans_each}


def peak_mib() -> float:
    """Return the highest resident size of this process in MiB."""
    try:
        # ru_maxrss of a child includes its parent before exec on Linux; VmHWM is this program's own.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return float(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on macOS


MODES = {
    "count": make_batches,
    "cpu": measure_cpu,
    "import": measure_import,
    "memory": measure_memory,
    "start": measure_start,
}

if __name__ == "__main__":
    main()
