"""A span as Datadog's Agent takes it."""

from __future__ import annotations

from typing import Any, TypedDict

from typing_extensions import Required

__all__ = [
    "DDSpan",
]


class DDSpan(TypedDict, total=False):
    """A Datadog span: the v0.4 map, as the mapping makes it (spec/trace-export.md §8.1).

    `service`, `name`, `resource`, `trace_id`, `span_id`, `start`, `duration`, `meta` and `metrics`
    are always there; `parent_id`, `error`, `type` and the rest only when not empty.
    `span_links` and `span_events` are in native form; encoders that need the text forms convert.
    """

    service: Required[str]
    name: Required[str]
    resource: Required[str]
    type: str
    trace_id: Required[int]
    span_id: Required[int]
    parent_id: int
    start: Required[int]
    duration: Required[int]
    error: int
    meta: Required[dict[str, str]]
    metrics: Required[dict[str, float]]
    meta_struct: dict[str, bytes]
    span_links: list[dict[str, Any]]  # Any: mixed value types, see §8.1
    span_events: list[dict[str, Any]]
