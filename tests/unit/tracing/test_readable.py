"""What OpenTelemetry reads of a span, live and ended."""

import json
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

LINKED = SpanContext(1, 2, False, TraceFlags(1), TraceState([("a", "b")]))


@pytest.fixture
def otel_resource():
    """A resource to recognise."""
    return Resource({"service.name": "s"}, "https://schema")


@pytest.fixture
def span(make_provider, otel_resource):
    """A span with some of everything."""
    tracer = make_provider(resource=otel_resource).get_tracer("lib", "1")
    parent = tracer.start_span("parent")
    made = tracer.start_span("x", trace.set_span_in_context(parent), SpanKind.CLIENT, {"a": (1, 2)}, start_time=10**9)
    made.add_event("e", {"k": "v"}, 2 * 10**9)
    made.add_link(LINKED, {"l": 1})
    made.set_status(StatusCode.ERROR, "bad")
    return made


def test_live_and_ended_show_the_same(span):
    """Every property reads the same on the live span and on what exporters get."""
    span.end(3 * 10**9)
    readable = span._readable_span()
    assert type(readable) is ReadableSpan
    for name in ("name", "context", "kind", "parent", "start_time", "end_time", "attributes", "instrumentation_scope"):
        assert getattr(span, name) == getattr(readable, name), name
    for name in ("dropped_attributes", "dropped_events", "dropped_links"):
        assert getattr(span, name) == getattr(readable, name) == 0
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "bad")
    assert readable.status.description == "bad"
    for shown in (span, readable):
        assert [(event.name, event.timestamp, dict(event.attributes)) for event in shown.events] == [
            ("e", 2 * 10**9, {"k": "v"})
        ]
        assert [(link.context, dict(link.attributes)) for link in shown.links] == [(LINKED, {"l": 1})]
        assert not shown.links[0].context.is_remote
    with pytest.raises(TypeError):
        span.attributes["b"] = 1


def test_json(span):
    """`to_json` is the SDK's."""
    span.end(3 * 10**9)
    shown = json.loads(span.to_json())
    assert shown == json.loads(span._readable_span().to_json(indent=None))
    assert shown["start_time"] == "1970-01-01T00:00:01.000000Z"
    assert shown["parent_id"] == f"0x{span.parent.span_id:016x}"
    assert shown["status"] == {"status_code": "ERROR", "description": "bad"}
    assert (shown["attributes"], shown["kind"]) == ({"a": [1, 2]}, "SpanKind.CLIENT")
    assert shown["resource"]["attributes"] == {"service.name": "s"}


def test_resource_is_both(span, otel_resource):
    """`span.resource` of a live span is Datadog's resource name, and serves as the SDK's resource as well."""
    resource = span.resource
    assert (resource, str(resource), repr(resource)) == ("x", "x", "'x'")
    assert resource != "y"
    assert resource == otel_resource
    assert otel_resource == resource
    assert resource != Resource({"other": 1})
    assert {otel_resource: "group"}[resource] == "group"
    assert isinstance(resource, Resource)
    assert resource.attributes == otel_resource.attributes
    assert resource.schema_url == "https://schema"
    assert resource.merge(Resource({"b": 2})).attributes == {"service.name": "s", "b": 2}
    assert json.loads(resource.to_json()) == json.loads(otel_resource.to_json())
    assert span._resource is otel_resource is span._readable_span().resource


def test_names_of_fields(span):
    """The SDK's underscored fields are readable, for exporters that look at them on a live span."""
    assert (span._name, span._kind, span._start_time, span._end_time) == ("x", SpanKind.CLIENT, 10**9, None)
    assert (span._context, span._parent, span._attributes) == (span.context, span.parent, {"a": (1, 2)})
    assert (len(span._events), len(span._links), span._status.status_code) == (1, 1, StatusCode.ERROR)
    assert span._instrumentation_scope.name == span._instrumentation_info.name == "lib"
    assert repr(span) == f'Span(name="x", trace_id={span.trace_id:032x}, span_id={span.span_id:016x})'


def test_facade_spans(provider):
    """A span of the facade shows the facade's scope, and its operation name among the attributes."""
    span = provider.engine.start("op", {}, values={"a": 1})
    span.update_name("x")
    assert (span.name, dict(span.attributes)) == ("x", {"operation.name": "op", "a": 1})
    assert span.instrumentation_scope.name == "ddtrace_manual"
    span.set_attribute("operation.name", "other")
    assert dict(span.attributes) == {"a": 1, "operation.name": "other"}


@pytest.mark.parametrize("parent_id", [0, 9])
def test_parent_of_a_span_that_was_exported(tracer, parent_id):
    """The parent stays readable after the export has let go of it."""
    span = tracer.start_span("x")
    span.parent_id, span.local_parent = parent_id, None
    assert span.parent == (SpanContext(span.trace_id, 9, True, TraceFlags(0)) if parent_id else None)


