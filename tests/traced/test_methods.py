"""Instance methods, class methods, static methods, properties: the decorators in either order."""

from __future__ import annotations

import abc
import asyncio
import copy
import functools
import inspect
import pickle

import pytest

import ddtrace_manual as dd


class Twin:
    def __init__(self, base=1):
        self.base = base

    def plain(self, value: int = 0) -> int:
        """Add."""
        return self.base + value

    @classmethod
    def of_class(cls, value: int = 0):
        """Tell the class."""
        return cls, value

    @staticmethod
    def static(value: int = 0):
        """Tell the value."""
        return value

    @property
    def prop(self):
        """Tell the base."""
        return self.base

    @prop.setter
    def prop(self, value):
        self.base = value

    @prop.deleter
    def prop(self):
        del self.base

    async def coroutine(self):
        """Wait."""
        return self.base

    def generator(self):
        """Yield."""
        yield self.base

    async def async_generator(self):
        """Yield."""
        yield self.base


class Outside(Twin):
    """`@traced` above the other decorators."""

    plain = dd.traced(Twin.plain)
    of_class = dd.traced(Twin.__dict__["of_class"])
    static = dd.traced(Twin.__dict__["static"])
    prop = dd.traced(Twin.__dict__["prop"])
    coroutine = dd.traced(Twin.coroutine)
    generator = dd.traced(Twin.generator)
    async_generator = dd.traced(Twin.async_generator)


class Inside(Twin):
    """`@traced` below the other decorators."""

    plain = dd.traced(service="s")(Twin.plain)
    of_class = classmethod(dd.traced(Twin.__dict__["of_class"].__func__))
    static = staticmethod(dd.traced(Twin.__dict__["static"].__func__))
    prop = property(*(dd.traced(getattr(Twin.prop, part)) for part in ("fget", "fset", "fdel")))
    coroutine = dd.traced(Twin.coroutine)
    generator = dd.traced(Twin.generator)
    async_generator = dd.traced(Twin.async_generator)


class Picklable:
    @dd.traced
    def plain(self):
        return 1

    @dd.traced
    @classmethod
    def of_class(cls):
        return cls

    @staticmethod
    @dd.traced
    def static():
        return 2


BOTH = pytest.mark.parametrize("cls", [Outside, Inside])


@BOTH
@pytest.mark.parametrize("name", ["plain", "of_class", "static", "coroutine", "generator", "async_generator"])
def test_it_looks_like_its_twin(same_as, cls, name):
    """Read from the class and from an instance, a method gives the twin's answers."""
    same_as(getattr(cls, name), getattr(Twin, name))
    same_as(getattr(cls(), name), getattr(Twin(), name))
    assert type(getattr(cls(), name)) is type(getattr(Twin(), name)) or name == "static"
    assert inspect.getattr_static(cls, name).__class__ is inspect.getattr_static(Twin, name).__class__


@BOTH
def test_calls(spans, cls):
    """Every kind of method gets its instance or class, and a span."""
    made = cls(5)
    assert made.plain(2) == cls.plain(made, 2) == 7
    assert made.of_class(2) == cls.of_class(2) == (cls, 2)
    assert made.static(2) == cls.static(2) == 2
    assert asyncio.run(made.coroutine()) == 5
    assert list(made.generator()) == list(cls.generator(made)) == [5]
    expected = ["plain"] * 2 + ["of_class"] * 2 + ["static"] * 2 + ["coroutine"] + ["generator"] * 2
    assert spans.names == [f"{__name__}.Twin.{name}" for name in expected]


@BOTH
def test_properties(spans, cls):
    """Reading, setting and deleting are calls of their own."""
    made = cls(5)
    assert isinstance(inspect.getattr_static(cls, "prop"), property)
    assert made.prop == 5
    made.prop = 6
    assert made.base == 6
    del made.prop
    assert not hasattr(made, "base")
    assert len(spans.finished) == 3
    if cls is Outside:
        assert cls.prop.__doc__ == "Tell the base."
        assert [name.rpartition("Twin.")[2] for name in spans.names] == ["prop", "prop.setter", "prop.deleter"]


