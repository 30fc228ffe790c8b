"""`make bench`: measure ddtrace_manual, ddtrace and the OpenTelemetry SDK side by side.

Each measurement is a process of its own in the library's own environment; runs alternate between the
libraries; all export to one local sink in another process. What is measured and how to read it:
docs/explanation/performance.md.

    python benchmarks/compare.py                      # everything
    python benchmarks/compare.py ten-span inject --rounds 3
    python benchmarks/compare.py --check              # exit code 1 when a goal is missed
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "latest.json"

LIBRARIES = {"ours": ".venv-bench-ours", "ddtrace_peer": ".venv-bench-ddtrace", "otel_peer": ".venv-bench-otel"}
"""Adapter and environment."""
PEERS = ("ddtrace_peer", "otel_peer")
TITLES = {"ours": "ours", "ddtrace_peer": "ddtrace", "otel_peer": "otel"}

Goal = tuple[float | None, float | None]
"""Highest ratio to ddtrace and to OpenTelemetry; `None`: no goal."""


@dataclass(frozen=True)
class Workload:
    """One row group of the table.

    Attributes:
        title: What the table says.
        mode: See worker.py.
        function: Name in the adapters.
        spans_each: Spans (or operations) of one iteration.
        batch: Iterations between two flushes: about 10,000 spans, what a busy process makes between two sends.
        goals: Metric → goal.
        environ: Further settings for every library.
        delivers: Whether the spans must all reach the sink.
    """

    title: str
    mode: str = "cpu"
    function: str = "ten_span"
    spans_each: int = 10
    batch: int = 1000
    goals: dict[str, Goal] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    delivers: bool = True


_RULES = '[{"service":"other","sample_rate":0.1},{"resource":"GET /*","sample_rate":1.0}]'

WORKLOADS = {
    "ten-span": Workload(
        "ten spans, two attributes each",
        goals={"app_us": (0.25, 0.10), "cpu_us": (0.40, 0.10)},
    ),
    "ten-span-resources": Workload("ten spans, each with a resource name too", function="ten_span_resources"),
    "ten-span-otel": Workload(
        "ten spans through the OpenTelemetry API",
        function="ten_span_otel_api",
        goals={"app_us": (0.30, 0.15), "cpu_us": (0.45, 0.15)},
    ),
    "ten-span-rules": Workload(
        "ten spans, sampling rules and statistics on",
        environ={
            "DD_TRACE_SAMPLING_RULES": _RULES,
            "DD_TRACE_RATE_LIMIT": "1000000",
            "DD_TRACE_STATS_COMPUTATION_ENABLED": "true",
        },
    ),
    "ten-span-bare": Workload(
        "ten spans, statistics off everywhere", environ={"DD_TRACE_STATS_COMPUTATION_ENABLED": "false"}
    ),
    "traced": Workload(
        "decorated no-op function, inside a span",
        function="traced_nested",
        spans_each=100,
        batch=100,
        goals={"app_us": (0.30, None)},
    ),
    "traced-root": Workload(
        "decorated no-op function, each call a trace",
        function="traced_root",
        spans_each=1,
        batch=10_000,
        goals={"app_us": (0.30, None)},
    ),
    "traced-method": Workload("decorated method", function="traced_method", spans_each=100, batch=100),
    "traced-generator": Workload(
        "decorated generator of ten steps", function="traced_generator", spans_each=10, batch=1000
    ),
    "traced-async": Workload("decorated coroutine function", function="traced_async", spans_each=100, batch=100),
    "traced-arguments": Workload(
        "decorated function, two arguments recorded (by us only)",
        function="traced_arguments",
        spans_each=100,
        batch=100,
    ),
    "event-exception": Workload(
        "span with an event and an exception", function="event_and_exception", spans_each=1, batch=1900
    ),
    "inject": Workload(
        "inject headers", function="inject", spans_each=1, batch=2000, goals={"app_us": (0.60, None)}, delivers=False
    ),
    "extract": Workload(
        "extract headers", function="extract", spans_each=1, batch=2000, goals={"app_us": (0.60, None)}, delivers=False
    ),
    "wsgi": Workload("WSGI request through the middleware", function="wsgi_request", spans_each=1, batch=1900),
    "asgi": Workload("ASGI request through the middleware", function="asgi_request", spans_each=1, batch=1900),
    "asyncio": Workload("32 asyncio tasks, a span each", function="asyncio_tasks", spans_each=33, batch=300),
    "import": Workload("import", mode="import", goals={"cpu_ms": (0.60, None)}, delivers=False),
    "start": Workload("import, set-up and first trace", mode="start", delivers=False),
    "memory": Workload(
        "200,000 spans as fast as possible", mode="memory", goals={"peak_mib": (1.0, None)}, delivers=False
    ),
}

METRICS = {
    "app_us": "application thread, µs/span",
    "cpu_us": "whole process CPU, µs/span",
    "wall_ms": "wall time, ms",
    "cpu_ms": "CPU time, ms",
    "peak_mib": "peak resident size, MiB",
}


def main() -> int:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("workloads", nargs="*", help=f"of: {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each library and workload")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time of a run")
    parser.add_argument("--only", action="append", choices=sorted(LIBRARIES), help="measure only this library")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--markdown", action="store_true", help="measure nothing: print the last ratios for a page")
    args = parser.parse_args()
    if args.markdown:
        print_markdown(json.loads(args.output.read_text(encoding="utf-8")))
        return 0
    unknown = sorted(set(args.workloads) - set(WORKLOADS))
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    names = args.workloads or list(WORKLOADS)
    libraries = args.only or list(LIBRARIES)
    with sink() as url:
        runs = measure_all(url, names, libraries, args.rounds, args.seconds)
    report = {"machine": machine(), "versions": versions(libraries), "workloads": summarise(runs)}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print_table(report)
    print(f"\nwritten to {args.output}")
    return 1 if args.check and not goals_met(report) else 0


Runs = dict[str, dict[str, list[dict[str, float]]]]
"""Workload → library → what each run measured."""


def measure_all(url: str, names: list[str], libraries: list[str], rounds: int, seconds: float) -> Runs:
    """Run every workload with every library, alternating: a slow minute of the machine hits all alike."""
    runs: Runs = {name: {library: [] for library in libraries} for name in names}
    for number in range(rounds):
        for name in names:
            for library in libraries[number % len(libraries) :] + libraries[: number % len(libraries)]:
                progress(f"round {number + 1}/{rounds}: {name}, {TITLES[library]}")
                runs[name][library].append(measure(url, WORKLOADS[name], library, seconds))
    progress("")
    return runs


def measure(url: str, workload: Workload, library: str, seconds: float) -> dict[str, float]:
    """Do one run in a process of its own; add which share of its spans the sink received.

    Raises:
        RuntimeError: The run failed, or spans were lost that must not be.
    """
    python = ROOT / LIBRARIES[library] / "bin" / "python"
    command = [str(python), str(HERE / "worker.py"), workload.mode, library]
    command += ["--workload", workload.function, "--spans-each", str(workload.spans_each)]
    command += ["--batch", str(workload.batch), "--seconds", str(seconds)]
    done = subprocess.run(
        command, env=environment(url, workload), capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{library}, {workload.title}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    with urllib.request.urlopen(f"{url}/sink/spans", timeout=120) as answer:
        received = json.load(answer)["spans"]
    if "spans" in measured:
        measured["delivered"] = received / measured["spans"]
        if workload.delivers and measured["delivered"] < 1:
            raise RuntimeError(f"{library}, {workload.title}: only {measured['delivered']:.1%} of the spans arrived")
    return measured


def environment(url: str, workload: Workload) -> dict[str, str]:
    """Return the environment of a run: defaults, the sink's address, and no side business for anybody."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_", "PYTHON"))}
    return {
        **inherited,
        "DD_TRACE_AGENT_URL": url,
        "DD_SERVICE": "bench",
        "DD_ENV": "bench",
        "DD_VERSION": "1.0",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "DD_RUNTIME_METRICS_ENABLED": "false",
        "DD_CRASHTRACKING_ENABLED": "false",
        "DD_TRACE_STARTUP_LOGS": "false",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_MAX_QUEUE_SIZE": "16384",  # its default, 2,048, would drop most of a batch
        "PYTHONHASHSEED": "0",
        **workload.environ,
    }


