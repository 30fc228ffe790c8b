"""WSGI middleware, over the reference server of the standard library and by hand."""

from __future__ import annotations

import io
import wsgiref.util
import wsgiref.validate

import flask
import pytest
import requests

import ddtrace_manual as dd
from ddtrace_manual.exceptions import ConfigurationError
from ddtrace_manual.integrations import WsgiMiddleware
from ddtrace_manual.testing import SpanRecorder

HEADERS = {"x-datadog-trace-id": "1234", "x-datadog-parent-id": "5678", "x-datadog-sampling-priority": "2"}


def environment(path="/orders", **more):
    """Return the environment of a request."""
    environ = {"PATH_INFO": path, "HTTP_HOST": "shop.example", **more}
    wsgiref.util.setup_testing_defaults(environ)
    return environ


def call(app, **more):
    """Send one request by hand, as a server would; return status, headers and body."""
    answered = []

    def start_response(status, headers, exc_info=None):
        answered[:] = [status, headers]
        return lambda data: None

    body = app(environment(**more), start_response)
    try:
        data = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return *answered, data


def simple(status="200 OK", headers=(), body=(b"hello",)):
    """Return an application that always answers the same."""

    def app(_environ, start_response):
        start_response(status, list(headers))
        return list(body)

    return app


def test_a_request_becomes_a_server_span_in_the_callers_trace(serve_wsgi, spans):
    """Over a real server the span continues the caller's trace and says what was asked and answered."""

    def app(_environ, start_response):
        with dd.span("work"):
            start_response("201 Created", [("Content-Type", "text/plain")])
            return [b"made"]

    with serve_wsgi(wsgiref.validate.validator(WsgiMiddleware(app))) as url:
        answer = requests.post(f"{url}/orders?page=2", headers={**HEADERS, "User-Agent": "test/1"}, timeout=10)
    assert (answer.status_code, answer.text) == (201, "made")
    spans.assert_tree(
        """
        http.server.request [resource=POST, type=web, kind=server, error=false]
          work
        """
    )
    span = spans.find("http.server.request")
    assert (span.trace_id, span.parent_id, span.priority) == (1234, 5678, 2)
    meta = span.dd["meta"]
    assert meta["http.method"] == "POST"
    assert meta["http.status_code"] == "201"
    assert meta["http.url"] == f"{url}/orders?page=2"
    assert meta["http.useragent"] == "test/1"
    assert meta["http.version"] == "1.1"
    assert meta["url.path"] == "/orders"
    assert meta["component"] == "wsgi"
    assert not any("client" in key or "peer" in key for key in meta)


def test_without_headers_a_request_is_a_new_trace(spans):
    """A span that is current around the server is not the parent of its requests."""
    with dd.span("surrounding"):
        call(WsgiMiddleware(simple()))
        assert dd.current_span().get_tag("component") is None
    assert spans.find("http.server.request").parent_id == 0
    assert spans.find("http.server.request").trace_id != spans.find("surrounding").trace_id


def test_the_span_is_current_in_each_step_and_ends_with_the_body(spans):
    """A streamed body runs under the span, which is not the server's current one in between."""
    seen = []

    class Body:
        def __iter__(self):
            with dd.span("first"):
                yield b"1"
            seen.append(dd.current_span().span_id)
            yield b"2"

        def close(self):
            with dd.span("closing"):
                seen.append("closed")

    def app(_environ, start_response):
        start_response("200 OK", [])
        return Body()

    body = WsgiMiddleware(app)(environment(), lambda *_: None)
    iterator = iter(body)
    assert next(iterator) == b"1"
    assert dd.current_span().span_id == 0
    assert not spans.find_all("http.server.request")
    assert list(iterator) == [b"2"]
    assert not spans.find_all("http.server.request")
    body.close()
    body.close()
    server = spans.find("http.server.request")
    assert seen == [server.span_id, "closed", "closed"]
    assert [child.name for child in server.children] == ["first", "closing", "closing"]


