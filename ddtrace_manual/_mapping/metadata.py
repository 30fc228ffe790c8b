"""Texts about the program that `_setup` computes once: git metadata without credentials, process tags.

Source: spec/span-mapping.md §11.1, §11.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["format_process_tags", "strip_credentials"]

_MAX_VALUE_CHARACTERS = 100
_OMITTED_VALUES = frozenset({"", "/", "\\", "bin"})
_KEPT_CHARACTERS = frozenset("/._-")
_CREDENTIAL_SCHEMES = ("http://", "https://", "ssh://")


def strip_credentials(url: str) -> str:
    """Return a repository URL without user and password; other forms (`git@host:path`) stay as they are."""
    for scheme in _CREDENTIAL_SCHEMES:
        if url[: len(scheme)].lower() == scheme:
            authority, slash, path = url[len(scheme) :].partition("/")
            return url[: len(scheme)] + authority.rpartition("@")[2] + slash + path
    return url


def format_process_tags(values: Mapping[str, str]) -> str:
    """Return the text of `_dd.tags.process`: sorted `key:value` pairs joined by commas, values normalised.

    Args:
        values: For example `entrypoint.name` → `main`; values that say nothing (`bin`, `/`) are left out.
    """
    normalised = {key: _normalise(value) for key, value in values.items()}
    pairs = [f"{key}:{value}" for key, value in sorted(normalised.items()) if value not in _OMITTED_VALUES]
    return ",".join(pairs)


def _normalise(value: str) -> str:
    """Cut to 100 characters, lower the case, replace what is no letter, digit or one of `/ . _ -` by single `_`."""
    if value in _OMITTED_VALUES:
        return ""
    characters: list[str] = []
    for character in value[:_MAX_VALUE_CHARACTERS].lower():
        kept = character if character.isalnum() or character in _KEPT_CHARACTERS else "_"
        if kept == "_" and characters and characters[-1] == "_":
            continue
        characters.append(kept)
    return "".join(characters).strip("_")
