"""Properties that hold for every payload: what was encoded can be read back."""

from __future__ import annotations

import json

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._encoding import (
    LatencySketch,
    PayloadHeader,
    V04Encoder,
    V05Encoder,
    V1Encoder,
    decode_sketch,
    decode_stats,
    decode_v04,
    decode_v05,
    decode_v1,
    encode_sketch,
    encode_stats,
    read_v1,
)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
names = st.text("abc._é", min_size=1, max_size=4)
ids = st.integers(1, 2**64 - 1)
times = st.integers(1, 2**63 - 1)
scalars = st.one_of(
    texts.map(lambda value: {"type": 0, "string_value": value}),
    st.booleans().map(lambda value: {"type": 1, "bool_value": value}),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: {"type": 2, "int_value": value}),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: {"type": 3, "double_value": value}),
)
arrays = st.lists(scalars, max_size=3).map(lambda values: {"type": 4, "array_value": {"values": values}})


@st.composite
def events(draw):
    event = {"time_unix_nano": draw(times), "name": draw(texts)}
    if attributes := draw(st.dictionaries(names, scalars | arrays, max_size=3)):
        event["attributes"] = attributes
    return event


@st.composite
def links(draw):
    link = {"trace_id": draw(ids), "trace_id_high": draw(st.integers(0, 2**64 - 1)), "span_id": draw(ids)}
    if attributes := draw(st.dictionaries(names, texts, max_size=3)):
        link["attributes"] = attributes
    if tracestate := draw(texts):
        link["tracestate"] = tracestate
    if draw(st.booleans()):
        link["flags"] = draw(st.sampled_from([1 << 31, 1 << 31 | 1]))
    return link


@st.composite
def spans(draw):
    meta = draw(st.dictionaries(names, texts, max_size=3))
    meta["span.kind"] = draw(st.sampled_from(["internal", "server", "client", "producer", "consumer"]))
    dd_span = {
        "service": draw(texts),
        "name": draw(texts),
        "resource": draw(texts),
        "trace_id": 7,
        "span_id": draw(ids),
        "start": draw(times),
        "duration": draw(times),
        "meta": meta,
        "metrics": draw(st.dictionaries(names, st.floats(allow_nan=False), max_size=3)),
    }
    optional = {
        "parent_id": ids,
        "error": st.just(1),
        "type": names,
        "meta_struct": st.dictionaries(names, st.binary(max_size=5), min_size=1, max_size=2),
        "span_links": st.lists(links(), min_size=1, max_size=2),
        "span_events": st.lists(events(), min_size=1, max_size=2),
    }
    dd_span |= draw(st.fixed_dictionaries({}, optional=optional))
    return dd_span


@st.composite
def chunks(draw):
    """A chunk as the mapping makes it: what belongs to the trace is on its first span, the origin on all."""
    chunk = draw(st.lists(spans(), min_size=1, max_size=3))
    origin = draw(st.none() | names)
    for dd_span in chunk if origin is not None else []:
        dd_span["meta"]["_dd.origin"] = origin
    if draw(st.booleans()):
        chunk[0]["meta"]["_dd.p.tid"] = f"{draw(ids):016x}"
        chunk[0]["meta"]["_dd.p.dm"] = f"-{draw(st.integers(0, 12))}"
        chunk[0]["metrics"]["_sampling_priority_v1"] = float(draw(st.integers(-1, 2)))
    return chunk


payloads = st.lists(chunks(), max_size=2)


@given(payloads)
def test_v04(payload):
    """A v0.4 payload reads back as the spans that were encoded."""
    encoder = V04Encoder(native_events=True)

    assert decode_v04(encoder.encode(payload)) == payload
    assert encoder.skipped_spans == 0


@given(payloads)
def test_v04_chunk_by_chunk(payload):
    """Encoding chunk by chunk and joining gives the bytes of packing everything at once."""
    encoder = V04Encoder(native_events=True)

    assert encoder.join([encoder.encode_chunk(chunk) for chunk in payload]) == msgpack.packb(payload)


