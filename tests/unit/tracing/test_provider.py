"""The provider: tracers and scopes, limits of the environment, ids, reconfiguration, end and fork."""

import atexit
import logging
import os
import sys
from contextlib import nullcontext
from itertools import groupby

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanLimits, Tracer
from opentelemetry.sdk.trace import TracerProvider as SDKProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, NoOpTracer, SpanContext, TraceFlags, set_span_in_context

from ddtrace_manual._base.ids import IdSource
from ddtrace_manual._tracing import EngineHooks, TracerProvider
from ddtrace_manual._tracing.provider import limits_from_environment, limits_of

FEW = {
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "9",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "2",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "3",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "4",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "1",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "0",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "6",
}


def test_it_is_the_sdks(provider, tracer):
    """Provider, tracer and span pass for the SDK's own."""
    assert isinstance(provider, SDKProvider)
    assert isinstance(tracer, Tracer)
    assert isinstance(tracer.start_span("x"), Span)


def test_scopes(provider, caplog):
    """Equal scopes share a tracer; name, version, schema and attributes reach the span, in both forms."""
    arguments = ("lib", "1.2", "https://schema", {"a": [1]})
    tracer = provider.get_tracer(*arguments)
    assert provider.get_tracer(*arguments) is tracer
    assert provider.get_tracer("lib", "1.2") is not tracer
    span = tracer.start_span("x")
    scope, info = span.instrumentation_scope, span.instrumentation_info
    assert (scope.name, scope.version, scope.schema_url, dict(scope.attributes)) == (*arguments[:3], {"a": (1,)})
    assert (info.name, info.version, info.schema_url) == arguments[:3]
    assert tracer.instrumentation_info == info
    assert provider.get_tracer("").start_span("x").instrumentation_scope.name == ""
    assert "missing module name" in caplog.text


def test_limits_of_the_environment(monkeypatch, make_provider):
    """Limits come from the variables of OpenTelemetry, and what falls out is counted."""
    for name, value in FEW.items():
        monkeypatch.setenv(name, value)
    span = make_provider().get_tracer("x").start_span("x", attributes={"a": "1234567", "b": 1, "c": 2})
    for number in range(5):
        span.add_event("e", {"a": "1234567", "b": number})
        span.add_link(SpanContext(1, number + 1, False), {"a": 1})
    span.set_attribute("d", "1234567")
    readable = span._readable_span()
    assert dict(readable.attributes) == {"c": 2, "d": "123456"}
    assert (readable.dropped_attributes, readable.dropped_events, readable.dropped_links) == (2, 2, 1)
    assert [dict(event.attributes) for event in readable.events] == [{"b": 2}, {"b": 3}, {"b": 4}]
    assert [event.dropped_attributes for event in readable.events] == [1, 1, 1]
    assert [(link.context.span_id, link.dropped_attributes) for link in readable.links] == [
        (2, 1),
        (3, 1),
        (4, 1),
        (5, 1),
    ]


def test_limits_that_are_no_numbers(monkeypatch, caplog):
    """A variable that is no number is named in a warning and replaced by its default; the others hold."""
    for name, value in FEW.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "many")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-5")
    limits = limits_from_environment()
    assert (limits.max_events, limits.max_attribute_length) == (128, None)
    assert (limits.max_span_attributes, limits.max_span_attribute_length, limits.max_links) == (2, 6, 4)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert "OTEL_SPAN_EVENT_COUNT_LIMIT" in warnings[0]
    assert "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" in warnings[1]


def test_limits_given_in_code(make_provider):
    """Limits given to the provider hold; `UNSET` is none."""
    limits = SpanLimits(max_span_attributes=SpanLimits.UNSET, max_events=1)
    span = make_provider(span_limits=limits).get_tracer("x").start_span("x")
    span.set_attributes({str(number): number for number in range(200)})
    span.add_event("first")
    span.add_event("second")
    assert len(span.attributes) == 200
    assert ([event.name for event in span.events], span.dropped_events) == (["second"], 1)
    assert limits_of(limits).max_values is None


