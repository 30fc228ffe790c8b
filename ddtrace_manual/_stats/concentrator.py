"""Counts spans in time buckets, with bounds on how many different groups a bucket may hold.

Source: spec/client-stats.md §4, §5.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._base.clock import SYSTEM_CLOCK, Clock
from ddtrace_manual._encoding.sketch import LatencySketch
from ddtrace_manual._encoding.wire_text import bounded_text

from .aggregation import (
    BLOCKED,
    BLOCKED_ADDITIONAL_TAGS,
    BLOCKED_PEER_TAGS,
    OVERFLOW_KEY,
    AggregationKey,
    AggregationRules,
    PlainKey,
    count_as,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ddtrace_manual._encoding.encoded_chunk import CountedSpan, StatsShape
    from ddtrace_manual._model import DDSpan

__all__ = ["BUCKET_NS", "Bucket", "CardinalityLimits", "Concentrator", "Group"]

BUCKET_NS: Final = 10_000_000_000
_TEXT_MAX: Final = 5_000
_SHAPES_MAX: Final = 4_000
_BUCKETS_MAX: Final = 64  # normally three or four; more only when spans end in the future


@dataclass(frozen=True, slots=True)
class CardinalityLimits:
    """Most different values in one bucket; what comes later is counted under `tracer_blocked_value`.

    0 lets no value of its kind in; a limit of a field that reaches `keys` never takes effect.

    Source: spec/client-stats.md §5.
    """

    keys: int = 7000
    resources: int = 1024
    http_endpoints: int = 512
    peer_tags: int = 512
    additional_tags: int = 100


class Group:
    """The counters of one aggregation key in one bucket.

    Attributes:
        hits: Spans.
        errors: Spans with an error.
        top_level_hits: Top-level spans.
        duration_ns: Sum of all durations.
        ok: Durations of spans without error; `None` while there are none.
        error: Durations of spans with error; `None` while there are none.
    """

    __slots__ = ("duration_ns", "error", "errors", "hits", "ok", "top_level_hits")

    def __init__(self) -> None:
        self.hits = 0
        self.errors = 0
        self.top_level_hits = 0
        self.duration_ns = 0
        self.ok: LatencySketch | None = None
        self.error: LatencySketch | None = None


class Bucket:
    """All groups of spans that ended within one span of time.

    Attributes:
        start_ns: Begin, Unix nanoseconds, a multiple of the length.
        groups: Counters by aggregation key.
        by_shape: Some of them by the shape of the spans they count, which is quicker to look up.
    """

    __slots__ = ("_additional_tags", "_http_endpoints", "_peer_tags", "_resources", "by_shape", "groups", "start_ns")

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.groups: dict[PlainKey, Group] = {}
        self.by_shape: dict[StatsShape, Group] = {}
        self._resources: set[object] = set()
        self._http_endpoints: set[object] = set()
        self._peer_tags: set[object] = set()
        self._additional_tags: set[object] = set()

    def admit(self, plain_key: PlainKey, limits: CardinalityLimits, collapsed: dict[str, int]) -> Group:
        """Return the group for a key that has none yet, which may be another key's.

        First each limited field, then the whole key: so a flood of one field does not push out the others.
        """
        key = AggregationKey(*map(_bounded, plain_key))
        changes: dict[str, object] = {}
        if not _fits(self._resources, key.resource_name, limits.resources):
            changes["resource_name"] = BLOCKED
            _count(collapsed, "resource")
        if not _fits(self._http_endpoints, key.http_endpoint, limits.http_endpoints):
            changes["http_endpoint"] = BLOCKED
            _count(collapsed, "http_endpoint")
        if not _fits(self._peer_tags, key.peer_tags, limits.peer_tags):
            changes["peer_tags"] = BLOCKED_PEER_TAGS
            _count(collapsed, "peer_tags")
        if not _fits(self._additional_tags, key.additional_tags, limits.additional_tags):
            changes["additional_tags"] = BLOCKED_ADDITIONAL_TAGS
            _count(collapsed, "additional_metric_tags")
        if changes:
            key = key._replace(**changes)  # type: ignore[arg-type]
        group = self.groups.get(key)
        if group is None and len(self.groups) >= limits.keys:
            _count(collapsed, "whole_key")
            key = OVERFLOW_KEY
            group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group()
        return group


class Concentrator:
    """Aggregates the finished spans of the process until they are flushed.

    Thread-safe. `add_chunk` runs on the export worker.

    Args:
        rules: Which spans count and how they are grouped.
        limits: Bounds per bucket.
        clock: Source of wall time.
        bucket_ns: Length of a bucket in nanoseconds.
        new_sketch: Makes an empty sketch.
    """

    def __init__(
        self,
        rules: AggregationRules | None = None,
        limits: CardinalityLimits | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        bucket_ns: int = BUCKET_NS,
        new_sketch: Callable[[], LatencySketch] = LatencySketch,
    ) -> None:
        self.rules = rules if rules is not None else AggregationRules()
        """Replace it to follow a changed `/info`; takes effect with the next chunk."""
        self.bucket_ns = bucket_ns
        self._limits = limits if limits is not None else CardinalityLimits()
        self._clock = clock
        self._new_sketch = new_sketch
        self._lock = threading.Lock()  # guards everything below
        self._buckets: dict[int, Bucket] = {}
        self._oldest_ns = self._align(clock.wall_ns())
        self._collapsed: dict[str, int] = {}

    def add_chunk(self, chunk: Sequence[DDSpan]) -> None:
        """Count the eligible spans of a chunk; call it before anything of the chunk is dropped."""
        rules = self.rules
        kinds = rules.span_kinds
        with self._lock:
            for span in chunk:
                top_level = count_as(span, kinds)
                if top_level is not None:
                    duration = span["duration"]
                    is_error = bool(span.get("error"))
                    self._add(rules.key(span, top_level), top_level, span["start"] + duration, duration, is_error)

    def add_counted(self, counted: Iterable[CountedSpan]) -> None:
        """Count spans of known shapes: for each shape it is found once whether and where it counts."""
        rules = self.rules
        begin, end, bucket = 0, 0, Bucket(0)
        with self._lock:
            for shape, end_ns, duration in counted:
                if shape.rules is not rules:
                    rules.settle(shape)
                    for each in self._buckets.values():
                        each.by_shape.pop(shape, None)
                top_level = shape.top_level
                if top_level is None:
                    continue
                # As `_add`, but the group is found by the shape, and most spans end in one bucket (bench: ten-span).
                if not begin <= end_ns < end:
                    bucket = self._bucket_of(end_ns)
                    begin = end_ns - end_ns % self.bucket_ns
                    end = begin + self.bucket_ns
                group = bucket.by_shape.get(shape)
                if group is None:
                    group = self._group_of(bucket, shape.key)
                    # Under a blocked value every span is counted as such.
                    if shape.recurs and shape.key in bucket.groups and len(bucket.by_shape) < _SHAPES_MAX:
                        bucket.by_shape[shape] = group
                group.hits += 1
                group.duration_ns += duration
                if top_level:
                    group.top_level_hits += 1
                (group.ok or self._add_sketch(group)).add(duration)

    def flush(self, *, force: bool = False) -> list[Bucket]:
        """Take out the buckets that are closed, or all of them, oldest first.

        Args:
            force: The open buckets too; spans that end in them later make buckets with the same start.
        """
        with self._lock:
            now = self._clock.wall_ns()
            current = self._align(now)
            limit = None if force else now - 2 * self.bucket_ns
            starts = sorted(start for start in self._buckets if limit is None or start <= limit)
            taken = [self._buckets[start] for start in starts]
            for start in starts:
                del self._buckets[start]
            self._oldest_ns = current if force else current - self.bucket_ns
            return taken

    def has_buckets(self) -> bool:
        """Return whether any bucket holds counts."""
        return bool(self._buckets)

    def take_collapsed(self) -> dict[str, int]:
        """Return, and forget, how many spans were counted under a blocked value, by kind of limit."""
        with self._lock:
            taken, self._collapsed = self._collapsed, {}
            return taken

    def _add(
        self,
        key: PlainKey,
        top_level: bool,  # once per span
        end_ns: int,
        duration: int,
        is_error: bool = False,  # likewise
    ) -> None:
        group = self._group_of(self._bucket_of(end_ns), key)
        group.hits += 1
        group.duration_ns += duration
        if top_level:
            group.top_level_hits += 1
        if is_error:
            group.errors += 1
            if group.error is None:
                group.error = self._new_sketch()
            group.error.add(duration)
        else:
            (group.ok or self._add_sketch(group)).add(duration)

    def _add_sketch(self, group: Group) -> LatencySketch:
        group.ok = sketch = self._new_sketch()
        return sketch

    def _bucket_of(self, end_ns: int) -> Bucket:
        start = end_ns - end_ns % self.bucket_ns
        if start < self._oldest_ns:  # noqa: PLR1730 - `max` is a call (bench: ten-span)
            start = self._oldest_ns
        return self._buckets.get(start) or self._new_bucket(start)

    def _group_of(self, bucket: Bucket, key: PlainKey) -> Group:
        return bucket.groups.get(key) or bucket.admit(key, self._limits, self._collapsed)

    def _new_bucket(self, start_ns: int) -> Bucket:
        if len(self._buckets) >= _BUCKETS_MAX:
            start_ns = self._oldest_ns
        return self._buckets.setdefault(start_ns, Bucket(start_ns))

    def _align(self, time_ns: int) -> int:
        return time_ns - time_ns % self.bucket_ns


def _bounded(value: object) -> Any:  # Any: a field of AggregationKey
    """Return a field of a key with its texts cut: the Agent would do so, and here they stay for twenty seconds."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT_MAX else bounded_text(value)[:_TEXT_MAX]
    return tuple(map(_bounded, value)) if isinstance(value, tuple) else value


def _fits(seen: set[object], value: object, limit: int) -> bool:
    """Return whether the limit of a bucket allows a value, and remember it. A missing value is always allowed."""
    if not value or value in seen:
        return True
    if len(seen) >= limit:
        return False
    seen.add(value)
    return True


def _count(counts: dict[str, int], kind: str) -> None:
    counts[kind] = counts.get(kind, 0) + 1
