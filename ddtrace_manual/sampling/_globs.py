"""Globs of sampling rules: `*` any text, `?` one character, everything else itself; case does not count.

Source: spec/sampling.md §7.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Glob"]


class Glob:
    """A compiled pattern that must match a whole text.

    Matching walks text and pattern with two indices and goes back to the last `*` only, so a hostile
    text costs at most length of text x length of pattern; a regular expression could cost far more.

    Attributes:
        pattern: As written.
        is_any: The pattern is only stars, so it matches every text, the empty one included.
    """

    __slots__ = ("_folded", "_literal", "is_any", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.is_any = pattern != "" and not pattern.strip("*")
        self._folded = _fold(pattern)
        self._literal = "*" not in pattern and "?" not in pattern

    def matches(self, text: str) -> bool:
        """Say whether the whole text matches."""
        if self.is_any:
            return True
        folded = _fold(text)
        if self._literal and type(folded) is type(self._folded):
            return folded == self._folded
        return _walk(self._folded, folded)

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"


def _fold(text: str) -> Sequence[str]:
    """Lower the case character by character.

    `str.lower` of a whole non-ASCII text may change its length ("İ") or depend on neighbours ("Σ"),
    and `?` must stay one character of the original.
    """
    return text.lower() if text.isascii() else tuple(character.lower() for character in text)


def _walk(pattern: Sequence[str], text: Sequence[str]) -> bool:
    at_pattern = at_text = 0
    star = -1  # index of the last star passed
    resume = 0  # where in the text that star's match ends so far
    while at_text < len(text):
        wanted = pattern[at_pattern] if at_pattern < len(pattern) else ""
        if wanted == "*":
            star, resume = at_pattern, at_text
            at_pattern += 1
        elif wanted in ("?", text[at_text]):
            at_pattern += 1
            at_text += 1
        elif star >= 0:
            resume += 1
            at_text = resume
            at_pattern = star + 1
        else:
            return False
    return all(rest == "*" for rest in pattern[at_pattern:])
