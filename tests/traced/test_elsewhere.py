"""Decorated callables where the engine is not in charge, or not alone."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.context import get_current


@dd.traced("function")
def function(value):
    with dd.span("child"):
        return value


@dd.traced("coroutine", capture_args=True)
async def coroutine(value):
    await asyncio.sleep(0)
    return function(value)


@dd.traced("generator")
def generator(value):
    yield function(value)
    yield


@dd.traced("async generator", tags={"a": 1})
async def async_generator(value):
    yield function(value)


@dd.traced("manager")
@contextlib.contextmanager
def manager(value):
    yield function(value)


def everything():
    """Call one of every kind; return what came out."""

    async def main():
        return await coroutine(2), [value async for value in async_generator(4)]

    with manager(5) as value:
        results = [function(1), *asyncio.run(main()), list(generator(3)), value]
    with pytest.raises(TypeError):
        function()
    return results


EXPECTED = [1, 2, [4], [3, None], 5]


def test_before_configure(monkeypatch, spans):
    """Without any provider every kind works untouched, and no context is ever set."""
    monkeypatch.setattr(RUNTIME, "engine", None)
    before = get_current()
    assert everything() == EXPECTED
    assert get_current() is before
    assert not spans.finished


def test_over_another_provider(monkeypatch, spans):
    """Over a foreign OpenTelemetry provider its spans are made, made current, and nest."""
    exporter = InMemorySpanExporter()
    provider = SDKTracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(RUNTIME, "engine", None)
    monkeypatch.setattr(RUNTIME, "use_otel", True)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    assert everything() == EXPECTED
    finished = exporter.get_finished_spans()
    by_id = {span.context.span_id: span.name for span in finished}
    edges = {(span.name, by_id.get(span.parent.span_id) if span.parent else None) for span in finished}
    assert ("child", "function") in edges
    assert {("function", kind) for kind in ("coroutine", "generator", "async generator", "manager")} <= edges
    coroutine_span = next(span for span in finished if span.name == "coroutine")
    assert coroutine_span.attributes["function.arg.value"] == 2
    failed = [span for span in finished if not span.status.is_ok]
    assert [span.name for span in failed] == ["function"]
    assert not spans.finished


@pytest.mark.parametrize(("sampler", "count"), [(ALWAYS_OFF, 0), (ALWAYS_ON, 15)])
def test_with_a_sampler_of_the_user(spans, sampler, count):
    """What the user's OpenTelemetry sampler drops is not recorded; the calls go on."""
    engine = RUNTIME.engine
    engine.reconfigure(hooks=engine.hooks, limits=engine.limits, partial_flush_min_spans=300, sampler=sampler)
    assert everything() == EXPECTED
    assert len(spans.finished) == count
