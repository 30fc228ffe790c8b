"""Spans as they are stored, from whatever a client sent."""

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._cli.render import render_trace
from ddtrace_manual._cli.totals import Totals
from ddtrace_manual._receiver import TraceStore, clean_span, simulate
from ddtrace_manual._receiver.decisions import explain_decision
from ddtrace_manual._receiver.spans import trace_id_high

ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=3),
    max_leaves=12,
)
FIELDS = ("service", "name", "resource", "type", "trace_id", "span_id", "parent_id", "start", "duration", "error",
          "meta", "metrics", "span_events", "span_links", "meta_struct")  # fmt: skip


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, ANY)), st.text())
def test_anything_becomes_a_span_that_can_be_stored_and_shown(raw, query):
    """What msgpack can carry is stored, found, explained, drawn, summed up and simulated without an error."""
    span = clean_span(msgpack.unpackb(msgpack.packb(raw), unicode_errors="replace", strict_map_key=False))
    store = TraceStore()
    store.add([[span]])
    ((trace, spans),) = store.traces()
    assert json.dumps(spans[0])
    store.search(query)
    store.find(query)
    assert explain_decision(spans)["lines"]
    assert render_trace(spans)
    totals = Totals()
    totals.add(trace.trace_id_hex, spans)
    assert totals.spans == 1
    assert simulate([spans], [])["total"]["traces"] == 1


def test_values_of_the_wrong_type_are_moved_or_become_text():
    span = clean_span({
        "meta": {"a": 1, "b": None, "c": b"\xff", "d": [1], 5: True},
        "metrics": {"x": 2, "y": "text", "z": float("nan"), "w": True, "v": 1 << 63},
        "meta_struct": {"s": b"123", "n": 5},
        "duration": -5,
        "start": float("inf"),
        "trace_id": 1 << 70,
    })  # fmt: skip
    assert span["meta"] == {
        "a": "1",
        "b": "",
        "c": "\ufffd",
        "d": "[1]",
        "5": "true",
        "y": "text",
        "z": "nan",
        "w": "true",
    }
    assert span["metrics"] == {"x": 2.0, "v": float(1 << 63)}
    assert span["meta_struct"] == {"s": 3, "n": 0}
    assert (span["duration"], span["start"], span["trace_id"]) == (0, 0, 0)


def test_long_texts_are_cut():
    assert len(clean_span({"name": "x" * 200_000})["name"]) == 100_001


def test_values_that_json_does_not_have():
    assert clean_span({"meta": {"a": {(1, 2): 3}}})["meta"] == {"a": "…"}


@pytest.mark.parametrize(
    "fields",
    [
        {"span_events": [{"name": "e", "time_unix_nano": 5, "attributes": {
            "t": {"type": 0, "string_value": "x"}, "b": {"type": 1, "bool_value": True},
            "l": {"type": 4, "array_value": {"values": [{"type": 2, "int_value": 3}]}}}}]},
        {"meta": {"events": '[{"name": "e", "time_unix_nano": 5, "attributes": {"t": "x", "b": true, "l": [3]}}]'}},
    ],
    ids=["native", "text"],
)  # fmt: skip
def test_events_in_both_forms(fields):
    span = clean_span(fields)
    assert span["events"] == [{"name": "e", "time": 5, "attributes": {"t": "x", "b": "true", "l": "[3]"}}]
    assert span["meta"] == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"span_links": [{"trace_id": 2, "trace_id_high": 1, "span_id": 10, "attributes": {"k": "v"}}]},
        {"meta": {"_dd.span_links": json.dumps([{"trace_id": f"{1:016x}{2:016x}", "span_id": f"{10:016x}", "attributes": {"k": "v"}}])}},
    ],
    ids=["native", "text"],
)  # fmt: skip
def test_links_in_both_forms(fields):
    span = clean_span(fields)
    assert span["links"] == [{"trace_id": f"{1:016x}{2:016x}", "span_id": 10, "attributes": {"k": "v"}}]
    assert span["meta"] == {}


@pytest.mark.parametrize("text", ["no json", "[" * 100_000, "{}", "[1]"])
def test_unreadable_text_forms_stay_tags(text):
    span = clean_span({"meta": {"events": text, "_dd.span_links": text}})
    assert span["events"] == span["links"] == []
    assert "events" in span["meta"]


def test_the_upper_half_of_the_trace_id():
    assert trace_id_high(clean_span({"meta": {"_dd.p.tid": "00000000000000Ff"}})) == 255
    assert trace_id_high(clean_span({"meta": {"_dd.p.tid": "0xff"}})) == 0


def test_unusable_ids_of_links_become_zero():
    (link,) = clean_span({"span_links": [{"trace_id": "zz", "span_id": "?", "attributes": 5}]})["links"]
    assert link == {"trace_id": "0" * 32, "span_id": 0, "attributes": {}}
