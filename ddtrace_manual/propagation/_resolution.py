"""What becomes of several contexts found in one carrier: one primary context and links.

Pure functions. Source: spec/propagation.md §11.2, §11.5, §15.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddtrace_manual._base import tags
from ddtrace_manual._model import LinkRecord, RemoteContext

from . import _probability
from ._settings import DATADOG, TRACECONTEXT, PropagationSettings
from ._tracecontext import TRACESTATE
from ._tracestate import MAX_DD_LENGTH, format_list, parse_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["distrust", "is_trusted", "organisation_marker", "resolve", "restart"]

_TERMINATED: Final = "terminated_context"
_RESTARTED: Final = "propagation_behavior_extract"


def resolve(found: Sequence[RemoteContext], headers: Mapping[str, str]) -> RemoteContext:
    """Return the first context, completed by the later ones of the same trace and linked to those of others.

    Source: spec/propagation.md §11.2.
    """
    primary = found[0]
    datadog = next((each for each in found if each.style == DATADOG and each.trace_id == primary.trace_id), None)
    links = []
    for later in found[1:]:
        if later.trace_id != primary.trace_id:
            if later.span_id:
                links.append(_link(later, _TERMINATED, headers))
        elif later.style == TRACECONTEXT:
            _complete(primary, later, datadog)
    if links:
        primary.links = tuple(links)
    return primary


def _complete(primary: RemoteContext, w3c: RemoteContext, datadog: RemoteContext | None) -> None:
    """Take the list of vendors, and the nearer parent, from the W3C context of the same trace."""
    primary.members = w3c.members
    primary.ot = w3c.ot
    primary.is_random = w3c.is_random
    if w3c.span_id == primary.span_id:
        return
    if w3c.parent_tag is not None:
        primary.parent_tag = w3c.parent_tag
    elif datadog is not None and datadog.span_id:
        primary.parent_tag = f"{datadog.span_id:016x}"
    primary.span_id = w3c.span_id
    primary.span_is_datadog = False


def _link(remote: RemoteContext, reason: str, headers: Mapping[str, str]) -> LinkRecord:
    sent = headers.get(TRACESTATE) if remote.style == TRACECONTEXT else None
    return LinkRecord(
        remote.trace_id,
        remote.span_id,
        {"reason": reason, "context_headers": remote.style},
        _as_received(sent) if sent else "",
        1 if remote.priority is not None and remote.priority > 0 else 0,
    )


def _as_received(tracestate: str) -> str:
    """Return the list of the linked span: what its sender said, not what was concluded from it."""
    listed = parse_list(tracestate)
    if listed is None:
        return ""
    dd = listed.dd or ""
    return format_list(dd if len(dd) <= MAX_DD_LENGTH else "", listed.ot, listed.members)


def restart(primary: RemoteContext, headers: Mapping[str, str]) -> RemoteContext:
    """Return an empty context whose only link is the primary one: a new trace begins.

    Source: spec/propagation.md §11.5.
    """
    fresh = RemoteContext()
    if primary.trace_id and primary.span_id:
        fresh.links = (_link(primary, _RESTARTED, headers),)
    return fresh


def organisation_marker(found: Sequence[RemoteContext]) -> str | None:
    """Return the inbound marker: the primary's, else that of the W3C context of the same trace (§15)."""
    primary = found[0]
    for each in found:
        if each is primary or (each.style == TRACECONTEXT and each.trace_id == primary.trace_id):
            marker = each.tags.get(tags.ORG_MARKER) if each.tags else None
            if marker:
                return marker
    return None


def is_trusted(marker: str | None, local: str, settings: PropagationSettings) -> bool:
    """Whether decisions and tags that came with this marker may act here (§15)."""
    if marker is None:
        return not settings.org_guard_strict
    return marker == local or marker in settings.org_guard_trusted


def distrust(remote: RemoteContext) -> None:
    """Keep ids, links and other vendors; drop what another organisation decided (§15)."""
    remote.priority = None
    remote.flags = None
    remote.origin = None
    remote.tags = None
    remote.parent_tag = None
    remote.ot = _probability.drop_threshold(remote.ot)
