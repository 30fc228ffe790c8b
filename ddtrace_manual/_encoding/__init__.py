"""Payloads, both directions: spans and statistics as the bytes the Datadog Agent takes. Pure; owns `msgpack`."""

from __future__ import annotations

from .v04 import V04Encoder, decode_v04

__all__ = ["V04Encoder", "decode_v04"]
