from __future__ import annotations

import json

import msgpack
import pytest

from ddtrace_manual._encoding import PayloadHeader, V1Encoder, decode_v1, read_v1
from ddtrace_manual.exceptions import EncodingError


def raw(payload):
    return msgpack.unpackb(payload, strict_map_key=False)


def test_header():
    """Empty header fields are left out; the others precede the chunks."""
    header = PayloadHeader("c", "python", "3.12", "0.1", "r", "prod", "h", "1.0", {"k": "v"})

    assert raw(V1Encoder(header).encode([])) == {
        **dict(zip(range(2, 10), ("c", "python", "3.12", "0.1", "r", "prod", "h", "1.0"), strict=True)),
        10: ["k", 1, "v"],
        11: [],
    }
    assert raw(V1Encoder(PayloadHeader(language="")).encode([])) == {11: []}


def test_repeated_strings(make_span):
    """A string is written once; an empty one never gets a number of its own."""
    first, second = raw(V1Encoder().encode([[make_span(meta={"a": ""}), make_span(meta={"a": ""})]]))[11][0][4]

    assert first[9] == ["a", 1, 0, "m", 3, 1.0]
    assert second[1] == 2
    assert second[9] == [5, 1, 0, 6, 3, 1.0]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([{"parent_id": 9, "meta": {"_dd.origin": "a"}}, {"meta": {"_dd.origin": "root"}}], {2: "root"}),
        ([{"parent_id": 9}, {"parent_id": 9, "meta": {"_dd.origin": "a"}}], {2: "a"}),
        (
            [
                {"parent_id": 9, "metrics": {"_sampling_priority_v1": 1.0}},
                {"parent_id": 9, "metrics": {"_dd.top_level": 1.0, "_sampling_priority_v1": -1.0}},
            ],
            {1: -1},
        ),
        ([{"meta": {"_dd.p.dm": "-4", "_dd.p.tid": "ff"}}], {7: 4, 6: bytes(7) + b"\xff" + bytes(7) + b"\x01"}),
        ([{"meta": {"_dd.p.dm": "service-4", "_dd.p.tid": "rubbish"}}], {6: bytes(15) + b"\x01"}),
        ([{"metrics": {"_sampling_priority_v1": float("nan")}}], {6: bytes(15) + b"\x01"}),
    ],
    ids=["root", "first that has it", "top level", "mechanism", "unusable", "not a number"],
)
def test_chunk_fields(make_span, spans, expected):
    """What belongs to the trace is taken from the root, else from the first span that has it."""
    [chunk] = raw(V1Encoder().encode([[make_span(**span) for span in spans]]))[11]

    del chunk[4]
    assert chunk == {6: bytes(15) + b"\x01", **expected}


def test_kept_attributes(make_span):
    """Trace-level values that differ from those of the chunk stay attributes, as do unknown kinds."""
    other = {"_dd.origin": "other", "_dd.p.dm": "-9", "span.kind": "odd"}
    chunk = [
        make_span(meta={"_dd.origin": "a", "_dd.p.dm": "-1"}, metrics={"_sampling_priority_v1": 1.0}),
        make_span(parent_id=2, meta=other, metrics={"_sampling_priority_v1": 2.0}),
    ]

    _, second = raw(V1Encoder().encode([chunk]))[11][0][4]

    assert second[9][1:3] == [1, "other"]
    assert second[9][6:9] == ["span.kind", 1, "odd"]
    assert second[9][-1] == 2.0
    assert second[16] == 1


def test_text_events(make_span):
    """While the Agent does not take native events they are JSON in an attribute."""
    dd_span = make_span(span_events=[{"time_unix_nano": 5, "name": "e"}])

    [[back]] = decode_v1(V1Encoder().encode([[dd_span]]))

    assert json.loads(back["meta"]["events"]) == [{"name": "e", "time_unix_nano": 5}]
    assert "span_events" not in back


def test_repaired_text(make_span):
    """Broken text is replaced, long text cut, and what results shares its number with equal text."""
    dd_span = make_span(name="a\ud800", resource="a\ufffd", meta={"k": "x" * 25_001, "span.kind": "internal"})

    [[back]] = decode_v1(V1Encoder().encode([[dd_span]]))

    assert (back["name"], back["resource"]) == ("a\ufffd", "a\ufffd")
    assert back["meta"]["k"] == "x" * 2486 + "<truncated>..."


def test_limits(make_span):
    """Times before the epoch are 0."""
    [[back]] = decode_v1(V1Encoder().encode([[make_span(start=-5, duration=-1)]]))

    assert back == make_span(start=0, duration=0)


def test_malformed_spans(make_span):
    """Spans that cannot be encoded are skipped, also when nothing about their chunk can be said."""
    bad_event = {"time_unix_nano": 5, "name": "e", "attributes": {"a": {"type": 2, "int_value": 1 << 63}}}
    encoder = V1Encoder(native_events=True)

    payload = encoder.encode([[{"meta": None}], [], [make_span(span_events=[bad_event]), make_span()]])

    assert decode_v1(payload) == [[], [], [make_span()]]
    assert encoder.skipped_spans == 2


def test_attributes_of_other_tracers():
    """Common attributes of a chunk and typed attributes of a span are understood."""
    chunk = {6: bytes(16), 4: [{4: 1, 6: 2, 9: ["b", 2, True, "i", 4, 3]}], 3: ["c", 1, "v"]}

    [[back]] = decode_v1(msgpack.packb({11: [chunk]}))

    assert back["meta"] == {"b": "true", "c": "v"}
    assert back["metrics"] == {"i": 3.0}


@pytest.mark.parametrize(
    "form",
    [
        [],
        {1: []},
        {11: [{4: []}]},
        {11: [{6: bytes(16), 4: [{99: 1}]}]},
        {11: [{6: bytes(16), 4: [{9: ["a", 1]}]}]},
        {11: [{6: bytes(16), 4: [{9: ["a", 9, 1]}]}]},
        {11: [{6: bytes(16), 4: [{1: 5}]}]},
    ],
)
def test_malformed_payload(form):
    """What is no v1.0 payload is refused."""
    with pytest.raises(EncodingError):
        read_v1(msgpack.packb(form))


def test_empty_texts(make_span):
    """An empty name is written, because receivers want one; empty tags that have a field of their own stay tags."""
    dd_span = make_span(name="", service="", resource="", meta={"env": "", "component": "", "span.kind": "client"})

    payload = V1Encoder().encode([[dd_span]])

    assert raw(payload)[11][0][4][0][2] == 0
    assert decode_v1(payload) == [[dd_span]]
