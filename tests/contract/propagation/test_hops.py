"""The self-check vectors: extraction followed by injection from a child (spec/propagation.md §18, §12)."""

from __future__ import annotations

import pytest

SPAN_HEX = "000000024cb016ea"
TRACEPARENT = "00-12345678901234567890123456789012-1234567890123456-"


def datadog(trace_id, parent_id=987654321, priority=None, origin=None, tags=None):
    headers = {"x-datadog-trace-id": str(trace_id), "x-datadog-parent-id": str(parent_id)}
    extra = {"sampling-priority": priority, "origin": origin, "tags": tags}
    return headers | {f"x-datadog-{name}": str(value) for name, value in extra.items() if value is not None}


def test_1_continues_a_datadog_trace(hop):
    """Ids, priority, origin and tags of the request leave with a new parent id."""
    made = hop(datadog(123456789, priority=2, origin="synthetics", tags="_dd.p.dm=-4"))
    assert made.headers == {
        "x-datadog-trace-id": "123456789",
        "x-datadog-parent-id": str(0x24CB016EA),
        "x-datadog-sampling-priority": "2",
        "x-datadog-origin": "synthetics",
        "x-datadog-tags": "_dd.p.dm=-4",
        "traceparent": f"00-000000000000000000000000075bcd15-{SPAN_HEX}-01",
        "tracestate": f"dd=s:2;o:synthetics;p:{SPAN_HEX};t.dm:-4",
    }


def test_2_trace_id_zero_is_a_new_trace(hop):
    """Priority and tags of an invalid context are not used."""
    made = hop(datadog(0, 0, 2, tags="_dd.p.dm=-4"))
    assert made.remote is None
    assert made.headers["x-datadog-sampling-priority"] != "2"
    assert "-4" not in made.headers["x-datadog-tags"]


def test_3_tags_leave_unchanged(hop):
    """The tag header is byte-identical, and its tags are in `dd`."""
    tags = "_dd.p.dm=-4,_dd.p.usr.id=baz64=="
    made = hop(datadog(7890123456789012, priority=1, tags=tags))
    assert made.headers["x-datadog-tags"] == tags
    assert made.member("dd") == f"s:1;p:{SPAN_HEX};t.dm:-4;t.usr.id:baz64~~"


def test_4_a_drop_leaves_as_a_drop(hop):
    """Priority -1 is flag 00 and `s:-1`."""
    made = hop(datadog(7890123456789012, priority=-1))
    assert made.headers["x-datadog-sampling-priority"] == "-1"
    assert made.headers["traceparent"].endswith("-00")
    assert made.member("dd").startswith("s:-1;")


@pytest.mark.parametrize(("flag", "priority"), [("01", "1"), ("00", "0")])
def test_5_6_traceparent_alone(hop, flag, priority):
    """The flag is the decision, and one member leaves."""
    made = hop({"traceparent": TRACEPARENT + flag})
    assert made.headers["x-datadog-sampling-priority"] == priority
    assert made.headers["traceparent"].endswith(flag)
    assert made.headers["tracestate"] == f"dd=s:{priority};p:{SPAN_HEX}"


@pytest.mark.parametrize(
    ("flag", "tracestate", "priority", "tags"),
    [
        ("01", "foo=1,dd=s:-1;t.dm:-4;t.usr.id:baz64~~", "1", "_dd.p.dm=-0,_dd.p.usr.id=baz64=="),
        ("00", "foo=1,dd=s:2;t.dm:-4;t.url:http://localhost", "0", "_dd.p.url=http://localhost"),
        ("01", "dd=s:2;o:synthetics;t.dm:-1;t.ksr:0.1", "2", "_dd.p.dm=-1,_dd.p.ksr=0.1"),
    ],
)
def test_7_8_13_flag_and_s(hop, flag, tracestate, priority, tags):
    """Contradictions reset or remove the decision maker, other tags stay."""
    made = hop({"traceparent": TRACEPARENT + flag, "tracestate": tracestate})
    assert made.headers["x-datadog-sampling-priority"] == priority
    assert made.headers["x-datadog-tags"] == f"{tags},_dd.p.tid=1234567890123456"


def test_9_tracestate_alone_is_nothing(hop):
    """Without traceparent no member is forwarded."""
    made = hop({"tracestate": "foo=1,bar=2"})
    assert made.remote is None
    assert made.member("foo") is None


