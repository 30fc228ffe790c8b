"""Attribute keys, mappings and times as they are kept."""

import pytest

from ddtrace_manual._tracing.values import clean_items, clean_key, items_of, nanoseconds, size_of


class Text(str):
    """A text with a class and text of its own."""

    __slots__ = ()

    def __str__(self):
        return "other"


class Refusing:
    """An object that is neither true nor false and cannot be read."""

    def __bool__(self):
        raise ValueError("no")

    def items(self):
        raise ValueError("no")

    def __str__(self):
        raise ValueError("no")


class Nameless(Refusing):
    """An object that is true and has no text."""

    def __bool__(self):
        return True


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("a", "a"),
        ("", None),
        (Text("a"), "a"),
        (Text(""), None),
        (1, "1"),
        (0, None),
        (None, None),
        (b"x", "b'x'"),
        ((1, 2), "(1, 2)"),
        (object(), None),
        (Refusing(), None),
        (Nameless(), "<unprintable Nameless>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keys(key, kept):
    """A key becomes text, as in the SDK; what has none is dropped and counted."""
    assert clean_key(key) == kept
    assert clean_items({key: 1}, None, None) == (({kept: 1}, 0) if kept else ({}, 1))


def test_the_oldest_go_first():
    """Beyond the limit the oldest are dropped; dropped keys count as well."""
    assert clean_items({"a": 1, "": 2, "b": "long", "c": 3.0}, 2, 2) == ({"b": "lo", "c": 3.0}, 2)
    assert clean_items({"a": 1}, 0, None) == ({}, 1)
    assert clean_items(None, 1, None) == ({}, 0)


@pytest.mark.parametrize("given", [None, 5, [("a", 1)], Refusing()], ids=lambda value: type(value).__name__)
def test_what_is_no_mapping_has_no_items(given):
    """What is no mapping, or fails to be read, counts as empty."""
    assert list(items_of(given)) == []


@pytest.mark.parametrize(
    ("given", "kept"), [(5, 5), (True, 1), (5.9, 5), (-1, -1), ("5", 5), ("x", None), (float("nan"), None), ([], None)]
)
def test_times(given, kept):
    """A time is a whole number or nothing."""
    assert nanoseconds(given) == kept


def test_sizes():
    """The size of a value is that of its texts and 64 bytes for everything."""
    assert size_of("abc") == size_of(b"abc") == 67
    assert size_of(("abc", 1)) == 64 + 67 + 64
    assert size_of({"ab": 1}) == 64 + 66 + 64
