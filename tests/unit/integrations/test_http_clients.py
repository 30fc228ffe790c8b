"""The helpers for httpx, aiohttp and urllib, over one real server; what they share is in `_client`."""

from __future__ import annotations

import asyncio
import urllib.request
from http.client import HTTPException
from types import SimpleNamespace
from urllib.error import HTTPError, URLError

import aiohttp
import httpx
import pytest

import ddtrace_manual as dd
from ddtrace_manual.integrations import (
    AsyncTracedHttpxTransport,
    TracedHttpxTransport,
    aiohttp_trace_config,
    traced_urllib_opener,
)
from ddtrace_manual.testing import SpanRecorder


def with_httpx(url, headers, **options):
    """Send a request and return the status."""
    with httpx.Client(transport=TracedHttpxTransport(**options), follow_redirects=True) as client:
        return client.get(url, headers=headers).status_code


def with_async_httpx(url, headers, **options):
    """Send a request and return the status."""

    async def run():
        transport = AsyncTracedHttpxTransport(**options)
        async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
            return (await client.get(url, headers=headers)).status_code

    return asyncio.run(run())


def with_aiohttp(url, headers, **options):
    """Send a request and return the status."""

    async def run():
        session = aiohttp.ClientSession(trace_configs=[aiohttp_trace_config(**options)])
        async with session, session.get(url, headers=headers) as answer:
            return answer.status

    return asyncio.run(run())


def with_urllib(url, headers, **options):
    """Send a request and return the status."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with traced_urllib_opener(urllib.request.ProxyHandler({}), **options).open(request, timeout=10) as answer:
            return answer.status
    except HTTPError as exc:
        exc.close()
        return exc.code


CLIENTS = {"httpx": with_httpx, "async httpx": with_async_httpx, "aiohttp": with_aiohttp, "urllib": with_urllib}


@pytest.fixture(params=CLIENTS)
def client(request):
    """Each client in turn: name of its component, and how to send a request."""
    return SimpleNamespace(component=request.param.split()[-1], get=CLIENTS[request.param])


@pytest.fixture
def service(serve_wsgi):
    """A server that remembers headers and answers with the status in the path, or redirects."""
    seen = []

    def app(environ, start_response):
        seen.append({key: value for key, value in environ.items() if key.startswith("HTTP_")})
        path = environ["PATH_INFO"].strip("/")
        if path == "redirect":
            start_response("302 Found", [("Location", "/200"), ("Content-Length", "0")])
            return [b""]
        start_response(f"{path} Answer", [("X-Answer", "42"), ("Content-Length", "2")])
        return [b"ok"]

    with serve_wsgi(app) as url:
        yield SimpleNamespace(url=url, seen=seen)


def test_a_request_is_a_client_span_whose_headers_carry_the_trace(client, service, spans):
    """The server gets the ids of the client span in the place of old ones, and baggage."""
    with dd.span("work"):
        dd.set_baggage("user", "1")
        old = {"TraceParent": f"00-{1:032x}-{1:016x}-00", "X-Datadog-Origin": "old"}
        assert client.get(f"{service.url}/200?page=1&token=abc", old) == 200
    spans.assert_tree(
        """
        work
          http.client.request [resource=GET, type=http, kind=client, error=false]
        """
    )
    span = spans.find("http.client.request")
    (headers,) = service.seen
    assert headers["HTTP_X_DATADOG_PARENT_ID"] == str(span.span_id)
    assert headers["HTTP_TRACEPARENT"] == f"00-{span.trace_id:032x}-{span.span_id:016x}-01"
    assert headers["HTTP_BAGGAGE"] == "user=1"
    meta = span.dd["meta"]
    assert (meta["http.method"], meta["http.status_code"]) == ("GET", "200")
    assert meta["http.url"] == f"{service.url}/200?page=1&<redacted>"
    assert meta["component"] == client.component
    assert dd.current_span().span_id == 0


@pytest.mark.parametrize(("status", "error"), [(202, False), (404, True), (500, False)])
def test_client_errors_are_errors(client, service, spans, status, error):
    """By default 4xx marks a client span."""
    assert client.get(f"{service.url}/{status}", {}) == status
    span = spans.find("http.client.request")
    assert (span.error, span.error_type, span.tag("http.status_code")) == (
        error,
        str(status) if error else None,
        str(status),
    )
    assert span.error_message == ("404 Not Found" if error else None)


def test_a_redirect_stays_in_the_trace(client, service, spans):
    """Both hops name a recorded span: their own with httpx, that of the call with the others."""
    assert client.get(f"{service.url}/redirect", {}) == 200
    clients = spans.find_all("http.client.request")
    assert len(clients) == (2 if client.component == "httpx" else 1)
    named = [headers["HTTP_X_DATADOG_PARENT_ID"] for headers in service.seen]
    assert named == [str(clients[0].span_id), str(clients[-1].span_id)]
    assert clients[-1].tag("http.status_code") == "200"


def test_a_failed_connection_is_an_error_that_goes_on(client, spans):
    """The application gets the library's exception, and the span has it."""
    with pytest.raises((httpx.ConnectError, aiohttp.ClientError, URLError, HTTPException)):
        client.get("http://127.0.0.1:1/x", {})
    span = spans.find("http.client.request")
    assert "onnect" in span.error_type or "URLError" in span.error_type
    assert span.tag("http.status_code") is None


