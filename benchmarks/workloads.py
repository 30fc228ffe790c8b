"""What `make bench` measures: the table of workloads, their goals and settings.

The functions are in `adapters/`, one file for each library; worker.py runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["METRICS", "RULES", "WORKLOADS", "Goal", "Workload"]

Goal = tuple[float | None, float | None]
"""Highest ratio to ddtrace and to OpenTelemetry; `None`: no goal."""

METRICS = {
    "app_us": "application thread, µs/span",
    "cpu_us": "whole process CPU, µs/span",
    "wall_ms": "wall time, ms",
    "cpu_ms": "CPU time, ms",
    "peak_mib": "peak resident size, MiB",
}


@dataclass(frozen=True)
class Workload:
    """One row group of the table.

    Attributes:
        title: What the table says.
        mode: See worker.py.
        function: Name in the adapters.
        spans_each: Spans (or operations) of one iteration.
        batch: Iterations between two flushes: about 10,000 spans, what a busy process makes between two sends.
        size: Second argument of the function, for those that exist in several sizes; 0: it takes one only.
        threads: Threads that share a batch and run at the same time; 0: the main thread.
        goals: Metric → goal.
        environ: Further settings for every library.
        delivers: Whether the spans must all reach the sink.
        repeats: Runs of each library in a round: more where a goal is near, because the machine's clock is not steady.
        compared_with: Another workload; the table says how cost and ratios grow from there to here.
        flat: Highest growth of our cost; `None`: no goal.
        steady: Highest growth of our ratios to the peers; `None`: no goal.
    """

    title: str
    mode: str = "cpu"
    function: str = "ten_span"
    spans_each: int = 10
    batch: int = 1000
    size: int = 0
    threads: int = 0
    goals: dict[str, Goal] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    delivers: bool = True
    repeats: int = 1
    compared_with: str = ""
    flat: float | None = None
    steady: float | None = None


RULES = '[{"service":"other","sample_rate":0.1},{"resource":"GET /*","sample_rate":1.0}]'

_UNBOUNDED = {
    # 100,000 spans wait at once: more than anybody's buffers hold by default.
    "DD_TRACE_WRITER_BUFFER_SIZE_BYTES": str(1 << 28),
    "OTEL_BSP_MAX_QUEUE_SIZE": "131072",
}

_GROWTH_NOISE = 1.15
"""What two measurements of the same may differ by: growth above it is growth."""


def _trace_of(spans: int) -> Workload:
    """Return the workload of traces of so many spans; 100,000 spans between two flushes, whatever their size."""
    return Workload(
        f"traces of {spans:,} spans: a root and its children",
        function="wide",
        spans_each=spans,
        batch=100_000 // spans,
        size=spans,
        environ=_UNBOUNDED,
        compared_with="" if spans == 10 else "trace-10",
        flat=None if spans == 10 else _GROWTH_NOISE,
    )


def _flushed_every(spans: int) -> Workload:
    """Return the ten spans with so many spans between two flushes."""
    return Workload(f"ten spans, {spans:,} spans between two flushes", batch=spans // 10, environ=_UNBOUNDED, repeats=3)


def _in_threads(threads: int) -> Workload:
    """Return the ten spans made by so many threads at once."""
    return Workload(
        f"ten spans, made by {threads} thread{'s at once' if threads > 1 else ''}",
        batch=1024,
        threads=threads,
        repeats=2,
        compared_with="" if threads == 1 else "threads-1",
        steady=None if threads == 1 else _GROWTH_NOISE,
    )


WORKLOADS = {
    "ten-span": Workload(
        "ten spans, two attributes each",
        goals={"app_us": (0.25, 0.10), "cpu_us": (0.40, 0.10)},
        repeats=3,
    ),
    "ten-span-resources": Workload("ten spans, each with a resource name too", function="ten_span_resources"),
    "ten-span-otel": Workload(
        "ten spans through the OpenTelemetry API",
        function="ten_span_otel_api",
        goals={"app_us": (0.30, 0.15), "cpu_us": (0.45, 0.15)},
        repeats=3,
    ),
    "ten-span-rules": Workload(
        "ten spans, sampling rules and statistics on",
        environ={
            "DD_TRACE_SAMPLING_RULES": RULES,
            "DD_TRACE_RATE_LIMIT": "1000000",
            "DD_TRACE_STATS_COMPUTATION_ENABLED": "true",
        },
    ),
    "ten-span-bare": Workload(
        "ten spans, statistics off everywhere", environ={"DD_TRACE_STATS_COMPUTATION_ENABLED": "false"}
    ),
    "flush-1000": _flushed_every(1_000),
    "flush-100000": _flushed_every(100_000),
    "trace-10": _trace_of(10),
    "trace-1000": _trace_of(1_000),
    "trace-100000": _trace_of(100_000),
    "threads-1": _in_threads(1),
    "threads-8": _in_threads(8),
    "threads-64": _in_threads(64),
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
