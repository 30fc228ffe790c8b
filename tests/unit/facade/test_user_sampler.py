"""What headers and spans say where a user's OpenTelemetry sampler decides first (spec/propagation.md §6.1)."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import TraceState

import ddtrace_manual as dd
from ddtrace_manual.testing import FakeAgent

TRACEPARENT = f"00-{1:032x}-{2:016x}-01"


class Answering(Sampler):
    """A sampler that records everything and answers with this trace state."""

    def __init__(self, **members):
        self._state = TraceState(list(members.items()))

    def should_sample(self, *_arguments, **_options):
        return SamplingResult(Decision.RECORD_AND_SAMPLE, trace_state=self._state)

    def get_description(self):
        return "Answering"


def by_facade():
    """Start a span with the facade."""
    return dd.span("root")


def by_api():
    """Start a span with the OpenTelemetry API."""
    return trace.get_tracer("x").start_as_current_span("root")


def ot_sent():
    """Return the `ot` member that goes out now, or `None`."""
    members = dict(member.partition("=")[::2] for member in dd.inject({})["tracestate"].split(","))
    assert members["dd"]
    return members.get("ot")


@pytest.fixture
def settings(fresh_setup):
    """Settings of a tracer with an Agent of its own."""
    with FakeAgent() as agent:
        yield {"trace_agent_url": agent.url, "instrumentation_telemetry_enabled": False, "trace_startup_logs": False}
        fresh_setup.shutdown(5.0)


@pytest.mark.parametrize("start", [by_facade, by_api])
@pytest.mark.parametrize(
    ("sampler", "sent"),
    [
        (Answering(), None),
        (Answering(foo="1"), None),
        (Answering(ot="th:c"), "th:c"),
        (Answering(ot="rv:11111111111111;th:8;x:y"), "rv:11111111111111;th:8;x:y"),
        (ParentBased(ALWAYS_ON), None),
    ],
)
def test_the_sampler_says_what_its_probability_is(settings, start, sampler, sent):
    """Without its word there is no `rv` and no `th`; what it says is taken over, in headers and trace state."""
    dd.configure(sampler=sampler, **settings)
    with start():
        assert ot_sent() == sent
        with start():
            assert ot_sent() == sent
            assert trace.get_current_span().get_span_context().trace_state.get("ot") == sent


@pytest.mark.parametrize("start", [by_facade, by_api])
def test_a_sampler_that_cannot_drop_changes_nothing(settings, start):
    """With `ALWAYS_ON` the probability of the trace is that of our own decision."""
    dd.configure(sampler=ALWAYS_ON, **settings)
    with start():
        assert ot_sent().endswith("th:0")


@pytest.mark.parametrize(("sampler", "sent"), [(Answering(), "rv:11111111111111;th:8"), (Answering(ot="th:c"), "th:c")])
def test_a_received_probability_stays_unless_the_sampler_replaces_it(settings, sampler, sent):
    """A continued trace passes on what it received."""
    dd.configure(sampler=sampler, **settings)
    headers = {"traceparent": TRACEPARENT, "tracestate": "dd=s:1,ot=rv:11111111111111;th:8"}
    with dd.continue_trace(headers), dd.span("root"):
        assert ot_sent() == sent


def test_a_manual_decision_removes_the_samplers_threshold(settings):
    """It is no matter of probability any more (§6.3)."""
    dd.configure(sampler=Answering(ot="rv:11111111111111;th:8"), **settings)
    with dd.span("root"):
        dd.keep()
        assert ot_sent() == "rv:11111111111111"


def test_what_is_sent_below_an_extracted_context_is_that_of_its_local_trace(settings):
    """Also where the extracted context itself is injected."""
    dd.configure(sampler=Answering(), **settings)
    with dd.continue_trace({"x-datadog-trace-id": "1", "x-datadog-parent-id": "2"}):
        with dd.span("root"):
            assert ot_sent() is None
        assert ot_sent() is None


@pytest.mark.parametrize(
    ("headers", "recorded"),
    [
        ({"x-datadog-sampling-priority": "1"}, True),
        ({"x-datadog-sampling-priority": "0"}, False),
        ({}, False),
    ],
)
def test_parent_based_takes_an_unknown_priority_for_not_sampled(settings, headers, recorded):
    """The sampled flag is 0 until somebody decides; `remote_parent_not_sampled` says what happens then."""
    headers = {"x-datadog-trace-id": "1", "x-datadog-parent-id": "2", **headers}
    for sampler, expected in (
        (ParentBased(ALWAYS_ON), recorded),
        (ParentBased(ALWAYS_OFF, remote_parent_not_sampled=ALWAYS_ON), True),
    ):
        dd.configure(sampler=sampler, **settings)
        with dd.continue_trace(headers), dd.span("root") as span:
            assert span.is_recording() is expected
            sent = dd.inject({})["x-datadog-sampling-priority"] if expected else "0"
        assert sent == headers.get("x-datadog-sampling-priority", "1" if expected else "0")


def test_the_random_flag_is_sent_on(settings):
    """From a span, from a bare extracted context, and from spans of several generations; own roots leave it 0."""
    dd.configure(**settings)
    with dd.span("own"):
        assert dd.inject({})["traceparent"].endswith("-01")
    with dd.continue_trace({"traceparent": TRACEPARENT[:-2] + "03"}):
        assert dd.inject({})["traceparent"].endswith("-03")
        with dd.span("root"), dd.span("child") as child:
            assert dd.inject({})["traceparent"].endswith("-03")
            assert child.get_span_context().trace_flags == child.parent.trace_flags == 3
            dd.drop()
            assert dd.inject({})["traceparent"].endswith("-02")
        assert dd.inject({})["traceparent"].endswith("-02")
        dd.configure(**settings)
        with dd.span("later"):
            assert dd.inject({})["traceparent"].endswith("-02")
