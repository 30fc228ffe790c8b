"""The workloads in `ddtrace_manual`, through its facade and, where the name says so, the OpenTelemetry API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from opentelemetry import trace as otel

import ddtrace_manual as dd
from ddtrace_manual.integrations import AsgiMiddleware, WsgiMiddleware

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
    """Configure from the environment."""
    dd.configure(service="bench", env="bench", version="1.0")


def flush() -> None:
    """Deliver everything finished so far."""
    dd.flush(30.0)


def shut_down() -> None:
    """End."""
    dd.shutdown(30.0)


def ten_span(count: int) -> None:
    """Traces of ten spans in three levels, two attributes each."""
    span = dd.span
    for _ in range(count):
        with span("web.request") as root:
            root.set_tag("order.id", "A-1001")
            root.set_tag("items", 3)
            for _ in range(3):
                with span("shop.step") as step:
                    step.set_tag("order.id", "A-1001")
                    step.set_tag("items", 3)
                    for _ in range(2):
                        with span("sql.query") as leaf:
                            leaf.set_tag("order.id", "A-1001")
                            leaf.set_tag("items", 3)


def ten_span_resources(count: int) -> None:
    """The same traces, each span with a resource name."""
    span = dd.span
    for _ in range(count):
        with span("web.request", resource="GET /orders") as root:
            root.set_tag("order.id", "A-1001")
            root.set_tag("items", 3)
            for _ in range(3):
                with span("shop.step", resource="price") as step:
                    step.set_tag("order.id", "A-1001")
                    step.set_tag("items", 3)
                    for _ in range(2):
                        with span("sql.query", resource="SELECT 1") as leaf:
                            leaf.set_tag("order.id", "A-1001")
                            leaf.set_tag("items", 3)


def ten_span_otel_api(count: int) -> None:
    """The same traces through the OpenTelemetry API."""
    start = otel.get_tracer("bench").start_as_current_span
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


def wide(count: int, size: int) -> None:
    """Traces of `size` spans: a root and its children, one after the other, two attributes each."""
    span = dd.span
    for _ in range(count):
        with span("web.request") as root:
            root.set_tag("order.id", "A-1001")
            root.set_tag("items", 3)
            for _ in range(size - 1):
                with span("shop.step") as step:
                    step.set_tag("order.id", "A-1001")
                    step.set_tag("items", 3)


@dd.traced
def nothing() -> None:
    """Do nothing, traced."""


def traced_root(count: int) -> None:
    """Decorated calls, each a trace of its own."""
    for _ in range(count):
        nothing()


def traced_nested(count: int) -> None:
    """Decorated calls inside a span, a hundred each."""
    for _ in range(count):
        with dd.span("parent"):
            for _ in range(99):
                nothing()


class Basket:
    """Something with a decorated method."""

    @dd.traced
    def add(self) -> None:
        """Do nothing."""


@dd.traced
def numbers() -> Iterator[int]:
    """Yield ten numbers."""
    yield from range(10)


@dd.traced
async def nothing_async() -> None:
    """Do nothing, asynchronously."""


@dd.traced(capture_args=True)
def with_arguments(order_id: str, items: int) -> None:
    """Do nothing with arguments."""


def traced_method(count: int) -> None:
    """Decorated methods inside a span, a hundred each."""
    basket = Basket()
    for _ in range(count):
        with dd.span("parent"):
            for _ in range(99):
                basket.add()


def traced_generator(count: int) -> None:
    """Decorated generators of ten steps inside a span, nine each."""
    for _ in range(count):
        with dd.span("parent"):
            for _ in range(9):
                for _ in numbers():
                    pass


def traced_async(count: int) -> None:
    """Decorated coroutine functions inside a span, a hundred each."""

    async def main() -> None:
        for _ in range(count):
            with dd.span("parent"):
                for _ in range(99):
                    await nothing_async()

    asyncio.run(main())


def traced_arguments(count: int) -> None:
    """Decorated calls that record two arguments, inside a span, a hundred each."""
    for _ in range(count):
        with dd.span("parent"):
            for _ in range(99):
                with_arguments("A-1001", 3)


def event_and_exception(count: int) -> None:
    """A span with an event that an exception leaves."""
    for _ in range(count):
        try:
            with dd.span("job") as span:
                span.add_event("cache.miss", {"key": "k", "size": 3})
                raise ValueError("no such order")
        except ValueError:
            pass


def inject(count: int) -> None:
    """Headers from the current span."""
    with dd.span("client"):
        for _ in range(count):
            dd.inject({})


def extract(count: int) -> None:
    """A context from headers."""
    headers = HEADERS
    for _ in range(count):
        dd.extract(headers)


async def _task(number: int) -> None:
    with dd.span("task") as span:
        span.set_tag("order.id", "A-1001")
        span.set_tag("number", number)
        await asyncio.sleep(0)


async def _gather(count: int) -> None:
    for _ in range(count):
        with dd.span("request"):
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
    app = WsgiMiddleware(_wsgi_app)
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
    asyncio.run(_serve(AsgiMiddleware(_asgi_app), count))
