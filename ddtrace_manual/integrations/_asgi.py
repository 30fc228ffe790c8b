"""ASGI middleware: a server span for each HTTP request, from its head to the end of the response's body.

    app = AsgiMiddleware(app)              # Starlette, FastAPI: app.add_middleware(AsgiMiddleware)

The span ends with the last part of the body, not with the application: background tasks that run
afterwards belong to the trace, but do not make the request longer. Websockets and lifespan messages
pass through untouched; before the server hears that the application has shut down, what is finished is delivered.

Source: the ASGI specification (https://asgi.readthedocs.io/en/latest/specs/www.html); OpenTelemetry
semantic conventions for HTTP spans.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.log import get_logger
from ddtrace_manual._setup.lifecycle import flush

from ._http import HttpRules, current_rules, quoted_path
from ._server import ServerOptions, ServerRequest

if TYPE_CHECKING:
    from ddtrace_manual._model.types import Span

__all__ = ["AsgiMiddleware"]

Scope = MutableMapping[str, Any]  # Any: as in the ASGI specification, here and below
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = get_logger("integrations")

_SHUT_DOWN: Final = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})
_FLUSH_TIMEOUT_S: Final = 5.0
_SPAN_KEY: Final = "ddtrace_manual.span"
"""Entry of the scope that holds the request's span; a second middleware finds it and steps aside."""


class AsgiMiddleware:
    """An ASGI application that traces the HTTP requests of another one.

    Args:
        app: The application.
        excluded_paths: Paths that are not traced: exact, or a beginning followed by `*`.
        trust_caller: Whether to continue the caller's trace; a function of the scope decides for each request.
            The trace of a caller that is not trusted becomes a link; its baggage is dropped.
        route: (scope) → route of a handled request, for example `/orders/{id}`, or `None`. Routes of Starlette
            and FastAPI are found without it; an application may also set the tag `http.route`.
        on_request: Called with the span and the scope, before the application.

    Raises:
        ConfigurationError: An option is of the wrong type.

    Exceptions of the application are recorded and go on unchanged. Before `configure()` requests pass by.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        excluded_paths: Iterable[str] = (),
        trust_caller: bool | Callable[[Scope], bool] = True,
        route: Callable[[Scope], str | None] | None = None,
        on_request: Callable[[Span, Scope], object] | None = None,
    ) -> None:
        self.app = app
        self._options: ServerOptions[Scope] = ServerOptions(
            excluded_paths=excluded_paths,
            trust_caller=trust_caller,
            route=route,
            on_request=on_request,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if (
            scope["type"] != "http"
            or RUNTIME.extract is None
            or _SPAN_KEY in scope
            or self._options.excludes(scope["path"])
        ):
            await self.app(scope, receive, _delivering(send) if scope["type"] == "lifespan" else send)
            return
        request = self._begin(scope)
        scope = {**scope, _SPAN_KEY: request.span}
        options = self._options
        has_trailers = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_trailers
            kind = message["type"]
            if kind == "http.response.start":
                headers = message.get("headers") or ()
                has_trailers = bool(message.get("trailers"))
                request.respond(message["status"], lambda name: _header(headers, name))
            await send(message)
            if kind == "http.response.body" and not message.get("more_body") and not has_trailers:
                finish()

        def finish() -> None:
            request.route = _starlette_route(scope)
            request.finish(options.route_of(scope))

        request.enter()
        try:
            await self.app(scope, receive, send_and_note)
        except BaseException as exc:
            request.fail(exc)
            raise
        finally:
            request.exit()
            finish()

    def _begin(self, scope: Scope) -> ServerRequest:
        rules = current_rules()
        headers = scope.get("headers") or ()
        request = ServerRequest(
            headers,
            "asgi",
            scope["method"],
            _values(rules, scope),
            rules,
            trusted=self._options.trusts(scope),
        )
        if rules.tags_headers:
            rules.tag_request(request.span, lambda name: _header(headers, name))
        self._options.announce(request.span, scope)
        return request


def _delivering(send: Send) -> Send:
    """Return a `send` of the lifespan that delivers traces when the application has shut down.

    Before the message is passed on, because the server waits for that alone: uvicorn then kills itself at once.
    """

    async def send_when_delivered(message: Message) -> None:
        if message["type"] in _SHUT_DOWN and RUNTIME.extract is not None:
            try:
                await _run_off_the_loop(partial(flush, _FLUSH_TIMEOUT_S))
            except Exception:  # no thread can be started; the server must not wait for ever
                _log.debug("Traces could not be delivered at the end of the lifespan", exc_info=True)
        await send(message)

    return send_when_delivered


async def _run_off_the_loop(action: Callable[[], object]) -> None:
    """Run an action that blocks in a thread, under asyncio or trio."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        await sys.modules["trio"].to_thread.run_sync(action)
    else:
        await loop.run_in_executor(None, action)


def _values(rules: HttpRules, scope: Scope) -> dict[str, Any]:  # Any: see HttpRules
    host = agent = ""
    for name, value in scope.get("headers") or ():
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"user-agent":
            agent = value.decode("latin-1")
    if not host and scope.get("server"):
        name, port = scope["server"]
        host = f"{name}:{port}" if port is not None else ""
    raw = scope.get("raw_path")
    path = raw.partition(b"?")[0].decode("latin-1") if raw else quoted_path(scope["path"])
    query = (scope.get("query_string") or b"").decode("latin-1")
    values = rules.server_values(scope["method"], scope.get("scheme") or "http", host, path, query)
    if agent:
        values["user_agent.original"] = agent
    version = scope.get("http_version")
    if version:
        values["network.protocol.version"] = version
    return values


def _header(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """Return the values of a header; applications may spell names in any case."""
    wanted = name.encode("latin-1", "replace")
    values = [value.decode("latin-1") for key, value in headers if key.lower() == wanted]
    return ", ".join(values) if values else None


def _starlette_route(scope: Scope) -> str | None:
    """Return the path of the route that Starlette or FastAPI matched, with what it is mounted under."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    if not isinstance(path, str):
        return None
    mounted = str(scope.get("root_path") or "")
    # A mounted application that is no router (static files): its own path is part of the root path by now.
    return f"{mounted}{path}" if hasattr(route, "endpoint") else mounted
