"""Additional span processors: every one is told in order, and none can hurt the application."""

import threading

import pytest
from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, ReadableSpan, SpanProcessor

from ddtrace_manual._tracing import processors


def boom(*_):
    raise RuntimeError("processor")


def test_order(provider, tracer, told):
    """Processors are told of a span in the order in which they were added, about its end in two steps."""
    log = []
    for name in "ab":
        provider.add_span_processor(told(name, log))
    tracer.start_span("one").end()
    assert log == [(name, method) for method in ("on_start", "_on_ending", "on_end") for name in "ab"]


@pytest.mark.parametrize("group", [None, ConcurrentMultiSpanProcessor])
def test_the_parent_context_is_passed_by_name(provider, tracer, group):
    """As the SDK does: a processor may take it by keyword only."""
    seen = []

    class ByName(SpanProcessor):
        def on_start(self, span, *, parent_context):
            seen.append(parent_context)

    processor = ByName()
    if group is not None:
        concurrent = group()
        concurrent.add_span_processor(processor)
        processor = concurrent
    provider.add_span_processor(processor)
    context = baggage.set_baggage("k", "v", Context())
    tracer.start_span("one", context).end()
    if group is not None:
        concurrent.shutdown()
    assert seen == [context]


@pytest.mark.parametrize("method", ["on_start", "_on_ending", "on_end"])
def test_one_that_raises_hurts_nobody(provider, tracer, told, chunks, caplog, method):
    """An exception of a processor is logged; the others are told, and the span is exported."""
    log = []
    provider.add_span_processor(told("bad", log, **{method: boom}))
    provider.add_span_processor(told("good", log))
    tracer.start_span("one").end()
    assert [entry for entry in log if entry[0] == "good"] == [
        ("good", "on_start"),
        ("good", "_on_ending"),
        ("good", "on_end"),
    ]
    assert chunks == [["one"]]
    assert f"'Told' failed in {method}" in caplog.text


def test_what_each_step_may_do(provider, tracer, told):
    """A span may be changed in on_start and is readable in _on_ending; what on_end gets is finished and plain."""
    seen = []
    processor = told(
        on_start=lambda span: span.set_attribute("started", True),
        _on_ending=lambda span: seen.append((span.is_recording(), span.end_time is not None)),
    )
    provider.add_span_processor(processor)
    tracer.start_span("one", attributes={"given": 1}).end()
    (span,) = processor.spans
    assert type(span) is ReadableSpan
    assert dict(span.attributes) == {"given": 1, "started": True}
    assert seen == [(False, True)]


def test_spans_of_a_processor(provider, tracer, told, chunks):
    """A processor may make spans itself while it is told of one."""

    def start_another(span):
        if span.name == "one":
            tracer.start_span("another").end()

    provider.add_span_processor(told(on_end=start_another))
    tracer.start_span("one").end()
    assert chunks == [["another"], ["one"]]


def test_added_late(provider, tracer, told):
    """A processor that was added while a span was open is told of its end only."""
    span = tracer.start_span("one")
    processor = told()
    provider.add_span_processor(processor)
    span.end()
    span.end()
    assert processor.log == [("processor", "_on_ending"), ("processor", "on_end")]


def test_concurrent_group(make_provider, told, chunks, caplog):
    """The SDK's concurrent group works, and one of its processors that raises hurts nobody."""
    group = ConcurrentMultiSpanProcessor()
    good = told()
    provider = make_provider(active_span_processor=group)
    provider.add_span_processor(told(on_end=boom))
    provider.add_span_processor(good)
    provider.get_tracer("x").start_span("one").end()
    assert [span.name for span in good.spans] == ["one"]
    assert chunks == [["one"]]
    assert "failed in on_end" in caplog.text
    good._does["force_flush"] = lambda _: True
    assert provider.force_flush(1000) is True
    provider.shutdown()
    assert good.log[-1] == ("processor", "shutdown")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [((True, True), True), ((None, True), True), ((False, True), False), ((boom, True), False)],
)
def test_flush(provider, told, caplog, answers, expected):
    """A flush asks every processor and fails when one says so or raises; no answer is a good one."""
    log = []
    for name, answer in zip("ab", answers, strict=True):
        provider.add_span_processor(told(name, log, force_flush=lambda _, a=answer: a() if callable(a) else a))
    assert provider.force_flush(2000) is expected
    assert log == [("a", "force_flush"), ("b", "force_flush")]
    assert ("failed in force_flush" in caplog.text) is (answers[0] is boom)


def test_one_that_hangs_holds_up_neither_flush_nor_shutdown(provider, told, caplog):
    """Flush and shutdown end in time although a processor does not; the export is flushed all the same."""
    release, asked = threading.Event(), []
    provider.use_pipeline(flush=lambda _: asked.append("flush") or True, shutdown=lambda _: asked.append("end") or True)
    hang = told(force_flush=lambda _: release.wait(20), shutdown=lambda: release.wait(20))
    provider.add_span_processor(hang)
    assert provider.force_flush(20) is False
    assert provider.stop(0.02) is True
    assert asked == ["flush", "end"]
    assert caplog.text.count("not done in time") == 2
    release.set()


def test_every_one_is_shut_down(provider, told, caplog):
    """A processor whose shutdown raises does not keep the others from theirs."""
    log = []
    provider.add_span_processor(told("a", log, shutdown=boom))
    provider.add_span_processor(told("b", log))
    provider.shutdown()
    assert log == [("a", "shutdown"), ("b", "shutdown")]
    assert "failed in shutdown" in caplog.text


def test_without_threads(monkeypatch, told):
    """Where no thread can be started any more, the work is done at once."""

    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    processor = told()
    assert processors.shut_down([processor])(0) is True
    assert processor.log == [("processor", "shutdown")]
