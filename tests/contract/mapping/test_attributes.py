"""Keys and values of attributes: one case per row of spec/span-mapping.md §3, §6, §7."""

import math

import pytest
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

ABSENT = object()

KEYS = [
    ("client.address", "http.client_ip"),
    ("http.response.body.size", "http.response.content_length"),
    ("http.request.body.size", "http.request.content_length"),
    ("http.request.header.referrer", "http.referrer"),
    ("http.request.method", "http.method"),
    ("http.route", "http.route"),
    ("network.protocol.version", "http.version"),
    ("server.address", "http.server_name"),
    ("url.full", "http.url"),
    ("user_agent.original", "http.useragent"),
    ("http.request.header.x-id", "http.request.headers.x-id"),
    ("http.request.header.", "http.request.headers."),
    ("anything.else", "anything.else"),
    ("", ""),
]


@pytest.mark.parametrize("from_facade", [False, True])
@pytest.mark.parametrize(("key", "datadog_key"), KEYS)
def test_key(map_one, key, datadog_key, from_facade):
    """An attribute gets its Datadog key and does not keep the original one."""
    operation_name = "op" if from_facade else None
    meta = map_one({key: "v"}, operation_name=operation_name)["meta"]
    assert meta[datadog_key] == "v"
    assert key == datadog_key or key not in meta


@pytest.mark.parametrize(("key", "datadog_key"), KEYS)
def test_key_of_resource_attribute(map_one, key, datadog_key):
    """Resource attributes get the same keys and become text."""
    meta = map_one(settings={"resource_attributes": {key: 5}})["meta"]
    assert meta[datadog_key] == "5"


@pytest.mark.parametrize(
    "key",
    ["service.name", "operation.name", "resource.name", "span.type", "datadog.anything", "manual.keep", "manual.drop"],
)
@pytest.mark.parametrize("value", ["x", 1, False, None])
def test_consumed(map_one, key, value):
    """Attributes that steer the mapping or the sampling never become tags."""
    dd_span = map_one({key: value})
    assert key not in dd_span["meta"]
    assert key not in dd_span["metrics"]


VALUES = [
    # value, in meta, in metrics
    ("text", {"k": "text"}, {}),
    ("", {"k": ""}, {}),
    (b"ab\xff", {"k": "ab\ufffd"}, {}),
    (True, {"k": "true"}, {}),
    (False, {"k": "false"}, {}),
    (7, {}, {"k": 7.0}),
    (2**53 + 1, {}, {"k": float(2**53)}),
    (10**400, {}, {}),
    (1.5, {}, {"k": 1.5}),
    (math.nan, {}, {}),
    (math.inf, {}, {}),
    (-math.inf, {}, {}),
    (None, {}, {}),
    (["val1", "val2"], {"k.0": "val1", "k.1": "val2"}, {}),
    ([10, 20], {}, {"k.0": 10.0, "k.1": 20.0}),
    ([True, False], {"k.0": "true", "k.1": "false"}, {}),
    ([["a", "b"], ["c"]], {"k.0.0": "a", "k.0.1": "b", "k.1.0": "c"}, {}),
    (("a", 1, None, b"x", 2.5), {"k.0": "a", "k.3": "x"}, {"k.1": 1.0, "k.4": 2.5}),
    ({"one"}, {"k.0": "one"}, {}),
    (frozenset({2}), {}, {"k.0": 2.0}),
    ([], {}, {}),
    ([[], None], {}, {}),
    ({"a": {"b": [1]}, "c": "d", 5: True}, {"k.c": "d", "k.5": "true"}, {"k.a.b.0": 1.0}),
    (1 + 2j, {"k": "(1+2j)"}, {}),
]


@pytest.mark.parametrize(("value", "meta", "metrics"), VALUES)
def test_value(map_one, value, meta, metrics):
    """Text and booleans go to meta, numbers to metrics, nested values are flattened."""
    dd_span = map_one({"k": value})
    assert {key: text for key, text in dd_span["meta"].items() if key.split(".")[0] == "k"} == meta
    assert {key: number for key, number in dd_span["metrics"].items() if key.split(".")[0] == "k"} == metrics


