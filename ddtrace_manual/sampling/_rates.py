"""Rates: the hash that every Datadog tracer and the Agent share, its text form, and the Agent's table.

Source: spec/sampling.md §4 (hash), §12 (text), §11 (Agent rates).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeGuard

__all__ = ["Rate", "ServiceRates", "clamp_rate", "format_ksr", "is_number", "keeps", "knuth_hash"]

_MASK_64: Final = (1 << 64) - 1
_KNUTH_FACTOR: Final = 1111111111111111111
_KEEP_EVERYTHING: Final = 1 << 64
_KEEP_NOTHING: Final = -1
_KSR_SCALE: Final = 1_000_000


def knuth_hash(id_: int) -> int:
    """Return the 64-bit hash of an id; of a 128-bit trace id only the low half counts.

    Source: spec/sampling.md §4.
    """
    return id_ * _KNUTH_FACTOR & _MASK_64


def keeps(id_: int, rate: float) -> bool:
    """Say whether an id is kept at a rate: the same answer in every Datadog tracer.

    Args:
        id_: Trace id, or span id for single span sampling.
        rate: 0.0-1.0; what lies outside counts as the nearer end.
    """
    return knuth_hash(id_) <= _threshold(rate)


def format_ksr(rate: float) -> str:
    """Return the text of `_dd.p.ksr`: at most six decimals, halves rounded up, no exponent, no trailing zeros.

    Neither `round()` (rounds halves to even) nor `%g` (writes exponents) gives this text.

    Source: spec/sampling.md §12.
    """
    millionths = math.floor(rate * _KSR_SCALE + 0.5)
    if millionths >= _KSR_SCALE:
        return "1"
    if millionths <= 0:
        return "0"
    return f"0.{millionths:06d}".rstrip("0")


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value is a finite number; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def clamp_rate(value: float) -> float:
    """Return the rate in 0.0-1.0 that is nearest to a number."""
    return min(1.0, max(0.0, float(value)))


class Rate:
    """A sampling rate with everything a decision needs, computed once.

    Attributes:
        value: The rate, 0.0-1.0.
        threshold: Largest hash that is kept; -1 keeps nothing.
        ksr: Text of `_dd.p.ksr`.
    """

    __slots__ = ("ksr", "threshold", "value")

    def __init__(self, value: float) -> None:
        self.value = clamp_rate(value)
        self.threshold = _threshold(self.value)
        self.ksr = format_ksr(self.value)

    def keeps(self, id_: int) -> bool:
        """Say whether an id is kept."""
        return (id_ * _KNUTH_FACTOR & _MASK_64) <= self.threshold

    def __repr__(self) -> str:
        return f"Rate({self.ksr})"


class ServiceRates:
    """The rates the Agent asked for, by service and environment.

    Thread-safe without a lock: `update` replaces the table in one assignment, and a table is never
    changed afterwards. Survives fork as it is.

    Source: spec/sampling.md §11.
    """

    def __init__(self) -> None:
        self.table: dict[str, Rate] = {}
        """Agent key (`service:<service>,env:<env>`) to rate; empty until the Agent answered. Do not change it."""

    def update(self, rates: object) -> None:
        """Replace the whole table.

        Args:
            rates: `rate_by_service` of an Agent's answer. An empty mapping empties the table; what is no
                mapping leaves it unchanged. Numbers are clamped to 0.0-1.0, other values are skipped.
        """
        if not isinstance(rates, Mapping):
            return
        self.table = {key: Rate(rate) for key, rate in rates.items() if isinstance(key, str) and is_number(rate)}

    def lookup(self, service: str, env: str) -> Rate | None:
        """Return the rate for a root span, or `None` when the Agent named none.

        Tried in turn: the pair as it is, the pair in lower case (the Agent normalises names), the default.
        """
        table = self.table
        if not table:
            return None
        key = f"service:{service},env:{env}"
        found = table.get(key)
        if found is None:
            found = table.get(key.lower())
        return found if found is not None else table.get("service:,env:")


def _threshold(rate: float) -> int:
    if rate >= 1.0:
        return _KEEP_EVERYTHING
    if rate <= 0.0:
        return _KEEP_NOTHING
    return int(rate * 18446744073709551616.0)
