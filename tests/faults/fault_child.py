"""A program under load, in a process of its own: traces at a steady rate, then a normal exit.

python fault_child.py '{"url": …, "seconds": 8, "rate": 100, "spans": 5, "report": path}'
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path


def main():
    task = json.loads(sys.argv[1])
    report = {}
    atexit.register(lambda: Path(task["report"]).write_text(json.dumps(finish(report))))
    logging.basicConfig(level=logging.INFO, format="LOG %(levelname)s %(name)s %(message)s")

    import ddtrace_manual as dd

    dd.configure(
        service="load",
        agent_url=task["url"],
        instrumentation_telemetry_enabled=False,
        remote_configuration_enabled=False,
        trace_startup_logs=False,
        **task["settings"],
    )
    gc.freeze()
    report["latencies"] = run(dd, task)
    report["threads"] = threading.active_count()
    report["rss_kib"] = rss_kib()
    report["descriptors"] = len(list(Path("/proc/self/fd").iterdir()))
    report["end"] = time.monotonic()


def run(dd, task):
    """Make traces at the rate; return how long each took the application, in microseconds."""
    latencies = []
    seq = 0
    interval = 1 / task["rate"]
    start = time.monotonic()
    while (now := time.monotonic()) - start < task["seconds"]:
        due = start + len(latencies) * interval
        if due > now:
            time.sleep(due - now)
        before = time.perf_counter_ns()
        with dd.span("root", resource="GET /", kind="server") as root:
            root.set_tag("seq", str(seq))
            for _ in range(task["spans"] - 1):
                seq += 1
                with dd.span("child", tags={"seq": str(seq), "payload": "x" * 50}):
                    pass
        seq += 1
        latencies.append((time.perf_counter_ns() - before) / 1000)
    return latencies


def rss_kib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def finish(report):
    """Add what is known after the shutdown."""
    import ddtrace_manual as dd

    counters = dd.counters()
    report["counters"] = {
        "finished": counters.finished_spans,
        "sent": counters.sent_spans,
        "queued": counters.queued_spans,
        "dropped": dict(counters.dropped_spans),
        "requests": counters.requests,
        "last_error": counters.last_error,
    }
    return report


if __name__ == "__main__":
    main()
