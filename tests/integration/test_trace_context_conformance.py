"""The rules of W3C Trace Context, end to end: a traced service that is called over a socket and calls back.

The cases follow https://www.w3.org/TR/trace-context/ (level 1) and level 2; the service is tested once as a
WSGI application that calls with requests and once as an ASGI application that calls with httpx.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import re
import socket
import threading
import wsgiref.simple_server
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import ddtrace_manual as dd
from ddtrace_manual.integrations import (
    AsgiMiddleware,
    AsyncTracedHttpxTransport,
    WsgiMiddleware,
    traced_requests_session,
)

pytestmark = pytest.mark.integration

TRACE, PARENT = "12345678901234567890123456789012", "1234567890123456"
VALID = f"00-{TRACE}-{PARENT}-01"
TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


# -- the harness: remembers what the service sends to it ---------------------------------------------------


class _Harness(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.received.append(self.headers)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture(scope="module")
def harness():
    """A server that remembers the headers of its requests."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Harness) as server:
        server.received = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# -- the service: passes the rest of a chain of addresses on to the first of them ----------------------------


def wsgi_service():
    """Return the service as a WSGI application that calls with requests."""
    session = traced_requests_session()
    session.trust_env = False

    def app(environ, start_response):
        chain = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with dd.span("work"):
            for address in chain[:1]:
                session.post(address, json=chain[1:], timeout=20)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    return WsgiMiddleware(app)


def asgi_service():
    """Return the service as an ASGI application that calls with httpx."""

    async def pass_on(request):
        chain = await request.json()
        client = httpx.AsyncClient(transport=AsyncTracedHttpxTransport(), trust_env=False)
        async with dd.span("work"), client:
            for address in chain[:1]:
                await client.post(address, json=chain[1:], timeout=20)
        return PlainTextResponse("ok")

    return AsgiMiddleware(Starlette(routes=[Route("/", pass_on, methods=["POST"])]))


class _SilentHandler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        """Stay silent."""


class _ThreadingWsgiServer(http.server.ThreadingHTTPServer, wsgiref.simple_server.WSGIServer):
    """Several requests at a time: a service of the chain calls itself."""


