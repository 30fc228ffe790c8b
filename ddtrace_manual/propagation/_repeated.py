"""What repeated injections into one local trace share: all but the span id.

A trace that calls several services writes nearly the same headers each time. After the first injection
the parts are kept on the trace's state, together with everything they were made from; they are used
again while all of that still holds (bench: inject).

Only for the usual pair of styles, `datadog` and `tracecontext`, and only for local traces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _datadog, _tracecontext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtrace_manual._model import PropagationState

__all__ = ["RepeatedHeaders"]

_Parts = tuple[dict[str, str], str, str, str, str]

_SPAN_BEGINS = len("00-") + 32 + len("-")
_SPAN_ENDS = _SPAN_BEGINS + 16


class RepeatedHeaders:
    """Headers of one local trace, to be written again for another of its spans.

    Two threads may use it at once: what is prepared late is the same whoever prepares it.

    Args:
        state: What the headers were made from.
        tags: A copy of its tags, which nobody changes.
        span_id: The span they were written for.
        headers: As written; copied.
    """

    __slots__ = (
        "_cleared",
        "_headers",
        "_members",
        "_origin",
        "_ot",
        "_parts",
        "_priority",
        "_probability",
        "_random",
        "_span_id",
        "_tags",
        "_unknown",
    )

    def __init__(
        self,
        state: PropagationState,
        tags: Mapping[str, str] | None,
        span_id: int,
        headers: dict[str, str],
    ) -> None:
        self._priority = state.priority
        self._tags = tags
        self._ot = state.ot
        self._probability = state.probability
        self._cleared = state.threshold_cleared
        self._unknown = state.probability_unknown
        self._random = state.is_random
        self._members = state.members
        self._origin = state.origin
        self._span_id = span_id
        self._headers = headers.copy()
        # Prepared when it is needed first: many traces inject once.
        self._parts: _Parts | None = None

    def write(self, state: PropagationState, span_id: int, headers: dict[str, str]) -> bool:
        """Add the headers of a span; return whether they could be, which is not so once the state has changed."""
        if (
            state.priority != self._priority
            or state.tags != self._tags
            or state.ot is not self._ot
            or state.probability is not self._probability
            or state.threshold_cleared is not self._cleared
            or state.probability_unknown is not self._unknown
            or state.is_random is not self._random
            or state.members is not self._members
            or state.origin != self._origin
        ):
            return False
        parts = self._parts
        if parts is None:
            parts = self._parts = _prepare(self._headers, self._span_id)
        fixed, trace, flags, before, after = parts
        if not before:
            return False
        span_hex = f"{span_id:016x}"
        headers.update(fixed)
        headers[_datadog.PARENT_ID] = str(span_id)
        headers[_tracecontext.TRACEPARENT] = f"{trace}{span_hex}{flags}"
        headers[_tracecontext.TRACESTATE] = f"{before}{span_hex}{after}"
        return True


def _prepare(headers: Mapping[str, str], span_id: int) -> _Parts:
    """Return the headers without the span id; the tracestate before it is "" where the id cannot be told apart."""
    fixed = {name: headers[name] for name in _datadog.FIELDS if name in headers}
    traceparent = headers.get(_tracecontext.TRACEPARENT, "")
    place = f"p:{span_id:016x}"
    before, mark, after = headers.get(_tracecontext.TRACESTATE, "").partition(place)
    if not (mark and fixed and traceparent) or place in after:
        return fixed, "", "", "", ""
    return fixed, traceparent[:_SPAN_BEGINS], traceparent[_SPAN_ENDS:], f"{before}p:", after
