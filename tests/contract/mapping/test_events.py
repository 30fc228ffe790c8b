"""Errors, links and events: the rules of spec/span-mapping.md §8, §9, §10."""

import json
import math

import pytest

from ddtrace_manual._encoding.text_forms import with_text_events, with_text_links
from ddtrace_manual._model import STATUS_ERROR, STATUS_OK, STATUS_UNSET, EventRecord, LinkRecord


def exception(name="exception", **attributes):
    return EventRecord(name, 5, {f"exception.{key}": value for key, value in attributes.items()})


FULL = exception(message="m1", type="t1", stacktrace="s1")
ERRORS = [
    # Columns: status, its description, events, attributes, what is expected of error, message, type and stack.
    (STATUS_UNSET, None, [FULL], {}, (None, None, None, None)),
    (STATUS_OK, None, [FULL], {}, (None, None, None, None)),
    (STATUS_UNSET, None, [], {"error.message": "mine"}, (None, "mine", None, None)),
    (STATUS_ERROR, None, [], {}, (1, None, None, None)),
    (STATUS_ERROR, "error_desc", [], {}, (1, "error_desc", None, None)),
    (STATUS_ERROR, "error_desc", [FULL, exception(message="m2")], {}, (1, "m2", "t1", "s1")),
    (STATUS_ERROR, "error_desc", [exception("Exception", type="t")], {}, (1, "error_desc", "t", None)),
    (STATUS_ERROR, None, [exception("other", type="t")], {}, (1, None, None, None)),
    (STATUS_ERROR, None, [exception(message=["a", 1], type=7)], {}, (1, '["a",1]', "7", None)),
    (STATUS_ERROR, None, [exception(message=None, type="t")], {}, (1, None, "t", None)),
    (STATUS_ERROR, None, [EventRecord("exception", 5)], {}, (1, None, None, None)),
    (STATUS_ERROR, "", [], {"http.status_code": "201"}, (1, "201", None, None)),
    (
        STATUS_ERROR,
        None,
        [],
        {"http.response.status_code": 503, "http.status_text": "Busy"},
        (1, "503 Busy", None, None),
    ),
    (STATUS_ERROR, None, [], {"http.status_text": "Busy"}, (1, None, None, None)),
    (STATUS_ERROR, "d", [], {"error.message": "mine"}, (1, "mine", None, None)),
    (STATUS_ERROR, "d", [FULL], {"error.message": "mine"}, (1, "m1", "t1", "s1")),
    (STATUS_ERROR, "d", [FULL], {"error.message": "a", "error.type": "b", "error.stack": "c"}, (1, "a", "b", "c")),
    (
        STATUS_ERROR,
        "d",
        [FULL],
        {"datadog.error.msg": "a", "datadog.error.type": "b", "datadog.error.stack": "c"},
        (1, "a", "b", "c"),
    ),
    (STATUS_ERROR, "d", [], {"error.message": 5}, (1, "d", None, None)),
    (STATUS_UNSET, None, [], {"datadog.error": 1}, (1, None, None, None)),
    (STATUS_UNSET, None, [], {"datadog.error": 1.0}, (1, None, None, None)),
    (STATUS_ERROR, "d", [], {"datadog.error": 0}, (None, "d", None, None)),
    (STATUS_ERROR, "d", [], {"datadog.error": "0"}, (1, "d", None, None)),
]


@pytest.mark.parametrize(("status_code", "description", "events", "attributes", "expected"), ERRORS)
def test_error(map_one, status_code, description, events, attributes, expected):
    """Only the status makes an error; the last exception event, then description or HTTP status describe it."""
    dd_span = map_one(attributes, status_code=status_code, status_description=description, event_records=events)
    meta = dd_span["meta"]
    found = (dd_span.get("error"), meta.get("error.message"), meta.get("error.type"), meta.get("error.stack"))
    assert found == expected
    assert "error.message" not in dd_span["metrics"] or "error.message" not in meta