@contextlib.contextmanager
def serve_wsgi():
    """Run the WSGI service."""
    address = ("127.0.0.1", 0)
    with wsgiref.simple_server.make_server(*address, wsgi_service(), _ThreadingWsgiServer, _SilentHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serve_asgi():
    """Run the ASGI service."""
    listener = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets=sockets)
            started.set()

    server = Server(uvicorn.Config(asgi_service(), log_level="critical", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert started.wait(20)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(params=["wsgi", "asgi"])
def service(request, harness, spans):
    """The running service: called with headers it gives what the harness received; `stop()` ends all its spans."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context((serve_wsgi if request.param == "wsgi" else serve_asgi)())

        def call(headers, hops=1):
            harness.received.clear()
            chain = [url] * (hops - 1) + [f"http://127.0.0.1:{harness.server_port}/"]
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
            body = json.dumps(chain).encode()
            connection.putrequest("POST", "/")
            for name, value in [*headers, ("Content-Length", str(len(body)))]:
                connection.putheader(name, value)
            connection.endheaders(body)
            assert connection.getresponse().read() == b"ok"
            connection.close()
            (received,) = harness.received
            return sent(received)

        call.stop = stack.close
        yield call


def sent(received):
    """Return what the service sent: ids, flags and the foreign members of its tracestate."""
    assert received.get_all("traceparent") is not None
    (traceparent,) = received.get_all("traceparent")
    match = TRACEPARENT.fullmatch(traceparent)
    assert match is not None, traceparent
    trace, parent, flags = match.groups()
    assert 0 not in (int(trace, 16), int(parent, 16))
    members = [member.split("=", 1) for member in ",".join(received.get_all("tracestate") or []).split(",") if member]
    assert len(members) <= 32
    assert members[0][0] == "dd"
    assert len({key for key, _ in members}) == len(members)
    foreign = [(key, value) for key, value in members if key not in ("dd", "ot")]
    return SimpleNamespace(trace=trace, parent=parent, flags=flags, members=foreign)


# -- traceparent ---------------------------------------------------------------------------------------------

CONTINUED = {
    "plain": [("traceparent", VALID)],
    "TraceParent": [("TraceParent", VALID)],
    "TrAcEpArEnT": [("TrAcEpArEnT", VALID)],
    "TRACEPARENT": [("TRACEPARENT", VALID)],
    "blanks around": [("traceparent", f" \t {VALID} \t ")],
    "future version": [("traceparent", f"cc-{TRACE}-{PARENT}-01")],
    "future version with a tail": [("traceparent", f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like")],
    "random flag": [("traceparent", f"00-{TRACE}-{PARENT}-03")],
    "unknown flags": [("traceparent", f"00-{TRACE}-{PARENT}-ff")],
}

RESTARTED = {
    "absent": [],
    "trace-parent": [("trace-parent", VALID)],
    "trace.parent": [("trace.parent", VALID)],
    "twice": [("traceparent", VALID), ("traceparent", f"00-{TRACE}-{PARENT}-00")],
    "twice the same": [("traceparent", VALID), ("TraceParent", VALID)],
    "version ff": [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
    "version 00 with a tail": [("traceparent", f"{VALID}-what-the-future-will-be-like")],
    "version 00 with a dot": [("traceparent", f"{VALID}.what")],
    "future version with a dot": [("traceparent", f"cc-{TRACE}-{PARENT}-01.what")],
    "illegal version": [("traceparent", f".0-{TRACE}-{PARENT}-01")],
    "long version": [("traceparent", f"000-{TRACE}-{PARENT}-01")],
    "short version": [("traceparent", f"0-{TRACE}-{PARENT}-01")],
    "zero trace id": [("traceparent", f"00-{'0' * 32}-{PARENT}-01")],
    "illegal trace id": [("traceparent", f"00-.{TRACE[1:]}-{PARENT}-01")],
    "upper-case trace id": [("traceparent", f"00-{'ABCDEF' + TRACE[6:]}-{PARENT}-01")],
    "long trace id": [("traceparent", f"00-{TRACE}3-{PARENT}-01")],
    "short trace id": [("traceparent", f"00-{TRACE[1:]}-{PARENT}-01")],
    "zero parent id": [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
    "illegal parent id": [("traceparent", f"00-{TRACE}-{PARENT[:-1]}.-01")],
    "long parent id": [("traceparent", f"00-{TRACE}-{PARENT}7-01")],
    "short parent id": [("traceparent", f"00-{TRACE}-{PARENT[1:]}-01")],
    "illegal flags": [("traceparent", f"00-{TRACE}-{PARENT}-.0")],
    "long flags": [("traceparent", f"00-{TRACE}-{PARENT}-001")],
    "short flags": [("traceparent", f"00-{TRACE}-{PARENT}-1")],
    "empty": [("traceparent", "")],
}


@pytest.mark.parametrize("case", CONTINUED)
def test_a_valid_traceparent_is_continued(service, case):
    """The trace id goes on with a parent id of our own, and only flag bits that we know: sampled and random."""
    result = service([*CONTINUED[case], ("tracestate", "foo=1")])
    flags = "03" if case in ("random flag", "unknown flags") else "01"
    assert (result.trace, result.flags, result.members) == (TRACE, flags, [("foo", "1")])
    assert result.parent != PARENT


@pytest.mark.parametrize("case", RESTARTED)
def test_an_invalid_traceparent_restarts_the_trace(service, case):
    """A new trace id, and nothing of the tracestate that came with it."""
    result = service([*RESTARTED[case], ("tracestate", "foo=1")])
    assert TRACE[1:-1] not in result.trace
    assert (result.flags, result.members) == ("01", [])


def test_the_sampled_flag_is_respected(service, spans):
    """A trace that was not sampled upstream is not sampled here."""
    assert service([("traceparent", f"00-{TRACE}-{PARENT}-00")]).flags == "00"
    service.stop()
    assert {span.priority for span in spans} == {0}


# -- tracestate ----------------------------------------------------------------------------------------------

ALLOWED_KEY = "".join(map(chr, [*range(ord("a"), ord("z") + 1)])) + "0123456789_-*/"
ALLOWED_VALUE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in ",=")
LISTS = {
    "one header": ([("tracestate", "foo=1,bar=2")], [("foo", "1"), ("bar", "2")]),
    "mixed casing": ([("TrAcEsTaTe", "foo=1")], [("foo", "1")]),
    "upper-case": ([("TRACESTATE", "foo=1")], [("foo", "1")]),
    "wrong name": ([("trace-state", "foo=1"), ("trace.state", "foo=1")], []),
    "several headers": (
        [("tracestate", "foo=1,bar=2"), ("tracestate", "rojo=1,congo=2"), ("TraceState", "baz=3")],
        [("foo", "1"), ("bar", "2"), ("rojo", "1"), ("congo", "2"), ("baz", "3")],
    ),
    "an empty header": ([("tracestate", "foo=1"), ("tracestate", "")], [("foo", "1")]),
    "an empty header first": ([("tracestate", ""), ("tracestate", "foo=1")], [("foo", "1")]),
    "only an empty header": ([("tracestate", "")], []),
    "blanks": ([("tracestate", "foo=1 \t , \t bar=2, \t baz=3")], [("foo", "1"), ("bar", "2"), ("baz", "3")]),
    "trailing blanks": (
        [("tracestate", "foo=1\t \t,\t \tbar=2,\t \tbaz=3 ")],
        [("foo", "1"), ("bar", "2"), ("baz", "3")],
    ),
    "repeated key": ([("tracestate", "foo=1,foo=2")], [("foo", "1")]),
    "repeated key in two headers": ([("tracestate", "foo=1"), ("tracestate", "foo=2")], [("foo", "1")]),
    "allowed characters": ([("tracestate", f"{ALLOWED_KEY}={ALLOWED_VALUE}")], [(ALLOWED_KEY, ALLOWED_VALUE)]),
    "multi-tenant key": ([("tracestate", f"{'t' * 241}@{'v' * 14}=1")], [(f"{'t' * 241}@{'v' * 14}", "1")]),
    "a blank within": ([("tracestate", "foo=a b")], [("foo", "a b")]),
    "a member without value": ([("tracestate", "foo=1,bar,baz=3")], []),
    "31 members": (
        [("tracestate", ",".join(f"bar{number:02}={number:02}" for number in range(31)))],
        [(f"bar{number:02}", f"{number:02}") for number in range(31)],
    ),
    "a control character": ([("tracestate", "foo=1,bar=\x01")], []),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_tracestate_arrives_and_leaves(service, case):
    """Members of other vendors go on in order; one that is not legal discards all of them, but not the trace."""
    headers, members = LISTS[case]
    result = service([("traceparent", VALID), *headers])
    assert (result.trace, result.members) == (TRACE, members)


@pytest.mark.parametrize(("received", "sent"), [(32, 31), (33, 0)])
def test_at_most_32_members_are_taken_and_sent(service, received, sent):
    """Ours is the first of 32 that leave; more than 32 that arrive are discarded."""
    result = service([("traceparent", VALID), ("tracestate", ",".join(f"b{number}=1" for number in range(received)))])
    assert result.members == [(f"b{number}", "1") for number in range(sent)]


# -- chains --------------------------------------------------------------------------------------------------


def test_many_hops_are_one_trace_in_order(service, spans):
    """Six times through the service: each server span is the child of the client span before it."""
    result = service([("TRACEPARENT", VALID), ("TraceState", "foo=1"), ("baggage", "user=1")], hops=6)
    assert (result.trace, result.members) == (TRACE, [("foo", "1")])
    service.stop()
    by_id = {span.span_id: span for span in spans}
    span, names = by_id[int(result.parent, 16)], []
    while span is not None:
        names.append(span.name)
        assert span.trace_id == int(TRACE, 16)
        parent_id, span = span.parent_id, by_id.get(span.parent_id)
    assert names == ["http.client.request", "work", "http.server.request"] * 6
    assert parent_id == int(PARENT, 16)


def test_hops_of_a_new_trace_agree(service, spans):
    """A trace that begins at the first hop has one id and one decision in all of them."""
    result = service([], hops=3)
    service.stop()
    assert {span.trace_id for span in spans} == {int(result.trace, 16)}
    assert {span.priority for span in spans} == {1}
