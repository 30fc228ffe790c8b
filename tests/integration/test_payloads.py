"""Generated traces, mapped and encoded in every format: what the real test agent and our own decoders make of them."""

import itertools
import json
import urllib.error
import urllib.request

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

from ddtrace_manual._encoding import (
    PayloadHeader,
    V04Encoder,
    V05Encoder,
    V1Encoder,
    decode_v04,
    decode_v05,
    decode_v1,
    new_packer,
)
from ddtrace_manual._mapping import Mapper, MappingSettings
from ddtrace_manual._model import EventRecord, LinkRecord, SegmentRecord, SpanRecord

pytestmark = pytest.mark.integration

SETTINGS = MappingSettings(
    service="shop", env="prod", version="2", tags={"team": "core"}, runtime_id="4b0d", process_id=7, tracer_version="1"
)
HEADER = PayloadHeader(container_id="c1", language_version="3.12", tracer_version="1", runtime_id="4b0d", env="prod")
SCOPES = (None, InstrumentationScope("lib", "1"))
ORIGIN, PRIORITY, TRACE_ID_HIGH = "_dd.origin", "_sampling_priority_v1", "_dd.p.tid"
DECISION_MAKER, LINKS, EVENTS = "_dd.p.dm", "_dd.span_links", "events"
SCALAR_FIELDS = ("string_value", "bool_value", "int_value", "double_value")
MAX_NS = 2**63 - 1

odd_texts = st.sampled_from(
    ["", "\0", "\ud800", "a\udfffb", "\ud83d\ude00", '"\\\n', "💥", "<truncated>...", "x" * 25_000, "é" * 25_001]
)
texts = st.text(max_size=6) | odd_texts
keys = st.text(min_size=1, max_size=4) | st.sampled_from(
    ["env", "version", "component", "service.name", "resource.name", "span.type", "http.status_code", "order.id", "a.0"]
)
numbers = st.integers() | st.floats() | st.sampled_from([2**53 + 1, 2**63, -(2**63), 10**400])
scalars = texts | numbers | st.booleans() | st.binary(max_size=4)
attributes = st.dictionaries(
    keys, scalars | st.lists(scalars, max_size=3) | st.dictionaries(texts, scalars, max_size=2)
)
ids = st.integers(1, 2**64 - 1)
times = st.integers(0, MAX_NS)
events = st.builds(
    EventRecord,
    texts | st.just("exception"),
    times | st.integers(-9, 2**70),
    st.dictionaries(keys, scalars | st.lists(numbers, max_size=3) | st.lists(texts, max_size=3), max_size=3),
)
links = st.builds(
    LinkRecord,
    st.integers(1, 2**128 - 1),
    ids,
    st.dictionaries(keys, scalars | st.lists(scalars, max_size=2), max_size=2),
    st.sampled_from(["", "dd=s:1", "a=b,c=d"]),
    st.none() | st.integers(0, 255),
)


@st.composite
def spans(draw, segment, span_id, parents):
    """One finished span; `parents` are the spans it may belong to."""
    span = SpanRecord()
    span.segment, span.span_id = segment, span_id
    span.otel_name = draw(texts)
    span.operation_name = draw(st.none() | texts)
    span.otel_kind = draw(st.sampled_from(list(SpanKind)))
    span.scope = draw(st.sampled_from(SCOPES))
    span.start_ns = draw(times)
    span.end_ns = draw(times | st.integers(-9, 2**65))
    span.values = draw(st.none() | attributes)
    span.status_code = draw(st.sampled_from([0, 1, 2]))
    span.status_description = draw(st.none() | texts)
    span.event_records = draw(st.none() | st.lists(events, min_size=1, max_size=2))
    span.link_records = draw(st.none() | st.lists(links, min_size=1, max_size=2))
    if parents:
        span.local_parent = draw(st.sampled_from(parents))
        span.parent_id = span.local_parent.span_id
    else:
        span.is_local_root = True
        span.parent_id = draw(st.just(0) | ids)
    return span


