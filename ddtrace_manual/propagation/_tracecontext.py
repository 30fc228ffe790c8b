"""W3C Trace Context: `traceparent` and `tracestate`.

Source: spec/propagation.md §5; https://www.w3.org/TR/trace-context/.

Deliberate choices where other tracers differ: any two flag digits are accepted and only sampled
and random are used; an empty tail after the flags is invalid; two `traceparent` headers are invalid; a contradiction of
flag and `s` resets or removes the decision maker; a browser (`o:rum`) without `s` has not decided.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import TraceState

from ddtrace_manual._base import tags as _tags
from ddtrace_manual._base.ids import MASK_64
from ddtrace_manual._model import (
    AUTO_KEEP,
    AUTO_REJECT,
    MECHANISM_DEFAULT,
    RANDOM_FLAG,
    PropagationState,
    RemoteContext,
)

from . import _probability
from ._settings import TRACECONTEXT
from ._tracestate import DatadogMember, MemberList, format_dd, format_list, parse_dd, parse_list
from ._values import BLANKS, is_printable, is_trace_id_high

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = [
    "FIELDS",
    "build",
    "complete_same_span",
    "display_trace_state",
    "extract",
    "format_tracestate",
    "inject",
    "parse_traceparent",
]

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

FIELDS: Final = (TRACEPARENT, TRACESTATE)

_TRACEPARENT = re.compile("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[^,]+)?")
_FLAGS = frozenset(f"{flags:02x}" for flags in range(256))
_RANDOM_DIGITS = frozenset("2367abef")
_FLAG_TEXTS = {(kept, random): f"{kept | random << 1:02x}" for kept in (False, True) for random in (False, True)}
_USUAL_LENGTH = len("00-") + 32 + len("-") + 16 + len("-01")
_RUM = "rum"
_DEFAULT_DECISION = f"-{MECHANISM_DEFAULT}"


def parse_traceparent(text: str) -> tuple[int, int, int] | None:
    """Return trace id, span id and flags, or `None` when the header is invalid.

    Source: spec/propagation.md §5.1.
    """
    match = _TRACEPARENT.fullmatch(text.strip(BLANKS))
    if match is None:
        return None
    version, trace_hex, span_hex, flags, tail = match.groups()
    if version == "ff" or (tail and version == "00"):
        return None
    trace_id = int(trace_hex, 16)
    span_id = int(span_hex, 16)
    if not (trace_id and span_id):
        return None
    return trace_id, span_id, int(flags, 16)


def extract(headers: Mapping[str, str]) -> RemoteContext | None:
    """Return the context of the headers, or `None` without a valid `traceparent`."""
    text = headers.get(TRACEPARENT)
    if text is None:
        return None
    ids = parse_traceparent(text)
    if ids is None:
        return None
    return build(*ids, headers.get(TRACESTATE))


def complete_same_span(primary: RemoteContext, headers: Mapping[str, str]) -> bool:
    """Complete a context from W3C headers that name the very same span; return whether they do.

    Almost every hop between Datadog tracers carries both families with equal ids; comparing texts is
    cheaper than parsing, and of the tracestate only the other vendors matter then (§11.2 item 2).
    """
    text = headers.get(TRACEPARENT)
    if text is None or len(text) != _USUAL_LENGTH or not primary.span_id:
        return False
    if text[:-2] != f"00-{primary.trace_id:032x}-{primary.span_id:016x}-" or text[-2:] not in _FLAGS:
        return False
    if text[-1] in _RANDOM_DIGITS:
        primary.is_random = True
    tracestate = headers.get(TRACESTATE)
    listed = parse_list(tracestate) if tracestate else None
    if listed is not None:
        primary.members = listed.members
        primary.ot = listed.ot
    return True


def build(trace_id: int, span_id: int, flags: int, tracestate: str | None) -> RemoteContext:
    """Return the context that ids, flags and a tracestate describe.

    Source: spec/propagation.md §5.2-§5.5.
    """
    remote = RemoteContext(trace_id, span_id, style=TRACECONTEXT, flags=flags, span_is_datadog=False)
    if flags & RANDOM_FLAG:
        remote.is_random = True
    listed = parse_list(tracestate) if tracestate else None
    if listed is None:
        remote.priority = AUTO_KEEP if flags & 1 else AUTO_REJECT
        return remote
    _take(remote, listed, parse_dd(listed.dd or ""), sampled=bool(flags & 1))
    return remote


def _take(remote: RemoteContext, listed: MemberList, dd: DatadogMember, *, sampled: bool) -> None:
    """Take over what the list says."""
    remote.members = listed.members
    remote.ot = listed.ot
    remote.origin = dd.origin
    remote.parent_tag = dd.last_span
    remote.propagation_error = dd.error
    tags = dd.tags
    if dd.priority is None and dd.origin == _RUM:
        remote.priority = None
    elif dd.priority is not None and (dd.priority > 0) == sampled:
        remote.priority = dd.priority
    elif sampled:
        remote.priority = AUTO_KEEP
        tags[_tags.DECISION_MAKER] = _DEFAULT_DECISION
    else:
        remote.priority = AUTO_REJECT
        tags.pop(_tags.DECISION_MAKER, None)
    if tags:
        remote.tags = tags
    high = remote.trace_id >> 64
    if dd.tid is not None and dd.tid != f"{high:016x}":
        kind = "inconsistent_tid" if is_trace_id_high(dd.tid) else "malformed_tid"
        remote.propagation_error = f"{kind} {dd.tid}"


def inject(
    trace_id: int,
    span_id: int,
    state: PropagationState,
    headers: MutableMapping[str, str],
    *,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write both headers.

    Args:
        trace_id: 128-bit, not 0.
        span_id: Not 0.
        state: State of the local trace, or the `RemoteContext` that is sent on as it is.
        headers: Receives lower-case names.
        tags: Tags to send; not changed.

    Source: spec/propagation.md §5.1, §5.6.
    """
    priority = state.priority
    span_hex = f"{span_id:016x}"
    flags = _FLAG_TEXTS[priority is not None and priority > 0, state.is_random]
    headers[TRACEPARENT] = f"00-{trace_id:032x}-{span_hex}-{flags}"
    ot = _probability.items_to_send(state, trace_id)
    if ot is not state.ot and not state.threshold_cleared:
        # Sent, so it is known elsewhere: a later manual decision keeps `rv` (§6.3).
        state.ot = ot
    last_span = _last_span(state, span_hex) if isinstance(state, RemoteContext) else span_hex
    text = format_list(format_dd(state, tags, last_span), ot, state.members)
    if text:
        headers[TRACESTATE] = text


