"""The engine: segments and their chunks, remote parents, decisions, and what failing hooks do."""

import threading

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from ddtrace_manual._base.context import REMOTE_CONTEXT_KEY, SPAN_KEY, activate, get_current, restore
from ddtrace_manual._model import LinkRecord, RemoteContext
from ddtrace_manual._tracing.span_factory import SpanSource

REMOTE = SpanContext(7 << 64 | 5, 9, True, TraceFlags(1))


def under(span_context):
    """A context whose current span is a foreign one."""
    return trace.set_span_in_context(NonRecordingSpan(span_context), Context())


def extracted(remote):
    """A context as our propagator leaves it."""
    span = NonRecordingSpan(SpanContext(remote.trace_id, remote.span_id, True, TraceFlags(1)))
    span.remote_context = remote
    return Context({REMOTE_CONTEXT_KEY: remote, SPAN_KEY: span})


def test_a_trace_is_one_chunk(tracer, chunks):
    """Spans are exported together when the last open one ends, in the order of their ends."""
    outer = tracer.start_span("outer")
    inner = tracer.start_span("inner", trace.set_span_in_context(outer))
    inner.end()
    assert chunks == []
    assert repr(inner.segment).startswith(f"Segment(trace_id={inner.trace_id:032x}, open=1, finished=1")
    outer.end()
    assert chunks == [["inner", "outer"]]


def test_partial_flush(make_provider, chunks):
    """A long trace is exported in parts of so many finished spans."""
    tracer = make_provider(partial_flush_min_spans=2).get_tracer("x")
    with tracer.start_as_current_span("outer"):
        for name in "abc":
            tracer.start_span(name).end()
    assert chunks == [["a", "b", "..."], ["c", "outer"]]


def test_late_child(tracer, chunks):
    """A child of an ended span belongs to its trace, in a chunk of its own."""
    parent = tracer.start_span("parent")
    parent.end()
    child = tracer.start_span("child", trace.set_span_in_context(parent))
    child.end()
    assert child.segment is parent.segment
    assert child.parent.span_id == parent.span_id
    assert chunks == [["parent"], ["child"]]


@pytest.mark.parametrize("partial", [None, 1])
def test_a_finalizer_may_end_spans_anywhere(make_provider, chunks, partial):
    """Ending a span while the same thread hands over its segment neither blocks, nor loses or doubles a span."""
    tracer = make_provider(partial_flush_min_spans=partial).get_tracer("x")
    outer = tracer.start_span("outer")
    late = []

    class Interrupted(list):
        """A list that is interrupted by the end of another span while it is copied."""

        def __getitem__(self, key):
            taken = super().__getitem__(key)
            if late:
                late.pop().end()
            return taken

    outer.segment.finished = Interrupted()
    late.append(tracer.start_span("late", trace.set_span_in_context(outer)))
    done = threading.Event()

    def work():
        outer.end()
        if late:
            late.pop().end()
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(10)
    assert sorted(name for chunk in chunks for name in chunk if name != "...") == ["late", "outer"]


def test_threads_share_a_trace(tracer, chunks, in_threads):
    """Spans of one trace that start and end in many threads at once are all exported, each once."""
    with tracer.start_as_current_span("root") as root:
        context = trace.set_span_in_context(root)

        def work(number):
            for index in range(50):
                span = tracer.start_span(f"{number}-{index}", context)
                span.set_attribute("a", index)
                span.end()

        assert in_threads(work) == []
    names = [name for chunk in chunks for name in chunk if name != "..."]
    assert len(names) == len(set(names)) == 401


def test_one_span_in_many_threads(make_provider, in_threads):
    """Setting everything on one span from many threads raises nothing, respects the limits and ends it once."""
    exported = []
    provider = make_provider({"export": lambda _, spans, *, partial: exported.extend(spans)})
    span = provider.get_tracer("x").start_span("shared")

    def work(number):
        for index in range(300):
            span.set_attribute(f"{number}-{index}", "x" * 100)
            span.set_attributes({"same": number})
            span.add_event("e", {"n": index})
            span.add_link(SpanContext(number + 1, index + 1, False))
            span.update_name(f"{number}")
            span.set_status(trace.StatusCode.ERROR, "x")
        span.end()

    assert in_threads(work, 4) == []
    assert exported == [span]
    assert len(span.events) == 128
    assert len(span.links) == 128
    assert len(span.attributes) <= 128 + 4


@pytest.mark.parametrize(("flags", "priority"), [(TraceFlags(1), 1), (TraceFlags(0), 0)])
def test_foreign_remote_parent(tracer, chunks, flags, priority):
    """Without a propagator of ours the flag of a remote parent decides; either way the spans are recorded."""
    context = under(SpanContext(5, 9, True, flags))
    span = tracer.start_span("x", context)
    assert (span.trace_id, span.parent.span_id, span.parent.is_remote) == (5, 9, True)
    assert span.get_span_context().trace_flags == flags
    assert span.segment.priority == priority
    assert tracer.start_span("y", context).segment is not span.segment  # nothing is found by trace id
    span.end()
    assert chunks == [["x"]]


