"""The fast and the general path agree, whatever a span holds, and nothing raises."""

import math
from pathlib import PurePosixPath
from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

from ddtrace_manual._base.errors import Outcome
from ddtrace_manual._encoding import templates
from ddtrace_manual._encoding.text_forms import with_text_events, with_text_links
from ddtrace_manual._encoding.wire_text import repaired
from ddtrace_manual._mapping import Mapper, MappingSettings
from ddtrace_manual._mapping import attributes as attributes_module
from ddtrace_manual._mapping.attributes import GUARDED, RENAMED, RESERVED, RULED_PREFIXES, SPECIAL
from ddtrace_manual._mapping.names import STEERING
from ddtrace_manual._mapping.rules import OWN_KEYS
from ddtrace_manual._mapping.span import SpanMapper
from ddtrace_manual._model import EventRecord, LinkRecord, SegmentRecord, SpanRecord
from ddtrace_manual._tracing.engine import SpanLimitValues

SCOPES = (
    None,
    InstrumentationScope("lib", "1"),
    InstrumentationScope("rich", attributes={"a": 1, "service.name": "scoped"}),
)
CONSTANTS = {
    "service": "svc",
    "version": "1",
    "env": "prod",
    "tags": {"team": "core", "n": 1},
    "hostname": "host",
    "runtime_id": "uuid",
    "process_id": 1,
    "service_mapping": {"from": "to"},
}
VARIANTS = [
    CONSTANTS,
    CONSTANTS | {"otel_semantics": True},
    CONSTANTS | {"resource_attributes": {"service.name": "res", "service.version": "2", "n": "x", "env": "e"}},
    CONSTANTS | {"resource_attributes": {"rpc.method": "m", "span.type": "t", "analytics.event": "1"}},
    CONSTANTS | {"resource_from_span_name": True, "peer_service_defaults": True, "apm_tracing_enabled": False},
]

special_keys = st.sampled_from(
    sorted(
        RENAMED.keys()
        | RESERVED
        | SPECIAL
        | GUARDED
        | STEERING
        | OWN_KEYS
        | {
            "datadog.service",
            "datadog.name",
            "datadog.resource",
            "datadog.type",
            "datadog.error",
            "datadog.env",
            "datadog.x",
        }
        | {
            "datadog.span.kind",
            "datadog.http_status_code",
            "http.request.header.x",
            "_dd.svc_src",
            "_dd.top_level",
            "_dd.base_service",
        }
        | {
            "team",
            "n",
            "peer.service",
            "out.host",
            "service.version",
            "http.status_text",
            "a.0",
            "telemetry.sdk.language",
        }
    )
)
keys = st.one_of(special_keys, st.sampled_from(["a", "b", "c", "order.id"]), st.text(max_size=5))
scalars = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["from", "svc", "1", "true", "0", "aws-api"]),
    st.integers(),
    st.sampled_from([0, 1, 200, 2**63, 10**400]),
    st.booleans(),
    st.floats(),
    st.none(),
    st.binary(max_size=3),
    st.decimals(),
    st.fractions(),
    st.datetimes(),
    st.uuids(),
    st.sampled_from([Outcome.ERROR, PurePosixPath("/a"), SpanLimitValues(), 1 + 2j]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=2), st.integers(), st.none()), inner, max_size=2),
    ),
    max_leaves=5,
)
attributes = st.dictionaries(keys, values, max_size=6)


@st.composite
def plain_spans(draw, parent=None):
    """Spans of the usual kind; attributes are set by the test."""
    span = SpanRecord()
    span.otel_name = "name"
    span.operation_name = draw(st.sampled_from([None, "op"]))
    span.otel_kind = draw(st.sampled_from(list(SpanKind)))
    span.scope = draw(st.sampled_from(SCOPES[:2]))
    span.is_local_root = parent is None
    span.local_parent = parent
    span.span_id = span.end_ns = 9
    span.parent_id = 0 if parent is None else 9
    return span


@st.composite
def spans(draw, parent=None):
    span = SpanRecord()
    span.otel_name = draw(st.text(max_size=3))
    span.operation_name = draw(st.one_of(st.none(), st.just("op")))
    span.otel_kind = draw(st.sampled_from(list(SpanKind)))
    span.span_id = draw(st.integers(1, 2**64 - 1))
    span.start_ns = draw(st.integers(-5, 2**64))
    span.end_ns = draw(st.one_of(st.none(), st.integers(-5, 2**64)))
    span.values = draw(st.one_of(st.none(), attributes, attributes.map(MappingProxyType)))
    span.status_code = draw(st.sampled_from([0, 1, 2]))
    span.status_description = draw(st.one_of(st.none(), st.text(max_size=3)))
    span.scope = draw(st.sampled_from(SCOPES))
    span.is_local_root = draw(st.booleans())
    span.local_parent = parent
    span.parent_id = draw(st.sampled_from([0, 9])) if parent is None else parent.span_id
    events = st.builds(EventRecord, st.sampled_from(["exception", "e"]), st.integers(0, 2**63), attributes)
    span.event_records = draw(st.one_of(st.none(), st.lists(events, max_size=2)))
    links = st.builds(LinkRecord, st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1), attributes)
    span.link_records = draw(st.one_of(st.none(), st.lists(links, max_size=2)))
    return span


pairs = spans().flatmap(lambda parent: st.tuples(st.just(parent), spans(parent=parent)))
plain_pairs = plain_spans().flatmap(lambda parent: st.tuples(st.just(parent), plain_spans(parent=parent)))
MAPPERS = [
    (SpanMapper(MappingSettings(**variant)), SpanMapper(MappingSettings(**variant), fast=False)) for variant in VARIANTS
]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(MAPPERS), pairs, st.sampled_from([{}, {"_dd.origin": "rum"}]))
def test_paths_agree(mappers, pair, shared_meta):
    """The fast path gives what the general path gives."""
    fast, general = mappers
    for span in pair:
        assert fast.map_span(span, 5, "5", shared_meta) == general.map_span(span, 5, "5", shared_meta)


