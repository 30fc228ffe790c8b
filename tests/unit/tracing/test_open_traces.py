"""Traces whose spans are not all ended: what leaves when, and what is said about the rest."""

import gc
import logging
import signal
import threading
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import SpanProcessor

import ddtrace_manual as dd
from ddtrace_manual._tracing import EngineHooks, TracerProvider
from ddtrace_manual._tracing.segment import Segment

WAIT_NS = 10_000_000_000


class Clock:
    """A clock that the test moves."""

    now_ns = 1_000 * WAIT_NS

    def __call__(self):
        return self.now_ns


@pytest.fixture
def exported():
    """Each chunk: its segment, the names of its spans, and whether others are open."""
    return []


@pytest.fixture(params=["facade", "records", "processor"])
def make(request, exported, clean_runtime):
    """Make a facade's provider with a clock; its spans end in the short way, in the long way, or with a processor."""

    def export(segment, spans, *, partial):
        exported.append((segment, [span[4] if isinstance(span, tuple) else span.otel_name for span in spans], partial))

    def make(partial_flush_min_spans=300):
        provider = TracerProvider(
            shutdown_on_exit=False,
            hooks=EngineHooks(export=export, takes_compact=request.param == "facade"),
            partial_flush_min_spans=partial_flush_min_spans,
        )
        if request.param == "processor":
            provider.add_span_processor(SpanProcessor())
        provider.clock = provider.engine.wall_ns = provider.engine.monotonic_ns = Clock()
        provider._configure_engine(provider.engine)  # what spans are made with reads the clock
        provider._on_engine = clean_runtime.use_engine
        provider._announce_engine()
        return provider

    return make


def names(exported):
    """The names of the spans of each chunk, with "..." where others are open."""
    return [chunk + ["..."] * partial for _, chunk, partial in exported]


@contextmanager
def started(name):
    """A span whose end() is called."""
    span = dd.start_span(name)
    yield span
    span.end()


def test_a_root_leaves_when_it_ends_and_its_open_children_follow(make, exported):
    make()
    with dd.span("root") as root:
        with dd.span("ended"):
            pass
        late, later = dd.start_span("late"), dd.start_span("later")
    assert names(exported) == [["ended", "root", "..."]]
    late.end()
    assert names(exported) == [["ended", "root", "..."]]
    root.keep()
    later.end()
    assert names(exported) == [["ended", "root", "..."], ["late", "later"]]
    assert {id(segment) for segment, _, _ in exported} == {id(root.segment)}
    assert root.segment.priority == 2


def test_without_partial_flushing_only_flush_and_shutdown_hand_over(make, exported):
    provider = make(partial_flush_min_spans=None)
    with dd.span("root"):
        late, later = dd.start_span("late"), dd.start_span("later")
    provider.clock.now_ns += 2 * WAIT_NS
    late.end()
    assert exported == []
    provider.force_flush()
    assert names(exported) == [["root", "late", "..."]]
    other = dd.start_span("other", parent=later)
    other.end()
    provider.shutdown()
    assert names(exported)[1:] == [["other", "..."]]


@pytest.mark.parametrize("child", [dd.span, started], ids=["scope", "end"])
def test_finished_spans_wait_at_most_ten_seconds_for_another_end(make, exported, child):
    provider = make()
    with dd.span("root"):
        provider.clock.now_ns += WAIT_NS
        for name in "ab":  # the root is old, they are not
            with child(name):
                pass
        assert exported == []
        provider.clock.now_ns += WAIT_NS - 1
        with child("c"):
            pass
        assert exported == []
        provider.clock.now_ns += 1
        with child("d"):
            pass
        assert names(exported) == [["a", "b", "c", "d", "..."]]
        with child("e"):
            pass
        assert len(exported) == 1
    assert names(exported)[1:] == [["e", "root"]]


