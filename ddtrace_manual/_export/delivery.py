"""Delivery of encoded chunks: sent oldest first, kept while the Agent is away.

What happens to a payload (spec/trace-export.md §7; deviations below):

| answer | here |
|---|---|
| 2xx | delivered |
| 404, 415 to v0.5 or v1.0 | encoded again as v0.4 and sent; the format is not used again |
| 413 | sent again in smaller payloads; a single chunk is lost |
| other 4xx | lost |
| 3xx | kept: whoever answered is not the Agent |
| 408, 429, 5xx after all retries | kept; lost when the Agent refuses it again while it takes others |
| no answer | kept until the Agent is back; the budget of the queue is the only bound |

Deviations: other tracers drop after the retries. A chunk goes out twice only when the first attempt had no answer.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from ddtrace_manual._base.log import RateLimitedLogger, get_logger

from .counters import DropReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddtrace_manual._agent import AgentClient, SendResult
    from ddtrace_manual._encoding.encoded_chunk import EncodedChunk
    from ddtrace_manual._model import DDSpan

    from .backoff import Backoff
    from .counters import Counters
    from .payloads import ChunkPacker, EncodedBatch, PayloadEncoder

__all__ = ["Delivery"]

_log = RateLimitedLogger(get_logger("export"))

_RETRYABLE = frozenset({"overloaded", "failed", "timeout", "network"})
_PAYLOAD_BYTES = 4_000_000
"""A payload is closed when it has this size, although larger ones are allowed: one that must be sent
again costs less, and an Agent that just came back is not asked to swallow everything at once."""
_QUARANTINE_FAILURES = 3
_MOST_FAULTS = 3
"""After so many exceptions a payload is lost: each attempt would fail."""


class Delivery:
    """Holds chunks until they are delivered or lost. Used by the worker thread only.

    Args:
        client: Sends payloads, with retries.
        backoff: Says how long a request may take.
        packer: Encodes chunks.
        release: Gives bytes back to the queue's budget; negative when an encoded chunk is larger than its estimate.
        counters: Counts what is sent and lost.
        max_payload_bytes: Largest payload.
        headers: (whether the chunks were counted in statistics) → extra header fields of a payload.
        on_rates: Takes sampling rates of an answer.
        on_state: Takes the `Datadog-Agent-State` of an answer.
        on_unsupported: Told when the Agent does not know the format.
        on_sent: (result, bytes, chunks, counted) Told about every payload, delivered or not.

    Attributes:
        was_reached: The Agent has answered at least once.
    """

    def __init__(  # noqa: PLR0913 - wired in one place, by name
        self,
        client: AgentClient,
        *,
        backoff: Backoff,
        packer: ChunkPacker,
        release: Callable[[int], None],
        counters: Counters,
        max_payload_bytes: int,
        headers: Callable[[bool], Mapping[str, str]],
        on_rates: Callable[[Mapping[str, float]], None],
        on_state: Callable[[str], None],
        on_unsupported: Callable[[], None],
        on_sent: Callable[[SendResult, int, int, bool], None],
    ) -> None:
        self._client = client
        self._backoff = backoff
        self._packer = packer
        self._release = release
        self._counters = counters
        self._max_payload_bytes = max_payload_bytes
        self._headers = headers
        self._on_rates = on_rates
        self._on_state = on_state
        self._on_unsupported = on_unsupported
        self._on_sent = on_sent
        self._batches: deque[EncodedBatch] = deque()
        # The payload being sent, and the answer to it: from the moment its batches leave one of the queues above until
        # each is delivered, lost or back, so that `send` can see to them whatever interrupts it.
        self._in_flight: list[EncodedBatch] = []
        self._result: SendResult | None = None
        self._quarantined: deque[EncodedBatch] = deque()
        """Refused several times; retried separately from the others."""
        self._payload_limit = _PAYLOAD_BYTES
        """Size at which payloads are closed: lowered by 413, raised again by what is delivered."""
        self._quarantine_limit = _PAYLOAD_BYTES
        """The same for quarantined batches: lowered until the refused chunk is found."""
        self.was_reached = False

    def __len__(self) -> int:
        """Return the number of batches and open chunks held."""
        return len(self._batches) + len(self._in_flight) + self._packer.open_chunks

    def held(self) -> tuple[int, int]:
        """Return the number of spans held and their bytes in the budget."""
        spans, size = self._packer.held()
        for batch in (*self._in_flight, *self._batches, *self._quarantined):
            spans += batch.spans
            size += batch.size
        return spans, size

    def use_format(
        self, version: str, *, native_events: bool, v1_encoder: Callable[[], PayloadEncoder] | None = None
    ) -> None:
        """Choose the format of chunks added from now on; one that the Agent did not know is not used again."""
        self.close_batch()
        self._packer.use_format(version, native_events=native_events, v1_encoder=v1_encoder)

    def add(self, chunk: EncodedChunk | Sequence[DDSpan], reserved_bytes: int, *, counted: bool) -> None:
        """Take over a mapped chunk.

        Args:
            chunk: What is to be sent of it; partly encoded only while the format is v0.4.
            reserved_bytes: What it takes of the budget so far.
            counted: Whether statistics were computed of it.
        """
        ready = self._packer.add(chunk, reserved_bytes, counted=counted)
        if ready:
            self._take_in(ready)

    def close_batch(self) -> None:
        """Close the open batch."""
        self._take_in(self._packer.close_batch())

    def send(self) -> bool:
        """Send everything held, oldest first, until nothing is left or the Agent takes no more.

        Returns:
            Whether nothing is left.
        """
        self.close_batch()
        try:
            self._quarantine()
            while self._batches:
                self._take_payload(self._batches, self._payload_limit)
                if self._in_flight and not self._record_result(self._post()):
                    return False
            return self._send_quarantined()
        finally:
            if self._in_flight or self._quarantined:
                self._recover()

    def abandon(self) -> int:
        """Count everything held as lost and return the number of its spans."""
        self.close_batch()
        left = [*self._quarantined, *self._batches]
        self._quarantined.clear()
        self._batches.clear()
        spans = sum(batch.spans for batch in left)
        self._record_loss(left, DropReason.SHUTDOWN)
        return spans

    def take_over(self, other: Delivery) -> None:
        """Take over everything another, unused delivery holds, in front of what is held here."""
        other.close_batch()
        taken_over = [*other._quarantined, *other._batches]
        other._quarantined.clear()
        other._batches.clear()
        for batch in taken_over:
            other._release(batch.size)
            self._release(-batch.size)
            batch.failures = 0
        self._batches.extendleft(reversed(taken_over))
        self.was_reached = self.was_reached or other.was_reached

    # -- taking in -----------------------------------------------------------------------------------

    def _take_in(self, packed: Sequence[EncodedBatch]) -> None:
        """Store batches, whose real size the packer has reserved. A chunk larger than any payload is dropped."""
        for batch in packed:
            if batch.size <= self._max_payload_bytes:
                self._batches.append(batch)
                continue
            halves = self._packer.halve(batch)
            if halves is None:
                self._record_loss([batch], DropReason.TOO_LARGE)
            else:
                self._take_in(halves)

    # -- sending -------------------------------------------------------------------------------------

    def _take_payload(self, batches: deque[EncodedBatch], limit: int) -> None:
        """Put the oldest batches that fit into a payload of so many bytes and go out alike in flight; at least one.

        Nothing when the oldest payload could not be divided, and is lost.
        """
        limit = min(limit, self._max_payload_bytes)
        self._result = None
        while batches and (halves := self._divided(batches[0], limit)) is not None:
            batches.popleft()
            batches.extendleft(reversed(halves))
            if not halves:
                return
        payload = self._in_flight
        size = 0
        while batches:
            batch = batches[0]
            size += batch.size
            if payload and (
                size > limit
                or not batch.can_be_joined
                or batch.version != payload[0].version
                or batch.counted != payload[0].counted
            ):
                break
            payload.append(batch)
            batches.popleft()

    def _divided(self, batch: EncodedBatch, limit: int) -> Sequence[EncodedBatch] | None:
        """Return the halves of a batch that is larger than the limit; `None` when it is not, or cannot be divided."""
        return self._packer.halve(batch) if batch.size > limit else None

    def _post(self) -> SendResult:
        """Send the payload in flight."""
        payload = self._in_flight
        first = payload[0]
        chunks = sum(batch.chunks for batch in payload)
        body = self._packer.join(payload)
        self._client.timeout_s = self._backoff.start_request()
        result = self._result = self._client.send_traces(
            body, chunks=chunks, version=first.version, extra_headers=self._headers(first.counted)
        )
        counters = self._counters
        counters.requests += result.attempts
        counters.errors += result.attempts - int(result.delivered)
        self.was_reached = self.was_reached or bool(result.status)
        if result.delivered:
            counters.sent_payloads += 1
            counters.sent_bytes += len(body)
        else:
            counters.last_error = result.error
        self._call_back(self._on_sent, result, len(body), chunks, first.counted)
        return result

    def _record_result(self, result: SendResult) -> bool:
        """Act on the final answer to what is in flight; return whether to go on sending."""
        payload = self._in_flight
        if result.delivered:
            self._record_delivered(result)
        elif result.outcome == "unsupported" and not payload[0].can_be_joined:
            self._downgrade(payload[0].version)
        elif result.outcome == "too_large":
            self._make_smaller()
        elif _may_pass(result):
            self._keep(result)
            return False
        else:
            self._record_loss(payload, DropReason.REJECTED)
        return True

    def _record_delivered(self, result: SendResult) -> None:
        self._record_sent()
        self._backoff.delivered()
        self._payload_limit = min(self._payload_limit * 2, _PAYLOAD_BYTES)
        if result.rates is not None:
            self._call_back(self._on_rates, result.rates)
        if result.agent_state:
            self._call_back(self._on_state, result.agent_state)

    def _record_sent(self) -> None:
        counters, payload = self._counters, self._in_flight
        while payload:
            batch = payload.pop()
            counters.sent_chunks += batch.chunks
            counters.sent_spans += batch.spans
            counters.accounted_spans += batch.spans
            self._release(batch.size)

    def _recover(self) -> None:
        """Handle what an exception left in flight.

        Count it as sent if the Agent took it, else keep it; drop it after repeated exceptions.
        """
        payload, result = self._in_flight, self._result
        if result is not None and result.delivered:
            self._record_sent()
        for batch in payload:
            batch.faults += 1
        if payload and payload[0].faults >= _MOST_FAULTS:
            self._record_loss(payload, DropReason.SERIALIZATION_ERROR)
        self._put_back(self._batches)
        self._batches.extendleft(reversed(self._quarantined))
        self._quarantined.clear()

    def _put_back(self, batches: deque[EncodedBatch]) -> None:
        """Put the payload in flight back to the front of a queue."""
        payload, self._in_flight = self._in_flight, []
        batches.extendleft(reversed(payload))

    def _downgrade(self, version: str) -> None:
        """Switch to v0.4, and encode all held payloads of the old format again."""
        self._packer.give_up(version)
        self._put_back(self._batches)
        for _ in range(len(self._batches)):
            batch = self._batches.popleft()
            self._take_in([batch] if batch.version != version else self._packer.as_v04(batch))
        self._call_back(self._on_unsupported)

    def _make_smaller(self) -> None:
        """Put back a payload that was too large, to be sent as several; a single chunk is lost."""
        payload = self._in_flight
        if _is_single_chunk(payload):
            self._record_loss(payload, DropReason.TOO_LARGE)
            return
        self._payload_limit = _size_of(payload) // 2
        self._put_back(self._batches)

    def _keep(self, result: SendResult) -> None:
        """Put a failed payload back to the front, with the quarantined batches."""
        if result.status:
            for batch in self._in_flight:
                batch.failures += 1
        self._put_back(self._batches)
        # Others fail as well: it is not their fault.
        for batch in self._quarantined:
            batch.failures = 0
        self._batches.extendleft(reversed(self._quarantined))
        self._quarantined.clear()

    # -- chunks that the Agent may never take --------------------------------------------------------

    def _quarantine(self) -> None:
        """Set aside the batches in front that were refused several times, so that others go first."""
        batches = self._batches
        if not batches or batches[-1].failures >= _QUARANTINE_FAILURES:
            return
        while batches[0].failures >= _QUARANTINE_FAILURES:
            self._quarantined.append(batches.popleft())

    def _send_quarantined(self) -> bool:
        """Send quarantined batches after the others; drop a chunk that is refused on its own.

        A refused payload is halved until a single chunk is left. At most one refusal per round, so that the others need
        not wait.
        """
        while self._quarantined:
            self._take_payload(self._quarantined, self._quarantine_limit)
            if not self._in_flight:
                continue
            result = self._post()
            if not _may_pass(result):
                self._record_result(result)
                continue
            if result.status:
                self._isolate()
            else:
                self._put_back(self._quarantined)
            self._batches.extendleft(reversed(self._quarantined))
            self._quarantined.clear()
            return not self._batches
        self._quarantine_limit = _PAYLOAD_BYTES
        return not self._batches

    def _isolate(self) -> None:
        """Put refused batches back, to be sent in smaller payloads; a single chunk is dropped."""
        payload = self._in_flight
        if _is_single_chunk(payload):
            self._record_loss(payload, DropReason.REJECTED)
            return
        self._quarantine_limit = _size_of(payload) // 2
        self._put_back(self._quarantined)

    # -- the rest ------------------------------------------------------------------------------------

    def _record_loss(self, payload: list[EncodedBatch], reason: DropReason) -> None:
        """Count batches as lost and remove them from the list."""
        while payload:
            batch = payload.pop()
            self._counters.drop(reason, spans=batch.spans, chunks=batch.chunks)
            self._release(batch.size)

    @staticmethod
    def _call_back(callback: Callable[..., None], *args: object) -> None:
        """Call a callback. Its exceptions are logged, so that no payload is lost."""
        try:
            callback(*args)
        except Exception:  # see above
            _log.log(logging.ERROR, "callback", "A callback for an answer of the Agent failed", exc_info=True)


def _is_single_chunk(payload: Sequence[EncodedBatch]) -> bool:
    return len(payload) == 1 and payload[0].chunks == 1


def _size_of(payload: Sequence[EncodedBatch]) -> int:
    return sum(batch.size for batch in payload)


def _may_pass(result: SendResult) -> bool:
    """Return whether a payload that was not delivered may be accepted later."""
    if result.delivered:
        return False
    return result.outcome in _RETRYABLE or 0 < result.status < HTTPStatus.BAD_REQUEST
