from __future__ import annotations

import msgpack
import pytest

from ddtrace_manual._encoding import V05Encoder, decode_v05
from ddtrace_manual.exceptions import EncodingError


def test_shared_strings(make_span):
    """Every distinct string is in the table once, over all chunks."""
    table, _ = msgpack.unpackb(V05Encoder().encode([[make_span()], [make_span(), make_span()]]), strict_map_key=False)

    assert table == ["", "svc", "op", "res", "span.kind", "internal", "m"]


def test_repaired_text(make_span):
    """Broken text is replaced and long text cut in the table."""
    dd_span = make_span(name="a\ud800", resource="x" * 25_001)

    [[back]] = decode_v05(V05Encoder().encode([[dd_span]]))

    assert back["name"] == "a\ufffd"
    assert back["resource"] == "x" * 2486 + "<truncated>..."


def test_limits(make_span):
    """No service is the empty string, times before the epoch are 0, integers in metrics become floats."""
    dd_span = make_span(service=None, start=-5, duration=-1, metrics={"m": 3})

    [[back]] = decode_v05(V05Encoder().encode([[dd_span]]))

    assert back == make_span(service="", start=0, duration=0, metrics={"m": 3.0})
    assert type(back["metrics"]["m"]) is float


def test_malformed_events(make_span):
    """A span whose links cannot be written as text is skipped and counted."""
    encoder = V05Encoder()

    assert decode_v05(encoder.encode([[make_span(span_links=[{}]), make_span()]])) == [[make_span()]]
    assert encoder.skipped_spans == 1


@pytest.mark.parametrize("payload", [b"", b"\x90", b"\x92\x90\x91\x91\x90", msgpack.packb([[""], [[[1] * 12]]])])
def test_malformed_payload(payload):
    """What is no v0.5 payload is refused."""
    with pytest.raises(EncodingError):
        decode_v05(payload)
