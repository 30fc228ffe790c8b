"""The propagators in OpenTelemetry's form."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.context.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ddtrace_manual._base.context import REMOTE_CONTEXT_KEY
from ddtrace_manual._model import RemoteContext, SegmentRecord
from ddtrace_manual._model.remote import remote_context_of, without_baggage_metadata
from ddtrace_manual.propagation import (
    B3MultiPropagator,
    B3Propagator,
    BaggagePropagator,
    DatadogPropagator,
    PropagationSettings,
    Propagator,
    RemoteSpan,
    TraceContextPropagator,
    baggage_tags,
    install_propagator,
    remote_from_span_context,
)

DATADOG = {
    "x-datadog-trace-id": "1",
    "x-datadog-parent-id": "2",
    "x-datadog-sampling-priority": "-2",
    "x-datadog-origin": "synthetics",
    "x-datadog-tags": "_dd.p.foo=bar",
}


def propagator(**settings):
    return DatadogPropagator(Propagator(PropagationSettings(**settings)))


class LocalSpan(NonRecordingSpan):
    """What the engine's span offers to propagation."""

    def __init__(self, trace_id=5, span_id=6, **fields):
        super().__init__(SpanContext(trace_id, span_id, is_remote=False))
        self.segment = SegmentRecord()
        vars(self.segment).update({"trace_id": trace_id, "priority": 1, **fields})
        self.span_id = span_id

    def propagation_state(self):
        return self.segment.trace_id, self.span_id, self.segment


def injected(context, **settings):
    headers: dict[str, str] = {}
    propagator(**settings).inject(headers, context)
    return headers


def test_an_extracted_context_shows_what_came():
    """OpenTelemetry sees a remote span context with flag and trace state; the key holds the rest."""
    context = propagator().extract(DATADOG)
    span_context = trace.get_current_span(context).get_span_context()
    assert (span_context.trace_id, span_context.span_id, span_context.is_remote) == (1, 2, True)
    assert span_context.trace_flags == 0
    assert span_context.trace_state.to_header() == "dd=s:-2;o:synthetics;p:0000000000000002;t.foo:bar"
    assert context[REMOTE_CONTEXT_KEY] is remote_context_of(context)
    assert "synthetics" in repr(trace.get_current_span(context))


@pytest.mark.parametrize(
    ("headers", "flags"),
    [
        ({"x-datadog-trace-id": "1", "x-datadog-parent-id": "2"}, 0),
        ({"x-datadog-trace-id": "1", "x-datadog-parent-id": "2", "x-datadog-sampling-priority": "2"}, 1),
        ({"traceparent": f"00-{1:032x}-{2:016x}-03"}, 3),
        ({"traceparent": f"00-{1:032x}-{2:016x}-03", "tracestate": "dd=o:rum"}, 3),
        ({"traceparent": f"00-{1:032x}-{2:016x}-fe", "tracestate": "dd=o:rum"}, 2),
    ],
)
def test_trace_flags(headers, flags):
    """Bit 0 is the priority, or the flag as received while there is none; bit 1 is as received; no other bit is shown."""
    assert trace.get_current_span(propagator().extract(headers)).get_span_context().trace_flags == flags


BASE = baggage.set_baggage("base", "1", trace.set_span_in_context(LocalSpan(), Context()))


@pytest.mark.parametrize(
    ("headers", "settings", "span", "found"),
    [
        (DATADOG, {}, RemoteSpan, True),
        (DATADOG | {"x-datadog-parent-id": "0"}, {}, type(INVALID_SPAN), True),
        (DATADOG, {"behavior": "restart"}, type(INVALID_SPAN), True),
        (DATADOG, {"behavior": "ignore"}, LocalSpan, False),
        ({}, {}, LocalSpan, False),
        ({"baggage": "a=b"}, {}, LocalSpan, False),
    ],
)
def test_what_becomes_of_the_current_span(headers, settings, span, found):
    """A trace that was found replaces the base context's span, even where it yields none; nothing found keeps it."""
    context = propagator(**settings).extract(headers, BASE)
    assert type(trace.get_current_span(context)) is span
    assert (remote_context_of(context) is not None) is found
    assert baggage.get_baggage("base", context) == "1"


def test_extraction_starts_from_an_empty_context():
    """Without a base context nothing of the current one is in the result."""
    token = attach(BASE)
    try:
        assert dict(propagator().extract({"other": "1"})) == {}
        assert baggage.get_all(propagator().extract({"baggage": "a=b"})) == {"a": "b"}
    finally:
        detach(token)


