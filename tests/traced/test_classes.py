"""Classes: the public methods they define."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import pickle
import typing

import pytest

import ddtrace_manual as dd


def default(value):
    return value


@dd.traced("shop")
class Shop:
    """Sells."""

    limit = 3
    on_sale = default

    def __init__(self):
        self.open = True

    def sell(self, what):
        """Sell."""
        return self._pack(what)

    trade = sell

    def _pack(self, what):
        return [what]

    async def sell_later(self):
        return 1

    def items(self):
        yield 1

    async def stream(self):
        yield 1

    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def tax():
        return 19

    @property
    def is_open(self):
        return self.open

    @contextlib.contextmanager
    def closing(self):
        yield self

    @dd.untraced
    def quiet(self): ...

    @dd.untraced
    @staticmethod
    def silent(): ...

    @dd.traced("own")
    def special(self): ...

    class Inner:
        def work(self): ...


def test_public_methods_are_traced(spans):
    """Methods of every kind without underscore get a span; private, special and untraced ones and others do not."""
    shop = Shop.make()
    shop.sell("pear")
    shop.trade("plum")
    asyncio.run(shop.sell_later())
    list(shop.items())
    Shop.tax()
    assert shop.is_open
    with shop.closing():
        assert dd.current_span().operation_name == "shop.closing"
    shop.quiet()
    Shop.silent()
    shop.special()
    Shop.Inner().work()
    assert Shop.on_sale is default
    assert Shop.trade is Shop.sell
    expected = ["make", "sell", "sell", "sell_later", "items", "tax", "closing"]
    assert spans.names == [*(f"shop.{name}" for name in expected), "own"]


def test_the_class_stays_itself():
    """The decorator returns the class itself: name, docs, pickles of instances and methods are those of the twin."""

    class Local: ...

    assert dd.traced(Local) is Local
    assert (Shop.__name__, Shop.__doc__, Shop.limit) == ("Shop", "Sells.", 3)
    assert isinstance(pickle.loads(pickle.dumps(Shop())), Shop)
    assert pickle.loads(pickle.dumps(Shop.sell)) is Shop.sell


def test_default_names(spans):
    """Without a name, spans are named `module.Class.method`."""

    @dd.traced
    class Local:
        def work(self): ...

    Local().work()
    assert spans.one().operation_name == f"{__name__}.test_default_names.<locals>.Local.work"


def test_inheritance(spans):
    """Inherited methods are traced once, overriding ones only in a class that is traced itself."""

    @dd.traced("base")
    class Base:
        def work(self): ...

        def other(self): ...

    class Plain(Base):
        def work(self):
            super().work()

    @dd.traced("traced")
    class Traced(Base):
        def work(self):
            super().work()

    Plain().work()
    Traced().work()
    Traced().other()
    assert spans.names == ["base.work", "base.work", "traced.work", "base.other"]


def test_only(spans):
    """`only` chooses the members, private ones, special ones and properties included."""

    @dd.traced("c", only=["_private", "prop", "__call__"])
    class Chosen:
        def public(self): ...

        def _private(self): ...

        def __call__(self): ...

        @property
        def prop(self):
            return 1

        @prop.setter
        def prop(self, value): ...

    chosen = Chosen()
    chosen.public()
    chosen._private()
    chosen()
    assert chosen.prop == 1
    chosen.prop = 2
    assert spans.names == ["c._private", "c.__call__", "c.prop", "c.prop.setter"]


@pytest.mark.parametrize("slots", [False, True])
@pytest.mark.parametrize("order", ["above", "below"])
def test_dataclasses(spans, order, slots):
    """Dataclasses keep their fields, defaults and equality, with the decorators in either order."""

    class Point:
        x: int = 1
        callback: typing.Any = default
        make: typing.Any = dataclasses.field(default_factory=list)

        def norm(self):
            return abs(self.x)

    make = dataclasses.dataclass(slots=slots)
    cls = dd.traced("p")(make(Point)) if order == "above" else make(dd.traced("p")(Point))
    point = cls(-2)
    assert point.norm() == 2
    assert point == cls(-2)
    assert point.callback is default
    assert dataclasses.asdict(point) == {"x": -2, "callback": default, "make": []}
    assert spans.names == ["p.norm"]


def test_other_classes(spans):
    """Enums, named tuples, protocols and generic classes are traced like others."""

    @dd.traced("color")
    class Color(enum.Enum):
        RED = 1

        def hex(self):
            return "f00"

    @dd.traced("pair")
    class Pair(typing.NamedTuple):
        left: int

        def swap(self):
            return self.left

    Item = typing.TypeVar("Item")

    @dd.traced("box")
    class Box(typing.Generic[Item]):
        def get(self):
            return 1

    assert (Color.RED.hex(), Pair(4).swap(), Box[int]().get()) == ("f00", 4, 1)
    assert spans.names == ["color.hex", "pair.swap", "box.get"]


def test_options_reach_the_methods_that_have_them(spans):
    """Names to capture go to the methods with such parameters, generator options to generators."""

    @dd.traced("c", service="s", capture_args=["item", "count"], active_across_yield=True)
    class Store:
        def put(self, item, secret): ...

        def take(self, count, **more): ...

        def each(self):
            yield dd.current_span().span_id

    store = Store()
    store.put("pear", "x")
    store.take(2, item="plum")
    for span_id in store.each():
        assert dd.current_span().span_id == span_id
    assert [span.values.get("function.arg.item") for span in spans.finished] == ["pear", "plum", None]
    assert {span.service for span in spans.finished} == {"s"}


class _Frozen(type):
    def __setattr__(cls, name, value):
        if name == "second":
            raise AttributeError("frozen")
        super().__setattr__(name, value)


def test_a_metaclass_that_refuses():
    """A class that cannot be changed gives a TypeError and stays as it was."""

    class Fixed(metaclass=_Frozen):
        def first(self): ...

        def second(self): ...

    before = dict(vars(Fixed))
    with pytest.raises(TypeError, match=r"cannot trace the class .*Fixed: its attributes cannot be set"):
        dd.traced(Fixed)
    assert dict(vars(Fixed)) == before
    assert type(vars(Fixed)["first"]) is type(default)
    with pytest.raises(TypeError, match="built in"):
        dd.traced(int)


def test_decorating_twice(spans):
    """A class decorated twice has one span for each call."""

    @dd.traced("outer")
    @dd.traced("inner")
    class Twice:
        def work(self): ...

        @classmethod
        def make(cls): ...

        @contextlib.contextmanager
        def block(self):
            yield

    Twice().work()
    Twice.make()
    with Twice().block():
        pass
    assert spans.names == ["inner.work", "inner.make", "inner.block"]


def test_untraced_marks_any_function():
    """`untraced` returns what it was given."""
    assert dd.untraced(default) is default
    with pytest.raises(TypeError, match="untraced"):
        dd.untraced(3)
