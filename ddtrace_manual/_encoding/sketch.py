"""Latency sketches: quantiles of durations within 0.8 %, in bins that agree with Datadog's back end.

A DDSketch with logarithmic bins and its protobuf form, written by hand: two small messages do not
justify a dependency, and the fixed constants make the bins equal in every Datadog tracer.

Source: spec/client-stats.md §6.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from ddtrace_manual.exceptions import EncodingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MAX_BINS", "LatencySketch", "bin_value", "decode_sketch", "encode_sketch"]

MAX_BINS: Final = 2048
"""Longest range of bins kept; below it, durations are counted in the lowest bin."""
_GAMMA: Final = 1.015625
_LN_GAMMA: Final = math.log(_GAMMA)
_OFFSET: Final = 1338.5
_ACCURACY: Final = 1 / 129

# Protobuf keys: field number and wire type.
_MAPPING, _POSITIVE, _NEGATIVE, _ZERO_COUNT = 0x0A, 0x12, 0x1A, 0x21
_CONTIGUOUS_COUNTS, _CONTIGUOUS_OFFSET, _BIN_COUNTS = 0x12, 0x18, 0x0A
_ENTRY_INDEX, _ENTRY_COUNT = 0x08, 0x11
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5

_log = math.log  # one lookup less for every span counted

_ENCODED_MAPPING: Final = struct.pack("<BBBdBd", _MAPPING, 18, 0x09, _GAMMA, 0x11, _OFFSET)
_EMPTY_NEGATIVE: Final = bytes((_NEGATIVE, 0))


class LatencySketch:
    """Counts durations in bins; any quantile can be read back within 0.8 %. Not thread-safe.

    Memory is bounded by the range of the durations: under 3,000 bins for 1 ns to 290 years.
    """

    __slots__ = ("_bins", "_zero_count")

    def __init__(self) -> None:
        self._bins: dict[int, float] = {}
        self._zero_count = 0.0

    def add(self, duration_ns: float) -> None:
        """Count one duration, in nanoseconds; what is below 1 counts as 0."""
        if duration_ns < 1:
            self._zero_count += 1
            return
        index = int(_log(duration_ns) / _LN_GAMMA + _OFFSET)
        bins = self._bins
        bins[index] = bins.get(index, 0) + 1

    def merge(self, other: LatencySketch) -> None:
        """Add the counts of another sketch."""
        self._zero_count += other._zero_count
        for index, count in other._bins.items():
            self._bins[index] = self._bins.get(index, 0) + count

    @property
    def count(self) -> float:
        """Durations counted."""
        return self._zero_count + sum(self._bins.values())

    @property
    def zero_count(self) -> float:
        """Durations below 1 ns."""
        return self._zero_count

    def bins(self) -> dict[int, float]:
        """Return the counts by bin, lowest first, at most `MAX_BINS` wide."""
        return _collapsed(self._bins)

    def quantile(self, fraction: float) -> float:
        """Return the duration in ns below which this fraction (0.0-1.0) of all lies; 0.0 for an empty sketch."""
        rank = fraction * (self.count - 1)
        seen = self._zero_count
        value = 0.0
        for index, count in self.bins().items():
            if seen > rank:
                break
            seen += count
            value = bin_value(index)
        return value

    def to_bytes(self) -> bytes:
        """Return the protobuf message."""
        return encode_sketch(self._bins, self._zero_count)

    @classmethod
    def from_bytes(cls, message: bytes) -> LatencySketch:
        """Read a protobuf message back.

        Raises:
            EncodingError: Not such a message.
        """
        sketch = cls()
        sketch._bins, sketch._zero_count = decode_sketch(message)
        return sketch


def bin_value(index: int) -> float:
    """Return the duration, in nanoseconds, that stands for all in this bin."""
    return math.exp((index - _OFFSET) * _LN_GAMMA) * (1 + _ACCURACY)


def encode_sketch(bins: Mapping[int, float], zero_count: float = 0.0) -> bytes:
    """Return counts by bin as a protobuf message; when they span more than 2048 bins the lowest are merged."""
    store = _encode_store(_collapsed(bins))
    message = _ENCODED_MAPPING + bytes((_POSITIVE,)) + _encode_varint(len(store)) + store + _EMPTY_NEGATIVE
    return message + struct.pack("<Bd", _ZERO_COUNT, zero_count) if zero_count else message


def decode_sketch(message: bytes) -> tuple[dict[int, float], float]:
    """Return the counts by bin, and of zeros, of a message with this module's mapping.

    Raises:
        EncodingError: Not such a message.
    """
    bins: dict[int, float] = {}
    zero_count = 0.0
    for key, value in _fields(message):
        if key == _MAPPING and isinstance(value, bytes) and value != _ENCODED_MAPPING[2:]:
            raise EncodingError("a sketch with another index mapping")
        if key == _POSITIVE and isinstance(value, bytes):
            bins = _decode_store(value)
        elif key == _ZERO_COUNT and isinstance(value, float):
            zero_count = value
    return bins, zero_count


def _collapsed(bins: Mapping[int, float]) -> dict[int, float]:
    kept: dict[int, float] = {}
    lowest = max(bins, default=0) - MAX_BINS + 1
    for index in sorted(bins):
        target = max(index, lowest)
        kept[target] = kept.get(target, 0) + bins[index]
    return kept


def _encode_store(bins: Mapping[int, float]) -> bytes:
    """Return a `Store` with the counts from the lowest to the highest bin; `bins` is sorted."""
    if not bins:
        return b""
    low = next(iter(bins))
    counts = [0.0] * (max(bins) - low + 1)
    for index, count in bins.items():
        counts[index - low] = count
    packed = struct.pack(f"<{len(counts)}d", *counts)
    store = bytes((_CONTIGUOUS_COUNTS,)) + _encode_varint(len(packed)) + packed
    if low:
        store += bytes((_CONTIGUOUS_OFFSET,)) + _encode_varint(low << 1 if low > 0 else (-low << 1) - 1)
    return store


def _decode_store(message: bytes) -> dict[int, float]:
    counts: tuple[float, ...] = ()
    offset = 0
    bins: dict[int, float] = {}
    for key, value in _fields(message):
        if key == _CONTIGUOUS_COUNTS and isinstance(value, bytes) and len(value) % 8 == 0:
            counts += struct.unpack(f"<{len(value) // 8}d", value)
        elif key == _CONTIGUOUS_OFFSET and isinstance(value, int):
            offset = _zigzag(value)
        elif key == _BIN_COUNTS and isinstance(value, bytes):
            entry = dict(_fields(value))
            index = _zigzag(int(entry.get(_ENTRY_INDEX, 0)))
            bins[index] = bins.get(index, 0) + float(entry.get(_ENTRY_COUNT, 0.0))
    for position, count in enumerate(counts):
        if count:
            bins[offset + position] = bins.get(offset + position, 0) + count
    return bins


def _encode_varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _decode_varint(message: bytes, start: int) -> tuple[int, int]:
    number = shift = 0
    for position in range(start, min(start + 10, len(message))):
        byte = message[position]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte <= 0x7F:  # the last byte has no high bit
            return number, position + 1
    raise EncodingError("the sketch ends within a number")


def _zigzag(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yield the fields of a protobuf message in order, each with its key."""
    position = 0
    while position < len(message):
        key, position = _decode_varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            number, position = _decode_varint(message, position)
            yield key, number
            continue
        if kind == _BYTES:
            length, position = _decode_varint(message, position)
        elif kind in {_FIXED_64, _FIXED_32}:
            length = 8 if kind == _FIXED_64 else 4
        else:
            raise EncodingError(f"the sketch has a field of unknown kind {kind}")
        value = message[position : position + length]
        position += length
        if len(value) != length:
            raise EncodingError("the sketch ends within a field")
        yield key, struct.unpack("<d", value)[0] if kind == _FIXED_64 else value
