"""gRPC: interceptors that make calls client and server spans and carry the trace in metadata.

    channel = grpc.intercept_channel(channel, GrpcClientInterceptor())
    server = grpc.server(pool, interceptors=[GrpcServerInterceptor()])

A span lasts as long as the call: for streams until the last message, an error or a cancellation.

Source: OpenTelemetry semantic conventions for gRPC
(https://opentelemetry.io/docs/specs/semconv/rpc/grpc/): every status but OK is an error of the client,
of the server only those that are its own fault.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import grpc
from typing_extensions import Self

from ddtrace_manual._api.other_provider import NoopSpan
from ddtrace_manual._api.propagate import inject
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._api.start import activate_span, record_exit, start
from ddtrace_manual._base.context import get_current, restore

from ._hooks import call_hook
from ._incoming import Incoming

if TYPE_CHECKING:
    from ddtrace_manual._model.types import Span

__all__ = ["GrpcClientInterceptor", "GrpcServerInterceptor"]

_STATUS: Final = "rpc.grpc.status_code"
_SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def _options(kind: str, span_type: str, full_method: object, service: str | None = None) -> dict[str, Any]:
    """Return the options of a span; `full_method` is `/package.Service/Method`, as text or bytes."""
    text = full_method.decode("utf-8", "replace") if isinstance(full_method, bytes) else str(full_method)
    rpc_service, _, method = text.lstrip("/").rpartition("/")
    tags = {"rpc.system": "grpc", "rpc.service": rpc_service, "rpc.method": method, "component": "grpc"}
    resource = f"{method} {rpc_service}" if rpc_service else method
    return {"kind": kind, "span_type": span_type, "resource": resource, "service": service, "tags": tags}


def _finish(span: Span, code: grpc.StatusCode, details: object, *, is_error: bool) -> None:
    """Record the status of a call and end its span."""
    span.set_tag(_STATUS, code.value[0])
    if is_error:
        text = details.decode("utf-8", "replace") if isinstance(details, bytes) else str(details or code.name)
        span.set_error(type=code.name, message=text)
    span.end()


# -- client ----------------------------------------------------------------------------------------------


class _CallDetails(NamedTuple):
    """What gRPC asks of the details of a call."""

    method: Any  # Any: as in gRPC, all of them
    timeout: Any
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class GrpcClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Makes every call of a channel a client span, and writes the trace into the call's metadata.

    Args:
        service: Service of the spans; default: that of the current span.
        propagate: Whether trace metadata and baggage are sent.
        on_request: Called with the span and the details of the call.
    """

    def __init__(
        self,
        *,
        service: str | None = None,
        propagate: bool = True,
        on_request: Callable[[Span, grpc.ClientCallDetails], object] | None = None,
    ) -> None:
        self._service = service
        self._propagate = propagate
        self._on_request = on_request

    def _intercept(self, continuation: Any, details: Any, request: Any) -> Any:  # Any: as in gRPC
        previous = get_current()
        span = start("grpc.client.request", _options("client", "http", details.method, self._service), previous)
        if self._on_request is not None:
            call_hook(self._on_request, span, details)
        metadata = list(details.metadata or ())
        if self._propagate:
            inject(metadata, span=None if isinstance(span, NoopSpan) else span)
        changed = _CallDetails(
            details.method,
            details.timeout,
            metadata,
            details.credentials,
            getattr(details, "wait_for_ready", None),
            getattr(details, "compression", None),
        )
        context = activate_span(span, previous)
        try:
            call = continuation(changed, request)
        except BaseException as exc:
            record_exit(span, exc)
            span.end()
            raise
        finally:
            if context is not None:
                restore(context, previous)
        _when_done(call, lambda: _finish_client(span, call))
        return call

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:  # Any: as in gRPC
        """Trace a call; see gRPC."""
        return self._intercept(continuation, client_call_details, request)

    def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:  # Any: as in gRPC
        """Trace a call; see gRPC."""
        return self._intercept(continuation, client_call_details, request)

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:  # Any: as in gRPC
        """Trace a call; see gRPC."""
        return self._intercept(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:  # Any: as in gRPC
        """Trace a call; see gRPC."""
        return self._intercept(continuation, client_call_details, request_iterator)


def _when_done(call: Any, finish: Callable[[], None]) -> None:  # Any: calls of several kinds
    """Have a function called when a call is over, in whatever thread gRPC chooses."""
    add_done_callback = getattr(call, "add_done_callback", None)
    if add_done_callback is not None:
        add_done_callback(lambda _call: finish())
    elif not call.add_callback(finish):
        finish()


def _finish_client(span: Span, call: Any) -> None:  # Any: calls of several kinds
    code = call_hook(call.code)
    status = code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN
    is_error = status is not grpc.StatusCode.OK
    _finish(span, status, call_hook(call.details) if is_error else "", is_error=is_error)


# -- server ----------------------------------------------------------------------------------------------


class GrpcServerInterceptor(grpc.ServerInterceptor):
    """Makes every call to a server a server span that continues the caller's trace.

    Args:
        excluded_methods: Full names of methods that are not traced, for example `/grpc.health.v1.Health/Check`.
        trust_caller: Whether to continue the caller's trace; otherwise it becomes a link.
        on_request: Called with the span and the details of the call.
    """

    def __init__(
        self,
        *,
        excluded_methods: tuple[str, ...] = (),
        trust_caller: bool = True,
        on_request: Callable[[Span, grpc.HandlerCallDetails], object] | None = None,
    ) -> None:
        self._excluded = frozenset(excluded_methods)
        self._trust_caller = trust_caller
        self._on_request = on_request

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # Any: as in gRPC
        """Wrap the handler of a method."""
        handler = continuation(handler_call_details)
        if handler is None or RUNTIME.extract is None or handler_call_details.method in self._excluded:
            return handler
        if handler.request_streaming:
            behaviour = handler.stream_stream if handler.response_streaming else handler.stream_unary
        else:
            behaviour = handler.unary_stream if handler.response_streaming else handler.unary_unary

        def handle(request: Any, context: Any) -> Any:  # Any: messages and contexts of gRPC
            call = _ServerCall(self, handler_call_details, context)
            call.enter()
            try:
                answer = behaviour(request, context)
            except BaseException as exc:
                call.fail(exc)
                raise
            finally:
                call.pause()
            if handler.response_streaming:
                return _Answers(call, answer)
            call.finish()
            return answer

        return _handler_like(handler, handle)

    def begin(self, details: Any) -> Incoming:  # Any: as in gRPC
        """Start the span of a call."""
        incoming = Incoming(
            "grpc.server.request",
            _options("server", "web", details.method),
            [(key, value) for key, value in details.invocation_metadata or ()],
            trusted=self._trust_caller,
        )
        if self._on_request is not None:
            call_hook(self._on_request, incoming.span, details)
        return incoming


def _handler_like(handler: Any, handle: Callable[[Any, Any], Any]) -> Any:  # Any: handlers of gRPC
    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = makers[bool(handler.request_streaming), bool(handler.response_streaming)]
    return make(handle, handler.request_deserializer, handler.response_serializer)


class _ServerCall:
    """The span of one call to the server; it ends once, whoever notices first that the call is over."""

    def __init__(self, interceptor: GrpcServerInterceptor, details: Any, context: Any) -> None:  # Any: as in gRPC
        self._incoming = interceptor.begin(details)
        self._context = context
        self._lock = threading.Lock()  # guards _is_finished: gRPC tells about a cancellation in another thread
        self._is_finished = False
        self.enter = self._incoming.enter
        self.pause = self._incoming.pause

    def watch(self) -> None:
        """End the span when the call is over although its answers were not all taken."""
        if not self._context.add_callback(self._terminated):
            self._terminated()

    def _terminated(self) -> None:
        self._end(grpc.StatusCode.CANCELLED, "")

    def fail(self, exc: BaseException) -> None:
        """Record an exception that leaves the handler; `abort` raises one without a meaning of its own."""
        code = _code_of(self._context)
        if code is None or not (type(exc) is Exception and not exc.args):
            with self._lock:
                if not self._is_finished:
                    record_exit(self._incoming.span, exc)
            code = code or grpc.StatusCode.UNKNOWN
        self._end(code, "", is_recorded=getattr(self._incoming.span, "status_code", 0) != 0)

    def finish(self) -> None:
        """End the span with what the handler set, or OK."""
        self._end(_code_of(self._context) or grpc.StatusCode.OK, "")

    def _end(self, code: grpc.StatusCode, details: str, *, is_recorded: bool = False) -> None:
        with self._lock:
            if self._is_finished:
                return
            self._is_finished = True
        details = details or str(_details_of(self._context))
        _finish(self._incoming.span, code, details, is_error=code in _SERVER_FAULTS and not is_recorded)


def _code_of(context: Any) -> grpc.StatusCode | None:  # Any: as in gRPC
    """Return the status that the handler has set."""
    code = call_hook(context.code) if hasattr(context, "code") else None
    return code if isinstance(code, grpc.StatusCode) else _CODES.get(cast("Any", code))


def _details_of(context: Any) -> str:  # Any: as in gRPC
    details = call_hook(context.details) if hasattr(context, "details") else ""
    return details.decode("utf-8", "replace") if isinstance(details, bytes) else str(details or "")


class _Answers:
    """A stream of answers; each step of the handler runs in the call's context."""

    def __init__(self, call: _ServerCall, answers: Any) -> None:  # Any: any iterable
        self._call = call
        self._answers: Iterator[Any] = iter(answers)
        call.watch()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:  # Any: a message
        call = self._call
        call.enter()
        try:
            return next(self._answers)
        except StopIteration:
            call.finish()
            raise
        except BaseException as exc:
            call.fail(exc)
            raise
        finally:
            call.pause()
