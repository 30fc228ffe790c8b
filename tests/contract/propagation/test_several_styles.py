"""Vectors for several contexts in one request (spec/propagation.md §11, §15)."""

from __future__ import annotations

import pytest

from ddtrace_manual.propagation import PropagationSettings, Propagator

HIGH = 0x1111111111111111


def datadog(trace_id, parent_id, tid=None, priority=None):
    headers = {"x-datadog-trace-id": str(trace_id), "x-datadog-parent-id": str(parent_id)}
    if tid:
        headers["x-datadog-tags"] = f"_dd.p.tid={tid}"
    if priority is not None:
        headers["x-datadog-sampling-priority"] = str(priority)
    return headers


def w3c(trace_hex, span_hex, tracestate=None, flag="01"):
    headers = {"traceparent": f"00-{trace_hex}-{span_hex}-{flag}"}
    if tracestate:
        headers["tracestate"] = tracestate
    return headers


ONES = "1" * 16
PROXY = "000000003ade68b1"


def same(low):
    return f"{ONES}{low:016x}"


@pytest.mark.parametrize(
    ("headers", "span_id", "parent_tag", "foreign", "links"),
    [
        (datadog(1, 987654321, ONES) | w3c(same(1), PROXY, f"dd=s:2;p:{PROXY},foo=1"), 987654321, None, "foo=1", 0),
        (datadog(3, 10, ONES) | w3c(same(3), PROXY, "dd=s:2;p:000000000000000a,foo=1"),
         987654321, "000000000000000a", "foo=1", 0),
        (datadog(4, 10, ONES) | w3c(same(4), PROXY, "dd=s:2,foo=1"), 987654321, "000000000000000a", "foo=1", 0),
        (datadog(5, 10, ONES) | w3c(same(5), PROXY, "dd=s:2;p:8fffffffffffffff"), 987654321, "8fffffffffffffff", "", 0),
        (datadog(5, 0, ONES) | w3c(same(5), PROXY, "dd=s:2"), 987654321, None, "", 0),
        (datadog(2, 10, "2" * 16) | w3c(same(2), PROXY), 10, None, "", 1),
        (datadog(3541, 10, ONES) | w3c(same(5), PROXY, "foo=1"), 10, None, "", 1),
        (datadog(5, 10) | w3c(same(5), PROXY, "foo=1"), 10, None, "", 1),
        (datadog(0, 10, ONES) | w3c(same(5), PROXY, "dd=s:2;p:000000000000000b"), 987654321, "000000000000000b", "", 0),
        (datadog(5, 10, ONES, 1) | w3c(same(5), "0" * 16, "foo=1"), 10, None, "", 0),
    ],
)  # fmt: skip
def test_datadog_then_tracecontext(hop, headers, span_id, parent_tag, foreign, links):
    """Of the same trace the W3C parent is nearer and its vendors survive; another trace becomes a link."""
    made = hop(headers)
    assert (made.remote.span_id, made.remote.parent_tag, len(made.remote.links)) == (span_id, parent_tag, links)
    assert ",".join(each for each in made.headers["tracestate"].split(",") if each[:3] not in ("dd=", "ot=")) == foreign


def test_the_primary_priority_wins(hop):
    """Priority and tags of the Datadog headers stand, also in `dd`."""
    made = hop(datadog(1, 10, ONES, 2) | w3c(same(1), f"{10:016x}", "dd=s:1;o:rum;t.a:b,foo=1"))
    assert made.headers["tracestate"] == "dd=s:2;p:000000024cb016ea,foo=1"
    assert made.headers["x-datadog-sampling-priority"] == "2"


@pytest.mark.parametrize("spelling", ["traceparent", "Traceparent"])
@pytest.mark.parametrize("suffix", ["", " "])
def test_equal_spans_take_only_the_list(hop, spelling, suffix):
    """With equal span ids the W3C headers add vendors and `ot`, in whatever spelling."""
    headers = datadog(1, 10, ONES, 2)
    headers[spelling] = f"00-{same(1)}-{10:016x}-01{suffix}"
    headers["tracestate"] = "dd=s:1;p:00000000000000ff,ot=th:8;rv:11111111111111,foo=1"
    made = hop(headers)
    assert (made.remote.parent_tag, made.remote.priority, made.remote.links) == (None, 2, ())
    assert made.headers["tracestate"] == "dd=s:2;p:000000024cb016ea,ot=rv:11111111111111;th:8,foo=1"


