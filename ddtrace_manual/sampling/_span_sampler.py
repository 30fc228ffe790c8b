"""Single span sampling: keep chosen spans of traces that are dropped.

Source: spec/sampling.md §14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddtrace_manual._base.clock import SYSTEM_CLOCK, Clock
from ddtrace_manual._base.tags import SPAN_SAMPLING_MAX_PER_S, SPAN_SAMPLING_MECHANISM, SPAN_SAMPLING_RATE
from ddtrace_manual._model import MECHANISM_SPAN_RULE, DDSpan

from ._globs import Glob
from ._limiter import RateLimiter
from ._rates import Rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._rules import SpanSamplingRule

__all__ = ["SpanSampler"]

_MATCHES_MAX: Final = 1024
_MATCH_CHARS_MAX: Final = 1_000


class SpanSampler:
    """Marks single spans of dropped traces with the metrics that make the Agent keep them.

    Used by one thread at a time (the export worker).

    Args:
        rules: In order; the first one that matches a span decides, even against it.
        clock: Source of monotonic time for the limits of the rules.
    """

    def __init__(self, rules: Iterable[SpanSamplingRule] = (), clock: Clock = SYSTEM_CLOCK) -> None:
        self._rules = tuple(_CompiledSpanRule(rule, clock) for rule in rules)
        # Which rule a (service, name) belongs to; emptied when full, since names may be unbounded.
        self._matches: dict[tuple[str, str], _CompiledSpanRule | None] = {}

    def sample(self, chunk: Sequence[DDSpan], priority: int | None) -> None:
        """Mark the chosen spans of a chunk; does nothing when its trace is kept or undecided.

        Args:
            chunk: Spans in the order in which they ask the limits.
            priority: Sampling priority of the trace.
        """
        if not self._rules or priority is None or priority > 0:
            return
        for span in chunk:
            rule = self._rule_for(span["service"], span["name"])
            if rule is not None and rule.rate.keeps(span["span_id"]) and rule.admits():
                rule.mark(span)

    def _rule_for(self, service: str, name: str) -> _CompiledSpanRule | None:
        key = (service, name)
        try:
            return self._matches[key]
        except KeyError:
            found = next((rule for rule in self._rules if rule.matches(service, name)), None)
        if len(service) + len(name) > _MATCH_CHARS_MAX:
            return found
        if len(self._matches) >= _MATCHES_MAX:
            self._matches.clear()
        self._matches[key] = found
        return found


class _CompiledSpanRule:
    """A span rule made ready for matching, with its own limiter."""

    __slots__ = ("_max_per_s", "_name", "_service", "limiter", "rate")

    def __init__(self, rule: SpanSamplingRule, clock: Clock) -> None:
        self.rate = Rate(rule.sample_rate)
        self._max_per_s = rule.max_per_second
        self.limiter = None if self._max_per_s is None else RateLimiter(self._max_per_s, clock)
        self._service = None if rule.service is None else Glob(rule.service)
        self._name = None if rule.name is None else Glob(rule.name)

    def matches(self, service: str, name: str) -> bool:
        return (self._service is None or self._service.matches(service)) and (
            self._name is None or self._name.matches(name)
        )

    def admits(self) -> bool:
        return self.limiter is None or self.limiter.allow()

    def mark(self, span: DDSpan) -> None:
        metrics = span["metrics"]
        metrics[SPAN_SAMPLING_MECHANISM] = MECHANISM_SPAN_RULE
        metrics[SPAN_SAMPLING_RATE] = self.rate.value
        if self._max_per_s is not None:
            metrics[SPAN_SAMPLING_MAX_PER_S] = self._max_per_s
