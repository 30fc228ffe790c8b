"""What the Agent says about itself, and which optional features follow from it.

Source: spec/trace-export.md §9; spec/client-stats.md §1.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual.exceptions import AgentResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_SPAN_KINDS", "AgentInfo", "Features", "choose_features", "parse_info", "stats_supported"]

DEFAULT_SPAN_KINDS: Final = ("client", "server", "producer", "consumer")
"""Span kinds that get statistics when the Agent names none."""
_STATS_VERSION: Final = (7, 65, 0)
_VERSION: Final = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """The answer to `/info`; a field the Agent left out, or filled with rubbish, has its default."""

    version: str = ""
    endpoints: frozenset[str] = frozenset()
    client_drop_p0s: bool = False
    span_events: bool = False
    peer_tags: tuple[str, ...] = ()
    span_kinds_stats_computed: tuple[str, ...] = ()
    filter_tags_require: tuple[str, ...] = ()
    filter_tags_reject: tuple[str, ...] = ()
    filter_tags_regex_require: tuple[str, ...] = ()
    filter_tags_regex_reject: tuple[str, ...] = ()
    ignore_resources: tuple[str, ...] = ()
    statsd_port: int = 0
    org_prop_marker: str = ""
    container_tags_hash: str = ""
    """Response header `Datadog-Container-Tags-Hash`."""
    state_hash: str = ""
    """Lower-case hexadecimal SHA-256 of the body; "" when there was none."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the tracer does with this Agent."""

    trace_version: str = "v0.4"
    """Format of trace payloads."""
    native_events: bool = False
    """Span events are sent as such, not as text."""
    stats: bool = False
    """Client-side statistics are on, and with them trace filters and the dropping of unsampled traces."""
    peer_tags: tuple[str, ...] = ()
    span_kinds: tuple[str, ...] = DEFAULT_SPAN_KINDS
    """In lower case."""


def parse_info(body: bytes, headers: Mapping[str, str] | None = None) -> AgentInfo:
    """Read the answer to `/info`.

    Args:
        body: JSON text.
        headers: Fields of the answer; names in any case if the mapping allows it.

    Raises:
        AgentResponseError: The body is not a JSON object.
    """
    try:
        document: Any = json.loads(body)  # Any: nothing is known about the answer yet
    except (ValueError, RecursionError) as exc:
        raise AgentResponseError("/info is not JSON", 200) from exc
    if not isinstance(document, dict):
        raise AgentResponseError("/info is not a JSON object", 200)
    config = _mapping(document.get("config"))
    filter_tags = _mapping(document.get("filter_tags"))
    filter_tags_regex = _mapping(document.get("filter_tags_regex"))
    return AgentInfo(
        version=_text(document.get("version")),
        endpoints=frozenset(_texts(document.get("endpoints"))),
        client_drop_p0s=document.get("client_drop_p0s") is True,
        span_events=document.get("span_events") is True,
        peer_tags=_texts(document.get("peer_tags")),
        span_kinds_stats_computed=_texts(document.get("span_kinds_stats_computed")),
        filter_tags_require=_texts(filter_tags.get("require")),
        filter_tags_reject=_texts(filter_tags.get("reject")),
        filter_tags_regex_require=_texts(filter_tags_regex.get("require")),
        filter_tags_regex_reject=_texts(filter_tags_regex.get("reject")),
        ignore_resources=_texts(document.get("ignore_resources")),
        statsd_port=_number(config.get("statsd_port")),
        org_prop_marker=_text(document.get("org_prop_marker")),
        container_tags_hash=(headers or {}).get("Datadog-Container-Tags-Hash", ""),
        state_hash=hashlib.sha256(body).hexdigest(),
    )


def stats_supported(info: AgentInfo, *, ignore_agent_version: bool = False) -> bool:
    """Return whether this Agent may be sent client-side statistics.

    Source: spec/client-stats.md §1.
    """
    if not info.client_drop_p0s or "/v0.6/stats" not in info.endpoints:
        return False
    if ignore_agent_version:
        return True
    match = _VERSION.match(info.version.strip())
    return match is not None and tuple(int(part) for part in match.groups()) >= _STATS_VERSION


def choose_features(
    info: AgentInfo | None,
    *,
    trace_version: str = "v0.4",
    native_events: bool | None = None,
    stats_enabled: bool = True,
    ignore_agent_version: bool = False,
) -> Features:
    """Decide what to do with an Agent.

    Args:
        info: `None` as long as nothing is known about it.
        trace_version: The configured one: `v0.4`, `v0.5` or `v1.0`; the last needs an Agent that lists it.
        native_events: Configured; `None` = as the Agent can. Never on `v0.5`.
        stats_enabled: Whether client-side statistics are configured.
        ignore_agent_version: Statistics also with Agents that are too old or of unknown version.
    """
    if trace_version == "v1.0" and (info is None or "/v1.0/traces" not in info.endpoints):
        trace_version = "v0.4"
    known = info if info is not None else AgentInfo()
    wants_events = native_events if native_events is not None else known.span_events
    return Features(
        trace_version=trace_version,
        native_events=wants_events and trace_version != "v0.5",
        stats=stats_enabled and stats_supported(known, ignore_agent_version=ignore_agent_version),
        peer_tags=known.peer_tags,
        span_kinds=tuple(kind.lower() for kind in known.span_kinds_stats_computed) or DEFAULT_SPAN_KINDS,
    )


def _text(value: Any) -> str:  # Any: a JSON value, here and below
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _number(value: Any) -> int:
    return value if type(value) is int else 0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
