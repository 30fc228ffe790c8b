"""The sampling decision of a local trace, in order.

    manual → inherited → first matching rule (+ rate limit) → Agent rate → default

Nothing is lost by it inside the process: the decision is a number, the priority, which travels in
headers and on the exported spans. It is made once, late (at the first injection or export), on the
local root as it is then.

Source: spec/sampling.md §3, §5; spec/propagation.md §6 (what `ot` is computed from).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ddtrace_manual._base.clock import SYSTEM_CLOCK, Clock
from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._base.tags import DECISION_MAKER, ENV, KNUTH_SAMPLE_RATE
from ddtrace_manual._model import (
    AUTO_KEEP,
    AUTO_REJECT,
    MECHANISM_AGENT_RATE,
    MECHANISM_DEFAULT,
    MECHANISM_MANUAL,
    USER_KEEP,
    USER_REJECT,
    SegmentRecord,
    SpanRecord,
)

from ._limiter import RateLimiter
from ._manual import ASKING_TAGS, manual_request
from ._rules import CompiledRule, SamplingRule, SpanView, effective_rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._rates import Rate, ServiceRates

__all__ = ["TraceSampler"]

_log = RateLimitedLogger(get_logger("sampling"))

_DEFAULT_DM: Final = f"-{MECHANISM_DEFAULT}"
_AGENT_DM: Final = f"-{MECHANISM_AGENT_RATE}"
_MANUAL_DM: Final = f"-{MECHANISM_MANUAL}"
_OTHER_PRODUCT_DM: Final = "-5"  # AppSec, which is also what "no product but another one" says (§17)
_CERTAIN: Final = (1.0, True)  # probability of the default decision


class TraceSampler:
    """Decides local traces.

    Thread-safe: rules and rates are read once per decision and replaced in one assignment. The caller
    of `decide` and `decide_manual` holds the lock of the segment.

    Args:
        span_view: How rules see a span.
        rules: Local rules in order, from the environment or code.
        sample_rate: Local catch-all rate (`DD_TRACE_SAMPLE_RATE`), or `None`.
        limiter: Asked for every trace that a rule wants to keep; kept across updates.
        rate_limit_is_explicit: The user set the limit, so `_dd.limit_psr` is written.
        service_rates: The Agent's rates.
        env: Environment of the process, for roots that name none.
        apm_tracing_enabled: `False`: other products own the traces; one trace a minute is kept.
        clock: Source of time for that one trace a minute.
    """

    def __init__(  # noqa: PLR0913 - all are given by name, in one place
        self,
        *,
        span_view: SpanView,
        rules: Iterable[SamplingRule] = (),
        sample_rate: float | None = None,
        limiter: RateLimiter,
        rate_limit_is_explicit: bool = False,
        service_rates: ServiceRates,
        env: str = "",
        apm_tracing_enabled: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.span_view = span_view
        """Replace it when settings of the mapping change; takes effect with the next decision."""
        self._local_rules = tuple(rules)
        self._local_rate = sample_rate
        self._limiter = limiter
        self._writes_limit_rate = rate_limit_is_explicit
        self._service_rates = service_rates
        self._env = env
        self._minute_limiter = None if apm_tracing_enabled else RateLimiter(1, clock, period_s=60.0)
        self._remote: tuple[float | None, tuple[SamplingRule, ...] | None] = (None, None)
        self._rules: tuple[CompiledRule, ...] = ()
        self.update()

    @property
    def rules(self) -> tuple[SamplingRule, ...]:
        """The rules in effect, in the order they are searched, a catch-all rate last."""
        return tuple(compiled.rule for compiled in self._rules)

    def update(self, *, remote_rate: float | None = None, remote_rules: Iterable[SamplingRule] | None = None) -> None:
        """Put a remote configuration into effect, or restore the local one when both are `None`.

        Traces already decided keep their decision. The rate limiter is kept.

        Source: spec/sampling.md §13.
        """
        self._remote = remote_rate, None if remote_rules is None else tuple(remote_rules)
        rules = effective_rules(self._local_rules, self._local_rate, self._remote[1], remote_rate)
        self._rules = tuple(CompiledRule(rule) for rule in rules)

    def take_over(self, former: TraceSampler) -> None:
        """Put the remote configuration of another sampler into effect, as in a forked child."""
        rate, rules = former._remote
        self.update(remote_rate=rate, remote_rules=rules)

    def decide(self, segment: SegmentRecord, root: SpanRecord) -> None:
        """Decide a segment unless it is decided; an inherited priority is final as it is.

        Never raises: when looking at the root fails, the default decision is made.

        Source: spec/sampling.md §5.
        """
        if segment.decided:
            return
        values = root.values
        # Hardly any root asks for something (bench: ten-span).
        if values and not ASKING_TAGS.isdisjoint(values) and (request := manual_request(root)) is not None:
            self.decide_manual(segment, keep=request)
            return
        segment.decided = True
        if segment.priority is not None:
            return
        try:
            if self._minute_limiter is not None:
                _decide_for_other_products(segment, self._minute_limiter)
                return
            if (self._rules and self._decide_by_rule(segment, root)) or (
                self._service_rates.table and self._decide_by_agent_rate(segment, root)
            ):
                return
        except Exception:  # values of the application may fail to become text
            _log.log(logging.ERROR, "decide", "Could not evaluate sampling rules; the trace is kept", exc_info=True)
        segment.priority = AUTO_KEEP
        segment.tags = {DECISION_MAKER: _DEFAULT_DM} if segment.tags is None else _retagged(segment, _DEFAULT_DM, None)
        segment.probability = _CERTAIN

    def decide_manual(self, segment: SegmentRecord, keep: bool) -> None:  # the decision itself
        """Keep or drop by hand: overrides every other decision, an inherited one too; the last call wins.

        Source: spec/sampling.md §9, spec/propagation.md §6.3.
        """
        made_ksr = segment.rule_rate is not None or segment.agent_rate is not None
        ksr = None if made_ksr or segment.tags is None else segment.tags.get(KNUTH_SAMPLE_RATE)
        segment.tags = _retagged(segment, _MANUAL_DM, ksr)
        segment.rule_rate = segment.agent_rate = segment.limit_rate = None
        segment.probability = None
        segment.threshold_cleared = True
        segment.priority = USER_KEEP if keep else USER_REJECT
        segment.decided = True

    def reset_after_fork(self) -> None:
        """Replace locks that another thread of the parent may have held; the budgets go on."""
        self._limiter.reset_after_fork()
        if self._minute_limiter is not None:
            self._minute_limiter.reset_after_fork()

    def _decide_by_rule(self, segment: SegmentRecord, root: SpanRecord) -> bool:
        view = self.span_view
        for rule in self._rules:
            if rule.matches(root, view):
                break
        else:
            return False
        hashed = rule.rate.keeps(segment.trace_id)
        kept = hashed and self._limiter.allow()
        segment.priority = USER_KEEP if kept else USER_REJECT
        segment.rule_rate = rule.rate.value
        if self._writes_limit_rate:
            segment.limit_rate = self._limiter.effective_rate()
        segment.tags = _retagged(segment, rule.decision_maker, rule.rate.ksr)
        # What the rate limiter took back was not decided by probability.
        _set_probability(segment, rule.rate, kept=kept, probabilistic=kept == hashed)
        return True

    def _decide_by_agent_rate(self, segment: SegmentRecord, root: SpanRecord) -> bool:
        view = self.span_view
        env = view.tag(root, ENV)
        rate = self._service_rates.lookup(view.service_name(root), env if isinstance(env, str) and env else self._env)
        if rate is None:
            return False
        kept = rate.keeps(segment.trace_id)
        segment.priority = AUTO_KEEP if kept else AUTO_REJECT
        segment.agent_rate = rate.value
        segment.tags = _retagged(segment, _AGENT_DM, rate.ksr)
        _set_probability(segment, rate, kept=kept, probabilistic=True)
        return True


def _decide_for_other_products(segment: SegmentRecord, limiter: RateLimiter) -> None:
    """Keep one trace a minute so that the service is seen; no product here asks for more (§17)."""
    segment.priority = AUTO_KEEP if limiter.allow() else AUTO_REJECT
    segment.tags = _retagged(segment, _OTHER_PRODUCT_DM, None)
    segment.threshold_cleared = True


def _set_probability(segment: SegmentRecord, rate: Rate, *, kept: bool, probabilistic: bool) -> None:
    """Remember what `ot` is computed from; a rate of 0 has no threshold (spec/propagation.md §6.1)."""
    if probabilistic and rate.value > 0.0:
        segment.probability = (rate.value, kept)
    else:
        segment.threshold_cleared = True


def _retagged(segment: SegmentRecord, decision_maker: str, ksr: str | None) -> dict[str, str]:
    """Return the propagated tags with a decision of our own: replaced in place, else appended.

    A new dictionary, because the old one may belong to the extracted context too.
    """
    tags = {} if segment.tags is None else dict(segment.tags)
    tags[DECISION_MAKER] = decision_maker
    if ksr is not None:
        tags[KNUTH_SAMPLE_RATE] = ksr
    else:
        tags.pop(KNUTH_SAMPLE_RATE, None)
    return tags
