"""Baggage through the facade: scope, what OpenTelemetry sees, headers, and the view of a span handle."""

import threading

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

import ddtrace_manual as dd
from ddtrace_manual._base.context import get_current, set_current
from ddtrace_manual.integrations import wrap


@pytest.fixture(autouse=True)
def recorded(spans):
    """Real headers, and no baggage left behind."""
    return spans


def header(**options):
    """Return the baggage header that is written now."""
    return dd.inject({}, **options).get("baggage")


def test_items_are_set_read_and_removed():
    """One item, all items, and no header once the last one is gone."""
    assert (dd.get_baggage("user"), dict(dd.get_baggage()), header()) == (None, {}, None)
    dd.set_baggage("user", "u1")
    dd.set_baggage("plan", "DF 28")
    assert dd.get_baggage("user") == "u1"
    assert dict(dd.get_baggage()) == {"user": "u1", "plan": "DF 28"}
    assert header() == "user=u1,plan=DF%2028"
    dd.remove_baggage("user")
    dd.remove_baggage("absent")
    assert header() == "plan=DF%2028"
    dd.remove_baggage("plan")
    assert header() is None
    dd.set_baggage("user", "u2")
    dd.clear_baggage()
    assert (dict(dd.get_baggage()), header()) == ({}, None)


def test_none_removes_an_item():
    """`None` means no item, as with tags: set here it removes, set through OpenTelemetry it is neither sent nor tagged."""
    dd.set_baggage("user.id", "u1")
    dd.set_baggage("plan", "p")
    dd.set_baggage("user.id", None)
    dd.set_baggage("absent", None)
    assert (dict(dd.get_baggage()), header()) == ({"plan": "p"}, "plan=p")
    set_current(baggage.set_baggage("user.id", None))
    assert header() == "plan=p"
    with dd.span("root") as span:
        assert span.get_tag("baggage.user.id") is None
    with dd.span("job") as handle:
        dd.set_baggage("plan", None, span=handle)
        assert header(span=handle) is None


@pytest.mark.parametrize(
    "carrier",
    [
        {},
        {b"Baggage": b"user=old", b"host": b"h"},
        [("baggage", "user=old"), ("host", "h")],
        [(b"baggage", b"user=old"), (b"host", b"h")],
    ],
    ids=str,
)
def test_injecting_after_clearing_leaves_nothing_of_the_old_trace(carrier):
    """The carrier of an earlier injection has no baggage once it was cleared, and no second trace."""
    dd.set_baggage("user", "u1")
    with dd.span("old"):
        dd.inject(carrier)
        dd.clear_baggage()
        dd.inject(carrier)
    dd.clear_baggage()
    with dd.span("new") as span:
        dd.inject(carrier)
        pairs = list(carrier.items() if isinstance(carrier, dict) else carrier)
        names = [name.decode().lower() if isinstance(name, bytes) else name for name, _ in pairs]
        assert len(set(names)) == len(names)
        assert "baggage" not in names
        remote = trace.get_current_span(dd.extract(carrier)).get_span_context()
        assert (remote.trace_id, remote.span_id) == (span.trace_id, span.span_id)
    dd.set_baggage("user", "u2")
    dd.inject(carrier)
    dd.clear_baggage()
    dd.inject(carrier)
    assert dict(baggage.get_all(dd.extract(carrier))) == {}


def test_injecting_nothing_leaves_a_carrier_alone():
    """Without a span and without baggage ever set, headers that are passed on stay."""
    passed_on = {"traceparent": f"00-{1:032x}-{2:016x}-01", "baggage": "a=b"}
    assert dd.inject(passed_on.copy()) == passed_on


def test_opentelemetry_sees_the_same_items():
    """Items set through either API are read through the other."""
    dd.set_baggage("a", "1")
    assert baggage.get_baggage("a") == "1"
    set_current(baggage.set_baggage("b", "2"))
    assert dict(dd.get_baggage()) == {"a": "1", "b": "2"}
    assert header() == "a=1,b=2"


def test_items_belong_to_the_block():
    """Children see the items; what a child sets or removes does not come back."""
    with dd.span("parent"):
        dd.set_baggage("a", "1")
        with dd.span("child"):
            assert dd.get_baggage("a") == "1"
            dd.set_baggage("a", "2")
            dd.set_baggage("b", "3")
            dd.remove_baggage("a")
            assert header() == "b=3"
        assert dict(dd.get_baggage()) == {"a": "1"}
    assert dict(dd.get_baggage()) == {}


def test_extracted_items_merge_and_end_with_the_block():
    """Items set later win over extracted ones of the same name."""
    dd.set_baggage("kept", "0")
    dd.set_baggage("a", "old")
    with dd.continue_trace({"baggage": "a=1;p=x,b=2"}):
        assert dict(dd.get_baggage()) == {"kept": "0", "a": "1", "b": "2"}
        assert header() == "kept=0,a=1;p=x,b=2"
        with dd.span("server"):
            dd.set_baggage("a", "1")
            assert header() == "kept=0,a=1,b=2"
    assert dict(dd.get_baggage()) == {"kept": "0", "a": "old"}


@pytest.mark.parametrize("undo", [dd.clear_baggage, lambda: dd.remove_baggage("a")], ids=["clear", "remove"])
def test_metadata_goes_with_its_item(undo):
    """An item set anew after its removal has no metadata, also where it has the very same value."""
    with dd.continue_trace({"baggage": "a=1;p=x"}):
        value = dd.get_baggage("a")
        undo()
        set_current(baggage.set_baggage("a", value))
        assert header() == "a=1"


