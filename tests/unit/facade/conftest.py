"""An engine without threads or network: finished chunks are collected."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ddtrace_manual._setup import lifecycle as _setup
from ddtrace_manual._setup import log_handlers as _log_setup
from ddtrace_manual._tracing import EngineHooks, TracerProvider


@pytest.fixture
def traced_chunks(clean_runtime):
    """A provider whose finished chunks arrive in `.chunks`, as (segment, spans, partial)."""
    chunks = []

    def export(segment, spans, *, partial):
        chunks.append(SimpleNamespace(segment=segment, spans=spans, partial=partial))

    provider = TracerProvider(shutdown_on_exit=False, hooks=EngineHooks(export=export))
    clean_runtime.use_engine(provider.engine)
    return SimpleNamespace(
        chunks=chunks,
        provider=provider,
        engine=provider.engine,
        spans=lambda: {span.otel_name: span for chunk in chunks for span in chunk.spans},
    )


@pytest.fixture
def fresh_setup(clean_runtime, monkeypatch):
    """A process in which `configure()` was never called; shuts down what the test configures."""
    from opentelemetry import propagate, trace
    from opentelemetry.util._once import Once

    monkeypatch.setattr(_setup, "_setup", _setup._Setup())
    _setup._setup.is_exit_hooked = True
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    textmap = propagate.get_global_textmap()
    yield _setup
    _setup.shutdown(1.0)
    _log_setup.undo_log_settings()
    propagate.set_global_textmap(textmap)
