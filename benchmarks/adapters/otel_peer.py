"""The workloads in the OpenTelemetry SDK with its batch processor and OTLP over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

HEADERS = {
    "traceparent": "00-67f2a1b300000000112210f47de98115-891087b8fbb3d1b1-01",
    "tracestate": "dd=s:1;p:891087b8fbb3d1b1;t.dm:-0",
    "host": "shop.example",
    "accept": "*/*",
}

provider = TracerProvider(resource=Resource.create({"service.name": "bench", "service.version": "1.0"}))
tracer = provider.get_tracer("bench")


def set_up() -> None:
    """Export in batches; the endpoint comes from the environment."""
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush() -> None:
    """Deliver everything finished so far."""
    provider.force_flush(30_000)


def shut_down() -> None:
    """End."""
    provider.shutdown()


def ten_span(count: int) -> None:
    """Traces of ten spans in three levels, two attributes each."""
    start = tracer.start_as_current_span
    for _ in range(count):
        with start("GET /orders") as root:
            root.set_attribute("order.id", "A-1001")
            root.set_attribute("items", 3)
            for _ in range(3):
                with start("price") as step:
                    step.set_attribute("order.id", "A-1001")
                    step.set_attribute("items", 3)
                    for _ in range(2):
                        with start("SELECT 1") as leaf:
                            leaf.set_attribute("order.id", "A-1001")
                            leaf.set_attribute("items", 3)


ten_span_otel_api = ten_span_resources = ten_span


def wide(count: int, size: int) -> None:
    """Traces of `size` spans: a root and its children, one after the other, two attributes each."""
    start = tracer.start_as_current_span
    for _ in range(count):
        with start("web.request") as root:
            root.set_attribute("order.id", "A-1001")
            root.set_attribute("items", 3)
            for _ in range(size - 1):
                with start("shop.step") as step:
                    step.set_attribute("order.id", "A-1001")
                    step.set_attribute("items", 3)


@tracer.start_as_current_span("nothing")
def nothing() -> None:
    """Do nothing, traced."""


def traced_root(count: int) -> None:
    """Decorated calls, each a trace of its own."""
    for _ in range(count):
        nothing()


def traced_nested(count: int) -> None:
    """Decorated calls inside a span, a hundred each."""
    for _ in range(count):
        with tracer.start_as_current_span("parent"):
            for _ in range(99):
                nothing()


class Basket:
    """Something with a decorated method."""

    @tracer.start_as_current_span("add")
    def add(self) -> None:
        """Do nothing."""


def numbers() -> Iterator[int]:
    """Yield ten numbers inside a span; its decorator would end the span before the first step."""
    with tracer.start_as_current_span("numbers"):
        yield from range(10)


@tracer.start_as_current_span("nothing")
async def nothing_async() -> None:
    """Do nothing, asynchronously."""


@tracer.start_as_current_span("with_arguments")
def with_arguments(order_id: str, items: int) -> None:
    """Do nothing with arguments."""


def traced_method(count: int) -> None:
    """Decorated methods inside a span, a hundred each."""
    basket = Basket()
    for _ in range(count):
        with tracer.start_as_current_span("parent"):
            for _ in range(99):
                basket.add()


def traced_generator(count: int) -> None:
    """Decorated generators of ten steps inside a span, nine each."""
    for _ in range(count):
        with tracer.start_as_current_span("parent"):
            for _ in range(9):
                for _ in numbers():
                    pass


def traced_async(count: int) -> None:
    """Decorated coroutine functions inside a span, a hundred each."""

    async def main() -> None:
        for _ in range(count):
            with tracer.start_as_current_span("parent"):
                for _ in range(99):
                    await nothing_async()

    asyncio.run(main())


def traced_arguments(count: int) -> None:
    """Decorated calls that record two arguments, inside a span, a hundred each."""
    for _ in range(count):
        with tracer.start_as_current_span("parent"):
            for _ in range(99):
                with_arguments("A-1001", 3)


def event_and_exception(count: int) -> None:
    """A span with an event that an exception leaves."""
    for _ in range(count):
        try:
            with tracer.start_as_current_span("job") as span:
                span.add_event("cache.miss", {"key": "k", "size": 3})
                raise ValueError("no such order")
        except ValueError:
            pass


def inject(count: int) -> None:
    """Headers from the current span."""
    with tracer.start_as_current_span("client"):
        for _ in range(count):
            propagate.inject({})


def extract(count: int) -> None:
    """A context from headers."""
    headers = HEADERS
    for _ in range(count):
        propagate.extract(headers)


async def _task(number: int) -> None:
    with tracer.start_as_current_span("task") as span:
        span.set_attribute("order.id", "A-1001")
        span.set_attribute("number", number)
        await asyncio.sleep(0)


async def _gather(count: int) -> None:
    for _ in range(count):
        with tracer.start_as_current_span("request"):
            await asyncio.gather(*map(_task, range(32)))


def asyncio_tasks(count: int) -> None:
    """32 tasks at a time, a span in each, below one span."""
    asyncio.run(_gather(count))


def _server_span(context: Any, status: int) -> None:
    """Make a server span by hand: the instrumentation packages are not part of the SDK."""
    with tracer.start_as_current_span("GET", context, kind=trace.SpanKind.SERVER) as span:
        span.set_attribute("http.request.method", "GET")
        span.set_attribute("url.scheme", "http")
        span.set_attribute("url.path", "/orders")
        span.set_attribute("url.query", "page=2")
        span.set_attribute("server.address", "shop.example")
        span.set_attribute("user_agent.original", "bench/1")
        span.set_attribute("http.response.status_code", status)


def wsgi_request(count: int) -> None:
    """Requests in the caller's trace, traced by hand."""
    for _ in range(count):
        _server_span(propagate.extract(HEADERS), 200)


asgi_request = wsgi_request
