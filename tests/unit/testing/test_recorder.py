"""Recording: what is found, what `configure()` may do meanwhile, and that nothing is left behind."""

import asyncio
import logging
import os
import threading

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.context import get_current
from ddtrace_manual._setup import lifecycle as _setup
from ddtrace_manual.propagation import _otel
from ddtrace_manual.testing import FixedClock, SpanRecorder

TRACER = trace.get_tracer("made when the module was imported")


def process_state():
    """Return everything that a recording changes."""
    provider = _setup._setup.provider
    return (
        _setup._setup,
        dict(vars(RUNTIME)),
        dict(vars(provider)) if provider is not None else None,
        trace._TRACER_PROVIDER,
        trace._TRACER_PROVIDER_SET_ONCE,
        propagate.get_global_textmap(),
        _otel._installed,
        logging.getLogger("ddtrace_manual").level,
        list(logging.getLogger("ddtrace_manual").handlers),
        get_current(),
    )


def test_spans_of_both_apis_are_recorded_at_their_end(spans):
    """A span is there once it has ended, also while its root is open; whatever API made it."""
    with dd.span("root"):
        with TRACER.start_as_current_span("otel"):
            assert not spans
            with dd.span("leaf"):
                pass
        assert [each.otel_name for each in spans] == ["otel", "leaf"]
    assert len(spans) == 3
    spans.assert_tree("root\n  otel\n    leaf")


@pytest.mark.parametrize("turn", range(2))
def test_tracers_made_at_import_keep_working(spans, turn):
    """A tracer that a module made once is recorded in every test."""
    with TRACER.start_as_current_span("otel"):
        pass
    assert [each.name for each in spans] == ["internal"]


def test_what_is_shown_of_a_span(spans):
    """A recorded span shows what was set and what Datadog makes of it."""
    clock = spans.fix_clock(FixedClock(1_000_000_000))
    with dd.span("parent") as parent:
        parent.set_tag("n", 1)
        clock.advance(2)
        other = dd.start_span("other", new_trace=True)
        try:
            with dd.span("child", service="db", resource="SELECT 1", span_type="sql", kind="client") as child:
                child.set_tag("list", [1, {"a": None}])
                child.add_event("tick", {"k": "v"})
                child.add_link(other.get_span_context())
                clock.advance(0.5)
                raise KeyError("gone")
        except KeyError:
            pass
        other.end()
    found = spans.find("child")
    assert (found.name, found.otel_name, found.resource) == ("child", "child", "SELECT 1")
    assert (found.service, found.span_type, found.kind) == ("db", "sql", "client")
    assert (found.error, found.error_type, found.error_message) == (True, "KeyError", "'gone'")
    assert "raise KeyError" in found.error_stack
    assert [each.name for each in found.events] == ["tick", "exception"]
    assert [each.span_id for each in found.links] == [other.span_id]
    assert found.parent == spans.find("parent")
    assert found.parent.children == [found]
    assert found.parent.parent is None
    assert (found.trace_id, found.span_id, found.parent_id) == (child.trace_id, child.span_id, parent.span_id)
    assert (found.start_ns, found.duration_ns) == (3_000_000_000, 500_000_000)
    assert found.tags["list"] == (1, {"a": None})
    assert found.tag("_dd.svc_src") == "m"
    assert found.tag("list.0") == 1.0
    assert found.tag("nothing") is None
    assert found.dd["name"] == "child"
    assert found.priority == 1
    assert found.span is child
    assert found != child
    assert len({found, spans.find("child")}) == 1
    assert repr(found).startswith("<RecordedSpan 'child' resource='SELECT 1' error='KeyError' tags={")
    assert repr(spans) == "SpanRecorder(3 spans)"
    assert [each.name for each in spans.roots()] == ["parent", "other"]


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        ({}, ["a", "b", "internal"]),
        ({"name": "a"}, ["a"]),
        ({"name": "otel"}, ["internal"]),
        ({"name": "internal"}, ["internal"]),
        ({"resource": "R"}, ["b"]),
        ({"service": "test"}, ["a", "internal"]),
        ({"service": "other", "span_type": "web"}, ["b"]),
        ({"kind": "server"}, ["b"]),
        ({"error": True}, ["b"]),
        ({"error": False, "span_type": ""}, ["a"]),
        ({"error_type": "Broken"}, ["b"]),
        ({"tags": {"error.type": "Broken"}}, ["b"]),
        ({"tags": {"n": 1}}, ["a"]),
        ({"tags": {"n": 1.0, "s": "x"}}, ["a"]),
        ({"tags": {"n": True}}, []),
        ({"tags": {"flag": True}}, ["a"]),
        ({"tags": {"flag": 1}}, []),
        ({"tags": {"list": [1, [2]], "map": {"k": ["v"]}}}, ["a"]),
        ({"tags": {"list": (1, (2,))}}, ["a"]),
        ({"tags": {"list": [1]}}, []),
        ({"tags": {"n": [1]}}, []),
        ({"tags": {"map": {"k": "v"}}}, []),
        ({"tags": {"map": {}}}, []),
        ({"tags": {"n": {}}}, []),
        ({"tags": {"absent": None}}, ["a", "b", "internal"]),
        ({"name": "a", "kind": "server"}, []),
    ],
)
def test_finding(spans, criteria, names):
    """All criteria must hold; tags compare by value, with sequences of either kind."""
    with dd.span("a", tags={"n": 1, "s": "x", "flag": True, "list": [1, [2]], "map": {"k": ["v"]}}):
        pass
    with dd.span("b", resource="R", service="other", span_type="web", kind="server") as span:
        span.set_error(type="Broken")
    with TRACER.start_as_current_span("otel"):
        pass
    assert [each.name for each in spans.find_all(**criteria)] == names


