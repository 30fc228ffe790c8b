"""`make bench-dependencies`: what our dependencies cost, and what others would bring.

Three tables: which dependency takes which share of the import; the whole process with other msgpack encoders; one
request to the Agent through `requests` and without it.

    python benchmarks/dependencies.py
    python benchmarks/dependencies.py --rounds 9 --write    # and the tables go into the page
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from runs import ROOT, environment, machine, measure, progress, python_of, sink, write_between_markers
from workloads import WORKLOADS, Workload

PAGE = ROOT / "docs" / "explanation" / "dependencies.md"
ENVIRONMENT = ".venv-bench-encoders"

# -- imports -------------------------------------------------------------------------------------------

OWN = "ddtrace_manual"
OWNERS = {
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
    "wrapt": "wrapt",
    "msgpack": "msgpack",
    "requests": "requests",
    "typing_extensions": "typing-extensions",
    OWN: "ourselves",
}
"""Beginning of a module's name → whose import it is; longer beginnings first."""
STEPS = {
    "import": "import ddtrace_manual",
    "first trace delivered": (
        "import ddtrace_manual as dd\ndd.configure(service='bench')\nwith dd.span('a'): pass\nassert dd.flush(30.0)"
    ),
}


def import_shares(url: str, rounds: int) -> dict[str, Counter[str]]:
    """Return step → who → median µs of the modules imported for it."""
    found: dict[str, Counter[str]] = {}
    for step, code in STEPS.items():
        runs = []
        for number in range(rounds):
            progress(f"round {number + 1}/{rounds}: {step}")
            command = [str(python_of("ours")), "-X", "importtime", "-c", code]
            done = subprocess.run(
                command, env=environment(url, Workload("")), capture_output=True, text=True, check=True
            )
            runs.append(shares_of(done.stderr))
        whos = {who for run in runs for who in run}
        found[step] = Counter({who: round(statistics.median(run[who] for run in runs)) for who in whos})
    return found


def shares_of(report: str) -> Counter[str]:
    """Return who → µs, from what `-X importtime` writes.

    The time of a module counts for the dependency that it belongs to, else for the one that imports it first.
    """
    shares: Counter[str] = Counter()
    owners: list[tuple[int, str]] = []  # the modules that are being imported, outermost first: depth and owner
    for line in reversed(report.splitlines()):  # a module is written after those that it imports
        parts = line.removeprefix("import time:").split("|")
        if len(parts) != 3 or not parts[0].strip().isdecimal():
            continue
        depth = len(parts[2]) - len(parts[2].lstrip())
        while owners and owners[-1][0] >= depth:
            owners.pop()
        outer = owners[-1][1] if owners else ""
        owner = owner_of(parts[2].strip()) or outer
        owners.append((depth, owner))
        if owner:
            shares[owner] += int(parts[0])
    return shares


def owner_of(module: str) -> str:
    """Return which dependency a module belongs to, or ""."""
    for beginning, owner in OWNERS.items():
        if module == beginning or module.startswith((beginning + ".", beginning + "_")):
            return owner
    return ""


def import_table(shares: dict[str, Counter[str]]) -> list[str]:
    """Return the table of shares."""
    lines = ["| of the time spent importing | " + " | ".join(shares) + " |", "|---|" + "---|" * len(shares)]
    first = next(iter(shares.values()))
    totals = {step: sum(found.values()) for step, found in shares.items()}
    for who in sorted(set().union(*shares.values()), key=lambda each: -first[each]):
        cells = [f"{found[who] / totals[step]:.0%}" if found[who] else "-" for step, found in shares.items()]
        lines.append(f"| {who} | {' | '.join(cells)} |")
    relative = [f"{total / totals['import']:.2f}" for total in totals.values()]
    return [*lines, f"| all, compared with the import | {' | '.join(relative)} |"]


# -- encoders ------------------------------------------------------------------------------------------

ENCODERS = {"ormsgpack": "with_ormsgpack", "msgspec": "with_msgspec"}
ENCODED = {
    "ten spans, ordinary ones": WORKLOADS["ten-span"],
    "spans with an event": Workload("", function="children_event", spans_each=100, batch=100),
    "client spans": Workload("", function="children_client", spans_each=100, batch=100),
    "ten spans as v0.5": replace(WORKLOADS["ten-span"], environ={"DD_TRACE_API_VERSION": "v0.5"}),
    "ten spans as v1.0": replace(WORKLOADS["ten-span"], environ={"DD_TRACE_API_VERSION": "v1.0"}),
}

Ratios = dict[str, dict[str, list[float]]]
"""Row → column → a ratio for each round."""


def encoder_ratios(url: str, rounds: int, seconds: float) -> Ratios:
    """Return workload → encoder → whole process divided by that with `msgpack`."""
    found: Ratios = {title: {name: [] for name in ENCODERS} for title in ENCODED}

    def run(workload: Workload, set_up: str) -> float:
        measured = measure(url, workload, "ours", seconds, adapter="ours_encoders", set_up=set_up, venv=ENVIRONMENT)
        return measured["cpu_us"]

    for number in range(rounds):
        for title, workload in ENCODED.items():
            progress(f"round {number + 1}/{rounds}: {title}")
            usual = run(workload, "")
            for name, set_up in ENCODERS.items():
                faster = set_up if "as v" in title or name != "ormsgpack" else "with_ormsgpack_text_keys"
                found[title][name].append(run(workload, faster) / usual)
    return found


