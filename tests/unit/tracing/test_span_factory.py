"""The short way to start and end a span: it does what the long way does, and is left when anything changes."""

from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import ddtrace_manual as dd
from ddtrace_manual._base.context import SPAN_KEY, set_current
from ddtrace_manual._tracing import EngineHooks, TracerProvider
from ddtrace_manual._tracing import span as span_module
from ddtrace_manual._tracing.span import Span


@pytest.fixture
def finished():
    return []


@pytest.fixture
def provider(finished, clean_runtime):
    """The facade's provider, with an exporter that takes tuples."""
    provider = TracerProvider(
        shutdown_on_exit=False,
        hooks=EngineHooks(export=lambda _, spans, *, partial: finished.extend(spans), takes_compact=True),
    )
    provider._on_engine = clean_runtime.use_engine
    provider._announce_engine()
    return provider


@pytest.fixture
def tracer(provider):
    return provider.get_tracer("lib")


@dd.traced("child")
def decorated():
    """Run in a span."""
    return dd.current_span()


@contextmanager
def started(name):
    """A span of the facade that is no scope's."""
    span = dd.start_span(name)
    yield span
    span.end()


def shape(spans):
    """What does not differ between two spans made one after the other."""
    return [(name, operation_name, values) for _, _, _, _, name, operation_name, _, values, _ in spans]


@pytest.mark.parametrize("start", [dd.span, started], ids=["scope", "start_span"])
def test_spans_of_the_facade(provider, finished, start):
    """A child of the facade leaves the same tuple, whether its scope or its `end()` makes it."""
    with dd.span("outer") as outer:
        with start("child") as child:
            child.set_tag("order.id", "A-1001")
            child.set_tag("items", 3)
        outer.set_tag("late", True)
    made, root = finished
    assert root is outer
    times = child.start_ns, child.end_ns
    assert made == (child.span_id, outer.span_id, *times, "child", "child", None, child.values, {"late": True})
    assert child.values == {"order.id": "A-1001", "items": 3}
    assert outer.start_ns <= child.start_ns <= child.end_ns <= outer.end_ns
    assert (child.local_parent, child.is_recording()) == (None, False)
    assert provider.count_spans() == (0, 0)


def test_spans_of_opentelemetry(tracer, finished):
    """So do children made through OpenTelemetry, of their own scope; across scopes they are handed over whole."""
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("child"):
        with dd.span("of the facade"), dd.span("its child"):
            pass
        with tracer.start_as_current_span("of the library"):
            pass
    assert [type(span) for span in finished] == [tuple, Span, tuple, tuple, Span]
    assert [span[4:7] for span in finished if isinstance(span, tuple)] == [
        ("its child", "its child", None),
        ("of the library", None, tracer._instrumentation_scope),
        ("child", None, tracer._instrumentation_scope),
    ]


def test_resources(provider, finished):
    """A resource given with the name is the first attribute."""
    with dd.span("outer", resource="GET /"), dd.span("child", resource="SELECT 1") as child:
        child.set_tag("a", 1)
    made, root = finished
    assert (made[7], root.values) == ({"resource.name": "SELECT 1", "a": 1}, {"resource.name": "GET /"})


def test_children_take_over_a_service(provider, finished):
    """A parent that has a service of its own, set or taken over, has children of that service."""
    with dd.span("outer") as outer:
        with dd.span("before"):
            pass
        outer.service = "other"
        with dd.span("child"), dd.span("grandchild"):
            decorated()
    assert shape(span for span in finished if span is not outer) == [
        ("before", "before", {}),
        *((name, name, {"service.name": "other", "_dd.svc_src": "m"}) for name in ("child", "grandchild", "child")),
    ]


@pytest.mark.parametrize("leave", ["event", "exception", "error"])
def test_spans_that_are_no_tuples(provider, finished, leave):
    """What happens to a span after the short start keeps it whole at the end of its scope."""
    with pytest.raises(KeyError) if leave == "exception" else dd.span("around"), dd.span("outer"), dd.span("x") as span:
        if leave == "event":
            span.add_event("e")
        elif leave == "error":
            span.set_error(message="m")
        else:
            raise KeyError
    assert finished[0] is span


def test_processors_added_meanwhile(provider, tracer, told, finished):
    """From when a processor is added on it is told of every start and end, also below and of spans open then."""
    processor = told()
    with dd.span("outer"), dd.span("open"):
        provider.add_span_processor(processor)
        with dd.span("its child"):
            decorated()
        with tracer.start_as_current_span("of the library"), tracer.start_as_current_span("below"):
            pass
    assert [span.name for span in processor.spans] == ["child", "its child", "below", "of the library", "open", "outer"]
    assert [method for _, method in processor.log].count("on_start") == 4
    assert len(finished) == 6


