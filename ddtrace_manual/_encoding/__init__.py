"""Payloads, both directions: spans and statistics as the bytes the Datadog Agent takes. Pure; owns `msgpack`."""

from __future__ import annotations

from .sketch import LatencySketch, bin_value, decode_sketch, encode_sketch
from .stats import StatsBucket, StatsGroup, StatsPayload, decode_stats, encode_stats
from .v04 import V04Encoder, array_header, decode_v04, new_packer
from .v05 import V05Encoder, decode_v05
from .v1 import PayloadHeader, V1Encoder
from .v1_decode import decode_v1, read_v1

__all__ = [
    "LatencySketch",
    "PayloadHeader",
    "StatsBucket",
    "StatsGroup",
    "StatsPayload",
    "V04Encoder",
    "V05Encoder",
    "V1Encoder",
    "array_header",
    "bin_value",
    "decode_sketch",
    "decode_stats",
    "decode_v04",
    "decode_v05",
    "decode_v1",
    "encode_sketch",
    "encode_stats",
    "new_packer",
    "read_v1",
]