def test_options_shape_span_and_headers(client, service, spans):
    """`service`, `propagate` and `on_request` mean the same with every client."""
    seen = []
    options = {
        "service": "shop-db",
        "propagate": seen.append,
        "on_request": lambda span, request: setattr(span, "resource", type(request).__name__),
    }
    client.get(f"{service.url}/200", {}, **options)
    span = spans.find("http.client.request")
    assert span.service == "shop-db"
    assert span.resource in ("Request", "TraceRequestStartParams")
    assert seen == [f"{service.url}/200"]
    assert "HTTP_TRACEPARENT" not in service.seen[0]


def test_header_tags_are_recorded(client, service):
    """Configured headers of request and response become tags."""
    with SpanRecorder(service="t", trace_header_tags="x-answer:answer,x-mine:mine") as spans:
        client.get(f"{service.url}/200", {"X-Mine": "1"})
        span = spans.find("http.client.request")
    assert (span.tag("answer"), span.tag("mine")) == ("42", "1")


def test_without_tracing_requests_are_sent_as_they_are(client, service):
    """With tracing off no header is added."""
    with SpanRecorder(service="t", trace_enabled=False):
        assert client.get(f"{service.url}/200", {}) == 200
    assert not {"HTTP_TRACEPARENT", "HTTP_X_DATADOG_TRACE_ID"} & service.seen[0].keys()


def test_urllib_takes_texts_data_and_other_schemes(service, spans, tmp_path):
    """Strings and data work as with any opener, and what is no HTTP is not traced."""
    opener = traced_urllib_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{service.url}/200", b"data", timeout=10) as answer:
        assert answer.read() == b"ok"
    request = urllib.request.Request(f"{service.url}/201")
    with opener.open(request, b"more") as answer:
        assert answer.status == 201
    (tmp_path / "a").write_text("x")
    with opener.open((tmp_path / "a").as_uri()) as answer:
        assert answer.read() == b"x"
    assert [span.resource for span in spans] == ["POST", "POST"]


def test_httpx_transports_close_the_one_behind(spans):
    """Closing goes through to the transport that was given."""
    closed = []

    class Behind(httpx.MockTransport):
        def close(self):
            closed.append("close")

        async def aclose(self):
            closed.append("aclose")

    TracedHttpxTransport(Behind(lambda request: httpx.Response(200))).close()
    asyncio.run(AsyncTracedHttpxTransport(Behind(lambda request: httpx.Response(200))).aclose())
    assert closed == ["close", "aclose"]
