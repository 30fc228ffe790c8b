"""ASGI middleware, over uvicorn with Starlette and by hand."""

from __future__ import annotations

import asyncio
import threading

import aiohttp
import pytest
import requests
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

import ddtrace_manual as dd
from ddtrace_manual.integrations import AsgiMiddleware, _asgi
from ddtrace_manual.testing import SpanRecorder

HEADERS = {"x-datadog-trace-id": "1234", "x-datadog-parent-id": "5678", "x-datadog-sampling-priority": "2"}


def scope(path="/orders", headers=(), **more):
    """Return the scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"shop.example"), *headers],
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 80),
        **more,
    }


def call(app, **more):
    """Send one request by hand; return the messages of the response."""
    sent = []

    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive():
        for message in messages:
            return message
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope(**more), receive, send))
    return sent


def simple(status=200, headers=()):
    """Return an application that always answers the same."""

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b"hello"})

    return app


def test_a_request_becomes_a_server_span_in_the_callers_trace(serve_asgi, spans):
    """Over uvicorn and Starlette the span continues the caller's trace; the route names the resource."""

    async def read(request):
        async with dd.span("work"):
            await asyncio.sleep(0)
        return JSONResponse({"order": request.path_params["order_id"]}, 201)

    app = Starlette(routes=[Mount("/api", routes=[Route("/orders/{order_id}", read)])])
    app.add_middleware(AsgiMiddleware)
    with serve_asgi(app) as url:
        answer = requests.get(f"{url}/api/orders/7?token=abc", headers={**HEADERS, "User-Agent": "test/1"}, timeout=10)
    assert (answer.status_code, answer.json()) == (201, {"order": "7"})
    spans.assert_tree(
        """
        http.server.request [resource="GET /api/orders/{order_id}", type=web, kind=server, error=false]
          work
        """
    )
    span = spans.find("http.server.request")
    assert (span.trace_id, span.parent_id, span.priority) == (1234, 5678, 2)
    meta = span.dd["meta"]
    assert meta["http.method"] == "GET"
    assert meta["http.status_code"] == "201"
    assert meta["http.url"] == f"{url}/api/orders/7?<redacted>"
    assert meta["http.useragent"] == "test/1"
    assert meta["http.route"] == "/api/orders/{order_id}"
    assert meta["component"] == "asgi"
    assert not any("client" in key or "peer" in key for key in meta)


def test_concurrent_requests_keep_to_their_own_traces(serve_asgi, spans):
    """Interleaved requests of one event loop are separate traces with the right children."""

    async def app(_scope, _receive, send):
        async with dd.span("child"):
            await asyncio.sleep(0.01)
        await simple()(_scope, _receive, send)

    async def ask(session, url, number):
        async with session.get(url, headers={"traceparent": f"00-{number:032x}-{number:016x}-01"}) as answer:
            assert await answer.text() == "hello"

    async def ask_all(url):
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(ask(session, url, number) for number in range(1, 21)))

    with serve_asgi(AsgiMiddleware(app)) as url:
        asyncio.run(ask_all(url))
    servers = spans.find_all("http.server.request")
    assert sorted(span.trace_id for span in servers) == list(range(1, 21))
    assert all([child.name for child in span.children] == ["child"] for span in servers)


def test_the_span_ends_with_the_body_not_with_background_tasks(spans):
    """A background task runs after the span has ended, and its spans still belong to the trace."""
    ended = []

    async def after():
        ended.append(len(spans.find_all("http.server.request")))
        with dd.span("cleanup"):
            pass

    call(AsgiMiddleware(PlainTextResponse("x", background=BackgroundTask(after))))
    server = spans.find("http.server.request")
    assert ended == [1]
    assert spans.find("cleanup").parent_id == server.span_id


