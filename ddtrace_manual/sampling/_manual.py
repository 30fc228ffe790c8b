"""Manual keep and drop: which values of a span ask for one.

Source: spec/sampling.md §9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddtrace_manual._base.tags import MANUAL_DROP, MANUAL_KEEP, OPENTRACING_PRIORITY

from ._rates import is_number

if TYPE_CHECKING:
    from ddtrace_manual._model import SpanRecord

__all__ = ["ASKING_TAGS", "manual_request"]

ASKING_TAGS = frozenset((MANUAL_KEEP, MANUAL_DROP, OPENTRACING_PRIORITY))
"""Values of a span that may ask for something; hardly any span has one."""


def manual_request(span: SpanRecord) -> bool | None:
    """Say whether the values of a span ask to keep (`True`) or drop (`False`) its trace, or nothing (`None`).

    Any value of `manual.keep` and `manual.drop` counts, `None` and `""` included, except `False`,
    `"false"`, `0` and `"0"`, so that a computed flag works. When both count, the one set last wins.
    Without them a number in `sampling.priority` keeps when it is above 0 and drops otherwise.

    Source: spec/sampling.md §9.
    """
    values = span.values
    if not values or ASKING_TAGS.isdisjoint(values):
        return None
    request: bool | None = None
    for key, value in values.items():
        if key in (MANUAL_KEEP, MANUAL_DROP) and _counts(value):
            request = key == MANUAL_KEEP
    if request is None and is_number(priority := values.get(OPENTRACING_PRIORITY)):
        return bool(priority > 0)
    return request


def _counts(value: object) -> bool:
    if isinstance(value, str):
        return value not in ("false", "0")
    if isinstance(value, (bool, int, float)):
        return value != 0
    return True
