"""The v0.4 trace payload: an array of chunks, each an array of span maps.

Chunks are encoded one by one, as they come; a payload is their concatenation behind an array
header, so a payload can be split, or a chunk dropped, without encoding anything again.

Source: spec/trace-export.md §8.1.
Deviation: empty `meta` and `metrics` maps are written as empty maps instead of being left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack

from ddtrace_manual._model import MAX_TEXT_CHARS
from ddtrace_manual.exceptions import EncodingError

from .encoded_chunk import EncodedChunk
from .text_forms import with_text_events
from .wire_text import repaired

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ddtrace_manual._model import DDSpan

__all__ = ["V04Encoder", "array_header", "decode_v04", "new_packer"]

_MAX_SHORT_ARRAY: Final = 15
_MAX_MEDIUM_ARRAY: Final = 0xFFFF
_PIECE_SPANS: Final = 15  # packed in one call; as many as a one-byte array header can count


def array_header(length: int) -> bytes:
    """Return the shortest msgpack array header for so many items."""
    if length <= _MAX_SHORT_ARRAY:
        return bytes((0x90 | length,))
    if length <= _MAX_MEDIUM_ARRAY:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")


def new_packer() -> Callable[[object], bytes]:
    """Return a function that packs one value; it raises for text that is no valid Unicode. Not thread-safe."""
    # Packers without an error handler for Unicode are twice as fast; broken text takes the slow way.
    pack: Callable[[object], bytes] = msgpack.Packer().pack
    return pack


class V04Encoder:
    """Encodes chunks of spans. Not thread-safe: one thread, one encoder.

    Args:
        native_events: Whether `span_events` are sent as they are; otherwise they become JSON in `meta["events"]`.

    Attributes:
        native_events: The argument; may be changed between two calls.
        skipped_spans: Spans left out so far because they could not be packed.
    """

    version: Final = "v0.4"

    def __init__(self, *, native_events: bool = False) -> None:
        self.native_events = native_events
        self.skipped_spans = 0
        self._pack = new_packer()

    def encode(self, chunks: Sequence[Sequence[DDSpan]]) -> bytes:
        """Return the payload of these chunks. A span that cannot be packed is skipped and counted."""
        return self.join([self.encode_chunk(chunk) for chunk in chunks])

    def encode_chunk(self, chunk: EncodedChunk | Sequence[DDSpan]) -> bytes:
        """Return one chunk as an array of span maps, for `join`.

        Lone surrogates are replaced and strings of more than 25,000 characters cut. A span that cannot be
        packed is skipped and counted; when none is left, the chunk is an empty array.
        """
        if isinstance(chunk, EncodedChunk):
            pieces, count, others, is_first_encoded, _ = chunk
        else:
            pieces, count, others, is_first_encoded = [], 0, chunk, True
        skipped_before = self.skipped_spans
        parts = self._pack_all(others if self.native_events else self._without_native_events(others))
        count += len(others) - (self.skipped_spans - skipped_before)
        begin = 0 if is_first_encoded else 1
        return b"".join((array_header(count), *parts[:begin], *pieces, *parts[begin:]))

    def join(self, chunks: Sequence[bytes]) -> bytes:
        """Return the payload made of encoded chunks."""
        return b"".join((array_header(len(chunks)), *chunks))  # copied once: it may be megabytes

    def _pack_all(self, spans: Sequence[DDSpan]) -> list[bytes]:
        """Pack spans into pieces of one or more, in order."""
        parts: list[bytes] = []
        for start in range(0, len(spans), _PIECE_SPANS):
            piece = spans[start : start + _PIECE_SPANS]
            packed = self._try_pack(piece)
            if packed is not None and len(packed) <= MAX_TEXT_CHARS:  # too short to hold a string that must be cut
                parts.append(packed[1:])
            else:
                parts += self._pack_each(piece)
        return parts

    def _pack_each(self, spans: Sequence[DDSpan]) -> list[bytes]:
        packed_spans = []
        for span in spans:
            packed = self._try_pack(span)
            if packed is None or len(packed) > MAX_TEXT_CHARS:
                packed = self._try_pack(span, repair=True)
            if packed is None:
                self.skipped_spans += 1
            else:
                packed_spans.append(packed)
        return packed_spans

    def _try_pack(self, value: object, *, repair: bool = False) -> bytes | None:
        try:
            packed = self._pack(repaired(value) if repair else value)
        except Exception:  # whatever is wrong with one span, the others must be sent
            return None
        return packed

    def _without_native_events(self, chunk: Sequence[DDSpan]) -> Sequence[DDSpan]:
        for span in chunk:
            if "span_events" in span:
                return [self._text_events(each) if "span_events" in each else each for each in chunk]
        return chunk

    def _text_events(self, span: DDSpan) -> DDSpan:
        try:
            return with_text_events(span)
        except Exception:  # a span without its events is better than none
            bare = span.copy()
            bare.pop("span_events", None)
            return bare


def decode_v04(payload: bytes) -> list[list[DDSpan]]:
    """Read a v0.4 payload back. `meta` and `metrics` are there even when the payload left them out.

    Raises:
        EncodingError: Not msgpack, or not an array of arrays of maps.
    """
    try:
        # Any: nothing is known about the payload yet
        chunks: Any = msgpack.unpackb(payload, unicode_errors="replace", strict_map_key=False)
    except Exception as exc:
        raise EncodingError(f"not a msgpack payload: {exc}") from exc
    if not isinstance(chunks, list):
        raise EncodingError("the payload is not an array of chunks")
    for chunk in chunks:
        if not isinstance(chunk, list) or not all(isinstance(span, dict) for span in chunk):
            raise EncodingError("a chunk is not an array of span maps")
        for span in chunk:
            for field in ("meta", "metrics"):
                if span.get(field) is None:
                    span[field] = {}
    return chunks
