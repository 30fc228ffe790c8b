"""Plain functions."""

from __future__ import annotations

import functools
import pickle
import threading
from typing import get_type_hints

import pytest

import ddtrace_manual as dd


def add(left: int, right: int = 2, *more: int, factor: float = 1.0, **named: str) -> float:
    """Add numbers."""
    return (left + right + sum(more)) * factor


add.unit = "piece"
traced_add = dd.traced(add)


@dd.traced
def by_name(value=None):
    """Exist under a name that leads to the decorated function."""
    return value


def test_it_looks_like_its_twin(same_as):
    """Name, signature, docs, attributes and every question of inspect give the twin's answers."""
    same_as(traced_add, add)
    assert get_type_hints(traced_add) == get_type_hints(add)
    assert traced_add.__wrapped__ is add
    assert type(traced_add) is type(add)


def test_no_container():
    """A traced function is no container to `collections.abc`, though the proxy under it could be one."""
    from collections.abc import Container, Iterable, Sized

    assert not isinstance(traced_add, (Container, Iterable, Sized))
    with pytest.raises(TypeError):
        len(traced_add)


def test_arguments_and_result_pass(spans):
    """Arguments of every kind arrive and the result comes back, in a span of the default name."""
    assert traced_add(1, 2, 3, factor=2.0, other="x") == 12.0
    assert spans.one().operation_name == f"{__name__}.add"


def test_any_keyword_passes():
    """Keywords that the machinery uses itself belong to the function."""

    @dd.traced
    def take(self, wrapped, instance, args, kwargs):
        return self, wrapped, instance, args, kwargs

    assert take(self=1, wrapped=2, instance=3, args=4, kwargs=5) == (1, 2, 3, 4, 5)


def test_the_span_is_current_during_the_call(spans):
    """The span is current inside and gone afterwards."""

    @dd.traced("work")
    def work():
        dd.set_tag("inside", 1)
        return dd.current_span().span_id

    assert work() == spans.one("work").span_id
    assert spans.one("work").values == {"inside": 1}
    assert dd.current_span().span_id == 0


@pytest.mark.parametrize("options", [{}, {"service": "s"}], ids=["plain", "options"])
def test_nested_and_recursive(spans, options):
    """Calls of traced functions nest, also in themselves."""

    @dd.traced("leaf", **options)
    def leaf(): ...

    @dd.traced("down", **options)
    def down(depth):
        leaf() if depth == 0 else down(depth - 1)

    down(2)
    assert spans.tree == ["down", ["down", ["down", ["leaf"]]]]


@pytest.mark.parametrize("options", [{}, {"service": "s"}], ids=["plain", "options"])
def test_an_exception_passes_unchanged(spans, options):
    """The exception comes out as it was raised, and the span has an error."""
    error = ValueError("no")

    @dd.traced("work", **options)
    def work():
        raise error from KeyError("cause")

    with pytest.raises(ValueError, match="no") as caught:
        work()
    assert caught.value is error
    assert isinstance(error.__cause__, KeyError)
    assert error.__context__ is None
    assert spans.one("work").status_code == 2


def test_wrong_arguments_are_the_functions_own_error(spans):
    """A call that does not fit the signature raises the twin's TypeError; it is a failed call."""
    with pytest.raises(TypeError) as expected:
        add()
    with pytest.raises(TypeError) as caught:
        traced_add()
    assert str(caught.value) == str(expected.value)
    assert spans.one().status_code == 2


def test_pickling_by_name():
    """A function pickles by name, as its twin would."""
    assert pickle.loads(pickle.dumps(by_name)) is by_name


def test_pickling_without_a_name_of_its_own():
    """Where the name leads to the undecorated function, `pickle` refuses, as for every other wrapper."""
    with pytest.raises(pickle.PicklingError, match="not the same object"):
        pickle.dumps(dd.traced("n", service="s")(add))


def test_local_functions_do_not_pickle():
    """A local function refuses to be pickled, as its twin does."""

    def local(): ...

    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(dd.traced(local))


def test_decorated_before_and_after(monkeypatch, spans):
    """A function decorated before there is an engine is traced once there is one."""
    from ddtrace_manual._api.runtime import RUNTIME

    engine = RUNTIME.engine
    monkeypatch.setattr(RUNTIME, "engine", None)
    work = dd.traced("work")(lambda: 1)
    assert work() == 1
    assert not spans.finished
    monkeypatch.setattr(RUNTIME, "engine", engine)
    assert work() == 1
    assert spans.names == ["work"]


def test_decorators_of_others(spans):
    """Caches and other decorators below and above keep working."""

    @dd.traced("cached")
    @functools.lru_cache
    def cached(x):
        return x

    @functools.lru_cache
    @dd.traced("inside")
    def outside(x):
        return x

    assert [cached(1), cached(1), outside(1), outside(1)] == [1, 1, 1, 1]
    assert cached.cache_info().hits == 1
    assert spans.names == ["cached", "cached", "inside"]


def test_cached_methods_bind(spans):
    """A cached method gets its instance."""

    class Shop:
        @dd.traced("cached")
        @functools.lru_cache  # noqa: B019 - this one lives as long as the test
        def price(self, item):
            return item

    assert Shop().price(3) == 3
    assert spans.names == ["cached"]


def test_twice(spans):
    """Decorating twice makes two spans."""
    work = dd.traced("outer")(dd.traced("inner")(lambda: 1))
    assert work() == 1
    assert spans.tree == ["outer", ["inner"]]


def test_builtins(spans, same_as):
    """Builtins can be traced, in place of a method, too, where they do not bind."""
    size = dd.traced(len)
    same_as(size, len)

    class Holder:
        measure = size

    assert Holder().measure([1, 2]) == 2
    assert spans.names == ["builtins.len"]


def test_threads(spans):
    """Each thread has its own current span."""
    barrier = threading.Barrier(2)
    seen = {}

    @dd.traced("work")
    def work(key):
        barrier.wait()
        seen[key] = dd.current_span().span_id
        barrier.wait()

    threads = [threading.Thread(target=work, args=(key,)) for key in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen.values()) == sorted(span.span_id for span in spans.finished)
    assert spans.tree == ["work", "work"]
    assert spans.finished[0].trace_id != spans.finished[1].trace_id


def test_an_additional_processor_sees_the_span(spans):
    """A processor of the user's gets start and end."""
    from opentelemetry.sdk.trace import SpanProcessor, SynchronousMultiSpanProcessor

    from ddtrace_manual._api.runtime import RUNTIME

    seen = []

    class Processor(SpanProcessor):
        def on_start(self, span, parent_context=None):
            seen.append("start " + span.name)

        def on_end(self, span):
            seen.append("end " + span.name)

    RUNTIME.engine.use_processor(SynchronousMultiSpanProcessor())
    RUNTIME.engine.processor.add_span_processor(Processor())
    dd.traced("work")(lambda: None)()
    assert seen == ["start work", "end work"]


def test_a_span_ended_out_of_order(spans):
    """A caller's span that is ended inside the call is not current again afterwards."""
    scope = dd.span("outer")
    scope.__enter__()

    @dd.traced("work")
    def work():
        scope.__exit__(None, None, None)

    work()
    assert dd.current_span().span_id == 0
    assert spans.tree == ["outer", ["work"]]
