"""Finished spans as tuples: which ones, and what is in them."""

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from ddtrace_manual._model import SpanRecord
from ddtrace_manual._model.finished_span import expanded
from ddtrace_manual._tracing import EngineHooks


@pytest.fixture
def handed_over():
    return []


@pytest.fixture
def compact_tracer(make_provider, handed_over):
    """A tracer whose exporter takes tuples too."""

    def export(_segment, spans, *, partial):
        handed_over.extend(spans)

    return make_provider({"export": export, "takes_compact": True}).get_tracer("x")


def test_ordinary_spans_are_handed_over_as_tuples(compact_tracer, handed_over):
    """A child without anything special leaves a tuple, which holds all there is; the root leaves itself."""
    with compact_tracer.start_as_current_span("outer") as outer:
        child = compact_tracer.start_span("child", attributes={"a": 1})
        child.end()
        outer.set_attribute("late", True)
    made, root = handed_over
    assert root is outer
    scope = outer.instrumentation_scope
    ids_and_times = (child.span_id, outer.span_id, child.start_time, child.end_time)
    assert made == (*ids_and_times, "child", None, scope, {"a": 1}, {"late": True})
    record = expanded(made, outer.segment, SpanRecord)
    assert vars(record).items() >= {"otel_name": "child", "span_id": child.span_id, "values": {"a": 1}}.items()
    assert record.local_parent.values == {"late": True}


@pytest.mark.parametrize(
    "act",
    [
        lambda span: span.add_event("e"),
        lambda span: span.add_link(SpanContext(1, 2, is_remote=True)),
        lambda span: span.set_status(StatusCode.OK),
        lambda span: span.set_error(message="m"),
        lambda span: span.record_exit(ValueError()),
    ],
    ids=["event", "link", "status", "error", "exception"],
)
def test_what_has_no_place_in_a_tuple(compact_tracer, handed_over, act):
    """A span with an event, link, status or error is handed over whole."""
    with compact_tracer.start_as_current_span("outer"):
        child = compact_tracer.start_span("child")
        act(child)
        child.end()
    assert handed_over[0] is child


def test_a_span_of_another_scope_or_kind_is_handed_over_whole(compact_tracer, handed_over):
    """What makes a span differ from its parent needs the general way."""
    other = compact_tracer.provider.get_tracer("other")
    with compact_tracer.start_as_current_span("outer"):
        other.start_span("of another scope").end()
        compact_tracer.start_span("client", kind=SpanKind.CLIENT).end()
    assert [span.name for span in handed_over[:2]] == ["of another scope", "client"]


def test_ended_spans_do_not_hold_their_ancestors(compact_tracer):
    """A line of spans, each started from an ended one, does not grow in memory; the parent can still be told."""
    parent = compact_tracer.start_span("outer")
    child = compact_tracer.start_span("child", trace.set_span_in_context(parent))
    child.end()
    assert child.local_parent is None
    shown = child.parent  # makes the decision, as the span context of the parent does
    assert shown.trace_flags.sampled
    assert shown == parent.get_span_context()


def test_an_exporter_that_takes_no_tuples_gets_spans(make_provider, handed_over):
    """Spans that ended as tuples before the exporter was replaced become spans again."""
    provider = make_provider({"takes_compact": True})
    tracer = provider.get_tracer("x")
    with tracer.start_as_current_span("outer"):
        tracer.start_span("child", attributes={"a": 1}).end()
        provider.engine.reconfigure(
            hooks=EngineHooks(export=lambda _, spans, *, partial: handed_over.extend(spans)),
            limits=provider.engine.limits,
            partial_flush_min_spans=None,
            sampler=None,
        )
    child, outer = handed_over
    assert (child.name, dict(child.attributes), child.parent.span_id) == ("child", {"a": 1}, outer.span_id)
