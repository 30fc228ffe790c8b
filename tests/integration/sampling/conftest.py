"""A process in which nothing was configured yet, and an Agent double for what is configured."""

from __future__ import annotations

import pytest

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.context import set_current
from ddtrace_manual._setup import lifecycle as _setup


@pytest.fixture
def fresh_process(monkeypatch):
    """Undo whatever `configure()` changes."""
    from opentelemetry import propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.util._once import Once

    saved = dict(vars(RUNTIME))
    set_current(Context())
    monkeypatch.setattr(_setup, "_setup", _setup._Setup())
    _setup._setup.is_exit_hooked = True
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    textmap = propagate.get_global_textmap()
    yield
    dd.shutdown(1.0)
    propagate.set_global_textmap(textmap)
    set_current(Context())
    vars(RUNTIME).clear()
    vars(RUNTIME).update(saved)


@pytest.fixture
def configure(fresh_process, fake_agent, monkeypatch):
    """Configure for the Agent double; capitals are variables of the environment, the rest settings in code."""

    def run(**settings):
        variables = {
            "DD_TRACE_STARTUP_LOGS": "false",
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        }
        variables |= {name: value for name, value in settings.items() if name.isupper()}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        in_code = {name: value for name, value in settings.items() if not name.isupper()}
        return dd.configure(**{"service": "webserver", "env": "prod", "agent_url": fake_agent.url, **in_code})

    return run


@pytest.fixture
def delivered(fake_agent):
    """Flush; return the spans at the Agent by name, a list where a name repeats, and forget them."""

    def run():
        assert dd.flush(10.0)
        spans = {}
        for span in fake_agent.spans():
            spans.setdefault(span["name"], []).append(span)
        fake_agent.clear()
        return {name: found[0] if len(found) == 1 else found for name, found in spans.items()}

    return run