def test_given_times_do_not_make_spans_leave_early(make, exported):
    """Spans with times of the past or the future wait as all others do, by the clock of the process."""
    provider = make()
    with dd.span("root"):
        for end_ns in (1, provider.clock.now_ns * 2, None):
            dd.start_span("child").end(end_ns)
        assert exported == []
        provider.clock.now_ns += WAIT_NS
        dd.start_span("late").end(1)
        assert names(exported) == [["child"] * 3 + ["late", "..."]]


def test_flush_hands_over_the_finished_spans_of_all_open_traces(make, exported):
    provider = make()
    roots = [dd.start_span("root", new_trace=True) for _ in range(3)]
    for number, root in enumerate(roots[:2]):
        dd.start_span(f"child-{number}", parent=root).end()
    provider.force_flush()
    assert names(exported) == [["child-0", "..."], ["child-1", "..."]]
    provider.force_flush()
    assert len(exported) == 2
    for root in roots:
        root.end()
    assert names(exported)[2:] == [["root"]] * 3


def test_a_collected_trace_hands_over_its_finished_spans(make, exported):
    provider = make()
    root = dd.start_span("root")
    dd.start_span("child", parent=root).end()
    assert provider.count_spans() == (1, 1)
    del root
    gc.collect()
    assert names(exported) == [["child", "..."]]
    assert provider.count_spans() == (1, 0)


def test_a_span_that_a_finalizer_ends_after_its_trace_was_collected_is_sent(make, exported):
    """Which of the finalizers of a cycle comes first is not defined."""
    provider = make()
    for _ in range(2):
        root, other = dd.start_span("root"), dd.start_span("other", new_trace=True)
        provider._segments.collect(root.segment)
        assert provider.count_spans()[0] == 2
        root.end()
        other.end()
        assert provider.count_spans() == (0, 0)
    assert names(exported) == [["root"], ["other"]] * 2


def test_forgotten_traces_leave_nothing_behind(make):
    """Traces that are never ended take no memory once the application has forgotten them."""
    provider = make()
    gc.collect()
    before = sum(isinstance(each, Segment) for each in gc.get_objects())
    for _ in range(1_000):
        dd.start_span("child", parent=dd.start_span("root", new_trace=True))
    gc.collect()
    gc.collect()  # what a collection that was under way had already looked at
    assert sum(isinstance(each, Segment) for each in gc.get_objects()) <= before
    assert provider._segments.references == {}
    assert provider.count_spans() == (2_000, 0)


def test_complete_traces_are_not_listed(make):
    provider = make()
    with dd.span("root") as root:
        with dd.span("child"):
            pass
        assert len(provider._segments.references) == 1
    assert provider._segments.references == {}
    late = dd.start_span("late", parent=root)
    assert len(provider._segments.references) == 1
    late.end()
    assert provider._segments.references == {}


def test_shutdown_says_once_what_was_never_ended(make, caplog):
    provider = make()
    spans = [dd.start_span(f"span-{number}", new_trace=True) for number in range(11)]
    spans += [dd.start_span("span-0", new_trace=True)]
    provider.shutdown()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.text.count("12 spans were started and never ended") == 1
    assert caplog.text.count("'span-") == 10
    assert "…" in caplog.text
    provider.shutdown()
    assert len(caplog.records) == 1
    for span in spans:
        span.end()
    provider.shutdown()
    assert len(caplog.records) == 1


def test_shutdown_names_collected_spans_and_nothing_when_all_ended(make, caplog):
    provider = make()
    with dd.span("root"):
        pass
    provider.shutdown()
    assert caplog.records == []
    provider._make_engine()
    dd.start_span("forgotten")
    gc.collect()
    provider.shutdown()
    assert "1 spans were started and never ended, and are not sent: 'forgotten'" in caplog.text


