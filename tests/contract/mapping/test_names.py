"""Service, operation name, resource name and type: one case per row of spec/span-mapping.md §4."""

import pytest
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

ALL_KINDS = ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")

OPERATION_NAMES = [
    # row, kind, attributes, name
    (1, "CLIENT", {"http.request.method": "GET"}, "http.client.request"),
    (1, "CLIENT", {"http.method": ""}, "http.client.request"),
    (1, "CLIENT", {"http.method": "GET", "db.system": "redis"}, "http.client.request"),
    (2, "SERVER", {"http.request.method": "GET"}, "http.server.request"),
    (2, "SERVER", {"http.method": "POST", "rpc.system": "grpc"}, "http.server.request"),
    (1, "INTERNAL", {"http.request.method": "GET"}, "internal"),
    (1, "CLIENT", {"http.request.method": None}, "client.request"),
    (3, "CLIENT", {"db.system": "Redis"}, "redis.query"),
    (3, "CLIENT", {"db.system.name": "postgresql"}, "postgresql.query"),
    (3, "CLIENT", {"db.system": "", "db.system.name": "mysql"}, "mysql.query"),
    (3, "SERVER", {"db.system": "redis"}, "server.request"),
    (4, "CONSUMER", {"messaging.system": "Kafka", "messaging.operation": "Receive"}, "kafka.receive"),
    (4, "PRODUCER", {"messaging.system": "sqs", "messaging.operation.type": "publish"}, "sqs.publish"),
    (4, "CLIENT", {"messaging.system": "sqs", "messaging.operation": "send"}, "sqs.send"),
    (4, "SERVER", {"messaging.system": "sqs", "messaging.operation": "process"}, "sqs.process"),
    (4, "INTERNAL", {"messaging.system": "sqs", "messaging.operation": "process"}, "internal"),
    (4, "PRODUCER", {"messaging.system": "sqs"}, "producer"),
    (5, "CLIENT", {"rpc.system": "aws-api", "rpc.service": "S3"}, "aws.s3.request"),
    (5, "CLIENT", {"rpc.system": "AWS-API", "rpc.service": "S3"}, "aws-api.client.request"),
    (6, "CLIENT", {"rpc.system": "aws-api"}, "aws.client.request"),
    (7, "CLIENT", {"rpc.system": "GRPC"}, "grpc.client.request"),
    (8, "SERVER", {"rpc.system": "GRPC"}, "grpc.server.request"),
    (5, "CLIENT", {"rpc.system.name": "aws-api", "rpc.service": "S3"}, "aws.s3.request"),
    (5, "CLIENT", {"rpc.system.name": "aws-api", "rpc.method": "S3/PutObject"}, "aws.s3.request"),
    (6, "CLIENT", {"rpc.system.name": "aws-api", "rpc.method": "PutObject"}, "aws.client.request"),
    (7, "CLIENT", {"rpc.system.name": "grpc", "rpc.method": "p.Users/Get"}, "grpc.client.request"),
    (7, "CLIENT", {"rpc.system": "", "rpc.system.name": "grpc"}, "grpc.client.request"),
    (8, "SERVER", {"rpc.system.name": "GRPC"}, "grpc.server.request"),
    (8, "SERVER", {"rpc.system": "aws-api"}, "aws-api.server.request"),
    (9, "CLIENT", {"faas.invoked_provider": "aws", "faas.invoked_name": "My-Function"}, "aws.my-function.invoke"),
    (9, "CLIENT", {"faas.invoked_provider": "aws"}, "client.request"),
    (10, "SERVER", {"faas.trigger": "Timer"}, "timer.invoke"),
    (10, "CLIENT", {"faas.trigger": "timer"}, "client.request"),
    *[(11, kind, {"graphql.operation.type": "query"}, "graphql.server.request") for kind in ALL_KINDS],
    (12, "SERVER", {"network.protocol.name": "Http"}, "http.server.request"),
    (13, "SERVER", {}, "server.request"),
    (14, "CLIENT", {"network.protocol.name": "Amqp"}, "amqp.client.request"),
    (15, "CLIENT", {}, "client.request"),
    (16, "INTERNAL", {}, "internal"),
    (16, "PRODUCER", {}, "producer"),
    (16, "CONSUMER", {"network.protocol.name": "amqp"}, "consumer"),
    ("given", "CLIENT", {"operation.name": "My.Name", "db.system": "redis"}, "My.Name"),
    ("given", "CLIENT", {"operation.name": "", "db.system": "redis"}, "redis.query"),
    ("override", "CLIENT", {"datadog.name": "Over", "operation.name": "x"}, "Over"),
]