@pytest.mark.parametrize("name", ["OTEL_SDK_DISABLED"])
def test_disabled_sdk(monkeypatch, make_provider, name):
    """`OTEL_SDK_DISABLED=true` gives tracers that do nothing, as the SDK does."""
    monkeypatch.setenv(name, "true")
    provider = make_provider()
    assert isinstance(provider.get_tracer("x"), NoOpTracer)
    assert not provider.is_running


class Ids(IdGenerator):
    """An id generator of the application that returns what it was given, or raises it."""

    def __init__(self, answer):
        self._answer = answer

    def generate_span_id(self):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    generate_trace_id = generate_span_id


@pytest.mark.parametrize(
    ("answer", "span_id", "trace_id"),
    [
        (5, 5, 5),
        (0, None, None),
        (2**64 | 3, 3, 2**64 | 3),
        (2**128, None, None),
        (2**200 | 7, 7, 7),
        (-1, 2**64 - 1, 2**128 - 1),
        ("text", None, None),
        (None, None, None),
        (1.5, None, None),
        (ValueError("no ids"), None, None),
    ],
    ids=repr,
)
def test_ids_of_a_generator(make_provider, caplog, answer, span_id, trace_id):
    """Ids of a user's generator are cut to size; where they are 0 or fail, ids of our own are used."""
    tracer = make_provider(id_generator=Ids(answer)).get_tracer("x")
    first, second = tracer.start_span("x"), tracer.start_span("y")
    if span_id is None:
        assert len({first.span_id, second.span_id}) == 2
        assert 0 < first.trace_id < 2**128
        assert 0 < first.span_id < 2**64
    else:
        assert (first.span_id, first.trace_id) == (span_id, trace_id)
    assert ("id generator failed" in caplog.text) is not isinstance(answer, int)


def test_own_ids(provider):
    """The provider shows its own ids as an SDK generator that does not claim to be random."""
    generator = provider.id_generator
    assert 0 < generator.generate_span_id() < 2**64
    assert generator.generate_trace_id() >> 96 > 0
    assert generator.is_trace_id_random() is False


def pipeline(**changes):
    """Arguments of `reconfigure` for a pipeline that remembers nothing."""
    return {
        "hooks": EngineHooks(),
        "flush": lambda _: True,
        "shutdown": lambda _: True,
        "on_fork": EngineHooks,
        "on_engine": lambda _: None,
        "resource": Resource({"service.name": "new"}),
        "ids": IdSource(),
        "enabled": True,
        "sampler": None,
        "id_generator": None,
        "span_limits": None,
        "span_processors": (),
        "partial_flush_min_spans": 300,
        "max_frames": 30,
        **changes,
    }


def test_reconfiguring(make_provider, chunks, told):
    """A new pipeline takes over open spans, resource, ids and processors; what was added by hand stays."""
    provider = make_provider()
    tracer = provider.get_tracer("x")
    by_hand, first, second = told("hand"), told("first"), told("second")
    provider.add_span_processor(by_hand)
    provider.reconfigure(**pipeline(span_processors=(first,)))
    span = tracer.start_span("open")
    ended, engines = [], []
    export = EngineHooks(export=lambda _, spans, *, partial: ended.extend(each.name for each in spans))
    provider.reconfigure(
        **pipeline(span_processors=(second,), hooks=export, id_generator=Ids(7), on_engine=engines.append)
    )
    span.end()
    assert tracer.start_span("later").span_id == 7
    assert (ended, chunks) == (["open"], [])
    assert first.log == [("first", "on_start"), ("first", "shutdown")]
    assert [method for _, method in second.log] == ["_on_ending", "on_end", "on_start"]
    assert by_hand.log[:3] == [("hand", "on_start"), ("hand", "_on_ending"), ("hand", "on_end")]
    assert tracer.resource.attributes["service.name"] == "new"
    provider.reconfigure(**pipeline(enabled=False, on_engine=engines.append))
    assert not tracer.start_span("off").is_recording()
    provider.reconfigure(**pipeline(on_engine=engines.append))
    assert tracer.start_span("on").is_recording()
    # Told of new sources too, and so more than once of the same engine.
    assert [is_off for is_off, _ in groupby(engine is None for engine in engines)] == [False, True, False]


