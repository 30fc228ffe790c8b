"""Ordinary spans written straight to bytes say exactly what the mapping and the encoder say about them."""

from itertools import pairwise
from operator import itemgetter
from pathlib import PurePosixPath
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

from ddtrace_manual._base.context import SPAN_KEY
from ddtrace_manual._base.errors import Outcome
from ddtrace_manual._encoding import V04Encoder, decode_v04, new_packer
from ddtrace_manual._encoding import trace_tags as first
from ddtrace_manual._encoding import v04_writer as span_writer
from ddtrace_manual._encoding.encoded_chunk import EncodedChunk
from ddtrace_manual._mapping import Mapper, MappingSettings
from ddtrace_manual._mapping import simple_spans as direct
from ddtrace_manual._model import EventRecord, SegmentRecord, SpanRecord
from ddtrace_manual._model.remote import BAGGAGE_KEY
from ddtrace_manual._stats import AggregationRules, Concentrator, must_be_sent
from ddtrace_manual._tracing import EngineHooks, TracerProvider
from ddtrace_manual._tracing.engine import SpanLimitValues

SCOPES = (None, InstrumentationScope("lib", "1"), InstrumentationScope("rich", attributes={"a": 1}))
SETTINGS = [
    MappingSettings(service="svc", env="prod", version="1", tags={"team": "core", "n": 1}, runtime_id="uuid"),
    MappingSettings(service="svc", service_mapping={"other": "mapped"}, resource_attributes={"a.b": "c"}),
    MappingSettings(service="svc", peer_service_defaults=True),
    MappingSettings(service="svc", otel_semantics=True),
    MappingSettings(service="svc", tags={f"tag{n}": "x" for n in range(20)}),
    MappingSettings(service="svc", hostname="box", git_commit_sha="abc", process_tags="a:b"),
    MappingSettings(service="svc", tags={"_dd.measured": "1"}),
    MappingSettings(service="svc", tags={"_top_level": 1, "span.kind": "client"}),
    MappingSettings(service="svc", tags={"owner": "M\udcfcller"}, git_commit_sha="\ud800"),
]
RULES = [
    AggregationRules(),
    AggregationRules(peer_tags=["db.system", "_dd.base_service"], additional_tags=["a"]),
    AggregationRules(span_kinds=[]),
    AggregationRules(additional_tags=["language"]),
    AggregationRules(additional_tags=["_dd.p.dm", "_dd.git.commit.sha"]),
    AggregationRules(additional_tags=["otel.trace_id"]),
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
    st.decimals(),
    st.fractions(),
    st.datetimes(),
    st.uuids(),
    st.sampled_from([Outcome.ERROR, PurePosixPath("/a"), SpanLimitValues(), 1 + 2j]),
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
    "span.kind",
    "language",
    "_top_level",
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
    for child in children:  # a scope makes all its spans in one way
        if child.scope is root.scope and (child.operation_name is None) != (root.operation_name is None):
            child.operation_name = None if root.operation_name is None else "op"
    if draw(st.booleans()):  # a service taken over from the parent is the very same object
        for child in children:
            child.values = {**(root.values or {}), **(child.values or {})}
    return [*children, root] if draw(st.booleans()) else [root, *children]


@st.composite
def segments(draw):
    segment = SegmentRecord()
    segment.trace_id = draw(st.sampled_from([0x640CFD8D_00000000_ABCDEFAB_12345678, 5, 2**128 - 1]))
    segment.priority = draw(st.sampled_from([1, 2, 10**400]))
    segment.tags = draw(st.sampled_from([None, {"_dd.p.dm": "-0"}, {"_dd.p.x": "\ud800"}, {"_dd.p.tid": "1"}]))
    segment.agent_rate, segment.rule_rate = draw(st.sampled_from([(None, None), (0.5, None), (None, 0.0), (1, 0.25)]))
    segment.parent_tag = draw(st.sampled_from([None, None, "00f067aa0ba902b7"]))
    segment.propagation_error = draw(st.sampled_from([None, None, "inject_max_size"]))
    return segment


def compact(span):
    """The tuple that `Span.end` would make of a span, or the span."""
    parent = span.local_parent
    if (
        parent is None
        or parent.scope is not span.scope
        or (parent.operation_name is None) != (span.operation_name is None)
        or span.otel_kind is not SpanKind.INTERNAL
        or span.event_records
        or span.status_code
        or span.end_ns is None
    ):
        return span
    return (
        span.span_id,
        span.parent_id,
        span.start_ns,
        span.end_ns,
        span.otel_name,
        span.operation_name,
        span.scope,
        span.values or {},
        parent.values or {},
    )


def needs_care(span):
    """Whether the engine would have noted something about a span; see `SegmentRecord.needs_care`."""
    values = span.values or {}
    times = span.start_ns, span.end_ns or 0
    return (
        not {"service.name", "datadog.service"}.isdisjoint(values)
        or any(isinstance(value, str) and len(value) >= 25_000 for value in values.values())
        or not 0 < times[0] <= times[1] < 2**63
    )


def decode(chunk):
    encoder = V04Encoder()
    (found,) = decode_v04(encoder.join([encoder.encode_chunk(chunk)]))
    return found


def statistics(rules, chunk):
    """What statistics say of a chunk."""
    concentrator = Concentrator(rules)
    if isinstance(chunk, EncodedChunk):
        concentrator.add_counted(chunk.counted)
    concentrator.add_chunk(chunk.others if isinstance(chunk, EncodedChunk) else chunk)
    groups = [group for bucket in concentrator.flush(force=True) for group in bucket.groups.items()]
    return {key: (group.hits, group.top_level_hits, group.errors, group.duration_ns) for key, group in groups}


@settings(deadline=None, max_examples=300)
@given(
    mapper_settings=st.sampled_from(SETTINGS),
    spans=chunks(),
    segment=segments(),
    compacts=st.booleans(),
    careful=st.booleans(),
    rootless=st.booleans(),
    rules=st.sampled_from(RULES),
)
def test_dropped_traces_count_as_if_they_were_mapped(
    mapper_settings, spans, segment, compacts, careful, rootless, rules
):
    """Statistics of a trace that is not mapped are those of the mapped one, and what must be sent is found."""
    mapper = Mapper(mapper_settings, pack=new_packer())
    mapper._log = Mock()
    segment.local_root = next(span for span in spans if span.is_local_root)
    segment.needs_care = careful or any(map(needs_care, spans))
    segment.priority = 0
    if rootless and len(spans) > 1:
        spans.remove(segment.local_root)
    for _ in range(2):  # the second time templates and names are known
        mapped = mapper.map_chunk(segment, spans, partial=False)
        finished = [compact(span) for span in spans] if compacts else spans
        made = mapper.map_for_stats(segment, finished, rules.telling_keys)
        if made is None:
            continue
        counted, slow_path_spans = made
        assert any(map(must_be_sent, slow_path_spans)) == any(map(must_be_sent, mapped))
        assert statistics(rules, EncodedChunk([], 0, slow_path_spans, False, counted)) == statistics(rules, mapped)


def test_simple_spans_of_dropped_traces_are_not_mapped(root):
    """Of an ordinary trace nothing is mapped; one span with an error is, and the others beside it are not."""
    mapper = Mapper(MappingSettings(service="svc"), pack=new_packer())
    segment, stats_keys = SegmentRecord(), AggregationRules().telling_keys
    spans = [ordinary_child(root, number) for number in (2, 3)]
    (counted,), slow_path_spans = mapper.map_for_stats(segment, [*map(compact, spans), root], stats_keys)
    assert (counted[0].span["name"], slow_path_spans) == ("root", [])
    failed = ordinary_child(root, 4)
    failed.status_code = 2
    _, (mapped,) = mapper.map_for_stats(segment, [*map(compact, spans), failed, root], stats_keys)
    assert (mapped["span_id"], mapped["error"]) == (4, 1)


def test_a_dropped_trace_is_mapped_when_looking_at_it_fails(root):
    """As when another thread is setting an attribute, or a span cannot be mapped."""
    mapper = Mapper(MappingSettings(service="svc"), pack=new_packer())
    mapper._log = Mock()
    segment, stats_keys = SegmentRecord(), AggregationRules().telling_keys
    broken = ordinary_child(root, 2)
    broken.status_code, broken.values = 2, 5
    assert mapper.map_for_stats(segment, [broken, root], stats_keys) is None
    broken = ordinary_child(root, 2)
    broken.status_code, broken.otel_name, broken.event_records = 2, "x", [None]
    assert mapper.map_for_stats(segment, [broken, root], stats_keys) is None


@settings(deadline=None, max_examples=300)
@given(
    mapper_settings=st.sampled_from(SETTINGS),
    spans=chunks(),
    segment=segments(),
    partial=st.booleans(),
    compacts=st.booleans(),
    careful=st.booleans(),
    rootless=st.booleans(),
    rules=st.sampled_from(RULES),
)
def test_bytes_say_what_dictionaries_say(mapper_settings, spans, segment, partial, compacts, careful, rootless, rules):
    """Whatever a chunk holds, payload and statistics are those of the general path, the same span first."""
    mapper = Mapper(mapper_settings, pack=new_packer())
    mapper._log = Mock()
    segment.local_root = next(span for span in spans if span.is_local_root)
    segment.needs_care = careful or any(map(needs_care, spans))
    if (partial or rootless) and len(spans) > 1:
        spans.remove(segment.local_root)
    for _ in range(2):  # the second time templates and names are known
        mapped = mapper.map_chunk(segment, spans, partial=partial)
        finished = [compact(span) for span in spans] if compacts else spans
        chunk = mapper.map_directly(segment, finished, partial=partial, telling_keys=rules.telling_keys)
        assert mapper.map_chunk(segment, finished, partial=partial) == mapped
        expected, got = decode(mapped), decode(chunk)
        assert got[0] == expected[0]
        order = {span["span_id"]: number for number, span in enumerate(expected)}
        assert sorted(got, key=lambda span: order[span["span_id"]]) == expected
        assert statistics(rules, chunk) == statistics(rules, mapped)
        assert "direct" not in [call.args[0] for call in mapper._log.error.call_args_list]


@pytest.mark.parametrize("service", [["a"], ("a", {"b": 1}), {"a": 1}, 1, True, "", "\ud800"], ids=ascii)
def test_a_service_that_is_no_text(root, service):
    """A child that took over what its parent has for a service, whatever that is, is sent as the mapping says."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    child = ordinary_child(root, 2)
    root.values = {"service.name": service}
    child.values["service.name"] = service
    expected = decode(mapper.map_chunk(segment, [root, child], partial=False))
    for spans in ([root, child], [root, compact(child)]):
        assert decode(mapper.map_directly(segment, spans, partial=False)) == expected


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


@pytest.mark.parametrize(
    ("change", "others"),
    [({}, 0), ({"status_code": 2}, 1), ({"values": {"http.status_code": 200}}, 1)],
)
def test_ordinary_spans_become_bytes(root, change, others):
    """The path is taken: only a span out of the ordinary is no bytes."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    for name, value in change.items():
        setattr(root, name, value)
    spans = [root, *(ordinary_child(root, number) for number in range(2, 6))]
    mapper.map_chunk(segment, spans, partial=False)  # the general path makes the templates
    chunk = mapper.map_directly(segment, spans, partial=False)
    assert (chunk.encoded_spans, len(chunk.others), chunk.is_first_encoded) == (5 - others, others, not others)


@pytest.mark.parametrize(
    "mapper_settings",
    [
        MappingSettings(service="caf\udce9"),
        MappingSettings(service="svc", tags={"owner": "M\udcfcller"}),
        MappingSettings(service="svc", git_commit_sha="\udcff"),
    ],
)
def test_settings_that_are_no_valid_text(root, mapper_settings):
    """Settings from an environment that is no UTF-8 hold surrogates; traces are sent nevertheless, repaired."""
    mapper = Mapper(mapper_settings, pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    spans = [root, ordinary_child(root, 2)]
    for _ in range(2):
        found = decode(mapper.map_directly(segment, [*map(compact, spans)], partial=False))
        assert sorted(found, key=lambda span: span["span_id"]) == decode(
            mapper.map_chunk(segment, spans, partial=False)
        )


class Changing(dict):
    """Attributes that another thread goes on setting while, or just after, they are read for the first time."""

    def __init__(self, items, *, while_read):
        super().__init__(items)
        self.is_changing, self.while_read = True, while_read

    def items(self):
        if not self.is_changing:
            return super().items()
        self.is_changing = False
        return self.read(super().items())

    def read(self, items):
        for number, item in enumerate(items if self.while_read else list(items)):
            if number == 1:
                self["late"] = "x"
            yield item


@pytest.mark.parametrize("while_read", [True, False])
def test_attributes_set_while_they_are_read(root, while_read):
    """A thread that sets an attribute of a span that ends costs no span, and breaks no payload."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    spans = [root, *(ordinary_child(root, number) for number in range(2, 5))]
    mapper.map_directly(segment, [*map(compact, spans)], partial=False)  # all names are known
    for span in spans:
        span.values = Changing({"text": "t", "flag": True, "number": 1}, while_read=while_read)
    found = decode(mapper.map_directly(segment, [*map(compact, spans)], partial=False))
    assert sorted(span["span_id"] for span in found) == [1, 2, 3, 4]
    assert all(span["meta"]["text"] == "t" for span in found)


@pytest.mark.parametrize("scope", [None, SCOPES[2]], ids=["of many services", "of a scope with attributes"])
def test_large_chunks_take_linear_time(root, scope, monkeypatch):
    """However many services there are, or spans of a scope that is not ordinary, each span is looked at a few times."""
    monkeypatch.setattr(direct, "_MAX_MOULDS", 3)
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    spans = [root]
    for number in range(2, 30):
        parent = SpanRecord()
        parent.span_id, parent.scope, parent.operation_name = 1, scope, "op"
        parent.values = {"service.name": f"svc{number % 10}"}
        spans.append(ordinary_child(parent, number))
        spans[-1].scope = scope
    looked_for = []
    mould = mapper._ordinary._mould
    monkeypatch.setattr(mapper._ordinary, "_mould", lambda *args: looked_for.append(args) or mould(*args))
    found = mapper.map_directly(segment, [*map(compact, spans)], partial=False)
    assert len(looked_for) <= 3 + 2  # besides the root, and the first of the others
    assert decode(found)[0]["span_id"] == 1
    expected = decode(mapper.map_chunk(segment, spans, partial=False))
    assert sorted(decode(found), key=lambda span: span["span_id"]) == expected


def test_a_trace_that_cannot_be_written_directly(root, monkeypatch, caplog):
    """Whatever goes wrong in writing directly, the trace is mapped in the general way, and counted once."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    spans = [ordinary_child(root, 2), root]

    monkeypatch.setattr(mapper._ordinary, "encode", Mock(side_effect=LookupError))
    chunk = mapper.map_directly(segment, [*map(compact, spans)], partial=False)
    assert chunk == mapper.map_chunk(segment, spans, partial=False)
    assert "writing it directly failed" in caplog.text


def test_partial_chunks_become_bytes(root):
    """The root is open still: another span is the first, and ordinary nevertheless."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    spans = [ordinary_child(root, number) for number in range(2, 6)]
    for _ in range(2):
        chunk = mapper.map_directly(segment, spans, partial=True)
    assert (chunk.encoded_spans, chunk.others) == (4, [])
    assert decode(chunk)[0]["metrics"]["_dd.py.partial_flush"] == 4


@pytest.mark.parametrize("of_root", [True, False])
def test_spans_with_many_tags_are_ordinary(root, of_root):
    """There is room for more tags as soon as a span has more; a map of very many is left to the general path."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    for count in (0, 7, 8, 9, 15, 16, 40, 300, 17, 301):
        child = ordinary_child(root, 2)
        child.values = {**{f"text{number}": "x" for number in range(count)}, **dict.fromkeys(map(str, range(count)), 1)}
        if of_root:
            root.values = child.values = {**child.values}
        expected = decode(mapper.map_chunk(segment, [child, root], partial=False))
        for _ in range(2):
            chunk = mapper.map_directly(segment, [*map(compact, [child, root])], partial=False)
            assert sorted(decode(chunk), key=itemgetter("span_id")) == sorted(expected, key=itemgetter("span_id"))
        assert chunk.encoded_spans == (2 if count < 150 else 0 if of_root else 1)


def test_what_differs_from_request_to_request_prepares_nothing(root, monkeypatch):
    """The parent that each request names is written without preparing the maps anew; another number of tags is not."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    made = Mock(side_effect=span_writer._beginnings)
    monkeypatch.setattr(span_writer, "_beginnings", made)
    calls = []
    for parent_tag, priority in (("00000000000000a1", 1), ("00000000000000b2", 1), (None, 1), (None, 2), ("c" * 16, 2)):
        segment = SegmentRecord()
        segment.local_root, segment.parent_tag, segment.priority = root, parent_tag, priority
        expected = decode(mapper.map_chunk(segment, [root], partial=False))
        for _ in range(2):
            assert decode(mapper.map_directly(segment, [root], partial=False)) == expected
        calls.append(made.call_count)
    assert [after - before for before, after in pairwise(calls)] == [0, 1, 1, 1]


@pytest.mark.parametrize("as_record", [True, False])
def test_a_root_that_is_in_another_chunk_is_not_written(root, as_record):
    """A signal handler that makes a span while the root ends hands over a complete chunk without root."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    spans = [ordinary_child(root, 2), ordinary_child(root, 3)]
    finished = spans if as_record else [*map(compact, spans)]
    for _ in range(2):
        found = decode(mapper.map_directly(segment, finished, partial=False))
        assert found == decode(mapper.map_chunk(segment, spans, partial=False))


class Text(str):
    """A key as an enumeration of texts has them."""

    __slots__ = ()


def give_late_service(parent, child):
    child.end()
    parent.set_tag("service.name", "late")


@pytest.mark.parametrize(
    "act",
    [
        lambda parent, _: parent.set_tag("service.name", "own"),
        lambda parent, _: parent.set_tag(Text("service.name"), "own"),
        lambda parent, _: parent.set_attributes({Text("service.name"): "own"}),
        lambda parent, _: parent.set_tag("datadog.service", "own"),
        lambda parent, _: setattr(parent, "service", "own"),
        give_late_service,
        lambda _, child: child.set_tag("service.name", "own"),
        lambda _, child: child.set_tag("text", "x" * 30_000),
        lambda parent, _: parent.set_tag("list", ["x" * 30_000]),
        lambda _, child: child.end(2**63),
        lambda _, child: child.end(1),
        lambda _, child: child.set_tag("plain", 1),
    ],
)
@pytest.mark.parametrize("limits", [None, SpanLimits(max_attributes=100)], ids=["usual", "own limits"])
def test_what_the_engine_notes_is_all_that_needs_care(act, limits):
    """Whatever an application sets on a span, its trace is written as the general path says."""
    handed_over = []
    hooks = EngineHooks(export=lambda *given, partial: handed_over.append((*given, partial)), takes_compact=True)
    provider = TracerProvider(shutdown_on_exit=False, hooks=hooks, span_limits=limits)
    engine = provider.engine
    for _ in range(2):
        root = engine.start("root", {})
        parent = engine.start("parent", {SPAN_KEY: root})
        early = engine.start("early", {SPAN_KEY: parent})
        act(parent, early)
        late = engine.start("late", {SPAN_KEY: parent})
        for span in (late, early, parent, root):
            span.end()
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    for segment, spans, partial in handed_over:
        segment.decide()
        segment.local_root = next(span for span in spans if isinstance(span, SpanRecord) and span.is_local_root)
        telling_keys = AggregationRules().telling_keys
        wanted = decode(mapper.map_chunk(segment, spans, partial=partial))
        chunk = mapper.map_directly(segment, spans, partial=partial, telling_keys=telling_keys)
        by_id = {span["span_id"]: span for span in decode(chunk)}
        assert [by_id[span["span_id"]] for span in wanted] == wanted


def test_baggage_tags_may_be_long():
    """A local root whose tags come from baggage is cut like any other."""
    tags = {"baggage.user.id": "x" * 30_000}
    provider = TracerProvider(shutdown_on_exit=False, hooks=EngineHooks(baggage_tags=lambda _context: tags))
    root = provider.engine.start("root", {BAGGAGE_KEY: {"user.id": "…"}})
    assert root.segment.needs_care
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    root.end()
    for _ in range(2):
        [found] = decode(mapper.map_directly(root.segment, [root], partial=False))
        assert len(found["meta"]["baggage.user.id"]) < 25_000


@pytest.mark.parametrize("field", ["parent_tag", "propagation_error"])
def test_tags_of_the_trace_may_be_long(root, field):
    """What came with the headers is cut too."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    setattr(segment, field, "x" * 30_000)
    assert decode(mapper.map_directly(segment, [root], partial=False)) == decode(
        mapper.map_chunk(segment, [root], partial=False)
    )


def test_a_service_that_changes_while_the_first_span_is_written(root):
    """The span that carries the tags of its trace stays the first, and carries them."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    spans = [*map(compact, [ordinary_child(root, 2), ordinary_child(root, 3)])]
    mapper.map_directly(segment, spans, partial=True)

    class Changing(dict):
        asked = 0

        def get(self, key, default=None):
            self.asked += key == "service.name"
            return "other" if key == "service.name" and self.asked == 2 else default

    spans[0] = (*spans[0][:8], Changing())
    found = decode(mapper.map_directly(segment, spans, partial=True))
    assert [span["span_id"] for span in found] == [2, 3]
    assert "_sampling_priority_v1" in found[0]["metrics"]


def test_a_decision_by_hand_in_the_middle_is_not_kept_for_other_traces(root, monkeypatch):
    """Tags that are kept for later traces are of one piece, whatever another thread decides meanwhile."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    segment.priority, segment.tags = 1, {"_dd.p.dm": "-1"}
    make = mapper._first_tags._make

    def interrupted(*args):
        segment.priority, segment.tags = -1, {"_dd.p.dm": "-4"}
        return make(*args)

    monkeypatch.setattr(mapper._first_tags, "_make", interrupted)
    mapper.map_directly(segment, [root], partial=False)
    monkeypatch.undo()
    segment.priority, segment.tags = 1, {"_dd.p.dm": "-1"}
    [found] = decode(mapper.map_directly(segment, [root], partial=False))
    assert (found["metrics"]["_sampling_priority_v1"], found["meta"]["_dd.p.dm"]) == (1, "-1")


def test_long_names_do_not_fill_the_memory(root):
    """Of long resources, operation names and keys no encoded form is kept."""
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    spans = [root, *(ordinary_child(root, number) for number in range(2, 5))]
    spans[1].values["resource.name"] = "r" * 2_000
    spans[2].operation_name = "o" * 2_000
    spans[3].values["k" * 2_000] = "v"
    spans[0].values = {"resource.name": "r" * 2_000}
    chunk = mapper.map_directly(segment, spans, partial=False, telling_keys=frozenset())
    assert [shape.recurs for shape, _, _ in chunk.counted] == [False]
    found = decode(chunk)
    assert sorted(found, key=lambda span: span["span_id"]) == decode(mapper.map_chunk(segment, spans, partial=False))
    ordinary = mapper._ordinary
    assert not ordinary._shapes
    kept = (*ordinary._writer._names, *ordinary._writer._resources, *ordinary._facade_keys.encoded)
    assert max(map(len, kept)) < 2_000


def test_what_never_repeats_does_not_fill_the_memory(root, monkeypatch):
    """The caches of names and of tags of the trace start again when full."""
    monkeypatch.setattr(span_writer, "_MAX_NAMES", 5)
    monkeypatch.setattr(first, "_MAX_ENTRIES", 5)
    mapper = Mapper(SETTINGS[0], pack=new_packer())
    segment = SegmentRecord()
    segment.local_root = root
    for number in range(2, 30):
        segment.tags = {"_dd.p.dm": f"-{number}"}
        spans = [root, ordinary_child(root, number, f"op{number}")]
        assert decode(mapper.map_directly(segment, spans, partial=False))[0]["meta"]["_dd.p.dm"] == f"-{number}"
    assert len(mapper._ordinary._writer._names) <= 5
    assert len(mapper._first_tags._known) <= 5
