"""The tags of the first span of a chunk as bytes: they belong to the trace, and most traces have the same.

Source: spec/span-mapping.md §11; the table in `chunk.py` says which tags these are.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ddtrace_manual._base import tags
from ddtrace_manual._model import AUTO_KEEP, MAX_TEXT_CHARS, USER_KEEP, USER_REJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ddtrace_manual._model import SegmentRecord

__all__ = ["EncodedTags", "FirstSpanTags", "priority_of"]

_pack_double = Struct(">Bd").pack
_DOUBLE = 0xCB
_MAX_ENTRIES = 256
_Facts: TypeAlias = "tuple[int | None, int, int, float | None, float | None, float | None, str | None, str | None]"
"""Priority, spans of a partial flush, upper half of the trace id; of local roots also the rates of rule, Agent and
limit, the parent tag and the propagation error."""


class EncodedTags(NamedTuple):
    """Pairs of keys and values in msgpack form."""

    texts: bytes
    text_count: int
    numbers: bytes
    number_count: int


def priority_of(priority: int | None) -> float:
    """Return the sampling priority as a metric; an undecided trace counts as sampled (§5 step 14)."""
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
        self._last_facts: _Facts | None = None
        self._last_tags: dict[str, str] = {}
        self._last: EncodedTags | None = None

    def encode(self, segment: SegmentRecord, *, is_root: bool, partial_spans: int) -> EncodedTags | None:
        """Return the tags of the first span; `None` when they must be written in the general way.

        Args:
            segment: Its local trace.
            is_root: It is the local root.
            partial_spans: Number of spans in a partial flush; 0 for a complete trace.
        """
        # Read once: the application may decide by hand meanwhile, and what is kept must be of one piece.
        trace_tags = segment.tags or {}
        high = segment.trace_id >> 64
        facts: _Facts = (
            (
                segment.priority,
                partial_spans,
                high,
                segment.rule_rate,
                segment.agent_rate,
                segment.limit_rate,
                segment.parent_tag,
                segment.propagation_error,
            )
            if is_root
            else (segment.priority, partial_spans, high, None, None, None, None, None)
        )
        if facts == self._last_facts and trace_tags == self._last_tags:
            return self._last
        kept_tags = dict(trace_tags)
        made = self._look_up(facts, kept_tags)
        self._last_facts, self._last_tags, self._last = facts, kept_tags, made
        return made

    def _look_up(self, facts: _Facts, trace_tags: dict[str, str]) -> EncodedTags | None:
        priority, partial_spans, high, rule_rate, agent_rate, limit_rate, parent_tag, error = facts
        rates = rule_rate, agent_rate, limit_rate
        key = priority, partial_spans, rates, tuple(trace_tags.items())
        own = {
            tags.TRACE_ID_HIGH: f"{high:016x}" if high else None,
            tags.PARENT_ID: parent_tag,
            tags.PROPAGATION_ERROR: error,
        }
        try:
            if key in self._known:
                known = self._known[key]
            else:
                known = self._make(priority, partial_spans, rates, trace_tags)
                if len(self._known) >= _MAX_ENTRIES:
                    self._known.clear()
                self._known[key] = known
            if known is None:
                return None
            texts, text_count, numbers, number_count = known
            for tag, text in own.items():
                if text:
                    if len(text) > MAX_TEXT_CHARS:
                        return None
                    texts += self._text(tag, text)
                    text_count += 1
        except UnicodeEncodeError:  # odd text, which the encoder repairs
            return None
        return EncodedTags(texts, text_count, numbers, number_count)

    def _make(
        self,
        priority: int | None,
        partial_spans: int,
        rates: tuple[float | None, float | None, float | None],
        trace_tags: Mapping[str, str],
    ) -> EncodedTags | None:
        texts = {**self._constants, **trace_tags}
        numbers = {tags.SAMPLING_PRIORITY: priority_of(priority)}
        if partial_spans:
            numbers[tags.PARTIAL_FLUSH] = float(partial_spans)
        named = zip((tags.RULE_RATE, tags.AGENT_RATE, tags.LIMIT_RATE), rates, strict=True)
        numbers.update((tag, float(rate)) for tag, rate in named if rate is not None)
        if (
            not texts.keys().isdisjoint(numbers)
            or tags.TRACE_ID_HIGH in texts
            or any(len(text) > MAX_TEXT_CHARS for text in texts.values())
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
