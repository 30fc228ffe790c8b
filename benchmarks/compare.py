"""`make bench`: measure ddtrace_manual, ddtrace and the OpenTelemetry SDK side by side.

Each measurement is a process of its own in the library's own environment; runs alternate between the
libraries; all export to one local sink in another process. What is measured and how to read it:
docs/explanation/performance.md.

    python benchmarks/compare.py                      # everything
    python benchmarks/compare.py ten-span inject --rounds 3
    python benchmarks/compare.py --check              # exit code 1 when a goal is missed
    python benchmarks/compare.py --write              # and the ratios go into the page
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from runs import (
    LIBRARIES,
    PEERS,
    RESULTS,
    ROOT,
    TITLES,
    machine,
    measure,
    progress,
    sink,
    spread,
    versions,
    write_between_markers,
)
from workloads import METRICS, WORKLOADS

LATEST = RESULTS / "latest.json"
PAGE = ROOT / "docs" / "explanation" / "performance.md"


def main() -> int:
    """Measure, print the table, write the JSON file."""
    args = arguments()
    if not args.markdown:
        names = args.workloads or list(WORKLOADS)
        libraries = args.only or list(LIBRARIES)
        with sink() as url:
            runs = measure_all(url, names, libraries, args.rounds, args.seconds)
        report = {"machine": machine(), "versions": versions(libraries), "workloads": summarise(runs)}
        print_table(report)
        report = with_earlier(report, args.output)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"\nwritten to {args.output}")
    else:
        report = json.loads(args.output.read_text(encoding="utf-8"))
        print(markdown(report))
    if args.write:
        write_between_markers(PAGE, "bench", markdown(report))
    return 1 if args.check and not goals_met(report) else 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("workloads", nargs="*", help=f"of: {', '.join(WORKLOADS)}")
    parser.add_argument(
        "--rounds", type=int, default=5, help="runs of each library; some workloads have several in each"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time of a run")
    parser.add_argument("--only", action="append", choices=sorted(LIBRARIES), help="measure only this library")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--output", type=Path, default=LATEST)
    parser.add_argument("--markdown", action="store_true", help="measure nothing: print the last ratios for a page")
    parser.add_argument("--write", action="store_true", help="write the ratios into docs/explanation/performance.md")
    args = parser.parse_args()
    unknown = sorted(set(args.workloads) - set(WORKLOADS))
    if unknown:
        parser.error(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    if args.write and args.only:
        parser.error("a page needs the ratios to all libraries: --write goes without --only")
    return args


Runs = dict[str, dict[str, list[dict[str, float]]]]
"""Workload → library → what each run measured."""


def measure_all(url: str, names: list[str], libraries: list[str], rounds: int, seconds: float) -> Runs:
    """Run every workload with every library, alternating: a slow minute of the machine hits all alike."""
    runs: Runs = {name: {library: [] for library in libraries} for name in names}
    for number in range(rounds):
        for name in names:
            for turn in range(number, number + WORKLOADS[name].repeats):
                for library in libraries[turn % len(libraries) :] + libraries[: turn % len(libraries)]:
                    progress(f"round {number + 1}/{rounds}: {name}, {TITLES[library]}")
                    runs[name][library].append(measure(url, WORKLOADS[name], library, seconds))
    progress("")
    return runs


def summarise(runs: Runs) -> dict[str, Any]:
    """Return medians, spread, ratios and growth of every metric."""
    summary: dict[str, Any] = {}
    for name, by_library in runs.items():
        workload = WORKLOADS[name]
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
            "title": workload.title,
            "metrics": values,
            "ratios": {metric: ratios(values[metric]) for metric in metrics},
            "growth": {},
            "delivered": delivered if workload.mode == "memory" else {},
            "goals": {metric: dict(zip(PEERS, goal, strict=True)) for metric, goal in workload.goals.items()},
        }
        if workload.compared_with in summary:
            summary[name]["growth"] = growth(summary[workload.compared_with]["metrics"], values)
    return summary


def ratios(by_library: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return our value divided by each peer's: the median of the ratios of runs made one after the other."""
    if "ours" not in by_library:
        return {}
    ours: list[float] = by_library["ours"]["runs"]
    return {
        peer: statistics.median(mine / theirs for mine, theirs in zip(ours, by_library[peer]["runs"], strict=True))
        for peer in PEERS
        if peer in by_library
    }