def summarise(runs: Runs) -> dict[str, Any]:
    """Return medians, spread and ratios of every metric."""
    summary: dict[str, Any] = {}
    for name, by_library in runs.items():
        metrics = [metric for metric in METRICS if metric in next(iter(by_library.values()))[0]]
        values = {
            metric: {library: spread([run[metric] for run in those]) for library, those in by_library.items()}
            for metric in metrics
        }
        delivered = {
            library: min(run["delivered"] for run in those)
            for library, those in by_library.items()
            if "delivered" in those[0]
        }
        summary[name] = {
            "title": WORKLOADS[name].title,
            "metrics": values,
            "ratios": {metric: ratios(values[metric]) for metric in metrics},
            "delivered": delivered if WORKLOADS[name].mode == "memory" else {},
            "goals": {metric: dict(zip(PEERS, goal, strict=True)) for metric, goal in WORKLOADS[name].goals.items()},
        }
    return summary


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median with the lowest and highest value, and all values."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "runs": values}


def ratios(by_library: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return our median divided by each peer's."""
    if "ours" not in by_library:
        return {}
    ours: float = by_library["ours"]["median"]
    return {peer: ours / by_library[peer]["median"] for peer in PEERS if peer in by_library}


def goals_met(report: dict[str, Any]) -> bool:
    """Tell whether no ratio is above its goal."""
    return all(
        goal is None or workload["ratios"].get(metric, {}).get(peer, 0.0) <= goal
        for workload in report["workloads"].values()
        for metric, goals in workload["goals"].items()
        for peer, goal in goals.items()
    )


def print_table(report: dict[str, Any]) -> None:
    """Print one line for each workload and metric: medians ± half the range, ratios, goals."""
    versions = ", ".join(f"{TITLES[library]} {text}" for library, text in report["versions"].items())
    print(f"{report['machine']}\n{versions}\n")
    head = ["", "ours", "ddtrace", "otel", "ours/ddtrace", "ours/otel"]
    layout = "{:<34}{:>16}{:>16}{:>16}{:>20}{:>20}"
    print(layout.format(*head))
    for name, workload in report["workloads"].items():
        print(f"{name}: {workload['title']}")
        for metric, by_library in workload["metrics"].items():
            cells = [format_spread(by_library.get(library)) for library in LIBRARIES]
            goals = workload["goals"].get(metric, {})
            found = workload["ratios"][metric]
            cells += [format_ratio(found.get(peer), goals.get(peer)) for peer in PEERS]
            print(layout.format("  " + METRICS[metric], *cells))
        if workload["delivered"]:
            cells = [
                f"{workload['delivered'][library]:.0%}" if library in workload["delivered"] else "-"
                for library in LIBRARIES
            ]
            print(layout.format("  delivered", *cells, "", ""))


def print_markdown(report: dict[str, Any]) -> None:
    """Print the ratios as a table for the README and the performance page."""
    versions = report["versions"]
    print(f"| {report['machine']} | ddtrace {versions['ddtrace_peer']} | OpenTelemetry SDK {versions['otel_peer']} |")
    print("|---|---|---|")
    for workload in report["workloads"].values():
        for metric, found in workload["ratios"].items():
            what = METRICS[metric].split(",")[0]
            print(f"| {workload['title']}: {what} | {found['ddtrace_peer']:.2f} | {found['otel_peer']:.2f} |")


def format_spread(value: dict[str, Any] | None) -> str:
    """Return a median and half its range."""
    if value is None:
        return "-"
    digits = 2 if value["median"] < 100 else 0
    return f"{value['median']:.{digits}f} ±{(value['high'] - value['low']) / 2:.{digits}f}"


def format_ratio(ratio: float | None, goal: float | None) -> str:
    """Return a ratio, and whether it meets its goal."""
    if ratio is None:
        return "-"
    if goal is None:
        return f"{ratio:.2f}"
    return f"{ratio:.3f} ({'<=' if ratio <= goal else 'OVER'} {goal:.2f})"


def machine() -> str:
    """Return what the measurements were made on."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, IndexError):
        model = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("model name\t: ")[1].split("\n")[0]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {platform.system()}, {os.cpu_count()} x {model}"


def versions(libraries: list[str]) -> dict[str, str]:
    """Return the version of each library, as its environment has it."""
    packages = {"ours": "ddtrace-manual", "ddtrace_peer": "ddtrace", "otel_peer": "opentelemetry-sdk"}
    found = {}
    for library in libraries:
        python = ROOT / LIBRARIES[library] / "bin" / "python"
        code = f"from importlib.metadata import version; print(version({packages[library]!r}))"
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
        found[library] = done.stdout.strip()
    return found


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """Run the sink for the duration of a block; yield its address."""
    python = ROOT / LIBRARIES["ours"] / "bin" / "python"
    command = [str(python), str(HERE / "sink.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()


def progress(text: str) -> None:
    """Show what is running, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