def test_a_streaming_response_lasts_until_its_last_part(spans):
    """Spans made while the body is produced are children, and the span ends after the last part."""

    async def parts():
        for number in range(3):
            with dd.span("part"):
                yield str(number)
            assert not spans.find_all("http.server.request")

    sent = call(AsgiMiddleware(StreamingResponse(parts())))
    assert b"".join(message.get("body", b"") for message in sent) == b"012"
    assert [child.name for child in spans.find("http.server.request").children] == ["part"] * 3


def test_trailers_belong_to_the_request(spans):
    """With trailers announced the span goes on until the application returns."""

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"x"})
        assert not spans
        await send({"type": "http.response.trailers", "headers": []})

    call(AsgiMiddleware(app))
    assert len(spans) == 1


@pytest.mark.parametrize(("status", "error"), [(200, False), (404, False), (500, True), (503, True)])
def test_statuses_from_500_on_are_errors(spans, status, error):
    """The default range marks the span, with the code as type of the error."""
    call(AsgiMiddleware(simple(status)))
    span = spans.find("http.server.request")
    assert (span.error, span.error_type) == (error, str(status) if error else None)


def test_an_exception_of_the_application_is_recorded_and_goes_on(spans):
    """The server sees the application's exception; the span has it, and status 500."""

    async def app(_scope, _receive, _send):
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        call(AsgiMiddleware(app))
    span = spans.find("http.server.request")
    assert (span.error_type, span.tag("http.status_code")) == ("KeyError", "500")


def test_an_exception_after_the_body_is_not_the_requests(spans):
    """What fails after the response is complete goes on, but the request was answered."""

    async def app(_scope, _receive, send):
        await simple()(_scope, _receive, send)
        raise KeyError("late")

    with pytest.raises(KeyError):
        call(AsgiMiddleware(app))
    assert spans.find("http.server.request").error is False


def test_a_client_that_goes_away_is_no_error(spans):
    """A cancelled request is tagged as cancelled; there is no status it was answered with."""

    async def app(_scope, _receive, _send):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    with pytest.raises(asyncio.CancelledError):
        call(AsgiMiddleware(app))
    span = spans.find("http.server.request")
    assert (span.error, span.tag("span.outcome"), span.tag("http.status_code")) == (False, "cancelled", None)


def test_websockets_pass_through(serve_asgi, spans):
    """A websocket works as without the middleware, and has no span of its own."""

    async def echo(socket):
        await socket.accept()
        with dd.span("message"):
            await socket.send_text((await socket.receive_text()).upper())
        await socket.close()

    async def talk(url):
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/socket", headers=HEADERS) as socket:
            await socket.send_str("hello")
            return await socket.receive_str()

    with serve_asgi(AsgiMiddleware(Starlette(routes=[WebSocketRoute("/socket", echo)]))) as url:
        assert asyncio.run(talk(url)) == "HELLO"
    assert [span.name for span in spans] == ["message"]


def test_lifespan_messages_pass_through(spans):
    """The application gets its start and stop as they are."""
    seen = []

    async def app(scope_of_app, receive, send):
        seen.append(scope_of_app)

    lifespan = {"type": "lifespan"}
    asyncio.run(AsgiMiddleware(app)(lifespan, None, None))
    assert seen[0] is lifespan
    assert not spans


@pytest.mark.parametrize("end", ["lifespan.shutdown.complete", "lifespan.shutdown.failed"])
def test_the_end_of_the_lifespan_delivers_before_the_server_hears_of_it(spans, monkeypatch, end):
    """Delivery runs beside the event loop, and its failure does not keep the message back."""
    order = []

    def flush(timeout_s):
        order.append(("flush", timeout_s, threading.current_thread() is threading.main_thread()))
        raise RuntimeError("cannot")

    async def app(_scope, _receive, send):
        await send({"type": "lifespan.startup.complete"})
        await send({"type": end})

    async def send(message):
        order.append(message["type"])

    monkeypatch.setattr(_asgi, "flush", flush)
    asyncio.run(AsgiMiddleware(app)({"type": "lifespan"}, None, send))
    assert order == ["lifespan.startup.complete", ("flush", 5.0, False), end]


