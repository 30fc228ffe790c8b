"""One run: one library, one workload, in a process of its own. Prints its measurements as one line of JSON.

`compare.py` starts it with the interpreter of the library's environment. Modes:

    cpu      repeat the workload in batches, flushing after each, until enough CPU time is spent
    memory   make many spans as fast as possible, flush, report the highest resident size
    import   time the import alone
    start    time everything up to the first finished span: import, set-up, span
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

IMPORTS = {
    "ours": ["ddtrace_manual"],
    "ddtrace_peer": ["ddtrace.trace"],
    "otel_peer": ["opentelemetry.sdk.trace.export", "opentelemetry.exporter.otlp.proto.http.trace_exporter"],
}
"""What a program that traces by hand imports."""


def main() -> None:
    """Run the mode named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["cpu", "memory", "import", "start"])
    parser.add_argument("adapter", choices=sorted(IMPORTS))
    parser.add_argument("--workload", default="ten_span")
    parser.add_argument("--spans-each", type=int, default=10, help="spans of one iteration")
    parser.add_argument("--batch", type=int, default=190, help="iterations between two flushes")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time to spend")
    parser.add_argument("--total", type=int, default=200_000, help="spans to make in mode memory")
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent / "adapters"))
    measure = {"cpu": measure_cpu, "memory": measure_memory, "import": measure_import, "start": measure_start}
    print(json.dumps(measure[args.mode](args)))


def measure_cpu(args: argparse.Namespace) -> dict[str, float]:
    """Return µs per span in the application's thread and in the whole process, everything delivered."""
    adapter = importlib.import_module(args.adapter)
    adapter.set_up()
    run = getattr(adapter, args.workload)
    run(args.batch)
    adapter.flush()
    gc.collect()
    gc.freeze()  # what the imports left behind is not collected again and again inside the measurement
    iterations, app_s = 0, 0.0
    begin = time.process_time()
    while time.process_time() - begin < args.seconds:
        before = time.thread_time()
        run(args.batch)
        app_s += time.thread_time() - before
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


def measure_memory(args: argparse.Namespace) -> dict[str, float]:
    """Return the highest resident size in MiB."""
    adapter = importlib.import_module(args.adapter)
    adapter.set_up()
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


def peak_mib() -> float:
    """Return the highest resident size of this process in MiB."""
    try:
        # ru_maxrss of a child includes its parent before exec on Linux; VmHWM is this program's own.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return float(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on macOS


if __name__ == "__main__":
    main()
