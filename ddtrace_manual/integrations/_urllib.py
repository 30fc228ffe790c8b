"""`urllib.request`: an opener whose requests are client spans and carry the trace.

    opener = traced_urllib_opener()
    opener.open("https://shop.example/orders")

One call is one span, redirects and repeated authentication included; the whole chain carries the same
headers. Nothing is installed: `urllib.request.install_opener` is the application's to call.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast
from urllib.error import HTTPError
from urllib.request import BaseHandler, OpenerDirector, Request, build_opener

from ._client import ClientRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddtrace_manual._model.types import Span

__all__ = ["TracedUrllibOpener", "traced_urllib_opener"]

_inside: ContextVar[OpenerDirector | None] = ContextVar("ddtrace_manual_urllib_opener", default=None)
"""The opener whose call of `open` is being traced."""


class TracedUrllibOpener(OpenerDirector):
    """An opener that traces each call of `open`; made by `traced_urllib_opener`.

    Args:
        service: Service of the spans; default: that of the current span.
        propagate: Whether trace headers and baggage are sent; a function decides for each URL.
        on_request: Called with the span and the request.
    """

    def __init__(
        self,
        *,
        service: str | None = None,
        propagate: bool | Callable[[str], bool] = True,
        on_request: Callable[[Span, Request], object] | None = None,
    ) -> None:
        super().__init__()
        self._service = service
        self._propagate = propagate
        self._on_request = on_request

    def open(self, fullurl: str | Request, data: Any = None, *args: Any, **kwargs: Any) -> Any:  # Any: as in urllib
        """Open a URL; see `urllib.request.OpenerDirector.open`."""
        request = Request(fullurl, data) if isinstance(fullurl, str) else fullurl  # noqa: S310 - the application's URL
        if data is not None:
            request.data = data
        # Handlers open the next hop of a redirect and repeat with credentials through this very method.
        if _inside.get() is self or request.type not in ("http", "https"):
            return super().open(request, None, *args, **kwargs)
        call = ClientRequest("urllib", request.get_method(), request.full_url, self._service)
        call.announce(self._on_request, request)
        call.propagate(request, self._propagate, _set_header)
        call.tag_request(lambda name: request.get_header(name.capitalize()))
        token = _inside.set(self)
        try:
            with call:
                answer = self._open_one(request, *args, **kwargs)
                call.respond(answer.status, answer.headers.get)
        finally:
            _inside.reset(token)
        if isinstance(answer, HTTPError):  # an answer for the span, an exception for the caller
            raise answer
        return answer

    def _open_one(self, request: Request, *args: Any, **kwargs: Any) -> Any:  # Any: as in urllib
        try:
            return super().open(request, None, *args, **kwargs)
        except HTTPError as exc:
            return exc


def traced_urllib_opener(
    *handlers: BaseHandler | type[BaseHandler],
    service: str | None = None,
    propagate: bool | Callable[[str], bool] = True,
    on_request: Callable[[Span, Request], object] | None = None,
) -> TracedUrllibOpener:
    """Return an opener with the handlers that `urllib.request.build_opener` would give it.

    Args:
        *handlers: Further handlers.
        service: See `TracedUrllibOpener`.
        propagate: See `TracedUrllibOpener`.
        on_request: See `TracedUrllibOpener`.
    """
    opener = TracedUrllibOpener(service=service, propagate=propagate, on_request=on_request)
    for handler in cast("Any", build_opener(*handlers)).handlers:  # Any: typeshed has no `handlers`
        opener.add_handler(handler)
    return opener


def _set_header(request: Request, name: str, value: str) -> None:
    request.add_header(name, value)
