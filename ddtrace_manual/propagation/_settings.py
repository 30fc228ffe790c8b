"""What the propagators need to know, and the names of the styles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["B3", "B3_MULTI", "BAGGAGE", "DATADOG", "TRACECONTEXT", "Behavior", "PropagationSettings"]

DATADOG: Final = "datadog"
TRACECONTEXT: Final = "tracecontext"
B3_MULTI: Final = "b3multi"
B3: Final = "b3"
BAGGAGE: Final = "baggage"

Behavior = Literal["continue", "restart", "ignore"]

_DEFAULT_STYLES: Final = (DATADOG, TRACECONTEXT, BAGGAGE)


@dataclass(frozen=True, slots=True)
class PropagationSettings:
    """Settings of a `Propagator`; the defaults are the documented ones.

    Source: spec/propagation.md §2.
    """

    extract_styles: tuple[str, ...] = _DEFAULT_STYLES
    """Canonical names; their order decides which context is the primary one. Empty = nothing is extracted."""
    inject_styles: tuple[str, ...] = _DEFAULT_STYLES
    """Canonical names, in any order. Empty = nothing is injected."""
    extract_first: bool = False
    """Stop at the first style that yields a context."""
    behavior: Behavior = "continue"
    """What happens to an extracted context."""
    tags_max_length: int = 512
    """Longest `x-datadog-tags`, in characters, 0-512; 0 = tags are neither read nor written."""
    baggage_max_items: int = 64
    baggage_max_bytes: int = 8192
    """Of the whole header, commas included."""
    http_baggage: bool = False
    """Also read and write `ot-baggage-<key>` headers."""
    org_guard_enabled: bool = False
    """Do not let another organisation's decisions and tags act here (§15)."""
    org_guard_strict: bool = False
    """Also distrust contexts without organisation marker."""
    org_guard_trusted: frozenset[str] = frozenset()
    """Markers of other organisations that are trusted."""
    enabled: bool = True
    """`False` (tracing disabled): nothing is extracted or injected."""
