"""gRPC interceptors, over a real server on loopback."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import ddtrace_manual as dd
from ddtrace_manual.integrations import GrpcClientInterceptor, GrpcServerInterceptor
from ddtrace_manual.integrations._grpc import _when_done
from ddtrace_manual.testing import SpanRecorder

SERVICE = "shop.Orders"


class Service:
    """What a handler does is in the message: `fail`, `abort`, `code`, `wait`; otherwise it echoes in upper case."""

    def __init__(self):
        self.metadata = []
        self.released = threading.Event()
        self.ended = threading.Event()
        """A stream is over; set after the span heard of it, which asked to be told earlier."""

    def act(self, message, context):
        self.metadata.append(dict(context.invocation_metadata()))
        with dd.span("work"):
            if message == b"fail":
                raise KeyError("lost")
            if message == b"abort":
                context.abort(grpc.StatusCode.NOT_FOUND, "no such order")
            if message == b"internal":
                context.abort(grpc.StatusCode.INTERNAL, "broken")
            if message == b"code":
                context.set_code(grpc.StatusCode.UNAVAILABLE)
                context.set_details("later")
            return message.upper()

    def unary_unary(self, request, context):
        return self.act(request, context)

    def unary_stream(self, request, context):
        context.add_callback(self.ended.set)
        for number in range(3):
            yield self.act(request, context) + str(number).encode()
            if request == b"wait":
                self.released.wait(30)

    def stream_unary(self, requests, context):
        return b"".join(self.act(request, context) for request in requests)

    def stream_stream(self, requests, context):
        for request in requests:
            yield self.act(request, context)

    def handler(self):
        kinds = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
        methods = {kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self, kind)) for kind in kinds}
        return grpc.method_handlers_generic_handler(SERVICE, methods)


class Watch(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Knows when each call is over and its span with it: gRPC tells in a thread of its own, after the last answer."""

    def __init__(self):
        self.calls = []

    def watch(self, continuation, details, request):
        call = continuation(details, request)
        over = threading.Event()
        _when_done(call, over.set)  # after the callback of the interceptor inside
        self.calls.append(over)
        return call

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = watch


@contextlib.contextmanager
def running(client=None, server=None):
    """Run the service; yield it with a channel to it. All calls are over when the block ends."""
    service = Service()
    interceptors = [GrpcServerInterceptor() if server is None else server]
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=[service.handler()], interceptors=interceptors)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            watch = Watch()
            inner = GrpcClientInterceptor() if client is None else client
            service.channel = grpc.intercept_channel(channel, watch, inner)
            yield service
        assert all(over.wait(20) for over in watch.calls)
        service.released.set()
        server.stop(5).wait()


def method(service, kind):
    """Return a function that calls a method of the service."""
    return getattr(service.channel, kind)(f"/{SERVICE}/{kind}")


