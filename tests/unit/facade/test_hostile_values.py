"""No call that takes a value raises because of it, whatever the value does when it is looked at."""

from __future__ import annotations

import weakref
from collections import UserDict
from collections.abc import Mapping, Sequence

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.status import Status

import ddtrace_manual as dd
from ddtrace_manual.exceptions import ConfigurationError


def fail(self, *_args, **_kwargs):
    """Stand for every method that raises."""
    raise RuntimeError("hostile")


class Target:
    """Something that a weak reference can refer to."""


class Failing:
    """An object of which every question raises."""

    __class__ = property(fail)
    __bool__ = __len__ = __str__ = __repr__ = __hash__ = __eq__ = __iter__ = __index__ = __float__ = fail
    __getattr__ = fail
    __call__ = fail


class FailingStr(str):
    """Text whose methods raise."""

    __slots__ = ()
    __str__ = __repr__ = __len__ = __hash__ = __eq__ = __bool__ = fail


class FailingInt(int):
    """A number whose methods raise."""

    __int__ = __index__ = __float__ = __bool__ = __str__ = __repr__ = __eq__ = __hash__ = fail


class FailingMapping(Mapping):
    """A mapping that cannot be read."""

    __getitem__ = __iter__ = __len__ = fail


class Changing(UserDict):
    """A dictionary that another thread changes while it is read."""

    def __iter__(self):
        yield "first"
        raise RuntimeError("dictionary changed size during iteration")


class Endless(Sequence):
    """A sequence without an end."""

    def __getitem__(self, index):
        return index

    def __len__(self):
        return 10**12


class FailingMeta(type):
    """A class that does not tell its name."""

    __name__ = property(fail)
    __module__ = property(fail)


class FailingClass(metaclass=FailingMeta):
    """An object whose class does not tell its name."""

    __str__ = __repr__ = fail


class FailingError(Exception):
    """An exception that tells nothing."""

    __str__ = __repr__ = __hash__ = __eq__ = fail
    __dict__ = property(fail)
    __cause__ = property(fail)
    __traceback__ = property(fail)


def dead_proxy():
    """Return a proxy of an object that is gone."""
    return weakref.proxy(Target())


HOSTILE = {
    "dead proxy": dead_proxy,
    "failing": Failing,
    "text": lambda: FailingStr("text"),
    "number": lambda: FailingInt(7),
    "mapping": FailingMapping,
    "changing": lambda: Changing(first=1, second=2),
    "endless": Endless,
    "nameless class": FailingClass,
    "exception": FailingError,
    "class": lambda: Failing,
    "nested": lambda: [Failing(), {"k": FailingClass()}],
    "mapping of hostile": lambda: {"k": Failing(), FailingClass(): 1},
    "integer": lambda: 10**100_000,
    "context with text": lambda: SpanContext(1, 2, True, 1, "a=b"),
    "context with dict": lambda: SpanContext(1, 2, True, 1, {"a": "b"}),
    "context with hostile state": lambda: SpanContext(1, 2, True, None, FailingMapping()),
}

OPTIONS = ("service", "resource", "span_type", "kind", "tags", "links", "measured", "new_trace", "parent", "ignore")


def option_call(make, name):
    """Return a call that makes a span with one option."""

    def call(value):
        made = make("name", **{name: value})
        with made if not isinstance(made, dd.Span) else trace.use_span(made, end_on_exit=True):
            pass

    return call


def run_in(scope):
    """Enter and leave a context manager."""
    with scope:
        pass


def leave_by(value):
    """Leave a span by an exception."""
    error = value if type(value) is FailingError else ValueError(value)
    with pytest.raises(type(error)), dd.span("failing"):
        raise error


def traced_call(name):
    """Return a call that decorates a function with one option and calls it."""
    return lambda value: dd.traced("name", **{name: value})(lambda: None)()


def tracer():
    """Return an OpenTelemetry tracer."""
    return trace.get_tracer("lib")


def set_property(name):
    """Return a call that sets one property of the current span and reads it back."""

    def call(value):
        span = dd.current_span()
        setattr(span, name, value)
        getattr(span, name)

    return call