@given(payloads)
def test_v05(payload):
    """A v0.5 payload reads back as the spans, with links and events as text and without meta_struct."""
    decoded = decode_v05(V05Encoder().encode(payload))

    for chunk, chunk_back in zip(payload, decoded, strict=True):
        for dd_span, back in zip(chunk, chunk_back, strict=True):
            meta = back.pop("meta")
            links_back = json.loads(meta.pop("_dd.span_links", "[]"))
            events_back = json.loads(meta.pop("events", "[]"))
            assert [int(link["span_id"], 16) for link in links_back] == [
                link["span_id"] for link in dd_span.get("span_links", [])
            ]
            assert [event["name"] for event in events_back] == [
                event["name"] for event in dd_span.get("span_events", [])
            ]
            assert meta == dd_span["meta"]
            assert back == {
                key: value
                for key, value in dd_span.items()
                if key not in {"meta", "meta_struct", "span_links", "span_events"}
            }


@given(payloads, texts)
def test_v1(payload, env):
    """A v1.0 payload reads back as the header and spans that were encoded."""
    header = PayloadHeader(env=env, runtime_id="r", attributes={"_dd.apm_mode": "edge"})
    encoder = V1Encoder(header, native_events=True)

    assert read_v1(encoder.encode(payload)) == (header, payload)
    assert encoder.skipped_spans == 0


@given(st.lists(st.sampled_from([{"name": 1}, {"meta": {"a": 1}}, {"span_id": -1}, {"start": None}, {}]), max_size=3))
def test_skipped_spans_leave_the_rest_readable(changes):
    """A span that cannot be encoded is left out and counted; the strings of the others still resolve."""
    dd_span = {
        "service": "s",
        "name": "n",
        "resource": "r",
        "trace_id": 1,
        "span_id": 2,
        "start": 3,
        "duration": 4,
        "meta": {"span.kind": "server"},
        "metrics": {},
    }
    chunk = [{**dd_span, "resource": f"r{number}", **change} for number, change in enumerate(changes)]
    good = [span for span, change in zip(chunk, changes, strict=True) if not change]
    for encoder, decode in ((V05Encoder(), decode_v05), (V1Encoder(), decode_v1)):
        assert decode(encoder.encode([chunk])) == [good]
        assert encoder.skipped_spans == len(chunk) - len(good)


@given(st.dictionaries(st.integers(-3000, 5000), st.integers(1, 1000).map(float), max_size=30), st.integers(0, 9))
def test_sketch(bins, zero_count):
    """A sketch reads back with all its counts, in at most 2048 bins."""
    back, zero_back = decode_sketch(encode_sketch(bins, zero_count))

    assert sum(back.values()) == sum(bins.values())
    assert zero_back == zero_count
    if bins:
        lowest = max(bins) - 2047
        assert min(back) >= lowest
        assert {index: count for index, count in back.items() if index > lowest} == {
            index: count for index, count in bins.items() if index > lowest
        }


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles(durations_ns, fraction):
    """A quantile is within the accuracy of the exact one."""
    sketch = LatencySketch()
    for duration_ns in durations_ns:
        sketch.add(duration_ns)
    exact = sorted(durations_ns)[int(fraction * (len(durations_ns) - 1))]

    assert abs(sketch.quantile(fraction) - exact) <= exact / 128


@given(st.lists(st.integers(0, 10**15), max_size=20), st.lists(st.integers(0, 10**15), max_size=20))
def test_merged_sketches(first, second):
    """Merging two sketches is counting everything in one."""
    merged, other, whole = LatencySketch(), LatencySketch(), LatencySketch()
    for duration_ns in first:
        merged.add(duration_ns)
        whole.add(duration_ns)
    for duration_ns in second:
        other.add(duration_ns)
        whole.add(duration_ns)

    merged.merge(other)

    assert merged.to_bytes() == whole.to_bytes()
    assert merged.count == len(first) + len(second)
    assert LatencySketch.from_bytes(merged.to_bytes()).bins() == whole.bins()


@given(st.text(max_size=5), st.integers(0, 2**63))
def test_stats(env, sequence):
    """A statistics payload reads back; text that is not valid Unicode is repaired."""
    payload = {"Env": env, "RuntimeID": "r", "Sequence": sequence, "Service": "s", "Stats": []}

    back = decode_stats(encode_stats(payload))

    assert back["Sequence"] == sequence
    assert back["Env"] == env.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