@st.composite
def segments(draw):
    """A local trace and its spans."""
    segment = SegmentRecord()
    segment.trace_id = draw(st.integers(1, 2**64 - 1) | st.integers(2**64 + 1, 2**128 - 1))
    segment.priority = draw(st.sampled_from([None, -1, 0, 1, 2, 7, 1000]))
    segment.origin = draw(st.none() | st.sampled_from(["rum", "synthetics-browser", "é"]))
    segment.tags = draw(st.none() | st.sampled_from([{DECISION_MAKER: "-0"}, {DECISION_MAKER: "-4", "_dd.p.x": "y"}]))
    segment.members = draw(st.just(()) | st.just((("vendor", "1"),)))
    segment.rule_rate = draw(st.none() | st.floats(0, 1))
    recorded = []
    for span_id in draw(st.lists(ids, min_size=1, max_size=4, unique=True)):
        recorded.append(draw(spans(segment, span_id, recorded)))
    segment.local_root = draw(st.sampled_from([recorded[0], None]))
    return segment, recorded


payloads = st.lists(segments(), min_size=1, max_size=3, unique_by=lambda pair: pair[0].trace_id & (2**64 - 1))


# --- what is expected, written down without the encoders ---------------------------------------------------------------


def sound(value):
    """Return a span, or a part of one, as it may be sent: long text cut, lone surrogates replaced."""
    if isinstance(value, str):
        cut = value if len(value) <= 25_000 else value[:2486] + "<truncated>..."
        return cut.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {sound(key): sound(item) for key, item in value.items()}
    return [sound(item) for item in value] if isinstance(value, list) else value


def plain(typed):
    """Return the natural value of an attribute of an event."""
    if typed["type"] == 4:
        return [plain(item) for item in typed["array_value"]["values"]]
    return typed[SCALAR_FIELDS[typed["type"]]]


def text_events(found):
    """Return events as they are in JSON."""
    forms = []
    for event in found:
        form = {"name": event["name"], "time_unix_nano": event["time_unix_nano"]}
        values = {key: plain(typed) for key, typed in event.get("attributes", {}).items()}
        forms.append(form | ({"attributes": values} if values else {}))
    return forms


def text_links(found):
    """Return links as they are in JSON."""
    forms = []
    for link in found:
        form = {
            "trace_id": f"{link['trace_id_high']:016x}{link['trace_id']:016x}",
            "span_id": f"{link['span_id']:016x}",
        }
        form |= {key: link[key] for key in ("attributes", "tracestate") if link.get(key)}
        forms.append(form | ({"flags": link["flags"] - 2**31} if "flags" in link else {}))
    return forms


def as_sent(chunk, *, native_events=True, native_links=True):
    """Return the spans of a chunk as a receiver should see them, by span id."""
    expected = {}
    for dd_span in sound(chunk):
        span = {"parent_id": 0, "error": 0, "type": "", **dd_span, "meta": dict(dd_span["meta"])}
        for is_native, field, key, form in (
            (native_events, "span_events", EVENTS, text_events),
            (native_links, "span_links", LINKS, text_links),
        ):
            if field in span and not is_native:
                span["meta"][key] = form(span.pop(field))
        expected[span["span_id"]] = span
    return expected


def as_received(chunk):
    """Return decoded spans in the same form, by span id."""
    received = {}
    for dd_span in chunk:
        span = {"service": "", "name": "", "resource": "", "parent_id": 0, "duration": 0, "error": 0, "type": ""}
        span |= dd_span
        meta = span["meta"] = dict(span["meta"])
        meta |= {key: json.loads(meta[key]) for key in (EVENTS, LINKS) if key in meta}
        received[span["span_id"]] = span
    return received


def as_agent_shows_v1(expected, first):
    """Return expected spans as the agent shows a v1.0 chunk: what was said once is on every span."""
    meta, metrics = first["meta"], first["metrics"]
    common = {key: meta[key] for key in (TRACE_ID_HIGH,) if key in meta}
    shown = {}
    for span_id, span in expected.items():
        tags = span["meta"] | common
        if tags.get(DECISION_MAKER) == "-0":
            del tags[DECISION_MAKER]  # it takes mechanism 0 for none
        shown[span_id] = span | {"meta": tags, "metrics": span["metrics"] | {PRIORITY: metrics[PRIORITY]}}
    return shown


# --- the agent ---------------------------------------------------------------------------------------------------------


def send(session, version, payload, count):
    """Send a payload to the test agent; return the traces it decoded, in order."""
    session.clear()
    request = urllib.request.Request(
        f"{session.url}/{version}/traces",
        payload,
        {
            "Content-Type": "application/msgpack",
            "X-Datadog-Trace-Count": str(count),
            "Datadog-Meta-Tracer-Version": "1",
            **session.headers,
        },
        method="PUT",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=10).close()
    except urllib.error.HTTPError as refusal:
        with refusal:
            pytest.fail(f"{version} refused: {refusal.read()[:2000]}")
    return session.traces()