@pytest.mark.parametrize("context", [Context(), under(trace.INVALID_SPAN_CONTEXT), Context({SPAN_KEY: "odd"})])
def test_no_parent(tracer, context):
    """A context without a span, with an invalid one, or with something else, begins a new trace."""
    with tracer.start_as_current_span("current") as current:
        span = tracer.start_span("x", context)
        assert span.parent is None
        assert span.trace_id != current.trace_id


def test_extracted_context(tracer):
    """What was extracted is taken over: ids, priority, tags; its links go to the first span started from it only."""
    remote = RemoteContext(5, 9, links=(LinkRecord(1, 2),))
    remote.priority, remote.tags = 2, {"_dd.p.usr.id": "x"}
    first, second = (tracer.start_span(name, extracted(remote)) for name in "ab")
    assert second.segment is first.segment
    assert (first.trace_id, first.parent_id, first.segment.priority) == (5, 9, 2)
    assert first.segment.tags == {"_dd.p.usr.id": "x"}
    assert first.segment.tags is not remote.tags
    assert (len(first.links), len(second.links)) == (1, 0)
    assert first.parent == SpanContext(5, 9, True, TraceFlags(1))


def test_extraction_without_trace(tracer):
    """A restart has links only: the span begins a new trace."""
    span = tracer.start_span("x", extracted(RemoteContext(0, 0, links=(LinkRecord(1, 2),))))
    assert span.trace_id != 0
    assert span.parent is None
    assert [link.context.is_remote for link in span.links] == [True]


def test_baggage_tags(make_provider):
    """Local roots, and they alone, are tagged from the baggage; attributes that were given win."""
    hooks = {"baggage_tags": lambda context: dict(baggage.get_all(context))}
    tracer = make_provider(hooks).get_tracer("x")
    context = baggage.set_baggage("b", "baggage", baggage.set_baggage("a", "baggage", Context()))
    root = tracer.start_span("root", context, attributes={"a": "given"})
    child = tracer.start_span("child", trace.set_span_in_context(root, context))
    assert dict(root.attributes) == {"a": "given", "b": "baggage"}
    assert dict(child.attributes) == {}


def test_parent_of_another_provider(make_provider, tracer):
    """Below a span of another provider of ours the trace continues, with its decision, in a segment of its own."""
    tracer_b = make_provider().get_tracer("b")
    parent = tracer.start_span("a")
    parent.drop()
    context = trace.set_span_in_context(parent)
    first, second = tracer_b.start_span("b", context), tracer_b.start_span("b", context)
    assert first.segment is second.segment is not parent.segment
    assert (first.trace_id, first.segment.priority) == (parent.trace_id, -1)
    assert first.parent == SpanContext(parent.trace_id, parent.span_id, False, TraceFlags(0))


def test_decision(make_provider):
    """The decision is made once, when the context is asked for; a manual one overrides it, the last call wins."""
    decided = []

    def decide(segment, root):
        decided.append(root.name)
        segment.priority, segment.decided = 0, True

    span = make_provider({"decide": decide}).get_tracer("x").start_span("x")
    assert (span.trace_id != 0, decided) == (True, [])
    first = span.get_span_context()
    assert first is span.get_span_context() is span.context
    assert (first.trace_flags, decided) == (0, ["x"])
    assert span.propagation_state()[2] is span.segment
    span.keep()
    assert span.get_span_context().trace_flags == 1
    span.set_attribute("manual.drop", True)
    assert span.get_span_context().trace_flags == 0
    assert decided == ["x"]


def test_decision_on_injection(provider, tracer):
    """Asking for what travels with the trace decides."""
    span = tracer.start_span("x")
    trace_id, span_id, state = span.propagation_state()
    assert (trace_id, span_id, state.decided) == (span.trace_id, span.span_id, True)
    span.segment.decided, span.segment.local_root = False, None
    provider.engine.decide(span.segment)  # after the export there is no root to decide by
    assert span.segment.decided


def test_decision_that_fails(make_provider, caplog):
    """When deciding fails, the trace is kept."""

    def decide(*_):
        raise RuntimeError("rules")

    span = make_provider({"decide": decide}).get_tracer("x").start_span("x")
    assert span.get_span_context().trace_flags == 1
    assert "The sampling decision failed" in caplog.text


def test_without_exporter():
    """A provider made by hand without a pipeline exports nowhere, and works."""
    from ddtrace_manual._tracing import TracerProvider

    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("x").start_as_current_span("x"):
        pass
    assert provider.force_flush()
    assert provider.count_spans() == (0, 0)


