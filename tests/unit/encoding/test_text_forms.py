from __future__ import annotations

import json

import pytest

from ddtrace_manual._encoding.text_forms import events_text, links_text, with_text_events, with_text_links

LINK = {
    "trace_id": 1234567890,
    "trace_id_high": 0x10,
    "span_id": 9876543210,
    "attributes": {"foo": "bar"},
    "tracestate": "dd=s:2;o:synthetics;t.dm:-4",
    "flags": 1 << 31 | 1,
}


def test_links():
    """Links are compact JSON with hexadecimal ids; the mark that flags are known is taken off."""
    assert links_text([LINK]) == (
        '[{"trace_id":"000000000000001000000000499602d2","span_id":"000000024cb016ea","attributes":{"foo":"bar"},'
        '"tracestate":"dd=s:2;o:synthetics;t.dm:-4","flags":1}]'
    )


def test_link_fields():
    """Attributes are sorted, unknown fields left out, known-unsampled flags are 0."""
    link = {"trace_id": 1, "span_id": 2, "attributes": {"b": "2", "a": "1"}, "flags": 1 << 31}

    assert links_text([link, {"trace_id": 1, "span_id": 2}]) == (
        '[{"trace_id":"00000000000000000000000000000001","span_id":"0000000000000002",'
        '"attributes":{"a":"1","b":"2"},"flags":0},'
        '{"trace_id":"00000000000000000000000000000001","span_id":"0000000000000002"}]'
    )


def test_events():
    """Events are compact JSON with natural values."""
    values = [{"type": 2, "int_value": 3}, {"type": 2, "int_value": 4}]
    attributes = {
        "string_val": {"type": 0, "string_value": "wért"},
        "bool": {"type": 1, "bool_value": True},
        "int_array": {"type": 4, "array_value": {"values": values}},
        "float": {"type": 3, "double_value": 0.0},
    }
    events = [{"time_unix_nano": 1700000000000000000, "name": "n", "attributes": attributes}]

    assert events_text([*events, {"time_unix_nano": 1, "name": "bare", "attributes": {}}]) == (
        '[{"name":"n","time_unix_nano":1700000000000000000,'
        '"attributes":{"string_val":"wért","bool":true,"int_array":[3,4],"float":0.0}},'
        '{"name":"bare","time_unix_nano":1}]'
    )


def test_bounded_text():
    """What would not fit into one tag is shortened, then left out from the end, so that the text stays JSON."""
    events = [{"time_unix_nano": number, "name": "x" * 10_000} for number in range(4)]

    text = events_text(events)

    assert len(text) <= 25_000
    found = json.loads(text)
    assert [event["time_unix_nano"] for event in found] == [0, 1, 2]
    assert found[2]["name"] == "x" * 2486 + "<truncated>..."


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({"stack": "x" * 25_000, "type": "E"}, {"stack": "x" * 2486 + "<truncated>...", "type": "E"}),
        ({"k" * 26_000: "gone", "type": "E"}, {"type": "E"}),
        ({str(number): "\0" * 2_500 for number in range(9)}, {"0": "\0" * 2_500}),
        ({"list": ["x" * 9_000] * 3}, {"list": ["x" * 2486 + "<truncated>..."] * 3}),
    ],
    ids=["text", "key", "escapes", "list"],
)
def test_item_that_does_not_fit(attributes, kept):
    """A single event or link larger than a tag keeps what fits of it: long strings are cut, the rest is left out."""

    def typed(value):
        if isinstance(value, list):
            return {"type": 4, "array_value": {"values": [typed(item) for item in value]}}
        return {"type": 0, "string_value": value}

    event = {"time_unix_nano": 1, "name": "n", "attributes": {key: typed(value) for key, value in attributes.items()}}

    [back] = json.loads(events_text([event]))

    assert back["attributes"] == kept
    assert len(events_text([event])) <= 25_000


@pytest.mark.parametrize(
    ("move", "source", "target", "native"),
    [
        (with_text_links, "span_links", "_dd.span_links", [LINK]),
        (with_text_events, "span_events", "events", [{"time_unix_nano": 1, "name": "e"}]),
    ],
    ids=["links", "events"],
)
def test_moved_into_meta(move, source, target, native):
    """The native form leaves the span for a tag; the argument is not changed; nothing gives no tag."""
    dd_span = {"meta": {"k": "v"}, source: native}

    moved = move(dd_span)

    assert source not in moved
    assert set(moved["meta"]) == {"k", target}
    assert dd_span == {"meta": {"k": "v"}, source: native}
    assert move({"meta": {}, source: []}) == {"meta": {}}
