"""Options of `@traced`: what each does to the span, and what is refused when decorating."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

import ddtrace_manual as dd
from ddtrace_manual.exceptions import ConfigurationError

KINDS = ("function", "coroutine", "generator", "async generator", "context manager")


def call_as(kind, /, **options):
    """Decorate a callable of one kind that takes `order`, and call it with 7."""

    def function(order, note="-"):
        return order

    async def coroutine(order, note="-"):
        return order

    def generator(order, note="-"):
        yield order
        return order

    async def async_generator(order, note="-"):
        yield order

    if kind == "function":
        return dd.traced("work", **options)(function)(7)
    if kind == "coroutine":
        return asyncio.run(dd.traced("work", **options)(coroutine)(7))
    if kind == "generator":
        return list(dd.traced("work", **options)(generator)(7))
    if kind == "context manager":
        with dd.traced("work", **options)(contextlib.contextmanager(generator))(7) as value:
            return value

    async def drain():
        return [value async for value in dd.traced("work", **options)(async_generator)(7)]

    return asyncio.run(drain())


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_on_every_kind(spans, kind):
    """Options mean the same on every kind of callable."""
    link = SpanContext(1, 2, True, TraceFlags(1))
    call_as(
        kind,
        service="billing",
        resource=lambda args: f"order {args['order']} {args['note']}",
        span_type="worker",
        kind="consumer",
        tags=lambda args: {"order.id": args["order"]},
        links=iter([link]),
        measured=True,
        capture_args=["order"],
    )
    span = spans.one("work")
    assert span.otel_kind is SpanKind.CONSUMER
    assert [(record.trace_id, record.span_id) for record in span.link_records] == [(1, 2)]
    assert span.values == {
        "service.name": "billing",
        "_dd.svc_src": "m",
        "resource.name": "order 7 -",
        "span.type": "worker",
        "order.id": 7,
        "_dd.measured": 1,
        "function.arg.order": 7,
    }


def test_links_are_read_once(spans):
    """Links and tags are taken when decorating: every call has them, later changes have no effect."""
    tags = {"a": 1}
    work = dd.traced("work", links=iter([SpanContext(1, 2, True)]), tags=tags)(lambda: None)
    tags["b"] = 2
    work()
    work()
    assert [len(span.link_records) for span in spans.finished] == [1, 1]
    assert [span.values for span in spans.finished] == [{"a": 1}, {"a": 1}]


def test_new_trace(spans):
    """A new trace starts, with a link back to the span that was current."""
    with dd.span("caller") as caller:
        dd.traced("work", new_trace=True)(lambda: None)()
        assert dd.current_span() is caller
    work = spans.one("work")
    assert work.parent_id == 0
    assert work.trace_id != caller.trace_id
    assert [(link.trace_id, link.span_id) for link in work.link_records] == [(caller.trace_id, caller.span_id)]


@pytest.mark.parametrize("kind", KINDS)
def test_ignore(spans, kind):
    """Exceptions of these classes leave the span unmarked, and go on."""

    def function():
        raise KeyError

    async def coroutine():
        raise KeyError

    def generator():
        raise KeyError
        yield

    async def async_generator():
        raise KeyError
        yield

    traced = dd.traced("work", ignore=LookupError)
    with pytest.raises(KeyError):
        if kind == "function":
            traced(function)()
        elif kind == "coroutine":
            asyncio.run(traced(coroutine)())
        elif kind == "generator":
            list(traced(generator)())
        elif kind == "context manager":
            with traced(contextlib.contextmanager(generator))():
                pass
        else:
            asyncio.run(traced(async_generator)().__anext__())
    assert spans.one("work").status_code == 0
    assert spans.one("work").values == {}


OPTION_FAILURES = [
    ("resource", lambda args: 1 / 0, "option_failed"),
    ("resource", lambda args: 7, "option_failed"),
    ("resource", lambda: "no arguments", "option_failed"),
    ("tags", lambda args: args["missing"], "option_failed"),
    ("tags", lambda args: ["no", "mapping"], "option_failed"),
    ("capture_args", lambda args: 1 / 0, "capture_failed"),
    ("capture_args", lambda args: 5, "capture_failed"),
    ("capture_return", lambda value: 1 / 0, "capture_failed"),
]


@pytest.mark.parametrize(("option", "source", "counter"), OPTION_FAILURES)
def test_a_callable_option_that_fails(spans, counted, caplog, option, source, counter):
    """The function runs untouched; the failure is counted each time and logged once for each function."""
    caplog.set_level(logging.WARNING)
    name = f"work {option} {id(source)}"
    work = dd.traced(name, span_type="worker", **{option: source})(lambda: 42)
    assert [work(), work(), work()] == [42, 42, 42]
    assert counted == {counter: 3}
    assert len(caplog.records) == 1
    assert option in caplog.text
    assert name in caplog.text
    assert [span.values for span in spans.finished] == [{"span.type": "worker"}] * 3


def test_what_a_callable_option_may_return(spans):
    """`None` from a callable means that the option is not set."""
    dd.traced("work", resource=lambda args: None, tags=lambda args: None)(lambda: None)()
    assert spans.one("work").values == {}


def test_callables_are_not_called_for_nobody(monkeypatch):
    """Without an engine no callable option is called."""
    from ddtrace_manual._api.runtime import RUNTIME

    monkeypatch.setattr(RUNTIME, "engine", None)
    called = []
    work = dd.traced(
        resource=called.append, tags=called.append, capture_args=called.append, capture_return=called.append
    )
    assert work(lambda: 42)() == 42
    assert not called


BAD_OPTIONS = [
    ({"service": 1}, "service"),
    ({"resource": 1}, "resource"),
    ({"span_type": 1}, "span_type"),
    ({"kind": "sideways"}, "kind"),
    ({"kind": []}, "kind"),
    ({"tags": ["a"]}, "tags"),
    ({"links": 1}, "links"),
    ({"links": "abc"}, "links"),
    ({"links": ["x"]}, "'links' must be .*, not of str"),
    ({"links": [42]}, "'links' must be .*, not of int"),
    ({"measured": "yes"}, "measured"),
    ({"new_trace": 1}, "new_trace"),
    ({"capture_args": "order"}, "capture_args"),
    ({"capture_args": 1}, "capture_args"),
    ({"capture_args": [1]}, "capture_args"),
    ({"capture_args": ["ordre"]}, "'ordre'"),
    ({"capture_return": "x"}, "capture_return"),
    ({"ignore": "KeyError"}, "ignore"),
    ({"ignore": (int,)}, "ignore"),
    ({"active_across_yield": "yes"}, "active_across_yield"),
    ({"active_across_yield": True}, "active_across_yield"),
    ({"only": ["x"]}, "only"),
    ({"only": 3}, "only"),
]


@pytest.mark.parametrize(("options", "named"), BAD_OPTIONS)
def test_bad_options(options, named):
    """A bad option is a ConfigurationError when decorating, and the message names it."""
    with pytest.raises(ConfigurationError, match=named):
        dd.traced(**options)(lambda order: order)


@pytest.mark.parametrize("name", ["", 5, b"x", None])
def test_bad_names(name):
    """A name must be text and not empty; `None` is the default name."""
    if name is None:
        assert callable(dd.traced(name)(len))
        return
    with pytest.raises((ConfigurationError, TypeError)):
        dd.traced(name)


def test_unknown_options():
    """An unknown option is refused like one of a wrong type, with the one that was probably meant and all there are."""
    with pytest.raises(ConfigurationError, match=r"@traced has no option 'sevrice' \(did you mean 'service'\?\)"):
        dd.traced(sevrice="x")
    with pytest.raises(ConfigurationError, match=r"no option 'bogus'; there are active_across_yield, .* tags$"):
        dd.traced(len, bogus=None)


BAD_CLASS_OPTIONS = [
    ({"only": ["missing"]}, "'missing'"),
    ({"only": ["value"]}, "'value'"),
    ({"only": ["inherited"]}, "'inherited'"),
    ({"only": "work"}, "only"),
    ({"capture_args": ["ordre"]}, "'ordre'"),
]


@pytest.mark.parametrize(("options", "named"), BAD_CLASS_OPTIONS)
def test_bad_options_of_classes(options, named):
    """A bad option on a class names what is wrong and leaves the class alone."""

    class Base:
        def inherited(self): ...

    class Local(Base):
        value = 3

        def work(self, order): ...

    before = dict(vars(Local))
    with pytest.raises(ConfigurationError, match=named):
        dd.traced(**options)(Local)
    assert dict(vars(Local)) == before


def test_bad_targets():
    """What cannot be called is refused when decorating, with a hint where there is one."""

    async def coroutine(): ...

    made = coroutine()
    with pytest.raises(TypeError, match="not a coroutine object: decorate the function"):
        dd.traced(made)
    made.close()
    with pytest.raises(TypeError, match="not a generator object: decorate the function"):
        dd.traced("x")(_ for _ in ())
    for target in (5, object(), [len], {}):
        with pytest.raises(TypeError, match=f"not {type(target).__name__}"):
            dd.traced(target)
        with pytest.raises(TypeError):
            dd.traced("x")(target)


class OddProperty(property):
    def __init__(self, *, needed):
        super().__init__(lambda self: 1)


class OddClassMethod(classmethod):
    def __init__(self, function, *, needed):
        super().__init__(function)


@pytest.mark.parametrize("odd", [OddProperty(needed=1), OddClassMethod(len, needed=1)])
def test_descriptors_that_cannot_be_remade(odd):
    """A descriptor class with a constructor of its own is a clear TypeError."""
    with pytest.raises(TypeError, match=r"cannot trace a Odd.*decorate the function inside it"):
        dd.traced(odd)


def test_builtins_have_no_names_to_capture():
    """Names are refused where the parameters are unknown; `True` captures what is given."""
    with pytest.raises(ConfigurationError, match=r"the parameters of builtins\.min are: none"):
        dd.traced(capture_args=["x"])(min)
    assert dd.traced(capture_args=True)(min)(2, 1) == 1
