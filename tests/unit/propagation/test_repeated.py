"""Repeated injections into one trace write what a first one would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._model import PropagationState
from ddtrace_manual.propagation import PropagationSettings, Propagator

ids = st.integers(1, 2**64 - 1)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
tags = st.dictionaries(st.sampled_from(["_dd.p.dm", "_dd.p.ksr", "_dd.p.x"]), texts, max_size=3)
changes = st.one_of(
    st.tuples(st.just("priority"), st.none() | st.integers(-2, 3)),
    st.tuples(st.just("origin"), st.none() | texts),
    st.tuples(st.just("tags"), st.none() | tags),
    st.tuples(st.just("members"), st.lists(st.tuples(st.just("foo"), texts), max_size=1).map(tuple)),
    st.tuples(st.just("ot"), st.sampled_from([None, (("rv", "0" * 14),), (("th", "8"),)])),
    st.tuples(st.just("probability"), st.sampled_from([None, (1.0, True), (0.5, False)])),
    st.tuples(st.just("threshold_cleared"), st.booleans()),
    st.tuples(st.just("probability_unknown"), st.booleans()),
    st.tuples(st.just("is_random"), st.booleans()),
)


def injected(propagator, trace_id, span_id, state):
    """Return what is written for a span."""
    carrier = {}
    propagator.inject_state(trace_id, span_id, state, carrier)
    return carrier


@given(
    st.integers(1, 2**128 - 1),
    st.lists(st.one_of(ids.map(lambda span_id: ("span", span_id)), changes), min_size=1, max_size=12),
    ids,
)
def test_every_injection_is_as_the_first_one(trace_id, steps, last):
    """However state and span change between injections, the headers are those of a state never injected before."""
    propagator, state = Propagator(PropagationSettings()), PropagationState()
    for field, value in [*steps, ("span", last), ("span", last)]:
        if field != "span":
            setattr(state, field, value)
            continue
        fresh = PropagationState()
        fields = {name: each for name, each in vars(state).items() if name != "repeated_headers"}
        vars(fresh).update(fields, propagation_error=None)
        error = state.propagation_error
        assert injected(propagator, trace_id, value, state) == injected(propagator, trace_id, value, fresh)
        assert state.propagation_error == (fresh.propagation_error or error)


def test_tags_changed_in_place_are_noticed():
    """What was kept holds a copy of the tags."""
    propagator, state = Propagator(PropagationSettings()), PropagationState()
    state.priority, state.tags = 1, {"_dd.p.dm": "-0"}
    injected(propagator, 5, 6, state)
    state.tags["_dd.p.x"] = "1"
    assert injected(propagator, 5, 7, state)["x-datadog-tags"] == "_dd.p.dm=-0,_dd.p.x=1"


def test_what_is_kept_stays_apart_from_carriers():
    """An application that changes its headers changes no later ones."""
    propagator, state = Propagator(PropagationSettings()), PropagationState()
    first = injected(propagator, 5, 6, state)
    first["x-datadog-trace-id"] = "666"
    second = injected(propagator, 5, 6, state)
    second["x-datadog-trace-id"] = "667"
    assert injected(propagator, 5, 6, state)["x-datadog-trace-id"] == "5"
