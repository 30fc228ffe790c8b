"""Why a trace is kept or not, in words, from what the tracer wrote on its spans. Pure.

Source: spec/sampling.md §2, §12.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual.sampling import keeps

from .rule_matching import local_root, matching_rule

if TYPE_CHECKING:
    from ddtrace_manual.sampling._rules import CompiledRule

    from .spans import CleanSpan

__all__ = ["explain_decision"]

_PRIORITY: Final = "_sampling_priority_v1"
_MECHANISMS: Final = {
    "0": "no rule matched and the Agent had given no rate yet: the default keeps everything",
    "1": "the Agent's rate for this service and environment",
    "2": "a rate that Datadog computed",
    "3": "a rule of DD_TRACE_SAMPLING_RULES, or the rate of DD_TRACE_SAMPLE_RATE",
    "4": "the program itself asked for it (keep, drop, manual.keep or manual.drop)",
    "5": "another product, such as App and API Protection, owns the decision",
    "6": "a rate from the Datadog site",
    "8": "single span sampling",
    "11": "a rule that a user set in Datadog (remote configuration)",
    "12": "a rule that Datadog set by itself (adaptive sampling)",
}
_PRIORITIES: Final = {
    2: "kept, because the user's configuration wants it",
    1: "kept automatically",
    0: "not kept, decided automatically",
    -1: "not kept, because the user's configuration does not want it",
}


def explain_decision(spans: Iterable[CleanSpan], rules: Sequence[CompiledRule] = ()) -> dict[str, Any]:
    """Return `kept` (`None` when no span says), `priority`, `mechanism` and the explanation as `lines`.

    Args:
        spans: The spans of one trace.
        rules: Rules that the program probably had: no span says which rule decided, only at which rate.
    """
    found = list(spans)
    root = local_root(found)
    if root is None:
        return {"kept": None, "priority": None, "mechanism": None, "lines": ["No spans."]}
    priority = _first(root, found, "metrics", _PRIORITY)
    maker = _first(root, found, "meta", "_dd.p.dm")
    mechanism = str(maker).rpartition("-")[2] if maker is not None else None
    if priority is None:
        lines = ["No span of this trace carries a sampling priority: the Agent keeps it."]
    else:
        lines = [f"Priority {priority:g}: {_meaning(priority)}."]
        lines.append(_who(mechanism, root))
        if mechanism == "3":
            lines += _which_rule(root, found, rules)
        lines += _rates(root, found, priority)
    lines += _single_spans(found)
    return {
        "kept": None if priority is None else priority > 0,
        "priority": priority,
        "mechanism": mechanism,
        "lines": lines,
    }


def _meaning(priority: float) -> str:
    return _PRIORITIES.get(int(priority), "kept" if priority > 0 else "not kept")


def _who(mechanism: str | None, root: CleanSpan) -> str:
    if mechanism is None:
        if root["parent_id"]:
            return "The decision came with the headers of the caller; nothing says how it was made."
        return "Nothing says how the decision was made (_dd.p.dm is missing)."
    reason = _MECHANISMS.get(mechanism, "a mechanism that is not known here")
    inherited = " The span that decided is not among the spans received." if root["parent_id"] else ""
    return f"Mechanism {mechanism} (_dd.p.dm): {reason}.{inherited}"


def _which_rule(root: CleanSpan, spans: list[CleanSpan], rules: Sequence[CompiledRule]) -> list[str]:
    """Return which of the rules it was, when one matches and has the rate that was used."""
    index = matching_rule(root, rules)
    if index is None or rules[index].rate.value != _first(root, spans, "metrics", "_dd.rule_psr"):
        return []
    rule = rules[index].rule
    if rule.matches_everything and index == len(rules) - 1:
        return [f"Of the settings here, the last rule matches, which is for everything: {json.dumps(rule.to_dict())}."]
    return [f"Of the settings here, rule {index + 1} matches: {json.dumps(rule.to_dict(), ensure_ascii=False)}."]


def _rates(root: CleanSpan, spans: list[CleanSpan], priority: float) -> list[str]:
    """Return what rates and limits had to do with it."""
    lines = []
    rule = _first(root, spans, "metrics", "_dd.rule_psr")
    agent = _first(root, spans, "metrics", "_dd.agent_psr")
    limit = _first(root, spans, "metrics", "_dd.limit_psr")
    known = _first(root, spans, "meta", "_dd.p.ksr")
    if rule is not None:
        lines.append(f"The rule that matched has the rate {_percent(rule)} (_dd.rule_psr).")
    elif agent is not None:
        lines.append(f"The Agent's rate is {_percent(agent)} (_dd.agent_psr).")
    rate = rule if rule is not None else agent
    if rate is not None:
        lines.append(_by_hash(root["trace_id"], rate, priority))
    elif known is not None:
        lines.append(f"The rate was {known} (_dd.p.ksr), applied where the trace began.")
    if limit is not None:
        lines.append(f"The rate limit let through {_percent(limit)} of such traces at that moment (_dd.limit_psr).")
    return lines


def _by_hash(trace_id: int, rate: float, priority: float) -> str:
    hashed = keeps(trace_id, rate)
    if hashed and priority <= 0:
        return "The trace id is within that share, so the rate limit (DD_TRACE_RATE_LIMIT) turned the trace away."
    if not hashed and priority > 0:
        return "The trace id is outside that share; the priority was changed afterwards."
    return f"The trace id is {'within' if hashed else 'outside'} that share."


def _single_spans(spans: list[CleanSpan]) -> list[str]:
    selected = [span for span in spans if span["metrics"].get("_dd.span_sampling.mechanism") == 8]
    if not selected:
        return []
    rates = sorted({span["metrics"].get("_dd.span_sampling.rule_rate", 1.0) for span in selected})
    count = f"{len(selected)} span{'' if len(selected) == 1 else 's'}"
    return [f"Kept all the same by DD_SPAN_SAMPLING_RULES: {count}, at {', '.join(map(_percent, rates))}."]


def _percent(rate: float) -> str:
    return f"{rate * 100:.6g} %"


def _first(root: CleanSpan, spans: list[CleanSpan], field: str, key: str) -> Any:  # Any: a text or a number
    """Return a value of the root, or of the first span that has one: parts of a trace carry it on their first span."""
    for span in (root, *spans):
        if key in span[field]:
            return span[field][key]
    return None
