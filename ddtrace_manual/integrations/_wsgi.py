"""WSGI middleware: a server span for each request, from its head to the end of the response's body.

    application = WsgiMiddleware(application)          # Flask: app.wsgi_app = WsgiMiddleware(app.wsgi_app)

The application, the iteration of its body and its `close` run with the span current; in between, where
the server has control, it is not. The span ends with `close`, which servers call also when a client goes
away. A body that is complete when the application returns it (a list, a file for `wsgi.file_wrapper`)
goes to the server as it is, because servers treat those specially; the span ends at once then.

Source: PEP 3333; OpenTelemetry semantic conventions for HTTP spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ddtrace_manual._api.runtime import RUNTIME

from ._http import HttpRules, current_rules, quoted_path
from ._server import ServerOptions, ServerRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIApplication

    from ddtrace_manual._model.types import Span

__all__ = ["WsgiMiddleware"]

Environment = dict[str, Any]  # Any: as in PEP 3333
ExcInfo = Any  # as `sys.exc_info()` returns it

_SPAN_KEY: Final = "ddtrace_manual.span"
"""Entry of the environment that holds the request's span; a second middleware finds it and steps aside."""
_FLASK_REQUEST: Final = "werkzeug.request"


class WsgiMiddleware:
    """A WSGI application that traces the requests of another one.

    Args:
        app: The application.
        excluded_paths: Paths that are not traced: exact, or a beginning followed by `*`.
        trust_caller: Whether to continue the caller's trace; a function of the environment decides for each
            request. The trace of a caller that is not trusted becomes a link; its baggage is dropped.
        route: (environment) → route of a handled request, for example `/orders/<id>`, or `None`. Flask's
            routes are found without it; an application may also set the tag `http.route`.
        on_request: Called with the span and the environment, before the application.

    Raises:
        ConfigurationError: An option is of the wrong type.

    Exceptions of the application are recorded and go on unchanged. Before `configure()` requests pass by.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        excluded_paths: Iterable[str] = (),
        trust_caller: bool | Callable[[Environment], bool] = True,
        route: Callable[[Environment], str | None] | None = None,
        on_request: Callable[[Span, Environment], object] | None = None,
    ) -> None:
        self.app = app
        self._options: ServerOptions[Environment] = ServerOptions(
            excluded_paths=excluded_paths,
            trust_caller=trust_caller,
            route=route,
            on_request=on_request,
        )

    def __call__(self, environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        path = f"{environ.get('SCRIPT_NAME') or ''}{environ.get('PATH_INFO') or ''}"
        if RUNTIME.extract is None or _SPAN_KEY in environ or self._options.excludes(path):
            return self.app(environ, start_response)
        request = self._begin(environ, path)

        def start(status: str, headers: list[tuple[str, str]], exc_info: ExcInfo = None) -> Callable[[bytes], object]:
            request.route = _flask_route(environ)  # Flask forgets it when it returns
            request.respond(_code(status), lambda name: _response_header(headers, name))
            return start_response(status, headers) if exc_info is None else start_response(status, headers, exc_info)

        request.enter()
        try:
            body = self.app(environ, cast("StartResponse", start))
        except BaseException as exc:
            request.fail(exc)
            request.finish(self._options.route_of(environ))
            raise
        finally:
            request.pause()
        if type(body) is list or type(body) is tuple or _is_file(body, environ):
            request.finish(self._options.route_of(environ))
            return body
        return _Body(body, request, lambda: self._options.route_of(environ))

    def _begin(self, environ: Environment, path: str) -> ServerRequest:
        rules = current_rules()
        method = environ.get("REQUEST_METHOD") or "GET"
        request = ServerRequest(
            environ,
            "wsgi",
            method,
            _values(rules, environ, method, path),
            rules,
            trusted=self._options.trusts(environ),
        )
        if rules.tags_headers:
            rules.tag_request(request.span, lambda name: _request_header(environ, name))
        environ[_SPAN_KEY] = request.span
        self._options.announce(request.span, environ)
        return request


def _values(rules: HttpRules, environ: Environment, method: str, path: str) -> dict[str, Any]:  # Any: see HttpRules
    host = environ.get("HTTP_HOST")
    if not host:
        host = f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    scheme = environ.get("wsgi.url_scheme") or "http"
    # PEP 3333 has bytes as latin-1 text.
    encoded = quoted_path(path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace"))
    values = rules.server_values(method, scheme, host, encoded, environ.get("QUERY_STRING") or "")
    agent = environ.get("HTTP_USER_AGENT")
    if agent:
        values["user_agent.original"] = agent
    protocol = environ.get("SERVER_PROTOCOL")
    if protocol:
        values["network.protocol.version"] = protocol.rpartition("/")[2]
    return values


def _code(status: object) -> int:
    """Return the code of a status line, 0 when it has none."""
    digits = status[:3] if isinstance(status, str) else ""
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _request_header(environ: Environment, name: str) -> str | None:
    key = name.upper().replace("-", "_")
    return environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")


def _response_header(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    values = [value for key, value in headers if key.lower() == name]
    return ", ".join(values) if values else None


def _is_file(body: object, environ: Environment) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def _flask_route(environ: Environment) -> str | None:
    """Return the rule that Flask (Werkzeug) matched."""
    rule = getattr(environ.get(_FLASK_REQUEST), "url_rule", None)
    return None if rule is None else str(rule)


class _Body:
    """The application's body; each step of it runs in the request's context."""

    def __init__(self, body: Iterable[bytes], request: ServerRequest, route: Callable[[], str | None]) -> None:
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._request = request
        self._route = route

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        request = self._request
        request.enter()
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            return next(self._iterator)
        except StopIteration:
            if not hasattr(self._body, "close"):
                request.finish(self._route())
            raise
        except BaseException as exc:
            request.fail(exc)
            raise
        finally:
            request.pause()

    def close(self) -> None:
        """Close the application's body, and end the span."""
        request = self._request
        close = getattr(self._body, "close", None)
        request.enter()
        try:
            if close is not None:
                close()
        except BaseException as exc:
            request.fail(exc)
            raise
        finally:
            request.pause()
            request.finish(self._route())