def test_a_body_without_close_ends_the_span_with_its_last_part(spans):
    """An iterator that has no `close` ends the span when it is exhausted."""

    def app(_environ, start_response):
        start_response("200 OK", [])
        return iter([b"1", b"2"])

    body = WsgiMiddleware(app)(environment(), lambda *_: None)
    assert list(body) == [b"1", b"2"]
    assert spans.find("http.server.request").tag("http.status_code") == "200"


@pytest.mark.parametrize("kind", ["list", "tuple", "file"])
def test_complete_bodies_reach_the_server_as_they_are(spans, kind):
    """A list, a tuple and a wrapped file are not wrapped, for servers treat them specially."""
    environ = environment(**{"wsgi.file_wrapper": wsgiref.util.FileWrapper})
    body = {"list": [b"1"], "tuple": (b"1",), "file": wsgiref.util.FileWrapper(io.BytesIO(b"1"))}[kind]

    def app(_environ, start_response):
        start_response("200 OK", [])
        return body

    assert WsgiMiddleware(app)(environ, lambda *_: None) is body
    assert len(spans) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("200 OK", False),
        ("404 Not Found", False),
        ("499 Odd", False),
        ("500 Broken", True),
        ("599 Odd", True),
        ("x", False),
    ],
)
def test_statuses_from_500_on_are_errors(spans, status, error):
    """The default range marks the span, with the code as type of the error."""
    call(WsgiMiddleware(simple(status)))
    span = spans.find("http.server.request")
    assert span.error is error
    assert span.error_type == (status[:3] if error else None)
    assert span.error_message == {"500 Broken": "500 Internal Server Error", "599 Odd": "599"}.get(status)


def test_error_statuses_come_from_the_configuration():
    """`DD_TRACE_HTTP_SERVER_ERROR_STATUSES` replaces the range."""
    with SpanRecorder(service="t", trace_http_server_error_statuses="404,410-411") as spans:
        for status in ("404 x", "411 x", "500 x"):
            call(WsgiMiddleware(simple(status)))
        assert [span.error for span in spans] == [True, True, False]


def test_an_exception_of_the_application_is_recorded_and_goes_on(spans):
    """The server sees the application's exception; the span has its type, message and status 500."""

    def app(_environ, _start_response):
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        call(WsgiMiddleware(app))
    span = spans.find("http.server.request")
    assert (span.error_type, span.tag("http.status_code")) == ("KeyError", "500")
    assert "lost" in span.error_stack
    assert dd.current_span().span_id == 0


@pytest.mark.parametrize("where", ["first", "next", "close"])
def test_an_exception_in_the_body_is_recorded_and_goes_on(spans, where):
    """It makes no difference whether iteration or closing fails; the status stays what was sent."""

    class Body:
        def __iter__(self):
            if where == "first":
                raise ValueError(where)
            yield b"1"
            if where == "next":
                raise ValueError(where)

        def close(self):
            if where == "close":
                raise ValueError(where)

    def app(_environ, start_response):
        start_response("200 OK", [])
        return Body()

    with pytest.raises(ValueError, match=where):
        call(WsgiMiddleware(app))
    span = spans.find("http.server.request")
    assert (span.error_type, span.tag("http.status_code")) == ("ValueError", "200")


def test_an_error_page_replaces_the_status(spans):
    """An application that starts its response anew with `exc_info` counts with the last status."""

    def app(_environ, start_response):
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError as exc:
            start_response("503 Unavailable", [], (ValueError, exc, None))
        return [b"sorry"]

    assert call(WsgiMiddleware(app))[0] == "503 Unavailable"
    assert spans.find("http.server.request").tag("http.status_code") == "503"