@pytest.mark.parametrize("is_locked", [False, True])
def test_a_shutdown_that_interrupts(make_provider, is_locked):
    """A signal handler that shuts down in the middle of anything neither waits for it nor is overruled by it."""
    engines = []
    provider = make_provider()

    def on_engine(engine):
        if engine is not None and len(engines) < 3:
            engines.append(engine)
            with provider._tracers_lock if is_locked else nullcontext():  # as inside of get_tracer()
                provider.shutdown()
        engines.append(engine)

    provider.reconfigure(**pipeline(on_engine=on_engine))
    assert engines[-1] is None
    assert not provider.get_tracer("x").start_span("x").is_recording()


def test_end(make_provider, told):
    """After shutdown nothing is recorded; spans that were open end without harm; counts stay readable."""
    timeouts = []
    provider = make_provider()
    provider.use_pipeline(flush=lambda _: False, shutdown=lambda timeout: timeouts.append(timeout) or False)
    processor = told()
    provider.add_span_processor(processor)
    span = provider.get_tracer("x").start_span("open")
    assert provider.force_flush() is False
    assert provider.stop(1.5) is False
    assert timeouts == [1.5]
    span.end()
    assert not provider.get_tracer("x").start_span("later").is_recording()
    provider.add_span_processor(told())
    assert provider.count_spans() == (0, 0)


@pytest.mark.skipif(not hasattr(SDKProvider, "_update_resource"), reason="this SDK does not change resources")
def test_resource_that_changes(provider, tracer):
    """When the SDK changes the resource after a fork, spans show the new one."""
    provider._update_resource(Resource({"a": 1}))
    assert tracer.start_span("x")._resource.attributes["a"] == 1
    provider.shutdown()
    provider._update_resource(Resource({"a": 2}))
    assert provider.resource.attributes["a"] == 2


def test_what_a_fork_does(make_provider):
    """The child's half of a fork: another engine and other ids; spans of the old engine end without effect."""
    exported = []
    provider = make_provider()
    provider.reconfigure(
        **pipeline(
            on_fork=lambda: EngineHooks(
                export=lambda _, spans, *, partial: exported.extend(each.name for each in spans)
            )
        )
    )
    tracer = provider.get_tracer("x")
    with tracer.start_as_current_span("parent") as parent:
        provider._decide_before_fork()
        assert parent.segment.decided
        provider._renew_after_fork()
        child = tracer.start_span("child")
        assert (child.trace_id, child.parent.span_id, child.is_local_root) == (parent.trace_id, parent.span_id, True)
        child.end()
    assert exported == ["child"]
    provider._decide_before_fork()
    provider.shutdown()
    provider._renew_after_fork()
    assert not provider.is_running


