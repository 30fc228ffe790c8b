"""The client span that all HTTP client helpers share: from the request to the head of the response.

The body is read by the application, in its own time; a span that waited for it might never end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from ddtrace_manual._api.other_provider import NoopSpan
from ddtrace_manual._api.propagate import inject
from ddtrace_manual._api.start import activate_span, record_exit, start
from ddtrace_manual._base.context import Context, get_current, restore

from ._hooks import call_hook
from ._http import CLIENT_NAME, STATUS, current_rules, known_method, mark_failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ddtrace_manual._model.types import Span

__all__ = ["ClientRequest"]


class ClientRequest:
    """One request's client span; current for the length of a `with` block, which ends it. Never raises.

    Args:
        component: Which helper this is.
        method: HTTP method.
        url: What is requested; credentials and secrets in it are not recorded.
        service: Service of the span; default: the current one's.
    """

    __slots__ = ("_context", "_previous", "_rules", "span", "url")
    _context: Context | None

    def __init__(self, component: str, method: str, url: str, service: str | None = None) -> None:
        self._rules = rules = current_rules()
        self.url = url
        values = rules.client_values(method, url)
        values["component"] = component
        options: dict[str, Any] = {  # Any: options of several types
            "kind": "client",
            "span_type": "http",
            "resource": known_method(method),
            "service": service,
            "tags": values,
        }
        self._previous = get_current()
        self.span = start(CLIENT_NAME, options, self._previous)

    def announce(self, hook: Callable[[Span, Any], object] | None, request: object) -> None:
        """Let the application add to the span."""
        if hook is not None:
            call_hook(hook, self.span, request)

    def propagate(
        self,
        headers: Any,  # Any: headers in the form of each library
        to: bool | Callable[[str], bool],  # a setting that may be a function
        setter: Callable[[Any, str, str], None] | None = None,
    ) -> None:
        """Write the headers that continue the trace."""
        if to is True or (callable(to) and call_hook(to, self.url)):
            inject(headers, span=None if isinstance(self.span, NoopSpan) else self.span, setter=setter)

    def tag_request(self, header: Callable[[str], str | None]) -> None:
        """Set the configured tags of request headers; looked up by lower-case name."""
        if self._rules.tags_headers:
            self._rules.tag_request(self.span, header)

    def respond(self, status: int, header: Callable[[str], str | None]) -> None:
        """Record the head of the response."""
        span = self.span
        span.set_tag(STATUS, status)
        if self._rules.tags_headers:
            self._rules.tag_response(span, header)
        if status in self._rules.client_errors:
            mark_failed(span, status)

    def fail(self, exc: BaseException) -> None:
        """Record that there was no response."""
        record_exit(self.span, exc)

    def end(self) -> None:
        """End the span, where it was not made current by a `with` block."""
        self.span.end()

    def __enter__(self) -> Self:
        span = self.span
        self._context = activate_span(span, self._previous)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            record_exit(self.span, exc)
        self.span.end()
        if self._context is not None:
            restore(self._context, self._previous)