FACADE = {
    "set_tag": lambda v: dd.set_tag("k", v),
    "set_tag key": lambda v: dd.set_tag(v, 1),
    "set_tags": dd.set_tags,
    "set_tags value": lambda v: dd.set_tags({"k": v}),
    "set_metric": lambda v: dd.current_span().set_metric("m", v),
    "set_metric key": lambda v: dd.current_span().set_metric(v, 1),
    "get_tag": lambda v: dd.current_span().get_tag(v),
    "manual.keep": lambda v: dd.set_tag("manual.keep", v),
    "add_event": lambda v: dd.add_event(v, v, timestamp_ns=v),
    "add_event value": lambda v: dd.add_event("e", {"k": v}),
    "add_link": lambda v: dd.add_link(v, v),
    "add_link attributes": lambda v: dd.add_link(SpanContext(1, 2, True), {"k": v}),
    "set_error": lambda v: dd.set_error(v, type=v, message=v, stack=v),
    "set_error message": lambda v: dd.set_error(message=v),
    "leave": leave_by,
    **{f"property {name}": set_property(name) for name in ("service", "resource", "span_type", "error")},
    "name": lambda v: dd.start_span(v).end(),
    "name of block": lambda v: run_in(dd.span(v)),
    "set_baggage": lambda v: dd.set_baggage(v, v),
    "set_baggage value": lambda v: (dd.set_baggage("k", v), dd.inject()),
    "set_baggage span": lambda v: dd.set_baggage("k", "v", span=v),
    "get_baggage": lambda v: dd.get_baggage(v, span=v),
    "remove_baggage": lambda v: dd.remove_baggage(v, span=v),
    "inject": dd.inject,
    "inject span": lambda v: dd.inject(span=v),
    "extract": dd.extract,
    "extract value": lambda v: dd.extract({"traceparent": v, "baggage": v}),
    "continue_trace": lambda v: run_in(dd.continue_trace(v)),
}
OPEN_TELEMETRY = {
    "set_attribute": lambda v: trace.get_current_span().set_attribute("k", v),
    "set_attribute key": lambda v: trace.get_current_span().set_attribute(v, v),
    "set_attributes": lambda v: trace.get_current_span().set_attributes(v),
    "otel add_event": lambda v: trace.get_current_span().add_event(v, v, v),
    "otel add_link": lambda v: trace.get_current_span().add_link(v, v),
    "set_status": lambda v: trace.get_current_span().set_status(v, v),
    "set_status description": lambda v: trace.get_current_span().set_status(StatusCode.ERROR, v),
    "set_status object": lambda v: trace.get_current_span().set_status(Status(StatusCode.ERROR), v),
    "update_name": lambda v: trace.get_current_span().update_name(v),
    "record_exception": lambda v: trace.get_current_span().record_exception(v, v, v, v),
    "end": lambda v: tracer().start_span("a").end(v),
    "start_span": lambda v: tracer().start_span(v, kind=v, attributes=v, links=v, start_time=v).end(),
    "start_span context": lambda v: tracer().start_span("a", context=v).end(),
    "start_span flags": lambda v: tracer().start_span("a", record_exception=v, set_status_on_exception=v).end(),
    "start_span attribute": lambda v: tracer().start_span("a", attributes={"k": v}).end(),
    "start_span link": lambda v: tracer().start_span("a", links=[v, Link(v, v)]).end(),
    "start_as_current_span": lambda v: run_in(tracer().start_as_current_span(v, links=v, attributes=v)),
    "parent": lambda v: tracer().start_span("a", trace.set_span_in_context(NonRecordingSpan(v))).end(),
}
STRICT = {
    **{f"span {name}": option_call(dd.span, name) for name in OPTIONS},
    **{f"start_span {name}": option_call(dd.start_span, name) for name in OPTIONS},
    **{f"traced {name}": traced_call(name) for name in OPTIONS},
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("call", (FACADE | OPEN_TELEMETRY).values(), ids=FACADE | OPEN_TELEMETRY)
def test_no_value_raises(spans, call, make):
    with dd.span("around"):
        call(make())
    spans.find("around")  # it arrived, and was mapped


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("call", STRICT.values(), ids=STRICT)
def test_options_raise_configuration_errors_only(spans, call, make):
    with dd.span("around"):
        try:
            call(make())
        except ConfigurationError as error:
            assert str(error)
    spans.find("around")


class Interrupting:
    """An object that is interrupted while it is printed."""

    def __str__(self):
        raise KeyboardInterrupt


def test_interrupts_pass(spans):
    with dd.span("around"), pytest.raises(KeyboardInterrupt):
        dd.set_tag("k", Interrupting())
    assert spans.find("around").dd["meta"].get("k") is None


@pytest.mark.parametrize("state", ["a=b", {"a": "b"}], ids=["text", "dict"])
def test_trace_state_of_other_types_is_read(spans, state):
    context = SpanContext(1, 2, True, 1, state)
    with dd.span("linked") as span:
        span.add_link(context)
        span.add_link(Link(context))
    (link,) = spans.find("linked").dd["span_links"]
    assert link["tracestate"] == "a=b"
    parent = trace.set_span_in_context(NonRecordingSpan(context))
    with tracer().start_as_current_span("child", parent, SpanKind.INTERNAL) as child:
        assert child.get_span_context().trace_id == 1
    assert spans.find("child").dd["parent_id"] == 2
