"""Runs a program under load against a misbehaving Agent and counts what arrives; writes the table of the docs.

python tests/faults/fault_runs.py [--seconds 20] [--only NAME] [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from fault_agent import FaultAgent

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "explanation" / "delivery.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
SPANS = 5


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and for which part of the run (0.0-1.0)."""

    mode: str
    text: str
    begins: float = 0.15
    ends: float = 0.65
    settings: dict = field(default_factory=dict)
    may_double: bool = False
    """The Agent accepts a payload without the client hearing of it in time."""
    is_for_ever: bool = False


FAULTS = (
    Fault("ok", "none"),
    Fault("absent", "not there when the program starts", begins=0.0, ends=0.5),
    Fault("absent", "refuses connections for a while"),
    Fault("restart", "restarts on the same port", ends=0.3),
    Fault("silent", "accepts and never answers"),
    Fault("fills", "accepts and never reads: socket buffers fill"),
    Fault("late", "answers after 1 s"),
    Fault("too_late", "answers after 3 s, later than the timeout", may_double=True),
    Fault("resets", "resets the connection in the middle of the body"),
    Fault("half_closes", "reads all, closes its half without an answer"),
    Fault("rubbish", "answers rubbish"),
    Fault("wrong_length", "announces a longer answer than it sends"),
    Fault("redirects", "redirects"),
    Fault("trickles", "answers one byte at a time"),
    Fault("busy", "429"),
    Fault("busy_for_a_second", "429 with `Retry-After: 1`"),
    Fault("fails", "500"),
    Fault("absent", "never there", begins=0.0, ends=9.0, is_for_ever=True),
    Fault("silent", "never answers, up to the exit", ends=9.0, is_for_ever=True),
    Fault("absent", "gone for good", ends=9.0, is_for_ever=True),
)


@dataclass
class Row:
    """What was measured."""

    fault: Fault
    sent: int
    accepted: int
    doubled: int
    p50_us: float
    p99_us: float
    log_lines: list[str]
    exit_s: float
    report: dict

    @property
    def lost(self):
        return self.sent - self.accepted


def run(fault, *, seconds, rate=100):
    """Run one fault; the child gets a hard timeout."""
    begins = fault.begins * seconds
    agent = FaultAgent(mode=fault.mode if begins == 0 else "ok")
    try:
        with tempfile.TemporaryDirectory() as folder:
            report_path = Path(folder) / "report.json"
            task = {
                "url": agent.url,
                "seconds": seconds,
                "rate": rate,
                "spans": SPANS,
                "report": str(report_path),
                "settings": fault.settings,
            }
            command = [sys.executable, str(HERE / "fault_child.py"), json.dumps(task)]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as child:
                try:
                    play(agent, fault, seconds)
                    _, errors = child.communicate(timeout=seconds + 30)
                except BaseException:
                    child.kill()
                    raise
            ended = time.monotonic()
            assert child.returncode == 0, errors
            report = json.loads(report_path.read_text())
    finally:
        agent.close()
    latencies = report["latencies"]
    return Row(
        fault=fault,
        sent=len(latencies) * SPANS,
        accepted=len(agent.accepted),
        doubled=sum(agent.accepted.values()) - len(agent.accepted),
        p50_us=statistics.median(latencies),
        p99_us=steady_p99(latencies),
        log_lines=errors.splitlines(),
        exit_s=ended - report["end"],
        report=report,
    )


def steady_p99(latencies):
    """Return the median of the 99th percentiles of ten slices of time: other programs of the machine disturb a few."""
    size = max(1, len(latencies) // 10)
    slices = [sorted(latencies[start : start + size]) for start in range(0, len(latencies), size)]
    return statistics.median(each[int(len(each) * 0.99)] for each in slices)


def play(agent, fault, seconds):
    """Let the fault begin and end; the child needs a moment to start, which shifts its end a little."""
    begins, ends = fault.begins * seconds, fault.ends * seconds
    if fault.mode == "ok":
        return
    time.sleep(begins + 0.3)
    agent.set_mode(fault.mode)
    if fault.is_for_ever:
        return
    time.sleep(ends - begins)
    agent.set_mode("ok")


def table(rows):
    """Return the rows as Markdown."""
    base = rows[0]
    lines = [
        "| the Agent … | spans | lost | doubled | p50 added, µs | p99 added, µs | log lines | exit, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        added = [f"{row.p50_us:.0f} (total)", f"{row.p99_us:.0f} (total)"]
        if row is not base:
            added = [f"{row.p50_us - base.p50_us:+.0f}", f"{row.p99_us - base.p99_us:+.0f}"]
        lines.append(
            f"| {row.fault.text} | {row.sent} | {row.lost} | {row.doubled} | {added[0]} | {added[1]}"
            f" | {len(row.log_lines)} | {row.exit_s:.1f} |"
        )
    return "\n".join(lines)


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run")
    parser.add_argument("--only", default="", help="faults whose text contains this")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/delivery.md")
    args = parser.parse_args()
    rows = []
    for fault in FAULTS:
        if args.only in fault.text or fault.mode == "ok":
            rows.append(run(fault, seconds=args.seconds))
            row = rows[-1]
            say(
                f"{fault.text}: sent {row.sent}, lost {row.lost}, doubled {row.doubled}, p99 {row.p99_us:.0f} µs,"
                f" exit {row.exit_s:.1f} s, {row.report['counters']}"
            )
            for line in row.log_lines:
                say(f"    {line}")
    text = table(rows)
    say(text)
    if args.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