def test_samplers_given_meanwhile(provider, tracer):
    """From when a sampler is given on it is asked about every span."""
    with dd.span("outer"), tracer.start_as_current_span("of the library"):
        engine = provider.engine
        engine.reconfigure(hooks=engine.hooks, limits=engine.limits, partial_flush_min_spans=300, sampler=ALWAYS_OFF)
        with dd.span("child") as child, tracer.start_as_current_span("of the library") as other:
            assert not child.is_recording()
            assert not other.is_recording()
            assert not decorated().is_recording()


def test_an_end_of_tracing_meanwhile(provider, finished):
    """Spans open when tracing ends are handed over; none is started below them."""
    with dd.span("outer"), dd.span("child") as child:
        provider._drop_engine()
        with dd.span("later") as later:
            assert not later.is_recording()
        assert decorated() is child
    assert len(finished) == 2


def test_a_parent_that_has_ended(provider, finished):
    """A span below an ended one is made the long way, and its own children the short way again."""
    outer = dd.start_span("outer")
    outer.end()
    with dd.span("late", parent=outer) as late, dd.span("child"):
        pass
    assert [span if span in (outer, late) else span[4] for span in finished] == [outer, "child", late]
    assert late.parent_id == outer.span_id


def test_a_parent_of_another_library(provider):
    """The span of a foreign provider, which knows no sources, is a parent like any other."""
    foreign = trace.NonRecordingSpan(trace.SpanContext(7, 9, is_remote=True))
    set_current(Context({SPAN_KEY: foreign}))
    with dd.span("x") as span:
        assert (span.trace_id, span.parent_id) == (7, 9)
    with dd.start_span("root") as root:
        assert root.trace_id == 7


def test_a_scope_whose_span_was_ended_by_hand(provider, finished):
    """The end of the scope changes nothing any more."""
    with dd.span("outer"), dd.span("child") as child:
        child.end()
        end_ns = child.end_ns
        child.set_tag("late", 1)
    assert (child.end_ns, child.values, len(finished)) == (end_ns, {}, 2)


def test_partial_flushing(provider, finished):
    """Enough finished spans leave before their trace ends; its root leaves when it ends, before open children."""
    engine = provider.engine
    engine.reconfigure(hooks=engine.hooks, limits=engine.limits, partial_flush_min_spans=3, sampler=None)
    with dd.span("outer"):
        for _ in range(7):
            with dd.span("child"):
                pass
        assert len(finished) == 6
    outer = dd.span("outer")
    outer.__enter__()
    inner = dd.span("inner")
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert len(finished) == 9
    inner.__exit__(None, None, None)
    assert len(finished) == 10


class Unhashable(str):
    """A text whose hash is a mistake."""

    __slots__ = ()

    def __hash__(self):
        raise RuntimeError("no hash")


class Renamed(str):
    """A text with a class of its own."""

    __slots__ = ()


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("key", ["order.id", Renamed("order.id"), Unhashable("order.id"), "x" * 200])
def test_keys_of_every_sort(provider, key, is_known):
    """The first time that a key is met differs in nothing from the next time; it is kept as plain text."""
    span_module._plain_keys.clear()
    with dd.span("outer") as outer:
        if is_known:
            dd.span("x").__enter__().set_tag("order.id", 1)
            set_current(Context({SPAN_KEY: outer}))
        for value in (1, "two", [3]):
            outer.set_tag(key, value)
            assert list(outer.values.items()) == [(str.__str__(key), (3,) if value == [3] else value)]
            assert type(next(iter(outer.values))) is str


def test_more_keys_than_are_remembered(provider):
    """Keys made from data neither fill the memory nor a span: the oldest attribute beyond 128 goes, as ever."""
    known = span_module._plain_keys
    with dd.span("outer") as outer:
        for _ in range(2):
            for number in range(1_500):
                outer.set_tag(f"item.{number}", number)
    assert len(known) <= 1_000
    assert (len(outer.values), outer.dropped_attributes) == (128, 3_000 - 128)
    assert list(outer.values.items())[-1] == ("item.1499", 1_499)


def test_the_queue_is_charged_for_what_is_out_of_the_ordinary(provider):
    """A few short values of known keys are in the price of a span; more and longer ones are charged."""
    with dd.span("outer") as outer:
        segment = outer.segment
        keys = [f"k{number}" for number in range(8)]
        outer.set_tags(dict.fromkeys(keys, 1))
        for key in keys:
            del outer.values[key]
        before = segment.extra_bytes
        outer.set_tags(dict.fromkeys(keys, 1))
        assert segment.extra_bytes == before
        outer.set_tag("k0", "x" * 10_000)
        assert segment.extra_bytes - before >= 10_000
        before = segment.extra_bytes
        outer.set_tag("k9", 1)
        assert segment.extra_bytes > before
