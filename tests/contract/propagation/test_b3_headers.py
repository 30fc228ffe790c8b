"""Vectors of the two B3 forms (spec/propagation.md §7, §8)."""

from __future__ import annotations

import pytest

from ddtrace_manual._model import SegmentRecord
from ddtrace_manual.propagation import _b3

LONG = "640cfd8d00000000abcdefab12345678"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("000000000000000000000000075bcd15-000000003ade68b1-1", (123456789, 987654321, 1)),
        (f"{LONG}-000000003ade68b1-1", (int(LONG, 16), 987654321, 1)),
        (" abcdefab12345678-1-0 ", (0xABCDEFAB12345678, 1, 0)),
        ("ABCDEFAB12345678-1A-d", (0xABCDEFAB12345678, 0x1A, 2)),
        ("1-2", (1, 2, None)),
        ("1-2-x", (1, 2, None)),
        ("1-2-1-3", (1, 2, 1)),
        ("1-2-1-3-4-5", (1, 2, 1)),
        ("1-0-1", (1, 0, 1)),
        ("0", None), ("1", None), ("d", None), ("", None), ("0-0-1", None), ("0x1f-1-1", None), ("1_0-1-1", None),
        (f"1{LONG}-1-1", None), ("xyz-1-1", None), ("1-xyz-1", None), ("1-12345678901234567-1", None),
        ("-1-1", None), ("1--1", None), ("\uff11-1-1", None),
    ],
)  # fmt: skip
def test_reads_the_single_header(text, expected):
    """Ids are strict hexadecimal, a bare sampling state is no context."""
    remote = _b3.extract_single({"b3": text})
    assert (remote and (remote.trace_id, remote.span_id, remote.priority)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-b3-traceid": LONG, "x-b3-spanid": "1"}, (int(LONG, 16), 1, None)),
        ({"x-b3-traceid": "1"}, (1, 0, None)),
        ({"x-b3-traceid": "1", "x-b3-spanid": "2", "x-b3-sampled": "0"}, (1, 2, 0)),
        ({"x-b3-traceid": "1", "x-b3-spanid": "2", "x-b3-sampled": "1"}, (1, 2, 1)),
        ({"x-b3-traceid": "1", "x-b3-spanid": "2", "x-b3-sampled": "true"}, (1, 2, 1)),
        ({"x-b3-traceid": "1", "x-b3-spanid": "2", "x-b3-sampled": "yes"}, (1, 2, None)),
        ({"x-b3-traceid": "1", "x-b3-spanid": "2", "x-b3-sampled": "0", "x-b3-flags": "1"}, (1, 2, 2)),
        ({"x-b3-traceid": "1", "x-b3-spanid": "2", "x-b3-flags": "0", "x-b3-sampled": "1"}, (1, 2, 1)),
        ({"x-b3-traceid": "0", "x-b3-spanid": "2"}, None),
        ({"x-b3-traceid": "g", "x-b3-spanid": "2"}, None),
        ({"x-b3-traceid": "1", "x-b3-spanid": "g"}, None),
        ({"x-b3-spanid": "2"}, None),
        ({}, None),
    ],
)
def test_reads_the_several_headers(headers, expected):
    """Flags win over sampled; a missing span id is 0."""
    remote = _b3.extract_multi(headers)
    assert (remote and (remote.trace_id, remote.span_id, remote.priority)) == expected


@pytest.mark.parametrize(
    ("priority", "single", "multi"),
    [
        (None, "", {}),
        (-1, "-0", {"x-b3-sampled": "0"}),
        (0, "-0", {"x-b3-sampled": "0"}),
        (1, "-1", {"x-b3-sampled": "1"}),
        (2, "-d", {"x-b3-flags": "1"}),
        (42, "-d", {"x-b3-flags": "1"}),
    ],
)
@pytest.mark.parametrize(("trace_id", "text"), [(int(LONG, 16), LONG), (0xABCDEF, "0000000000abcdef")])
def test_writes_both_forms(priority, single, multi, trace_id, text):
    """Trace ids have 16 or 32 digits; the priority is sampled, flags or nothing."""
    segment = SegmentRecord()
    segment.priority = priority
    headers: dict[str, str] = {}
    _b3.inject_single(trace_id, 255, segment, headers)
    assert headers == {"b3": f"{text}-00000000000000ff{single}"}
    headers = {}
    _b3.inject_multi(trace_id, 255, segment, headers)
    assert headers == {"x-b3-traceid": text, "x-b3-spanid": "00000000000000ff", **multi}