def test_excluded_paths_are_not_traced(spans):
    """Exact paths and beginnings with a star pass by."""
    app = AsgiMiddleware(simple(), excluded_paths=["/health", "/static/*"])
    for path in ("/health", "/static/a.css", "/healthy"):
        assert call(app, path=path)[0]["status"] == 200
    assert [span.tag("url.path") for span in spans] == ["/healthy"]


def test_an_untrusted_caller_is_only_linked(spans):
    """Its ids become a link, also when it named no priority; baggage does not arrive."""
    seen = []

    async def app(request, receive, send):
        seen.append(dict(dd.get_baggage()))
        await simple()(request, receive, send)

    headers = [(b"x-datadog-trace-id", b"1234"), (b"x-datadog-parent-id", b"5678"), (b"baggage", b"user=1")]
    call(AsgiMiddleware(app, trust_caller=False), headers=headers)
    call(AsgiMiddleware(app, trust_caller=False))
    linked, alone = spans
    (link,) = linked.links
    assert (link.trace_id, link.span_id, link.flags, link.attributes) == (
        1234,
        5678,
        None,
        {"reason": "untrusted_caller"},
    )
    assert (linked.trace_id != 1234, linked.parent_id, alone.links, seen) == (True, 0, [], [{}, {}])


def test_header_tags_are_recorded():
    """Configured headers of request and response become tags, whatever their case."""
    with SpanRecorder(service="t", trace_header_tags="x-tenant:tenant,X-Answer") as spans:
        app = AsgiMiddleware(simple(headers=[(b"X-Answer", b"42")]))
        call(app, headers=[(b"x-tenant", b"a"), (b"x-tenant", b"b")])
        meta = spans.find("http.server.request").dd["meta"]
    assert meta["tenant"] == "a, b"
    assert meta["http.response.headers.x-answer"] == "42"


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({"path": "/a b", "raw_path": None}, "http://shop.example/a%20b"),
        ({"raw_path": b"/%C3%A9"}, "http://shop.example/%C3%A9"),
        ({"scheme": "https"}, "https://shop.example/orders"),
        ({"headers": [(b"host", b"a/b?c@d")]}, None),
        ({"query_string": b"page=2&sessionid=1"}, "http://shop.example/orders?page=2&<redacted>"),
    ],
)
def test_urls_are_rebuilt_from_the_scope(spans, more, url):
    """The raw path is preferred, queries are redacted, and what is no host is left out."""
    call(AsgiMiddleware(simple()), **more)
    assert spans.find("http.server.request").tag("http.url") == url


def test_a_request_without_host_names_the_server(spans):
    """HTTP/1.0 clients send no host: the server's own address stands in, or nothing for a Unix socket."""

    async def run(server):
        request = {**scope(), "headers": [], "server": server, "http_version": ""}
        await AsgiMiddleware(simple())(request, None, lambda _message: asyncio.sleep(0))

    for server in (("127.0.0.1", 8000), ("/run/app.sock", None), None):
        asyncio.run(run(server))
    assert [span.tag("http.url") for span in spans] == ["http://127.0.0.1:8000/orders", None, None]


def test_routes_and_hooks_come_from_functions(spans):
    """`route` and `on_request` see the scope."""
    app = AsgiMiddleware(
        simple(),
        route=lambda request: request["path"].upper(),
        on_request=lambda span, request: span.set_tag("who", request["client"][0]),
    )
    call(app)
    span = spans.find("http.server.request")
    assert (span.resource, span.tag("who")) == ("GET /ORDERS", "192.0.2.1")


def test_a_mounted_application_without_routes_is_named_by_its_place(spans):
    """Of static files and the like the route is where they are mounted."""
    call(AsgiMiddleware(Starlette(routes=[Mount("/static", app=simple())])), path="/static/a/b.css")
    assert spans.find("http.server.request").resource == "GET /static"


def test_a_second_middleware_steps_aside(spans):
    """A request gets one server span, however often the application is wrapped."""
    call(AsgiMiddleware(AsgiMiddleware(simple())))
    assert len(spans) == 1