CALLS = {
    "unary_unary": lambda call, message: [call(message, timeout=20)],
    "unary_stream": lambda call, message: list(call(message, timeout=20)),
    "stream_unary": lambda call, message: [call(iter([message]), timeout=20)],
    "stream_stream": lambda call, message: list(call(iter([message]), timeout=20)),
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_is_a_client_and_a_server_span_of_one_trace(spans, kind):
    """For each kind of method the server continues the client's trace, and the handler runs under its span."""
    with running() as service, dd.span("caller"):
        dd.set_baggage("user", "1")
        answers = CALLS[kind](method(service, kind), b"hello")
    assert answers[0].startswith(b"HELLO")
    works = ["        work"] * len(answers)
    spans.assert_tree(
        "\n".join(
            [
                "caller",
                f'  grpc.client.request [resource="{kind} {SERVICE}", kind=client, type=http, rpc.grpc.status_code=0]',
                f'    grpc.server.request [resource="{kind} {SERVICE}", kind=server, type=web, rpc.grpc.status_code=0]',
                *[line[2:] for line in works],
            ]
        )
    )
    server = spans.find("grpc.server.request")
    assert (server.tag("rpc.system"), server.tag("rpc.service"), server.tag("rpc.method")) == ("grpc", SERVICE, kind)
    assert not any(span.error for span in spans)
    assert service.metadata[0]["baggage"] == "user=1"


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize(
    ("message", "status", "server_error", "client_error"),
    [
        (b"fail", 2, "KeyError", "UNKNOWN"),
        (b"abort", 5, None, "NOT_FOUND"),
        (b"internal", 13, "INTERNAL", "INTERNAL"),
        (b"code", 14, "UNAVAILABLE", "UNAVAILABLE"),
    ],
)
def test_statuses_are_recorded_on_both_sides(spans, kind, message, status, server_error, client_error):
    """The client counts every status as its error, the server only its own faults; exceptions go on."""
    with running() as service, pytest.raises(grpc.RpcError):
        CALLS[kind](method(service, kind), message)
    server, client = spans.find("grpc.server.request"), spans.find("grpc.client.request")
    assert (server.tag("rpc.grpc.status_code"), client.tag("rpc.grpc.status_code")) == (status, status)
    assert (server.error_type, client.error_type) == (server_error, client_error)
    if message == b"abort":
        assert client.error_message == "no such order"
        assert server.error is False


def test_a_stream_that_is_cancelled_ends_both_spans(spans):
    """When the client goes away the server's span ends with the status CANCELLED, which is not its fault."""
    with running() as service:
        answers = method(service, "unary_stream")(b"wait")
        assert next(answers) == b"WAIT0"
        answers.cancel()
        with pytest.raises(grpc.RpcError):
            list(answers)
        assert service.ended.wait(20)  # released earlier, the handler might be done before the server hears of it
    server, client = spans.find("grpc.server.request"), spans.find("grpc.client.request")
    assert (server.tag("rpc.grpc.status_code"), server.error) == (1, False)
    assert client.error_type == "CANCELLED"


def test_a_future_ends_its_span_when_it_is_done(spans):
    """Calls that are not waited for are traced as well."""
    with running() as service:
        assert method(service, "unary_unary").future(b"hello").result(20) == b"HELLO"
    assert spans.find("grpc.client.request").tag("rpc.grpc.status_code") == 0


def test_an_unreachable_server_is_an_error(spans):
    """The status of the failed connection is on the client span."""
    with grpc.insecure_channel("127.0.0.1:1") as bare:
        channel = grpc.intercept_channel(bare, GrpcClientInterceptor())
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/a.B/c")(b"", timeout=10)
    span = spans.find("grpc.client.request")
    assert span.error_type in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_options_shape_spans_and_metadata(spans):
    """Services, hooks, propagation and exclusion are settings of the interceptors; own metadata stays."""
    client = GrpcClientInterceptor(
        service="orders", propagate=False, on_request=lambda span, details: span.set_tag("m", details.method)
    )
    server = GrpcServerInterceptor(
        excluded_methods=(f"/{SERVICE}/stream_unary",),
        on_request=lambda span, details: span.set_tag("m", details.method),
    )
    with running(client, server) as service:
        method(service, "unary_unary")(b"x", metadata=[("mine", "1")])
        method(service, "stream_unary")(iter([b"x"]))
    first = spans.find_all("grpc.client.request")[0]
    assert (first.service, first.tag("m")) == ("orders", f"/{SERVICE}/unary_unary")
    only = spans.find("grpc.server.request")
    assert (only.parent_id, only.tag("m")) == (0, f"/{SERVICE}/unary_unary")
    assert service.metadata[0]["mine"] == "1"
    assert "traceparent" not in service.metadata[0]


def test_an_untrusted_caller_is_only_linked(spans):
    """The server starts a trace of its own with a link to the caller."""
    with running(server=GrpcServerInterceptor(trust_caller=False)) as service:
        method(service, "unary_unary")(b"x")
    server, client = spans.find("grpc.server.request"), spans.find("grpc.client.request")
    assert server.trace_id != client.trace_id
    assert [link.span_id for link in server.links] == [client.span_id]


def test_unknown_methods_have_no_server_span(spans):
    """Nobody handles them; the client's span says so."""
    with running() as service, pytest.raises(grpc.RpcError):
        service.channel.unary_unary("/shop.Orders/nothing")(b"x")
    assert spans.find().tag("rpc.grpc.status_code") == 12


def test_without_tracing_calls_pass_by():
    """With tracing off no metadata is added."""
    with SpanRecorder(service="t", trace_enabled=False), running() as service:
        assert method(service, "unary_unary")(b"x") == b"X"
    assert "traceparent" not in service.metadata[0]
