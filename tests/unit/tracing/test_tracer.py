"""Tracers: spans by OpenTelemetry's API, current or not, by `with` and as decorator."""

import asyncio
import inspect

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import _TracerConfig
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

REMOTE = SpanContext(7 << 64 | 5, 9, True, TraceFlags(1))


class Hostile(Exception):
    """An exception without text."""

    def __str__(self):
        raise ValueError("no text")


def test_current_span(tracer, chunks):
    """The span of a `with` block is current in it, and ended and no longer current after it."""
    with tracer.start_as_current_span("outer") as outer:
        assert trace.get_current_span() is outer
        with tracer.start_as_current_span("inner") as inner:
            assert inner.parent.span_id == outer.span_id
        assert trace.get_current_span() is outer
    assert trace.get_current_span() is INVALID_SPAN
    assert chunks == [["inner", "outer"]]


@pytest.mark.parametrize("is_async", [False, True])
def test_decorator(tracer, chunks, is_async):
    """A decorated function keeps its identity and kind; each call runs in a span of its own."""
    if is_async:

        @tracer.start_as_current_span("work", kind=SpanKind.CONSUMER)
        async def work(depth):
            """Work."""
            await asyncio.sleep(0)
            return trace.get_current_span(), await work(depth - 1) if depth else None

        assert inspect.iscoroutinefunction(work)
        span, (inner, _) = asyncio.run(work(1))
    else:

        @tracer.start_as_current_span("work", kind=SpanKind.CONSUMER)
        def work(depth):
            """Work."""
            return trace.get_current_span(), work(depth - 1) if depth else None

        span, (inner, _) = work(1)
    assert (work.__name__, work.__doc__) == ("work", "Work.")
    assert inner.parent.span_id == span.span_id
    assert span.kind is SpanKind.CONSUMER
    assert chunks == [["work", "work"]]


def test_decorated_tasks_do_not_mix(tracer, chunks):
    """Tasks of one event loop that run a decorated coroutine function see their own spans only."""

    @tracer.start_as_current_span("task")
    async def task():
        span = trace.get_current_span()
        for _ in range(3):
            await asyncio.sleep(0)
            assert trace.get_current_span() is span
        return span.trace_id

    async def main():
        return await asyncio.gather(*(task() for _ in range(5)))

    assert len(set(asyncio.run(main()))) == 5
    assert chunks == [["task"]] * 5


@pytest.mark.parametrize("way", ["current", "span"])
@pytest.mark.parametrize(("record", "set_status"), [(True, True), (True, False), (False, True), (False, False)])
def test_exceptions(tracer, way, record, set_status):
    """An exception leaves the block unchanged; event and status are set as the options say, without its text too."""
    options = {"record_exception": record, "set_status_on_exception": set_status}
    scope = (tracer.start_as_current_span if way == "current" else tracer.start_span)("work", **options)
    error = Hostile()
    with pytest.raises(Hostile) as raised, scope as span:
        raise error
    assert raised.value is error
    assert [event.name for event in span.events] == ["exception"] * record
    assert span.status.status_code is (StatusCode.ERROR if set_status else StatusCode.UNSET)
    assert span.status.description == ("Hostile: Hostile" if set_status else None)
    assert not span.is_recording()


def test_exception_after_the_end(tracer, chunks):
    """A span that was ended in its own block takes no exception any more."""
    for scope in (tracer.start_as_current_span("current"), tracer.start_span("span")):
        with pytest.raises(ValueError), scope as span:
            span.end()
            raise ValueError("late")
        assert not span.events
    assert chunks == [["current"], ["span"]]


def test_kept_open(tracer, chunks):
    """`end_on_exit=False` leaves the span open."""
    with tracer.start_as_current_span("work", end_on_exit=False) as span:
        pass
    assert span.is_recording()
    assert chunks == []
    span.end()


def test_use_span(tracer):
    """OpenTelemetry's `use_span` makes our spans current, records exceptions and ends them when asked."""
    span = tracer.start_span("work")
    with pytest.raises(ValueError), trace.use_span(span, end_on_exit=True):
        assert trace.get_current_span() is span
        raise ValueError("x")
    assert (span.status.description, span.is_recording()) == ("ValueError: x", False)


def test_disabled_tracer(provider, tracer, chunks):
    """A tracer configurator switches tracers off and on; while off, the parent stays visible."""
    provider._set_tracer_configurator(tracer_configurator=lambda scope: _TracerConfig(scope.name != "tests"))
    off = tracer.start_span("off", trace.set_span_in_context(NonRecordingSpan(REMOTE), Context()))
    assert not off.is_recording()
    assert off.get_span_context() == REMOTE
    assert tracer.start_span("off", Context({trace.propagation._SPAN_KEY: "odd"})).get_span_context().span_id == 0
    provider.get_tracer("other").start_span("on").end()
    provider._set_tracer_configurator(tracer_configurator=lambda _: _TracerConfig(is_enabled=True))
    tracer.start_span("on again").end()
    assert chunks == [["on"], ["on again"]]