@pytest.mark.parametrize(("row", "kind", "attributes", "name"), OPERATION_NAMES)
def test_operation_name(map_one, row, kind, attributes, name):
    """The first row that applies gives the operation name of a span of the OpenTelemetry API."""
    assert map_one(attributes, kind=kind)["name"] == name


RESOURCE_NAMES = [
    # row, kind, attributes, OpenTelemetry resource, resource name
    (1, "SERVER", {"resource.name": "mine", "http.method": "GET"}, {}, "mine"),
    (1, "SERVER", {"resource.name": "mine"}, {"resource.name": "of the resource"}, "mine"),
    (1, "SERVER", {}, {"resource.name": "of the resource"}, "of the resource"),
    (1, "SERVER", {"resource.name": "", "http.method": "GET"}, {}, "GET"),
    (2, "SERVER", {"http.request.method": "GET", "http.route": "/u/:id"}, {}, "GET /u/:id"),
    (2, "SERVER", {"http.method": "PUT", "http.route": "/u"}, {}, "PUT /u"),
    (2, "SERVER", {"http.request.method": "_OTHER", "http.route": "/u"}, {}, "HTTP /u"),
    (2, "SERVER", {"http.request.method": "GET", "http.method": "PUT"}, {"http.method": "POST"}, "GET"),
    (2, "SERVER", {"http.request.method": "GET"}, {"http.request.method": "POST"}, "POST"),
    (3, "CLIENT", {"http.request.method": "GET", "http.route": "/u"}, {}, "GET"),
    (3, "SERVER", {"http.request.method": "GET", "http.route": ""}, {}, "GET"),
    (4, "CONSUMER", {"messaging.operation": "receive", "messaging.destination": "q"}, {}, "receive q"),
    (4, "INTERNAL", {"messaging.operation.type": "send", "messaging.destination.name": "q"}, {}, "send q"),
    (
        4,
        "CONSUMER",
        {"messaging.operation.type": "a", "messaging.operation": "b", "messaging.destination": "q"},
        {},
        "a q",
    ),
    (5, "CONSUMER", {"messaging.operation": "receive"}, {}, "receive"),
    (6, "CLIENT", {"rpc.method": "Get", "rpc.service": "Users"}, {}, "Get Users"),
    (6, "CLIENT", {"rpc.system.name": "grpc", "rpc.method": "p.Users/Get"}, {}, "Get p.Users"),
    (6, "SERVER", {"rpc.system.name": "grpc", "rpc.method": "/p.Users/Get"}, {}, "Get p.Users"),
    (6, "CLIENT", {"rpc.system.name": "grpc", "rpc.method": "a/b", "rpc.service": "Users"}, {}, "a/b Users"),
    (7, "CLIENT", {"rpc.method": "Get"}, {}, "Get"),
    (7, "CLIENT", {"rpc.system": "grpc", "rpc.method": "p.Users/Get"}, {}, "p.Users/Get"),
    (7, "CLIENT", {"rpc.service": "Users"}, {}, "otel.name"),
    (8, "SERVER", {"graphql.operation.type": "query", "graphql.operation.name": "me"}, {}, "query me"),
    (9, "SERVER", {"graphql.operation.type": "query"}, {}, "query"),
    (10, "CLIENT", {"db.system": "mysql", "db.statement": "SELECT 1", "db.query.text": "SELECT 2"}, {}, "SELECT 1"),
    (10, "CLIENT", {"db.statement": "SELECT 1"}, {}, "otel.name"),
    (11, "CLIENT", {"db.system.name": "mysql", "db.query.text": "SELECT 2"}, {}, "SELECT 2"),
    (12, "CLIENT", {"db.system": "mysql"}, {}, "otel.name"),
    (12, "INTERNAL", {}, {}, "otel.name"),
    ("override", "SERVER", {"datadog.resource": "over", "resource.name": "mine"}, {}, "over"),
]