@pytest.mark.parametrize("value", [None, "x", 3, 2.5, [1]])
def test_span_attribute_beats_constants(map_one, value):
    """A span attribute replaces a global tag or resource attribute of its name, in whichever map; `None` removes it."""
    settings = {"tags": {"a": "global", "b": 1}, "resource_attributes": {"c": "resource"}}
    dd_span = map_one({"a": value, "b": value, "c": value}, settings=settings)
    for key in "abc":
        in_meta, in_metrics = dd_span["meta"].get(key), dd_span["metrics"].get(key)
        if value == [1]:  # the flattened tags come beside
            assert dd_span["metrics"][f"{key}.0"] == 1.0
        else:
            assert (in_meta, in_metrics) == (
                "x" if value == "x" else None,
                value if isinstance(value, (int, float)) else None,
            )


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        *[(text, 1.0) for text in ("1", "t", "T", "TRUE", "true", "True", True, 1)],
        *[(text, 0.0) for text in ("0", "f", "F", "FALSE", "false", "False", False, 0)],
        *[(text, None) for text in ("trUe", "fAlse", "something-else", "", 2, None, ["true"])],
    ],
)
def test_analytics_event(map_one, value, rate):
    """`analytics.event` becomes a rate when Go would parse it as a boolean, else nothing."""
    dd_span = map_one({"analytics.event": value})
    assert dd_span["metrics"].get("_dd1.sr.eausr") == rate
    assert "analytics.event" not in dd_span["meta"]
    assert "analytics.event" not in dd_span["metrics"]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"http.response.status_code": 500}, "500"),
        ({"http.status_code": 404}, "404"),
        ({"http.status_code": 404.0}, "404"),
        ({"http.status_code": 404.5}, "404.5"),
        ({"http.status_code": "201"}, "201"),
        ({"http.response.status_code": "201"}, "201"),
        ({"datadog.http_status_code": 418, "http.response.status_code": 500, "http.status_code": 404}, "418"),
        ({"http.response.status_code": 500, "http.status_code": 404}, "500"),
        ({"http.status_code": "404", "http.response.status_code": 500}, "500"),
        ({"http.status_code": "404", "http.response.status_code": "500"}, "404"),
        ({"datadog.http_status_code": "418"}, "418"),
        ({"http.status_code": 0}, None),
        ({"http.status_code": math.nan}, None),
        ({"http.status_code": None}, None),
    ],
)
def test_http_status(map_one, attributes, code):
    """The HTTP status is one text tag."""
    dd_span = map_one(attributes)
    assert dd_span["meta"].get("http.status_code") == code
    assert "http.response.status_code" not in dd_span["meta"] | dd_span["metrics"]
    assert "http.status_code" not in dd_span["metrics"]


GUARDED = ("env", "version", "http.status_code", "error.message", "error.type", "error.stack")
OVERRIDES = (
    "datadog.env",
    "datadog.version",
    "datadog.http_status_code",
    "datadog.error.msg",
    "datadog.error.type",
    "datadog.error.stack",
)


@pytest.mark.parametrize(("key", "override"), list(zip(GUARDED, OVERRIDES, strict=True)))
def test_guarded(map_one, key, override):
    """An override beats the resource, the resource beats the span attribute, empty values count for nothing."""
    resource = {"resource_attributes": {key: "resource"}}
    assert map_one({key: "span", override: "override"}, settings=resource)["meta"][key] == "override"
    assert map_one({key: "span", override: ""}, settings=resource)["meta"][key] == "resource"
    assert map_one({key: "span"}, settings={"resource_attributes": {key: ""}})["meta"][key] == "span"
    assert map_one({key: "span"})["meta"][key] == "span"


@pytest.mark.parametrize(
    ("attributes", "otel_resource", "env"),
    [
        ({"datadog.env": "a", "env": "b"}, {"env": "c"}, "a"),
        ({"env": "b"}, {"env": "c"}, "c"),
        ({"env": "b"}, {"deployment.environment.name": "d"}, "b"),
        ({}, {"datadog.env": "x", "deployment.environment.name": "d"}, "x"),
        ({}, {"deployment.environment.name": "d", "deployment.environment": "e"}, "d"),
        ({}, {"deployment.environment": "e"}, "e"),
        ({"deployment.environment": "f"}, {}, None),
        ({"env": None}, {"deployment.environment": "e"}, "e"),
        ({}, {}, None),
    ],
)
def test_env(map_one, attributes, otel_resource, env):
    """The environment comes from the first source that has one."""
    dd_span = map_one(attributes, settings={"resource_attributes": otel_resource})
    assert dd_span["meta"].get("env") == env


@pytest.mark.parametrize(
    ("otel_resource", "env", "attribute"),
    [
        ({}, "prod", "prod"),
        ({"deployment.environment": "x"}, "prod", "prod"),
        ({"deployment.environment.name": "x"}, "x", "x"),
    ],
)
def test_configured_env(map_one, otel_resource, env, attribute):
    """The configured environment joins the resource unless that names one."""
    meta = map_one(settings={"env": "prod", "resource_attributes": otel_resource})["meta"]
    assert (meta["env"], meta["deployment.environment.name"]) == (env, attribute)


OWN = {"service": "own", "version": "configured"}