def test_tracer_configurator_that_raises(provider, caplog):
    """A configurator that raises leaves the tracer enabled."""

    def configurator(_):
        raise RuntimeError("no")

    provider._set_tracer_configurator(tracer_configurator=configurator)
    assert provider.get_tracer("new").start_span("x").is_recording()
    assert "Failed to create a Tracer Config" in caplog.text


class Choosing(Sampler):
    """A sampler that drops by name, adds an attribute, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        self.asked.append((trace_id, name, kind, dict(attributes or {}), len(links)))
        if name == "raise":
            raise RuntimeError("sampler")
        decision = {"drop": Decision.DROP, "record": Decision.RECORD_ONLY}.get(name, Decision.RECORD_AND_SAMPLE)
        return SamplingResult(decision, {**(attributes or {}), "sampler": "choosing"})

    def get_description(self):
        return "choosing"


def test_custom_sampler(make_provider, chunks, caplog):
    """What the sampler drops is not recorded; it sees what the span was started with, and may add attributes."""
    sampler = Choosing()
    tracer = make_provider(sampler=sampler).get_tracer("x")
    links = [Link(REMOTE)]
    kept = tracer.start_span("keep", kind=SpanKind.CLIENT, attributes={"a": 1}, links=links)
    dropped = tracer.start_span("drop", trace.set_span_in_context(kept))
    record = tracer.start_span("record")
    failed = tracer.start_span("raise", attributes={"b": 2})
    assert dict(kept.attributes) == {"a": 1, "sampler": "choosing"}
    assert dict(failed.attributes) == {"b": 2}
    assert (dropped.is_recording(), dropped.get_span_context().trace_id) == (False, kept.trace_id)
    assert dropped.get_span_context().span_id != 0
    assert sampler.asked[0] == (kept.trace_id, "keep", SpanKind.CLIENT, {"a": 1}, 1)
    assert [name for _, name, *_ in sampler.asked] == ["keep", "drop", "record", "raise"]
    for span in (kept, record, failed, dropped):
        span.end()
    assert chunks == [["keep"], ["record"], ["raise"]]
    assert "The sampler failed" in caplog.text


def test_wanted_below_a_dropped_parent(make_provider, chunks):
    """A span that the sampler wants below one it dropped is recorded, and decided anew."""
    tracer = make_provider(sampler=Choosing()).get_tracer("x")
    with tracer.start_as_current_span("drop") as parent, tracer.start_as_current_span("wanted") as span:
        assert span.parent == parent.get_span_context()
        assert span.get_span_context().trace_flags == 1
    assert chunks == [["wanted"]]


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(ALWAYS_OFF)], ids=["off", "parent-off"])
def test_sampler_that_drops_all(make_provider, told, chunks, sampler):
    """With a sampler that drops all, nothing is recorded, exported or shown to processors."""
    provider = make_provider(sampler=sampler)
    processor = told()
    provider.add_span_processor(processor)
    with provider.get_tracer("x").start_as_current_span("outer") as outer:
        provider.get_tracer("x").start_span("inner").end()
    assert not outer.get_span_context().trace_flags.sampled
    assert chunks == processor.log == []


@pytest.mark.parametrize(
    "options",
    [
        {"name": 5},
        {"name": None},
        {"name": "x", "kind": "client"},
        {"name": "x", "kind": None},
        {"name": "x", "attributes": [("a", 1)]},
        {"name": "x", "attributes": {1: 2, "": 3, None: 4, "a": Hostile()}},
        {"name": "x", "links": 7},
        {"name": "x", "links": [None, 7, Link(None), Link(SpanContext(0, 0, False))]},
        {"name": "x", "links": None, "attributes": None, "start_time": None},
        {"name": "x", "start_time": "yesterday"},
        {"name": "x", "start_time": float("inf")},
        {"name": "x", "start_time": -(2**80)},
        {"name": "x", "context": trace.set_span_in_context(NonRecordingSpan(None), Context())},
        {"name": "x", "context": trace.set_span_in_context(NonRecordingSpan("odd"), Context())},
    ],
    ids=[
        "name-number",
        "name-none",
        "kind-text",
        "kind-none",
        "attributes-list",
        "attributes-odd-keys",
        "links-number",
        "links-odd",
        "all-none",
        "start-text",
        "start-infinite",
        "start-before-all",
        "context-none",
        "context-odd",
    ],
)
def test_bad_options(tracer, chunks, options):
    """Whatever a span is started with, there is a span, and no exception."""
    span = tracer.start_span(**options)
    span.end()
    assert span.name == str(options["name"])
    assert span.kind is SpanKind.INTERNAL
    assert span.parent is None
    assert not span.links
    assert isinstance(span.start_time, int)
    assert chunks == [[span.name]]


def test_given_times_are_numbers(tracer):
    """Times are kept as integers: fractions are cut, and nothing is done about an end before the start."""
    span = tracer.start_span("x", start_time=10.9)
    span.end(5.5)
    assert (span.start_time, span.end_time) == (10, 5)
