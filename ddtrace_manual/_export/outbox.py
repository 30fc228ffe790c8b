"""Mapped chunks on their way to the Agent: grouped into payloads, sent oldest first, kept while it is away.

What becomes of a payload (spec/trace-export.md §7; deviations below):

| answer | here |
|---|---|
| 2xx | delivered |
| 404, 415 to v0.5 or v1.0 | encoded again as v0.4 and sent |
| 413 | split in two; a single chunk is lost |
| other 4xx | lost |
| 408, 429, 5xx after all retries | kept for some later rounds, then lost |
| no answer | kept until the Agent is back; the budget of the queue is the only bound |

Deviations: other tracers drop after the retries. A chunk goes out twice only when the first attempt had no answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ddtrace_manual._agent import AgentClient, SendResult
from ddtrace_manual._encoding import V04Encoder, V05Encoder

if TYPE_CHECKING:
    from ddtrace_manual._model import DDSpan

    from .counters import Counters

__all__ = ["Outbox", "PayloadEncoder"]

_MAX_ANSWERED_FAILURES = 8
_RETRYABLE = frozenset({"overloaded", "failed", "timeout", "network"})


class PayloadEncoder(Protocol):
    """Encodes whole payloads; formats with a string table cannot be put together from encoded chunks."""

    @property
    def version(self) -> str:
        """Format and endpoint, for example `v0.5`."""

    def encode(self, chunks: Sequence[Sequence[DDSpan]]) -> bytes:
        """Return the payload of these chunks."""
        ...


@dataclass(slots=True)
class _Item:
    """One chunk. It is held in exactly one form: encoded for v0.4, as spans for the other formats."""

    spans: Sequence[DDSpan] | None
    encoded: bytes | None
    span_count: int
    size_bytes: int
    """What it takes of the queue's budget."""
    failures: int = 0
    """Rounds that the Agent answered with a failure."""


