"""Strings too long for the wire: what the encoders make of mapped spans."""

import ddtrace_manual._mapping as mapping
from ddtrace_manual._encoding.wire_text import repaired
from ddtrace_manual._model import EventRecord, LinkRecord


def test_exported_names():
    assert mapping.__all__ == sorted(mapping.__all__)
    assert all(hasattr(mapping, name) for name in mapping.__all__)


LONG, CUT = "x" * 25_001, "x" * 2_486 + "<truncated>..."


def test_over_long_strings_are_cut_wherever_they_stand(map_one):
    dd_span = map_one(
        {
            "k": LONG,
            LONG: "v",
            LONG + "n": 1,
            "service.name": LONG,
            "operation.name": LONG,
            "resource.name": LONG,
            "span.type": LONG,
        },
        link_records=[LinkRecord(1, 2, {LONG: LONG}, LONG, 1)],
        event_records=[EventRecord(LONG, 1, {LONG: [LONG], "n": 1})],
    )
    dd_span = repaired(dd_span)
    assert [dd_span[field] for field in ("service", "name", "resource", "type")] == [CUT] * 4
    assert dd_span["meta"]["k"] == CUT
    assert dd_span["meta"][CUT] == "v"
    assert dd_span["metrics"][CUT] == 1.0
    assert dd_span["span_links"][0] == {
        "trace_id": 1,
        "trace_id_high": 0,
        "span_id": 2,
        "attributes": {CUT: CUT},
        "tracestate": CUT,
        "flags": 0x80000001,
    }
    (event,) = dd_span["span_events"]
    assert event["name"] == CUT
    assert event["attributes"][CUT]["array_value"]["values"] == [{"type": 0, "string_value": CUT}]
    assert len(CUT) == 2_500


def test_strings_of_25_000_characters_stay(map_one):
    dd_span = map_one({"k": "x" * 25_000})
    assert repaired(dd_span) == dd_span
