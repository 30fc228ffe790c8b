"""`httpx`: transports whose requests are client spans and carry the trace.

    client = httpx.Client(transport=TracedHttpxTransport())
    client = httpx.AsyncClient(transport=AsyncTracedHttpxTransport())

Each hop of a redirect is a request of its own to a transport, and a span of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from ._client import ClientRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddtrace_manual._model.types import Span

__all__ = ["AsyncTracedHttpxTransport", "TracedHttpxTransport"]


class _Options:
    """What both transports do with a request before it is sent."""

    def __init__(
        self,
        service: str | None,
        propagate: bool | Callable[[str], bool],  # a setting that may be a function
        on_request: Callable[[Span, httpx.Request], object] | None,
    ) -> None:
        self._service = service
        self._propagate = propagate
        self._on_request = on_request

    def begin(self, request: httpx.Request) -> ClientRequest:
        """Start the span of a request and write the headers."""
        call = ClientRequest("httpx", request.method, str(request.url), self._service)
        call.announce(self._on_request, request)
        call.propagate(request.headers, self._propagate)
        call.tag_request(request.headers.get)
        return call


class TracedHttpxTransport(httpx.BaseTransport):
    """A transport that traces what another one sends.

    Args:
        transport: What sends; default: a new `httpx.HTTPTransport`.
        service: Service of the spans; default: that of the current span.
        propagate: Whether trace headers and baggage are sent; a function decides for each URL.
        on_request: Called with the span and the request.

    The span ends with the head of the response.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport | None = None,
        *,
        service: str | None = None,
        propagate: bool | Callable[[str], bool] = True,
        on_request: Callable[[Span, httpx.Request], object] | None = None,
    ) -> None:
        self._transport = httpx.HTTPTransport() if transport is None else transport
        self._options = _Options(service, propagate, on_request)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        with self._options.begin(request) as call:
            response = self._transport.handle_request(request)
            call.respond(response.status_code, response.headers.get)
            return response

    def close(self) -> None:
        """Close the transport behind."""
        self._transport.close()


class AsyncTracedHttpxTransport(httpx.AsyncBaseTransport):
    """An asynchronous transport that traces what another one sends; see `TracedHttpxTransport`.

    Args:
        transport: What sends; default: a new `httpx.AsyncHTTPTransport`.
        service: Service of the spans; default: that of the current span.
        propagate: Whether trace headers and baggage are sent; a function decides for each URL.
        on_request: Called with the span and the request.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        service: str | None = None,
        propagate: bool | Callable[[str], bool] = True,
        on_request: Callable[[Span, httpx.Request], object] | None = None,
    ) -> None:
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport
        self._options = _Options(service, propagate, on_request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        with self._options.begin(request) as call:
            response = await self._transport.handle_async_request(request)
            call.respond(response.status_code, response.headers.get)
            return response

    async def aclose(self) -> None:
        """Close the transport behind."""
        await self._transport.aclose()
