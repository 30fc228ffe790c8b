"""The helper for `requests`, over real servers."""

from __future__ import annotations

import pytest
import requests

import ddtrace_manual as dd
from ddtrace_manual.integrations import TracedRequestsAdapter, traced_requests_session
from ddtrace_manual.testing import SpanRecorder


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
        yield type("Service", (), {"url": url, "seen": seen})


def test_a_request_is_a_client_span_whose_headers_carry_the_trace(service, spans):
    """The server gets the ids of the client span, in both families of headers, and baggage."""
    with traced_requests_session() as session, dd.span("work"):
        dd.set_baggage("user", "1")
        assert session.get(f"{service.url}/200").text == "ok"
    spans.assert_tree(
        """
        work
          http.client.request [resource=GET, type=http, kind=client, component=requests, error=false]
        """
    )
    span = spans.find("http.client.request")
    (headers,) = service.seen
    assert headers["HTTP_X_DATADOG_PARENT_ID"] == str(span.span_id)
    assert headers["HTTP_TRACEPARENT"] == f"00-{span.trace_id:032x}-{span.span_id:016x}-01"
    assert headers["HTTP_BAGGAGE"] == "user=1"
    meta = span.dd["meta"]
    assert (meta["http.method"], meta["http.status_code"], meta["http.url"]) == ("GET", "200", f"{service.url}/200")
    assert meta["http.server_name"] == "127.0.0.1"


def test_credentials_and_secrets_are_sent_but_not_recorded(service, spans):
    """User, password, secrets of the query and the fragment stay out of the span."""
    host = service.url.removeprefix("http://")
    with traced_requests_session() as session:
        session.get(f"http://ann:hunter2@{host}/200?page=1&api_key=xyz#top")
    span = spans.find("http.client.request")
    assert span.tag("url.full") == f"http://{host}/200?page=1&<redacted>"
    assert "hunter2" not in str(span.dd)
    assert service.seen[0]["HTTP_AUTHORIZATION"].startswith("Basic ")


@pytest.mark.parametrize(("status", "error"), [(200, False), (399, False), (400, True), (499, True), (500, False)])
def test_client_errors_are_errors(service, spans, status, error):
    """By default 4xx marks a client span: a 5xx is the server's error, whose own span says so."""
    with traced_requests_session() as session:
        session.get(f"{service.url}/{status}")
    span = spans.find("http.client.request")
    assert (span.error, span.error_type) == (error, str(status) if error else None)
    assert span.error_message == {400: "400 Bad Request", 499: "499"}.get(status)


def test_each_hop_of_a_redirect_is_a_span(service, spans):
    """The headers of each hop name the span of that hop."""
    with traced_requests_session() as session, dd.span("work"):
        assert session.get(f"{service.url}/redirect").text == "ok"
    clients = spans.find_all("http.client.request")
    assert [span.tag("http.status_code") for span in clients] == ["302", "200"]
    assert [headers["HTTP_X_DATADOG_PARENT_ID"] for headers in service.seen] == [str(span.span_id) for span in clients]
    assert {span.parent_id for span in clients} == {spans.find("work").span_id}


def test_a_failed_connection_is_an_error_that_goes_on(spans):
    """The application gets the library's exception, and the span has it."""
    with traced_requests_session() as session, pytest.raises(requests.ConnectionError):
        session.get("http://127.0.0.1:1/x", timeout=5)
    span = spans.find("http.client.request")
    assert span.error_type == "requests.exceptions.ConnectionError"
    assert span.tag("http.status_code") is None
    assert dd.current_span().span_id == 0


def test_propagation_can_be_restricted(service, spans):
    """Neither ids nor baggage go where they are not wanted; a function that fails sends nothing."""
    for propagate in (False, lambda url: "example" in url, lambda url: 1 / 0, lambda url: True):
        with traced_requests_session(propagate=propagate) as session:
            session.get(f"{service.url}/200")
    assert ["HTTP_TRACEPARENT" in headers for headers in service.seen] == [False, False, False, True]
    assert len(spans) == 4


def test_service_and_hook_name_the_span(service, spans):
    """`service` and `on_request` shape the span."""
    session = traced_requests_session(
        service="shop-db", on_request=lambda span, request: setattr(span, "resource", f"{request.method} /x")
    )
    with session:
        session.get(f"{service.url}/200")
    span = spans.find("http.client.request")
    assert (span.service, span.resource) == ("shop-db", "GET /x")


def test_header_tags_are_recorded(service):
    """Configured headers of request and response become tags."""
    with SpanRecorder(service="t", trace_header_tags="x-answer:answer,x-mine:mine") as spans:
        with traced_requests_session() as session:
            session.get(f"{service.url}/200", headers={"X-Mine": "1"})
        span = spans.find("http.client.request")
    assert (span.tag("answer"), span.tag("mine")) == ("42", "1")


def test_a_session_keeps_its_adapters_and_is_wrapped_once(service, spans):
    """Wrapping goes around what is mounted; a second time it changes nothing."""
    session = requests.Session()
    inner = session.adapters["http://"]
    assert traced_requests_session(session) is session
    wrapped = session.adapters["http://"]
    assert isinstance(wrapped, TracedRequestsAdapter)
    assert traced_requests_session(session).adapters["http://"] is wrapped
    assert wrapped._adapter is inner
    with session:
        session.get(f"{service.url}/200")
    assert len(spans) == 1


def test_an_adapter_can_be_mounted_by_itself(service, spans):
    """Only what is under its prefix is traced."""
    with requests.Session() as session:
        session.mount(f"{service.url}/200", TracedRequestsAdapter())
        session.get(f"{service.url}/200")
        session.get(f"{service.url}/201")
    assert [span.tag("url.full") for span in spans] == [f"{service.url}/200"]


def test_without_tracing_requests_are_sent_as_they_are(service):
    """With tracing off no header is added."""
    with SpanRecorder(service="t", trace_enabled=False), traced_requests_session() as session:
        assert session.get(f"{service.url}/200").text == "ok"
    assert not {"HTTP_TRACEPARENT", "HTTP_X_DATADOG_TRACE_ID"} & service.seen[0].keys()
