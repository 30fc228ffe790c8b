"""Ordinary spans written straight to bytes say exactly what the mapping and the encoder say about them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

from ddtrace_manual._encoding import V04Encoder, decode_v04, new_packer
from ddtrace_manual._mapping import Mapper, MappingSettings, direct
from ddtrace_manual._model import EventRecord, SegmentRecord, SpanRecord

SCOPES = (None, InstrumentationScope("lib", "1"), InstrumentationScope("rich", attributes={"a": 1}))
SETTINGS = [
    MappingSettings(service="svc", env="prod", version="1", tags={"team": "core", "n": 1}, runtime_id="uuid"),
    MappingSettings(service="svc", service_mapping={"other": "mapped"}, resource_attributes={"a.b": "c"}),
    MappingSettings(service="svc", peer_service_defaults=True),
    MappingSettings(service="svc", otel_semantics=True),
    MappingSettings(service="svc", tags={f"tag{n}": "x" for n in range(20)}),
]

texts = st.text(max_size=4) | st.sampled_from(["svc", "other", "\ud800", "x" * 30_000, "SELECT 1"])
values = st.one_of(
    texts,
    st.integers(),
    st.sampled_from([2**53, -(2**53), 2**53 - 1, 10**400]),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
)
KEYS = [
    "a",
    "b",
    "a.0",
    "order.id",
    "service.name",
    "resource.name",
    "span.type",
    "operation.name",
    "_dd.svc_src",
    "_dd.measured",
    "datadog.service",
    "http.status_code",
    "env",
    "team",
    "db.system",
    "manual.keep",
]
keys = st.sampled_from(KEYS) | st.text(max_size=3)
attributes = st.dictionaries(keys, values, max_size=5) | st.dictionaries(
    st.integers(0, 40).map("key{}".format), st.text(max_size=2), min_size=14, max_size=20
)


@st.composite
def spans(draw, span_id, parent=None):
    span = SpanRecord()
    span.otel_name = draw(texts)
    span.operation_name = draw(st.sampled_from([None, "op", "op", "other.op"]))
    span.otel_kind = draw(st.sampled_from([SpanKind.INTERNAL] * 4 + [SpanKind.CLIENT]))
    span.span_id = span_id
    span.parent_id = parent.span_id if parent is not None else draw(st.sampled_from([0, 7]))
    span.start_ns = draw(st.sampled_from([1, 10**18, 2**63 - 1, 2**63, -1]))
    span.end_ns = draw(st.sampled_from([span.start_ns, span.start_ns + 5, span.start_ns - 5, 2**64, None]))
    span.values = draw(st.none() | attributes)
    span.status_code = draw(st.sampled_from([0, 0, 0, 1, 2]))
    span.scope = draw(st.sampled_from(SCOPES)) if draw(st.booleans()) or parent is None else parent.scope
    span.local_parent = parent
    span.is_local_root = parent is None
    if draw(st.sampled_from([False, False, False, True])):
        span.event_records = [EventRecord("e", 1)]
    return span


@st.composite
def chunks(draw):
    root = draw(spans(1))
    children = [draw(spans(number, root)) for number in range(2, draw(st.integers(2, 5)))]
    if children and draw(st.booleans()):
        children.append(draw(spans(9, children[0])))
    if draw(st.booleans()):  # a service taken over from the parent is the very same object
        for child in children:
            child.values = {**(root.values or {}), **(child.values or {})}
    return [*children, root] if draw(st.booleans()) else [root, *children]


def decoded(mapper, spans, priority, *, directly):
    segment = SegmentRecord()
    segment.trace_id = 0x640CFD8D_00000000_ABCDEFAB_12345678
    segment.priority = priority
    segment.tags = {"_dd.p.dm": "-0"}
    segment.local_root = next(span for span in spans if span.is_local_root)
    encoder = V04Encoder()
    chunk = (mapper.map_directly if directly else mapper.map_chunk)(segment, spans, partial=False)
    (found,) = decode_v04(encoder.join([encoder.encode_chunk(chunk)]))
    return found


@settings(deadline=None, max_examples=300)
@given(mapper_settings=st.sampled_from(SETTINGS), spans=chunks())
def test_bytes_say_what_dictionaries_say(mapper_settings, spans):
    """Whatever a chunk holds, the payload decodes to the same spans, the local root first."""
    mapper = Mapper(mapper_settings, pack=new_packer())
    for _ in range(2):  # the second time templates and names are known
        expected = decoded(mapper, spans, 1, directly=False)
        got = decoded(mapper, spans, 1, directly=True)
        assert got[0] == expected[0]
        order = {span["span_id"]: number for number, span in enumerate(expected)}
        assert sorted(got, key=lambda span: order[span["span_id"]]) == expected


@pytest.mark.parametrize("service", [["a"], ("a", {"b": 1}), {"a": 1}, 1, True, ""], ids=repr)
def test_a_service_that_is_no_text(root, service):
    """A child that took over what its parent has for a service, whatever that is, is sent as the mapping says."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    child = ordinary_child(root, 2)
    root.values = {"service.name": service}
    child.values["service.name"] = service
    for _ in range(2):
        assert decoded(mapper, [root, child], 1, directly=True) == decoded(mapper, [root, child], 1, directly=False)


def ordinary_child(parent, span_id, name="op"):
    span = SpanRecord()
    span.otel_name = span.operation_name = name
    span.span_id, span.parent_id = span_id, parent.span_id
    span.start_ns, span.end_ns = 5, 9
    span.local_parent = parent
    span.values = {"text": "t", "number": 1, "flag": True, "ratio": 0.5, "resource.name": "r", "span.type": "sql"}
    return span


@pytest.fixture
def root():
    span = SpanRecord()
    span.otel_name = span.operation_name = "root"
    span.span_id = span.end_ns = 1
    span.is_local_root = True
    return span


def test_ordinary_spans_become_bytes(root):
    """The path is taken: of a usual chunk all but the first span are bytes."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    spans = [root, *(ordinary_child(root, number) for number in range(2, 6))]
    decoded(mapper, spans, 1, directly=False)  # the general path makes the templates
    segment = SegmentRecord()
    segment.local_root = root
    chunk = mapper.map_directly(segment, spans, partial=False)
    assert [type(span) for span in chunk] == [dict, bytes, bytes, bytes, bytes]


def test_names_that_never_repeat_do_not_fill_the_memory(root, monkeypatch):
    """The caches of names start again when full."""
    monkeypatch.setattr(direct, "_MAX_NAMES", 5)
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    spans = [root, *(ordinary_child(root, number, f"op{number}") for number in range(2, 30))]
    for _ in range(2):
        assert len(decoded(mapper, spans, 1, directly=True)) == len(spans)
    assert len(mapper._ordinary._names) <= 5
