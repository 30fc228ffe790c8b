"""Contexts in environment variables."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context.context import Context

from ddtrace_manual._model.remote import remote_context_of
from ddtrace_manual.propagation import (
    DatadogPropagator,
    PropagationSettings,
    Propagator,
    RemoteSpan,
    extract_environ,
    inject_environ,
)
from ddtrace_manual.propagation._environ import variable_name

HEADERS = {
    "x-datadog-trace-id": "1",
    "x-datadog-parent-id": "2",
    "x-datadog-sampling-priority": "1",
    "baggage": "a=b",
}
PROPAGATOR = DatadogPropagator(Propagator(PropagationSettings()))


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("traceparent", "TRACEPARENT"), ("x-datadog-trace-id", "X_DATADOG_TRACE_ID"), ("b3", "B3"),
        ("1st", "_1ST"), ("", "_"), ("a.b", "A_B"),
    ],
)  # fmt: skip
def test_names_are_normalised(header, name):
    """Upper-case, underscores for everything else, never a digit first."""
    assert variable_name(header) == name


def test_a_child_process_continues_the_trace():
    """What was injected is found again, and nothing stays of an older context."""
    env = {"PATH": "/bin", "X_DATADOG_ORIGIN": "old", "X_DATADOG_TAGS": "old"}
    inject_environ(env, PROPAGATOR, PROPAGATOR.extract(HEADERS))
    assert env["TRACEPARENT"] == f"00-{1:032x}-{2:016x}-01"
    assert env["X_DATADOG_TRACE_ID"] == "1"
    assert env["PATH"] == "/bin"
    assert {"X_DATADOG_ORIGIN", "X_DATADOG_TAGS"}.isdisjoint(env)
    context = extract_environ(env, PROPAGATOR)
    assert (remote_context_of(context).trace_id, baggage.get_baggage("a", context)) == (1, "b")


def test_only_normalised_names_are_read():
    """`traceparent` in lower case, or the header's own spelling, is no variable of this convention."""
    env = {"traceparent": f"00-{1:032x}-{2:016x}-01", "x-datadog-trace-id": "1", "HTTP_TRACEPARENT": "x", "A.B": "c"}
    assert dict(extract_environ(env, PROPAGATOR)) == {}


def test_no_context_changes_nothing():
    """Without a trace and baggage, variables of the parent process stay."""
    env = {"TRACEPARENT": "kept"}
    inject_environ(env, PROPAGATOR, Context())
    assert env == {"TRACEPARENT": "kept"}


def test_baggage_of_the_parent_process_does_not_outlive_its_removal():
    """Once the context says that there is none, or carries another trace, old baggage goes; the rest stays."""
    legacy = DatadogPropagator(Propagator(PropagationSettings(http_baggage=True)))
    old = {"PATH": "/bin", "TRACEPARENT": "kept", "BAGGAGE": "a=old", "OT_BAGGAGE_A": "old"}
    for propagator, left in ((PROPAGATOR, {"OT_BAGGAGE_A": "old"}), (legacy, {})):
        env = old.copy()
        inject_environ(env, propagator, baggage.clear(Context()))
        assert env == {"PATH": "/bin", "TRACEPARENT": "kept", **left}
    env = old.copy()
    inject_environ(env, legacy, legacy.extract({**HEADERS, "baggage": "b=new"}))
    assert {name: value for name, value in env.items() if "BAGGAGE" in name} == {
        "BAGGAGE": "b=new",
        "OT_BAGGAGE_B": "new",
    }


def test_an_environment_that_cannot_be_used_is_left_alone():
    """Neither writing nor reading raises."""

    class ReadOnly(dict):
        def __setitem__(self, key, value):
            raise TypeError

        def items(self):
            raise TypeError

    env = ReadOnly(PATH="x")
    remote = PROPAGATOR.extract(HEADERS)
    assert isinstance(trace.get_current_span(remote), RemoteSpan)
    inject_environ(env, PROPAGATOR, remote)
    assert list(env) == ["PATH"]
    assert dict(extract_environ(env, PROPAGATOR)) == {}