def test_a_local_span_in_an_extracted_context_is_in_charge():
    """The key does not count under a local span, an unrelated one, or an explicitly invalid one."""
    context = propagator().extract(DATADOG)
    foreign = NonRecordingSpan(SpanContext(9, 9, is_remote=True))
    for span in (LocalSpan(), foreign, INVALID_SPAN):
        assert remote_context_of(trace.set_span_in_context(span, context)) is None
    twin = NonRecordingSpan(SpanContext(1, 2, is_remote=True))
    assert remote_context_of(trace.set_span_in_context(twin, context)) is context[REMOTE_CONTEXT_KEY]
    only_span = trace.set_span_in_context(trace.get_current_span(context), Context())
    assert remote_context_of(only_span) is context[REMOTE_CONTEXT_KEY]


def test_parent_zero_counts_only_without_a_span():
    """A context with span id 0 is continued until some valid span is current."""
    context = propagator().extract(DATADOG | {"x-datadog-parent-id": "0"})
    assert remote_context_of(context).trace_id == 1
    assert remote_context_of(trace.set_span_in_context(LocalSpan(), context)) is None
    foreign = NonRecordingSpan(SpanContext(9, 9, is_remote=True))
    assert remote_context_of(trace.set_span_in_context(foreign, context)) is None
    assert remote_context_of({}) is None


def test_injects_a_local_span():
    """The span gives ids and state; the current context is the default."""
    context = trace.set_span_in_context(LocalSpan(tags={"_dd.p.dm": "-0"}), Context())
    expected = injected(context)
    assert expected["x-datadog-parent-id"] == "6"
    assert expected["tracestate"] == "dd=s:1;p:0000000000000006;t.dm:-0"
    token = attach(context)
    try:
        assert injected(None) == expected
    finally:
        detach(token)


def test_injects_an_extracted_context_as_it_is():
    """Without a local span in between the headers go on as they came."""
    context = propagator().extract(DATADOG | {"baggage": "a=b;p=1"})
    headers = injected(context)
    assert {name: headers[name] for name in DATADOG} == DATADOG
    assert headers["baggage"] == "a=b;p=1"
    undecided = propagator().extract({"x-datadog-trace-id": "1", "x-datadog-parent-id": "2"})
    assert "x-datadog-sampling-priority" not in injected(undecided)


def test_an_extracted_context_shows_the_decision_of_its_local_trace():
    """Once a local trace was started from it and decided, that decision is sent with the remote ids."""
    context = propagator().extract({"x-datadog-trace-id": "1", "x-datadog-parent-id": "2"})
    remote = context[REMOTE_CONTEXT_KEY]
    remote.segment = SegmentRecord()
    assert "x-datadog-sampling-priority" not in injected(context)
    remote.segment.priority = 2
    assert injected(context)["x-datadog-sampling-priority"] == "2"
    assert injected(context)["x-datadog-parent-id"] == "2"


@pytest.mark.parametrize(
    ("flags", "members", "priority", "tracestate"),
    [
        (1, [("dd", "s:2;o:rum;t.dm:-4"), ("foo", "1")], "2", "dd=s:2;o:rum;t.dm:-4,foo=1"),
        (0, [("foo", "1")], "0", "dd=s:0,foo=1"),
        (1, [], "1", "dd=s:1"),
    ],
)
def test_injects_a_span_of_a_foreign_propagator(flags, members, priority, tracestate):
    """Priority comes from the `dd` member and the flag, the rest from the trace state."""
    span = NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(flags), TraceState(members)))
    headers = injected(trace.set_span_in_context(span, Context()))
    assert (headers["x-datadog-sampling-priority"], headers["tracestate"]) == (priority, tracestate)


def test_a_foreign_extraction_is_read_alike():
    """What OpenTelemetry's own propagator extracted gives the same context as ours."""
    headers = {"traceparent": f"00-{1:032x}-{2:016x}-01", "tracestate": "foo=1,dd=s:2;p:00000000000000ff"}
    foreign = trace.get_current_span(TraceContextTextMapPropagator().extract(headers)).get_span_context()
    ours = TraceContextPropagator().extract(headers)[REMOTE_CONTEXT_KEY]
    assert repr(remote_from_span_context(foreign)) == repr(ours)


@pytest.mark.parametrize("context", [Context(), trace.set_span_in_context(INVALID_SPAN, Context())])
def test_without_a_span_only_baggage_leaves(context):
    """No span, no trace headers; baggage is independent."""
    assert injected(context) == {}
    assert injected(baggage.set_baggage("a", "b", context)) == {"baggage": "a=b"}
    assert injected(baggage.set_baggage("a", "b", context), inject_styles=("datadog",)) == {}
    assert injected(baggage.remove_baggage("a", baggage.set_baggage("a", "b", context))) == {}


def test_nothing_is_read_while_injection_is_off():
    """With no inject style the span is not even asked, so nothing is decided."""

    class Asked(LocalSpan):
        def propagation_state(self):
            raise AssertionError

    assert injected(trace.set_span_in_context(Asked(), Context()), inject_styles=()) == {}


class Broken(LocalSpan):
    """A span whose decision fails."""

    def propagation_state(self):
        raise RuntimeError