@pytest.mark.parametrize(("row", "kind", "attributes", "otel_resource", "name"), RESOURCE_NAMES)
def test_resource_name(map_one, row, kind, attributes, otel_resource, name):
    """The first row that applies gives the resource name of a span of the OpenTelemetry API."""
    dd_span = map_one(attributes, kind=kind, settings={"resource_attributes": otel_resource})
    assert dd_span["resource"] == name


@pytest.mark.parametrize(("row", "kind", "attributes", "otel_resource", "name"), RESOURCE_NAMES)
def test_resource_from_span_name(map_one, row, kind, attributes, otel_resource, name):
    """With `resource_from_span_name` rows 2-11 are skipped, explicit resource names still count."""
    settings = {"resource_attributes": otel_resource, "resource_from_span_name": True}
    explicit = row == "override" or (row == 1 and name != "GET")
    assert map_one(attributes, kind=kind, settings=settings)["resource"] == (name if explicit else "otel.name")


SYSTEMS = {
    "sql": "other_sql mssql mysql oracle db2 postgresql redshift cloudscape hsqldb maxdb ingres firstsql edb cache "
    "firebird derby informix mariadb sqlite sybase teradata vertica h2 coldfusion cockroachdb progress hanadb adabas "
    "filemaker instantdb interbase netezza pervasive pointbase clickhouse PostgreSQL "
    "microsoft.sql_server oracle.db ibm.db2 sap.hana sap.maxdb",
    "cassandra": "cassandra",
    "redis": "redis REDIS",
    "memcached": "memcached",
    "mongodb": "mongodb",
    "elasticsearch": "elasticsearch",
    "opensearch": "opensearch",
    "db": "hive hbase neo4j couchbase couchdb cosmosdb dynamodb geode mssqlcompact spanner trino",
}


@pytest.mark.parametrize("key", ["db.system", "db.system.name"])
@pytest.mark.parametrize(("system", "span_type"), [(s, t) for t, systems in SYSTEMS.items() for s in systems.split()])
def test_type_of_database(map_one, key, system, span_type):
    """The type of a client span follows its database system, whatever its case."""
    assert map_one({key: system}, kind="CLIENT")["type"] == span_type


@pytest.mark.parametrize(
    ("kind", "attributes", "span_type"),
    [
        ("SERVER", {}, "web"),
        ("SERVER", {"db.system": "mysql"}, "web"),
        ("CLIENT", {}, "http"),
        ("CLIENT", {"db.system": ""}, "http"),
        ("CLIENT", {"db.system.name": "redis", "db.system": "mysql"}, "redis"),
        ("INTERNAL", {"db.system": "mysql"}, "custom"),
        ("PRODUCER", {}, "custom"),
        ("CONSUMER", {}, "custom"),
        ("SERVER", {"span.type": "worker"}, "worker"),
        ("SERVER", {"span.type": ""}, "web"),
        ("SERVER", {"datadog.type": "over", "span.type": "worker"}, "over"),
    ],
)
def test_type(map_one, kind, attributes, span_type):
    """The type is the given one, else follows kind and database system."""
    assert map_one(attributes, kind=kind)["type"] == span_type


