from __future__ import annotations

import json

import msgpack
import pytest

from ddtrace_manual._encoding import V04Encoder, decode_v04
from ddtrace_manual.exceptions import EncodingError

CUT = "x" * 2486 + "<truncated>..."


class Stubborn:
    """A value that nothing can encode."""


@pytest.mark.parametrize("before", [0, 20], ids=["few spans", "many spans"])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resource": "a\ud800b"}, {"resource": "a\ufffdb"}),
        ({"meta": {"k\udfff": "\ud83d\ude00"}}, {"meta": {"k\ufffd": "\U0001f600"}}),
        ({"resource": "x" * 25_001}, {"resource": CUT}),
        ({"meta": {"k": "é" * 25_000}}, {"meta": {"k": "é" * 25_000}}),
        ({"meta": {"x" * 30_000: "x" * 30_000}}, {"meta": {CUT: CUT}}),
        ({"span_links": [{"tracestate": "x" * 30_000}]}, {"span_links": [{"tracestate": CUT}]}),
        ({"meta_struct": {"k": b"x" * 30_000}}, {"meta_struct": {"k": b"x" * 30_000}}),
        ({"meta": {str(n): "v" * 20_000 for n in range(3)}}, {"meta": {str(n): "v" * 20_000 for n in range(3)}}),
    ],
    ids=["surrogate", "pair in key", "long", "as long as allowed", "long key", "long in link", "long bytes", "many"],
)
def test_repaired_text(make_span, before, changes, expected):
    """Broken text is replaced and long text cut, wherever it is; the other spans stay as they are."""
    encoder = V04Encoder()
    chunk = [make_span() for _ in range(before)]

    payload = encoder.encode([[*chunk, make_span(**changes)]])

    assert decode_v04(payload) == [[*chunk, make_span(**expected)]]
    assert encoder.skipped_spans == 0


def nested_in_itself():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("before", [0, 20], ids=["few spans", "many spans"])
@pytest.mark.parametrize(
    "changes",
    [{"meta": {"k": Stubborn()}}, {"span_id": 1 << 64}, {"meta": {"k": nested_in_itself()}}],
    ids=["unknown type", "too large", "endless"],
)
def test_skipped_span(make_span, before, changes):
    """A span that cannot be packed is left out and counted, the rest of the chunk is sent."""
    encoder = V04Encoder()
    chunk = [make_span(span_id=number) for number in range(before)]

    payload = encoder.encode([[*chunk, make_span(**changes)], [make_span()]])

    assert decode_v04(payload) == [chunk, [make_span()]]
    assert encoder.skipped_spans == 1


def test_text_events(make_span):
    """While the Agent does not take native events they are JSON in meta; the span given stays as it was."""
    event = {"time_unix_nano": 5, "name": "e", "attributes": {"a": {"type": 0, "string_value": "v"}}}
    dd_span = make_span(span_events=[event])
    encoder = V04Encoder()

    [[sent, other]] = decode_v04(encoder.encode([[dd_span, make_span()]]))

    assert "span_events" not in sent
    assert json.loads(sent["meta"]["events"]) == [{"name": "e", "time_unix_nano": 5, "attributes": {"a": "v"}}]
    assert other == make_span()
    assert dd_span["span_events"] == [event]
    encoder.native_events = True
    assert decode_v04(encoder.encode([[dd_span]])) == [[dd_span]]


def test_malformed_events(make_span):
    """A span whose events cannot be written as text is sent without them."""
    assert decode_v04(V04Encoder().encode([[make_span(span_events=[{"name": "e"}])]])) == [[make_span()]]


def test_native_links(make_span):
    """Span links are always native."""
    dd_span = make_span(span_links=[{"trace_id": 1, "trace_id_high": 0, "span_id": 2}])

    assert decode_v04(V04Encoder().encode([[dd_span]])) == [[dd_span]]


def test_absent_maps():
    """Reading fills in the maps that a tracer may leave out."""
    assert decode_v04(msgpack.packb([[{"meta": None}]])) == [[{"meta": {}, "metrics": {}}]]


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x80", b"\x91\x01", b"\x91\x91\x01", b"\x92\x90"])
def test_malformed_payload(payload):
    """What is no v0.4 payload is refused."""
    with pytest.raises(EncodingError):
        decode_v04(payload)