def test_exit_hook(monkeypatch):
    """A provider made by hand shuts down when the process exits, and forgets that when it did before."""
    hooks = []
    monkeypatch.setattr(atexit, "register", lambda hook: hooks.append(hook) or hook)
    monkeypatch.setattr(atexit, "unregister", hooks.remove)
    provider = TracerProvider()
    assert hooks == [provider.shutdown]
    provider.shutdown()
    provider.shutdown()
    assert hooks == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork(make_provider, told):
    """A child has an engine, ids and processors of its own; the parent's open span is its spans' parent."""
    provider = make_provider()
    processor = told()
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("x")
    reading, writing = os.pipe()
    with tracer.start_as_current_span("parent") as parent:
        before = provider.engine
        child = os.fork()
        if not child:
            code = 1
            try:
                parent.set_attribute("in", "child")
                parent.end()  # belongs to the other process: without effect
                with tracer.start_as_current_span("child") as span:
                    context = span.get_span_context()
                    facts = (
                        span.parent.span_id == parent.span_id,
                        context.trace_id == parent.trace_id,
                        span.segment.decided,
                        provider.engine is not before,
                        before.is_dead,
                        span.is_local_root,
                    )
                ended = [each.name for each in processor.spans]
                os.write(writing, repr((facts, ended, span.span_id)).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            facts, ended, child_id = eval(pipe.read())
        assert os.waitpid(child, 0)[1] == 0
        assert facts == (True,) * 6
        assert ended == ["child"]
        assert parent.is_recording()
        assert tracer.start_span("sibling").span_id != child_id
    assert parent.segment.decided


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("state", ["stopped", "renewed", "gone"])
def test_fork_without_a_pipeline(make_provider, state):
    """Forking with a provider that is shut down, has a pipeline to renew, or is gone, does no harm."""
    provider = make_provider()
    if state == "renewed":
        provider.reconfigure(**pipeline(on_fork=lambda: EngineHooks(export=lambda *_, **__: os._exit(0))))
    elif state == "stopped":
        provider.shutdown()
    tracer = provider.get_tracer("x")
    if state == "gone":
        del provider
    child = os.fork()
    if not child:
        with_span = tracer.start_span("x") if state == "renewed" else None
        if with_span is not None:
            with_span.end()  # exports, which exits with 0
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_fork_while_a_tracer_is_being_made(make_provider, is_enabled):
    """The child does not wait for a thread that it does not have."""
    provider = make_provider()
    if not is_enabled:
        provider.reconfigure(**pipeline(enabled=False))
    with provider._tracers_lock:
        provider._renew_after_fork()
        assert provider._tracers_lock.acquire(blocking=False)
        provider._tracers_lock.release()


def test_without_fork(monkeypatch):
    """Where processes cannot fork there is nothing to hook into."""
    monkeypatch.delattr(os, "register_at_fork")
    assert TracerProvider(shutdown_on_exit=False).is_running


def test_logging_is_quiet(tracer, caplog):
    """Calls on an ended span do nothing, and say so at debug level only."""
    caplog.set_level(logging.DEBUG, "ddtrace_manual.tracing")
    span = tracer.start_span("x")
    span.end()
    span.set_attribute("a", 1)
    span.end()
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert sys.exc_info()[0] is None


class RandomIds(Ids):
    """An id generator that claims the random flag, or fails to say."""

    def __init__(self, claim):
        super().__init__(7)
        self._claim = claim

    def is_trace_id_random(self):
        if isinstance(self._claim, Exception):
            raise self._claim
        return self._claim


@pytest.mark.parametrize(("claim", "flags"), [(True, 3), (False, 1), (RuntimeError("claim"), 1)])
def test_a_users_generator_is_believed_about_random_ids(make_provider, claim, flags):
    """Own roots and what descends from them carry the random flag then; a continued trace has that of its caller."""
    provider = make_provider(id_generator=RandomIds(claim), sampler=ALWAYS_ON)
    tracer = provider.get_tracer("x")
    root = tracer.start_span("root", Context())
    child = tracer.start_span("child", set_span_in_context(root, Context()))
    assert (root.get_span_context().trace_flags, child.get_span_context().trace_flags) == (flags, flags)
    assert child.parent.trace_flags == flags
    for received in (1, 3):
        caller = NonRecordingSpan(SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(received)))
        span = tracer.start_span("x", set_span_in_context(caller, Context()))
        assert span.get_span_context().trace_flags == received
    dropped = (
        make_provider(id_generator=RandomIds(claim), sampler=ALWAYS_OFF).get_tracer("x").start_span("x", Context())
    )
    assert dropped.get_span_context().trace_flags == flags & 2


def test_the_engines_ids_do_not_claim_to_be_random(provider, tracer):
    """Half of the trace id is a time."""
    assert provider.id_generator.is_trace_id_random() is False
    assert tracer.start_span("x").get_span_context().trace_flags == 1
