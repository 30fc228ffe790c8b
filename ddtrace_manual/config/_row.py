"""The type of a settings row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._kinds import Kind

__all__ = ["Setting", "code_name"]


def code_name(env: str) -> str:
    """Return the code name of a variable: lower case, without `DD_` or `_DD_` in front.

    Source: spec/configuration.md §1.
    """
    return env.removeprefix("_").removeprefix("DD_").lower()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, however many names it has."""

    env: str
    """Canonical environment name; "" for a setting that only code can give."""
    kind: Kind
    default: object
    description: str
    """For the reference page, in Markdown."""
    name: str = ""
    """Code name; derived from `env` unless given."""
    code_aliases: tuple[str, ...] = ()
    """Further names accepted in code."""
    aliases: tuple[str, ...] = ()
    """Further environment names, consulted after the canonical one."""
    precursors: tuple[str, ...] = ()
    """Further environment names, consulted before the canonical one."""
    deprecated: frozenset[str] = field(default=frozenset())
    """Environment names whose use is warned about."""
    default_text: str = ""
    """How the reference page describes a default that is calculated."""
    secret: bool = False
    """The value is never shown, logged or reported."""
    awaits: str = ""
    """The part that would use the value, where that does not exist yet; "" for settings that are used."""
    is_url: bool = False
    """User name and password in it are never shown, logged or reported."""
    otel_mapped: bool = False
    """An `OTEL_*` variable whose validity is judged where it is mapped to a Datadog setting."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", code_name(self.env))

    @property
    def is_used(self) -> bool:
        """Whether setting it changes anything."""
        return not self.awaits

    @property
    def env_names(self) -> tuple[str, ...]:
        """All environment names, in the order in which they are consulted."""
        if not self.env:
            return ()
        return (*self.precursors, self.env, *self.aliases)