def test_a_link_to_the_other_trace():
    """The link carries full ids, the flag, the list of vendors with a fresh `dd`, and where it came from."""
    propagator = Propagator(PropagationSettings())
    trace_hex, span_hex = "12345678901234567890123456789012", "1234567890123456"
    plain = propagator.extract_remote(datadog(2, 2, ONES, 2) | w3c(trace_hex, span_hex)).links[0]
    assert (plain.trace_id >> 64, plain.trace_id % 2**64) == (1311768467284833366, 8687463697196027922)
    assert (plain.span_id, plain.flags, plain.tracestate) == (1311768467284833366, 1, "")
    assert plain.attributes == {"reason": "terminated_context", "context_headers": "tracecontext"}
    listed = propagator.extract_remote(
        datadog(2, 2, ONES, 2) | w3c(trace_hex, span_hex, "foo=1,dd=s:0;p:0123456789abcdef", "00")
    ).links[0]
    assert (listed.flags, listed.tracestate) == (0, "dd=s:0;p:0123456789abcdef,foo=1")


def test_no_link_without_a_span(hop):
    """A context of another trace without span id cannot be linked."""
    made = hop(w3c(same(1), PROXY) | datadog(7, 0), extract_styles=("tracecontext", "datadog"))
    assert made.remote.links == ()


def test_tracecontext_first():
    """W3C as the primary decides by itself; foreign Datadog headers become the link."""
    propagator = Propagator(PropagationSettings(extract_styles=("tracecontext", "datadog")))
    remote = propagator.extract_remote(datadog(7, 8, None, 0) | w3c(same(1), PROXY, "dd=s:2;p:00000000000000ff"))
    assert (remote.trace_id, remote.priority, remote.parent_tag) == (HIGH << 64 | 1, 2, "00000000000000ff")
    link = remote.links[0]
    assert (link.trace_id, link.span_id, link.flags, link.tracestate) == (7, 8, 0, "")
    assert link.attributes["context_headers"] == "datadog"


def test_three_styles_compare_with_the_primary():
    """Each later context is held against the first one."""
    propagator = Propagator(PropagationSettings(extract_styles=("datadog", "b3multi", "b3", "tracecontext")))
    headers = datadog(1, 10, ONES, 1) | w3c(same(1), PROXY, "foo=1")
    headers |= {"x-b3-traceid": "5", "x-b3-spanid": "6", "b3": f"{same(1)}-9-d"}
    remote = propagator.extract_remote(headers)
    assert [link.attributes["context_headers"] for link in remote.links] == ["b3multi"]
    assert (remote.span_id, remote.parent_tag, remote.priority) == (987654321, "000000000000000a", 1)


def test_b3_with_a_nearer_w3c_parent():
    """Without Datadog headers and without `p`, no Datadog span is known."""
    propagator = Propagator(PropagationSettings(extract_styles=("b3", "tracecontext")))
    remote = propagator.extract_remote({"b3": f"{same(1)}-9-1"} | w3c(same(1), PROXY, "foo=1"))
    out: dict[str, str] = {}
    propagator.inject_state(remote.trace_id, remote.span_id, remote, out)
    assert (remote.span_id, remote.parent_tag) == (987654321, None)
    assert out["tracestate"] == "dd=s:1,foo=1"


def test_extract_first_stops_at_the_first_success(hop):
    """The first style that yields a context ends the search; baggage is still read."""
    both = datadog(3, 10, ONES) | w3c(same(3), PROXY, "dd=s:2;p:000000000000000a,foo=1") | {"baggage": "a=b"}
    made = hop(both, extract_first=True)
    assert (made.remote.span_id, made.remote.parent_tag, made.member("foo")) == (10, None, None)
    assert made.propagator.extract(both).baggage == {"a": ("b", "")}
    assert hop(both | {"x-datadog-trace-id": "0"}, extract_first=True).remote.style == "tracecontext"


def test_restart_starts_a_new_trace_with_one_link(hop):
    """Nothing is inherited but baggage; the link names the resolved primary, its nearer parent included."""
    styles = ("datadog", "tracecontext", "b3multi", "baggage")
    headers = datadog(1, 1, ONES, 2) | {"baggage": "a=b", "x-b3-traceid": "5", "x-b3-spanid": "6"}
    made = hop(headers, behavior="restart", extract_styles=styles)
    link = made.remote.links[0]
    assert (made.remote.trace_id, made.remote.priority, len(made.remote.links)) == (0, None, 1)
    assert (link.trace_id, link.span_id, link.flags, link.tracestate) == (HIGH << 64 | 1, 1, 1, "")
    assert link.attributes == {"reason": "propagation_behavior_extract", "context_headers": "datadog"}
    assert made.propagator.extract(headers).baggage == {"a": ("b", "")}
    assert "1111111111111111" not in str(made.headers)
    nearer = hop(headers | w3c(same(1), "1234567890123456"), behavior="restart", extract_styles=styles)
    assert nearer.remote.links[0].span_id == 1311768467284833366


def test_restart_of_a_w3c_context_keeps_its_list_in_the_link(hop):
    """A W3C primary links with its tracestate."""
    made = hop(w3c(same(1), PROXY, "foo=1,dd=s:2"), behavior="restart")
    assert made.remote.links[0].tracestate == "dd=s:2,foo=1"