def test_finding_one_says_what_there_is(spans):
    """`find` refuses none and several, and shows the tree with what was asked for."""
    for number in range(2):
        with dd.span("twice", span_type="web", tags={"n": number}):
            pass
    with pytest.raises(AssertionError, match=r"2 spans match 'twice'; recorded:\ntwice\ntwice"):
        spans.find("twice")
    with pytest.raises(AssertionError, match=r"no spans match 'a', kind='server'; recorded:\ntwice \[kind=internal\]"):
        spans.find("a", kind="server")
    shown = r"no spans match 'twice', span_type='db', tags={'n': 2}; recorded:\ntwice \[type=web, n=0\]\ntwice .*n=1"
    with pytest.raises(AssertionError, match=shown):
        spans.find("twice", span_type="db", tags={"n": 2})
    spans.clear()
    with pytest.raises(AssertionError, match="no spans match ; recorded:\n  nothing"):
        spans.find()
    with pytest.raises(TypeError, match="unknown criterion 'nmae'"):
        spans.find_all(nmae="a")


def test_a_payload_is_what_the_agent_would_get(spans):
    """Fixed ids and clock make it the same in every run; each local trace is a chunk, its root first."""
    assert spans.fix_ids(first_trace_id=1 << 64 | 5, first_span_id=7).span_id() == 7
    clock = spans.fix_clock()
    with dd.span("root", tags={"k": "v"}), dd.span("child"):
        clock.advance(ns=5)
    with dd.span("second"):
        pass
    root, second = spans.payload()
    assert spans.payload(5) == []
    assert spans.payload(1 << 64 | 5) == [root]
    assert [each["name"] for each in root + second] == ["root", "child", "second"]
    assert root[0] == {
        "service": "test",
        "name": "root",
        "resource": "root",
        "trace_id": 5,
        "span_id": 8,
        "start": 1_700_000_000_000_000_000,
        "duration": 5,
        "meta": {
            "k": "v",
            "language": "python",
            "otel.status_code": "Unset",
            "otel.trace_id": "00000000000000010000000000000005",
            "runtime-id": "00000000-0000-4000-8000-000000000000",
            "span.kind": "internal",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "datadog",
            "telemetry.sdk.version": root[0]["meta"]["telemetry.sdk.version"],
            "_dd.p.dm": "-0",
            "_dd.p.tid": "0000000000000001",
        },
        "metrics": {"_dd.top_level": 1.0, "_sampling_priority_v1": 1.0, "process_id": 1.0},
    }


def test_configuring_within_a_test_is_obeyed_and_sends_nothing(spans):
    """Service, rules and processors of a later `configure()` count; no thread starts, and flushing succeeds."""
    exporter = InMemorySpanExporter()
    threads = threading.active_count()
    provider = dd.configure(
        service="mine", trace_sample_rate=1, span_processors=[SimpleSpanProcessor(exporter)], agent_url="http://x:1"
    )
    assert provider is trace.get_tracer_provider() is spans.provider
    with dd.span("a"):
        pass
    assert (spans.find("a").service, spans.find("a").priority) == ("mine", 2)
    assert [each.name for each in exporter.get_finished_spans()] == ["a"]
    assert dd.flush()
    assert dd.counters().created_spans == 1
    assert dd.shutdown()
    with dd.span("after the end"):
        pass
    dd.configure()
    with dd.span("b"):
        pass
    assert [each.name for each in spans] == ["a", "b"]
    assert threading.active_count() == threads


def test_fixed_ids_and_clock_outlast_configure(spans):
    """What the test asked for is still in effect after the code under test configured tracing."""
    spans.fix_ids()
    clock = spans.fix_clock()
    dd.configure(service="mine")
    with dd.span("a"):
        clock.advance(1)
    found = spans.find("a")
    assert (found.trace_id, found.span_id, found.duration_ns) == (1, 1, 1_000_000_000)
    assert found.dd["meta"]["runtime-id"].startswith("00000000")


