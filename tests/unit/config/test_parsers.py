"""Texts of every form and the values they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual.config._parsers import (
    Corrected,
    format_map,
    parse_bool,
    parse_integer,
    parse_list,
    parse_map,
    parse_number,
    parse_pairs,
    parse_ranges,
    parse_rules,
    sort_styles,
)

MAPS = [
    ("key1:value1,key2:value2", {"key1": "value1", "key2": "value2"}),
    ("key1:value1 key2:value2", {"key1": "value1", "key2": "value2"}),
    ("env:test aKey:aVal bKey:bVal cKey:", {"env": "test", "aKey": "aVal", "bKey": "bVal", "cKey": ""}),
    ("env:test,aKey:aVal bKey:bVal cKey:", {"env": "test", "aKey": "aVal bKey:bVal cKey:"}),
    (
        "env:test     bKey :bVal dKey: dVal cKey:",
        {"env": "test", "bKey": "", "dKey": "", "dVal": "", "cKey": ""},
    ),
    ("env :test, aKey : aVal bKey:bVal cKey:", {"env": "test", "aKey": "aVal bKey:bVal cKey:"}),
    ("env:keyWithA:Semicolon bKey:bVal cKey", {"env": "keyWithA:Semicolon", "bKey": "bVal", "cKey": ""}),
    ("env:keyWith:  , ,   Lots:Of:Semicolons ", {"env": "keyWith:", "Lots": "Of:Semicolons"}),
    ("a:b,c,d", {"a": "b", "c": "", "d": ""}),
    ("a,1", {"a": "", "1": ""}),
    ("a:b:c:d", {"a": "b:c:d"}),
    ("a:1,a:2", {"a": "2"}),
    ("", {}),
    (" , :x", {}),
]


@pytest.mark.parametrize(("text", "expected"), MAPS)
def test_a_map_is_split_as_specified(text, expected):
    """Maps of `k:v` pieces follow the table of spec/configuration.md §3.1."""
    assert parse_map(text) == expected


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_characters=",: ", categories=["L", "N"]), min_size=1),
        st.text(st.characters(codec="ascii", exclude_characters=", ", categories=["L", "N", "P"])),
        min_size=2,
    )
)
def test_a_written_map_is_read_back(values):
    """What `format_map` writes, `parse_map` reads."""
    assert parse_map(format_map(values)) == values


@given(st.text())
def test_no_text_breaks_the_map_parser(text):
    """Every text is a map, perhaps an empty one, without empty keys."""
    assert "" not in parse_map(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("1", True), (" TRUE ", True), ("false", False), ("0", False), ("False", False)],
)
def test_booleans_are_read_in_any_case(text, expected):
    """`true`, `1`, `false` and `0` are booleans, trimmed and in any case."""
    assert parse_bool(text) is expected


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_bool, "yes"),
        (parse_bool, "2"),
        (parse_integer, "1.5"),
        (parse_integer, "1_000"),
        (parse_integer, "٣"),
        (parse_integer, ""),
        (parse_number, "nan"),
        (parse_number, "inf"),
        (parse_number, "1e999"),
        (parse_number, "1_0"),
        (parse_number, "half"),
        (parse_pairs, "a=1,b"),
        (parse_pairs, "=1"),
        (parse_ranges, "x"),
        (parse_ranges, ""),
        (parse_rules, "{}"),
        (parse_rules, "[1"),
        (parse_rules, "[" * 100_000),
    ],
)
def test_unusable_texts_are_refused(parse, text):
    """A text that a parser cannot use raises ValueError with a reason."""
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_integer, " +12 ", 12),
        (parse_integer, "-3", -3),
        (parse_number, "1e-06", 1e-06),
        (parse_number, ".5", 0.5),
        (parse_number, "2.", 2.0),
        (parse_list, " a, ,b,", ("a", "b")),
        (parse_pairs, "a=1, b = x%20y ,c=d=e", {"a": "1", "b": "x y", "c": "d=e"}),
        (parse_pairs, "", {}),
        (parse_ranges, "500-599", ((500, 599),)),
        (parse_ranges, "599-500, 404", ((500, 599), (404, 404))),
        (parse_rules, '[{"sample_rate": 1}]', ({"sample_rate": 1},)),
    ],
)
def test_usable_texts_are_read(parse, text, expected):
    """A usable text gives its value."""
    assert parse(text) == expected


def test_a_bad_range_is_skipped_and_named():
    """The good ranges of a list count although another piece is bad."""
    assert parse_ranges("500-599,x,4-") == Corrected(
        ((500, 599),), "skipped 'x', '4-': neither a number nor a range a-b"
    )


@pytest.mark.parametrize(
    ("names", "known", "unknown", "none"),
    [
        (["Datadog", " tracecontext "], ("datadog", "tracecontext"), (), False),
        (["b3 single header", "b3", "B3MULTI"], ("b3", "b3multi"), (), False),
        (["none"], (), (), True),
        (["none", "b3"], ("b3",), (), True),
        (["jaeger", "", "datadog", "datadog"], ("datadog",), ("jaeger",), False),
    ],
)
def test_style_names_are_sorted(names, known, unknown, none):
    """Style names become canonical, each once, and unknown ones are set apart."""
    styles = sort_styles(names)
    assert (styles.known, styles.unknown, styles.none) == (known, unknown, none)