@pytest.mark.parametrize(("headers", "restarted"), [({}, False), ({"x-datadog-trace-id": "1"}, True)])
def test_restart_without_ids_has_no_link(hop, headers, restarted):
    """Nothing found is nothing; an id of 0 gives no link."""
    made = hop(headers, behavior="restart")
    assert (made.remote is not None) is restarted
    assert made.remote is None or made.remote.links == ()


@pytest.mark.parametrize(
    "settings", [{"behavior": "ignore"}, {"extract_styles": ()}, {"enabled": False}], ids=["ignore", "none", "off"]
)
def test_nothing_is_extracted(settings):
    """With `ignore`, no style or tracing off, nothing is read, baggage and its older form included."""
    propagator = Propagator(PropagationSettings(http_baggage=True, **settings))
    headers = datadog(1, 2) | w3c(same(1), PROXY) | {"baggage": "a=b", "ot-baggage-c": "d"}
    assert propagator.extract(headers) == (None, {})


@pytest.mark.parametrize("settings", [{"inject_styles": ()}, {"enabled": False}], ids=["none", "off"])
def test_nothing_is_injected(hop, settings):
    """With no style or tracing off, nothing is written."""
    made = hop({}, http_baggage=True, **settings)
    headers: dict[str, str] = {}
    made.propagator.add_baggage({"a": "b"}, {}, headers)
    assert (made.headers, headers, made.propagator.fields) == ({}, {}, frozenset())


OURS, THEIRS, FRIEND = "AaBbCcDdEeFf", "Zz1122334455", "FriendFriend"
FOREIGN = w3c(
    same(1), f"{1:016x}", f"dd=s:2;p:00000000000000ff;o:rum;t.dm:-4;t.opm:{THEIRS},ot=rv:{'1' * 14};th:8,foo=1"
)


def guarded(hop, headers, local=OURS, **settings):
    return hop(headers, None, local, org_guard_enabled=True, **settings)


def test_another_organisation_decides_nothing_here(hop):
    """Ids and foreign vendors stay; priority, origin, tags, `p` and the threshold go; our marker leaves."""
    made = guarded(hop, FOREIGN)
    remote = made.remote
    assert (remote.trace_id, remote.span_id) == (HIGH << 64 | 1, 1)
    assert (remote.priority, remote.flags, remote.origin, remote.tags, remote.parent_tag) == (None,) * 5
    assert remote.ot == (("rv", "1" * 14),)
    assert made.member("foo") == "1"
    assert f"t.opm:{OURS}" in made.member("dd")
    assert "-4" not in made.member("dd")
    assert made.headers["x-datadog-tags"] == f"_dd.p.dm=-0,_dd.p.opm={OURS},_dd.p.tid={ONES}"


def marked(marker):
    tags = f"_dd.p.dm=-4,_dd.p.opm={marker}" if marker else "_dd.p.dm=-4"
    return datadog(1, 2, None, 2) | {"x-datadog-tags": tags}


@pytest.mark.parametrize(
    ("marker", "local", "strict", "trusted"),
    [
        (OURS, OURS, False, True), (OURS, OURS, True, True), (FRIEND, OURS, True, True), (THEIRS, OURS, False, False),
        (THEIRS, OURS, True, False), (None, OURS, False, True), (None, OURS, True, False), (THEIRS, None, True, True),
    ],
)  # fmt: skip
def test_whose_context_is_trusted(hop, marker, local, strict, trusted):
    """Our own and trusted markers continue; a missing one only without strictness; before ours is known all do."""
    made = guarded(hop, marked(marker), local, org_guard_strict=strict, org_guard_trusted=frozenset({FRIEND}))
    assert made.remote.priority == (2 if trusted else None)
    sent = local or marker
    assert (f"_dd.p.opm={sent}" in made.headers["x-datadog-tags"]) is (sent is not None)


def test_the_guard_off_passes_markers_through(hop):
    """Without the guard a marker is a tag like any other."""
    made = hop(marked(THEIRS), None, OURS)
    assert made.headers["x-datadog-tags"] == f"_dd.p.dm=-4,_dd.p.opm={THEIRS}"


def test_a_marker_in_the_w3c_context_of_the_same_trace_counts(hop):
    """When the primary has no marker, the one of the same trace's tracestate is used; another trace's is not."""
    headers = datadog(1, 1, ONES, 2)
    assert guarded(hop, headers | FOREIGN).remote.priority is None
    other = FOREIGN | {"traceparent": f"00-{'2' * 32}-{1:016x}-01"}
    assert guarded(hop, headers | other).remote.priority == 2


def test_the_guard_asks_for_the_marker_even_for_nothing():
    """Each extraction and injection asks, so that the marker gets fetched; with the guard off nobody asks."""
    asked = []
    for enabled in (True, False):
        propagator = Propagator(
            PropagationSettings(org_guard_enabled=enabled), local_marker=lambda: asked.append(1) or None
        )
        propagator.extract({})
        propagator.add_trace(0, 0, None, {})
    assert len(asked) == 2
