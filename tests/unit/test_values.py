"""Tests for `_base/values.py`: what is kept of one value, and how long that takes."""

from __future__ import annotations

import sys
import time
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from datetime import time as time_of_day
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from numbers import Integral, Number, Real
from pathlib import PurePosixPath
from typing import ClassVar
from uuid import UUID

import pytest

from ddtrace_manual._base.values import (
    MAX_BYTES,
    MAX_ELEMENTS,
    clean_key,
    clean_mapping,
    clean_value,
    items_of,
    metric_of,
)


class Color(Enum):
    """An enumeration."""

    RED = "red"
    BOTH = (1, "two")


class Level(IntEnum):
    """An enumeration of numbers."""

    HIGH = 3


@dataclass
class Order:
    """An order."""

    number: int
    secret: str = field(repr=False, default="secret")


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped form


@Number.register
class Scalar:
    """A number as of an array library."""

    def __init__(self, value):
        self._value = value

    def __float__(self):
        return float(self._value)


@Integral.register
class IntScalar(Scalar):
    """A whole number as of an array library."""

    def __index__(self):
        return self._value


NumpyBool = type("bool_", (), {"__module__": "numpy", "__bool__": lambda _: True})


class FieldInfo:
    """A field of a model."""

    repr = True


class Model:
    """A model in the form of pydantic."""

    __pydantic_fields__: ClassVar = {"name": FieldInfo()}
    __pydantic_extra__: ClassVar = {"more": 2}
    name = "n"
    more = 2


TABLE = [
    (Decimal("1.5"), 1.5),
    (Fraction(1, 4), 0.25),
    (Fraction(10**400), float("inf")),
    (Scalar(2), 2.0),
    (IntScalar(2), 2),
    (NumpyBool(), True),
    (1 + 2j, "(1+2j)"),
    (datetime(2024, 1, 2, 3, tzinfo=timezone.utc), "2024-01-02T03:00:00+00:00"),
    (date(2024, 1, 2), "2024-01-02"),
    (time_of_day(1, 2), "01:02:00"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (PurePosixPath("/a/b"), "/a/b"),
    (Color.RED, "red"),
    (Color.BOTH, (1, "two")),
    (Level.HIGH, 3),
    (Order(7), {"number": 7}),
    (Point(1, [2]), {"x": 1, "y": (2,)}),
    (Model(), {"name": "n", "more": 2}),
    (memoryview(b"abcd")[::2], b"ac"),
    ({1: "a", None: "b"}, {"1": "a"}),
]


@pytest.mark.parametrize(("value", "kept"), TABLE, ids=[type(value).__name__ for value, _ in TABLE])
def test_values_are_typed_as_the_table_says(value, kept):
    cleaned = clean_value(value)
    assert (cleaned, type(cleaned)) == (kept, type(kept))


def test_numpy_values_are_numbers():
    numpy = pytest.importorskip("numpy")
    cleaned = [clean_value(value) for value in (numpy.int64(2), numpy.float32(0.5), numpy.float64(1.5), numpy.bool_(1))]
    assert [(value, type(value)) for value in cleaned] == [(2, int), (0.5, float), (1.5, float), (True, bool)]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1),
        (1.5, 1.5),
        (True, 1),
        (Level.HIGH, 3),
        (Decimal("2.5"), 2.5),
        (IntScalar(4), 4),
        (NumpyBool(), 1),
        (" 12 ", 12),
        ("-1.5e3", -1500.0),
        ("1_000", None),
        ("nan", None),
        ("text", None),
        ("", None),
        ("9" * 101, None),
        (b"1", None),
        ([1], None),
        (object(), None),
        (Color.RED, None),
        (1 + 2j, None),
    ],
)
def test_metrics_take_numbers_and_their_texts(value, number):
    found = metric_of(value)
    assert (found, type(found)) == (number, type(number))


class Endless(Sequence):
    """A sequence without an end."""

    def __getitem__(self, index):
        return index

    def __len__(self):
        return 10**12


class EndlessMapping(Mapping):
    """A mapping without an end."""

    def __getitem__(self, key):
        return [key] * 10

    def __iter__(self):
        return iter(range(1, sys.maxsize))

    def __len__(self):
        return sys.maxsize


def nested(width, depth):
    """Return lists in lists."""
    value = 1
    for _ in range(depth):
        value = [value] * width
    return value


def cyclic():
    """Return a list that contains itself many times."""
    value = [1]
    value += [value] * 10
    return value


LARGE = {
    "range": range(10**12),
    "nested": nested(10, 15),
    "wide": nested(1_000, 3),
    "dict": dict.fromkeys(range(1, 1_000_000), 1),
    "set": set(range(100_000)),
    "endless": Endless(),
    "endless mapping": EndlessMapping(),
    "cyclic": cyclic(),
    "deep": nested(1, 900),
    "integer": [10**100_000] * 2_000,
    "buffer": bytearray(50_000_000),
    "text": ["x" * 10_000_000] * 5_000,
    "generator": (number for number in iter(int, 1)),
}


def count(value):
    """Return how many elements there are in all levels."""
    if type(value) is tuple:
        return len(value) + sum(map(count, value))
    if type(value) is dict:
        return len(value) + sum(map(count, value.values()))
    return 0


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_cleaning_stops_at_a_thousand_elements(value):
    cleaned, fastest = None, float("inf")
    for _ in range(5):  # the machine may be busy; the fastest run is the cost
        start = time.perf_counter()
        cleaned = clean_value(value)
        fastest = min(fastest, time.perf_counter() - start)
    assert count(cleaned) <= MAX_ELEMENTS
    assert fastest < 0.005


def test_buffers_are_cut():
    assert len(clean_value(bytearray(MAX_BYTES + 1))) == MAX_BYTES


def test_attributes_of_an_endless_mapping_are_bounded():
    assert len(items_of(EndlessMapping())) == 2_000
    assert clean_mapping({"a": Decimal(1), "": 2}) == {"a": 1.0}
    assert clean_key("") is None


def test_real_numbers_that_fail_become_text():
    class Failing(Real):
        """A number that cannot be told."""

        __slots__ = ()

        def __float__(self):
            raise ValueError

        def __str__(self):
            return "failing"

    Failing.__abstractmethods__ = frozenset()
    assert clean_value(Failing()) == "failing"