def growth(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return metric → library → its median divided by its median in another workload."""
    return {
        metric: {library: value["median"] / before[metric][library]["median"] for library, value in by_library.items()}
        for metric, by_library in after.items()
    }


def with_earlier(report: dict[str, Any], output: Path) -> dict[str, Any]:
    """Add what the last report has of workloads not measured now, if it is of this machine and these versions."""
    if not output.exists():
        return report
    earlier = json.loads(output.read_text(encoding="utf-8"))
    if any(earlier[key] != report[key] for key in ("machine", "versions")):
        return report
    known = earlier["workloads"] | report["workloads"]
    return {**report, "workloads": {name: known[name] for name in WORKLOADS if name in known}}


def goals_met(report: dict[str, Any]) -> bool:
    """Tell whether no ratio is above its goal and nothing grows more than it may."""
    within = [
        goal is None or workload["ratios"].get(metric, {}).get(peer, 0.0) <= goal
        for workload in report["workloads"].values()
        for metric, goals in workload["goals"].items()
        for peer, goal in goals.items()
    ]
    for name, workload in report["workloads"].items():
        flat, steady = WORKLOADS[name].flat, WORKLOADS[name].steady
        for grown in workload["growth"].values():
            ours = grown.get("ours", 0.0)
            within.append(flat is None or ours <= flat)
            within += [steady is None or ours / grown[peer] <= steady for peer in PEERS if peer in grown]
    return all(within)


LAYOUT = "{:<34}{:>18}{:>16}{:>16}{:>20}{:>20}"


def print_table(report: dict[str, Any]) -> None:
    """Print one line for each workload and metric: medians ± half the range, ratios, goals; then growth."""
    versions = ", ".join(f"{TITLES[library]} {text}" for library, text in report["versions"].items())
    print(f"{report['machine']}\n{versions}\n")
    print(LAYOUT.format("", "ours", "ddtrace", "otel", "ours/ddtrace", "ours/otel"))
    for name, workload in report["workloads"].items():
        print(f"{name}: {workload['title']}")
        for metric, by_library in workload["metrics"].items():
            cells = [format_spread(by_library.get(library)) for library in LIBRARIES]
            goals = workload["goals"].get(metric, {})
            found = workload["ratios"][metric]
            cells += [format_ratio(found.get(peer), goals.get(peer)) for peer in PEERS]
            print(LAYOUT.format("  " + METRICS[metric], *cells))
        for metric, grown in workload["growth"].items():
            print_growth(name, metric, grown)
        if workload["delivered"]:
            cells = [
                f"{workload['delivered'][library]:.0%}" if library in workload["delivered"] else "-"
                for library in LIBRARIES
            ]
            print(LAYOUT.format("  delivered", *cells, "", ""))


def print_growth(name: str, metric: str, grown: dict[str, float]) -> None:
    """Print how cost and ratios grow from the workload that this one is compared with."""
    workload = WORKLOADS[name]
    what = "thread" if metric == "app_us" else "process"
    cells = [format_growth(grown.get(library), workload.flat if library == "ours" else None) for library in LIBRARIES]
    cells += [
        format_growth(grown["ours"] / grown[peer] if peer in grown and "ours" in grown else None, workload.steady)
        for peer in PEERS
    ]
    print(LAYOUT.format(f"  {what}, growth from {workload.compared_with}", *cells))


def markdown(report: dict[str, Any]) -> str:
    """Return the ratios as a table for the README and the performance page."""
    versions = report["versions"]
    rounds = {
        len(value["runs"])
        for workload in report["workloads"].values()
        for by_library in workload["metrics"].values()
        for value in by_library.values()
    }
    lines = [
        f"{report['machine']}; medians of {' to '.join(map(str, sorted({min(rounds), max(rounds)})))} runs.",
        "",
        f"| | ddtrace {versions['ddtrace_peer']} | OpenTelemetry SDK {versions['otel_peer']} |",
        "|---|---|---|",
    ]
    for workload in report["workloads"].values():
        for metric, found in workload["ratios"].items():
            what = METRICS[metric].split(",")[0]
            cells = [format_plain(found[peer], workload["goals"].get(metric, {}).get(peer)) for peer in PEERS]
            lines.append(f"| {workload['title']}: {what} | {' | '.join(cells)} |")
        if arrived := workload["delivered"]:
            cells = [f"{arrived[peer]:.0%} arrived" for peer in PEERS]
            lines.append(f"| the same: {arrived['ours']:.0%} of ours arrived | {' | '.join(cells)} |")
    grown = [
        (WORKLOADS[name].compared_with, name, metric, workload["growth"][metric])
        for name, workload in report["workloads"].items()
        for metric in workload["growth"]
    ]
    if grown:
        lines += ["", "| cost of a span, divided | | ours | ddtrace | OpenTelemetry SDK |", "|---|---|---|---|---|"]
    for before, name, metric, by_library in grown:
        cells = [f"{by_library[library]:.2f}" for library in LIBRARIES]
        lines.append(f"| `{name}` / `{before}` | {METRICS[metric].split(',')[0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


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


def format_growth(factor: float | None, goal: float | None) -> str:
    """Return by what cost or ratio is multiplied, and whether it may be."""
    if factor is None:
        return "-"
    if goal is None:
        return f"x{factor:.2f}"
    return f"x{factor:.2f} ({'<=' if factor <= goal else 'OVER'} {goal:.2f})"


def format_plain(ratio: float, goal: float | None) -> str:
    """Return a ratio for a page, with its goal when it has one."""
    return f"{ratio:.2f}" if goal is None else f"{ratio:.2f} (goal {goal:.2f})"


if __name__ == "__main__":
    sys.exit(main())
