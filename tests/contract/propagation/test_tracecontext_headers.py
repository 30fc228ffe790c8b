"""Vectors of `traceparent` and `tracestate` (spec/propagation.md §5)."""

from __future__ import annotations

import logging

import pytest

from ddtrace_manual._model import RemoteContext, SegmentRecord
from ddtrace_manual.propagation import _tracecontext, _tracestate, display_trace_state

TRACE = "12345678901234567890123456789012"
SPAN = "1234567890123456"
VALID = f"00-{TRACE}-{SPAN}-01"


def read(traceparent, tracestate=None):
    headers = {"traceparent": traceparent}
    if tracestate is not None:
        headers["tracestate"] = tracestate
    return _tracecontext.extract(headers)


@pytest.mark.parametrize(
    "text",
    [
        VALID,
        f" \t{VALID}\t ",
        f"00-{TRACE}-{SPAN}-03",
        f"00-{TRACE}-{SPAN}-ff",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future",
    ],
)
def test_accepts_valid_traceparents(text):
    """Blanks around, unknown flags and later versions are no obstacle."""
    remote = read(text)
    assert (remote.trace_id, remote.span_id) == (int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize(
    "text",
    [
        "", "x", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-extra", f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01-", f"cc-{TRACE}-{SPAN}-01.what", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01",
        VALID.replace("1234567890123456-", "123456789012345A-"), f"00-{TRACE[:-1]}A-{SPAN}-01", f"0-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01", f"00-{TRACE[:-1]}-{SPAN}-01", f"00-{TRACE}1-{SPAN}-01", f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{TRACE}-{SPAN}1-01", f"00-{TRACE}-{SPAN}-1", f"00-{TRACE}-{SPAN}-001", f"00-{TRACE}-{SPAN}", VALID + "\n",
        f"{VALID},{VALID}", f"cc-{TRACE}-{SPAN}-01-x,{VALID}", f"00-{TRACE}-{SPAN}-0x", f"0A-{TRACE}-{SPAN}-01", f"\uff10\uff10-{TRACE}-{SPAN}-01",
    ],
)  # fmt: skip
def test_rejects_invalid_traceparents(text):
    """Anything that is not exactly the syntax gives no context, and its tracestate is ignored."""
    assert read(text, "dd=s:2,foo=1") is None


def test_two_traceparents_are_invalid(hop):
    """A second value, even an equal one, invalidates the W3C context."""
    made = hop([("traceparent", VALID), ("traceparent", VALID), ("tracestate", "foo=1")])
    assert made.remote is None
    assert "foo" not in made.headers["tracestate"]


@pytest.mark.parametrize(
    ("flag", "s", "priority"),
    [
        ("00", 0, 0), ("00", 1, 0), ("00", 2, 0), ("01", 0, 1), ("01", 1, 1), ("01", 2, 2), ("00", None, 0),
        ("01", None, 1), ("00", -1, -1), ("01", -1, 1), ("00", -2, -2), ("01", -2, 1), ("03", 2, 2), ("02", 2, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dm", ["-4", None])
def test_priority_from_flag_and_s(flag, s, priority, dm):
    """The flag decides where it contradicts `s`; the decision maker is then reset or removed."""
    items = ["p:0123456789abcdef"] + ([f"s:{s}"] if s is not None else []) + ([f"t.dm:{dm}"] if dm else [])
    remote = read(f"00-{TRACE}-{SPAN}-{flag}", "dd=" + ";".join(items))
    sampled = flag in ("01", "03")
    agreed = s is not None and (s > 0) == sampled
    expected = dm if agreed else "-0" if sampled else None
    assert remote.priority == priority
    assert (remote.tags or {}).get("_dd.p.dm") == expected


@pytest.mark.parametrize(
    ("flag", "tracestate", "priority", "tags"),
    [
        ("01", None, 1, None),
        ("00", None, 0, None),
        ("01", "", 1, None),
        ("01", " , ", 1, None),
        ("01", "foo=1", 1, {"_dd.p.dm": "-0"}),
        ("00", "foo=1", 0, None),
        ("01", "foo=\x01", 1, None),
        ("00", "dd=o:rum", None, None),
        ("01", "dd=o:rum;t.dm:-4", None, {"_dd.p.dm": "-4"}),
        ("01", "dd=o:rum;s:2", 2, None),
    ],
)
def test_priority_without_s(flag, tracestate, priority, tags):
    """Without tracestate the flag decides and no decision maker is added; a browser leaves the decision open."""
    remote = read(f"00-{TRACE}-{SPAN}-{flag}", tracestate)
    assert (remote.priority, remote.tags) == (priority, tags)


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
        ("foo=1,,bar=2,", "foo=1,bar=2"),
        ("foo=1,foo=2", "foo=1"),
        ("foo=\x00,bar=2", ""),
        ("foo=é", ""),
        ("foo=a\tb,bar=2", ""),
        ("foo@=1,0=1," + "k" * 256 + "=1", None),
        ("tenant@vendor=1,abcdefghijklmnopqrstuvwxyz0123456789_-*/=2", None),
        ("foo= blank first", None),
        ("foo=" + "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",="), None),
        ("foo=" + "x" * 256, None),
    ],
)
def test_members_of_others_pass_unchanged(hop, text, members):
    """Foreign members go out as they came in; one bad character costs all."""
    made = hop({"traceparent": VALID, "tracestate": text})
    sent = made.headers["tracestate"].partition(",")[2]
    assert sent == (text if members is None else members)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {
            "x-datadog-trace-id": str(int(TRACE[16:], 16)),
            "x-datadog-parent-id": str(int(SPAN, 16)),
            "x-datadog-tags": f"_dd.p.tid={TRACE[:16]}",
        },
    ],
)
@pytest.mark.parametrize(
    "bad",
    [
        "foo =1", "FOO=1", "foo.bar=1", "@foo=1", "foo=bar=baz", "foo=", "bare", "=x", "k" * 257 + "=1",
        "foo=" + "x" * 257, ",".join(f"k{number}=1" for number in range(31)),
    ],
)  # fmt: skip
def test_one_bad_member_or_too_many_discard_all_foreign_ones(hop, bad, headers):
    """A receiver further on would discard the list, and `dd` with it; `dd` and `ot` are read by themselves."""
    made = hop({"traceparent": VALID, "tracestate": f"a=1,{bad},dd=s:1;t.x:y,ot=th:8", **headers})
    assert made.member("dd").startswith("s:1")
    assert made.headers["tracestate"].partition(",")[2] == "ot=th:8"


@pytest.mark.parametrize("styles", [("tracecontext",), ("datadog", "tracecontext"), ("b3", "tracecontext")])
@pytest.mark.parametrize("parent", [int(SPAN, 16), 7])
@pytest.mark.parametrize(
    ("received", "sent"), [("00", "01"), ("01", "01"), ("02", "03"), ("03", "03"), ("fe", "03"), ("fd", "01")]
)
def test_the_random_flag_stays_with_the_trace_id(hop, manually, styles, parent, received, sent):
    """It leaves as it came, whatever is decided and whichever style came first; the other bits are 0."""
    made = hop(
        {
            "x-datadog-trace-id": str(int(TRACE[16:], 16)),
            "x-datadog-parent-id": str(parent),
            "x-datadog-tags": f"_dd.p.tid={TRACE[:16]}",
            "b3": f"{TRACE}-{parent:016x}",
            "traceparent": f"00-{TRACE}-{SPAN}-{received}",
        },
        extract_styles=styles,
    )
    manually(made.segment, 2)
    assert made.inject_again()["traceparent"][-2:] == sent
    manually(made.segment, -1)
    assert made.inject_again()["traceparent"][-2:] == f"{int(sent, 16) & 2:02x}"


def test_the_random_flag_is_not_that_of_another_trace(hop):
    """A new trace, or that of other headers, does not inherit it."""
    w3c = {"traceparent": f"00-{TRACE}-{SPAN}-03"}
    assert hop({"x-datadog-trace-id": "5", "x-datadog-parent-id": "6", **w3c}).headers["traceparent"][-2:] == "01"
    assert hop(w3c, behavior="restart").headers["traceparent"][-2:] == "01"


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        (["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3"),
        (["foo=1", ""], "foo=1"),
        (["", "foo=1"], "foo=1"),
    ],
)
def test_several_tracestates_are_one_list(hop, values, joined):
    """Values of repeated headers are joined in order of arrival; empty ones vanish."""
    made = hop([("Traceparent", VALID), *[("TraceState", value) for value in values]])
    assert made.headers["tracestate"].partition(",")[2] == joined