@pytest.mark.parametrize(
    ("attributes", "settings", "version"),
    [
        ({}, OWN, "configured"),
        ({"service.name": "other"}, OWN, None),
        ({"service.name": "own"}, OWN, "configured"),
        ({}, OWN | {"resource_attributes": {"service.version": "res"}}, "configured"),
        ({"service.name": "other"}, OWN | {"resource_attributes": {"service.version": "res"}}, "res"),
        ({}, {"resource_attributes": {"service.version": "res"}}, "res"),
        ({}, {"resource_attributes": {"service.version": "res", "version": "literal"}}, "literal"),
        ({"version": "span"}, OWN | {"resource_attributes": {"service.version": "res"}}, "span"),
        ({"service.version": "span"}, OWN, "span"),
        ({"service.version": "a", "version": "b"}, OWN, "b"),
        ({"datadog.version": "over", "version": "b", "service.version": "a"}, OWN, "over"),
        ({}, {"service": "own", "tags": {"version": "tagged"}}, "tagged"),
        ({}, OWN | {"tags": {"version": "tagged"}}, "configured"),
    ],
)
def test_version(map_one, attributes, settings, version):
    """A version that the span names wins, then the configured one on spans of the own service, then the resource's."""
    dd_span = map_one(attributes, settings=settings)
    assert dd_span["meta"].get("version") == version
    if "service.version" in attributes:
        assert dd_span["meta"]["service.version"] == attributes["service.version"]


def test_global_tags(map_one):
    """Global tags are on every span, weaker than span attributes and stronger than resource and scope."""
    settings = {
        "tags": {
            "team": "core",
            "n": 3,
            "service": "s",
            "env": "e",
            "git.commit.sha": "abc",
            "shared": "tag",
            "own": "tag",
        },
        "resource_attributes": {"shared": "resource"},
    }
    scope = InstrumentationScope("lib", attributes={"shared": "scope", "of.scope": 5})
    dd_span = map_one({"own": "span"}, settings=settings, scope=scope)
    meta = dd_span["meta"]
    assert (meta["team"], meta["shared"], meta["own"], meta["of.scope"]) == ("core", "tag", "span", "5")
    assert meta["env"] == "e"  # stands for the setting, which is unset
    assert dd_span["metrics"]["n"] == 3.0
    assert not {"service", "git.commit.sha"} & meta.keys()


def test_scope(map_one):
    """Name and version of the instrumentation scope are tags when they are not empty."""
    meta = map_one({"otel.scope.name": "mine"}, scope=InstrumentationScope("lib", "v2"))["meta"]
    assert (meta["otel.scope.name"], meta["otel.scope.version"]) == ("lib", "v2")
    meta = map_one(scope=InstrumentationScope(""))["meta"]
    assert not {"otel.scope.name", "otel.scope.version"} & meta.keys()


def test_sdk(map_one):
    """The SDK tags name this library, whatever the resource says; the language stays the resource's."""
    otel_resource = {f"telemetry.sdk.{key}": "otel" for key in ("name", "version", "language")}
    meta = map_one(settings={"tracer_version": "1.2", "resource_attributes": otel_resource})["meta"]
    assert [meta[f"telemetry.sdk.{key}"] for key in ("name", "version", "language")] == ["datadog", "1.2", "otel"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (12, "12"),
        (0.0, "0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (["a", 1, True, None, [2.0]], '["a",1,true,null,[2]]'),
        ({"a": "b"}, '{"a":"b"}'),
        (b"x", "x"),
    ],
)
def test_text_form(map_one, value, text):
    """Resource attributes become text in one piece."""
    assert map_one(settings={"resource_attributes": {"k": value}})["meta"]["k"] == text


@pytest.mark.parametrize(
    ("kind", "measured"), [("CLIENT", 1.0), ("PRODUCER", 1.0), ("SERVER", None), ("CONSUMER", None), ("INTERNAL", None)]
)
def test_measured_by_kind(map_one, kind, measured):
    """Client and producer spans are measured, and the kind is a tag of every span."""
    dd_span = map_one(kind=kind)
    assert dd_span["metrics"].get("_dd.measured") == measured
    assert dd_span["meta"]["span.kind"] == kind.lower()


@pytest.mark.parametrize(
    ("value", "measured"),
    [
        (1, 1.0),
        (1.0, 1.0),
        (True, 1.0),
        (None, 1.0),
        ("1", 1.0),
        ("true", 1.0),
        (5, 1.0),
        (0, 0.0),
        (False, 0.0),
        ("0", 0.0),
        ("false", 0.0),
        ("", 0.0),
    ],
)
@pytest.mark.parametrize("kind", ["INTERNAL", "CLIENT"])
def test_measured_on_request(map_one, kind, value, measured):
    """`_dd.measured` becomes 0 or 1; `None` means 1."""
    dd_span = map_one({"_dd.measured": value}, kind=kind)
    assert dd_span["metrics"]["_dd.measured"] == measured
    assert "_dd.measured" not in dd_span["meta"]


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"datadog.span.kind": "odd"}, "odd"),
        ({"span.kind": "client"}, "client"),
        ({"span.kind": None}, "internal"),
        ({"datadog.span.kind": "a", "span.kind": "b"}, "a"),
    ],
)
def test_span_kind(map_one, attributes, kind):
    """The kind can be overridden and is never missing."""
    assert map_one(attributes)["meta"]["span.kind"] == kind


