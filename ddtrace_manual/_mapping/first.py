"""The tags of the first span of a chunk as bytes: they belong to the trace, and most traces have the same.

Source: spec/span-mapping.md §11; the table in `chunk.py` says which tags these are.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from ddtrace_manual import _tags as tags
from ddtrace_manual._model import AUTO_KEEP, USER_KEEP, USER_REJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ddtrace_manual._model import SegmentRecord

__all__ = ["EncodedTags", "FirstSpanTags", "priority_of"]

_pack_double = Struct(">Bd").pack
_DOUBLE = 0xCB
_MAX_ENTRIES = 256
_MAX_TEXT_CHARS = 25_000
"""Longer texts must be cut, which the general path does."""


class EncodedTags(NamedTuple):
    """Pairs of keys and values in msgpack form."""

    texts: bytes
    text_count: int
    numbers: bytes
    number_count: int


def priority_of(segment: SegmentRecord) -> float:
    """Return the sampling priority as a metric; an undecided trace counts as sampled (§5 step 14)."""
    priority = segment.priority
    if priority is None:
        return float(AUTO_KEEP)
    try:
        return float(priority)
    except OverflowError:  # received from elsewhere; only its sign matters
        return float(USER_KEEP if priority > 0 else USER_REJECT)


class FirstSpanTags:
    """Encodes the tags; what several traces have in common is kept. Used by the worker thread only.

    Args:
        constants: Tags of every first span.
        pack: Returns the msgpack form of a value; raises for text that is no valid Unicode.
    """

    def __init__(self, constants: Mapping[str, str], pack: Callable[[object], bytes]) -> None:
        self._constants = constants
        self._pack = pack
        self._known: dict[object, EncodedTags | None] = {}
        # The tags of a trace are nearly always those of the trace before; trace ids begin with the second in which they
        # were made, so that their upper half recurs too.
        self._last_key: tuple[object, ...] = ()
        self._last_tags: dict[str, str] | None = None
        self._last: EncodedTags | None = None

    def encode(self, segment: SegmentRecord, *, is_root: bool, partial_spans: int) -> EncodedTags | None:
        """Return the tags of the first span; `None` when they must be written in the general way.

        Args:
            segment: Its local trace.
            is_root: It is the local root.
            partial_spans: Number of spans in a partial flush; 0 for a complete trace.
        """
        trace_tags = segment.tags
        high = segment.trace_id >> 64
        key: tuple[object, ...] = (segment.priority, partial_spans, high)
        if is_root:
            key = (
                segment.priority,
                partial_spans,
                high,
                segment.rule_rate,
                segment.agent_rate,
                segment.limit_rate,
                segment.parent_tag,
                segment.propagation_error,
            )
        if key != self._last_key or trace_tags != self._last_tags:
            self._last_tags = dict(trace_tags) if trace_tags else trace_tags
            self._last = self._look_up(segment, is_root, partial_spans, self._last_tags)
            self._last_key = key
        return self._last

    def _look_up(
        self,
        segment: SegmentRecord,
        is_root: bool,  # noqa: FBT001 - see encode
        partial_spans: int,
        trace_tags: Mapping[str, str] | None,
    ) -> EncodedTags | None:
        rates = (segment.rule_rate, segment.agent_rate, segment.limit_rate) if is_root else None
        key = segment.priority, rates, partial_spans, tuple(trace_tags.items()) if trace_tags else None
        try:
            if key in self._known:
                known = self._known[key]
            else:
                known = self._make(segment, is_root, partial_spans)
                if len(self._known) >= _MAX_ENTRIES:
                    self._known.clear()
                self._known[key] = known
            if known is None:
                return None
            texts, text_count, numbers, number_count = known
            high = segment.trace_id >> 64
            own = {
                tags.TRACE_ID_HIGH: f"{high:016x}" if high else None,
                tags.PARENT_ID: segment.parent_tag if is_root else None,
                tags.PROPAGATION_ERROR: segment.propagation_error if is_root else None,
            }
            for tag, text in own.items():
                if text:
                    texts += self._text(tag, text)
                    text_count += 1
        except UnicodeEncodeError:  # odd text, which the encoder repairs
            return None
        return EncodedTags(texts, text_count, numbers, number_count)

    def _make(self, segment: SegmentRecord, is_root: bool, partial_spans: int) -> EncodedTags | None:  # noqa: FBT001 - see encode
        texts = {**self._constants, **(segment.tags or {})}
        numbers = {tags.SAMPLING_PRIORITY: priority_of(segment)}
        if partial_spans:
            numbers[tags.PARTIAL_FLUSH] = float(partial_spans)
        if is_root:
            rates = {
                tags.RULE_RATE: segment.rule_rate,
                tags.AGENT_RATE: segment.agent_rate,
                tags.LIMIT_RATE: segment.limit_rate,
            }
            numbers.update((tag, float(rate)) for tag, rate in rates.items() if rate is not None)
        if (
            not texts.keys().isdisjoint(numbers)
            or tags.TRACE_ID_HIGH in texts
            or any(len(text) > _MAX_TEXT_CHARS for text in texts.values())
        ):
            return None
        return EncodedTags(
            b"".join(self._text(tag, text) for tag, text in texts.items()),
            len(texts),
            b"".join(self._pack(tag) + _pack_double(_DOUBLE, number) for tag, number in numbers.items()),
            len(numbers),
        )

    def _text(self, tag: str, text: str) -> bytes:
        return self._pack(tag) + self._pack(text)
