"""What HTTP spans say: attributes, errors, header tags, and URLs that hold no secrets.

`HttpRules` is pure: one configuration in, rules out. `current_rules` derives them once for each
configuration that `configure()` installs.

Source: OpenTelemetry semantic conventions for HTTP spans
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/); spec/configuration.md §8.6.

Deliberate deviations: server spans have `url.full` as well, because Datadog shows it; addresses of
clients are not recorded; which statuses are errors is configured; a fragment is never recorded.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from opentelemetry.trace import StatusCode

from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base import tags as _tags
from ddtrace_manual._model import STATUS_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ddtrace_manual._model.types import Span
    from ddtrace_manual.config import Config

__all__ = [
    "CLIENT_NAME",
    "ROUTE",
    "SERVER_NAME",
    "STATUS",
    "HttpRules",
    "current_rules",
    "known_method",
    "mark_failed",
    "quoted_path",
]

CLIENT_NAME: Final = "http.client.request"
SERVER_NAME: Final = "http.server.request"
METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
STATUS: Final = "http.response.status_code"

_METHODS = {
    name: name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
}
_OTHER_METHOD = "_OTHER"
_MAX_URL = 2048
"""Longest recorded URL and query, in characters: it bounds memory and the work of the redaction."""
_NOT_IN_TAG = re.compile("[^a-z0-9_:/-]")
_NOT_IN_PATH = re.compile(r"[^A-Za-z0-9/._~!$&'()*+,;=:@%-]")
_NOT_IN_HOST = re.compile(r"[^A-Za-z0-9._~:\[\]-]")
_END_OF_AUTHORITY = re.compile(r"[/?#\\]")
_REDACTED = "<redacted>"
_MAX_STATUS = 999
_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus}


class HttpRules:
    """How one configuration wants HTTP requests recorded. Immutable, thread-safe; nothing here raises.

    Args:
        header_tags: Lower-case header name → tag; "" stands for the tag derived from the name.
        server_errors: Ranges of status codes, both ends included, that mark a server span as failed.
        client_errors: The same for client spans.
        server_query: Whether server spans have the query.
        client_query: Whether client spans have it.
        redaction: Regular expression of what must not be seen of a query; "" for nothing. `None`: the
            expression is unusable, and no query is recorded.
    """

    def __init__(
        self,
        *,
        header_tags: Mapping[str, str],
        server_errors: Iterable[tuple[int, int]],
        client_errors: Iterable[tuple[int, int]],
        server_query: bool,
        client_query: bool,
        redaction: str | None,
    ) -> None:
        self.server_errors = _codes(server_errors)
        self.client_errors = _codes(client_errors)
        self._server_query = server_query and redaction is not None
        self._client_query = client_query and redaction is not None
        self._redaction = re.compile(redaction) if redaction else None
        self._request_tags = _tags_of(header_tags, "http.request.headers.")
        self._response_tags = _tags_of(header_tags, "http.response.headers.")
        self.tags_headers = bool(header_tags)
        """Whether any header is recorded; spares the look-ups."""

    @classmethod
    def of(cls, config: Config) -> HttpRules:
        """Return the rules of a configuration."""
        return cls(
            header_tags=config.header_tags,
            server_errors=config.trace_http_server_error_statuses,
            client_errors=config.trace_http_client_error_statuses,
            server_query=config.http_server_tag_query_string,
            client_query=config.trace_http_client_tag_query_string,
            redaction=config.trace_obfuscation_query_string_regexp,
        )

    def server_values(
        self,
        method: str,
        scheme: str,
        host: str,
        path: str,
        query: str,
    ) -> dict[str, Any]:  # Any: text and numbers
        """Return the attributes that a server span starts with.

        Args:
            method: As received.
            scheme: `http` or `https`.
            host: With the port where there is one, as the `Host` header has it; what is no host is left out.
            path: Percent-encoded.
            query: Without `?`, "" for none.
        """
        values = _method_values(method)
        values["url.scheme"] = scheme
        values["url.path"] = path = path[:_MAX_URL]
        query = self._clean_query(query) if query and self._server_query else ""
        if query:
            values["url.query"] = query
        if host and _NOT_IN_HOST.search(host) is None:
            _add_address(values, host)
            values["url.full"] = f"{scheme}://{host}{path}?{query}" if query else f"{scheme}://{host}{path}"
        return values

    def client_values(self, method: str, url: str) -> dict[str, Any]:  # Any: text and numbers
        """Return the attributes that a client span starts with; the URL as it is requested."""
        values = _method_values(method)
        scheme, separator, rest = url.partition("://")
        if not separator:
            return values  # nobody could send that; it may hold anything
        end = _END_OF_AUTHORITY.search(rest)
        authority, target = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
        host = authority.rpartition("@")[2]
        if host:
            _add_address(values, host)
        path, _, query = target.partition("#")[0].partition("?")
        query = self._clean_query(query) if query and self._client_query else ""
        full = f"{scheme}://{host}{path}"
        values["url.full"] = f"{full[:_MAX_URL]}?{query}" if query else full[:_MAX_URL]
        return values

    def _clean_query(self, query: str) -> str:
        """Return a query without secrets, cut behind its last whole parameter when it is long."""
        if len(query) > _MAX_URL:
            query = query[:_MAX_URL].rpartition("&")[0]
        return query if self._redaction is None else self._redaction.sub(_REDACTED, query)

    def tag_request(self, span: Span, get: Callable[[str], str | None]) -> None:
        """Set the tags of request headers.

        Args:
            span: Receives them.
            get: (lower-case header name) → value or `None`.
        """
        _set_tags(span, self._request_tags, get)

    def tag_response(self, span: Span, get: Callable[[str], str | None]) -> None:
        """Set the tags of response headers."""
        _set_tags(span, self._response_tags, get)


def known_method(method: str) -> str:
    """Return the method as a resource name may have it: strangers cannot make names up."""
    return _METHODS.get(method) or _METHODS.get(method.upper(), "HTTP")


def mark_failed(span: Span, status: int) -> None:
    """Mark a span as failed by its status, unless something more telling did."""
    if getattr(span, "status_code", None) != STATUS_ERROR:
        span.set_tag(_tags.ERROR_TYPE, str(status))
        # Without a description the message would be the bare code, and a list of errors show "402: 402".
        phrase = _PHRASES.get(status)
        span.set_status(StatusCode.ERROR, f"{status} {phrase}" if phrase else str(status))


def quoted_path(path: str) -> str:
    """Return a decoded path in percent-encoded form."""
    return path if _NOT_IN_PATH.search(path) is None else quote(path, safe="/._~!$&'()*+,;=:@%-", errors="replace")


def _method_values(method: str) -> dict[str, Any]:  # Any: see HttpRules.server_values
    known = _METHODS.get(method) or _METHODS.get(method.upper())
    if known == method:
        return {METHOD: method}
    return {METHOD: known or _OTHER_METHOD, "http.request.method_original": method[:64]}


def _add_address(values: dict[str, Any], host: str) -> None:  # Any: see HttpRules.server_values
    """Split a host with an optional port; an IPv6 address has brackets."""
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5 and not name.endswith(":"):  # digits of a port
        values["server.address"] = name.strip("[]")
        values["server.port"] = int(port)
    else:
        values["server.address"] = host.strip("[]")


def _codes(ranges: Iterable[tuple[int, int]]) -> frozenset[int]:
    return frozenset(code for low, high in ranges for code in range(max(low, 0), min(high, _MAX_STATUS) + 1))


def _tags_of(header_tags: Mapping[str, str], prefix: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (header.strip(), tag.strip() or prefix + _NOT_IN_TAG.sub("_", header.strip()))
        for header, tag in header_tags.items()
    )


def _set_tags(span: Span, tags: tuple[tuple[str, str], ...], get: Callable[[str], str | None]) -> None:
    for header, tag in tags:
        value = get(header)
        if value is not None:
            span.set_tag(tag, value)


_UNCONFIGURED = HttpRules(
    header_tags={},
    server_errors=((500, 599),),
    client_errors=((400, 499),),
    server_query=False,
    client_query=False,
    redaction=None,
)
"""Without a configuration nobody said what a secret looks like: no query is recorded."""

_current: tuple[Config | None, HttpRules] = (None, _UNCONFIGURED)


def current_rules() -> HttpRules:
    """Return the rules of the configuration in effect."""
    global _current  # noqa: PLW0603 - a cache of one entry; two threads at once make it twice
    config, rules = _current
    if config is not RUNTIME.config:
        config = RUNTIME.config
        rules = _UNCONFIGURED if config is None else HttpRules.of(config)
        _current = (config, rules)
    return rules