def test_routes_make_the_resource_name(spans):
    """A route comes from a function or from the tag; without one the resource is the method alone."""
    call(WsgiMiddleware(simple(), route=lambda environ: "/orders/<id>"), path="/orders/7")

    def app(_environ, start_response):
        dd.set_tag("http.route", "/tagged")
        return simple()(_environ, start_response)

    call(WsgiMiddleware(app))

    def named(_environ, start_response):
        dd.current_span().resource = "mine"
        dd.set_tag("http.route", "/r")
        return simple()(_environ, start_response)

    call(WsgiMiddleware(named))
    call(WsgiMiddleware(simple()), REQUEST_METHOD="BREW")
    assert [span.resource for span in spans] == ["GET /orders/<id>", "GET /tagged", "mine", "HTTP"]
    assert spans.find(resource="HTTP").tag("http.method") == "_OTHER"
    assert spans.find(resource="HTTP").tag("http.request.method_original") == "BREW"


def test_flask_routes_and_errors_are_found(serve_wsgi, spans):
    """Over Flask the rule names the resource, and an unhandled error is a 500 without another trace."""
    app = flask.Flask(__name__)

    @app.get("/orders/<order_id>")
    def read(order_id):
        return {"order": order_id}

    @app.get("/broken")
    def broken():
        raise RuntimeError("broken")

    app.wsgi_app = WsgiMiddleware(app.wsgi_app)
    app.logger.disabled = True
    with serve_wsgi(app) as url:
        assert requests.get(f"{url}/orders/7", headers=HEADERS, timeout=10).json() == {"order": "7"}
        assert requests.get(f"{url}/broken", timeout=10).status_code == 500
        assert requests.get(f"{url}/nowhere", timeout=10).status_code == 404
    assert [(span.resource, span.error) for span in spans] == [
        ("GET /orders/<order_id>", False),
        ("GET /broken", True),
        ("GET", False),
    ]


def test_excluded_paths_are_not_traced(spans):
    """Exact paths and beginnings with a star pass by; nothing is extracted for them."""
    app = WsgiMiddleware(simple(), excluded_paths=["/health", "/static/*"])
    for path in ("/health", "/static/a.css", "/static/", "/healthy"):
        assert call(app, path=path)[2] == b"hello"
    assert [span.tag("url.path") for span in spans] == ["/healthy"]


@pytest.mark.parametrize("trust", [False, lambda environ: False, lambda environ: 1 / 0])
def test_an_untrusted_caller_is_only_linked(spans, trust):
    """Its ids become a link; decision, origin and baggage of the caller do not count."""
    seen = []

    def app(environ, start_response):
        seen.append(dict(dd.get_baggage()))
        return simple()(environ, start_response)

    given = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in HEADERS.items()}
    call(WsgiMiddleware(app, trust_caller=trust), HTTP_BAGGAGE="user=1", HTTP_X_DATADOG_ORIGIN="rum", **given)
    span = spans.find("http.server.request")
    assert span.trace_id != 1234
    assert (span.parent_id, span.priority, seen) == (0, 1, [{}])
    assert "_dd.origin" not in span.dd["meta"]
    (link,) = span.links
    assert (link.trace_id, link.span_id, link.attributes, link.flags) == (1234, 5678, {"reason": "untrusted_caller"}, 1)


def test_trust_may_depend_on_the_request(spans):
    """A function of the environment decides whom to trust; baggage of a trusted caller arrives."""
    seen = []

    def app(environ, start_response):
        seen.append(dd.get_baggage("user"))
        return simple()(environ, start_response)

    wrapped = WsgiMiddleware(app, trust_caller=lambda environ: environ["REMOTE_ADDR"].startswith("10."))
    call(wrapped, HTTP_TRACEPARENT=f"00-{7:032x}-{8:016x}-01", HTTP_BAGGAGE="user=1", REMOTE_ADDR="10.0.0.1")
    call(wrapped, HTTP_TRACEPARENT=f"00-{7:032x}-{8:016x}-01", HTTP_BAGGAGE="user=1", REMOTE_ADDR="8.8.8.8")
    assert [span.trace_id == 7 for span in spans] == [True, False]
    assert seen == ["1", None]