def test_a_debug_log_says_where_spans_were_started(make, caplog):
    """With `DD_TRACE_DEBUG` each span that was never ended is named with its place in the application."""
    caplog.set_level(logging.DEBUG, "ddtrace_manual")
    provider = make()
    provider._hooks = EngineHooks(note_places=True)
    provider._configure_engine(provider.engine)
    spans = [dd.start_span("facade"), provider.get_tracer("x").start_span("otel")]
    with dd.span("root"), dd.span("ended"):
        spans.append(dd.start_span("child"))
    provider.shutdown()
    found = [record.getMessage() for record in caplog.records if "was never ended" in record.getMessage()]
    assert len(found) == len(spans)
    place = f"at {__file__}:"
    assert all(place in line and "in test_a_debug_log_says_where" in line for line in found)


def test_a_signal_handler_may_flush_while_a_trace_is_handed_over(make, exported):
    """The interrupted frame has the spans: they leave once, and nothing waits for anything."""
    provider = make()

    class Interrupted(list):
        def copy(self):
            signal.raise_signal(signal.SIGUSR1)
            return super().copy()

    former = signal.signal(signal.SIGUSR1, lambda *_: provider.force_flush())
    try:
        root = dd.start_span("root")
        root.segment.finished = Interrupted()
        dd.start_span("child", parent=root).end()
        root.end()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert [name for chunk in names(exported) for name in chunk] == ["child", "root"]


def test_flushing_while_threads_end_spans_loses_and_doubles_nothing(make, exported, in_threads):
    provider = make()
    done = threading.Event()

    def flush():
        while not done.is_set():
            provider.force_flush()

    flusher = threading.Thread(target=flush)
    flusher.start()

    def work(number):
        for index in range(40):
            root = dd.start_span(f"{number}-{index}", new_trace=True)
            children = [dd.start_span(f"{number}-{index}-{child}", parent=root) for child in range(5)]
            for span in (*children[:2], root, *children[2:]):
                span.end()

    assert in_threads(work, 4) == []
    done.set()
    flusher.join()
    provider.force_flush()
    found = [name for _, chunk, _ in exported for name in chunk]
    assert len(found) == len(set(found)) == 4 * 40 * 6
    assert provider.count_spans() == (0, 0)
    assert provider._segments.references == {}


def test_a_root_that_ends_while_another_thread_hands_over_leaves_at_once(make, exported):
    provider = make()
    root = dd.start_span("root")
    child, late = dd.start_span("child", parent=root), dd.start_span("late", parent=root)

    class Interrupted(list):
        def copy(self):
            copied = super().copy()
            if root.is_recording():
                root.end()
            return copied

    root.segment.finished = Interrupted()
    child.end()
    provider.force_flush()
    assert names(exported) == [["child", "..."], ["root", "..."]]
    late.end()
    assert names(exported)[2:] == [["late"]]


def test_a_late_child_keeps_its_trace_listed(make, exported):
    """A child of an ended span is found by `flush` whether it started before or after its trace was complete."""
    provider = make()
    root = dd.start_span("root")

    class Interrupted(list):
        def __delitem__(self, key):
            super().__delitem__(key)
            late.append(dd.start_span("late", parent=root))

    late = []
    root.segment.finished = Interrupted()
    root.end()
    assert provider.count_spans() == (1, 0)
    root.segment.finished = []
    dd.start_span("inner", parent=late[0]).end()
    provider.force_flush()
    late[0].end()
    assert [name for _, chunk, _ in exported for name in chunk] == ["root", "inner", "late"]


def test_long_texts_leave_an_open_trace_early(make, exported):
    provider = make()
    with dd.span("root"):
        dd.start_span("large", tags={"k": "x" * 1_000_001}).end()
        assert names(exported) == [["large", "..."]]
        for _ in range(3):
            dd.start_span("small").end()
        assert len(exported) == 1
    assert provider.count_spans() == (0, 0)


def test_long_texts_do_not_leave_without_partial_flushing(make, exported):
    make(partial_flush_min_spans=None)
    with dd.span("root"):
        for _ in range(3):
            dd.start_span("large", tags={"k": "x" * 1_000_001}).end()
        assert exported == []
    assert names(exported) == [["large", "large", "large", "root"]]
