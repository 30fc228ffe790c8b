"""Byte-exact payloads.

Source: spec/trace-export.md §8; spec/client-stats.md §6, §9.
"""

from __future__ import annotations

import msgpack
import pytest

from ddtrace_manual._encoding import (
    LatencySketch,
    PayloadHeader,
    V04Encoder,
    V05Encoder,
    V1Encoder,
    decode_sketch,
    encode_stats,
    read_v1,
)

SPAN = {
    "service": "svc",
    "name": "op",
    "resource": "res",
    "trace_id": 1,
    "span_id": 2,
    "start": 1000,
    "duration": 5,
    "error": 1,
    "meta": {"a": "b"},
    "metrics": {"_sampling_priority_v1": 1.0},
    "type": "web",
}

V04 = """
91 91 8b
a7 73657276696365 a3 737663
a4 6e616d65 a2 6f70
a8 7265736f75726365 a3 726573
a8 74726163655f6964 01
a7 7370616e5f6964 02
a5 7374617274 cd03e8
a8 6475726174696f6e 05
a5 6572726f72 01
a4 6d657461 81 a1 61 a1 62
a7 6d657472696373 81
   b5 5f73616d706c696e675f7072696f726974795f7631 cb 3ff0000000000000
a4 74797065 a3 776562
"""

V05 = """
92
98 a0 a3737663 a26f70 a3726573 a3776562 a161 a162 b5 5f73616d706c696e675f7072696f726974795f7631
91 91 9c 01 02 03 01 02 00 cd03e8 05 01 81 05 06 81 07 cb3ff0000000000000 04
"""

V1 = """
83 03 a6 707974686f6e 05 a5 302e312e30 0b 91
 84 06 c410 00000000000000100000000000000001 01 01 07 03 04 91
  8a 01 a3 737663 02 a2 6f70 03 a3 726573 04 02 06 cd03e8 07 05 08 c3
     09 96 a161 01 a162  a473766332 01 03
     0a a3 776562 10 02
"""

ONE_SECOND = "0a12 09000000000040f03f 110000000000ea9440 120d 1208000000000000f03f 18e629 1a00"
NOTHING = "0a12 09000000000040f03f 110000000000ea9440 1200 1a00"


def test_v04_span():
    """A span in v0.4 is a map in the order of its fields, 140 bytes in the documented example."""
    payload = V04Encoder().encode([[SPAN]])

    assert payload.hex() == "".join(V04.split())
    assert len(payload) == 140


def test_v05_span():
    """A span in v0.5 is twelve items over a string table, 73 bytes in the documented example."""
    payload = V05Encoder().encode([[SPAN]])

    assert payload.hex() == "".join(V05.split())
    assert len(payload) == 73


def test_v1_span():
    """A span in v1.0 is a map of numbered fields whose repeated strings are numbers."""
    meta = {
        "a": "b",
        "svc2": "svc",
        "span.kind": "server",
        "_dd.p.dm": "-3",
        "_dd.p.tid": "0000000000000010",
    }
    header = PayloadHeader(language="python", tracer_version="0.1.0")

    payload = V1Encoder(header).encode([[{**SPAN, "meta": meta}]])

    assert payload.hex() == "".join(V1.split())
    assert read_v1(payload) == (header, [[{**SPAN, "meta": meta}]])


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [([], "90"), ([[]], "9190"), ([[SPAN]] * 15, "9f"), ([[]] * 16, "dc0010"), ([[]] * 65536, "dd00010000")],
    ids=["none", "empty", "15", "16", "65536"],
)
def test_v04_array_headers(chunks, expected):
    """Arrays of chunks have the shortest header."""
    assert V04Encoder().encode(chunks).hex().startswith(expected)


@pytest.mark.parametrize(
    ("duration_ns", "index"), [(1, 1338), (1_000, 1784), (1_000_000, 2229), (200_000_000, 2571), (1_000_000_000, 2675)]
)
def test_sketch_indexes(duration_ns, index):
    """Bins agree with Datadog's back end."""
    sketch = LatencySketch()

    sketch.add(duration_ns)

    assert sketch.bins() == {index: 1}


@pytest.mark.parametrize(("durations_ns", "message"), [([], NOTHING), ([10**9], ONE_SECOND)], ids=["empty", "1 s"])
def test_sketch_message(durations_ns, message):
    """A sketch is the documented protobuf message, also an empty one."""
    sketch = LatencySketch()
    for duration_ns in durations_ns:
        sketch.add(duration_ns)

    assert sketch.to_bytes().hex() == "".join(message.split())


def test_sketch_of_another_library():
    """Counts given by bin instead of contiguously are read too."""
    entry = bytes.fromhex("0a0c 08e629 11000000000000f03f".replace(" ", ""))
    message = bytes.fromhex("0a1209000000000040f03f110000000000ea9440120e") + entry

    assert decode_sketch(message) == ({2675: 1.0}, 0.0)


def test_stats_payload():
    """A statistics payload has exactly the documented keys and types."""
    sketch = LatencySketch()
    sketch.add(10**9)
    group = {
        "Service": "webserver",
        "Name": "web.request",
        "Resource": "/users",
        "Hits": 1,
        "Errors": 0,
        "Duration": 10**9,
        "OkSummary": sketch.to_bytes(),
        "ErrorSummary": LatencySketch().to_bytes(),
        "TopLevelHits": 1,
        "IsTraceRoot": 1,
        "srv_src": "m",
    }
    bucket = {"Start": 1_700_000_000_000_000_000, "Duration": 10**10, "Stats": [group]}

    body = encode_stats(
        {
            "Env": "some-env",
            "Version": "1.2.3",
            "RuntimeID": "6f1e",
            "Sequence": 0,
            "Service": "some-service",
            "Stats": [bucket],
        }
    )

    assert msgpack.unpackb(body) == {
        "Hostname": "",
        "Env": "some-env",
        "Version": "1.2.3",
        "RuntimeID": "6f1e",
        "Sequence": 0,
        "Service": "some-service",
        "Lang": "",
        "TracerVersion": "",
        "AgentAggregation": "",
        "ContainerID": "",
        "Tags": [],
        "GitCommitSha": "",
        "ImageTag": "",
        "ProcessTagsHash": 0,
        "ProcessTags": "",
        "Stats": [
            {
                "Start": 1_700_000_000_000_000_000,
                "Duration": 10**10,
                "AgentTimeShift": 0,
                "Stats": [
                    {
                        "Service": "webserver",
                        "Name": "web.request",
                        "Resource": "/users",
                        "HTTPStatusCode": 0,
                        "Type": "",
                        "DBType": "",
                        "Hits": 1,
                        "Errors": 0,
                        "Duration": 10**9,
                        "OkSummary": bytes.fromhex("".join(ONE_SECOND.split())),
                        "ErrorSummary": bytes.fromhex("".join(NOTHING.split())),
                        "Synthetics": False,
                        "TopLevelHits": 1,
                        "SpanKind": "",
                        "PeerTags": [],
                        "IsTraceRoot": 1,
                        "GRPCStatusCode": "",
                        "HTTPMethod": "",
                        "HTTPEndpoint": "",
                        "srv_src": "m",
                        "SpanDerivedPrimaryTags": [],
                        "AdditionalMetricTags": [],
                    }
                ],
            }
        ],
    }
