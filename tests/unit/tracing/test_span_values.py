"""What a span takes, and what becomes of it: tags of every type, links, events, names, times, manual decisions."""

import math
import threading
from collections import OrderedDict, UserDict, deque
from decimal import Decimal
from email.message import Message
from enum import Enum, IntEnum
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.trace import Link, SpanContext, StatusCode, TraceFlags, TraceState

import ddtrace_manual as dd
from ddtrace_manual.testing import SpanRecorder


class Color(Enum):
    """An enumeration."""

    RED = "red"


class Level(IntEnum):
    """An enumeration of numbers."""

    HIGH = 3


class Text(str):
    """A text with a class of its own."""

    __slots__ = ()


class Unprintable:
    """An object that cannot say what it is."""

    def __str__(self):
        raise ValueError("no")

    __repr__ = __str__


class BrokenList(list):
    """A list that cannot be read."""

    def __iter__(self):
        raise ValueError("no")


def mapped(span):
    """Return the tags of a span in Datadog, those that every span has left out."""
    own = ("otel.", "_dd.", "telemetry.", "span.kind", "language", "runtime-id", "process_id", "_sampling")
    both = {**span.dd["meta"], **span.dd["metrics"]}
    return {key: value for key, value in both.items() if not key.startswith(own)}


# -- tags ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "read", "expected"),
    [
        ("text", "text", {"k": "text"}),
        ("", "", {"k": ""}),
        (Text("t"), "t", {"k": "t"}),
        (True, True, {"k": "true"}),
        (False, False, {"k": "false"}),
        (5, 5, {"k": 5.0}),
        (2**63, 2**63, {"k": float(2**63)}),
        (-(10**400), -(10**400), {}),
        (0.25, 0.25, {"k": 0.25}),
        (math.inf, math.inf, {}),
        (None, None, {}),
        (b"caf\xc3\xa9 \xff", b"caf\xc3\xa9 \xff", {"k": "café \ufffd"}),
        (bytearray(b"b"), b"b", {"k": "b"}),
        (memoryview(b"m"), b"m", {"k": "m"}),
        (["a", 1, True, None, 2.5], ("a", 1, True, None, 2.5), {"k.0": "a", "k.1": 1.0, "k.2": "true", "k.4": 2.5}),
        ([["a"], ["b", ["c"]]], (("a",), ("b", ("c",))), {"k.0.0": "a", "k.1.0": "b", "k.1.1.0": "c"}),
        ([], (), {}),
        (("t",), ("t",), {"k.0": "t"}),
        ({1}, (1,), {"k.0": 1.0}),
        (frozenset({"f"}), ("f",), {"k.0": "f"}),
        (range(2), (0, 1), {"k.0": 0.0, "k.1": 1.0}),
        (deque([1]), (1,), {"k.0": 1.0}),
        ({"a": 1, "b": {"c": [True]}}, {"a": 1, "b": {"c": (True,)}}, {"k.a": 1.0, "k.b.c.0": "true"}),
        (MappingProxyType({"a": 1}), {"a": 1}, {"k.a": 1.0}),
        (UserDict(a=1), {"a": 1}, {"k.a": 1.0}),
        (OrderedDict(a=[b"x"]), {"a": (b"x",)}, {"k.a.0": "x"}),
        ({}, {}, {}),
        (Decimal("1.50"), 1.5, {"k": 1.5}),
        (Color.RED, Color.RED.value, {"k": Color.RED.value}),
        (Level.HIGH, 3, {"k": 3.0}),
        (1 + 2j, "(1+2j)", {"k": "(1+2j)"}),
        (int, "<class 'int'>", {"k": "<class 'int'>"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_tags_of_every_type(spans, value, read, expected):
    """A tag reads back as a snapshot of what was set, and reaches Datadog as the reference page says."""
    with dd.span("a") as span:
        span.set_tag("k", value)
        assert span.get_tag("k") == read
        assert type(span.get_tag("k")) in (type(read), Level)
    assert mapped(spans.find("a")) == expected
    if value is None or isinstance(value, (bool, float)):
        assert span.attributes["k"] is value


def test_nan_is_not_sent(spans):
    """Neither NaN nor infinities reach Datadog, also inside of a list."""
    with dd.span("a", tags={"k": math.nan, "list": [1.0, math.nan, -math.inf]}):
        pass
    assert mapped(spans.find("a")) == {"list.0": 1.0}


@pytest.mark.parametrize("value", [Unprintable(), BrokenList([1]), [Unprintable()], {"a": Unprintable()}])
def test_values_that_cannot_be_read_do_no_harm(spans, value):
    """What raises while it is read is named by its class."""
    with dd.span("a") as span:
        span.set_tag("k", value)
    assert all(text.startswith("<unprintable ") for text in mapped(spans.find("a")).values())
    assert len(mapped(spans.find("a"))) == 1


def test_values_are_snapshots(spans):
    """A later change of what was given does not show."""
    values = {"list": [1], "map": {"a": [1]}}
    with dd.span("a", tags=values) as span:
        span.add_event("e", values)
        span.add_link(SpanContext(1, 2, is_remote=True), values)
        for holder in (values["list"], values["map"]["a"]):
            holder.append(2)
    found = spans.find("a")
    for kept in (found.tags, found.events[0].attributes, found.links[0].attributes):
        assert (kept["list"], kept["map"]) == ((1,), {"a": (1,)})


def test_values_without_end_are_cut(spans):
    """A list that contains itself ends."""
    endless = []
    endless.append(endless)
    with dd.span("a", tags={"k": endless}):
        pass
    assert list(mapped(spans.find("a")).values()) == ["..."]


@pytest.mark.parametrize("key", ["", None, b"bytes", 5, (), object()])
def test_odd_keys_never_raise(spans, key):
    """A key that is no text is used as text, or dropped where it has none; whatever follows counts."""
    with dd.span("a") as span:
        span.set_tag(key, 1)
        span.set_tags({key: 1, "good": 2})
        span.set_metric(key, 1)
        span.add_event("e", {key: 1})
        assert span.get_tag("good") == 2
    assert all(type(name) is str and name for name in spans.find("a").tags)


def test_none_removes(spans):
    """Setting `None` through any way removes the tag, whichever way wrote it."""
    with dd.span("a") as span:
        for each in ("set_tag", "set_metric", "set_attribute"):
            for other in ("set_tag", "set_metric", "set_attribute"):
                getattr(span, each)("k", 1)
                getattr(span, other)("k", None)
                assert span.get_tag("k") is None
        span.set_tag("only a key")
    assert mapped(spans.find("a")) == {}


def test_error_is_set_and_cleared_as_a_property(spans):
    with dd.span("set") as span:
        span.error = 1
        assert span.error == 1
    with dd.span("cleared") as span:
        span.set_error(message="m")
        span.error = 0
        assert span.error == 0
    with dd.span("cleared by the parent"), dd.span("child") as child:
        child.error = 0
    with dd.span("final") as span:
        span.set_status(StatusCode.OK)
        span.error = True
    span.error = 1
    assert spans.find("set").dd["error"] == 1
    for name in ("cleared", "child", "final"):
        assert spans.find(name).dd.get("error", 0) == 0
    assert spans.find("cleared").dd["meta"]["error.message"] == "m"


def test_metrics_and_tags_are_one_store(spans):
    """The last write counts, whatever its type; numbers become metrics and texts meta."""
    with dd.span("a") as span:
        span.set_tag("k", "text")
        span.set_metric("k", 1.5)
        span.set_metric("m", 1)
        span.set_attribute("m", "text")
        span.set_metric("bool", True)
        span.set_metric("list", [1, "a"])
        span.set_metric("digits", " 12 ")
    found = spans.find("a").dd
    assert (found["metrics"]["k"], found["meta"]["m"], found["metrics"]["bool"]) == (1.5, "text", 1.0)
    assert found["metrics"]["digits"] == 12.0
    assert not {"list", "list.0"} & (found["metrics"].keys() | found["meta"].keys())
    assert "k" not in found["meta"]
    assert "m" not in found["metrics"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=10,
)


@settings(max_examples=60)
@given(tags=st.dictionaries(st.text(), values))
def test_any_tags_can_be_set_and_mapped(tags):
    """Whatever is set, the span is mapped, metas are texts and metrics finite numbers."""
    with SpanRecorder() as spans:
        with dd.span("a") as span:
            span.set_tags(tags)
            span.add_event("e", tags)
            span.add_link(SpanContext(1, 2, is_remote=True), tags)
        found = spans.find("a").dd
    assert all(type(value) is str for value in found["meta"].values())
    assert all(math.isfinite(value) for value in found["metrics"].values())


# -- links -----------------------------------------------------------------------------------------------

DATADOG = {"x-datadog-trace-id": "123", "x-datadog-parent-id": "456", "x-datadog-sampling-priority": "2"}
W3C = {"traceparent": "00-0000000000000000000000000000007b-00000000000001c8-01", "tracestate": "dd=s:1,vendor=x"}
STATE = TraceState([("vendor", "x")])
CONTEXT = SpanContext(123, 456, is_remote=True, trace_flags=TraceFlags(1), trace_state=STATE)


def message(headers):
    """Return headers as the standard library's HTTP server has them."""
    made = Message()
    for name, value in headers.items():
        made[name] = value
    return made


@pytest.mark.parametrize(
    ("target", "flags", "tracestate"),
    [
        (CONTEXT, 1, "vendor=x"),
        (SpanContext(123, 456, is_remote=False), 0, ""),
        (Link(CONTEXT), 1, "vendor=x"),
        (trace.NonRecordingSpan(CONTEXT), 1, "vendor=x"),
        (DATADOG, 1, "dd=s:2"),
        ({**DATADOG, "x-datadog-sampling-priority": "-1"}, 0, "dd=s:-1"),
        ({key: DATADOG[key] for key in list(DATADOG)[:2]}, None, ""),
        (W3C, 1, "dd=s:1"),
        ([*W3C.items()], 1, "dd=s:1"),
        (tuple((name.encode(), value.encode()) for name, value in DATADOG.items()), 1, "dd=s:2"),
        (message(DATADOG), 1, "dd=s:2"),
        ({"type": "http", "headers": [(name.encode(), value.encode()) for name, value in W3C.items()]}, 1, "dd=s:1"),
        (lambda: dd.extract(DATADOG), 1, "dd=s:2"),
        (lambda: trace.get_current_span(dd.extract(W3C)), 1, "dd=s:1"),
    ],
    ids=[
        "context",
        "unsampled",
        "link",
        "span",
        "datadog",
        "rejected",
        "undecided",
        "w3c",
        "pairs",
        "pairs of bytes",
        "message",
        "ASGI scope",
        "extracted",
        "remote span",
    ],
)
@pytest.mark.parametrize("way", ["span method", "function", "option", "started"])
def test_links_to_whatever_names_a_span(spans, target, flags, tracestate, way):
    """Span contexts, links, spans, headers and extracted contexts, given in every place a link can be given."""
    if callable(target):
        target = target()
    options = {"links": [target]} if way in ("option", "started") else {}
    with dd.start_span("a", **options) if way == "started" else dd.span("a", **options) as span:
        if way == "span method":
            span.add_link(target)
        elif way == "function":
            dd.add_link(target)
    (link,) = spans.find("a").links
    assert (link.trace_id, link.span_id, link.flags) == (123, 456, flags)
    assert link.tracestate.startswith(tracestate)
    assert ("vendor=x" in link.tracestate) is ("vendor" in str(target) or "vendor=x" in tracestate)


def test_a_link_to_a_local_span_decides_nothing(spans):
    """Flags are unknown until the sampling decision is made for another reason."""
    with dd.start_span("other") as other, dd.span("a", new_trace=True) as span:
        span.add_link(other)
        assert not other.segment.decided
        dd.inject({}, span=other)
        span.add_link(other, {"n": 1})
    undecided, decided = spans.find("a").links[-2:]
    assert (undecided.flags, decided.flags, decided.is_remote) == (None, 1, False)
    assert (decided.trace_id, decided.span_id, dict(decided.attributes)) == (other.trace_id, other.span_id, {"n": 1})
    (native,) = spans.find("a").dd["span_links"]
    assert native["flags"] == 0x80000001


def test_attributes_of_links_merge(spans):
    """Those given with the call win over those of an OpenTelemetry link."""
    with dd.span("a") as span:
        span.add_link(Link(CONTEXT, {"a": 1, "b": [1]}), {"a": 2})
    assert dict(spans.find("a").links[0].attributes) == {"a": 2, "b": (1,)}
    assert spans.find("a").dd["span_links"][0]["attributes"] == {"a": "2", "b.0": "1"}


@pytest.mark.parametrize(
    "target", [None, 5, "text", {}, {"x": "y"}, trace.INVALID_SPAN, trace.INVALID_SPAN_CONTEXT, object()]
)
def test_what_names_nothing_is_ignored(spans, target):
    """No link, no exception."""
    with dd.span("a") as span:
        span.add_link(target)
        dd.add_link(target)
    assert spans.find("a").links == []


def test_a_link_without_span_may_carry_details(spans):
    """Span pointers link to nothing and say so by their attributes; all of them stay."""
    pointer = {"link.kind": "span-pointer", "ptr.kind": "aws.s3.object"}
    with dd.span("a") as span:
        span.add_link(trace.INVALID_SPAN_CONTEXT, pointer)
        span.add_link(trace.INVALID_SPAN_CONTEXT, {**pointer, "n": 2})
    assert len(spans.find("a").dd["span_links"]) == 2


def test_links_of_a_restart_say_where_the_headers_came_from(spans):
    """With extraction behaviour `restart` the link leads to the trace that was not continued."""
    dd.configure(trace_propagation_behavior_extract="restart")
    with dd.span("a") as span:
        span.add_link(DATADOG, {"mine": 1})
    (link,) = spans.find("a").links
    assert (link.trace_id, link.span_id, link.attributes["mine"]) == (123, 456, 1)
    assert link.attributes["reason"] == "propagation_behavior_extract"


@pytest.mark.parametrize(
    ("target", "flags", "tracestate"),
    [
        (CONTEXT, 1, "vendor=x"),
        (DATADOG, 1, "dd=s:2"),
        (lambda: dd.start_span("other"), 0, ""),
        ({"x": "y"}, None, None),
    ],
    ids=["context", "headers", "span", "nothing"],
)
def test_spans_of_another_provider_link_alike(spans, target, flags, tracestate):
    """The facade's vocabulary over a foreign span takes the same targets; unknown flags become 0."""
    target = target() if callable(target) else target
    foreign = SdkTracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("a", context=Context())
    with trace.use_span(foreign, end_on_exit=True):
        dd.add_link(target, {"n": 1})
        dd.current_span().add_link(target)
    if flags is None:
        assert foreign.links == ()
        return
    first, second = foreign.links
    assert (dict(first.attributes), dict(second.attributes)) == ({"n": 1}, {})
    assert first.context.span_id == getattr(target, "span_id", 456)
    assert first.context.trace_flags == flags
    assert first.context.trace_state.to_header().startswith(tracestate)


def test_an_extracted_trace_without_calling_span_can_be_linked_to(spans):
    """The link names the trace; its span id is 0."""
    with dd.span("a") as span:
        span.add_link({"x-datadog-trace-id": "123", "x-datadog-parent-id": "0", "x-datadog-sampling-priority": "1"})
    assert [(each.trace_id, each.span_id, each.flags) for each in spans.find("a").links] == [(123, 0, 1)]


def test_a_link_of_a_span_can_be_given_to_another(spans):
    """Links in recorded form are links, too."""
    with dd.span("a", links=[CONTEXT]):
        pass
    with dd.span("b", links=spans.find("a").links):
        pass
    assert spans.find("b").links == spans.find("a").links


def test_a_context_of_local_spans_names_its_current_one(spans):
    """An OpenTelemetry context is read for its span; an empty one names nothing."""
    with dd.span("a") as outer, dd.span("b", new_trace=True) as span:
        span.add_link(trace.set_span_in_context(outer, Context()), {"from": "context"})
        span.add_link(Context())
    assert [each.span_id for each in spans.find("b").links] == [outer.span_id] * 2


def test_without_configuration_headers_link_to_nothing():
    """Before `configure()` there is nothing to read headers with."""
    with dd.span("a") as span:
        span.add_link(DATADOG)
        span.add_link(dd.extract(DATADOG))
        assert not span.is_recording()


# -- events ----------------------------------------------------------------------------------------------


def test_events_with_attributes_and_times(spans):
    """Times are nanoseconds; the default is now."""
    clock = spans.fix_clock()
    with dd.span("a") as span:
        clock.advance(1)
        span.add_event("plain")
        span.add_event("full", {"s": "x", "n": 1, "list": [1, 2]}, 5)
        dd.add_event("function", {"b": True}, timestamp_ns=6)
    found = spans.find("a")
    assert [(each.name, each.time_ns) for each in found.events] == [
        ("plain", clock.wall_ns()),
        ("full", 5),
        ("function", 6),
    ]
    assert found.dd["span_events"][1] == {
        "time_unix_nano": 5,
        "name": "full",
        "attributes": {
            "s": {"type": 0, "string_value": "x"},
            "n": {"type": 2, "int_value": 1},
            "list": {
                "type": 4,
                "array_value": {"values": [{"type": 2, "int_value": 1}, {"type": 2, "int_value": 2}]},
            },
        },
    }


@pytest.mark.parametrize(
    ("name", "attributes", "timestamp"),
    [(None, None, "soon"), (5, [1], math.inf), (object(), "text", -1), ("", 7, True)],
)
def test_odd_events_never_raise(spans, name, attributes, timestamp):
    """Whatever is given, there is an event, and the span can be sent."""
    with dd.span("a") as span:
        span.add_event(name, attributes, timestamp)
    (event,) = spans.find("a").dd["span_events"]
    assert type(event["name"]) is str
    assert event["time_unix_nano"] >= 0


def test_only_so_many_events_and_links_are_kept(spans):
    """The oldest beyond 128 go, and are counted."""
    with dd.span("a") as span:
        for number in range(130):
            span.add_event(str(number))
            span.add_link(SpanContext(1, number + 1, is_remote=True))
    found = spans.find("a")
    assert (len(found.events), found.events[0].name, span.dropped_events) == (128, "2", 2)
    assert (len(found.links), found.links[0].span_id, span.dropped_links) == (128, 3, 2)


# -- names -----------------------------------------------------------------------------------------------


def test_renaming(spans):
    """The operation name stays; the resource follows the OpenTelemetry name until it is set itself."""
    with dd.span("a") as span:
        assert span.resource == "a"
        span.update_name("b")
        assert span.resource == "b"
        span.resource = "GET /"
        span.update_name("c")
    found = spans.find("a")
    assert (found.name, found.resource, found.otel_name) == ("a", "GET /", "c")
    with spans.provider.get_tracer("x").start_as_current_span("otel") as span:
        span.update_name("renamed")
    assert spans.find("renamed").resource == "renamed"


def test_names_can_be_set_and_taken_back(spans):
    """Service, resource and type are attributes that `None` resets."""
    with dd.span("a", service="s", resource="r", span_type="web") as span:
        assert (span.service, span.resource, span.span_type) == ("s", "r", "web")
        span.service = span.resource = span.span_type = None
        assert (span.service, span.resource, span.span_type) == (None, "a", None)
    found = spans.find("a")
    assert (found.service, found.resource, found.span_type) == ("test", "a", "")


# -- times and ends --------------------------------------------------------------------------------------


def test_times_can_be_given(spans):
    """Start and end are nanoseconds since the epoch, through either API."""
    dd.start_span("a", start_time_ns=1_000).end(3_500)
    spans.provider.get_tracer("x").start_span("b", start_time=7).end(end_time=9)
    assert [(each.start_ns, each.duration_ns) for each in spans] == [(7, 2), (1_000, 2_500)]


@pytest.mark.parametrize(("start", "end"), [(1_000, 10), (0, -5), (5, 1 << 70)])
def test_impossible_times_have_no_duration(spans, start, end):
    """A span never lasts less than nothing, nor longer than its format can say."""
    dd.start_span("a", start_time_ns=start).end(end)
    assert 0 <= spans.find("a").dd["duration"] < 1 << 63


@pytest.mark.parametrize("end", ["soon", math.nan, object()])
def test_an_odd_end_is_now(spans, end):
    """What is no time ends the span at once."""
    span = dd.start_span("a")
    span.end(end)
    assert not span.is_recording()
    assert spans.find("a").duration_ns >= 0


def test_the_first_end_counts(spans):
    """Ending twice changes nothing, and nothing can be set afterwards."""
    span = dd.start_span("a", tags={"k": 1})
    span.end(start_end := span.start_ns + 5)
    before = vars(span).copy()
    span.end(start_end + 100)
    span.set_tag("k", 2)
    span.set_tags({"k": 2})
    span.set_metric("k", 2)
    span.add_event("e")
    span.add_link(CONTEXT)
    span.set_error(ValueError("late"))
    span.record_exception(ValueError("late"))
    span.set_status(StatusCode.ERROR, "late")
    span.update_name("late")
    span.service = span.resource = span.span_type = "late"
    span.record_exit(ValueError("late"))
    after = {key: value for key, value in vars(span).items() if key in before}
    assert after == before
    assert len(spans) == 1
    assert spans.find("a").duration_ns == 5
    assert span.is_recording() is False


def test_a_span_may_end_in_another_thread(spans):
    """Of many threads that end a span one does; the trace is complete once."""
    with dd.span("root"):
        span = dd.start_span("a")
        barrier = threading.Barrier(8)

        def end():
            barrier.wait(10)
            span.set_tag("k", 1)
            span.end()

        threads = [threading.Thread(target=end) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    spans.assert_tree("root\n  a")
    assert [len(chunk) for chunk in spans.payload()] == [2]


def test_a_span_made_while_tracing_is_off_leaves_its_parent_alone(spans):
    """Switched off in the middle of a trace, inner spans do nothing, also not to the open span around them."""
    with dd.span("outer") as outer:
        dd.configure(trace_enabled=False)
        trace._TRACER_PROVIDER = None  # as without OpenTelemetry; the recorder puts it back
        with dd.span("inner") as inner:
            inner.set_tag("k", 1)
        assert inner is not outer
        assert outer.is_recording()
    assert [(each.name, each.tags) for each in spans] == [("outer", {})]


def test_a_child_of_an_ended_span_belongs_to_its_trace(spans):
    """It has the same trace id and decision, also when its parent has long been sent."""
    parent = dd.start_span("parent")
    parent.end()
    dd.inject({}, span=parent)
    with dd.span("late", parent=parent):
        pass
    spans.assert_tree("parent\n  late")
    assert spans.find("late").priority == spans.find("parent").priority == 1


# -- manual decisions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "priority"),
    [
        (lambda span: span.keep(), 2),
        (lambda span: span.drop(), -1),
        (lambda span: (span.keep(), span.drop()), -1),
        (lambda span: (span.drop(), span.keep()), 2),
        (lambda span: span.set_tag("manual.keep"), 2),
        (lambda span: span.set_tag("manual.drop", ""), -1),
        (lambda span: span.set_attributes({"manual.keep": True}), 2),
        (lambda span: (span.keep(), span.set_tag("manual.drop", False)), 2),
        (lambda span: (span.drop(), span.set_tag("manual.keep", "0")), -1),
    ],
)
@pytest.mark.parametrize("when", ["root", "child", "decided", "inherited", "rule", "ended"])
def test_a_manual_decision_beats_every_other(spans, act, priority, when):
    """At any time, on any span of the trace, before or after other decisions; the last one counts."""
    if when == "rule":
        dd.configure(trace_sampling_rules=[{"sample_rate": 0.0 if priority > 0 else 1.0}])
    headers = {**DATADOG, "x-datadog-sampling-priority": "-1" if priority > 0 else "2"} if when == "inherited" else {}
    with dd.continue_trace(headers), dd.span("root") as root:
        if when == "decided":
            dd.inject({})
        with dd.span("child") as child:
            act(child if when in ("child", "inherited") else root)
        if when == "ended":
            act(child)
    found = spans.find("root")
    assert found.priority == priority
    assert found.dd["metrics"]["_sampling_priority_v1"] == priority
    assert found.dd["meta"]["_dd.p.dm"] == "-4"
    assert not any(key.startswith("manual.") for key in (*found.tags, *mapped(found)))
    assert "_dd.rule_psr" not in found.dd["metrics"]
