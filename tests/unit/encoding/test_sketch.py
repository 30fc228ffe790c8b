from __future__ import annotations

import pytest

from ddtrace_manual._encoding import LatencySketch, bin_value, decode_sketch, encode_sketch
from ddtrace_manual.exceptions import EncodingError

MAPPING = bytes.fromhex("0a1209000000000040f03f110000000000ea9440")


def test_zeros():
    """Durations below 1 ns, also negative ones, are counted as zeros and are the lowest quantile."""
    sketch = LatencySketch()
    for duration_ns in (0, -5, 0.5, 1000):
        sketch.add(duration_ns)

    assert (sketch.zero_count, sketch.count) == (3, 4)
    assert sketch.quantile(0.5) == 0
    assert sketch.quantile(1) == bin_value(1784)
    assert LatencySketch.from_bytes(sketch.to_bytes()).zero_count == 3


def test_empty():
    """An empty sketch has quantile 0."""
    assert LatencySketch().quantile(0.99) == 0
    assert LatencySketch.from_bytes(LatencySketch().to_bytes()).count == 0


def test_collapsed():
    """When durations span too many bins the lowest are merged into the lowest kept one."""
    sketch = LatencySketch()
    for duration_ns in (1, 2, 10**18):
        sketch.add(duration_ns)

    assert list(sketch.bins().values()) == [2, 1]
    assert max(sketch.bins()) - min(sketch.bins()) == 2047
    assert sketch.count == 3


def test_offset_zero():
    """An offset of 0 is left out of the message, like every default."""
    assert decode_sketch(encode_sketch({0: 1.0})) == ({0: 1.0}, 0.0)
    assert b"\x18" not in encode_sketch({0: 1.0})[len(MAPPING) :]


@pytest.mark.parametrize(
    "message",
    [b"\x12", b"\x12\x05a", b"\x13", b"\x21\x00", b"\xff" * 11, MAPPING[:-1] + b"\x41"],
    ids=["no length", "short field", "unknown kind", "short number", "endless number", "other mapping"],
)
def test_malformed_message(message):
    """What is no sketch of this mapping is refused."""
    with pytest.raises(EncodingError):
        decode_sketch(message)


def test_unknown_fields():
    """Fields of later versions are passed over."""
    assert decode_sketch(MAPPING + b"\x28\x01" + b"\x35abcd" + b"\x3a\x01x") == ({}, 0.0)
