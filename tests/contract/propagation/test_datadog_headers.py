"""Vectors of the `x-datadog-*` headers (spec/propagation.md §4)."""

from __future__ import annotations

import pytest

from ddtrace_manual._model import SegmentRecord
from ddtrace_manual.propagation import _datadog

HIGH = 0x640CFD8D00000000
LOW = 0xABCDEFAB12345678


def headers_with(**changed):
    names = {
        "trace_id": "x-datadog-trace-id",
        "parent_id": "x-datadog-parent-id",
        "priority": "x-datadog-sampling-priority",
        "origin": "x-datadog-origin",
        "tags": "x-datadog-tags",
    }
    values = {"trace_id": "123", "parent_id": "456", "priority": "1", **changed}
    return {names[key]: value for key, value in values.items() if value is not None}


def test_writes_the_documented_example():
    """A 128-bit trace kept by default leaves with the five documented values."""
    segment = SegmentRecord()
    segment.priority = 1
    headers: dict[str, str] = {}
    _datadog.inject(HIGH << 64 | LOW, 987654321, segment, headers, tags={"_dd.p.dm": "-0"})
    assert headers == {
        "x-datadog-trace-id": "12379814468735227512",
        "x-datadog-parent-id": "987654321",
        "x-datadog-sampling-priority": "1",
        "x-datadog-tags": "_dd.p.dm=-0,_dd.p.tid=640cfd8d00000000",
    }


@pytest.mark.parametrize(
    ("text", "trace_id"),
    [
        ("123456789", 123456789),
        (" 123 ", 123),
        ("0" * 50 + "7", 7),
        (str(2**64 - 1), 2**64 - 1),
        ("0", None),
        ("000", None),
        ("-1", None),
        ("+5", None),
        ("1e3", None),
        ("1_000", None),
        ("", None),
        (str(2**64), None),
        ("9" * 5000, None),
        ("ab", None),
        ("١٢٣", None),
        ("²", None),
    ],
)
def test_a_context_needs_a_strict_trace_id(text, trace_id):
    """Without 1 … 2^64-1 in ASCII digits there is no context, whatever else the request says."""
    remote = _datadog.extract(headers_with(trace_id=text, priority="2", tags="_dd.p.dm=-4", origin="rum"))
    assert (remote.trace_id if remote else None) == trace_id


def test_no_trace_id_is_no_context():
    """The other headers alone say nothing."""
    assert _datadog.extract(headers_with(trace_id=None)) is None


@pytest.mark.parametrize(
    ("text", "span_id"),
    [("987654321", 987654321), ("0", 0), (None, 0), ("", 0), ("-3", 0), ("x", 0), (str(2**64), 0)],
)
def test_a_malformed_parent_costs_only_itself(text, span_id):
    """A missing or malformed parent id is 0 and the context stands."""
    assert _datadog.extract(headers_with(parent_id=text)).span_id == span_id


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("-1", -1), ("0", 0), ("1", 1), ("2", 2), ("-2", -2), ("42", 42), ("+1", 1), (" 2 ", 2), ("007", 7),
        ("127", 127), ("-128", -128), ("128", None), ("-129", None), ("9" * 5000, None),
        ("abc", None), ("1.5", None), ("", None), ("-", None), ("--1", None), ("1_0", None), ("٣", None), (None, None),
    ],
)  # fmt: skip
def test_a_malformed_priority_is_unknown(text, priority):
    """Any number in -128 … 127 survives, anything else leaves the decision open."""
    remote = _datadog.extract(headers_with(priority=text))
    assert remote.priority == priority
    assert remote.trace_id == 123


@pytest.mark.parametrize(
    ("text", "origin"),
    [("synthetics", "synthetics"), ("synthetics;=web,z", "synthetics;=web,z"), ("a\nb", None), ("é", None), ("", None)],
)
def test_origin_is_verbatim_or_dropped(text, origin):
    """An origin outside 0x20-0x7E is dropped, any other one is kept as it is."""
    assert _datadog.extract(headers_with(origin=text)).origin == origin


