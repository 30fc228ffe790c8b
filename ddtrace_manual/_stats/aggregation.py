"""Which spans count, and what is equal for statistics: pure rules, no state.

Source: spec/client-stats.md §2, §3, §5 (the overflow row).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from ddtrace_manual._agent.info import DEFAULT_SPAN_KINDS
from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._base.tags import (
    BASE_SERVICE,
    LIBRARY_TOP_LEVEL,
    MEASURED,
    ORIGIN,
    SERVICE_SOURCE,
    SPAN_KIND,
    TOP_LEVEL,
)

from .addresses import quantize_addresses
from .grpc_status import GRPC_STATUS_KEYS, grpc_status_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ddtrace_manual._encoding.encoded_chunk import StatsShape
    from ddtrace_manual._model import DDSpan

__all__ = [
    "ADDITIONAL_TAGS_MAX",
    "BLOCKED",
    "BLOCKED_ADDITIONAL_TAGS",
    "BLOCKED_PEER_TAGS",
    "NOT_SET",
    "OVERFLOW_KEY",
    "TRACE_ROOT",
    "AggregationKey",
    "AggregationRules",
    "PlainKey",
    "count_as",
]

_log = RateLimitedLogger(get_logger("stats"))

ADDITIONAL_TAGS_MAX: Final = 4
BLOCKED: Final = "tracer_blocked_value"
BLOCKED_PEER_TAGS: Final = (BLOCKED,)
BLOCKED_ADDITIONAL_TAGS: Final = (f"{BLOCKED}:",)

# Values of IsTraceRoot.
NOT_SET: Final = 0
TRACE_ROOT: Final = 1
NOT_TRACE_ROOT: Final = 2

_INTERNAL: Final = "internal"  # never counts by itself, whatever the Agent lists
_PARTIAL_VERSION: Final = "_dd.partial_version"
_PEER_KINDS: Final = frozenset(("client", "producer", "consumer"))
_OTHER_KINDS: Final = frozenset(("", "internal", "server"))
_ADDITIONAL_VALUE_MAX: Final = 200  # characters
_STATUS_MAX: Final = 0xFFFFFFFF
_STATUS_DIGITS_MAX: Final = 10

_HTTP_STATUS: Final = "http.status_code"
_HTTP_METHOD: Final = "http.method"
_HTTP_ENDPOINT: Final = "http.endpoint"
_HTTP_ROUTE: Final = "http.route"
_GRPC_KEYS: Final = frozenset(GRPC_STATUS_KEYS)
# Keys that most spans have none of: one look for all of them saves a dozen.
_RARE_META: Final = _GRPC_KEYS | {_HTTP_STATUS, _HTTP_METHOD, _HTTP_ENDPOINT, _HTTP_ROUTE, ORIGIN, SERVICE_SOURCE}
_RARE_METRICS: Final = _GRPC_KEYS | {_HTTP_STATUS}


class AggregationKey(NamedTuple):
    """What spans of one statistics group have in common.

    The aggregation itself works on plain tuples of this shape, which cost less to make.
    """

    service: str
    operation_name: str
    resource_name: str
    span_type: str
    http_status: int
    grpc_status: str
    synthetics: bool
    span_kind: str
    trace_root: int
    http_method: str
    http_endpoint: str
    service_source: str
    peer_tags: tuple[str, ...]
    additional_tags: tuple[str, ...]
    top_level: bool | None
    """Part of the key only for the OTLP export (spec/client-stats.md §10), else `None`."""


PlainKey: TypeAlias = tuple[
    str, str, str, str, int, str, bool, str, int, str, str, str, tuple[str, ...], tuple[str, ...], bool | None
]
"""The fields of `AggregationKey`, in its order."""

OVERFLOW_KEY: Final = AggregationKey(
    service=BLOCKED,
    operation_name=BLOCKED,
    resource_name=BLOCKED,
    span_type=BLOCKED,
    http_status=0,
    grpc_status="",
    synthetics=False,
    span_kind=BLOCKED,
    trace_root=NOT_SET,
    http_method=BLOCKED,
    http_endpoint=BLOCKED,
    service_source=BLOCKED,
    peer_tags=BLOCKED_PEER_TAGS,
    additional_tags=BLOCKED_ADDITIONAL_TAGS,
    top_level=None,
)
"""The row for spans whose key no longer fits into a bucket."""


def count_as(span: DDSpan, span_kinds: frozenset[str]) -> bool | None:
    """Return whether a finished span counts: `None` not at all, `True` as top level, `False` otherwise.

    Top level is what is marked so, by us or by another library. One function for both questions,
    since it runs for every span and most answers are `None`.

    Args:
        span: As it is sent.
        span_kinds: Kinds that count by themselves, lower case.

    Source: spec/client-stats.md §2.
    """
    metrics = span["metrics"]
    # Most spans have none of the three marks: looking for keys first costs half (bench: ten-span).
    is_marked = TOP_LEVEL in metrics or MEASURED in metrics or LIBRARY_TOP_LEVEL in metrics
    top_level = is_marked and (metrics.get(TOP_LEVEL) == 1 or metrics.get(LIBRARY_TOP_LEVEL) == 1)
    if not (top_level or (is_marked and metrics.get(MEASURED) == 1)):
        kind = span["meta"].get(SPAN_KIND)
        if kind is None or kind == _INTERNAL or (kind not in span_kinds and kind.lower() not in span_kinds):
            return None
    if metrics.get(_PARTIAL_VERSION, -1) >= 0:
        return None  # a snapshot of a span that is still open
    return top_level


class AggregationRules:
    """How spans are grouped; immutable. The Agent's `/info` may replace it at any time.

    Args:
        span_kinds: Kinds that count by themselves (`/info.span_kinds_stats_computed`); never `internal`.
        peer_tags: `/info.peer_tags`, in order.
        additional_tags: `DD_TRACE_STATS_ADDITIONAL_TAGS`; sorted, duplicates and all after the fourth go.
        splits_top_level: Top-level spans make groups of their own.
    """

    __slots__ = ("_additional", "_peer_keys", "_peer_tags", "_splits", "span_kinds", "telling_keys")

    def __init__(
        self,
        *,
        span_kinds: Iterable[str] = DEFAULT_SPAN_KINDS,
        peer_tags: Iterable[str] = (),
        additional_tags: Iterable[str] = (),
        splits_top_level: bool = False,
    ) -> None:
        self.span_kinds = frozenset(kind.lower() for kind in span_kinds) - {_INTERNAL}
        self._peer_tags = tuple(peer_tags)
        self._peer_keys = frozenset(self._peer_tags)
        additional = sorted(set(additional_tags))
        if len(additional) > ADDITIONAL_TAGS_MAX:
            _log.warning(
                "additional tags", "Only the first %d additional tags of statistics count", ADDITIONAL_TAGS_MAX
            )
        self._additional = tuple(additional[:ADDITIONAL_TAGS_MAX])
        self._splits = splits_top_level
        self.telling_keys = _RARE_META | self._peer_keys | frozenset(self._additional)
        """Tags that make a difference to the key of a span, besides those every span of its kind has."""

    def key(self, span: DDSpan, top_level: bool) -> PlainKey:  # once per span
        """Return the key of an eligible span, in the shape of `AggregationKey`.

        Source: spec/client-stats.md §3.
        """
        meta, metrics = span["meta"], span["metrics"]
        kind = meta.get(SPAN_KIND, "")
        status, grpc_status, synthetics = 0, "", False
        method = endpoint = source = ""
        if not (meta.keys().isdisjoint(_RARE_META) and metrics.keys().isdisjoint(_RARE_METRICS)):
            status = _http_status(meta, metrics)
            grpc_status = grpc_status_code(meta, metrics)
            synthetics = meta.get(ORIGIN, "").startswith("synthetics")
            method = meta.get(_HTTP_METHOD, "")
            endpoint = meta.get(_HTTP_ENDPOINT) or meta.get(_HTTP_ROUTE) or ""
            source = meta.get(SERVICE_SOURCE, "")
        return (
            span["service"],
            span["name"],
            span["resource"],
            span.get("type", ""),
            status,
            grpc_status,
            synthetics,
            kind,
            NOT_TRACE_ROOT if span.get("parent_id") else TRACE_ROOT,
            method,
            endpoint,
            source,
            self._peer_tags_of(meta, kind),
            _additional_tags(meta, self._additional) if self._additional else (),
            top_level if self._splits else None,
        )

    def settle(self, shape: StatsShape) -> None:
        """Find out whether, and where, spans of a shape count."""
        top_level = count_as(shape.span, self.span_kinds)
        if top_level is not None:
            shape.key = self.key(shape.span, top_level)
        shape.top_level = top_level
        shape.rules = self

    def _peer_tags_of(self, meta: Mapping[str, str], kind: str) -> tuple[str, ...]:
        if kind in _PEER_KINDS or (kind not in _OTHER_KINDS and kind.lower() in _PEER_KINDS):
            if meta.keys().isdisjoint(self._peer_keys):
                return ()
            return tuple(f"{key}:{quantize_addresses(meta[key])}" for key in self._peer_tags if key in meta)
        base_service = meta.get(BASE_SERVICE)
        return () if base_service is None else (f"{BASE_SERVICE}:{base_service}",)


def _additional_tags(meta: Mapping[str, str], keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        f"{key}:{value if len(value) <= _ADDITIONAL_VALUE_MAX else BLOCKED}" for key in keys if (value := meta.get(key))
    )


def _http_status(meta: Mapping[str, str], metrics: Mapping[str, float]) -> int:
    number = metrics.get(_HTTP_STATUS)
    if number is not None:
        return int(number) if 0 <= number <= _STATUS_MAX else 0
    text = meta.get(_HTTP_STATUS, "")
    if not (text.isascii() and text.isdigit()) or len(text) > _STATUS_DIGITS_MAX:
        return 0
    return status if (status := int(text)) <= _STATUS_MAX else 0
