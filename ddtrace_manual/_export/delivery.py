"""Encoded chunks on their way to the Agent: sent oldest first, kept while it is away.

What becomes of a payload (spec/trace-export.md §7; deviations below):

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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddtrace_manual._agent import AgentClient, SendResult
    from ddtrace_manual._encoding.encoded_chunk import EncodedChunk
    from ddtrace_manual._model import DDSpan

    from .backoff import Pace
    from .counters import Counters
    from .payloads import ChunkPacker, Parcel, PayloadEncoder

__all__ = ["Outbox"]

_log = RateLimitedLogger(get_logger("export"))

_RETRYABLE = frozenset({"overloaded", "failed", "timeout", "network"})
_PAYLOAD_BYTES = 4_000_000
"""A payload is closed when it has this size, although larger ones are allowed: one that must be sent
again costs less, and an Agent that just came back is not asked to swallow everything at once."""
_SUSPECT_FAILURES = 3
_MOST_FAULTS = 3
"""After so many exceptions a payload is lost: each attempt would fail."""


class Outbox:
    """Holds chunks until they are delivered or lost. Used by the worker thread only.

    Args:
        client: Sends payloads, with retries.
        pace: Says how long a request may take.
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
        lost_chunks: Chunks lost here so far.
        was_reached: The Agent has answered at least once.
    """

    def __init__(  # noqa: PLR0913 - wired in one place, by name
        self,
        client: AgentClient,
        *,
        pace: Pace,
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
        self._pace = pace
        self._packer = packer
        self._release = release
        self._counters = counters
        self._max_payload_bytes = max_payload_bytes
        self._headers = headers
        self._on_rates = on_rates
        self._on_state = on_state
        self._on_unsupported = on_unsupported
        self._on_sent = on_sent
        self._parcels: deque[Parcel] = deque()
        # The payload being sent, and the answer to it: from the moment its parcels leave one of the queues above until
        # each is delivered, lost or back, so that `send` can see to them whatever interrupts it.
        self._in_flight: list[Parcel] = []
        self._result: SendResult | None = None
        self._suspects: deque[Parcel] = deque()
        """Refused several times; being tried apart from the others."""
        self._payload_limit = _PAYLOAD_BYTES
        """Size at which payloads are closed: lowered by 413, raised again by what is delivered."""
        self._suspect_limit = _PAYLOAD_BYTES
        """The same for suspects: lowered until the culprit is found."""
        self.lost_chunks = 0
        self.was_reached = False

    def __len__(self) -> int:
        """Return how many parcels and unsealed chunks are held."""
        return len(self._parcels) + len(self._in_flight) + self._packer.open_chunks

    def held(self) -> tuple[int, int]:
        """Return how many spans are held, and their bytes of the budget."""
        spans, size = self._packer.held()
        for parcel in (*self._in_flight, *self._parcels, *self._suspects):
            spans += parcel.spans
            size += parcel.size
        return spans, size

    def use_format(
        self, version: str, *, native_events: bool, v1_encoder: Callable[[], PayloadEncoder] | None = None
    ) -> None:
        """Choose the format of chunks added from now on; one that the Agent did not know is not used again."""
        self.seal()
        self._packer.use_format(version, native_events=native_events, v1_encoder=v1_encoder)

    def add(self, chunk: EncodedChunk | Sequence[DDSpan], charged_bytes: int, *, counted: bool) -> None:
        """Take over a mapped chunk.

        Args:
            chunk: What is to be sent of it; partly encoded only while the format is v0.4.
            charged_bytes: What it takes of the budget so far.
            counted: Whether statistics were computed of it.
        """
        ready = self._packer.add(chunk, charged_bytes, counted=counted)
        if ready:
            self._take_in(ready)

    def seal(self) -> None:
        """Make parcels of what was added and is in none yet."""
        self._take_in(self._packer.seal())

    def send(self) -> bool:
        """Send what is held, oldest first, until nothing is left or the Agent does not take more now.

        Returns:
            Whether nothing is left.
        """
        self.seal()
        try:
            self._set_suspects_aside()
            while self._parcels:
                self._take_batch(self._parcels, self._payload_limit)
                if self._in_flight and not self._settle(self._post()):
                    return False
            return self._send_suspects()
        finally:
            if self._in_flight or self._suspects:
                self._recover()

    def abandon(self) -> int:
        """Count whatever is left as lost: the process ends. Return how many spans that is."""
        self.seal()
        left = [*self._suspects, *self._parcels]
        self._suspects.clear()
        self._parcels.clear()
        spans = sum(parcel.spans for parcel in left)
        self._lose(left, "shutdown")
        return spans

    def adopt(self, other: Outbox) -> None:
        """Take over what another outbox holds, which is no longer in use; in front of what is held here."""
        other.seal()
        adopted = [*other._suspects, *other._parcels]
        other._suspects.clear()
        other._parcels.clear()
        for parcel in adopted:
            other._release(parcel.size)
            self._release(-parcel.size)
            parcel.failures = 0
        self._parcels.extendleft(reversed(adopted))
        self.was_reached = self.was_reached or other.was_reached

    # -- taking in -----------------------------------------------------------------------------------

    def _take_in(self, packed: Sequence[Parcel]) -> None:
        """Hold parcels; the packer has charged their real size. Those that no payload can carry are lost."""
        for parcel in packed:
            if parcel.size <= self._max_payload_bytes:
                self._parcels.append(parcel)
                continue
            halves = self._packer.halve(parcel)
            if halves is None:
                self._lose([parcel], "too_large")
            else:
                self._take_in(halves)

    # -- sending -------------------------------------------------------------------------------------

    def _take_batch(self, parcels: deque[Parcel], limit: int) -> None:
        """Put the oldest parcels that fit into a payload of so many bytes and go out alike in flight; at least one.

        Nothing when the oldest payload could not be divided, and is lost.
        """
        limit = min(limit, self._max_payload_bytes)
        self._result = None
        while parcels and (halves := self._divided(parcels[0], limit)) is not None:
            parcels.popleft()
            parcels.extendleft(reversed(halves))
            if not halves:
                return
        batch = self._in_flight
        size = 0
        while parcels:
            parcel = parcels[0]
            size += parcel.size
            if batch and (
                size > limit
                or not parcel.can_be_joined
                or parcel.version != batch[0].version
                or parcel.counted != batch[0].counted
            ):
                break
            batch.append(parcel)
            parcels.popleft()

    def _divided(self, parcel: Parcel, limit: int) -> Sequence[Parcel] | None:
        """Return the halves of a parcel that is larger than the limit; `None` when it is not, or cannot be divided."""
        return self._packer.halve(parcel) if parcel.size > limit else None

    def _post(self) -> SendResult:
        """Send what is in flight."""
        batch = self._in_flight
        first = batch[0]
        chunks = sum(parcel.chunks for parcel in batch)
        body = self._packer.join(batch)
        self._client.timeout_s = self._pace.start_request()
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
        self._tell(self._on_sent, result, len(body), chunks, first.counted)
        return result

    def _settle(self, result: SendResult) -> bool:
        """Act on the final answer to what is in flight; return whether to go on sending."""
        batch = self._in_flight
        if result.delivered:
            self._deliver(result)
        elif result.outcome == "unsupported" and not batch[0].can_be_joined:
            self._downgrade(batch[0].version)
        elif result.outcome == "too_large":
            self._make_smaller()
        elif _may_pass(result):
            self._keep(result)
            return False
        else:
            self._lose(batch, "rejected")
        return True

    def _deliver(self, result: SendResult) -> None:
        self._count_delivered()
        self._pace.delivered()
        self._payload_limit = min(self._payload_limit * 2, _PAYLOAD_BYTES)
        if result.rates is not None:
            self._tell(self._on_rates, result.rates)
        if result.agent_state:
            self._tell(self._on_state, result.agent_state)

    def _count_delivered(self) -> None:
        counters, batch = self._counters, self._in_flight
        while batch:
            parcel = batch.pop()
            counters.sent_chunks += parcel.chunks
            counters.sent_spans += parcel.spans
            counters.settled_spans += parcel.spans
            self._release(parcel.size)

    def _recover(self) -> None:
        """See to what an exception left in flight: delivered if the Agent said so, else back, or lost after a while."""
        batch, result = self._in_flight, self._result
        if result is not None and result.delivered:
            self._count_delivered()
        for parcel in batch:
            parcel.faults += 1
        if batch and batch[0].faults >= _MOST_FAULTS:
            self._lose(batch, "serialization_error")
        self._put_back(self._parcels)
        self._parcels.extendleft(reversed(self._suspects))
        self._suspects.clear()

    def _put_back(self, parcels: deque[Parcel]) -> None:
        """Put what is in flight to the front of a queue."""
        batch, self._in_flight = self._in_flight, []
        parcels.extendleft(reversed(batch))

    def _downgrade(self, version: str) -> None:
        """Go on with v0.4, with this payload and every other one of its format."""
        self._packer.give_up(version)
        self._put_back(self._parcels)
        for _ in range(len(self._parcels)):
            parcel = self._parcels.popleft()
            self._take_in([parcel] if parcel.version != version else self._packer.as_v04(parcel))
        self._tell(self._on_unsupported)

    def _make_smaller(self) -> None:
        """Put back a payload that was too large, to be sent as several; a single chunk is lost."""
        batch = self._in_flight
        if _is_single_chunk(batch):
            self._lose(batch, "too_large")
            return
        self._payload_limit = _size_of(batch) // 2
        self._put_back(self._parcels)

    def _keep(self, result: SendResult) -> None:
        """Put a payload that failed back to the front, and with it those that were set aside as suspects."""
        if result.status:
            for parcel in self._in_flight:
                parcel.failures += 1
        self._put_back(self._parcels)
        # Others fail as well: it is not their fault.
        for parcel in self._suspects:
            parcel.failures = 0
        self._parcels.extendleft(reversed(self._suspects))
        self._suspects.clear()

    # -- chunks that the Agent may never take --------------------------------------------------------

    def _set_suspects_aside(self) -> None:
        """Let others go first when those in front were refused several times: it may be their fault."""
        parcels = self._parcels
        if not parcels or parcels[-1].failures >= _SUSPECT_FAILURES:
            return
        while parcels[0].failures >= _SUSPECT_FAILURES:
            self._suspects.append(parcels.popleft())

    def _send_suspects(self) -> bool:
        """Try the suspects after others were taken; lose the one that is refused all by itself.

        A refused payload is halved until the culprit is alone. At most one refusal in a round, so that
        others need not wait.
        """
        while self._suspects:
            self._take_batch(self._suspects, self._suspect_limit)
            if not self._in_flight:
                continue
            result = self._post()
            if not _may_pass(result):
                self._settle(result)
                continue
            if result.status:
                self._isolate()
            else:
                self._put_back(self._suspects)
            self._parcels.extendleft(reversed(self._suspects))
            self._suspects.clear()
            return not self._parcels
        self._suspect_limit = _PAYLOAD_BYTES
        return not self._parcels

    def _isolate(self) -> None:
        """Put refused suspects back, to be sent in smaller payloads; a single chunk is lost."""
        batch = self._in_flight
        if _is_single_chunk(batch):
            self._lose(batch, "rejected")
            return
        self._suspect_limit = _size_of(batch) // 2
        self._put_back(self._suspects)

    # -- the rest ------------------------------------------------------------------------------------

    def _lose(self, batch: list[Parcel], reason: str) -> None:
        """Count parcels as lost, and take them out of the list."""
        while batch:
            parcel = batch.pop()
            self.lost_chunks += parcel.chunks
            self._counters.lose(reason, spans=parcel.spans, chunks=parcel.chunks)
            self._release(parcel.size)

    @staticmethod
    def _tell(callback: Callable[..., None], *args: object) -> None:
        """Call back; whatever goes wrong there must not lose a payload here."""
        try:
            callback(*args)
        except Exception:  # noqa: BLE001 - see above
            _log.log(logging.ERROR, "callback", "Telling about an answer of the Agent failed", exc_info=True)


def _is_single_chunk(batch: Sequence[Parcel]) -> bool:
    return len(batch) == 1 and batch[0].chunks == 1


def _size_of(batch: Sequence[Parcel]) -> int:
    return sum(parcel.size for parcel in batch)


def _may_pass(result: SendResult) -> bool:
    """Say whether a payload that was not delivered may be so later."""
    if result.delivered:
        return False
    return result.outcome in _RETRYABLE or 0 < result.status < HTTPStatus.BAD_REQUEST
