"""What the doctor finds, and what it makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

__all__ = ["Finding", "Level", "as_document", "note", "ok", "problem", "summary", "traces_can_arrive", "warning"]

Level = Literal["ok", "note", "warning", "problem"]
"""`problem`: traces cannot arrive. `warning`: something is probably not as meant. `note`: worth knowing. `ok`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    """What was found; one line."""
    advice: str = ""
    """What to do about it; "" when there is nothing to do."""


def ok(what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding("ok", what)


def note(what: str, advice: str = "") -> Finding:
    """Return something worth knowing."""
    return Finding("note", what, advice)


def warning(what: str, advice: str) -> Finding:
    """Return something that is probably not as meant."""
    return Finding("warning", what, advice)


def problem(what: str, advice: str) -> Finding:
    """Return why traces cannot arrive."""
    return Finding("problem", what, advice)


_ARRIVE: Final = "Traces can arrive"
_CANNOT: Final = "Traces cannot arrive"


def traces_can_arrive(findings: Iterable[Finding]) -> bool:
    """Say whether nothing was found that keeps traces from arriving."""
    return all(finding.level != "problem" for finding in findings)


def summary(findings: Iterable[Finding]) -> str:
    """Return the last line of the report."""
    found = list(findings)
    counts = [
        f"{number} {level}{'' if number == 1 else 's'}"
        for level in ("problem", "warning")
        if (number := sum(finding.level == level for finding in found))
    ]
    verdict = _ARRIVE if traces_can_arrive(found) else _CANNOT
    return f"{verdict}: {', '.join(counts)}." if counts else f"{verdict}."


def as_document(findings: Iterable[Finding]) -> dict[str, Any]:  # Any: JSON
    """Return the report for other programs."""
    found = list(findings)
    return {"traces_can_arrive": traces_can_arrive(found), "findings": [asdict(finding) for finding in found]}
