"""`make bench-instructions`: count instructions instead of time, which a busy machine does not disturb.

Each library makes a few batches under valgrind, and then some more; the difference is what the further batches took,
everything delivered, without start and end: the application's thread, and the whole process. An instruction of compiled
code and one of the interpreter do not take the same time, so compare a library with itself, and libraries only roughly.

    python benchmarks/instructions.py ten-span trace-1000
    python benchmarks/instructions.py ten-span --only ours --adapter ours_encoders --set-up with_msgspec
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from runs import HERE, LIBRARIES, PEERS, TITLES, environment, progress, python_of, received_spans, sink
from workloads import WORKLOADS, Workload

TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
MAIN_THREAD = "01"
FEW, MORE = 1, 4
APPLICATION, PROCESS = "application thread", "whole process"
LAYOUT = "{:<20}{:<20}{:>14}{:>14}{:>14}{:>14}{:>14}"

Counts = dict[str, float]
"""Of the application's thread, when that is the main one, and of the whole process."""


def main() -> int:
    """Count, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    countable = [name for name, workload in WORKLOADS.items() if workload.mode == "cpu"]
    parser.add_argument("workloads", nargs="*", default=["ten-span"], help=f"of: {', '.join(countable)}")
    parser.add_argument("--only", action="append", choices=sorted(LIBRARIES), help="count only this library")
    parser.add_argument("--adapter", default="", help="module with the workloads, when it is another one")
    parser.add_argument("--function", default="", help="function of it, when it is another one with as many spans")
    parser.add_argument("--set-up", default="set_up", help="function of it that configures the library")
    parser.add_argument("--venv", default="", help="environment, when it is another than the library's")
    args = parser.parse_args()
    unknown = sorted(set(args.workloads) - set(countable))
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(countable)}")
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed")
    print(LAYOUT.format("instructions/span", "", *TITLES.values(), *(f"ours/{TITLES[peer]}" for peer in PEERS)))
    with sink() as url:
        for name in args.workloads:
            workload = WORKLOADS[name]
            workload = replace(workload, function=args.function or workload.function)
            counted = {}
            for library in args.only or LIBRARIES:
                command = [str(python_of(library, args.venv)), str(HERE / "worker.py"), "count"]
                command += [args.adapter or library, "--set-up", args.set_up]
                counted[library] = per_span(url, workload, command)
            progress("")
            for what in next(iter(counted.values())):
                print(LAYOUT.format(name, what, *cells(what, counted)), flush=True)
    return 0


def cells(what: str, counted: dict[str, Counts]) -> list[str]:
    """Return the counts of the libraries and our ratios, as far as they are known."""
    values = {library: counts[what] for library, counts in counted.items()}
    ratios = {peer: values["ours"] / values[peer] for peer in PEERS if peer in values and "ours" in values}
    return [f"{values[library]:,.0f}" if library in values else "-" for library in LIBRARIES] + [
        f"{ratios[peer]:.3f}" if peer in ratios else "-" for peer in PEERS
    ]


def per_span(url: str, workload: Workload, command: list[str]) -> Counts:
    """Return the instructions that one span takes."""
    command = [*command, "--workload", workload.function, "--spans-each", str(workload.spans_each)]
    command += ["--batch", str(workload.batch), "--size", str(workload.size), "--threads", str(workload.threads)]
    few, more = (instructions(url, workload, [*command, "--batches", str(batches)]) for batches in (FEW, MORE))
    spans = (MORE - FEW) * workload.batch * workload.spans_each
    return {what: (count - few[what]) / spans for what, count in more.items()}


def instructions(url: str, workload: Workload, command: list[str]) -> Counts:
    """Return the instructions of one process.

    Raises:
        RuntimeError: The process failed, or lost spans that must not be lost.
    """
    progress(" ".join(command[2:]))
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--fair-sched=yes"]
        valgrind.append(f"--callgrind-out-file={folder}/thread")
        environ = {**environment(url, workload), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([*valgrind, *command], env=environ, capture_output=True, text=True, check=False)
        by_thread = {path.name.rpartition("-")[2]: total_of(path) for path in Path(folder).glob("thread-*")}
    received = received_spans(url)
    if done.returncode or MAIN_THREAD not in by_thread:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    if workload.delivers and received < json.loads(done.stdout.splitlines()[-1])["spans"]:
        raise RuntimeError(f"{' '.join(command)}: only {received} spans arrived")
    counts: Counts = {} if workload.threads else {APPLICATION: by_thread[MAIN_THREAD]}
    return counts | {PROCESS: sum(by_thread.values())}


def total_of(path: Path) -> int:
    """Return the instructions of a thread, from what valgrind wrote about it; 0 for one that did nothing."""
    found = TOTALS.search(path.read_text(encoding="utf-8", errors="replace"))
    return int(found[1]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