@pytest.mark.parametrize(
    ("status_code", "description", "tags"),
    [
        (STATUS_UNSET, None, ("Unset", None)),
        (STATUS_OK, None, ("Ok", None)),
        (STATUS_ERROR, "", ("Error", None)),
        (STATUS_ERROR, "why", ("Error", "why")),
    ],
)
def test_status_tags(map_one, status_code, description, tags):
    """The OpenTelemetry status is a tag; its description only of an error."""
    meta = map_one(status_code=status_code, status_description=description)["meta"]
    assert (meta["otel.status_code"], meta.get("otel.status_description")) == tags


def test_error_with_otel_semantics(map_one):
    """With OpenTelemetry semantics only the status description describes an error."""
    settings = {"otel_semantics": True}
    dd_span = map_one(status_code=STATUS_ERROR, status_description="d", event_records=[FULL], settings=settings)
    assert dd_span["error"] == 1
    assert dd_span["meta"]["error.message"] == "d"
    assert "error.type" not in dd_span["meta"]
    dd_span = map_one({"error.message": "old"}, status_code=STATUS_ERROR, settings=settings)
    assert dd_span["meta"]["error.message"] == "old"


def test_link(map_one):
    """A link carries both halves of the trace id, flattened text attributes, tracestate and known flags."""
    attributes = {"foo": "bar", "array": ["a", "b", "c"], "bools": [True, False], "nested": [1, 2], "none": None}
    link = LinkRecord(0x10 << 64 | 1234567890, 9876543210, attributes, "dd=s:2;o:synthetics;t.dm:-4", 1)
    assert map_one(link_records=[link])["span_links"] == [
        {
            "trace_id": 1234567890,
            "trace_id_high": 0x10,
            "span_id": 9876543210,
            "attributes": {
                "foo": "bar",
                "array.0": "a",
                "array.1": "b",
                "array.2": "c",
                "bools.0": "true",
                "bools.1": "false",
                "nested.0": "1",
                "nested.1": "2",
            },
            "tracestate": "dd=s:2;o:synthetics;t.dm:-4",
            "flags": 0x80000001,
        }
    ]


@pytest.mark.parametrize(
    ("flags", "on_wire"),
    [(0, {"flags": 0x80000000}), (1, {"flags": 0x80000001}), (0x301, {"flags": 0x80000001}), (None, {})],
)
def test_link_flags(map_one, flags, on_wire):
    """Flags say that they are known; unknown ones are absent, and so is everything empty."""
    (link,) = map_one(link_records=[LinkRecord(1, 2, flags=flags)])["span_links"]
    assert link == {"trace_id": 1, "trace_id_high": 0, "span_id": 2} | on_wire


def test_links_to_one_span(map_one):
    """A later link to the same span replaces the earlier one in its place; span pointers always stay."""
    pointer = {"link.kind": "span-pointer"}
    links = [LinkRecord(1, 2), LinkRecord(0, 0, pointer), LinkRecord(3, 4), LinkRecord(0, 0, pointer), LinkRecord(5, 2)]
    mapped = map_one(link_records=links)["span_links"]
    assert [(link["trace_id"], link["span_id"]) for link in mapped] == [(5, 2), (0, 0), (3, 4), (0, 0)]


def test_text_links(map_one):
    """As text, ids are hexadecimal, attributes sorted and flags without the bit that says they are known."""
    link = LinkRecord(0x10 << 64 | 1234567890, 9876543210, {"foo": "bar", "a": 1}, "dd=s:2;o:synthetics;t.dm:-4", 1)
    dd_span = map_one({"_dd.span_links": 5}, link_records=[link, LinkRecord(1, 2), LinkRecord(1, 3, flags=0)])
    dd_span = with_text_links(dd_span)
    assert "span_links" not in dd_span
    assert dd_span["meta"]["_dd.span_links"] == (
        '[{"trace_id":"000000000000001000000000499602d2","span_id":"000000024cb016ea",'
        '"attributes":{"a":"1","foo":"bar"},"tracestate":"dd=s:2;o:synthetics;t.dm:-4","flags":1},'
        '{"trace_id":"00000000000000000000000000000001","span_id":"0000000000000002"},'
        '{"trace_id":"00000000000000000000000000000001","span_id":"0000000000000003","flags":0}]'
    )
    assert "_dd.span_links" not in dd_span["metrics"]


