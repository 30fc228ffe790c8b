"""The program that is soaked: as many traces as it can make, from one thread, 50 threads or 10,000 tasks."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

THREADS = 50
TASKS = 10_000


def main():
    task = json.loads(sys.argv[1])
    samples = []
    atexit.register(lambda: Path(task["report"]).write_text(json.dumps({"samples": samples, "counters": totals()})))
    logging.basicConfig(level=logging.INFO, format="LOG %(levelname)s %(name)s %(message)s")

    import ddtrace_manual as dd

    dd.configure(
        service="soak",
        agent_url=task["url"],
        instrumentation_telemetry_enabled=False,
        remote_configuration_enabled=False,
        trace_startup_logs=False,
        trace_writer_buffer_size_bytes=task["buffer"],
    )
    end = time.monotonic() + task["seconds"]
    threading.Thread(target=watch, args=(samples, end), daemon=True).start()
    {"one": run_one, "threads": run_threads, "tasks": run_tasks}[task["load"]](dd, end)


def trace(dd):
    """Make one trace of five spans; a pause keeps the machine usable."""
    with dd.span("root", resource="GET /", kind="server", tags={"seq": "", "user": "x" * 20}):
        for _ in range(4):
            with dd.span("child", tags={"seq": "", "number": 1}):
                pass


def run_one(dd, end):
    while time.monotonic() < end:
        for _ in range(20):
            trace(dd)
        time.sleep(0.002)


def run_threads(dd, end):
    def load():
        while time.monotonic() < end:
            trace(dd)
            time.sleep(0.01)

    threads = [threading.Thread(target=load) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_tasks(dd, end):
    async def load(index):
        await asyncio.sleep(index / TASKS)
        while time.monotonic() < end:
            trace(dd)
            await asyncio.sleep(2)

    async def run():
        await asyncio.gather(*(load(index) for index in range(TASKS)))

    asyncio.run(run())


def watch(samples, end):
    """Note the resources of this process once a second, or a few times in a short run."""
    pause = min(1.0, (end - time.monotonic()) / 10)
    while time.monotonic() < end - pause:
        time.sleep(pause)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        samples.append(
            {
                "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
                "threads": threading.active_count(),
                "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            }
        )


def totals():
    import ddtrace_manual as dd

    counters = dd.counters()
    return {
        "finished": counters.finished_spans,
        "sent": counters.sent_spans,
        "queued": counters.queued_spans,
        "dropped": dict(counters.dropped_spans),
        "last_error": counters.last_error,
    }


if __name__ == "__main__":
    main()