class Outbox:
    """Holds chunks until they are delivered or lost. Used by the worker thread only.

    Args:
        client: Sends payloads, with retries.
        release: Gives bytes back to the queue's budget; negative when an encoded chunk is larger than its estimate.
        counters: Counts what is sent and lost.
        max_payload_bytes: Largest payload.
        on_rates: Takes sampling rates of an answer.
        on_state: Takes the `Datadog-Agent-State` of an answer.
        headers: Returns extra header fields for the next payload.
    """

    def __init__(  # noqa: PLR0913 - wired in one place, by name
        self,
        client: AgentClient,
        *,
        release: Callable[[int], None],
        counters: Counters,
        max_payload_bytes: int,
        on_rates: Callable[[Mapping[str, float]], None],
        on_state: Callable[[str], None],
        headers: Callable[[], dict[str, str]],
        on_sent: Callable[[SendResult, int, int], None] | None = None,
    ) -> None:
        self._client = client
        self._release = release
        self._counters = counters
        self._max_payload_bytes = max_payload_bytes
        self._on_rates = on_rates
        self._on_state = on_state
        self._headers = headers
        self._on_sent = on_sent
        self._items: deque[_Item] = deque()
        self._v04 = V04Encoder()
        self._encoder: PayloadEncoder | None = None
        self.was_reached = False
        """The Agent has answered at least once."""

    def __len__(self) -> int:
        return len(self._items)

    def use_format(self, version: str, *, native_events: bool, v1_encoder: Callable[[], PayloadEncoder]) -> None:
        """Choose the format of chunks added from now on."""
        self._v04.native_events = native_events
        if version == "v0.4":
            self._encoder = None
        elif self._encoder is None or self._encoder.version != version:
            self._encoder = V05Encoder() if version == "v0.5" else v1_encoder()

    def add(self, spans: Sequence[DDSpan], charged_bytes: int) -> None:
        """Take over a mapped chunk.

        Args:
            spans: What is to be sent of it.
            charged_bytes: What it takes of the budget so far.
        """
        if self._encoder is not None:
            self._items.append(_Item(spans, None, len(spans), charged_bytes))
            return
        before = self._v04.skipped_spans
        encoded = self._v04.encode_chunk(spans)
        skipped = self._v04.skipped_spans - before
        if skipped:
            self._counters.drop("serialization_error", spans=skipped, chunks=int(skipped == len(spans)))
        self._release(charged_bytes - len(encoded))
        if skipped == len(spans) or len(encoded) > self._max_payload_bytes:
            self._release(len(encoded))
            if skipped != len(spans):
                self._counters.drop("too_large", spans=len(spans) - skipped)
            return
        self._items.append(_Item(None, encoded, len(spans) - skipped, len(encoded)))

    def send(self) -> bool:
        """Send what is held, oldest first, until it is empty or the Agent does not take more now.

        Returns:
            Whether nothing is left, and nothing was lost on the way.
        """
        lost = False
        while self._items:
            batch = self._next_batch()
            result = self._post(batch)
            if result.outcome in _RETRYABLE:
                self._keep(batch, result)
                return False
            lost = not self._settle(batch, result) or lost
        return not lost

    def abandon(self) -> None:
        """Count whatever is left as lost: the process ends."""
        while self._items:
            self._lose([self._items.popleft()], "shutdown")

    def take_over(self, other: Outbox, charge: Callable[[int], None]) -> None:
        """Move what another outbox holds to the end of this one.

        Args:
            other: No longer in use.
            charge: Takes the bytes from this outbox's budget.
        """
        while other._items:
            item = other._items.popleft()
            charge(item.size_bytes)
            self._items.append(item)

    def held_spans(self) -> int:
        """Return how many spans are held."""
        return sum(item.span_count for item in self._items)

    def _next_batch(self) -> list[_Item]:
        """Take the oldest items that fit into one payload and have the same form."""
        first = self._items.popleft()
        batch = [first]
        size = first.size_bytes
        while self._items:
            item = self._items[0]
            if size + item.size_bytes > self._max_payload_bytes or (item.spans is None) != (first.spans is None):
                break
            batch.append(self._items.popleft())
            size += item.size_bytes
        return batch

    def _post(self, batch: Sequence[_Item]) -> SendResult:
        if batch[0].encoded is not None:
            version = self._v04.version
            body = self._v04.join([item.encoded or b"" for item in batch])
        else:
            encoder = self._encoder or self._v04
            version = encoder.version
            body = encoder.encode([item.spans or () for item in batch])
        result = self._client.send_traces(body, chunks=len(batch), version=version, extra_headers=self._headers())
        self._count(result, len(body), len(batch))
        return result

    def _count(self, result: SendResult, size: int, chunks: int) -> None:
        counters = self._counters
        counters.requests += result.attempts
        counters.errors += result.attempts - int(result.delivered)
        if result.status:
            self.was_reached = True
        if result.delivered:
            counters.sent_payloads += 1
            counters.sent_bytes += size
        else:
            counters.last_error = result.error
        if self._on_sent is not None:
            self._on_sent(result, size, chunks)

    def _settle(self, batch: list[_Item], result: SendResult) -> bool:
        """Act on a final answer; return whether nothing was lost by it."""
        if result.delivered:
            self._deliver(batch, result)
            return True
        if result.outcome == "unsupported" and batch[0].spans is not None:
            self._downgrade(batch)
            return True
        if result.outcome == "too_large" and len(batch) > 1:
            # The second half first: both go back to the front, in order, to be sent as two payloads.
            middle = len(batch) // 2
            return self._send_half(batch[:middle]) & self._send_half(batch[middle:])
        self._lose(batch, "too_large" if result.outcome == "too_large" else "rejected")
        return False

    def _send_half(self, half: list[_Item]) -> bool:
        result = self._post(half)
        if result.outcome in _RETRYABLE:
            self._keep(half, result)
            return True
        return self._settle(half, result)

    def _deliver(self, batch: Sequence[_Item], result: SendResult) -> None:
        self._release(sum(item.size_bytes for item in batch))
        self._counters.sent_chunks += len(batch)
        self._counters.sent_spans += sum(item.span_count for item in batch)
        if result.rates is not None:
            self._on_rates(result.rates)
        if result.agent_state:
            self._on_state(result.agent_state)

    def _downgrade(self, batch: Sequence[_Item]) -> None:
        """Go on with v0.4, with this batch and everything after it."""
        waiting = [*batch, *self._items]
        self._items.clear()
        self._encoder = None
        for item in waiting:
            if item.spans is not None:
                self.add(item.spans, item.size_bytes)
            else:
                self._items.append(item)

    def _keep(self, batch: Sequence[_Item], result: SendResult) -> None:
        """Put a batch back to the front, without those the Agent has refused too often."""
        if result.status:
            for item in batch:
                item.failures += 1
        worn_out = [item for item in batch if item.failures >= _MAX_ANSWERED_FAILURES]
        if worn_out:
            self._lose(worn_out, "rejected")
        self._items.extendleft(item for item in reversed(batch) if item.failures < _MAX_ANSWERED_FAILURES)

    def _lose(self, batch: Sequence[_Item], reason: str) -> None:
        self._release(sum(item.size_bytes for item in batch))
        self._counters.drop(reason, spans=sum(item.span_count for item in batch), chunks=len(batch))