def test_activations_that_end_out_of_order(tracer):
    """A context whose activation has ended leads to the one outside of it, not to its ended span."""
    before = get_current()
    outer = tracer.start_span("outer")
    outer_context = activate(outer, before)
    inner_context = activate(tracer.start_span("inner"), outer_context)
    restore(outer_context, before)
    outer.end()
    assert tracer.start_span("x", outer_context).parent is None
    restore(inner_context, outer_context)
    assert get_current() is before


def test_service_of_the_parent(provider):
    """A span of the facade takes over the service of its local parent, and how it was set; others do not."""
    engine = provider.engine
    parent = engine.start("parent", {})
    parent.service = "other"
    context = {SPAN_KEY: parent}
    child = engine.start("child", context)
    grandchild = engine.start("own", {SPAN_KEY: child}, values={"service.name": "own"})
    assert (child.service, child.get_tag("_dd.svc_src"), grandchild.service) == ("other", "m", "own")
    of_scope = SpanSource(engine, InstrumentationScope("lib"))
    assert engine.start("otel", context, of_scope).service is None
    parent = engine.start("parent", {})
    parent.set_attribute("service.name", "attribute")
    child = engine.start("child", {SPAN_KEY: parent})
    assert (child.service, child.get_tag("_dd.svc_src")) == ("attribute", None)


def test_an_exception_is_told_in_full_once(provider):
    """The innermost span has the stack; its ancestors have type and message."""
    engine, error = provider.engine, ValueError("boom")
    outer = engine.start("outer", {})
    inner = engine.start("inner", {SPAN_KEY: outer})
    inner.record_exit(error)
    outer.record_exit(error)
    assert [event.attributes["exception.escaped"] for event in inner.events] == ["True"]
    assert outer.events == ()
    assert (outer.get_tag("error.type"), outer.get_tag("error.message")) == ("ValueError", "boom")
    assert inner.status.description == outer.status.description == "boom"


@pytest.mark.parametrize(
    ("attribute", "priority"),
    [
        ({"manual.keep": True}, 2),
        ({"manual.drop": None}, -1),
        ({"manual.drop": "false"}, 1),
        ({"manual.drop": 0}, 1),
    ],
)
def test_directives_at_the_start(tracer, attribute, priority):
    """`manual.keep` and `manual.drop` among the first attributes act, and are not stored."""
    span = tracer.start_span("x", attributes={"a": 1, **attribute})
    span.get_span_context()
    assert span.segment.priority == priority
    assert dict(span.attributes) == {"a": 1}


def test_asking_a_sampler_that_is_gone(provider):
    """A sampler that was taken away between two looks means: record."""
    answer = provider.engine.sample(Context(), "x", None, {"a": 1}, None)
    assert (answer.dropped, answer.attributes) == (None, {"a": 1})


def test_another_thread_made_room(tracer):
    """When another thread has emptied the attributes meanwhile, there is nothing to drop and nothing to count."""
    span = tracer.start_span("x")
    span._drop_oldest()
    assert span.dropped_attributes == 0


class InterruptedList(list):
    """A list in whose `copy` a signal handler or another thread gets its turn."""

    act = None

    def copy(self):
        copied = super().copy()
        if self.act is not None:
            act, self.act = self.act, None
            act()
        return copied


def test_a_span_that_ends_while_its_segment_is_handed_over(tracer, chunks):
    """Whoever hands over looks again afterwards, so that nothing stays behind."""
    outer = tracer.start_span("outer")
    outer.segment.finished = finished = InterruptedList()
    finished.act = lambda: tracer.start_span("late", {SPAN_KEY: outer}).end()
    outer.end()
    assert chunks == [["outer"], ["late"]]
    assert not finished


def test_an_exception_in_the_middle_of_handing_over(tracer, chunks):
    """What a signal handler raises there goes to the application; the next span that ends takes all with it."""
    outer = tracer.start_span("outer")
    outer.segment.finished = finished = InterruptedList()

    def interrupt():
        raise TimeoutError

    finished.act = interrupt
    with pytest.raises(TimeoutError):
        outer.end()
    assert chunks == []
    tracer.start_span("late", {SPAN_KEY: outer}).end()
    assert chunks == [["outer", "late"]]


def test_threads_that_end_the_last_spans_of_a_segment(tracer, chunks):
    """Every span leaves exactly once."""
    barrier = threading.Barrier(8)

    def end(spans):
        barrier.wait()
        for span in spans:
            span.end()

    for _ in range(50):
        outer = tracer.start_span("outer")
        spans = [[tracer.start_span("child", {SPAN_KEY: outer}) for _ in range(5)] for _ in range(7)]
        threads = [threading.Thread(target=end, args=(each,)) for each in (*spans, [outer])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(name for chunk in chunks for name in chunk if name != "...") == ["child"] * 35 + ["outer"]
        chunks.clear()
