"""The server span that WSGI and ASGI middleware share: from the head of a request to the end of its body."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ddtrace_manual._api.start import record_exit
from ddtrace_manual._base import tags
from ddtrace_manual.exceptions import ConfigurationError

from ._hooks import call_hook
from ._http import ROUTE, SERVER_NAME, STATUS, HttpRules, known_method, mark_failed
from ._incoming import Incoming

if TYPE_CHECKING:
    from ddtrace_manual._model.types import Span

__all__ = ["ServerOptions", "ServerRequest"]

_R = TypeVar("_R")
"""What describes a request: a WSGI environment or an ASGI scope."""

_SERVER_ERROR = 500


class ServerOptions(Generic[_R]):
    """Options of a middleware, checked.

    Args:
        excluded_paths: Paths that are not traced: exact, or a beginning followed by `*`.
        trust_caller: Whether to continue the caller's trace; a function decides for each request. The trace
            of a caller that is not trusted becomes a link, its sampling decision, origin and baggage are
            ignored.
        route: Returns the route of a request once it was handled, for example `/orders/{id}`, or `None`.
        on_request: Called with the span and the request, before the application.

    Raises:
        ConfigurationError: An option is of the wrong type.
    """

    def __init__(
        self,
        *,
        excluded_paths: Iterable[str],
        trust_caller: bool | Callable[[_R], bool],
        route: Callable[[_R], str | None] | None,
        on_request: Callable[[Span, _R], object] | None,
    ) -> None:
        if isinstance(excluded_paths, (str, bytes)):
            raise ConfigurationError(f"excluded_paths must be several paths, not {excluded_paths!r}")
        paths = tuple(excluded_paths)
        if not all(isinstance(path, str) for path in paths):
            raise ConfigurationError(f"excluded_paths must be texts, not {paths!r}")
        for name, value in (("route", route), ("on_request", on_request)):
            if value is not None and not callable(value):
                raise ConfigurationError(f"{name} must be a function or None, not {type(value).__name__}")
        if not isinstance(trust_caller, bool) and not callable(trust_caller):
            raise ConfigurationError(f"trust_caller must be a bool or a function, not {type(trust_caller).__name__}")
        self._exact = frozenset(path for path in paths if not path.endswith("*"))
        self._beginnings = tuple(path[:-1] for path in paths if path.endswith("*"))
        self._trust = trust_caller
        self._route = route
        self._on_request = on_request

    def excludes(self, path: str) -> bool:
        """Tell whether requests for a path are not traced."""
        return path in self._exact or (bool(self._beginnings) and path.startswith(self._beginnings))

    def trusts(self, request: _R) -> bool:
        """Tell whether the caller's trace is continued; a function that fails trusts nobody."""
        trust = self._trust
        if isinstance(trust, bool):
            return trust
        return bool(call_hook(trust, request))

    def route_of(self, request: _R) -> str | None:
        """Return what the application's function says about the route."""
        return None if self._route is None else cast("str | None", call_hook(self._route, request))

    def announce(self, span: Span, request: _R) -> None:
        """Let the application add to a span that was just started."""
        if self._on_request is not None:
            call_hook(self._on_request, span, request)


class ServerRequest(Incoming):
    """One HTTP request's server span and the context in which the application runs. Not thread-safe.

    Args:
        carrier: Whatever holds the request's headers.
        component: Which middleware this is.
        method: As received.
        values: Attributes to start with; taken over.
        rules: Of the configuration in effect.
        trusted: Whether to continue the caller's trace.

    Attributes:
        route: What a framework routed the request to, once that is known.
    """

    __slots__ = ("_is_finished", "_resource", "_rules", "_status", "route")

    def __init__(
        self,
        carrier: object,
        component: str,
        method: str,
        values: dict[str, Any],  # Any: values of every type
        rules: HttpRules,
        *,
        trusted: bool,
    ) -> None:
        self._rules = rules
        self._status = 0
        self._is_finished = False
        self.route: str | None = None
        self._resource = known_method(method)
        values["component"] = component
        options: dict[str, Any] = {  # Any: options of several types
            "kind": "server",
            "span_type": "web",
            "resource": self._resource,
            "tags": values,
        }
        super().__init__(SERVER_NAME, options, carrier, trusted=trusted)

    def respond(self, status: int, header: Callable[[str], str | None]) -> None:
        """Record the head of the response; the last one counts.

        Args:
            status: Its code.
            header: (lower-case name) → value or `None`.
        """
        self._status = status
        if self._rules.tags_headers:
            self._rules.tag_response(self.span, header)

    def fail(self, exc: BaseException) -> None:
        """Record an exception that leaves the application; the server answers 500 if nothing was sent."""
        if not self._is_finished:
            if not self._status and isinstance(exc, Exception):
                self._status = _SERVER_ERROR
            record_exit(self.span, exc)

    def finish(self, route: str | None) -> None:
        """End the span; later calls do nothing.

        Args:
            route: What the request was routed to, if the application says so.
        """
        if self._is_finished:
            return
        self._is_finished = True
        span, status = self.span, self._status
        route = route or span.get_tag(ROUTE) or self.route
        if route:
            span.set_tag(ROUTE, route)
            if span.get_tag(tags.RESOURCE_NAME) == self._resource:
                span.set_tag(tags.RESOURCE_NAME, f"{self._resource} {route}")
        if status:
            span.set_tag(STATUS, status)
            if status in self._rules.server_errors:
                mark_failed(span, status)
        span.end()
