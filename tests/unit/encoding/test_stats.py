from __future__ import annotations

import msgpack
import pytest

from ddtrace_manual._encoding import decode_stats, encode_stats
from ddtrace_manual.exceptions import EncodingError

PAYLOAD = {"Env": "e", "RuntimeID": "r", "Sequence": 0, "Service": "s", "Stats": []}


def test_unencodable_value():
    """A value that has no place in the payload is an encoding error."""
    with pytest.raises(EncodingError):
        encode_stats({**PAYLOAD, "Env": object()})


def test_broken_text_in_a_group():
    """Text that is not valid Unicode is repaired; sketches stay bytes."""
    group = {"Service": "\ud800", "OkSummary": b"\x00"}

    back = decode_stats(encode_stats({**PAYLOAD, "Stats": [{"Stats": [group]}]}))

    assert back["Stats"][0]["Stats"][0]["Service"] == "\ufffd"
    assert back["Stats"][0]["Stats"][0]["OkSummary"] == b"\x00"


def test_absent_fields():
    """Reading fills in the fields that a tracer may leave out."""
    assert decode_stats(msgpack.packb({"Stats": []}))["Hostname"] == ""


@pytest.mark.parametrize("body", [b"", b"\x90", b"\x80", b"\x81\xa5Stats\x01"])
def test_malformed_payload(body):
    """What is no statistics payload is refused."""
    with pytest.raises(EncodingError):
        decode_stats(body)
