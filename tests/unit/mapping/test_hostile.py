"""Objects that misbehave cost at most themselves."""

import enum
import logging
from collections.abc import Mapping

import pytest

from ddtrace_manual._mapping import Mapper, MappingSettings
from ddtrace_manual._mapping.attributes import MAX_DEPTH, MAX_ELEMENTS
from ddtrace_manual._model import EventRecord, LinkRecord


class Unprintable:
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Liar:
    """Says it is nothing and fails when asked."""

    @property
    def __class__(self):
        raise RuntimeError("do not ask")

    def __str__(self):
        return "liar"


class StrKind(str, enum.Enum):
    A = "a"


class IntKind(enum.IntEnum):
    ONE = 1


class OddFloat(float):
    def __float__(self):
        raise RuntimeError("no number")


class OddStr(str):
    __slots__ = ()

    def __str__(self):
        return "something else"


class BrokenMapping(Mapping):
    def __getitem__(self, key):
        return key

    def __iter__(self):
        yield "first"
        raise RuntimeError("changed during iteration")

    def __len__(self):
        return 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Unprintable(), "<unprintable Unprintable>"),
        (StrKind.A, "a"),
        (OddStr("text"), "text"),
        (bytearray(b"ab"), "ab"),
        ("\ud800", "\ud800"),
    ],
)
def test_text(map_one, value, text):
    """Whatever an object does, it becomes text or a placeholder, in every place."""
    dd_span = map_one(
        {"k": value, "n": [value], "service.name": value},
        link_records=[LinkRecord(1, 2, {"k": value})],
        settings={"resource_attributes": {"r": value}},
    )
    assert type(dd_span["meta"]["k"]) is str
    assert dd_span["meta"]["k"] == dd_span["meta"]["n.0"] == dd_span["meta"]["r"] == dd_span["service"] == text
    assert dd_span["span_links"][0]["attributes"] == {"k": text}


def test_object_that_must_not_be_asked(map_one):
    """The class of an object is not asked for: asking may do anything."""
    dd_span = map_one({"k": Liar(), "n": [Liar()], "service.name": Liar()})
    assert (dd_span["meta"]["k"], dd_span["meta"]["n.0"], dd_span["service"]) == ("liar", "liar", "liar")


def test_numbers(map_one):
    """Subclasses of numbers are numbers, whatever their methods do."""
    dd_span = map_one({"one": IntKind.ONE, "odd": OddFloat(2.0), "n": [10**400, IntKind.ONE]})
    assert {key: dd_span["metrics"].get(key) for key in ("one", "odd", "n.0", "n.1")} == {
        "one": 1.0,
        "odd": 2.0,
        "n.0": None,
        "n.1": 1.0,
    }
    assert type(dd_span["metrics"]["one"]) is float


@pytest.mark.parametrize("key", [5, None, ("a", "b"), b"x", StrKind.A])
def test_keys(map_one, key):
    """Keys that are no plain strings become strings, also in links and events."""
    dd_span = map_one(
        {key: "v"}, link_records=[LinkRecord(1, 2, {key: "v"})], event_records=[EventRecord("e", 1, {key: "v"})]
    )
    containers = dd_span["meta"], dd_span["span_links"][0]["attributes"], dd_span["span_events"][0]["attributes"]
    for container in containers:
        assert all(type(name) is str for name in container)
    assert "v" in containers[0].values()


def test_cycle_ends(map_one):
    """A sequence that contains itself is followed a bounded number of levels, in both forms."""
    cycle = ["leaf"]
    cycle.append(cycle)
    dd_span = map_one(
        {"k": cycle}, settings={"resource_attributes": {"r": cycle}}, link_records=[LinkRecord(1, 2, {"k": cycle})]
    )
    leaves = [key for key in dd_span["meta"] if key.startswith("k.")]
    assert len(leaves) == MAX_DEPTH + 1  # the last says `...`
    assert dd_span["meta"]["r"].count("leaf") == MAX_DEPTH


@pytest.mark.parametrize("value", [list(range(MAX_ELEMENTS + 5)), [[1] * (MAX_ELEMENTS + 1)]])
def test_elements_are_bounded(map_one, value):
    """One attribute becomes a bounded number of tags."""
    metrics = map_one({"k": value})["metrics"]
    assert MAX_ELEMENTS - 1 <= sum(key.startswith("k.") for key in metrics) <= MAX_ELEMENTS


def test_text_of_many_elements_is_bounded(map_one):
    """The text form of a sequence is bounded too."""
    text = map_one(settings={"resource_attributes": {"r": ["x"] * (MAX_ELEMENTS + 5)}})["meta"]["r"]
    assert text.count("x") == MAX_ELEMENTS


def test_broken_container(map_one, caplog):
    """What could be read of a container before it failed is kept."""
    caplog.set_level(logging.DEBUG, "ddtrace_manual")
    dd_span = map_one({"k": BrokenMapping()}, settings={"resource_attributes": {"r": BrokenMapping()}})
    assert dd_span["meta"]["k.first"] == "first"
    assert dd_span["meta"]["r"] == '{"first":"first"}'
    assert "Could not read" in caplog.text


def test_dropped_number_is_logged(map_one, caplog):
    """A number that cannot be sent leaves a debug line."""
    caplog.set_level(logging.DEBUG, "ddtrace_manual")
    map_one({"k": float("nan")})
    assert "not a finite number" in caplog.text


def test_huge_integer_as_text(map_one):
    """An integer too long for the decimal conversion of the interpreter still becomes text."""
    text = map_one(settings={"resource_attributes": {"r": 10**5000}})["meta"]["r"]
    assert text.startswith("0x")


def test_odd_floats_as_text(map_one):
    """Numbers without a decimal form have a name."""
    otel_resource = {"a": float("nan"), "b": float("inf"), "c": float("-inf")}
    meta = map_one(settings={"resource_attributes": otel_resource})["meta"]
    assert [meta[key] for key in "abc"] == ["NaN", "inf", "-inf"]


class Poisoned(dict):
    """Values that cannot be read at all."""

    def items(self):
        raise RuntimeError("poisoned")


@pytest.mark.parametrize("observer_fails", [False, True])
def test_span_that_cannot_be_mapped(make_span, caplog, observer_fails):
    """A span that cannot be mapped is reported and skipped; the others are sent and the first one is complete."""
    seen = []

    def on_skipped(span, reason):
        seen.append((span, reason))
        if observer_fails:
            raise ValueError("observer")

    mapper = Mapper(MappingSettings(), on_skipped)
    root = make_span(Poisoned(a=1))
    child = make_span({"b": 2}, segment=root.segment, span_id=3, parent_id=2, local_parent=root, is_local_root=False)
    (dd_span,) = mapper.map_chunk(root.segment, [child, root], partial=False)
    assert dd_span["span_id"] == 3
    assert "_sampling_priority_v1" in dd_span["metrics"]
    assert [(span, type(reason)) for span, reason in seen] == [(root, RuntimeError)]
    assert "could not be mapped" in caplog.text


def test_span_that_cannot_be_mapped_without_observer(make_span, caplog):
    """Without an observer the span is only logged, and a chunk may come out empty."""
    span = make_span(Poisoned(a=1))
    assert Mapper(MappingSettings()).map_chunk(span.segment, [span], partial=False) == []
    assert "could not be mapped" in caplog.text


def test_empty_chunk(make_span):
    """No spans make no chunk."""
    assert Mapper(MappingSettings()).map_chunk(make_span().segment, [], partial=False) == []
