"""Captured values: what is recorded for each kind, bounds, secrets, and arguments by name."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import pathlib
import typing
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._decorators.arguments import (
    MAX_DEPTH,
    MAX_TEXT_CHARS,
    MAX_VALUES,
    REDACTED,
    TRUNCATED_TAG,
    Parameters,
    captured_tags,
    redact_secrets,
)


def keep(name, value):
    return value


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()

    def __str__(self):
        raise AssertionError("no code of the application runs")


class Opaque:
    def __repr__(self):
        raise AssertionError("no code of the application runs")

    __str__ = __len__ = __iter__ = __repr__


@dataclasses.dataclass
class Account:
    name: str
    password: str = dataclasses.field(repr=False, default="p")


class Pair(typing.NamedTuple):
    left: int
    right: list


VALUES = [
    ("text", {"v": "text"}),
    ("", {"v": ""}),
    (Text("text"), {"v": "text"}),
    ("x" * 300, {"v": "x" * 199 + "…"}),
    (True, {"v": True}),
    (1, {"v": 1}),
    (-(2**63) + 1, {"v": -(2**63) + 1}),
    (2**63, {"v": "<int of 64 bits>"}),
    (10**5000, {"v": "<int of 16610 bits>"}),
    (1.5, {"v": 1.5}),
    (float("nan"), {"v": "nan"}),
    (float("-inf"), {"v": "-inf"}),
    (None, {"v": "None"}),
    (b"12345", {"v": "<5 bytes>"}),
    (bytearray(3), {"v": "<3 bytes>"}),
    (Color.RED, {"v": "Color.RED"}),
    (Level.HIGH, {"v": "Level.HIGH"}),
    (1 + 2j, {"v": "(1+2j)"}),
    (decimal.Decimal("1.50"), {"v": "1.50"}),
    (dt.date(2024, 1, 2), {"v": "2024-01-02"}),
    (dt.timedelta(seconds=3), {"v": "0:00:03"}),
    (uuid.UUID(int=5), {"v": "00000000-0000-0000-0000-000000000005"}),
    (pathlib.PurePosixPath("/tmp/x"), {"v": "/tmp/x"}),
    (range(3), {"v": "range(0, 3)"}),
    ({}, {"v": "{}"}),
    ([], {"v": "[]"}),
    ((), {"v": "()"}),
    (frozenset(), {"v": "set()"}),
    ([1, "a"], {"v.0": 1, "v.1": "a"}),
    ((1, (2,)), {"v.0": 1, "v.1.0": 2}),
    ({3}, {"v.0": 3}),
    ({"a": {"b": 1}, 2: 3, None: 4}, {"v.a.b": 1, "v.2": 3, "v.None": 4}),
    ({Opaque(): 1}, {f"v.<{__name__}.Opaque>": 1}),
    (Pair(1, [2]), {"v.left": 1, "v.right.0": 2}),
    (Account("x"), {"v.name": "x"}),
    (Account, {"v": "<type>"}),
    (Opaque(), {"v": f"<{__name__}.Opaque>"}),
    (object(), {"v": "<object>"}),
    ([[[[[1]]]]], {"v.0.0.0.0": "<list>"}),
]


@pytest.mark.parametrize(("value", "expected"), VALUES, ids=lambda value: type(value).__name__)
def test_values(value, expected):
    """Each kind of value is recorded as the module's table says, without running the application's code."""
    tags = captured_tags({"v": value}, "", keep)
    assert tags == expected
    assert [type(tag) for tag in tags.values()] == [type(tag) for tag in expected.values()]


def test_count_is_bounded():
    """Values beyond the bound are left out, and a tag says so."""
    tags = captured_tags({"v": list(range(1000)), "w": 1}, "arg.", keep)
    assert len(tags) == MAX_VALUES + 1
    assert tags[TRUNCATED_TAG] is True
    assert tags["arg.w"] == 1


def test_one_long_container_does_not_hide_the_others():
    """Plain values come first, and containers share the rest: what a small one does not need goes to longer ones."""
    values = {"first": list(range(1000)), "mid": {"k": [1, 2], "l": 3}, "second": list(range(1000)), "last": "x"}
    tags = captured_tags(values, "", keep)
    counts = {name: sum(tag.split(".")[0] == name for tag in tags) for name in values}
    assert counts == {"first": 10, "mid": 3, "second": 11, "last": 1}
    assert tags[TRUNCATED_TAG] is True


def test_more_values_than_the_bound():
    """With plain values alone beyond the bound, containers are left out."""
    tags = captured_tags({"v": [1], "w": [2], **{str(number): number for number in range(MAX_VALUES + 5)}}, "", keep)
    assert set(tags) == {*map(str, range(MAX_VALUES)), TRUNCATED_TAG}


def test_cycles_end():
    """A container that contains itself is cut at the depth bound."""
    cycle: list = []
    cycle.append(cycle)
    assert captured_tags({"v": cycle}, "", keep) == {"v" + ".0" * MAX_DEPTH: "<list>"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
        max_leaves=100,
    )
)
def test_bounds_hold_for_everything(value):
    """Whatever is captured: at most 25 tags and a mark, texts at most 200 characters, only plain types."""
    tags = captured_tags({"v": value}, "")
    assert len(tags) <= MAX_VALUES + 1
    for tag in tags.values():
        assert type(tag) in (str, int, float, bool)
        assert not isinstance(tag, str) or len(tag) <= MAX_TEXT_CHARS


SECRET_NAMES = [
    "password",
    "PASSWORD",
    "user.passwd",
    "pwd",
    "passphrase",
    "client_secret",
    "access_token",
    "csrftoken",
]
SECRET_NAMES += ["Authorization", "headers.authorization", "Cookie", "set-cookie", "api_key", "apiKey", "x-api-key"]
SECRET_NAMES += ["private_key", "aws.secret-access-key", "credentials", "session_id", "auth", "user.pin", "card_number"]
PLAIN_NAMES = ["order", "key", "author", "authors", "keyboard", "pinned", "spinner", "monkey", "passenger", "compass"]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_secret_names(name):
    """What is named like a secret is redacted, in any case and anywhere in the name, containers as a whole."""
    assert redact_secrets(name, "x") == REDACTED
    assert redact_secrets(name, {"a": 1}) == REDACTED
    assert redact_secrets(name, 1234) == REDACTED


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_plain_names(name):
    """Ordinary names are left alone, as are switches and absent values under any name."""
    assert redact_secrets(name, "x") == "x"
    assert redact_secrets("password", None) is None
    assert redact_secrets("use_token", True) is True


SECRET_TEXTS = [
    "Bearer abc",
    "basic dXNlcg==",
    b"Bearer abc",
    "eyJhbGciOi.eyJzdWIi.sig",
    "-----BEGIN RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_secret_texts(text):
    """Texts that look like credentials are redacted under any name."""
    assert redact_secrets("value", text) == REDACTED


@pytest.mark.parametrize("text", ["basically", "bearer", "eyJ", "plain", b"\xff\xfe"])
def test_plain_texts(text):
    """Ordinary texts are left alone."""
    assert redact_secrets("value", text) == text


def everything(a, b=2, /, c=3, *rest, d, e=5, **named): ...


def fixed(a, b=2): ...


CALLS = [
    (everything, (1,), {"d": 4}),
    (everything, (1, 20, 30, 40, 50), {"d": 4, "e": 6, "x": 7}),
    (everything, (1,), {"d": 4, "a": "keyword of the same name"}),
    (fixed, (1,), {}),
    (fixed, (), {"b": 3, "a": 1}),
    (lambda: None, (), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_arguments_by_name(function, args, kwargs):
    """Binding gives what `inspect` gives, for calls that fit."""
    expected = inspect.signature(function).bind(*args, **kwargs)
    expected.apply_defaults()
    assert Parameters(function).arguments(args, kwargs) == expected.arguments


@given(st.lists(st.integers(), max_size=6), st.dictionaries(st.sampled_from("abcdex"), st.integers()))
def test_binding_never_raises(args, kwargs):
    """A call that does not fit gives what can be told."""
    for function in (everything, fixed, min):
        Parameters(function).arguments(tuple(args), kwargs)


def test_builtins_without_a_signature():
    """Arguments of a builtin are known by position and keyword only."""
    assert Parameters(min).arguments((1, 2), {"key": None}) == {"args": (1, 2), "key": None}