def key_list(*numbers):
    return [f"key{number}={number}" for number in numbers]


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        ([*key_list(*range(1, 32)), "dd=s:1"], key_list(*range(1, 32))),
        (["dd=s:1", *key_list(*range(1, 32))], key_list(*range(1, 32))),
        ([*key_list(*range(1, 33)), "dd=s:1"], []),
        (key_list(*range(1, 32)), key_list(*range(1, 32))),
        (key_list(*range(1, 33)), key_list(*range(1, 32))),
        ([*key_list(*range(1, 31)), "dd=s:1", "ot=th:8"], key_list(*range(1, 31))),
        ([*key_list(*range(1, 32)), "dd=s:1", "ot=th:8"], []),
    ],
)
def test_the_list_holds_32_members(hop, members, kept):
    """`dd` and `ot` are never lost; the last foreign member makes room for `dd`, more than 32 in all are refused."""
    made = hop({"traceparent": VALID, "tracestate": ",".join(members)})
    sent = made.headers["tracestate"].split(",")
    assert len(sent) <= 32
    assert sent[0].startswith("dd=s:1")
    assert [each for each in sent if not each.startswith(("dd=", "ot="))] == kept


def test_others_use_at_most_512_characters(hop):
    """A long member that does not fit is skipped, a short one ends the list; `dd` is not counted."""
    first, skipped, fits, ends, never = "a=" + "x" * 250, "b=" + "x" * 256, "c=" + "x" * 100, "d=" + "x" * 120, "e=1"
    listed = f"{first},{fits},{skipped},{ends},{never}"
    made = hop({"traceparent": VALID, "tracestate": f"dd=s:1,{listed}"})
    assert made.headers["tracestate"].partition(",")[2] == f"{first},{fits},{ends},{never}"
    made = hop({"traceparent": VALID, "tracestate": f"dd=s:1,{first},{fits},c2={fits[2:]},{ends},{never}"})
    assert made.headers["tracestate"].partition(",")[2] == f"{first},{fits},c2={fits[2:]}"
    exact = "a=" + "x" * 253 + ",b=" + "x" * 254
    assert hop({"traceparent": VALID, "tracestate": f"dd=s:1,{exact}"}).headers["tracestate"].endswith("," + exact)


