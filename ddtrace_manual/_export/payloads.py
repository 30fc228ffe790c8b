"""Encodes mapped chunks into batches, which wait for delivery as bytes.

Chunks in the v0.4 format are encoded one by one, and a payload is their concatenation; the other formats
have a table of strings for the whole payload, so chunks are gathered and encoded together. In memory
there are bytes only, whatever the format, so that the budget means what it says; what must be encoded
again, because the Agent does not know the format or the payload was too large, is decoded first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._encoding import V04Encoder, V05Encoder, array_header, decode_v05, decode_v1
from ddtrace_manual._encoding.encoded_chunk import EncodedChunk

from .counters import DropReason

if TYPE_CHECKING:
    from ddtrace_manual._model import DDSpan

    from .counters import Counters

__all__ = ["ChunkPacker", "EncodedBatch", "PayloadEncoder"]

_log = RateLimitedLogger(get_logger("export"))

_GATHERED_BYTES = 2_000_000
_SHORT_ARRAY = 100
_SHORT_HEADERS = tuple(map(array_header, range(_SHORT_ARRAY)))
_BATCH_BYTES = 250_000
"""A batch of v0.4 chunks is closed when it has this size: several make a payload, so these find their size."""
_DECODERS: dict[str, Callable[[bytes], list[list[DDSpan]]]] = {"v0.5": decode_v05, "v1.0": decode_v1}


class PayloadEncoder(Protocol):
    """Encodes whole payloads."""

    skipped_spans: int
    """Spans left out so far because they could not be encoded."""

    def encode(self, chunks: Sequence[Sequence[DDSpan]]) -> bytes:
        """Return the payload of these chunks."""
        ...


@dataclass(slots=True)
class EncodedBatch:
    """Chunks of v0.4, each encoded for itself, or one whole payload of another format."""

    bodies: list[bytes]
    """The chunks, or the payload alone."""
    version: str
    chunks: int
    spans: int
    counted: bool
    """Statistics were computed of it: the Agent must not do so again."""
    size: int
    """Bytes of all bodies."""
    span_counts: list[int] = field(default_factory=list)
    """Spans of each chunk; only of v0.4."""
    faults: int = 0
    """How often an exception interrupted sending it."""
    failures: int = 0
    """How often the Agent answered that it cannot take it now."""

    @property
    def can_be_joined(self) -> bool:
        """Whether a payload may hold several of its kind."""
        return self.version == "v0.4"


class ChunkPacker:
    """Encodes chunks. Used by the worker thread only.

    What a batch takes of the budget is its size; the difference to the estimate is released when it is closed.

    Args:
        release: Gives bytes back to the queue's budget; negative to take some.
        counters: Counts what cannot be encoded.
    """

    def __init__(self, *, release: Callable[[int], None], counters: Counters) -> None:
        self._release = release
        self._counters = counters
        self._v04 = V04Encoder()
        self._encoder: PayloadEncoder | None = None
        self._version = ""  # of the encoder: format and endpoint, for example `v0.5`
        self._refused: set[str] = set()
        # The open batch: chunks of v0.4, or those waiting for the encoder of another format.
        self._bodies: list[bytes] = []
        self._span_counts: list[int] = []
        self._gathered: list[Sequence[DDSpan]] = []
        self._open_bytes = 0  # encoded or, if they are not yet, reserved
        self._reserved_bytes = 0
        self._counted = False

    @property
    def open_chunks(self) -> int:
        """Chunks of the open batch."""
        return len(self._gathered) + len(self._bodies)

    def held(self) -> tuple[int, int]:
        """Return the spans of the open batch and the bytes reserved for them."""
        return sum(self._span_counts) + sum(map(len, self._gathered)), self._reserved_bytes

    def use_format(
        self, version: str, *, native_events: bool, v1_encoder: Callable[[], PayloadEncoder] | None = None
    ) -> None:
        """Choose the format of chunks added from now on. Close the batch first."""
        self._v04.native_events = native_events
        if version in self._refused or version not in _DECODERS:
            self._encoder = None
        elif self._encoder is None or self._version != version:
            self._version = version
            self._encoder = v1_encoder() if version == "v1.0" and v1_encoder is not None else V05Encoder()

    def give_up(self, version: str) -> None:
        """Use v0.4 from now on: the Agent does not know this format."""
        self._refused.add(version)
        self._encoder = None

    def add(
        self, chunk: EncodedChunk | Sequence[DDSpan], reserved_bytes: int, *, counted: bool
    ) -> Sequence[EncodedBatch]:
        """Take over a chunk; return what is ready to be sent."""
        ready: Sequence[EncodedBatch] = ()
        if counted is not self._counted:
            ready = self.close_batch()
            self._counted = counted
        self._reserved_bytes += reserved_bytes
        if self._encoder is None:
            if isinstance(chunk, EncodedChunk) and not chunk[2]:
                # As in `_encode`, for what nearly all chunks are: no `others` (bench: ten-span).
                pieces, count, _, _, _ = chunk
                pieces[0] = _SHORT_HEADERS[count] if count < _SHORT_ARRAY else array_header(count)
                body = b"".join(pieces)
                self._bodies.append(body)
                self._span_counts.append(count)
                self._open_bytes += len(body)
            elif (encoded := self._encode(chunk)) is not None:
                body, count = encoded
                self._bodies.append(body)
                self._span_counts.append(count)
                self._open_bytes += len(body)
            is_full = self._open_bytes >= _BATCH_BYTES
        else:
            self._gathered.append(cast("Sequence[DDSpan]", chunk))  # bytes are made for v0.4 only
            self._open_bytes += reserved_bytes
            is_full = self._open_bytes >= _GATHERED_BYTES
        return [*ready, *self.close_batch()] if is_full else ready

    def close_batch(self) -> Sequence[EncodedBatch]:
        """Close the open batch and return it, if it holds anything."""
        reserved, self._reserved_bytes, self._open_bytes = self._reserved_bytes, 0, 0
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            return self._pack(gathered, reserved, counted=self._counted)
        if not self._bodies:
            self._release(reserved)
            return ()
        bodies, self._bodies = self._bodies, []
        span_counts, self._span_counts = self._span_counts, []
        batch = _batch_of(bodies, span_counts, counted=self._counted)
        self._release(reserved - batch.size)
        return (batch,)

    def join(self, batches: Sequence[EncodedBatch]) -> bytes:
        """Return the payload of these batches."""
        if not batches[0].can_be_joined:
            return batches[0].bodies[0]
        return self._v04.join([body for batch in batches for body in batch.bodies])

    def as_v04(self, batch: EncodedBatch) -> Sequence[EncodedBatch]:
        """Return a payload encoded as v0.4."""
        return self._pack_v04(self._opened(batch), batch.size, counted=batch.counted)

    def halve(self, batch: EncodedBatch) -> Sequence[EncodedBatch] | None:
        """Return a batch as two; `None` when it holds a single chunk, and is left as it is.

        A payload that cannot be opened or encoded again is counted as lost, and there are fewer or no batches.
        """
        if batch.chunks == 1:
            return None
        middle = batch.chunks // 2
        if batch.can_be_joined:
            bodies, span_counts = batch.bodies, batch.span_counts
            halves = [
                _batch_of(bodies[part], span_counts[part], counted=batch.counted)
                for part in (slice(0, middle), slice(middle, None))
            ]
        else:
            chunks = self._opened(batch)
            halves = [
                *self._pack(chunks[:middle], batch.size, counted=batch.counted),
                *self._pack(chunks[middle:], 0, counted=batch.counted),
            ]
        for half in halves:
            half.failures = batch.failures
        return halves

    def _opened(self, batch: EncodedBatch) -> list[list[DDSpan]]:
        """Return the chunks of a payload; if it cannot be read, which was written here, they are lost."""
        try:
            return _DECODERS[batch.version](batch.bodies[0])
        except Exception:  # a payload that cannot be decoded must not stop the worker
            _log.log(logging.ERROR, "decode", "Lost %d traces that could not be divided", batch.chunks, exc_info=True)
            self._counters.drop(DropReason.SERIALIZATION_ERROR, spans=batch.spans, chunks=batch.chunks)
            return []

    def _pack(
        self, chunks: Sequence[Sequence[DDSpan]], reserved_bytes: int, *, counted: bool
    ) -> Sequence[EncodedBatch]:
        """Encode chunks in the current format."""
        encoder = self._encoder
        if not chunks:
            self._release(reserved_bytes)
            return ()
        if encoder is None:
            return self._pack_v04(chunks, reserved_bytes, counted=counted)
        span_count = sum(map(len, chunks))
        skipped_before = encoder.skipped_spans
        try:
            body = encoder.encode(chunks)
        except Exception:  # a payload that cannot be encoded must not stop the worker
            _log.log(logging.ERROR, "encode", "Lost %d traces that could not be encoded", len(chunks), exc_info=True)
            self._counters.drop(DropReason.SERIALIZATION_ERROR, spans=span_count, chunks=len(chunks))
            self._release(reserved_bytes)
            return ()
        skipped = encoder.skipped_spans - skipped_before
        all_skipped = skipped == span_count
        if skipped:
            self._counters.drop(DropReason.SERIALIZATION_ERROR, spans=skipped, chunks=len(chunks) if all_skipped else 0)
        if all_skipped:
            self._release(reserved_bytes)
            return ()
        self._release(reserved_bytes - len(body))
        return [EncodedBatch([body], self._version, len(chunks), span_count - skipped, counted, len(body))]

    def _pack_v04(
        self, chunks: Sequence[Sequence[DDSpan]], reserved_bytes: int, *, counted: bool
    ) -> Sequence[EncodedBatch]:
        """Encode chunks as v0.4, apart from what is being added."""
        self._release(reserved_bytes)
        encoded = [each for chunk in chunks if (each := self._encode(chunk)) is not None]
        if not encoded:
            return ()
        batch = _batch_of([body for body, _ in encoded], [count for _, count in encoded], counted=counted)
        self._release(-batch.size)
        return (batch,)

    def _encode(self, chunk: EncodedChunk | Sequence[DDSpan]) -> tuple[bytes, int] | None:
        """Return a chunk of v0.4 and its spans; one that cannot be encoded is lost, and with the last one the chunk."""
        encoder = self._v04
        body = encoder.encode_chunk(chunk)
        count = chunk.encoded_spans + len(chunk.others) if isinstance(chunk, EncodedChunk) else len(chunk)
        if encoder.skipped_spans:
            skipped, encoder.skipped_spans = encoder.skipped_spans, 0
            count -= skipped
            self._counters.drop(DropReason.SERIALIZATION_ERROR, spans=skipped, chunks=int(not count))
        return (body, count) if count else None


def _batch_of(bodies: list[bytes], span_counts: list[int], *, counted: bool) -> EncodedBatch:
    """Return chunks of v0.4 as a batch."""
    size = sum(map(len, bodies))
    return EncodedBatch(bodies, V04Encoder.version, len(bodies), sum(span_counts), counted, size, span_counts)
