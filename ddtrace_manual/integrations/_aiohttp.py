"""`aiohttp`: a trace configuration that makes the requests of a client session client spans.

    session = aiohttp.ClientSession(trace_configs=[aiohttp_trace_config()])

A request that is redirected is one span, from its start to the head of the last response; the whole
chain carries the same headers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import aiohttp

from ._client import ClientRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddtrace_manual._model.types import Span

__all__ = ["aiohttp_trace_config"]


def aiohttp_trace_config(
    *,
    service: str | None = None,
    propagate: bool | Callable[[str], bool] = True,
    on_request: Callable[[Span, aiohttp.TraceRequestStartParams], object] | None = None,
) -> aiohttp.TraceConfig:
    """Return a trace configuration for `aiohttp.ClientSession`.

    Args:
        service: Service of the spans; default: that of the current span.
        propagate: Whether trace headers and baggage are sent; a function decides for each URL.
        on_request: Called with the span and what aiohttp tells about the request.
    """

    async def start(
        _session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestStartParams
    ) -> None:
        context.ddtrace_manual = call = ClientRequest("aiohttp", params.method, str(params.url), service)
        call.announce(on_request, params)
        call.propagate(params.headers, propagate)
        call.tag_request(params.headers.get)

    async def end(
        _session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        call: ClientRequest = context.ddtrace_manual
        call.respond(params.response.status, params.response.headers.get)
        call.end()

    async def fail(
        _session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        call: ClientRequest = context.ddtrace_manual
        call.fail(params.exception)
        call.end()

    config = aiohttp.TraceConfig()
    config.on_request_start.append(start)
    config.on_request_end.append(end)
    config.on_request_exception.append(fail)
    return config
