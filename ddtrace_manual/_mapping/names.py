"""Service, operation name, resource name and type of a span, finished or still open.

The sampler asks the same functions as the exporter, so that a rule sees what the product shows.

Deviation from the Rust SDK: the span's own `resource.name` beats one of the OpenTelemetry resource.

Source: spec/span-mapping.md §3, §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from ddtrace_manual._base import tags

from .attributes import RESERVED, format_value, text_of
from .settings import DEFAULT_SERVICE, MappingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ddtrace_manual._model import SpanRecord

__all__ = ["KIND_NAMES", "STEERING", "Names", "rpc_call", "scope_fields"]

KIND_NAMES = ("internal", "server", "client", "producer", "consumer")
"""Lower-case names of the kinds, by the number of `SpanKind`."""

STEERING = frozenset(
    {
        "db.query.text",
        "db.statement",
        "db.system",
        "db.system.name",
        "faas.invoked_name",
        "faas.invoked_provider",
        "faas.trigger",
        "graphql.operation.name",
        "graphql.operation.type",
        "http.method",
        "http.request.method",
        "http.route",
        "messaging.destination",
        "messaging.destination.name",
        "messaging.operation",
        "messaging.operation.type",
        "messaging.system",
        "network.protocol.name",
        "rpc.method",
        "rpc.service",
        "rpc.system",
        "rpc.system.name",
    }
)
"""Attributes from which the names of a span of the OpenTelemetry API are derived."""

_INTERNAL = SpanKind.INTERNAL
_SERVER = SpanKind.SERVER
_CLIENT = SpanKind.CLIENT
_AWS_API = "aws-api"

_SQL_SYSTEMS = frozenset(
    {
        "adabas",
        "cache",
        "clickhouse",
        "cloudscape",
        "cockroachdb",
        "coldfusion",
        "db2",
        "derby",
        "edb",
        "filemaker",
        "firebird",
        "firstsql",
        "h2",
        "hanadb",
        "hsqldb",
        "ibm.db2",
        "informix",
        "ingres",
        "instantdb",
        "interbase",
        "mariadb",
        "maxdb",
        "microsoft.sql_server",
        "mssql",
        "mysql",
        "netezza",
        "oracle",
        "oracle.db",
        "other_sql",
        "pervasive",
        "pointbase",
        "postgresql",
        "progress",
        "redshift",
        "sap.hana",
        "sap.maxdb",
        "sqlite",
        "sybase",
        "teradata",
        "vertica",
    }
)
_TYPED_SYSTEMS = frozenset({"cassandra", "redis", "memcached", "mongodb", "elasticsearch", "opensearch"})

_Values = Mapping[str, Any]  # Any: attribute values are of any type
_Texts = Mapping[str, str]
_NO_VALUES: _Values = {}


class Names:
    """The naming rules for one set of settings. Immutable, thread-safe; reads spans, never changes them.

    Args:
        settings: Service, service mapping and switches.
        otel_resource: Attributes of the OpenTelemetry resource.
    """

    def __init__(self, settings: MappingSettings, otel_resource: _Values) -> None:
        texts = {key: format_value(value) for key, value in otel_resource.items() if value is not None}
        self._otel_resource = {key: text for key, text in texts.items() if text}
        self.configured_service = _configured_service(settings, self._otel_resource.get(tags.SERVICE_NAME, ""))
        self._service_mapping = dict(settings.service_mapping)
        self._resource_from_span_name = settings.resource_from_span_name
        self._otel_semantics = settings.otel_semantics
        self.resource_steers = not (STEERING | RESERVED - {tags.SERVICE_NAME}).isdisjoint(self._otel_resource)
        """The OpenTelemetry resource takes part in names, types or resource names (unusual)."""

    def is_reserved_active(self, span: SpanRecord) -> bool:
        """Tell whether reserved attributes fill fields; with OpenTelemetry semantics only on spans of the facade."""
        return not self._otel_semantics or span.operation_name is not None

    def own_service(self, span: SpanRecord, of_scope: _Texts | None = None) -> str:
        """Return the service that the span or its scope names, before service mapping; "" when they name none.

        Args:
            span: Open or finished.
            of_scope: `scope_fields` of its scope, when known (here and below).
        """
        values = span.values
        own = ""
        if values:
            own = text_of(values, "datadog.service")
            if not own and self.is_reserved_active(span):
                own = text_of(values, tags.SERVICE_NAME)
        return own or _of_scope(span, of_scope, tags.SERVICE_NAME)

    def service_name(self, span: SpanRecord, of_scope: _Texts | None = None) -> str:
        """Return the service of a span (§4.1), service mapping applied."""
        service = self.own_service(span, of_scope) or self.configured_service
        return self._service_mapping.get(service) or service

    def operation_name(self, span: SpanRecord, of_scope: _Texts | None = None) -> str:
        """Return the Datadog operation name (§4.2)."""
        values = span.values or _NO_VALUES
        name = text_of(values, "datadog.name")
        if not name and self.is_reserved_active(span):
            name = text_of(values, tags.OPERATION_NAME)
        name = name or _of_scope(span, of_scope, tags.OPERATION_NAME)
        return name or span.operation_name or _derive_operation_name(values, span.otel_kind)

    def resource_name(self, span: SpanRecord, of_scope: _Texts | None = None) -> str:
        """Return the Datadog resource name (§4.3)."""
        values = span.values or _NO_VALUES
        name = text_of(values, "datadog.resource")
        if not name and self.is_reserved_active(span):
            name = text_of(values, tags.RESOURCE_NAME) or self._otel_resource.get(tags.RESOURCE_NAME, "")
        name = name or _of_scope(span, of_scope, tags.RESOURCE_NAME)
        if name:
            return name
        if span.operation_name is not None or self._resource_from_span_name:
            return span.otel_name
        return _derive_resource_name(self._with_resource(values), span.otel_kind) or span.otel_name

    def span_type(self, span: SpanRecord, of_scope: _Texts | None = None) -> str:
        """Return the Datadog type (§4.4); "" for a span of the facade without one."""
        values = span.values or _NO_VALUES
        given = text_of(values, "datadog.type")
        if not given and self.is_reserved_active(span):
            given = text_of(self._with_resource(values), tags.SPAN_TYPE)
        given = given or _of_scope(span, of_scope, tags.SPAN_TYPE)
        if given or span.operation_name is not None:
            return given
        if span.otel_kind is _SERVER:
            return "web"
        if span.otel_kind is not _CLIENT:
            return "custom"
        system = _first(self._with_resource(values), "db.system.name", "db.system")
        return _type_of_database(system.lower()) if system else "http"

    def _with_resource(self, values: _Values) -> _Values:
        """Return the attributes as `res_span` sees them: non-empty resource attributes hide those of the span."""
        return {**values, **self._otel_resource} if self.resource_steers else values


def _configured_service(settings: MappingSettings, resource_service: str) -> str:
    """Return the service of spans that name none (table of §4.1)."""
    is_real = resource_service and resource_service.split(":", 1)[0] != "unknown_service"
    if is_real and not settings.service_is_user_provided:
        return resource_service
    return settings.service or DEFAULT_SERVICE


def scope_fields(scope: InstrumentationScope | None) -> dict[str, str]:
    """Return the reserved attributes of an instrumentation scope that are not empty; there rarely are any."""
    attributes = None if scope is None else scope.attributes
    if not attributes:
        return {}
    texts = {key: text_of(attributes, key) for key in RESERVED}
    return {key: text for key, text in texts.items() if text}


def _of_scope(span: SpanRecord, of_scope: _Texts | None, key: str) -> str:
    if of_scope is None:
        of_scope = scope_fields(span.scope)
    return of_scope.get(key, "")


def _first(values: _Values, *keys: str) -> str:
    """Return the first non-empty text."""
    for key in keys:
        if key in values:
            text = text_of(values, key)
            if text:
                return text
    return ""


def _derive_resource_name(values: _Values, kind: SpanKind) -> str:  # noqa: PLR0911 - one return per row
    """Rows 2-11 of §4.3; "" when none applies."""
    if STEERING.isdisjoint(values):
        return ""
    method = _first(values, "http.request.method", "http.method")
    if method:
        method = "HTTP" if method == "_OTHER" else method
        return _join(method, text_of(values, "http.route")) if kind is _SERVER else method
    operation = _first(values, "messaging.operation.type", "messaging.operation")
    if operation:
        return _join(operation, _first(values, "messaging.destination", "messaging.destination.name"))
    service, method = rpc_call(values)
    if method:
        return _join(method, service)
    operation = text_of(values, "graphql.operation.type")
    if operation:
        return _join(operation, text_of(values, "graphql.operation.name"))
    if _first(values, "db.system.name", "db.system"):
        return _first(values, "db.statement", "db.query.text")
    return ""


def rpc_call(values: _Values) -> tuple[str, str]:
    """Return service and method of a remote procedure call; "" for what is not known.

    Newer conventions, told by `rpc.system.name`, have both in `rpc.method`: `package.Service/Method`.
    """
    service, method = text_of(values, "rpc.service"), text_of(values, "rpc.method")
    if not service and "/" in method and text_of(values, "rpc.system.name"):
        service, _, method = method.strip("/").rpartition("/")
    return service, method


def _join(left: str, right: str) -> str:
    return f"{left} {right}" if right else left


def _derive_operation_name(values: _Values, kind: SpanKind) -> str:  # noqa: PLR0911 - one return per group of rows
    """Rows 1-16 of the table in §4.2."""
    if not values or STEERING.isdisjoint(values):
        return _name_of_kind(kind)
    is_client, is_server = kind is _CLIENT, kind is _SERVER
    if (is_client or is_server) and _is_present(values, "http.request.method", "http.method"):
        return "http.client.request" if is_client else "http.server.request"
    database = _first(values, "db.system", "db.system.name") if is_client else ""
    if database:
        return f"{database}.query".lower()
    system = text_of(values, "messaging.system")
    operation = _first(values, "messaging.operation", "messaging.operation.type") if system else ""
    if operation and kind is not _INTERNAL:
        return f"{system}.{operation}".lower()
    name = _derive_call_name(values, is_client=is_client, is_server=is_server)
    if name:
        return name.lower()
    if text_of(values, "graphql.operation.type"):
        return "graphql.server.request"
    protocol = text_of(values, "network.protocol.name") if is_client or is_server else ""
    return f"{protocol}.{_name_of_kind(kind)}".lower() if protocol else _name_of_kind(kind)


def _derive_call_name(values: _Values, *, is_client: bool, is_server: bool) -> str:
    """Rows 5-10: remote procedure calls and functions as a service."""
    rpc = _first(values, "rpc.system", "rpc.system.name")
    if rpc == _AWS_API and is_client:
        service, _ = rpc_call(values)
        return f"aws.{service}.request" if service else "aws.client.request"
    if rpc and (is_client or is_server):
        return f"{rpc}.client.request" if is_client else f"{rpc}.server.request"
    if is_client:
        provider, function = text_of(values, "faas.invoked_provider"), text_of(values, "faas.invoked_name")
        return f"{provider}.{function}.invoke" if provider and function else ""
    trigger = text_of(values, "faas.trigger") if is_server else ""
    return f"{trigger}.invoke" if trigger else ""


def _is_present(values: _Values, *keys: str) -> bool:
    for key in keys:  # noqa: SIM110 - any() with a generator is three times slower
        if values.get(key) is not None:
            return True
    return False


def _name_of_kind(kind: SpanKind) -> str:
    if kind is _SERVER:
        return "server.request"
    if kind is _CLIENT:
        return "client.request"
    return KIND_NAMES[kind._value_]


def _type_of_database(system: str) -> str:
    if system in _SQL_SYSTEMS:
        return "sql"
    return system if system in _TYPED_SYSTEMS else "db"
