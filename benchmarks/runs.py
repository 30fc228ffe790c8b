"""One run after the other, each a process of its own, all of them sending to one local sink."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workloads import Workload

__all__ = [
    "HERE",
    "LIBRARIES",
    "PEERS",
    "RESULTS",
    "ROOT",
    "TITLES",
    "environment",
    "machine",
    "measure",
    "progress",
    "python_of",
    "received_spans",
    "sink",
    "spread",
    "versions",
    "write_between_markers",
]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"

LIBRARIES = {"ours": ".venv-bench-ours", "ddtrace_peer": ".venv-bench-ddtrace", "otel_peer": ".venv-bench-otel"}
"""Adapter and environment."""
PEERS = ("ddtrace_peer", "otel_peer")
TITLES = {"ours": "ours", "ddtrace_peer": "ddtrace", "otel_peer": "otel"}


def measure(
    url: str, workload: Workload, library: str, seconds: float, *, adapter: str = "", set_up: str = "", venv: str = ""
) -> dict[str, float]:
    """Do one run in a process of its own; add which share of its spans the sink received.

    One that fails is reported and repeated once, because a table takes long.

    Args:
        url: Address of the sink.
        workload: What to run.
        library: Whose environment to run in.
        seconds: CPU time to spend.
        adapter: Module with the functions, when it is another than the library's.
        set_up: Function of it that configures the library, when it is another than `set_up`.
        venv: Environment, when it is another than the library's.

    Raises:
        RuntimeError: It failed, or lost spans that must not be lost, twice.
    """
    command = [str(python_of(library, venv)), str(HERE / "worker.py"), workload.mode, adapter or library]
    command += ["--workload", workload.function, "--spans-each", str(workload.spans_each)]
    command += ["--batch", str(workload.batch), "--size", str(workload.size), "--threads", str(workload.threads)]
    command += ["--seconds", str(seconds), "--set-up", set_up or "set_up"]
    what = f"{library}, {workload.title}"
    try:
        return _measure_once(url, workload, command, what)
    except RuntimeError as exc:
        print(f"\n{exc}\nonce more", file=sys.stderr)
        return _measure_once(url, workload, command, what)


def _measure_once(url: str, workload: Workload, command: list[str], what: str) -> dict[str, float]:
    done = subprocess.run(
        command, env=environment(url, workload), capture_output=True, text=True, timeout=300, check=False
    )
    received = received_spans(url)
    if done.returncode:
        raise RuntimeError(f"{what}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if "spans" in measured:
        measured["delivered"] = received / measured["spans"]
        if workload.delivers and measured["delivered"] < 1:
            raise RuntimeError(f"{what}: only {measured['delivered']:.1%} of the spans arrived")
    return measured


def received_spans(url: str) -> int:
    """Return how many spans the sink received since it was last asked."""
    with urllib.request.urlopen(f"{url}/sink/spans", timeout=120) as answer:
        count: int = json.load(answer)["spans"]
    return count


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


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median with the lowest and highest value, and all values."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "runs": values}


def python_of(library: str, venv: str = "") -> Path:
    """Return the interpreter of a library's environment, or of another one."""
    return ROOT / (venv or LIBRARIES[library]) / "bin" / "python"


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
        code = f"from importlib.metadata import version; print(version({packages[library]!r}))"
        done = subprocess.run([str(python_of(library)), "-c", code], capture_output=True, text=True, check=True)
        found[library] = done.stdout.strip()
    return found


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """Run the sink for the duration of a block; yield its address."""
    command = [str(python_of("ours")), str(HERE / "sink.py")]
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


def write_between_markers(page: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name: begin -->` and `<!-- name: end -->` in a page.

    Raises:
        RuntimeError: The page has no such markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found_begin, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise RuntimeError(f"{page} has no markers {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
    print(f"written into {page.relative_to(ROOT)}")
