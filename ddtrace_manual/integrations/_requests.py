"""`requests`: sessions whose requests are client spans and carry the trace.

    session = traced_requests_session()                     # or traced_requests_session(my_session)
    session.get("https://shop.example/orders")

The span is made by the transport adapter, so that each hop of a redirect and each repeated attempt of
an authentication is a span of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from ._client import ClientRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddtrace_manual._model.types import Span

__all__ = ["TracedRequestsAdapter", "traced_requests_session"]

_S = TypeVar("_S", bound=requests.Session)


class TracedRequestsAdapter(BaseAdapter):
    """A transport adapter that traces what another one sends; mount it where tracing is wanted.

    Args:
        adapter: What sends; default: an `HTTPAdapter`.
        service: Service of the spans; default: that of the current span.
        propagate: Whether trace headers and baggage are sent; a function decides for each URL.
        on_request: Called with the span and the prepared request.

    The span ends with the head of the response.
    """

    def __init__(
        self,
        adapter: BaseAdapter | None = None,
        *,
        service: str | None = None,
        propagate: bool | Callable[[str], bool] = True,
        on_request: Callable[[Span, requests.PreparedRequest], object] | None = None,
    ) -> None:
        super().__init__()
        self._adapter = HTTPAdapter() if adapter is None else adapter
        self._service = service
        self._propagate = propagate
        self._on_request = on_request

    def send(
        self,
        request: requests.PreparedRequest,
        *args: Any,  # Any: options of the adapter behind
        **kwargs: Any,
    ) -> requests.Response:
        """Send one request."""
        call = ClientRequest("requests", request.method or "GET", request.url or "", self._service)
        call.announce(self._on_request, request)
        call.propagate(request.headers, self._propagate)
        call.tag_request(request.headers.get)
        with call:
            response = self._adapter.send(request, *args, **kwargs)
            call.respond(response.status_code, response.headers.get)
            return response

    def close(self) -> None:
        """Close the adapter behind."""
        self._adapter.close()


@overload
def traced_requests_session(
    session: _S,
    *,
    service: str | None = None,
    propagate: bool | Callable[[str], bool] = True,
    on_request: Callable[[Span, requests.PreparedRequest], object] | None = None,
) -> _S: ...


@overload
def traced_requests_session(
    session: None = None,
    *,
    service: str | None = None,
    propagate: bool | Callable[[str], bool] = True,
    on_request: Callable[[Span, requests.PreparedRequest], object] | None = None,
) -> requests.Session: ...


def traced_requests_session(
    session: requests.Session | None = None,
    *,
    service: str | None = None,
    propagate: bool | Callable[[str], bool] = True,
    on_request: Callable[[Span, requests.PreparedRequest], object] | None = None,
) -> requests.Session:
    """Trace the requests of a session, and return it.

    Every adapter that is mounted is wrapped; one that is mounted later is not traced.

    Args:
        session: Default: a new one. A session that is traced already stays as it is.
        service: See `TracedRequestsAdapter`.
        propagate: See `TracedRequestsAdapter`.
        on_request: See `TracedRequestsAdapter`.
    """
    traced = requests.Session() if session is None else session
    for prefix, adapter in list(traced.adapters.items()):
        if not isinstance(adapter, TracedRequestsAdapter):
            wrapped = TracedRequestsAdapter(adapter, service=service, propagate=propagate, on_request=on_request)
            traced.mount(prefix, wrapped)
    return traced
