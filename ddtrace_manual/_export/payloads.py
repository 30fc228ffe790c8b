"""From mapped chunks to parcels: bytes that wait in the outbox.

Chunks in the v0.4 format are encoded one by one and joined when a payload is sent. The other formats
have a table of strings for the whole payload, so chunks are gathered and encoded together. In memory
there are bytes only, whatever the format, so that the budget means what it says; what must be encoded
again, because the Agent does not know the format or the payload was too large, is decoded first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from ddtrace_manual._encoding import V04Encoder, V05Encoder, decode_v05, decode_v1
from ddtrace_manual._log import RateLimitedLogger, get_logger

if TYPE_CHECKING:
    from ddtrace_manual._model import DDSpan

    from .counters import Counters

__all__ = ["ChunkPacker", "Parcel", "PayloadEncoder"]

_log = RateLimitedLogger(get_logger("export"))

_GATHERED_BYTES = 2_000_000
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
    """One encoded chunk of v0.4, or one whole payload of another format."""

    body: bytes
    version: str
    chunks: int
    spans: int
    counted: bool
    """Statistics were computed of it: the Agent must not do so again."""
    failures: int = 0
    """How often the Agent answered that it cannot take it now."""

    @property
    def can_be_joined(self) -> bool:
        """Whether it is a chunk, of which a payload may hold several."""
        return self.version == "v0.4"


class ChunkPacker:
    """Encodes chunks. Used by the worker thread only.

    What a parcel takes of the budget is its size; the difference to the estimate is released here.

    Args:
        release: Gives bytes back to the queue's budget; negative to take some.
        counters: Counts what cannot be encoded.

    Attributes:
        open_chunks: Chunks gathered and not encoded yet.
    """

    def __init__(self, *, release: Callable[[int], None], counters: Counters) -> None:
        self._release = release
        self._counters = counters
        self._v04 = V04Encoder()
        self._encoder: PayloadEncoder | None = None
        self._version = ""  # of the encoder: format and endpoint, for example `v0.5`
        self._refused: set[str] = set()
        self._gathered: list[Sequence[DDSpan]] = []
        self._gathered_bytes = 0
        self._gathered_counted = False

    @property
    def open_chunks(self) -> int:
        """Chunks gathered and not encoded yet."""
        return len(self._gathered)

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

    def add(self, spans: Sequence[DDSpan | bytes], charged_bytes: int, *, counted: bool) -> Sequence[Parcel]:
        """Encode a chunk; return what is ready to be sent."""
        if self._encoder is None:
            encoder = self._v04
            skipped_before = encoder.skipped_spans
            body = encoder.encode_chunk(spans)
            if encoder.skipped_spans != skipped_before:
                encoder.skipped_spans = skipped_before
                return self._pack_v04([spans], charged_bytes, counted=counted)
            self._release(charged_bytes - len(body))
            return (Parcel(body, "v0.4", 1, len(spans), counted),)
        ready = self.seal() if counted != self._gathered_counted else ()
        self._gathered.append(cast("Sequence[DDSpan]", spans))  # bytes are made for v0.4 only
        self._gathered_bytes += charged_bytes
        self._gathered_counted = counted
        return [*ready, *self.seal()] if self._gathered_bytes >= _GATHERED_BYTES else ready

    def seal(self) -> Sequence[Parcel]:
        """Encode what was gathered."""
        if not self._gathered:
            return ()
        chunks, charged = self._gathered, self._gathered_bytes
        self._gathered, self._gathered_bytes = [], 0
        return self._pack(chunks, charged, counted=self._gathered_counted)

    def join(self, batch: Sequence[Parcel]) -> bytes:
        """Return the payload of these parcels: chunks, or a single payload."""
        return self._v04.join([parcel.body for parcel in batch]) if batch[0].can_be_joined else batch[0].body

    def as_v04(self, parcel: Parcel) -> Sequence[Parcel]:
        """Return the chunks of a payload, encoded as v0.4."""
        return self._pack_v04(self._opened(parcel), len(parcel.body), counted=parcel.counted)

    def halve(self, parcel: Parcel) -> Sequence[Parcel]:
        """Return a payload as two; nothing, and nothing changed, when it holds a single chunk."""
        if parcel.chunks == 1:
            return ()
        chunks = self._opened(parcel)
        middle = len(chunks) // 2
        charged = len(parcel.body)
        first = self._pack(chunks[:middle], charged, counted=parcel.counted)
        return [*first, *self._pack(chunks[middle:], 0, counted=parcel.counted)]

    @staticmethod
    def _opened(parcel: Parcel) -> list[list[DDSpan]]:
        return _DECODERS[parcel.version](parcel.body)

    def _pack(self, chunks: Sequence[Sequence[DDSpan]], charged_bytes: int, *, counted: bool) -> Sequence[Parcel]:
        """Encode chunks in the current format."""
        encoder = self._encoder
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
        return [Parcel(body, self._version, len(chunks), span_count - skipped, counted)]

    def _pack_v04(
        self, chunks: Sequence[Sequence[DDSpan | bytes]], charged_bytes: int, *, counted: bool
    ) -> Sequence[Parcel]:
        parcels = []
        self._release(charged_bytes)
        for spans in chunks:
            skipped_before = self._v04.skipped_spans
            body = self._v04.encode_chunk(spans)
            skipped = self._v04.skipped_spans - skipped_before
            if skipped:
                self._counters.lose("serialization_error", spans=skipped, chunks=int(skipped == len(spans)))
            if skipped < len(spans):
                self._release(-len(body))
                parcels.append(Parcel(body, self._v04.version, 1, len(spans) - skipped, counted))
        return parcels
