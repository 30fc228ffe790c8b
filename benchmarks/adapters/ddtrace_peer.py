"""The workloads in `ddtrace`, through its own API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

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
        with trace("web.request") as root:
            root.set_tag("order.id", "A-1001")
            root.set_tag("items", 3)
            for _ in range(3):
                with trace("shop.step") as step:
                    step.set_tag("order.id", "A-1001")
                    step.set_tag("items", 3)
                    for _ in range(2):
                        with trace("sql.query") as leaf:
                            leaf.set_tag("order.id", "A-1001")
                            leaf.set_tag("items", 3)


def ten_span_resources(count: int) -> None:
    """The same traces, each span with a resource name."""
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


def wide(count: int, size: int) -> None:
    """Traces of `size` spans: a root and its children, one after the other, two attributes each."""
    trace = tracer.trace
    for _ in range(count):
        with trace("web.request") as root:
            root.set_tag("order.id", "A-1001")
            root.set_tag("items", 3)
            for _ in range(size - 1):
                with trace("shop.step") as step:
                    step.set_tag("order.id", "A-1001")
                    step.set_tag("items", 3)


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


class Basket:
    """Something with a decorated method."""

    @tracer.wrap()
    def add(self) -> None:
        """Do nothing."""


@tracer.wrap()
def numbers() -> Iterator[int]:
    """Yield ten numbers."""
    yield from range(10)


@tracer.wrap()
async def nothing_async() -> None:
    """Do nothing, asynchronously."""


@tracer.wrap()
def with_arguments(order_id: str, items: int) -> None:
    """Do nothing with arguments."""


def traced_method(count: int) -> None:
    """Decorated methods inside a span, a hundred each."""
    basket = Basket()
    for _ in range(count):
        with tracer.trace("parent"):
            for _ in range(99):
                basket.add()


def traced_generator(count: int) -> None:
    """Decorated generators of ten steps inside a span, nine each."""
    for _ in range(count):
        with tracer.trace("parent"):
            for _ in range(9):
                for _ in numbers():
                    pass


def traced_async(count: int) -> None:
    """Decorated coroutine functions inside a span, a hundred each."""

    async def main() -> None:
        for _ in range(count):
            with tracer.trace("parent"):
                for _ in range(99):
                    await nothing_async()

    asyncio.run(main())


def traced_arguments(count: int) -> None:
    """Decorated calls that record two arguments, inside a span, a hundred each."""
    for _ in range(count):
        with tracer.trace("parent"):
            for _ in range(99):
                with_arguments("A-1001", 3)


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


def _environ() -> dict[str, Any]:
    """Return the environment of a request, as a WSGI server makes it."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()}
    return {
        **headers,
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/orders",
        "QUERY_STRING": "page=2",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_USER_AGENT": "bench/1",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.url_scheme": "http",
    }


def _scope() -> dict[str, Any]:
    """Return the scope of a request, as an ASGI server makes it."""
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/orders",
        "raw_path": b"/orders",
        "query_string": b"page=2",
        "root_path": "",
        "headers": [*headers, (b"user-agent", b"bench/1")],
        "client": ("192.0.2.1", 40000),
        "server": ("127.0.0.1", 80),
    }


def _wsgi_app(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def _asgi_app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


def _start_response(_status: str, _headers: Any, _exc_info: Any = None) -> None:
    pass


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Any) -> None:
    pass


def wsgi_request(count: int) -> None:
    """Requests to a WSGI application that does nothing, in the caller's trace."""
    from ddtrace.contrib.wsgi import DDWSGIMiddleware

    app = DDWSGIMiddleware(_wsgi_app)
    environ = _environ()
    for _ in range(count):
        body = app(environ.copy(), _start_response)
        for _part in body:
            pass
        if hasattr(body, "close"):
            body.close()


async def _serve(app: Any, count: int) -> None:
    scope = _scope()
    for _ in range(count):
        await app(scope.copy(), _receive, _send)


def asgi_request(count: int) -> None:
    """Requests to an ASGI application that does nothing, in the caller's trace."""
    from ddtrace.contrib.asgi import TraceMiddleware

    asyncio.run(_serve(TraceMiddleware(_asgi_app), count))