def test_opentracing_priority(make_span, map_one):
    """A numeric `sampling.priority` is stored under the Datadog name; the decision of the trace wins on its root."""
    assert map_one({"sampling.priority": 2})["metrics"]["_sampling_priority_v1"] == 1.0
    assert map_one({"sampling.priority": "x"})["meta"]["sampling.priority"] == "x"


PEER = {"peer_service_defaults": True, "peer_service_mapping": {"db": "warehouse"}}


@pytest.mark.parametrize(
    ("kind", "attributes", "settings", "expected"),
    [
        ("CLIENT", {"db.name": "users", "out.host": "h"}, PEER, ("users", "db.name", None)),
        (
            "PRODUCER",
            {"messaging.kafka.bootstrap.servers": "k", "db.name": "users"},
            PEER,
            ("k", "messaging.kafka.bootstrap.servers", None),
        ),
        ("CLIENT", {"mongodb.db": "m", "rpc.service": "r"}, PEER, ("m", "mongodb.db", None)),
        ("CLIENT", {"rpc.service": "r", "out.host": "h"}, PEER, ("r", "rpc.service", None)),
        ("CLIENT", {"out.host": "db"}, PEER, ("warehouse", "out.host", "db")),
        (
            "CLIENT",
            {"rpc.system.name": "grpc", "rpc.method": "p.Users/Get", "out.host": "h"},
            PEER,
            ("p.Users", "rpc.service", None),
        ),
        ("CLIENT", {"peer.service": "db", "out.host": "h"}, PEER, ("warehouse", "peer.service", "db")),
        ("CLIENT", {"a": "b"}, PEER, (None, None, None)),
        ("SERVER", {"out.host": "h"}, PEER, (None, None, None)),
        ("CLIENT", {"out.host": "h"}, {}, (None, None, None)),
    ],
)
def test_peer_service(map_one, kind, attributes, settings, expected):
    """The peer service is derived only when switched on, for client and producer spans."""
    meta = map_one(attributes, kind=kind, settings=settings)["meta"]
    keys = ("peer.service", "_dd.peer.service.source", "_dd.peer.service.remapped_from")
    assert tuple(meta.get(key) for key in keys) == expected


def test_otel_semantics(map_one):
    """With OpenTelemetry semantics reserved attributes are plain tags and nothing is renamed or added."""
    attributes = {
        "service.name": "x",
        "resource.name": "r",
        "http.request.method": "GET",
        "http.response.status_code": 500,
    }
    settings = {"otel_semantics": True, "service": "own", "env": "prod", "version": "1"}
    dd_span = map_one(attributes, kind="SERVER", settings=settings)
    assert (dd_span["service"], dd_span["resource"]) == ("own", "GET")
    assert (dd_span["meta"]["service.name"], dd_span["meta"]["resource.name"]) == ("x", "r")
    assert dd_span["meta"]["http.request.method"] == "GET"
    assert dd_span["metrics"]["http.response.status_code"] == 500.0
    assert not {"env", "version", "language", "http.method"} & dd_span["meta"].keys()


def test_otel_semantics_leave_the_facade_alone(map_one):
    """With OpenTelemetry semantics the facade still names service, resource and type."""
    attributes = {"service.name": "x", "resource.name": "r", "span.type": "sql"}
    dd_span = map_one(attributes, operation_name="op", settings={"otel_semantics": True})
    assert [dd_span[field] for field in ("service", "name", "resource", "type")] == ["x", "op", "r", "sql"]
    assert not dd_span["meta"].keys() & attributes.keys()


@pytest.mark.parametrize(
    ("attributes", "in_meta", "in_metrics"),
    [
        ({"a.0": 5, "a": ["x"]}, "x", None),
        ({"a.0": 5, "a": [True]}, "true", None),
        ({"a.0": "x", "a": [5]}, None, 5.0),
        ({"a": [5], "a.0": "x"}, "x", None),
        ({"a": ["x"], "a.0": 5}, None, 5.0),
        ({"a": ["x"], "a.0": None}, None, None),
    ],
)
def test_last_of_equal_keys_wins(map_one, attributes, in_meta, in_metrics):
    """When two attributes give the same tag, the last one stays, in one map."""
    dd_span = map_one(attributes)
    assert (dd_span["meta"].get("a.0"), dd_span["metrics"].get("a.0")) == (in_meta, in_metrics)