def offered(session):
    """Return the versions the installed agent lists."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{session.url}/info", timeout=10) as answer:
        paths = json.load(answer)["endpoints"]
    return {version for version in ("v0.4", "v0.5", "v1.0") if f"/{version}/traces" in paths}


def compare(found, expected):
    """Compare traces with what is expected, span by span."""
    for trace, wanted in itertools.zip_longest(found, expected):
        received = as_received(trace)
        assert received.keys() == wanted.keys()
        for span_id, span in received.items():
            allow_shortened(span["meta"], wanted[span_id]["meta"])
            assert span["meta"] == wanted[span_id]["meta"]
            assert span["metrics"] == wanted[span_id]["metrics"]
            assert span == wanted[span_id]


def allow_shortened(meta, wanted):
    """Check events and links that do not fit into one tag: the first ones are there, perhaps with less in them."""
    for key, mark in ((EVENTS, "time_unix_nano"), (LINKS, "span_id")):
        forms = wanted.get(key)
        if isinstance(forms, list) and len(json.dumps(forms, ensure_ascii=False, separators=(",", ":"))) > 25_000:
            marks = [form[mark] for form in meta[key]]
            assert marks
            assert marks == [form[mark] for form in forms][: len(marks)]
            wanted[key] = meta[key]


def check(session, versions, pairs):
    """Send one payload in every format and compare what arrived."""
    mapper = Mapper(SETTINGS, pack=new_packer())
    chunks = [mapper.map_chunk(segment, recorded, partial=False) for segment, recorded in pairs]
    assert [len(chunk) for chunk in chunks] == [len(recorded) for _, recorded in pairs]
    native = [as_sent(chunk) for chunk in chunks]
    texts_of_events = [as_sent(chunk, native_events=False) for chunk in chunks]
    texts_only = [as_sent(chunk, native_events=False, native_links=False) for chunk in chunks]
    v1_shown = [as_agent_shows_v1(wanted, sound(chunk[0])) for wanted, chunk in zip(native, chunks, strict=True)]
    direct = [mapper.map_directly(segment, recorded, partial=False) for segment, recorded in pairs]
    for encoder, given_chunks, decode, ours, agents in (
        (V04Encoder(native_events=True), chunks, decode_v04, native, native),
        (V04Encoder(), chunks, decode_v04, texts_of_events, texts_of_events),
        (V04Encoder(native_events=True), direct, decode_v04, native, native),
        (V05Encoder(), chunks, decode_v05, texts_only, texts_only),
        (V1Encoder(HEADER, native_events=True), chunks, decode_v1, native, v1_shown),
    ):
        payload = encoder.encode(given_chunks)
        assert encoder.skipped_spans == 0
        compare(decode(payload), ours)
        if encoder.version in versions:
            compare(send(session, encoder.version, payload, len(chunks)), agents)


def one_span(**fields):
    """A payload of one span."""
    segment, span = SegmentRecord(), SpanRecord()
    segment.trace_id, segment.priority, segment.local_root = 5, 1, span
    span.segment, span.span_id, span.start_ns, span.end_ns, span.is_local_root = segment, 6, 7, 8, True
    for name, value in fields.items():
        setattr(span, name, value)
    return [(segment, [span])]


# One session serves all examples: it is cleared before each payload.
SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=25, suppress_health_check=SUPPRESSED)
@given(payloads)
@example(one_span(event_records=[EventRecord("long", 1, {"a": "x" * 24_999, "b": "y"})]))
@example(one_span(event_records=[EventRecord("x" * 30_000, 1)]))
@example(one_span(event_records=[EventRecord("many", 1, {f"k{number}": "x" * 999 for number in range(90)})]))
@example(one_span(link_records=[LinkRecord(1, 2, {"a": "x" * 24_999, "b": "\ud800"})]))
@example(one_span(event_records=[EventRecord("far", 2**64)], values={"component": "", "env": ""}))
def test_traces_are_accepted_and_equal(test_agent, pairs):
    """Whatever a trace holds, every format is accepted, and decodes to the spans that were mapped."""
    check(test_agent, offered(test_agent), pairs)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=400, suppress_health_check=SUPPRESSED)
@given(payloads)
def test_many_traces_are_accepted_and_equal(test_agent, pairs):
    """The same over hundreds of payloads."""
    check(test_agent, offered(test_agent), pairs)
