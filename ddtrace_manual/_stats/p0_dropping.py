"""Which spans of an unsampled chunk are still sent.

Only while statistics are on and the Agent supports dropping; after the spans were counted.

Source: spec/client-stats.md §8, spec/sampling.md §15.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ddtrace_manual._base.tags import ANALYTICS_RATE, SAMPLING_PRIORITY, SPAN_SAMPLING_MECHANISM
from ddtrace_manual._model import MECHANISM_SPAN_RULE, DDSpan

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Selection", "must_be_sent", "select_spans"]


class Selection(NamedTuple):
    """What is left of a chunk.

    When the chunk was reduced, its trace-level tags belong on the first span left; the caller puts
    them there.
    """

    spans: Sequence[DDSpan]
    """Spans to send, in order; the chunk itself when nothing was dropped."""
    dropped_traces: int = 0
    """1 when nothing is left (`Datadog-Client-Dropped-P0-Traces`)."""
    dropped_spans: int = 0
    """Spans not sent (`Datadog-Client-Dropped-P0-Spans`)."""


def select_spans(chunk: Sequence[DDSpan]) -> Selection:
    """Drop from a chunk what the Agent would drop too.

    Sent in full: a chunk of a kept or undecided trace, and one with an error (the Agent samples errors
    by itself). Otherwise only spans chosen by single span sampling or for analytics.
    """
    # The first span normally says it; a kept trace, the usual case, needs no second look.
    priority = chunk[0]["metrics"].get(SAMPLING_PRIORITY) if chunk else None
    if priority is not None and priority > 0:
        return Selection(chunk)
    for span in chunk:
        if span.get("error") == 1:
            return Selection(chunk)
        if priority is None:
            priority = span["metrics"].get(SAMPLING_PRIORITY)
    if priority is None or priority > 0:
        return Selection(chunk)
    kept = [span for span in chunk if _is_chosen(span)]
    if not kept:
        return Selection((), dropped_traces=1, dropped_spans=len(chunk))
    return Selection(kept, dropped_spans=len(chunk) - len(kept))


def must_be_sent(span: DDSpan) -> bool:
    """Tell whether a span keeps itself, or as an error its whole chunk, from being dropped."""
    return span.get("error") == 1 or _is_chosen(span)


def _is_chosen(span: DDSpan) -> bool:
    metrics = span["metrics"]
    return metrics.get(SPAN_SAMPLING_MECHANISM) == MECHANISM_SPAN_RULE or ANALYTICS_RATE in metrics