@pytest.mark.parametrize(
    ("dd", "origin", "last_span", "tags"),
    [
        ("s:1;o:rum;p:0123456789abcdef;t.dm:-4;t.usr.id:12345~", "rum", "0123456789abcdef",
         {"_dd.p.dm": "-4", "_dd.p.usr.id": "12345="}),
        ("s:1;t.usr.id:baz64~~", None, None, {"_dd.p.usr.id": "baz64=="}),
        ("s:1;t.url:http://localhost", None, None, {"_dd.p.url": "http://localhost"}),
        ("s:1;p:XX!X", None, "XX!X", None),
        ("s:1;bare;t.a:b;:x;t.:y;o:", None, None, {"_dd.p.a": "b"}),
        ("s:1;unknown:1", None, None, None),
        ("s:1;t.dm:-1a;t.a:b", None, None, {"_dd.p.a": "b"}),
        ("s:1;t.upstream_services:x", None, None, None),
        ("s:1;t.a b:c;t.d: ", None, None, None),
        ("s:1;o:a~b", "a=b", None, None),
    ],
)  # fmt: skip
def test_reads_the_dd_member(dd, origin, last_span, tags):
    """Each item counts by itself: malformed and unknown ones are ignored."""
    remote = read(VALID, f"foo=1,dd={dd}")
    assert (remote.priority, remote.origin, remote.parent_tag, remote.tags) == (1, origin, last_span, tags)


def test_an_unparsable_s_is_absent():
    """`s:x` counts as no `s`; the rest of the member stands."""
    remote = read(f"00-{TRACE}-{SPAN}-00", "dd=s:x;o:lambda")
    assert (remote.priority, remote.origin) == (0, "lambda")


def test_tags_in_tracestate_have_the_limit_of_the_datadog_header():
    """512 characters, counted as `x-datadog-tags` would; beyond them no tag is taken, and the error is recorded."""
    fits = "v" * (512 - len("_dd.p.dm=-4,_dd.p.a="))
    for value, tags, error in (
        (fits, {"_dd.p.dm": "-4", "_dd.p.a": fits}, None),
        (fits + "v", None, "extract_max_size"),
    ):
        remote = _tracecontext.build(1, 2, 1, f"dd=s:2;o:rum;t.dm:-4;t.a:{value},foo=1")
        assert (remote.tags, remote.propagation_error) == (tags, error)
        assert (remote.priority, remote.origin, remote.members) == (2, "rum", (("foo", "1"),))