def test_12_b3_keeps_128_bits(hop, decide):
    """An undecided B3 context is decided here and leaves with 32 digits."""
    styles = {"extract_styles": ("b3multi",), "inject_styles": ("b3multi",)}
    trace_hex = "640cfd8d00000000abcdefab12345678"
    made = hop({"X-B3-TraceId": trace_hex, "X-B3-SpanId": "000000003ade68b1"}, decide(2, 3, 1.0), **styles)
    assert made.headers == {"x-b3-traceid": trace_hex, "x-b3-spanid": SPAN_HEX, "x-b3-flags": "1"}


def test_14_the_sampling_rate_is_forwarded_verbatim(hop):
    """An inherited decision keeps its own text of the rate."""
    tags = "_dd.p.dm=-8,_dd.p.ksr=1.000000"
    assert hop(datadog(1, priority=2, tags=tags)).headers["x-datadog-tags"] == tags


def test_16_only_baggage(hop):
    """With `baggage` as the only style nothing else is read or written."""
    made = hop(datadog(1) | {"baggage": "foo=bar"}, extract_styles=("baggage",), inject_styles=("baggage",))
    assert made.remote is None
    assert made.headers == {}
    assert made.propagator.extract({"baggage": "foo=bar"}).baggage == {"foo": ("bar", "")}
    assert made.propagator.fields == {"baggage"}


def test_17_parent_zero_is_a_context(hop, decide):
    """A synthetic test's trace id, priority and origin are taken over with parent 0."""
    made = hop(datadog(123456789, 0, 1, "synthetics;=web,z"), decide(-1, 3, 0))
    remote = made.remote
    assert (remote.trace_id, remote.span_id, remote.priority, remote.origin) == (123456789, 0, 1, "synthetics;=web,z")
    assert made.member("dd") == f"s:1;o:synthetics_~web_z;p:{SPAN_HEX}"


def test_18_an_undecided_browser_context_is_decided_here(hop, decide):
    """Ids and origin stay, the decision is ours."""
    made = hop(datadog(1212121212121212121, 34343434, origin="rum"), decide(2, 3, 1.0))
    assert made.headers["x-datadog-sampling-priority"] == "2"
    assert made.headers["x-datadog-tags"] == "_dd.p.dm=-3"
    assert made.headers["x-datadog-origin"] == "rum"


def test_19_two_requests_of_one_trace_share_nothing(hop):
    """Equal trace ids with different priorities leave as they came."""
    first = hop(datadog(7890123456789012, priority=2))
    second = hop(datadog(7890123456789012, priority=-1))
    sent = [made.inject_again() for made in (first, second)]
    assert [each["x-datadog-sampling-priority"] for each in sent] == ["2", "-1"]
    assert [each["traceparent"][-2:] for each in sent] == ["01", "00"]


def test_20_a_local_drop_leaves_with_its_threshold(hop, decide):
    """A dropped trace carries randomness and threshold too."""
    made = hop(datadog(10, 10), decide(-1, 3, 0.1))
    assert made.headers["traceparent"].endswith("-00")
    assert made.member("ot") == "rv:65cd67504a538e;th:e6666666666668"


def test_21_a_manual_keep_overrides_an_inherited_drop(hop, manually):
    """Flag and priority change, the threshold goes."""
    made = hop({"traceparent": TRACEPARENT + "00", "tracestate": "ot=rv:65cd67504a538e;th:e6666666666668"})
    manually(made.segment, 2)
    made.headers = made.inject_again()
    assert made.headers["traceparent"].endswith("-01")
    assert made.headers["x-datadog-sampling-priority"] == "2"
    assert made.member("ot") == "rv:65cd67504a538e"


def test_injecting_twice_gives_the_same(hop):
    """Injection is idempotent."""
    made = hop({})
    assert made.inject_again() == made.headers


@pytest.mark.parametrize(("trace_id", "span_id"), [(0, 1), (1, 0), (0, 0)])
def test_nothing_is_written_for_an_id_of_zero(hop, trace_id, span_id):
    """Every trace style needs both ids."""
    made = hop({}, inject_styles=("datadog", "b3multi", "b3", "tracecontext"))
    headers: dict[str, str] = {}
    made.propagator.inject_state(trace_id, span_id, made.segment, headers)
    assert headers == {}
    assert len(made.propagator.fields) == 12
