"""Which sampling rule matches a recorded trace. Pure.

Rules see the local root of a trace as it was sent, with the names and tags it has in Datadog.

Source: spec/sampling.md §7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from ddtrace_manual.sampling._rules import CompiledRule

    from .spans import CleanSpan

__all__ = ["local_root", "matching_rule"]


def local_root(spans: Iterable[CleanSpan]) -> CleanSpan | None:
    """Return the span that the sampling decision was made on: the earliest without a parent among the spans."""
    found = list(spans)
    ids = {span["span_id"] for span in found}
    tops = [span for span in found if not span["parent_id"] or span["parent_id"] not in ids]
    return min(tops or found, key=lambda span: (span["parent_id"] != 0, span["start"]), default=None)


def matching_rule(root: CleanSpan, rules: Sequence[CompiledRule]) -> int | None:
    """Return the index of the first rule that matches, or `None`."""
    return next((at for at, rule in enumerate(rules) if rule.matches(cast("Any", root), _VIEW)), None)


class _RecordedView:
    """How rules see a recorded span."""

    def service_name(self, span: Any, /) -> str:
        return cast("str", span["service"])

    def operation_name(self, span: Any, /) -> str:
        return cast("str", span["name"])

    def resource_name(self, span: Any, /) -> str:
        return cast("str", span["resource"])

    def tag(self, span: Any, key: str, /) -> object:
        return span["meta"].get(key, span["metrics"].get(key))


_VIEW: Final = _RecordedView()