def test_header_tags_are_recorded():
    """Configured headers of request and response become tags; an empty tag means a derived name."""
    tags = {"X-Tenant": "tenant", "Content-Type": "", "X-Two": "", "X-None": ""}
    with SpanRecorder(service="t", trace_header_tags=tags) as spans:
        app = WsgiMiddleware(simple(headers=[("content-type", "text/plain"), ("X-Two", "a"), ("x-two", "b")]))
        call(app, HTTP_X_TENANT="acme", CONTENT_TYPE="application/json")
        meta = spans.find("http.server.request").dd["meta"]
    assert meta["tenant"] == "acme"
    assert meta["http.request.headers.content-type"] == "application/json"
    assert meta["http.response.headers.content-type"] == "text/plain"
    assert meta["http.response.headers.x-two"] == "a, b"
    assert "http.request.headers.x-none" not in meta


def test_secrets_in_queries_are_redacted(spans):
    """What the configured expression matches is not recorded; the application sees the query as it is."""
    seen = []

    def app(environ, start_response):
        seen.append(environ["QUERY_STRING"])
        return simple()(environ, start_response)

    call(WsgiMiddleware(app), QUERY_STRING="page=2&password=hunter2")
    span = spans.find("http.server.request")
    assert span.tag("http.url") == "http://shop.example/orders?page=2&<redacted>"
    assert span.tag("url.query") == "page=2&<redacted>"
    assert seen == ["page=2&password=hunter2"]


def test_a_hook_may_add_to_the_span(spans):
    """`on_request` gets span and environment; one that fails harms nobody and is counted."""
    call(WsgiMiddleware(simple(), on_request=lambda span, environ: span.set_tag("tenant", environ["HTTP_HOST"])))
    call(WsgiMiddleware(simple(), on_request=lambda span, environ: 1 / 0))
    assert [span.tag("tenant") for span in spans] == ["shop.example", None]
    assert dd.counters().events["integration_hook_failed"] >= 1


def test_a_second_middleware_steps_aside(spans):
    """A request gets one server span, however often the application is wrapped."""
    call(WsgiMiddleware(WsgiMiddleware(simple())))
    assert len(spans) == 1


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({"path": "/a b/é".encode().decode("latin-1")}, "http://shop.example/a%20b/%C3%A9"),
        ({"path": "/a?token=1"}, "http://shop.example/a%3Ftoken=1"),
        ({"SCRIPT_NAME": "/app", "path": "/x"}, "http://shop.example/app/x"),
        ({"HTTP_HOST": "user:pw@shop.example"}, None),
        ({"HTTP_HOST": "[::1]:8080"}, "http://[::1]:8080/orders"),
        ({"HTTP_HOST": "", "SERVER_NAME": "s", "SERVER_PORT": "81"}, "http://s:81/orders"),
        ({"wsgi.url_scheme": "https"}, "https://shop.example/orders"),
    ],
)
def test_urls_are_rebuilt_from_the_environment(spans, more, url):
    """Paths are percent-encoded again, and what is no host is left out."""
    call(WsgiMiddleware(simple()), **more)
    assert spans.find("http.server.request").tag("http.url") == url


@pytest.mark.parametrize(
    "options",
    [
        {"excluded_paths": "/health"},
        {"excluded_paths": [1]},
        {"route": "/x"},
        {"on_request": 1},
        {"trust_caller": "no"},
    ],
)
def test_options_of_the_wrong_type_are_refused(options):
    """A mistake in code is told at once."""
    with pytest.raises(ConfigurationError):
        WsgiMiddleware(simple(), **options)


def test_requests_pass_by_while_tracing_is_off():
    """With `DD_TRACE_ENABLED=false` nothing is recorded, changed or propagated."""
    with SpanRecorder(service="t", trace_enabled=False) as spans:
        assert call(WsgiMiddleware(simple()), HTTP_X_DATADOG_TRACE_ID="1")[2] == b"hello"
        assert not spans