def test_the_environment_does_not_switch_recording_off(spans, monkeypatch):
    """`DD_TRACE_ENABLED=false`, as is usual where tests run, is overruled; the same in code is obeyed."""
    monkeypatch.setenv("DD_TRACE_ENABLED", "false")
    dd.configure()
    with dd.span("a"):
        pass
    assert len(spans) == 1
    dd.configure(trace_enabled=False)
    with dd.span("b"):
        pass
    assert len(spans) == 1


def test_headers_work(spans):
    """Injection and extraction are those of the real thing; a hop within the process is one tree."""
    with dd.span("client"):
        headers = dd.inject({})
    assert "traceparent" in headers
    with dd.continue_trace(headers), dd.span("server"):
        assert propagate.inject is not None
        assert baggage.get_all() == {}
    spans.assert_tree("client\n  server")


def test_no_second_provider_gets_in_the_way(spans, caplog):
    """Code under test that installs a provider of its own is told that there is one."""
    trace.set_tracer_provider(trace.NoOpTracerProvider())
    assert "not allowed" in caplog.text
    with TRACER.start_as_current_span("otel"):
        pass
    assert len(spans) == 1


def test_tasks_and_threads_are_recorded(spans):
    """Spans may end in any task and thread."""

    async def work(number):
        with dd.span("task", tags={"n": number}):
            await asyncio.sleep(0)
            await asyncio.to_thread(lambda: dd.start_span("thread").end())

    async def main():
        with dd.span("root"):
            await asyncio.gather(*map(work, range(3)))

    asyncio.run(main())
    spans.assert_tree("root\n" + "  task\n    thread\n" * 3)


def test_nothing_is_left_behind_without_configure():
    """Before and after a recording the process is the same, and the facade does nothing again."""
    before = process_state()
    token = None
    with SpanRecorder(service="mine") as recorder:
        dd.configure(service="other", trace_log_level="debug", trace_log_stream_handler=True)
        token = dd.span("left open")
        token.__enter__()
        with pytest.raises(RuntimeError, match="twice"):
            recorder.start()
    assert process_state() == before
    assert dd.current_span().span_id == 0
    token.__exit__(None, None, None)
    assert [each.service for each in recorder] == ["other"]
    recorder.stop()
    with pytest.raises(RuntimeError, match="not active"):
        recorder.provider


def test_a_failed_start_leaves_nothing_behind():
    """Wrong settings are reported, and the process is as before."""
    before = process_state()
    recorder = SpanRecorder(servce="typo")
    with pytest.raises(dd.exceptions.ConfigurationError, match="servce"):
        recorder.start()
    assert process_state() == before
    with pytest.raises(RuntimeError, match="never started"):
        recorder.mapper


def test_a_configured_application_is_borrowed_and_given_back(spans):
    """Spans of an application that was configured before go to the recorder for a while, then where they went."""
    exporter = InMemorySpanExporter()
    provider = dd.configure(service="application", span_processors=[SimpleSpanProcessor(exporter)])
    tracer = trace.get_tracer("application")
    with tracer.start_as_current_span("before"):
        before = process_state()
        with SpanRecorder() as inner, tracer.start_as_current_span("meanwhile"):
            assert trace.get_tracer_provider() is provider
        assert process_state() == before
        assert [(each.otel_name, each.service, each.parent_id) for each in inner] == [("meanwhile", "application", 0)]
    assert [each.otel_name for each in spans] == ["before"]
    assert [each.name for each in exporter.get_finished_spans()] == ["before"]
    assert tracer.resource is provider.resource


def test_a_provider_of_another_library_steps_aside(spans):
    """Where the application runs another OpenTelemetry provider, spans of the test are recorded all the same."""
    exporter = InMemorySpanExporter()
    foreign = SdkTracerProvider(shutdown_on_exit=False)
    foreign.add_span_processor(SimpleSpanProcessor(exporter))
    trace._TRACER_PROVIDER = foreign  # the outer recorder puts it back
    with SpanRecorder() as inner:
        dd.configure(service="mine")
        with dd.span("facade"), trace.get_tracer("looked up now").start_as_current_span("otel"):
            pass
    assert trace._TRACER_PROVIDER is foreign
    inner.assert_tree("facade [service=mine]\n  otel")
    assert exporter.get_finished_spans() == ()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_sends_nothing(spans):
    """The child records for itself; the parent's recording is unchanged."""
    with dd.span("parent"):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with dd.span("in the child"):
                    pass
                code = 0 if len(spans) == 1 and dd.flush() else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [each.name for each in spans] == ["parent"]


def test_tracers_follow_nested_recordings():
    """A tracer made while recording records into the recording that is under way, and nothing after the last one."""
    with SpanRecorder() as outer:
        tracer = outer.provider.get_tracer("lib")
        with SpanRecorder() as inner:
            tracer.start_span("in the inner one").end()
        tracer.start_span("in the outer one").end()
    after = tracer.start_span("after both")
    after.end()
    assert [span.otel_name for span in inner] == ["in the inner one"]
    assert [span.otel_name for span in outer] == ["in the outer one"]
    assert not after.is_recording()