@pytest.mark.parametrize(
    ("text", "tags", "error"),
    [
        ("_dd.p.dm=-4", {"_dd.p.dm": "-4"}, None),
        ("_dd.p.dm=-4,_dd.p.usr.id=baz64==,_dd.p.url=http://localhost",
         {"_dd.p.dm": "-4", "_dd.p.usr.id": "baz64==", "_dd.p.url": "http://localhost"}, None),
        (" _dd.p.a = b c , _dd.p.d=e ", {"_dd.p.a": "b c", "_dd.p.d": "e"}, None),
        ("", {}, None),
        ("  ", {}, None),
        ("other=1,_dd.p.a=b", {"_dd.p.a": "b"}, None),
        ("_dd.p.=1,_dd.p.a=b", {"_dd.p.a": "b"}, None),
        ("_dd.p.upstream_services=x,_dd.p.a=b", {"_dd.p.a": "b"}, None),
        ("_dd.p.a=1,_dd.p.b=2,_dd.p.a=3", {"_dd.p.a": "3", "_dd.p.b": "2"}, None),
        ("_dd.p.a", {}, "decoding_error"),
        ("_dd.p.a=", {}, "decoding_error"),
        ("=b", {}, "decoding_error"),
        ("_dd.p.a=b,,_dd.p.c=d", {}, "decoding_error"),
        ("_dd.p.a=b,", {}, "decoding_error"),
        ("_dd.p.a b=c", {}, "decoding_error"),
        ("_dd.p.a=é", {}, "decoding_error"),
        ("_dd.p.a=\x7f", {}, "decoding_error"),
        ("_dd.p.a=" + "x" * 600, {}, "extract_max_size"),
        ("_dd.p.dm=-15", {"_dd.p.dm": "-15"}, None),
        ("_dd.p.dm=-255", {"_dd.p.dm": "-255"}, None),
        ("_dd.p.dm=-256,_dd.p.a=b", {"_dd.p.a": "b"}, "decoding_error"),
        ("_dd.p.dm=-1a", {}, "decoding_error"),
        ("_dd.p.dm=4", {}, "decoding_error"),
        ("_dd.p.dm=-0004", {}, "decoding_error"),
        ("_dd.p.dm=934086a6-4", {}, "decoding_error"),
    ],
)  # fmt: skip
def test_tags_are_all_or_nothing(text, tags, error):
    """One malformed pair discards all tags, never the context; order and duplicates follow the rules."""
    remote = _datadog.extract(headers_with(tags=text))
    assert (remote.tags or {}) == tags
    assert list(remote.tags or ()) == list(tags)
    assert remote.propagation_error == error
    assert remote.trace_id == 123


@pytest.mark.parametrize(("limit", "error"), [(0, "disabled"), (11, None), (10, "extract_max_size")])
def test_the_configured_limit_counts_on_extraction(limit, error):
    """The length limit applies to incoming tags, and 0 reads none."""
    remote = _datadog.extract(headers_with(tags="_dd.p.dm=-4"), tags_max_length=limit)
    assert remote.propagation_error == error
    assert remote.tags == ({"_dd.p.dm": "-4"} if error is None else None)


@pytest.mark.parametrize(
    ("tid", "good"),
    [
        ("640cfd8d00000000", True),
        ("1234567890abcdef1", False),
        ("1234567890abcde", False),
        ("1234567890abcdeX", False),
        ("1234567890ABCDEF", False),
        ("+234567890abcdef", False),
        ("0000000000000000", False),
    ],
)
def test_the_high_half_is_checked_and_taken_out(tid, good):
    """A valid `_dd.p.tid` completes the trace id, any other one is an error; the tag itself never stays."""
    remote = _datadog.extract(headers_with(tags=f"_dd.p.dm=-4,_dd.p.tid={tid}"))
    assert remote.trace_id == ((int(tid, 16) << 64) + 123 if good else 123)
    assert remote.propagation_error == (None if good else f"malformed_tid {tid}")
    assert remote.tags == {"_dd.p.dm": "-4"}


