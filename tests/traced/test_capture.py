"""`capture_args` and `capture_return`."""

from __future__ import annotations

import asyncio
import logging

import pytest

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME


def captured(spans):
    return {key.removeprefix("function."): value for key, value in spans.finished[-1].values.items()}


def test_all_arguments(spans):
    """`True` records every argument by name, defaults included, numbers as numbers."""

    @dd.traced(capture_args=True, capture_return=True)
    def work(a, /, b, *rest, c=3, **named):
        return [a, b]

    work(1, "two", 3.5, True, d=None)
    assert captured(spans) == {
        "arg.a": 1,
        "arg.b": "two",
        "arg.rest.0": 3.5,
        "arg.rest.1": True,
        "arg.c": 3,
        "arg.named.d": "None",
        "return.0": 1,
        "return.1": "two",
    }


def test_methods_leave_out_their_instance(spans):
    """`self` and `cls` are left out of all arguments, but can be named."""

    class Shop:
        @dd.traced(capture_args=True)
        def sell(self, what): ...

        @dd.traced(capture_args=True)
        @classmethod
        def make(cls, what): ...

        @dd.traced(capture_args=True)
        @staticmethod
        def tax(what): ...

        @dd.traced(capture_args=["self"])
        def named(self): ...

    shop = Shop()
    for method in (shop.sell, shop.make, Shop.tax):
        method("pear")
        assert captured(spans) == {"arg.what": "pear"}
    shop.named()
    assert captured(spans) == {"arg.self": f"<{__name__}.{Shop.__qualname__}>"}


def test_names(spans):
    """Names choose arguments, also such that arrive through `**kwargs`; an absent one is left out."""

    @dd.traced(capture_args=["item", "count", "colour"])
    def work(item, size=1, **more): ...

    work("pear", count=3)
    assert captured(spans) == {"arg.item": "pear", "arg.count": 3}


def test_callables(spans):
    """Functions choose what to record, from the arguments by name and from the result."""
    work = dd.traced(capture_args=lambda args: {"sum": sum(args["numbers"])}, capture_return=len)(
        lambda *numbers: "abc"
    )
    work(1, 2, 3)
    assert captured(spans) == {"arg.sum": 6, "return": 3}


def test_return_values_of_generators(spans):
    """A generator's return value is captured, not what it yields."""

    @dd.traced(capture_return=True)
    def numbers():
        yield 1
        return 2

    list(numbers())
    assert captured(spans) == {"return": 2}


def test_return_values_of_coroutines(spans):
    """What is captured of a coroutine function is what the await gives."""

    @dd.traced(capture_return=True)
    async def work():
        return {"a": 1}

    asyncio.run(work())
    assert captured(spans) == {"return.a": 1}


def test_captured_arguments_join_tags(spans):
    """Tags and captured arguments are both recorded."""
    dd.traced(capture_args=True, tags={"a": 1})(lambda b: None)(2)
    assert spans.one().values == {"a": 1, "function.arg.b": 2}


def test_secrets_are_redacted_by_default(spans):
    """Without a redactor, what looks like a secret is not recorded, at any depth."""
    dd.traced(capture_args=True, capture_return=True)(lambda user, api_key, auth: {"token": auth})(
        {"name": "x", "password": "p"}, "k", "Bearer abc"
    )
    assert captured(spans) == {
        "arg.user.name": "x",
        "arg.user.password": "<redacted>",
        "arg.api_key": "<redacted>",
        "arg.auth": "<redacted>",
        "return.token": "<redacted>",
    }


def test_the_configured_redactor_sees_every_value(spans, monkeypatch):
    """The redactor gets each value with its name, the whole before its parts, and decides alone."""
    seen = []

    def redact(name, value):
        seen.append((name, value))
        return "gone" if name == "user.name" else value

    monkeypatch.setattr(RUNTIME, "redact", redact)
    user = {"name": "x", "password": "p"}
    dd.traced(capture_args=True, capture_return=True)(lambda user: 1)(user)
    assert seen == [("user", user), ("user.name", "x"), ("user.password", "p"), ("return", 1)]
    assert captured(spans) == {"arg.user.name": "gone", "arg.user.password": "p", "return": 1}


def test_a_redactor_that_fails(spans, monkeypatch, counted, caplog):
    """Nothing is recorded when the redactor raises: what it would have hidden stays hidden."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(RUNTIME, "redact", lambda name, value: 1 / 0)
    assert dd.traced("redacting", capture_args=True, capture_return=True)(lambda a: a)(1) == 1
    assert spans.one().values == {}
    assert counted == {"capture_failed": 2}
    assert len(caplog.records) == 2


class Hostile(dict):
    def items(self):
        raise RuntimeError("no")


def test_hostile_arguments(spans, counted):
    """An argument that cannot be read is counted and leaves the call alone."""
    assert dd.traced("hostile", capture_args=True)(lambda a: 1)(Hostile(a=1)) == 1
    assert counted == {"capture_failed": 1}


@pytest.mark.parametrize("arguments", [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1})])
def test_calls_that_do_not_fit(arguments):
    """A call with wrong arguments raises the twin's TypeError, whatever is captured."""

    def work(a, b): ...

    args, kwargs = arguments
    with pytest.raises(TypeError) as expected:
        work(*args, **kwargs)
    with pytest.raises(TypeError) as caught:
        dd.traced(capture_args=True, resource=lambda args: "x")(work)(*args, **kwargs)
    assert str(caught.value) == str(expected.value)


VALUES = [
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    True,
    None,
    1.5,
    float("nan"),
    "",
    "text",
    "x" * 64,
    "x" * 65,
    "Bearer abc",
]


@pytest.mark.parametrize("value", [*VALUES, " basic abc", "eyJab.c.d", b"x", [1], {"a": 1}], ids=repr)
def test_the_short_way_records_the_same(spans, value):
    """Arguments that take the short way have the tags of those that do not: an additional tag rules it out."""

    def work(first, second=5, *, third=value): ...

    long = dd.traced(capture_args=True, tags={"a": 1})(work)
    short = dd.traced(capture_args=True)(work)
    with dd.span("parent"):
        for call in (lambda f: f(value), lambda f: f(second=value, first=2), lambda f: f(1, value, third="z")):
            call(long)
            call(short)
    for expected, span in zip(spans.finished[:-1:2], spans.finished[1:-1:2], strict=True):
        expected.values.pop("a")
        assert repr(span.values) == repr(expected.values)


def test_the_short_way_hides_secrets(spans):
    """A secret name is redacted in a child span, too."""
    with dd.span("parent"):
        dd.traced(capture_args=True)(lambda user, api_key: None)("x", "k")
    assert spans.finished[0].values == {"function.arg.user": "x", "function.arg.api_key": "<redacted>"}
