"""The glob matcher (spec/sampling.md §7.1)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual.sampling._globs import Glob

_PATTERNS = st.text(alphabet="ab*?AéÉ[", max_size=8)
_TEXTS = st.text(alphabet="abABéÉ[*?", max_size=12)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("web.*", "web.request", True),
        ("wEb.rEquEst", "web.request", True),
        ("web.request", "WEB.REQUEST", True),
        ("web", "web.request", False),
        ("w?bs?rv?r", "webserver", True),
        ("w?bs?rv?r", "webservr", False),
        ("*", "", True),
        ("***", "", True),
        ("***", "anything", True),
        ("?", "", False),
        ("?*", "", False),
        ("", "", True),
        ("", "a", False),
        ("*.request", "web.request", True),
        ("*a*b", "xxaxxab", True),
        ("*a*b", "xxaxxabc", False),
        ("[abc]", "a", False),
        ("[abc]", "[abc]", True),
        ("[a-c]", "b", False),
        ("^(foo|bar)[]\\$", "^(foo|bar)[]\\$", True),
        ("a.c", "abc", False),
        ("GET /health*", "GET /healthz?x=1", True),
        ("caf?", "CAFÉ", True),
        ("?stanbul", "İstanbul", True),
        ("*Σ", "ΑΣ", True),
        ("k", "\u212a", True),
    ],
)
def test_glob_table(pattern, text, expected):
    """Stars and question marks are wild, the rest is literal, case does not count, the whole text must match."""
    assert Glob(pattern).matches(text) is expected


@given(_PATTERNS, _TEXTS)
def test_agrees_with_a_regular_expression(pattern, text):
    """The two-index matcher gives what the equivalent regular expression gives."""
    wild = {"*": ".*", "?": "."}
    expression = "".join(wild.get(character, re.escape(character.lower())) for character in pattern)
    folded = "".join(character.lower() for character in text)
    assert Glob(pattern).matches(text) is (re.fullmatch(expression, folded, re.DOTALL) is not None)


def test_hostile_pattern_stays_cheap():
    """A pattern that makes a backtracking regular expression explode is decided at once."""
    assert not Glob("*a" * 20 + "b").matches("a" * 2000)


def test_shows_its_pattern():
    """The representation names the pattern as written."""
    assert repr(Glob("Web*")) == "Glob('Web*')"