def test_bound_methods_are_methods():
    """A bound method compares, hashes, copies and pickles as the twin's does."""
    made = Picklable()
    assert made.plain == made.plain
    assert len({made.plain, made.plain}) == 1
    assert made.plain.__self__ is made
    assert copy.copy(made.plain) == made.plain
    assert copy.deepcopy(made.plain)() == 1
    assert pickle.loads(pickle.dumps(made.plain))() == 1
    assert pickle.loads(pickle.dumps(Picklable.plain)) is Picklable.plain
    assert pickle.loads(pickle.dumps(Picklable.of_class))() is Picklable
    assert pickle.loads(pickle.dumps(Picklable.static)) is Picklable.static


def test_a_bound_method_can_be_decorated(spans):
    """`traced(instance.method)` traces calls through the result, also as an attribute of another class."""
    bound = dd.traced("bound")(Twin(3).plain)

    class Holder:
        call = bound

    assert bound(1) == Holder().call(1) == 4
    assert spans.names == ["bound", "bound"]


def test_inherited_and_overridden(spans):
    """`super()` reaches a traced method, which makes a span of its own under the overriding one's."""

    class Base:
        @dd.traced("base")
        def work(self):
            return 1

    class Derived(Base):
        @dd.traced("derived")
        def work(self):
            return super().work() + 1

    class Heir(Derived): ...

    assert Heir().work() == 2
    assert spans.tree == ["derived", ["base"]]


def test_abstract_methods():
    """An abstract method stays abstract."""

    class Base(abc.ABC):
        @dd.traced
        @abc.abstractmethod
        def above(self): ...

        @abc.abstractmethod
        @dd.traced
        def below(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Base()
    assert Base.__abstractmethods__ == {"above", "below"}


def test_cached_properties(spans):
    """A cached property is computed once, in a span."""

    class Report:
        @dd.traced("above")
        @functools.cached_property
        def above(self):
            """Compute."""
            return object()

        @functools.cached_property
        @dd.traced("below")
        def below(self):
            return object()

    report = Report()
    assert report.above is report.above
    assert report.below is report.below
    assert spans.names == ["above", "below"]
    assert isinstance(Report.above, functools.cached_property)
    assert Report.above.__doc__ == "Compute."


def test_partial_methods(spans):
    """A partial method is traced through the function in it."""

    class Shop:
        def sell(self, what, count):
            return self, what, count

        pear = dd.traced("pear")(functools.partialmethod(sell, "pear", count=2))

    shop = Shop()
    assert shop.pear() == (shop, "pear", 2)
    assert spans.names == ["pear"]


def test_methods_of_slotted_classes(spans):
    """Methods of a class with `__slots__` are traced."""

    class Slotted:
        __slots__ = ("x",)

        @dd.traced("work")
        def work(self):
            return 1

    assert Slotted().work() == 1
    assert spans.names == ["work"]


def test_special_methods(spans):
    """Special methods can be decorated, and are found on the type."""

    class Adder:
        @dd.traced("call")
        def __call__(self, value):
            return value

        @dd.traced("len")
        def __len__(self):
            return 3

        @dd.traced("enter")
        def __enter__(self):
            return self

        def __exit__(self, *_): ...

    adder = Adder()
    with adder:
        assert (adder(1), len(adder)) == (1, 3)
    assert spans.names == ["enter", "call", "len"]


def test_a_wrapper_that_binds_in_its_own_way(spans):
    """A method under another library's descriptor binds as that one wants."""
    import wrapt

    seen = []

    @wrapt.decorator
    def other(wrapped, instance, args, kwargs):
        seen.append(instance)
        return wrapped(*args, **kwargs)

    class Shop:
        @dd.traced("work", capture_args=True)
        @other
        def work(self, value):
            return value

    shop = Shop()
    assert shop.work(3) == 3
    assert Shop.work(shop, 4) == 4
    assert seen == [shop, shop]
    assert [span.values["function.arg.value"] for span in spans.finished] == [3, 4]


def test_a_descriptor_that_binds_to_nothing(spans):
    """A callable whose `__get__` returns itself is called without an instance, as its twin is."""

    class Free:
        def __get__(self, instance, owner=None):
            return self

        def __call__(self, *args):
            return args

    class Shop:
        work = dd.traced("work")(Free())

    assert Shop().work(1) == Shop.work(1) == (1,)
    assert spans.names == ["work", "work"]