def test_starting_again(span, caplog):
    """`start()` on a span refuses, as the SDK does on a started one."""
    span.start(5)
    assert span.start_time == 10**9
    assert "Calling start() on a started span." in caplog.text


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([(StatusCode.OK,), (StatusCode.ERROR, "late")], (StatusCode.OK, None)),
        ([(StatusCode.ERROR, "a"), (StatusCode.UNSET,)], (StatusCode.ERROR, "a")),
        ([(StatusCode.ERROR, "a"), (StatusCode.OK, "described")], (StatusCode.OK, None)),
        ([(Status(StatusCode.ERROR, "a"), "ignored")], (StatusCode.ERROR, "a")),
        ([(StatusCode.ERROR, 5)], (StatusCode.ERROR, None)),
        ([("ERROR",), (2, "x"), (None,)], (StatusCode.UNSET, None)),
    ],
)
def test_status(tracer, calls, expected):
    """`OK` is final, `UNSET` is ignored, a description is kept for errors only, and the rest is ignored."""
    span = tracer.start_span("x")
    for call in calls:
        span.set_status(*call)
    assert (span.status.status_code, span.status.description) == expected


def test_recording_exceptions(tracer):
    """An exception becomes an event; given attributes win; the status stays."""
    span = tracer.start_span("x")
    try:
        raise KeyError("k")
    except KeyError as exc:
        span.record_exception(exc, {"exception.message": "mine", "more": 1}, timestamp=5, escaped=True)
    (event,) = span.events
    assert event.name == "exception"
    assert event.timestamp == 5
    assert event.attributes["exception.stacktrace"].rstrip().endswith("KeyError: 'k'")
    assert {key: value for key, value in event.attributes.items() if key != "exception.stacktrace"} == {
        "exception.type": "KeyError",
        "exception.message": "mine",
        "exception.escaped": "True",
        "more": 1,
    }
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("given", [None, "text", ValueError, 5], ids=repr)
def test_recording_what_is_no_exception(tracer, given):
    """Whatever is recorded as an exception, nothing is raised."""
    span = tracer.start_span("x")
    span.record_exception(given, attributes=["odd"], timestamp="odd")
    assert [event.name for event in span.events] == ["exception"]


def test_setting_errors(tracer):
    """`set_error` marks the span, from the exception at hand or from parts; an `OK` status stays."""
    parts, at_hand, fine = (tracer.start_span(name) for name in "abc")
    parts.set_error(type="T", message="m", stack="s")
    assert dict(parts.attributes) == {"error.type": "T", "error.message": "m", "error.stack": "s"}
    assert (parts.status.status_code, parts.status.description) == (StatusCode.ERROR, "m")
    try:
        raise ValueError("v")
    except ValueError:
        at_hand.set_error()
    assert (at_hand.status.description, len(at_hand.events)) == ("v", 1)
    assert sys.exc_info()[0] is None
    fine.set_status(StatusCode.OK)
    fine.set_error(message="m")
    assert fine.status.status_code is StatusCode.OK


def test_ended_span_takes_nothing(span):
    """After its end a span stays as it was, whatever is called."""
    span.end(5 * 10**9)
    before = span.to_json()
    span.set_attribute("b", 1)
    span.set_attributes({"b": 1})
    span.add_event("late")
    span.add_link(LINKED)
    span.update_name("late")
    span.set_status(StatusCode.OK)
    span.record_exception(ValueError("late"))
    span.set_error(message="late")
    span.record_exit(ValueError("late"))
    span.end(6 * 10**9)
    assert span.to_json() == before
    assert not span.is_recording()


@pytest.mark.parametrize("key", ["", None, 0, 5, object(), (1,)], ids=lambda key: f"{type(key).__name__}-{bool(key)}")
def test_odd_keys(tracer, key):
    """Keys that are no text are dropped one by one, and made text in a mapping, as the SDK does."""
    one, many = tracer.start_span("x"), tracer.start_span("x")
    one.set_attribute(key, 1)
    many.set_attributes({key: 1})
    assert (dict(one.attributes), one.dropped_attributes) == ({}, 1)
    assert dict(many.attributes) == ({str(key): 1} if key in (5, (1,)) else {})


@pytest.mark.parametrize("given", [None, 5, "text", [("a", 1)]], ids=repr)
def test_attributes_that_are_no_mapping(tracer, given):
    """Attributes that are no mapping are ignored."""
    span = tracer.start_span("x", attributes=given)
    span.set_attributes(given)
    span.add_event("e", given)
    span.add_link(LINKED, given)
    assert dict(span.attributes) == dict(span.events[0].attributes) == dict(span.links[0].attributes) == {}


@pytest.mark.parametrize("given", [None, 5, "text", trace.INVALID_SPAN_CONTEXT], ids=repr)
def test_links_to_nothing(tracer, given):
    """Links to what is no span context, or an invalid one without details, are ignored; details are kept."""
    span = tracer.start_span("x")
    span.add_link(given)
    assert not span.links
    span.add_link(trace.INVALID_SPAN_CONTEXT, {"a": 1})
    span.add_link(SpanContext(0, 0, True, None, TraceState([("a", "b")])))
    assert len(span.links) == 2