def test_failures_stay_inside(caplog):
    """A failing span or hook costs headers, never the application's call."""
    caplog.set_level("DEBUG", logger="ddtrace_manual")
    assert injected(trace.set_span_in_context(Broken(), Context())) == {}

    def fail():
        raise RuntimeError

    broken = DatadogPropagator(Propagator(PropagationSettings(org_guard_enabled=True), local_marker=fail))
    assert dict(broken.extract(DATADOG, Context())) == {}
    odd = RemoteContext(1, 2)
    odd.tags = 5  # type: ignore[assignment]
    assert injected(trace.set_span_in_context(RemoteSpan(odd), Context())) == {}
    odd.tags, odd.members = None, 5  # type: ignore[assignment]
    assert "traceparent" in injected(trace.set_span_in_context(RemoteSpan(odd), Context()))


def test_an_unusable_extraction_leaves_the_base():
    """Whatever goes wrong while the result is stored, the base context comes back."""

    class Odd(Propagator):
        def extract(self, carrier, getter=None):
            return 5

    base = Context({"a": "b"})
    assert DatadogPropagator(Odd(PropagationSettings())).extract({}, base) is base


def test_baggage_is_merged_and_keeps_its_metadata():
    """Extracted items join those of the base; metadata survives until its item is set anew."""
    base = propagator().extract({"baggage": "a=1;m=1,b=22;m=2"})
    merged = propagator().extract({"baggage": "b=33,c=4;m=3"}, base)
    assert dict(baggage.get_all(merged)) == {"a": "1", "b": "33", "c": "4"}
    assert injected(merged)["baggage"] == "a=1;m=1,b=33,c=4;m=3"
    assert injected(baggage.set_baggage("c", "new", merged))["baggage"] == "a=1;m=1,b=33,c=new"
    assert injected(without_baggage_metadata(merged, "a"))["baggage"] == "a=1,b=33,c=4;m=3"


@pytest.mark.parametrize(
    ("keys", "tags"),
    [
        (("user.id", "session.id"), {"baggage.user.id": "u"}),
        (("*",), {"baggage.user.id": "u", "baggage.feature*flag": "1"}),
        (("feature*flag",), {"baggage.feature*flag": "1"}),
        (("User.Id",), {}),
        ((), {}),
    ],
)
def test_tags_from_baggage(keys, tags):
    """Keys are compared exactly, `*` takes all, a star inside a key is literal."""
    context = baggage.set_baggage("feature*flag", 1, baggage.set_baggage("user.id", "u", Context()))
    assert baggage_tags(keys, context) == tags
    assert baggage_tags(keys, Context()) == {}


@pytest.mark.parametrize(
    ("single", "fields"),
    [
        (TraceContextPropagator(), {"traceparent", "tracestate"}),
        (B3Propagator(), {"b3"}),
        (B3MultiPropagator(), {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"}),
        (BaggagePropagator(), {"baggage"}),
    ],
)
def test_each_format_alone(single, fields):
    """The propagators of one format write its fields only, and read what they wrote."""
    context = baggage.set_baggage("a", "b", trace.set_span_in_context(LocalSpan(), Context()))
    headers: dict[str, str] = {}
    single.inject(headers, context)
    assert single.fields == fields
    assert headers.keys() <= fields
    read = CompositePropagator([single]).extract(headers)
    assert remote_context_of(read) is not None or baggage.get_all(read) == {"a": "b"}


def test_the_entry_point_follows_the_installed_settings(clean_runtime):
    """A propagator made without arguments uses what was installed last, also afterwards."""
    entry_point = DatadogPropagator()
    install_propagator(Propagator(PropagationSettings()))
    assert len(entry_point.fields) == 8
    install_propagator(Propagator(PropagationSettings(extract_styles=("b3",), inject_styles=("b3",))))
    assert entry_point.fields == {"b3"}
    assert remote_context_of(entry_point.extract({"b3": "1-2-1"})).trace_id == 1


def test_metrics_are_counted():
    """Every style that gave a context or was written is counted, malformed baggage too."""
    counted: list[tuple[str, str]] = []
    counting = DatadogPropagator(Propagator(PropagationSettings(), count=lambda *metric: counted.append(metric)))
    context = counting.extract(DATADOG | {"traceparent": f"00-{1:032x}-{2:016x}-01", "baggage": "a=b"})
    counting.inject({}, context)
    counting.extract({"baggage": "a", "traceparent": f"00-{1:032x}-{2:016x}-01"})
    styles = ["datadog", "tracecontext", "baggage"]
    name = "context_header_style"
    assert counted == [
        *[(f"{name}.extracted", f"header_style:{style}") for style in styles],
        *[(f"{name}.injected", f"header_style:{style}") for style in ["baggage", "datadog", "tracecontext"]],
        (f"{name}.extracted", "header_style:tracecontext"),
        (f"{name}.malformed", "header_style:baggage"),
    ]