def test_tags_of_two_requests_are_not_shared():
    """Equal tag headers give equal, separate dictionaries."""
    first, second = (_datadog.extract(headers_with(tags="_dd.p.dm=-4")) for _ in range(2))
    first.tags["_dd.p.a"] = "b"
    assert second.tags == {"_dd.p.dm": "-4"}


@pytest.mark.parametrize(
    ("tags", "trace_id", "limit", "text", "error"),
    [
        ({"_dd.p.dm": "-4", "_dd.p.usr.id": "baz64=="}, 1, 512, "_dd.p.dm=-4,_dd.p.usr.id=baz64==", None),
        ({"_dd.p.b": "1", "_dd.p.a": "2"}, 1, 512, "_dd.p.b=1,_dd.p.a=2", None),
        ({"_dd.p.tid": "ffff"}, 1, 512, "", None),
        ({"_dd.p.tid": "ffff"}, HIGH << 64 | 1, 512, "_dd.p.tid=640cfd8d00000000", None),
        (None, 1, 512, "", None),
        ({}, HIGH << 64, 512, "_dd.p.tid=640cfd8d00000000", None),
        ({"_dd.p.a": " b "}, 1, 512, "_dd.p.a=b", None),
        ({"_dd.p.dm": "-0"}, 1, 0, "", "disabled"),
        ({}, 1, 0, "", None),
        ({"_dd.p.dm": "-0"}, 1, 10, "", "inject_max_size"),
        ({"_dd.p.a": "x" * 505}, 1, 512, "", "inject_max_size"),
        ({"_dd.p.dm": "-0", "_dd.p.a": "b,c"}, 1, 512, "", "encoding_error"),
        ({"_dd.p.a b": "c"}, 1, 512, "", "encoding_error"),
        ({"_dd.p.a": ""}, 1, 512, "", "encoding_error"),
        ({"_dd.p.a": "é"}, 1, 512, "", "encoding_error"),
        ({"_dd.p.a": "x\r\nset-cookie: 1"}, 1, 512, "", "encoding_error"),
        ({"other": "1"}, 1, 512, "", "encoding_error"),
    ],
)
def test_tags_are_written_whole_or_not_at_all(tags, trace_id, limit, text, error):
    """Outgoing tags keep their order; what does not fit or cannot be encoded omits the header and is noted."""
    segment = SegmentRecord()
    headers: dict[str, str] = {}
    _datadog.inject(trace_id, 2, segment, headers, tags=tags, tags_max_length=limit)
    assert headers.get("x-datadog-tags", "") == text
    assert segment.propagation_error == error


def test_an_incoming_error_does_not_stop_outgoing_tags(hop):
    """After a decoding error the new decision maker and the trace id's high half still leave."""
    made = hop(headers_with(priority=None, tags="broken"))
    assert made.headers["x-datadog-tags"] == "_dd.p.dm=-0"
    assert made.segment.propagation_error == "decoding_error"


def test_an_illegal_local_origin_is_not_written():
    """An origin that cannot stand in a header is left out."""
    segment = SegmentRecord()
    segment.origin = "a\r\nb"
    headers: dict[str, str] = {}
    _datadog.inject(1, 2, segment, headers)
    assert headers == {"x-datadog-trace-id": "1", "x-datadog-parent-id": "2"}


def test_a_64_bit_trace_stays_64_bit(hop):
    """No high half is invented for a trace that came without."""
    made = hop(headers_with(tags="_dd.p.dm=-4,_dd.p.usr.id=baz64=="))
    assert made.headers["x-datadog-tags"] == "_dd.p.dm=-4,_dd.p.usr.id=baz64=="
    assert made.headers["traceparent"].startswith("00-0000000000000000000000000000007b-")
