"""`make bench-instructions`: count instructions instead of time, which a busy machine does not disturb.

Each library makes a few batches under valgrind, and then some more; the difference is what the further batches took:
the whole process, everything delivered, without start and end. An instruction of compiled code and one of the
interpreter do not take the same time, so compare a library with itself, and libraries only roughly.

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
from dataclasses import replace

from runs import HERE, LIBRARIES, PEERS, TITLES, environment, progress, python_of, received_spans, sink
from workloads import WORKLOADS, Workload

COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")
FEW, MORE = 1, 4
LAYOUT = "{:<24}{:>16}{:>16}{:>16}{:>16}{:>16}"


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
    print(LAYOUT.format("instructions/span", *TITLES.values(), *(f"ours/{TITLES[peer]}" for peer in PEERS)))
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
            cells = [f"{counted[library]:,.0f}" if library in counted else "-" for library in LIBRARIES]
            both = [peer in counted and "ours" in counted for peer in PEERS]
            cells += [
                f"{counted['ours'] / counted[peer]:.3f}" if known else "-"
                for peer, known in zip(PEERS, both, strict=True)
            ]
            print(LAYOUT.format(name, *cells), flush=True)
    return 0


def per_span(url: str, workload: Workload, command: list[str]) -> float:
    """Return the instructions that one span takes."""
    command = [*command, "--workload", workload.function, "--spans-each", str(workload.spans_each)]
    command += ["--batch", str(workload.batch), "--size", str(workload.size), "--threads", str(workload.threads)]
    few, more = (instructions(url, workload, [*command, "--batches", str(batches)]) for batches in (FEW, MORE))
    return (more - few) / ((MORE - FEW) * workload.batch * workload.spans_each)


def instructions(url: str, workload: Workload, command: list[str]) -> int:
    """Return the instructions of one process.

    Raises:
        RuntimeError: The process failed, or lost spans that must not be lost.
    """
    progress(" ".join(command[2:]))
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    environ = {**environment(url, workload), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*valgrind, *command], env=environ, capture_output=True, text=True, check=False)
    found = COUNTED.search(done.stderr)
    received = received_spans(url)
    if done.returncode or found is None:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    if workload.delivers and received < json.loads(done.stdout.splitlines()[-1])["spans"]:
        raise RuntimeError(f"{' '.join(command)}: only {received} spans arrived")
    return int(found[1].replace(",", ""))


if __name__ == "__main__":
    sys.exit(main())
