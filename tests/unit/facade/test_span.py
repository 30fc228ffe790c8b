"""`span`, `start_span` and the helpers for the current span, over the engine."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

import ddtrace_manual as dd
from ddtrace_manual._api.start import OUTCOME_TAG
from ddtrace_manual._base.context import get_current
from ddtrace_manual.exceptions import ConfigurationError


def test_span_is_current_inside_its_block_only(traced_chunks):
    """A span is current inside its block, and the former one is after it."""
    before = get_current()
    with dd.span("outer") as outer:
        assert dd.current_span() is outer
        with dd.span("inner") as inner:
            assert dd.current_span() is inner
            assert dd.root_span() is outer
        assert dd.current_span() is outer
    assert get_current() is before
    assert dd.current_span().trace_id == 0
    (chunk,) = traced_chunks.chunks
    assert [span.otel_name for span in chunk.spans] == ["inner", "outer"]
    assert inner.parent_id == outer.span_id
    assert inner.trace_id == outer.trace_id
    assert outer.parent_id == 0


def test_options_become_recorded_values(traced_chunks):
    """Every option ends up where the mapping looks for it."""
    with dd.span(
        "op",
        service="svc",
        resource="GET /",
        span_type="web",
        kind="server",
        tags={"a": 1, "b": [1, "x"]},
        measured=True,
        start_time_ns=5,
    ) as span:
        pass
    assert span.values == {
        "service.name": "svc",
        "_dd.svc_src": "m",
        "resource.name": "GET /",
        "span.type": "web",
        "a": 1,
        "b": (1, "x"),
        "_dd.measured": 1,
    }
    assert span.otel_kind is SpanKind.SERVER
    assert span.start_ns == 5
    assert (span.service, span.resource, span.span_type) == ("svc", "GET /", "web")
    assert span.operation_name == "op"


def test_a_child_takes_over_the_service_of_its_parent(traced_chunks):
    """A facade span without a service has that of its local parent, and says it was set by hand."""
    with dd.span("a", service="svc"), dd.span("b") as child, dd.span("c", service="own") as own:
        pass
    assert child.service == "svc"
    assert child.values["_dd.svc_src"] == "m"
    assert own.service == "own"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"bogus": 1}, "span has no option 'bogus'; there are ignore, kind, .*, tags"),
        ({"bogus": None}, "bogus"),
        ({"sevrice": "x"}, r"'sevrice' \(did you mean 'service'\?\)"),
        ({"measured": "yes"}, "'measured' must be a bool, not str"),
        ({"new_trace": 1}, "'new_trace' must be a bool, not int"),
        ({"kind": "sideways"}, "kind"),
        ({"kind": []}, "kind"),
        ({"tags": [("a", 1)]}, "tags"),
        ({"start_time_ns": "now"}, "start_time_ns"),
        ({"start_time_ns": True}, "start_time_ns"),
        ({"ignore": "ValueError"}, "ignore"),
        ({"ignore": (ValueError, 3)}, "ignore"),
        ({"links": "abc"}, "links"),
        ({"links": 3}, "links"),
        ({"links": [42]}, "'links' must be .*, not of int"),
        ({"links": [("traceparent", "x")]}, "'links' must be .*, not of tuple"),
        ({"links": [None]}, "'links' must be .*, not of NoneType"),
        ({"links": {"traceparent": "x"}}, "'links' must be an iterable of links or None, not dict"),
        ({"parent": 3}, "parent"),
    ],
)
@pytest.mark.parametrize("make", [dd.span, dd.start_span])
def test_bad_options_are_refused_by_name(make, options, named):
    """An unknown option or a wrong type raises ConfigurationError naming it, configured or not."""
    with pytest.raises(ConfigurationError, match=named):
        make("x", **options)


def test_links_may_be_an_iterator(traced_chunks):
    """Links given one by one are all there, also when the block is entered again."""
    scope = dd.span("a", links=iter([trace.SpanContext(1, 2, is_remote=True), {"traceparent": "nonsense"}]))
    for _ in range(2):
        with scope as span:
            assert [(link.trace_id, link.span_id) for link in span.link_records] == [(1, 2)]


def test_a_span_as_a_decorator_says_what_to_write():
    """`@span("x")` is refused when decorating, naming the decorator that does it; `@traced` refuses the block."""
    with pytest.raises(TypeError, match=r"decorate it with @traced\('x'\)"):

        @dd.span("x")
        def work(): ...

    with pytest.raises(TypeError, match="not SpanScope"):
        dd.traced(dd.span("x"))


class Unprintable:
    """A value whose text cannot be had."""

    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (None, "None"), (b"x", "b'x'"), (Unprintable(), "<unprintable Unprintable>")]
)
def test_names_from_data_become_text(traced_chunks, value, text):
    """A name, resource, service or type that is no text, as data may give it, never breaks the program."""
    with dd.span(value, resource=value, service=value, span_type=value) as span:
        pass
    other = dd.start_span(value, resource=value)
    other.end()
    given = None if value is None else text
    assert span.otel_name == other.otel_name == text
    assert (span.service, span.span_type) == (given, given)
    assert span.resource == other.resource == text


def test_an_exception_is_told_once_in_full(traced_chunks):
    """The innermost span has the stack; its ancestors have type and message; the exception goes on unchanged."""
    error = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as caught, dd.span("a"), dd.span("b"), dd.span("c"):
        raise error
    assert caught.value is error
    spans = traced_chunks.spans()
    assert [event.name for event in spans["c"].event_records] == ["exception"]
    details = spans["c"].event_records[0].attributes
    assert details["exception.type"] == "ValueError"
    assert details["exception.message"] == "boom"
    assert "test_an_exception_is_told_once" in details["exception.stacktrace"]
    assert details["exception.escaped"] == "True"
    for name in "ab":
        assert spans[name].event_records is None
        assert spans[name].values["error.type"] == "ValueError"
        assert spans[name].values["error.message"] == "boom"
    assert {span.status_code for span in spans.values()} == {2}


def test_another_exception_is_told_in_full_again(traced_chunks):
    """An ancestor that raises something else tells that in full, though a child has failed before."""
    with pytest.raises(KeyError), dd.span("a"):
        try:
            with dd.span("b"):
                raise ValueError
        except ValueError as exc:
            raise KeyError("k") from exc
    (event,) = traced_chunks.spans()["a"].event_records
    assert event.attributes["exception.type"] == "KeyError"
    assert "ValueError" in event.attributes["exception.stacktrace"]


def test_the_same_exception_from_two_siblings_is_told_by_both(traced_chunks):
    """An exception object raised twice in one trace has its stack on both innermost spans."""
    error = ValueError("again")
    with dd.span("root"):
        for name in ("first", "second"):
            with pytest.raises(ValueError, match="again"), dd.span(name):
                raise error
    spans = traced_chunks.spans()
    assert spans["first"].event_records
    assert spans["second"].event_records
    assert spans["root"].status_code == 0


def test_ignored_exceptions_leave_the_span_unmarked(traced_chunks):
    """`ignore` names exceptions, or a base of them, that are no error."""
    with pytest.raises(KeyError), dd.span("a", ignore=LookupError) as span:
        raise KeyError
    assert span.status_code == 0
    assert span.event_records is None
    assert span.values == {}


@pytest.mark.parametrize(
    ("exc", "outcome"),
    [
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "closed"),
        (SystemExit(0), "exit"),
        (SystemExit(None), "exit"),
    ],
)
def test_cancellation_is_tagged_and_no_error(traced_chunks, exc, outcome):
    """Cancelled, closed and successfully exited are outcomes, not errors."""
    with pytest.raises(type(exc)), dd.span("a") as span:
        raise exc
    assert span.values == {OUTCOME_TAG: outcome}
    assert span.status_code == 0


@pytest.mark.parametrize("exc", [SystemExit(2), KeyboardInterrupt()])
def test_other_base_exceptions_are_errors(traced_chunks, exc):
    """A failed exit and an interrupt are errors: the work was not done."""
    with pytest.raises(type(exc)), dd.span("a") as span:
        raise exc
    assert span.status_code == 2


class Hostile(Exception):
    """An exception whose text cannot be had."""

    def __str__(self):
        raise RuntimeError("no text")


def test_a_hostile_exception_is_recorded_by_its_class(traced_chunks):
    """When str(exc) raises, the class name stands for the message, and the exception goes on."""
    with pytest.raises(Hostile), dd.span("outer"), dd.span("a"):
        raise Hostile
    span = traced_chunks.spans()["a"]
    assert span.event_records[0].attributes["exception.message"] == "Hostile"
    assert traced_chunks.spans()["outer"].values["error.message"] == "Hostile"


def test_async_with_works_like_with(traced_chunks):
    """`async with span` traces its block."""

    async def run():
        async with dd.span("a") as span:
            await asyncio.sleep(0)
            assert dd.current_span() is span

    asyncio.run(run())
    assert list(traced_chunks.spans()) == ["a"]


def test_start_span_is_not_current(traced_chunks):
    """`start_span` leaves the current span alone; the caller ends the span."""
    with dd.span("outer"):
        span = dd.start_span("manual", tags={"k": "v"})
        assert dd.current_span().otel_name == "outer"
    assert list(traced_chunks.spans()) == ["outer"]
    span.end()
    assert set(traced_chunks.spans()) == {"outer", "manual"}


def test_parent_may_be_a_span_a_span_context_or_a_context(traced_chunks):
    """`parent` decides where a span belongs, whatever is current."""
    with dd.span("root") as root:
        pass
    remote = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1))
    with dd.span("current"):
        with dd.span("under-span", parent=root) as under_span:
            pass
        with dd.span("under-context", parent=remote) as under_context:
            pass
        with dd.span("nowhere", parent=trace.context_api.Context()) as nowhere:
            pass
    assert (under_span.trace_id, under_span.parent_id) == (root.trace_id, root.span_id)
    assert (under_context.trace_id, under_context.parent_id) == (0xABC, 0xDEF)
    assert nowhere.parent_id == 0


def test_new_trace_links_back(traced_chunks):
    """`new_trace` starts a trace of its own with a link to the span that was current."""
    with dd.span("job") as job, dd.span("batch", new_trace=True) as batch:
        pass
    assert batch.trace_id != job.trace_id
    (link,) = batch.link_records
    assert (link.trace_id, link.span_id) == (job.trace_id, job.span_id)


def test_links_from_everything(traced_chunks):
    """Links are taken from spans, span contexts and OpenTelemetry links; what names no trace is left out."""
    other = dd.start_span("other")
    context = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    with dd.span("a", links=[other, context, trace.Link(context, {"k": "v"}), trace.INVALID_SPAN]) as span:
        dd.add_link(context, {"late": True})
        dd.add_link(None)
    assert [(link.trace_id, link.span_id, dict(link.attributes), link.flags) for link in span.link_records] == [
        (other.trace_id, other.span_id, {}, None),
        (1, 2, {}, 1),
        (1, 2, {"k": "v"}, 1),
        (1, 2, {"late": True}, 1),
    ]


def test_helpers_act_on_the_current_span(traced_chunks):
    """set_tag, set_tags, add_event, set_error, keep and drop reach the current span."""
    with dd.span("a") as span:
        dd.set_tag("one", 1)
        dd.set_tags({"two": 2, "three": None})
        dd.add_event("seen", {"n": 1}, timestamp_ns=77)
        dd.set_error(type="T", message="m", stack="s")
        dd.keep()
        assert span.segment.priority == 2
        dd.drop()
    assert span.values["one"] == 1
    assert span.get_tag("two") == 2
    assert span.values["three"] is None
    assert span.values["error.type"] == "T"
    assert span.values["error.stack"] == "s"
    assert (span.status_code, span.status_description) == (2, "m")
    (event,) = span.event_records
    assert (event.name, event.time_ns, event.attributes) == ("seen", 77, {"n": 1})
    assert span.segment.priority == -1
    assert span.segment.tags["_dd.p.dm"] == "-4"


def test_set_error_takes_the_exception_being_handled(traced_chunks):
    """Without arguments `set_error` records the exception that is being handled."""
    with dd.span("a") as span:
        try:
            raise ValueError("handled")
        except ValueError:
            dd.set_error()
    assert span.event_records[0].attributes["exception.message"] == "handled"
    assert span.status_code == 2


def test_without_any_span_the_helpers_do_nothing():
    """Before configure() and outside any span nothing raises and nothing happens."""
    with dd.span("nothing", service="x", tags={"a": 1}) as span:
        assert not span.is_recording()
        span.set_tag("a", 1)
        span.set_error(ValueError("x"))
        span.service = span.resource = span.span_type = "x"
        span.keep()
    dd.set_tag("a", 1)
    dd.set_tags({"a": 1})
    dd.add_event("e")
    dd.set_error()
    dd.add_link(trace.SpanContext(1, 2, True))
    dd.keep()
    dd.drop()
    assert dd.current_span().span_id == 0
    assert dd.root_span().trace_id == 0
    assert dd.start_span("x").get_tag("a") is None


def test_closing_out_of_order_keeps_the_callers_span(traced_chunks):
    """A block left while another span is current leaves that one current, and never comes back itself."""

    def generator():
        with dd.span("inner"):
            yield

    suspended = generator()
    next(suspended)
    with dd.span("caller") as caller:
        suspended.close()
        assert dd.current_span() is caller
    assert dd.current_span().span_id == 0
    assert traced_chunks.spans()["inner"].values[OUTCOME_TAG] == "closed"


def test_closing_in_another_context_leaves_no_ended_parent(traced_chunks):
    """A span entered here and left in another context does not become the parent of later spans here."""

    def generator():
        with dd.span("inner"):
            yield

    suspended = generator()
    next(suspended)
    contextvars.Context().run(suspended.close)
    with dd.span("next") as following:
        pass
    assert following.parent_id == 0


def test_a_span_may_end_in_another_thread(traced_chunks):
    """A span ended in another thread completes its segment there."""
    span = dd.start_span("a")
    thread = threading.Thread(target=span.end)
    thread.start()
    thread.join()
    assert list(traced_chunks.spans()) == ["a"]


def test_a_child_of_an_ended_parent_joins_its_segment(traced_chunks):
    """A child started from an ended parent has its decision and forms a later chunk of the trace."""
    with dd.span("parent") as parent:
        dd.keep()
    with dd.span("child", parent=parent) as child:
        pass
    assert child.segment is parent.segment
    assert child.segment.priority == 2
    assert [len(chunk.spans) for chunk in traced_chunks.chunks] == [1, 1]


def test_repr_names_the_scope():
    """A scope shows its name."""
    assert repr(dd.span("checkout.pay")) == "span('checkout.pay')"