def _last_span(remote: RemoteContext, span_hex: str) -> str | None:
    """Return `p` of a context that is sent on as it is: only a known Datadog span may be named (§5.6 item 3)."""
    tag = remote.parent_tag
    if tag:
        return tag if is_printable(tag) and not {",", ";", "="} & set(tag) else None
    return span_hex if remote.span_is_datadog else None


def format_tracestate(state: PropagationState, trace_id: int, span_id: int) -> str:
    """Return what `tracestate` would say now, "" for nothing; the state is not changed."""
    span_hex = f"{span_id:016x}"
    last_span = _last_span(state, span_hex) if isinstance(state, RemoteContext) else span_hex
    dd = format_dd(state, state.tags and dict(state.tags), last_span)
    return format_list(dd, _probability.items_to_send(state, trace_id), state.members)


def display_trace_state(state: PropagationState, span_id: int) -> TraceState:
    """Return the trace state that OpenTelemetry code sees: `dd` with its present content first, then the others.

    OpenTelemetry's own constructors drop legal foreign members, so its mapping is filled directly; headers
    are never built from the result.

    Source: spec/propagation.md §14.3.
    """
    trace_id = getattr(state, "trace_id", 0)
    shown = TraceState()
    text = format_tracestate(state, trace_id & (MASK_64 << 64 | MASK_64), span_id)
    if text:
        for member in text.split(","):
            key, _, value = member.partition("=")
            shown._dict[key] = value
    return shown
