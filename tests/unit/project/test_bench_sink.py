"""The benchmark's sink counts spans in every payload format, so lost spans are seen."""

import importlib.util
from pathlib import Path

import msgpack
import pytest

SOURCE = Path(__file__).parents[3] / "benchmarks" / "sink.py"


@pytest.fixture(scope="module")
def sink():
    """The module under test, which is a script."""
    spec = importlib.util.spec_from_file_location("bench_sink", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def field(number, *payloads):
    """Encode length-delimited protobuf fields; lengths below 128 only."""
    return b"".join(bytes([number << 3 | 2, len(payload)]) + payload for payload in payloads)


def test_datadog_payloads(sink):
    """Spans of all traces count, in v0.4, v0.5 and v1.0."""
    assert sink.count_spans("/v0.4/traces", msgpack.packb([[{}, {}], [{}]])) == 3
    assert sink.count_spans("/v0.5/traces", msgpack.packb([["", "a"], [[[0] * 12] * 4]])) == 4
    assert sink.count_spans("/v1.0/traces", msgpack.packb({2: "c", 11: [{4: [{}, {}], 6: b""}, {4: [{}]}]})) == 3


def test_otlp_payload(sink):
    """Spans count in every scope of every resource, whatever stands beside them."""
    span = field(1, b"x" * 16) + bytes([7 << 3 | 1]) + bytes(8) + bytes([6 << 3 | 0, 0x81, 0x01])
    scope = field(1, field(1, b"bench")) + field(2, span, span)
    resource = field(1, field(1, b"r")) + field(2, scope, field(2, span[:20]))
    assert sink.count_spans("/v1/traces", field(1, resource)) == 3
    assert sink.count_spans("/v1/traces", b"") == 0
