"""A program at full speed while faults come and go: memory, threads and descriptors must stay flat.

python tests/faults/soak.py [--minutes 10] [--load one|threads|tasks] [--write]
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "explanation" / "delivery.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
if __name__ == "__main__":
    sys.path.insert(0, str(HERE))

from fault_agent import FaultAgent  # noqa: E402 - after the path was extended

LOADS = {"one": "one thread", "threads": "50 threads", "tasks": "10,000 asyncio tasks"}
FAULTS = ("absent", "fails", "resets", "silent", "busy", "rubbish", "half_closes")
SETTLE = 0.3
"""Part of the run after which memory must have settled."""
GROWTH_KIB = 12_000
"""The buffer may fill and empty, and an allocator does not give back everything."""


@dataclass
class Soak:
    """What a soak has shown: one sample a second of a program's resources."""

    load: str
    samples: list[dict]
    counters: dict
    accepted: int
    doubled: int
    log_lines: list[str]

    @property
    def settled(self):
        """The samples that are compared: those after memory must have settled, and the last ones."""
        begin = int(len(self.samples) * SETTLE)
        return self.samples[begin : begin + max(3, begin // 2)], self.samples[-max(3, begin) :]

    def problems(self):
        """Return what is wrong, in words."""
        before, after = self.settled
        growth = max(each["rss_kib"] for each in after) - max(each["rss_kib"] for each in before)
        counters = self.counters
        accounted = counters["sent"] + counters["queued"] + sum(counters["dropped"].values())
        checks = {
            f"memory grew by {growth} KiB": growth > GROWTH_KIB,
            "threads grew": after[-1]["threads"] > before[0]["threads"],
            "descriptors leak": min(each["descriptors"] for each in after)
            > max(each["descriptors"] for each in before),
            f"{counters['finished'] - accounted} spans vanished": counters["finished"] != accounted,
            f"{self.accepted} accepted, {counters['sent']} counted": self.accepted != counters["sent"],
            f"{self.doubled} doubled": self.doubled > 0,
            f"{len(self.log_lines)} log lines": len(self.log_lines) > 1 + len(self.samples) / 60,
        }
        return [text for text, is_wrong in checks.items() if is_wrong]


def soak(load, seconds, *, buffer_bytes=8 << 20):
    """Run one soak; faults of 3 seconds alternate with 3 seconds of peace."""
    agent = FaultAgent()
    agent.keeps_spans = False
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        task = {"url": agent.url, "seconds": seconds, "load": load, "buffer": buffer_bytes, "report": str(report)}
        command = [sys.executable, str(HERE / "soak_child.py"), json.dumps(task)]
        try:
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
                try:
                    disturb(agent, child, seconds)
                    _, errors = child.communicate(timeout=60)
                except BaseException:
                    child.kill()
                    raise
            assert child.returncode == 0, errors
            result = json.loads(report.read_text())
        finally:
            agent.close()
    return Soak(
        load=load,
        samples=result["samples"],
        counters=result["counters"],
        accepted=agent.accepted_spans,
        doubled=agent.doubled_payloads,
        log_lines=errors.splitlines(),
    )


def disturb(agent, child, seconds):
    """Let faults come and go until the end is near."""
    pause = min(3.0, seconds / 8)
    end = time.monotonic() + seconds - 2 * pause
    for mode in itertools.cycle(FAULTS):
        time.sleep(pause)
        if time.monotonic() > end or child.poll() is not None:
            break
        agent.set_mode(mode)
        time.sleep(pause)
        agent.set_mode("ok")
    agent.set_mode("ok")


def table(results, minutes):
    """Return the results as Markdown."""
    titles = (
        f"load, {minutes:g} minutes",
        "spans",
        "dropped: buffer full",
        "vanished",
        "doubled",
        "peak MiB at 30 %, at the end",
        "threads",
        "descriptors",
        "log lines",
    )
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for result in results:
        before, after = result.settled
        counters, dropped = result.counters, result.counters["dropped"]
        peaks = [max(each["rss_kib"] for each in part) / 1024 for part in (before, after)]
        spans = {
            name: " to ".join(
                str(number) for number in sorted({pick(each[name] for each in before + after) for pick in (min, max)})
            )
            for name in ("threads", "descriptors")
        }
        vanished = counters["finished"] - result.accepted - sum(dropped.values())
        lines.append(
            f"| {LOADS[result.load]} | {counters['finished']:,} | {dropped.get('overfull_buffer', 0):,} | {vanished}"
            f" | {result.doubled} | {peaks[0]:.1f}, {peaks[1]:.1f} | {spans['threads']} | {spans['descriptors']}"
            f" | {len(result.log_lines)} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of each soak")
    parser.add_argument("--load", choices=LOADS, action="append", help="default: all, one after the other")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/delivery.md")
    args = parser.parse_args()
    failed = False
    results = []
    for load in args.load or LOADS:
        result = soak(load, args.minutes * 60)
        results.append(result)
        problems = result.problems()
        failed = failed or bool(problems)
        last = result.samples[-1]
        sys.stdout.write(f"{load}: {result.counters}, {last}: {'; '.join(problems) or 'well'}\n")
        sys.stdout.flush()
    text = table(results, args.minutes)
    sys.stdout.write(text + "\n")
    if args.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