simple_attributes = st.dictionaries(
    st.sampled_from(["a", "b", "service.name", "resource.name", "span.type", "_dd.svc_src", "db.system", "a.0"]),
    st.one_of(
        st.text(max_size=3),
        st.sampled_from(["from", "to", "svc"]),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.none(),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(MAPPERS), plain_pairs, simple_attributes, simple_attributes)
def test_paths_agree_on_ordinary_spans(mappers, pair, of_parent, of_child):
    """The paths agree where the fast one is taken most of the time."""
    fast, general = mappers
    for span, given_values in zip(pair, (of_parent, of_child), strict=True):
        span.values = given_values
    for span in pair:
        assert fast.map_span(span, 5, "5", None) == general.map_span(span, 5, "5", None)


def check(dd_span):
    """What every encoder relies on."""
    assert not dd_span["meta"].keys() & dd_span["metrics"].keys()
    assert all(type(key) is str and type(text) is str for key, text in dd_span["meta"].items())
    assert all(type(key) is str and type(n) is float and math.isfinite(n) for key, n in dd_span["metrics"].items())
    assert all(type(dd_span[field]) is str for field in ("service", "name", "resource"))
    assert all(type(dd_span[field]) is int for field in ("trace_id", "span_id", "start", "duration"))
    assert 0 <= dd_span["start"] < 2**63
    assert 0 <= dd_span["duration"] < 2**63
    assert dd_span.get("parent_id", 1)
    assert dd_span.get("error", 1) == 1
    assert dd_span.get("type", "x")
    assert dd_span.get("span_links", [1])
    assert dd_span.get("span_events", [1])


@settings(deadline=None, max_examples=100)
@given(
    variant=st.sampled_from(VARIANTS), pair=pairs, priority=st.one_of(st.none(), st.integers()), partial=st.booleans()
)
def test_chunk_is_well_formed(variant, pair, priority, partial):
    """Whatever spans hold, every one becomes a well-formed Datadog span, in each form."""
    skipped = []
    mapper = Mapper(MappingSettings(**variant), on_skipped=lambda *why: skipped.append(why))
    segment = SegmentRecord()
    segment.trace_id = 1 << 100 | 7
    segment.priority = priority
    chunk = mapper.map_chunk(segment, pair, partial=partial)
    assert not skipped
    assert len(chunk) == len(pair)
    for dd_span in chunk:
        check(dd_span)
        check(repaired(with_text_links(with_text_events(dd_span))))


@given(pairs, keys)
@settings(deadline=None, max_examples=60)
def test_views_agree_with_the_mapping(pair, key):
    """The sampler sees the names that the exported span has, and scalars only."""
    mapper = Mapper(MappingSettings(**CONSTANTS))
    segment = SegmentRecord()
    for span in pair:
        segment.local_root = span
        (dd_span,) = mapper.map_chunk(segment, [span], partial=False)
        assert mapper.service_name(span) == dd_span["service"]
        assert mapper.operation_name(span) == dd_span["name"]
        assert mapper.resource_name(span) == dd_span["resource"]
        assert type(mapper.tag(span, key)) in (str, bool, int, float, type(None))


def test_learnt_keys_are_bounded(map_one, monkeypatch):
    """Keys that never repeat do not fill the memory."""
    monkeypatch.setattr(templates, "MAX_PLAIN_KEYS", 10)
    keys = templates.PlainKeys(frozenset({"ruled"}), RULED_PREFIXES, frozenset({"field"}))
    for number in range(100):
        assert keys.admit({f"key.{number}": 1})
        assert len(keys.plain) <= 12
    assert not keys.admit({"ruled": 1})
    assert not keys.admit({"_dd.x": 1})
    assert not keys.admit({5: 1})
    assert keys.admit({"field": 1})


def test_known_keys_are_bounded(monkeypatch):
    """Keys that the general path has seen do not fill the memory either."""
    monkeypatch.setattr(attributes_module, "MAX_KNOWN_KEYS", 20)
    rules = attributes_module.Rules()
    for number in range(100):
        meta = {}
        rules.write(meta, {}, {f"key.{number}": "v", "url.full": "u", "datadog.x": "y"}, set())
        assert meta == {f"key.{number}": "v", "http.url": "u"}
        assert len(rules._known) <= 20


def test_scopes_and_services_are_bounded(make_span):
    """Scopes and services that never repeat do not fill the memory, and are mapped right all the same."""
    mapper = SpanMapper(MappingSettings(service="svc"))
    for number in range(600):
        span = make_span({"a": "b"}, scope=InstrumentationScope(f"lib.{number}"))
        assert mapper.map_span(span, 1, "1", None)["meta"]["otel.scope.name"] == f"lib.{number}"
    for number in range(600):
        span = make_span({"service.name": f"svc.{number}"})
        assert mapper.map_span(span, 1, "1", None)["service"] == f"svc.{number}"
    assert len(mapper.scopes) <= 256
    assert len(mapper.scopes[id(None)].by_service) <= 256


def test_templates_are_not_shared(map_one, make_span):
    """Changing a mapped span leaves later spans alone."""
    mapper = Mapper(MappingSettings())
    for _ in range(2):
        span = make_span({"a": "b"})
        (dd_span,) = mapper.map_chunk(span.segment, [span], partial=False)
        assert "changed" not in dd_span["meta"]
        dd_span["meta"]["changed"] = "yes"
        dd_span["metrics"]["changed.too"] = 1.0