def test_type_of_the_otel_resource_comes_first(map_one):
    """`span.type` of the OpenTelemetry resource beats that of the span."""
    dd_span = map_one({"span.type": "worker"}, settings={"resource_attributes": {"span.type": "job"}})
    assert dd_span["type"] == "job"


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize(
    "attributes", [{}, {"http.method": "GET", "http.route": "/"}, {"db.system": "mysql", "db.statement": "x"}]
)
def test_facade_names(map_one, kind, attributes):
    """A span of the facade keeps its name and resource, and has no type of its own."""
    dd_span = map_one(attributes, kind=kind, operation_name="web.request", otel_name="web.request")
    assert (dd_span["name"], dd_span["resource"]) == ("web.request", "web.request")
    assert "type" not in dd_span


def test_facade_reserved_attributes(map_one):
    """Reserved attributes win over the names of the facade and never become tags."""
    given = {"operation.name": "op", "resource.name": "res", "service.name": "svc", "span.type": "sql", "n": 1}
    dd_span = map_one(given, operation_name="web.request")
    assert [dd_span[field] for field in ("name", "resource", "service", "type")] == ["op", "res", "svc", "sql"]
    assert not dd_span["meta"].keys() & given.keys()
    assert dd_span["metrics"]["n"] == 1.0


def test_facade_resource_follows_update_name(map_one):
    """Renaming the OpenTelemetry span of the facade changes the resource, not the operation name."""
    dd_span = map_one(operation_name="web.request", otel_name="renamed")
    assert (dd_span["name"], dd_span["resource"]) == ("web.request", "renamed")


CONFIGURED = {"service": "configured", "service_is_user_provided": True}


@pytest.mark.parametrize(
    ("attributes", "settings", "service"),
    [
        ({}, {}, "unnamed-python-service"),
        ({}, {"service": ""}, "unnamed-python-service"),
        ({}, CONFIGURED, "configured"),
        ({}, {"service": "inferred", "resource_attributes": {"service.name": "unknown_service"}}, "inferred"),
        ({}, {"service": "inferred", "resource_attributes": {"service.name": "unknown_service:python"}}, "inferred"),
        ({}, {"service": "inferred", "resource_attributes": {"service.name": "real"}}, "real"),
        ({}, CONFIGURED | {"resource_attributes": {"service.name": "real"}}, "configured"),
        ({}, CONFIGURED | {"resource_attributes": {"service.name": "unknown_service"}}, "configured"),
        ({"service.name": "mine"}, CONFIGURED, "mine"),
        ({"service.name": ""}, CONFIGURED, "configured"),
        ({"service.name": None}, CONFIGURED, "configured"),
        ({"service.name": 7}, CONFIGURED, "7"),
        ({"service.name": "mine", "datadog.service": "over"}, CONFIGURED, "over"),
        ({"datadog.service": ""}, CONFIGURED, "configured"),
        ({}, CONFIGURED | {"service_mapping": {"configured": "mapped", "mapped": "twice"}}, "mapped"),
        ({"service.name": "mine"}, CONFIGURED | {"service_mapping": {"mine": "mapped"}}, "mapped"),
    ],
)
def test_service(map_one, attributes, settings, service):
    """The service is the span's own, else the resource's or configured one; the service mapping is applied once."""
    assert map_one(attributes, settings=settings)["service"] == service


@pytest.mark.parametrize("reserved", ["service.name", "operation.name", "resource.name", "span.type"])
def test_scope_fills_fields(map_one, reserved):
    """Reserved attributes of the instrumentation scope fill fields of spans that do not fill them themselves."""
    field = {"service.name": "service", "operation.name": "name", "resource.name": "resource", "span.type": "type"}
    scope = InstrumentationScope("lib", attributes={reserved: "by scope"})
    assert map_one(scope=scope)[field[reserved]] == "by scope"
    assert map_one({reserved: "by span"}, scope=scope)[field[reserved]] == "by span"
    assert reserved not in map_one(scope=scope)["meta"]
