"""Properties: what was injected is extracted; nothing a client sends raises, grows or leaks into headers."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.context.context import Context

from ddtrace_manual._model import RemoteContext, SegmentRecord
from ddtrace_manual.propagation import DatadogPropagator, PropagationSettings, Propagator

ALL = ("datadog", "tracecontext", "b3multi", "b3", "baggage")
NAMES = sorted(Propagator(PropagationSettings(inject_styles=ALL)).fields)
LEGAL_VALUE = re.compile(r"[\x20-\x7e]*")

trace_ids = st.integers(1, 2**128 - 1).filter(lambda value: value % 2**64)
span_ids = st.integers(1, 2**64 - 1)
printable = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=",=;~"), min_size=1, max_size=12
)
foreign_keys = st.from_regex("[a-z0-9][-a-z0-9_*/@]{0,12}", fullmatch=True).filter(lambda key: key not in ("dd", "ot"))
tag_dicts = st.dictionaries(printable.map(lambda name: "_dd.p.x" + name.replace(":", "")), printable, max_size=4)
ots = st.none() | st.tuples(
    st.tuples(st.just("rv"), st.integers(0, 2**56 - 1).map("{:014x}".format)), st.tuples(st.just("th"), st.just("8"))
)


@st.composite
def segments(draw):
    segment = SegmentRecord()
    segment.trace_id = draw(trace_ids)
    segment.priority = draw(st.integers(-128, 127))
    segment.origin = draw(st.none() | printable)
    segment.tags = draw(tag_dicts)
    mechanism = draw(st.none() | st.integers(0, 255))
    if mechanism is not None:
        segment.tags["_dd.p.dm"] = f"-{mechanism}"
    members = draw(st.dictionaries(foreign_keys, printable, max_size=5))
    segment.members = tuple(members.items())
    segment.ot = draw(ots)
    segment.is_random = draw(st.booleans())
    return segment


def carry(segment, span_id, *styles):
    propagator = Propagator(PropagationSettings(extract_styles=styles, inject_styles=styles))
    headers: dict[str, str] = {}
    propagator.inject_state(segment.trace_id, span_id, segment, headers)
    return propagator.extract_remote(headers)


@given(segments(), span_ids)
def test_datadog_headers_round_trip(segment, span_id):
    """Ids, priority, origin and tags in order come back from `x-datadog-*`."""
    remote = carry(segment, span_id, "datadog")
    assert (remote.trace_id, remote.span_id, remote.priority) == (segment.trace_id, span_id, segment.priority)
    assert (remote.origin, list((remote.tags or {}).items())) == (segment.origin, list(segment.tags.items()))


@given(segments(), span_ids)
def test_w3c_headers_round_trip(segment, span_id):
    """Ids, priority, origin, tags, other vendors and `ot` come back from the W3C headers."""
    remote = carry(segment, span_id, "tracecontext")
    assert (remote.trace_id, remote.span_id, remote.priority) == (segment.trace_id, span_id, segment.priority)
    assert (remote.origin, remote.tags or {}) == (segment.origin, segment.tags)
    assert remote.is_random is segment.is_random
    assert (remote.members, remote.ot, remote.parent_tag) == (segment.members, segment.ot, f"{span_id:016x}")


@given(segments(), span_ids, st.sampled_from(["b3", "b3multi"]))
def test_b3_headers_round_trip(segment, span_id, style):
    """Ids and the kind of decision come back from B3."""
    remote = carry(segment, span_id, style)
    assert (remote.trace_id, remote.span_id) == (segment.trace_id, span_id)
    assert remote.priority == min(max(segment.priority, 0), 2)


@given(segments(), span_ids)
def test_all_styles_agree(segment, span_id):
    """Read together, the headers of one span are one context without links."""
    remote = carry(segment, span_id, *ALL)
    assert (remote.trace_id, remote.span_id, remote.links, remote.parent_tag) == (segment.trace_id, span_id, (), None)
    assert (remote.members, remote.ot, remote.is_random) == (segment.members, segment.ot, segment.is_random)


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=8))
def test_baggage_round_trips(items):
    """Every item comes back as it was, less surrounding blanks and what is empty."""
    propagator = Propagator(PropagationSettings())
    headers: dict[str, str] = {}
    propagator.add_baggage(items, {}, headers)
    expected = {key.strip(): value.strip() for key, value in items.items() if key.strip() and value.strip()}
    read = {key: value for key, (value, _) in propagator.extract(headers).baggage.items()}
    assert read == {key: value.encode(errors="replace").decode() for key, value in expected.items()} or any(
        "\ud800" <= character <= "\udfff" for character in "".join([*items, *items.values()])
    )
    assert all(LEGAL_VALUE.fullmatch(value) for value in headers.values())


PIECES = st.sampled_from([
    "0", "1", "-1", "ff", "00", "dd=", "s:1", "s:x", "o:rum", "p:0", "t.dm:-4", "t.tid:1", "t.x:", ";", ",", "=", ":", "-", "~",
    " ", "\t", "\r\n", "\x00", "é", "\ud800", "ot=", "rv:", "th:8", "_dd.p.dm=-1", "_dd.p.tid=", "%", "%zz", "%E9",
    "00-12345678901234567890123456789012-1234567890123456-01", "640cfd8d00000000", "9" * 30,
])  # fmt: skip
texts = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)
values = (
    texts | st.binary(max_size=20) | st.lists(texts | st.binary(max_size=4), max_size=3) | st.integers() | st.none()
)
names = st.sampled_from(NAMES) | st.sampled_from(NAMES).map(str.upper) | st.text(max_size=5) | st.binary(max_size=5)
pair_lists = st.lists(st.tuples(names, values) | st.integers() | st.tuples(names), max_size=12)
carriers = pair_lists | st.dictionaries(names, values, max_size=12) | values


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(carriers, st.sampled_from(["continue", "restart"]), st.booleans(), st.permutations(ALL))
def test_nothing_that_arrives_raises_or_leaves_as_an_illegal_header(carrier, behavior, guard, styles):
    """Any carrier gives a context or none; whatever is sent on has legal, single-line values."""
    chosen = PropagationSettings(tuple(styles), ALL, behavior=behavior, org_guard_enabled=guard, http_baggage=True)
    propagator = DatadogPropagator(Propagator(chosen, local_marker=lambda: "ours"))
    context = propagator.extract(carrier, Context())
    headers: dict[str, str] = {}
    propagator.inject(headers, context)
    assert all(type(value) is str and LEGAL_VALUE.fullmatch(value) for value in headers.values()), headers
    assert len(headers.get("x-datadog-tags", "")) <= 512
    assert len(headers.get("tracestate", "").split(",")) <= 32
    again: dict[str, str] = {}
    propagator.inject(again, context)
    assert again == headers


@given(
    st.dictionaries(st.text(max_size=12), st.text(max_size=30), max_size=5),
    st.text(max_size=20),
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=5)), max_size=3),
)
def test_no_local_state_makes_an_illegal_header(tags, origin, ot):
    """Tags and an origin set by the application cannot break out of a header."""
    segment = RemoteContext(1, 2)
    segment.priority, segment.origin, segment.parent_tag = 1, origin, origin
    segment.tags = {"_dd.p." + key: value for key, value in tags.items()}
    headers: dict[str, str] = {}
    Propagator(PropagationSettings()).inject_state(1, 2, segment, headers)
    assert all(LEGAL_VALUE.fullmatch(value) for value in headers.values()), headers
    assert "traceparent" in headers


MEGABYTE = 1 << 20
VALID = f"00-{1:032x}-{2:016x}-01"


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        ",",
        ";",
        "=",
        ":",
        "-",
        "0",
        "9",
        "%",
        "a=b,",
        "a:b;",
        "t.a:b;",
        "_dd.p.a=b,",
        " ",
        "\t,",
        "é",
        "%41",
        "~",
        "k=v;p,",
    ],
)
def test_a_megabyte_takes_linear_time(unit):
    """Huge values of every kind are read and sent on in well under a second each."""
    text = unit * (MEGABYTE // len(unit))
    propagator = DatadogPropagator(Propagator(PropagationSettings(ALL, ALL, baggage_max_bytes=10 * MEGABYTE)))
    started = time.process_time()
    for prefix in ("", "dd=", "ot="):
        carrier = dict.fromkeys(NAMES, prefix + text) | {"x-datadog-trace-id": "1", "traceparent": VALID}
        propagator.inject({}, propagator.extract(carrier))
    propagator.extract({"traceparent": text, "x-datadog-trace-id": text, "x-b3-traceid": text, "b3": "1-1-" + text})
    assert time.process_time() - started < 10


def test_many_duplicates_take_linear_time():
    """A hundred thousand repeated headers are joined once."""
    carrier = [("tracestate", f"k{number}=v") for number in range(100_000)] + [("traceparent", VALID)]
    started = time.process_time()
    remote = Propagator(PropagationSettings()).extract_remote(carrier)
    assert time.process_time() - started < 5
    assert remote.members == ()
