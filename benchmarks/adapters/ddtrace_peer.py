"""The workloads in `ddtrace`, through its own API."""

from __future__ import annotations

import asyncio

from ddtrace.propagation.http import HTTPPropagator
from ddtrace.trace import tracer

HEADERS = {
    "x-datadog-trace-id": "1234567890123456789",
    "x-datadog-parent-id": "9876543211390095793",
    "x-datadog-sampling-priority": "1",
    "x-datadog-tags": "_dd.p.dm=-0,_dd.p.tid=67f2a1b300000000",
    "traceparent": "00-67f2a1b300000000112210f47de98115-891087b8fbb3d1b1-01",
    "tracestate": "dd=s:1;p:891087b8fbb3d1b1;t.dm:-0",
    "host": "shop.example",
    "accept": "*/*",
}


def set_up() -> None:
    """Do nothing: the tracer is configured from the environment on import."""


def flush() -> None:
    """Deliver everything finished so far."""
    tracer.flush()


def shut_down() -> None:
    """End."""
    tracer.shutdown(30.0)


def ten_span(count: int) -> None:
    """Traces of ten spans in three levels, two attributes each."""
    trace = tracer.trace
    for _ in range(count):
        with trace("web.request", resource="GET /orders") as root:
            root.set_tag("order.id", "A-1001")
            root.set_tag("items", 3)
            for _ in range(3):
                with trace("shop.step", resource="price") as step:
                    step.set_tag("order.id", "A-1001")
                    step.set_tag("items", 3)
                    for _ in range(2):
                        with trace("sql.query", resource="SELECT 1") as leaf:
                            leaf.set_tag("order.id", "A-1001")
                            leaf.set_tag("items", 3)


# Its OpenTelemetry API is slower than its own: the comparison is with the faster one.
ten_span_otel_api = ten_span


@tracer.wrap()
def nothing() -> None:
    """Do nothing, traced."""


def traced_root(count: int) -> None:
    """Decorated calls, each a trace of its own."""
    for _ in range(count):
        nothing()


def traced_nested(count: int) -> None:
    """Decorated calls inside a span, a hundred each."""
    for _ in range(count):
        with tracer.trace("parent"):
            for _ in range(99):
                nothing()


def event_and_exception(count: int) -> None:
    """A span with an event that an exception leaves."""
    for _ in range(count):
        try:
            with tracer.trace("job") as span:
                span._add_event("cache.miss", {"key": "k", "size": 3})
                raise ValueError("no such order")
        except ValueError:
            pass


def inject(count: int) -> None:
    """Headers from the current span."""
    with tracer.trace("client") as span:
        for _ in range(count):
            HTTPPropagator.inject(span.context, {})


def extract(count: int) -> None:
    """A context from headers."""
    headers = HEADERS
    for _ in range(count):
        HTTPPropagator.extract(headers)


async def _task(number: int) -> None:
    with tracer.trace("task") as span:
        span.set_tag("order.id", "A-1001")
        span.set_tag("number", number)
        await asyncio.sleep(0)


async def _gather(count: int) -> None:
    for _ in range(count):
        with tracer.trace("request"):
            await asyncio.gather(*map(_task, range(32)))


def asyncio_tasks(count: int) -> None:
    """32 tasks at a time, a span in each, below one span."""
    asyncio.run(_gather(count))