def test_baggage_works_without_configuration(recorded):
    """Items are kept, there is nothing to inject with."""
    recorded.stop()
    before = get_current()
    try:
        dd.set_baggage("a", "1")
        assert (dd.get_baggage("a"), header()) == ("1", None)
    finally:
        set_current(before)


# -- the view of a span --------------------------------------------------------------------------------------


def test_a_handle_writes_what_was_set_on_it():
    """`set_baggage` on a span that is not current does not touch the current context."""
    dd.set_baggage("here", "0")
    handle = dd.start_span("job")
    dd.set_baggage("a", "1", span=handle)
    dd.set_baggage("b", "2", span=handle)
    assert header(span=handle) == "here=0,a=1,b=2"
    assert dict(dd.get_baggage(span=handle)) == {"here": "0", "a": "1", "b": "2"}
    assert (dd.get_baggage("a", span=handle), dd.get_baggage("a")) == ("1", None)
    assert header() == "here=0"
    dd.remove_baggage("a", span=handle)
    assert header(span=handle) == "here=0,b=2"
    dd.clear_baggage(span=handle)
    assert (header(span=handle), header()) == (None, "here=0")
    assert "traceparent" in dd.inject({}, span=handle)


def test_the_current_span_as_handle_is_the_current_context():
    """Setting on the current span and setting in the current context are the same."""
    with dd.span("a") as span:
        dd.set_baggage("k", "1", span=span)
        assert dd.get_baggage("k") == "1"
        set_current(baggage.set_baggage("otel", "2"))
        assert header(span=span) == header() == "k=1,otel=2"


def test_a_span_remembers_what_was_set_while_it_was_current():
    """Injected from another thread, after the block, or as a child, it writes its items."""
    dd.set_baggage("outer", "0")
    with dd.span("a") as span:
        dd.set_baggage("k", "1")
        child = dd.start_span("child")
    seen = []
    thread = threading.Thread(target=lambda: seen.append((header(), header(span=span), header(span=child))))
    thread.start()
    thread.join()
    assert seen == [(None, "outer=0,k=1", "outer=0,k=1")]
    dd.set_baggage("own", "2", span=child)
    assert header(span=child) == "outer=0,k=1,own=2"
    assert header(span=span) == "outer=0,k=1"


def test_a_span_that_nothing_was_set_on_has_the_current_baggage():
    """As long as a handle has no view of its own, the current context counts."""
    handle = dd.start_span("job")
    dd.set_baggage("k", "1")
    assert header(span=handle) == "k=1"


def test_metadata_of_a_view():
    """Metadata that came with an item stays in the view of a span until the item is set anew."""
    with dd.continue_trace({"baggage": "a=1;p=x,b=2;q=y"}):
        handle = dd.start_span("job")
        dd.set_baggage("b", "2", span=handle)
    assert header(span=handle) == "a=1;p=x,b=2"


def test_foreign_spans_keep_a_view_too():
    """Over another provider the handle works the same; a span that cannot keep anything keeps nothing."""
    provider = SdkTracerProvider(shutdown_on_exit=False)
    foreign = provider.get_tracer("x").start_span("a", context=Context())
    dd.set_baggage("k", "1", span=foreign)
    assert header(span=foreign) == "k=1"

    class Slotted(trace.NonRecordingSpan):
        """Refuses attributes of its own."""

        def __setattr__(self, name, value):
            if name == "_ddtrace_manual_baggage":
                raise AttributeError(name)
            super().__setattr__(name, value)

    slotted = Slotted(foreign.get_span_context())
    dd.set_baggage("k", "1", span=slotted)
    assert header(span=slotted) is None


@pytest.mark.parametrize("nothing", [trace.INVALID_SPAN, dd.current_span()], ids=["OpenTelemetry", "facade"])
def test_the_span_that_is_none_keeps_nothing(nothing):
    """All who have no span share one object: nobody's items must appear elsewhere."""
    dd.set_baggage("k", "1", span=nothing)
    with trace.use_span(trace.INVALID_SPAN):
        dd.set_baggage("k", "2")
    assert (header(span=nothing), header(span=trace.INVALID_SPAN)) == (None, None)


def test_items_travel_with_a_wrapped_function():
    """Context that is carried into a thread has the baggage."""
    dd.set_baggage("k", "1")
    seen = []
    thread = threading.Thread(target=wrap(lambda: seen.append(header())))
    thread.start()
    thread.join()
    assert seen == ["k=1"]


def test_items_become_tags_of_a_local_root(recorded):
    """The default keys of `DD_TRACE_BAGGAGE_TAG_KEYS` tag the first span that is started under them."""
    dd.set_baggage("user.id", "u1")
    dd.set_baggage("other", "x")
    with dd.span("root"), dd.span("child"):
        pass
    assert recorded.find("root").tags == {"baggage.user.id": "u1"}
    assert recorded.find("child").tags == {}


@pytest.mark.parametrize("value", ["", "  ", 5, None, object, "ü,;="])
def test_odd_values_never_raise(value):
    """Whatever is set, injecting goes on; what has no text is not written."""
    dd.set_baggage("k", value)
    text = header()
    assert text is None or text.startswith("k=")