@pytest.mark.parametrize(
    "headers",
    [
        {"x-datadog-trace-id": "1", "x-datadog-parent-id": "2", "x-datadog-origin": "{}"},
        {"traceparent": f"00-{1:032x}-{2:016x}-01", "tracestate": "dd=o:{}"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_an_origin_has_at_most_256_characters(hop, headers, caplog):
    """A longer one is dropped, which is logged at DEBUG; the trace goes on."""
    caplog.set_level(logging.DEBUG, "ddtrace_manual")
    for length, is_kept in ((256, True), (257, False)):
        caplog.clear()
        made = hop({name: value.format("o" * length) for name, value in headers.items()})
        assert made.remote.origin == ("o" * length if is_kept else None)
        assert made.segment.trace_id == 1
        assert [record.levelname for record in caplog.records] == ([] if is_kept else ["DEBUG"])


def test_the_last_dd_counts():
    """Of several `dd` members the last one is read."""
    assert read(VALID, "dd=o:one,foo=1,dd=o:two").origin == "two"


@pytest.mark.parametrize(
    ("origin", "tags", "dd"),
    [
        ("synthetics~;=web,z", {}, "o:synthetics__~web_z"),
        (None, {"_dd.p.usr.id": "baz64=="}, "t.usr.id:baz64~~"),
        (None, {"_dd.p.foo bar,baz=": "abc~!@#$%^&*()_+`-="}, "t.foo_bar_baz_:abc_!@#$%^&*()_+`-~"),
        (None, {"_dd.p.x": "é"}, "t.x:_"),
        (None, {"_dd.p.x": "éé\n"}, "t.x:___"),
        (None, {"_dd.p.a;b:c": "1"}, "t.a_b_c:1"),
        (None, {"_dd.p.b": "1", "_dd.p.dm": "-1", "_dd.p.tid": "ff", "_dd.p.a": "2"}, "t.dm:-1;t.b:1;t.a:2"),
        (None, {"_dd.p.dm": "\n"}, "t.dm:_"),
    ],
)
def test_encodes_the_dd_member(origin, tags, dd):
    """Illegal characters become underscores one by one, and `=` becomes `~` after that; `t.tid` is never written."""
    segment = SegmentRecord()
    segment.origin = origin
    assert _tracestate.format_dd(segment, tags, None) == dd


def test_the_dd_member_leaves_out_what_does_not_fit():
    """In 256 characters, s, p, o, dm and usr.id choose first, then the others; what fits keeps its place."""
    segment = SegmentRecord()
    segment.priority = 1
    segment.origin = "o" * 100
    tags = {"_dd.p.x": "x" * 300, "_dd.p.y": "1", "_dd.p.usr.id": "u" * 90, "_dd.p.dm": "-4", "_dd.p.z": "z" * 40}
    text = _tracestate.format_dd(segment, tags, "0" * 16)
    assert text == f"s:1;o:{'o' * 100};p:{'0' * 16};t.dm:-4;t.y:1;t.usr.id:{'u' * 90}"
    assert len(text) <= 256


@pytest.mark.parametrize(
    ("priority", "origin", "dm", "flag", "text"),
    [
        (2, "synthetics", "-4", "01", "dd=s:2;o:synthetics;p:000000024cb016ea;t.dm:-4"),
        (-1, None, "-3", "00", "dd=s:-1;p:000000024cb016ea;t.dm:-3"),
        (None, None, None, "00", "dd=p:000000024cb016ea"),
    ],
)
def test_writes_both_headers(priority, origin, dm, flag, text):
    """A local span names itself as `p`; an unknown priority is left out."""
    segment = SegmentRecord()
    segment.priority, segment.origin = priority, origin
    headers: dict[str, str] = {}
    _tracecontext.inject(1, 0x24CB016EA, segment, headers, tags={"_dd.p.dm": dm} if dm else None)
    assert headers == {"traceparent": f"00-{1:032x}-000000024cb016ea-{flag}", "tracestate": text}


@pytest.mark.parametrize(
    ("tracestate", "out"),
    [
        ("foo=1,dd=s:-1", "dd=s:1;p:000000024cb016ea;t.dm:-0,foo=1"),
        ("key1=value1,dd=s:2;o:rum;p:0123456789abcdef;t.dm:-4;t.usr.id:12345~",
         "dd=s:2;o:rum;p:000000024cb016ea;t.dm:-4;t.usr.id:12345~,key1=value1"),
    ],
)  # fmt: skip
def test_a_hop_refreshes_the_dd_member(hop, tracestate, out):
    """`dd` moves to the front with the local span id, the others follow."""
    assert hop({"traceparent": VALID, "tracestate": tracestate}).headers["tracestate"] == out


@pytest.mark.parametrize(
    ("trace_hex", "tracestate", "tid", "error"),
    [
        ("640cfd8d00000000abcdefab12345678", None, "640cfd8d00000000", None),
        ("640cfd8d00000000abcdefab12345678", "dd=t.tid:640cfd8d00000000", "640cfd8d00000000", None),
        ("640cfd8d00000000abcdefab12345678", "dd=t.tid:640cfd8d0000ffff", "640cfd8d00000000",
         "inconsistent_tid 640cfd8d0000ffff"),
        ("640cfd8d00000000abcdefab12345678", "dd=t.tid:XXXX", "640cfd8d00000000", "malformed_tid XXXX"),
        ("00000000000000000000000000000004", None, None, None),
    ],
)  # fmt: skip
def test_the_trace_id_comes_from_traceparent(hop, trace_hex, tracestate, tid, error):
    """`t.tid` only serves to notice a disagreement."""
    headers = {"traceparent": f"00-{trace_hex}-{SPAN}-01", **({"tracestate": tracestate} if tracestate else {})}
    made = hop(headers)
    assert made.remote.trace_id == int(trace_hex, 16)
    assert made.segment.propagation_error == error
    assert (f"_dd.p.tid={tid}" in made.headers.get("x-datadog-tags", "")) is (tid is not None)
    assert "tid" not in made.headers["tracestate"]


@pytest.mark.parametrize(
    ("headers", "last_span"),
    [
        ({"traceparent": VALID, "tracestate": "dd=s:1;p:XX!X"}, "XX!X"),
        ({"traceparent": VALID, "tracestate": "dd=s:1;p:a=b"}, None),
        ({"traceparent": VALID, "tracestate": "dd=s:1"}, None),
        ({"traceparent": VALID}, None),
        ({"x-datadog-trace-id": "1", "x-datadog-parent-id": "10"}, "000000000000000a"),
        ({"b3": "1-a-1"}, "000000000000000a"),
    ],
)
def test_a_context_sent_on_as_it_is_names_only_datadog_spans(hop, headers, last_span):
    """`p` is what was received; else the remote span if it came by Datadog or B3 headers; else nothing."""
    made = hop(headers, extract_styles=("datadog", "tracecontext", "b3"))
    out: dict[str, str] = {}
    made.propagator.inject_state(made.remote.trace_id, made.remote.span_id, made.remote, out)
    member = out["tracestate"].split(",")[0] if "tracestate" in out else ""
    items = dict(item.split(":", 1) for item in member.partition("=")[2].split(";") if item)
    assert items.get("p") == last_span


def test_nothing_to_say_is_no_tracestate():
    """Without priority, tags and span there is no empty `dd`."""
    headers: dict[str, str] = {}
    _tracecontext.inject(1, 2, RemoteContext(1, 2, span_is_datadog=False), headers)
    assert headers == {"traceparent": f"00-{1:032x}-{2:016x}-00"}


def test_the_displayed_trace_state_shows_dd_first():
    """OpenTelemetry code sees `dd` with its present content, `ot`, then every member, also those it would reject."""
    segment = SegmentRecord()
    segment.trace_id = 10
    segment.priority = -2
    segment.origin = "synthetics"
    segment.tags = {"_dd.p.foo": "bar"}
    segment.members = (("foo", "1"), ("BAD KEY", " x"))
    segment.probability = (1.0, True)
    shown = display_trace_state(segment, 3)
    assert shown.to_header() == (
        "dd=s:-2;o:synthetics;p:0000000000000003;t.foo:bar,ot=rv:65cd67504a538e;th:0,foo=1,BAD KEY= x"
    )
    assert segment.ot is None
    assert len(display_trace_state(RemoteContext(1, 2, span_is_datadog=False), 2)) == 0