EVENT_VALUES = [
    ("text", {"type": 0, "string_value": "text"}),
    ("", {"type": 0, "string_value": ""}),
    (True, {"type": 1, "bool_value": True}),
    (7, {"type": 2, "int_value": 7}),
    (2**63 - 1, {"type": 2, "int_value": 2**63 - 1}),
    (-(2**63), {"type": 2, "int_value": -(2**63)}),
    (2**63, None),
    (0.0, {"type": 3, "double_value": 0.0}),
    (math.nan, None),
    (math.inf, None),
    ([], {"type": 4, "array_value": {"values": []}}),
    ((1, 2), {"type": 4, "array_value": {"values": [{"type": 2, "int_value": 1}, {"type": 2, "int_value": 2}]}}),
    ([True, 1], None),
    ([1, 1.0], None),
    ([[1]], None),
    ([1, 2**63], None),
    ([None], None),
    (None, None),
    (b"bytes", None),
    ({"a": 1}, None),
    ({1}, None),
]


@pytest.mark.parametrize(("value", "typed"), EVENT_VALUES)
def test_event_value(map_one, value, typed):
    """Event attributes are typed objects; an attribute without a valid form is dropped, the event stays."""
    (event,) = map_one(event_records=[EventRecord("e", 9, {"k": value, "other": 1})])["span_events"]
    expected = {"other": {"type": 2, "int_value": 1}}
    if typed is not None:
        expected["k"] = typed
    assert event == {"time_unix_nano": 9, "name": "e", "attributes": expected}
    assert all(next(iter(value)) == "type" for value in event["attributes"].values())


def test_event_without_attributes(map_one):
    """Attributes are left out when there are none."""
    mapped = map_one(event_records=[EventRecord("a", 9), EventRecord("b", -1, {}), EventRecord("c", 1, {"k": None})])
    assert mapped["span_events"] == [
        {"time_unix_nano": 9, "name": "a"},
        {"time_unix_nano": 0, "name": "b"},
        {"time_unix_nano": 1, "name": "c"},
    ]


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("exception", "true"),
        ("EXCEPTION", "true"),
        ("ExCeption", "true"),
        ("exceptions", None),
        ("\u212axception", None),
    ],
)
def test_exception_event_tag(map_one, name, tag):
    """A span with an exception event says so, whatever its status."""
    dd_span = map_one(event_records=[EventRecord("first", 1), EventRecord(name, 2)])
    assert dd_span["meta"].get("_dd.span_events.has_exception") == tag


def test_text_events(map_one):
    """As text, events hold natural values."""
    events = [
        EventRecord(
            "second_event", 1700000000000000000, {"string_val": "vål", "int_array": [3, 4], "f": 0.0, "b": True}
        ),
        EventRecord("bare", 1),
    ]
    dd_span = map_one({"events": 5}, event_records=events)
    dd_span = with_text_events(dd_span)
    assert "span_events" not in dd_span
    assert dd_span["meta"]["events"] == (
        '[{"name":"second_event","time_unix_nano":1700000000000000000,'
        '"attributes":{"string_val":"vål","int_array":[3,4],"f":0.0,"b":true}},{"name":"bare","time_unix_nano":1}]'
    )
    assert "events" not in dd_span["metrics"]
    json.loads(dd_span["meta"]["events"])


def test_text_forms_of_nothing(map_one):
    """Without links and events the text forms change nothing."""
    dd_span = map_one({"a": 1})
    assert with_text_links(with_text_events(dd_span)) == dd_span


def test_numbers_without_a_field(map_one):
    """A time that fits into no field becomes 0 and an id loses its excess bits: the span itself is not lost."""
    events = [EventRecord("far", 2**64), EventRecord("last", 2**64 - 1), EventRecord("early", -1)]

    dd_span = map_one(event_records=events, link_records=[LinkRecord(1, 2**64 + 5)])

    assert [event["time_unix_nano"] for event in dd_span["span_events"]] == [0, 2**64 - 1, 0]
    assert [link["span_id"] for link in dd_span["span_links"]] == [5]