# -- requests ------------------------------------------------------------------------------------------

BODY = b"x" * 50_000
HEADERS = {
    "Content-Type": "application/msgpack",
    "Datadog-Meta-Lang": "python",
    "Datadog-Meta-Tracer-Version": "0.1.0",
    "X-Datadog-Trace-Count": "100",
}
EXCHANGES = 200


def exchange_ratios(url: str, rounds: int) -> Ratios:
    """Return way → new or kept connection → CPU time of one exchange, answer read, divided by that of `requests`.

    The last row is that of `requests` divided by the whole process for 1,000 spans.
    """
    spans = Workload("", batch=100)
    found: Ratios = {}
    for number in range(rounds):
        thousand_us = measure(url, spans, "ours", 0.5)["cpu_us"] * 1000
        for column, kept in (("new connection (default)", False), ("kept connection", True)):
            costs = {}
            for name, exchange in ways(url, kept=kept).items():
                progress(f"round {number + 1}/{rounds}: {name}")
                costs[name] = cpu_us(exchange)
            rows = {f"`{name}` alone": cost / costs["requests"] for name, cost in costs.items() if name != "requests"}
            rows["`requests`, compared with all that 1,000 spans cost"] = costs["requests"] / thousand_us
            for row, ratio in rows.items():
                found.setdefault(row, {}).setdefault(column, []).append(ratio)
    return found


def ways(url: str, *, kept: bool) -> dict[str, Callable[[], Any]]:
    """Return ways to post a body and read the answer."""
    import urllib3

    from ddtrace_manual._agent.exchange import Exchanger

    where = urlsplit(url)
    host, port = str(where.hostname), where.port
    headers = HEADERS if kept else {**HEADERS, "Connection": "close"}
    exchanger = Exchanger(None, 1 << 20, reuse_connections=kept)
    pool = urllib3.HTTPConnectionPool(host, port, maxsize=1)
    connection = http.client.HTTPConnection(host, port, timeout=2.0)

    def through_requests() -> None:
        exchanger.exchange("POST", url + "/nothing", BODY, headers, 2.0)

    def through_urllib3() -> None:
        used = pool if kept else urllib3.HTTPConnectionPool(host, port, maxsize=1)
        answer = used.urlopen("POST", "/nothing", BODY, headers, retries=False, redirect=False, timeout=2.0)
        assert answer.data == b"{}"
        if not kept:
            used.close()

    def through_http_client() -> None:
        connection.request("POST", "/nothing", BODY, headers)
        assert connection.getresponse().read() == b"{}"
        if not kept:
            connection.close()

    return {"requests": through_requests, "urllib3": through_urllib3, "http.client": through_http_client}


def cpu_us(exchange: Callable[[], Any]) -> float:
    """Return the CPU time of one call, in µs."""
    for _ in range(10):
        exchange()
    begin = time.process_time()
    for _ in range(EXCHANGES):
        exchange()
    return (time.process_time() - begin) / EXCHANGES * 1e6


# -- sketches ------------------------------------------------------------------------------------------


def sketch_ratios(rounds: int) -> Ratios:
    """Return the time of counting with our sketch divided by that with `ddsketch`, of the same kind and accuracy."""
    from ddsketch import LogCollapsingLowestDenseDDSketch

    from ddtrace_manual._encoding.sketch import LatencySketch

    durations = [1000 + number * 7919 % 1_000_000 for number in range(20_000)]
    ratios = []
    for _ in range(rounds):
        ours, theirs = LatencySketch(), LogCollapsingLowestDenseDDSketch(1 / 129, 2048)
        ratios.append(counting_s(ours.add, durations) / counting_s(theirs.add, durations))
    return {"counting a duration": {"ratio": ratios}}


def counting_s(add: Callable[[float], None], durations: list[int]) -> float:
    """Return the CPU time of counting, in seconds, the shortest of five."""
    times = []
    for _ in range(5):
        begin = time.process_time()
        for duration in durations:
            add(duration)
        times.append(time.process_time() - begin)
    return min(times)


# -- all -----------------------------------------------------------------------------------------------


def ratio_table(title: str, ratios: Ratios) -> list[str]:
    """Return a table of medians, each with half its range."""
    columns = list(next(iter(ratios.values())))
    lines = [f"| {title} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for row, by_column in ratios.items():
        cells = [f"{statistics.median(all_):.2f} ±{(max(all_) - min(all_)) / 2:.2f}" for all_ in by_column.values()]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    """Measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7, help="runs of each")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time of a run")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/explanation/dependencies.md")
    args = parser.parse_args()
    with sink() as url:
        tables = {
            "imports": import_table(import_shares(url, args.rounds)),
            "encoders": ratio_table(
                "whole process, compared with `msgpack`", encoder_ratios(url, args.rounds, args.seconds)
            ),
            "exchanges": ratio_table(
                "one request with 50 kB, compared with `requests` as used here", exchange_ratios(url, args.rounds)
            ),
            "sketches": ratio_table("our sketch, compared with `ddsketch`", sketch_ratios(args.rounds)),
        }
    progress("")
    print(f"{machine()}; medians of {args.rounds} rounds")
    for name, lines in tables.items():
        text = "\n".join(lines)
        print(f"\n{text}")
        if args.write:
            write_between_markers(PAGE, name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
