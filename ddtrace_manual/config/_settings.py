"""One typed row per setting: every variable of spec/configuration.md §8 and §9, and what only code can set.

The rows themselves stand in `_settings_core.py`, `_settings_span.py` and `_settings_support.py`.
The reference page is generated from them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ._settings_core import CORE, EXPORT
from ._settings_span import PROPAGATION, SAMPLING, SPANS
from ._settings_support import CODE_ONLY, DIAGNOSTICS, INTERNAL, OTLP, REMOTE, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._row import Setting

__all__ = ["BY_ENV", "BY_NAME", "CODE_NAMES", "GROUPS", "SETTINGS"]

GROUPS: Final[Mapping[str, tuple[Setting, ...]]] = MappingProxyType(
    {
        "Core": CORE,
        "Agent connection and trace export": EXPORT,
        "Sampling": SAMPLING,
        "Propagation and ids": PROPAGATION,
        "Span content": SPANS,
        "Logging and diagnostics of the library": DIAGNOSTICS,
        "Telemetry and remote configuration": REMOTE,
        "Statistics": STATISTICS,
        "OTLP": OTLP,
        "Internal": INTERNAL,
        "Only in code": CODE_ONLY,
    }
)
"""Title → settings, in the order of the reference page."""

SETTINGS: Final[tuple[Setting, ...]] = tuple(row for rows in GROUPS.values() for row in rows)
BY_NAME: Final[Mapping[str, Setting]] = MappingProxyType({row.name: row for row in SETTINGS})
"""Code name → setting."""
BY_ENV: Final[Mapping[str, Setting]] = MappingProxyType(
    {name: row for row in SETTINGS for name in (*row.aliases, *row.precursors, row.env) if name}
)
"""Environment name, canonical or alias → setting."""
CODE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {name: row.name for row in SETTINGS for name in (row.name, *row.code_aliases)}
)
"""Name accepted in code → code name of the setting."""
