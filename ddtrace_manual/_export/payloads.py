"""From mapped chunks to parcels: bytes that wait in the outbox.

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

if TYPE_CHECKING:
    from ddtrace_manual._model import DDSpan

    from .counters import Counters

__all__ = ["ChunkPacker", "Parcel", "PayloadEncoder"]

_log = RateLimitedLogger(get_logger("export"))

_GATHERED_BYTES = 2_000_000
_SHORT_ARRAY = 100
_SHORT_HEADERS = tuple(map(array_header, range(_SHORT_ARRAY)))
_PARCEL_BYTES = 250_000
"""A parcel of v0.4 chunks is sealed when it has this size: several make a payload, so these find their size."""
_DECODERS: dict[str, Callable[[bytes], list[list[DDSpan]]]] = {"v0.5": decode_v05, "v1.0": decode_v1}


class PayloadEncoder(Protocol):
    """Encodes whole payloads."""

    skipped_spans: int
    """Spans left out so far because they could not be encoded."""

    def encode(self, chunks: Sequence[Sequence[DDSpan]]) -> bytes:
        """Return the payload of these chunks."""
        ...


@dataclass(slots=True)
class Parcel:
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

    What a parcel takes of the budget is its size; the difference to the estimate is released when it is sealed.

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
        # What was added and not sealed yet: chunks of v0.4, or those waiting for the encoder of another format.
        self._bodies: list[bytes] = []
        self._span_counts: list[int] = []
        self._gathered: list[Sequence[DDSpan]] = []
        self._open_bytes = 0  # encoded or, if they are not yet, charged
        self._charged_bytes = 0
        self._counted = False

    @property
    def open_chunks(self) -> int:
        """Chunks not sealed yet."""
        return len(self._gathered) + len(self._bodies)

    def held(self) -> tuple[int, int]:
        """Return the spans of the chunks that are not sealed yet, and the bytes charged for them."""
        return sum(self._span_counts) + sum(map(len, self._gathered)), self._charged_bytes

    def use_format(
        self, version: str, *, native_events: bool, v1_encoder: Callable[[], PayloadEncoder] | None = None
    ) -> None:
        """Choose the format of chunks added from now on. Seal first."""
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

    def add(self, chunk: EncodedChunk | Sequence[DDSpan], charged_bytes: int, *, counted: bool) -> Sequence[Parcel]:
        """Take over a chunk; return what is ready to be sent."""
        ready: Sequence[Parcel] = ()
        if counted is not self._counted:
            ready = self.seal()
            self._counted = counted
        self._charged_bytes += charged_bytes
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
            is_full = self._open_bytes >= _PARCEL_BYTES
        else:
            self._gathered.append(cast("Sequence[DDSpan]", chunk))  # bytes are made for v0.4 only
            self._open_bytes += charged_bytes
            is_full = self._open_bytes >= _GATHERED_BYTES
        return [*ready, *self.seal()] if is_full else ready

    def seal(self) -> Sequence[Parcel]:
        """Make parcels of what was added."""
        charged, self._charged_bytes, self._open_bytes = self._charged_bytes, 0, 0
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            return self._pack(gathered, charged, counted=self._counted)
        if not self._bodies:
            self._release(charged)
            return ()
        bodies, self._bodies = self._bodies, []
        span_counts, self._span_counts = self._span_counts, []
        parcel = _parcel_of(bodies, span_counts, counted=self._counted)
        self._release(charged - parcel.size)
        return (parcel,)

    def join(self, batch: Sequence[Parcel]) -> bytes:
        """Return the payload of these parcels."""
        if not batch[0].can_be_joined:
            return batch[0].bodies[0]
        return self._v04.join([body for parcel in batch for body in parcel.bodies])

    def as_v04(self, parcel: Parcel) -> Sequence[Parcel]:
        """Return a payload encoded as v0.4."""
        return self._pack_v04(self._opened(parcel), parcel.size, counted=parcel.counted)

    def halve(self, parcel: Parcel) -> Sequence[Parcel] | None:
        """Return a parcel as two; `None` when it holds a single chunk, and is left as it is.

        A payload that cannot be opened or encoded again is counted as lost, and there are fewer or no parcels.
        """
        if parcel.chunks == 1:
            return None
        middle = parcel.chunks // 2
        if parcel.can_be_joined:
            bodies, span_counts = parcel.bodies, parcel.span_counts
            halves = [
                _parcel_of(bodies[part], span_counts[part], counted=parcel.counted)
                for part in (slice(0, middle), slice(middle, None))
            ]
        else:
            chunks = self._opened(parcel)
            halves = [
                *self._pack(chunks[:middle], parcel.size, counted=parcel.counted),
                *self._pack(chunks[middle:], 0, counted=parcel.counted),
            ]
        for half in halves:
            half.failures = parcel.failures
        return halves

    def _opened(self, parcel: Parcel) -> list[list[DDSpan]]:
        """Return the chunks of a payload; if it cannot be read, which was written here, they are lost."""
        try:
            return _DECODERS[parcel.version](parcel.bodies[0])
        except Exception:  # noqa: BLE001 - a payload that cannot be decoded must not stop the worker
            _log.log(logging.ERROR, "decode", "Lost %d traces that could not be divided", parcel.chunks, exc_info=True)
            self._counters.lose("serialization_error", spans=parcel.spans, chunks=parcel.chunks)
            return []

    def _pack(self, chunks: Sequence[Sequence[DDSpan]], charged_bytes: int, *, counted: bool) -> Sequence[Parcel]:
        """Encode chunks in the current format."""
        encoder = self._encoder
        if not chunks:
            self._release(charged_bytes)
            return ()
        if encoder is None:
            return self._pack_v04(chunks, charged_bytes, counted=counted)
        span_count = sum(map(len, chunks))
        skipped_before = encoder.skipped_spans
        try:
            body = encoder.encode(chunks)
        except Exception:  # noqa: BLE001 - a payload that cannot be encoded must not stop the worker
            _log.log(logging.ERROR, "encode", "Lost %d traces that could not be encoded", len(chunks), exc_info=True)
            self._counters.lose("serialization_error", spans=span_count, chunks=len(chunks))
            self._release(charged_bytes)
            return ()
        skipped = encoder.skipped_spans - skipped_before
        all_skipped = skipped == span_count
        if skipped:
            self._counters.lose("serialization_error", spans=skipped, chunks=len(chunks) if all_skipped else 0)
        if all_skipped:
            self._release(charged_bytes)
            return ()
        self._release(charged_bytes - len(body))
        return [Parcel([body], self._version, len(chunks), span_count - skipped, counted, len(body))]

    def _pack_v04(self, chunks: Sequence[Sequence[DDSpan]], charged_bytes: int, *, counted: bool) -> Sequence[Parcel]:
        """Encode chunks as v0.4, apart from what is being added."""
        self._release(charged_bytes)
        encoded = [each for chunk in chunks if (each := self._encode(chunk)) is not None]
        if not encoded:
            return ()
        parcel = _parcel_of([body for body, _ in encoded], [count for _, count in encoded], counted=counted)
        self._release(-parcel.size)
        return (parcel,)

    def _encode(self, chunk: EncodedChunk | Sequence[DDSpan]) -> tuple[bytes, int] | None:
        """Return a chunk of v0.4 and its spans; one that cannot be encoded is lost, and with the last one the chunk."""
        encoder = self._v04
        body = encoder.encode_chunk(chunk)
        count = chunk.encoded_spans + len(chunk.others) if isinstance(chunk, EncodedChunk) else len(chunk)
        if encoder.skipped_spans:
            skipped, encoder.skipped_spans = encoder.skipped_spans, 0
            count -= skipped
            self._counters.lose("serialization_error", spans=skipped, chunks=int(not count))
        return (body, count) if count else None


def _parcel_of(bodies: list[bytes], span_counts: list[int], *, counted: bool) -> Parcel:
    """Return chunks of v0.4 as a parcel."""
    size = sum(map(len, bodies))
    return Parcel(bodies, V04Encoder.version, len(bodies), sum(span_counts), counted, size, span_counts)
