"""What sampling rules would keep of traces that were recorded. Pure.

Rules see the local root of each trace as it was sent, with the names and tags it has in Datadog. The hash of the trace
id is the tracer's own, so that the answer for each trace is the one the tracer would give; the rate limit is applied
to the start times of the traces. What the program kept or dropped by hand stays as it is.

Source: spec/sampling.md §5, §6, §8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual.sampling import RateLimiter, SamplingRule
from ddtrace_manual.sampling._rules import CompiledRule

from .rule_matching import local_root, matching_rule

if TYPE_CHECKING:
    from .spans import CleanSpan

__all__ = ["Tally", "simulate"]

_PRIORITY: Final = "_sampling_priority_v1"
_MOST_ROWS: Final = 1000
_LONGEST_TEXT: Final = 200
_OTHER: Final = "(others)"


@dataclass(slots=True)
class Tally:
    """How many traces there are, and how many of them would be kept."""

    traces: int = 0
    kept: int = 0
    recorded_kept: int = 0
    """Traces that were kept as they were recorded."""
    limited: int = 0
    """Traces that only the rate limit turned away."""

    def add(self, *, kept: bool, was_kept: bool, limited: bool) -> None:
        """Count one trace."""
        self.traces += 1
        self.kept += kept
        self.recorded_kept += was_kept
        self.limited += limited

    def document(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {
            "traces": self.traces,
            "kept": self.kept,
            "rate": self.kept / self.traces if self.traces else 0.0,
            "recorded_kept": self.recorded_kept,
            "limited": self.limited,
        }


@dataclass(slots=True)
class _StartTimes:
    """A clock that shows when the traces began."""

    now_ns: int = 0

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


@dataclass(slots=True)
class _Report:
    total: Tally = field(default_factory=Tally)
    by_rule: dict[int | str, Tally] = field(default_factory=dict)
    by_resource: dict[tuple[str, str], Tally] = field(default_factory=dict)

    def add(self, rule: int | str, root: CleanSpan, *, kept: bool, limited: bool) -> None:
        place = (root["service"][:_LONGEST_TEXT], root["resource"][:_LONGEST_TEXT])
        if place not in self.by_resource and len(self.by_resource) >= _MOST_ROWS:
            place = (_OTHER, _OTHER)
        was_kept = root["metrics"].get(_PRIORITY, 1) > 0
        for tally in (
            self.total,
            self.by_rule.setdefault(rule, Tally()),
            self.by_resource.setdefault(place, Tally()),
        ):
            tally.add(kept=kept, was_kept=was_kept, limited=limited)


def simulate(
    traces: Iterable[list[CleanSpan]], rules: Iterable[SamplingRule], *, rate_limit: float = 100.0
) -> dict[str, Any]:
    """Return a JSON document: totals, then rows by rule and by service and resource.

    Args:
        traces: The spans of each trace.
        rules: As in `DD_TRACE_SAMPLING_RULES`, in order.
        rate_limit: As `DD_TRACE_RATE_LIMIT`: traces a second that rules may keep; negative for no limit.
    """
    compiled = [CompiledRule(rule) for rule in rules]
    roots = [root for spans in traces if (root := local_root(spans)) is not None]
    clock, report = _StartTimes(), _Report()
    roots.sort(key=lambda root: root["start"])
    if roots:
        clock.now_ns = roots[0]["start"]
    limiter = RateLimiter(rate_limit, clock)
    for root in roots:
        clock.now_ns = root["start"]
        if root["meta"].get("_dd.p.dm") == "-4":
            report.add("manual", root, kept=root["metrics"].get(_PRIORITY, 1) > 0, limited=False)
            continue
        index = matching_rule(root, compiled)
        if index is None:
            report.add("none", root, kept=True, limited=False)
            continue
        hashed = compiled[index].rate.keeps(root["trace_id"])
        kept = hashed and limiter.allow()
        report.add(index, root, kept=kept, limited=hashed and not kept)
    return _document(report, compiled)


def _document(report: _Report, compiled: list[CompiledRule]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {"rule": rule.rule.to_dict(), **report.by_rule.get(index, Tally()).document()}
        for index, rule in enumerate(compiled)
    ]
    for name, text in (("none", "no rule: kept"), ("manual", "decided by hand")):
        if name in report.by_rule:
            rows.append({"rule": text, **report.by_rule[name].document()})
    places = sorted(report.by_resource.items(), key=lambda item: (-item[1].traces, item[0]))
    return {
        "total": report.total.document(),
        "rules": rows,
        "resources": [
            {"service": service, "resource": resource, **tally.document()} for (service, resource), tally in places
        ],
    }
