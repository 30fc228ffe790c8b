"""The decision, in order (spec/sampling.md §3, §5, §8-§13)."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual.sampling import RateLimiter, SamplingRule, ServiceRates, TraceSampler, keeps

_DROPPED_AT_HALF = 10  # trace ids from the table of spec/sampling.md §4
_KEPT_AT_HALF = 1


def test_default(make_sampler, decide):
    """With nothing configured a trace is kept, by default, at probability 1."""
    segment = decide(make_sampler())
    assert vars(segment) | {"local_root": None} == {
        "trace_id": 1,
        "local_root": None,
        "decided": True,
        "priority": 1,
        "tags": {"_dd.p.dm": "-0"},
        "probability": (1.0, True),
    }


@pytest.mark.parametrize(("trace_id", "priority", "kept"), [(_KEPT_AT_HALF, 2, True), (_DROPPED_AT_HALF, -1, False)])
def test_rule(make_sampler, decide, trace_id, priority, kept):
    """A rule decides by the hash and writes its rate, mechanism and propagated rate."""
    segment = decide(make_sampler(SamplingRule(0.5)), trace_id=trace_id)
    assert segment.priority == priority
    assert segment.tags == {"_dd.p.dm": "-3", "_dd.p.ksr": "0.5"}
    assert (segment.rule_rate, segment.agent_rate, segment.limit_rate) == (0.5, None, None)
    assert segment.probability == (0.5, kept)
    assert not segment.threshold_cleared


@pytest.mark.parametrize(("trace_id", "priority", "kept"), [(_KEPT_AT_HALF, 1, True), (_DROPPED_AT_HALF, 0, False)])
def test_agent_rate(make_sampler, decide, trace_id, priority, kept):
    """An Agent rate decides by the hash with automatic priorities."""
    rates = ServiceRates()
    rates.update({"service:webserver,env:prod": 0.5})
    segment = decide(make_sampler(service_rates=rates, env="prod"), trace_id=trace_id)
    assert segment.priority == priority
    assert segment.tags == {"_dd.p.dm": "-1", "_dd.p.ksr": "0.5"}
    assert (segment.rule_rate, segment.agent_rate) == (None, 0.5)
    assert segment.probability == (0.5, kept)


def test_agent_rate_of_the_roots_own_service_and_env(make_sampler, decide):
    """The Agent's table is searched for the final service and environment of the root; no entry is the default."""
    rates = ServiceRates()
    rates.update({"service:db,env:stage": 0.0})
    sampler = make_sampler(service_rates=rates, env="prod")
    assert decide(sampler, {"service.name": "db", "env": "stage"}).priority == 0
    assert decide(sampler, {"service.name": "db"}).tags == {"_dd.p.dm": "-0"}


def test_matching_rule_ends_the_search(make_sampler, decide):
    """After a rule matched, neither later rules nor Agent rates are asked, whatever its outcome."""
    rates = ServiceRates()
    rates.update({"service:,env:": 1})
    sampler = make_sampler(SamplingRule(0, service="web*"), SamplingRule(1), service_rates=rates)
    assert decide(sampler).priority == -1
    without_match = make_sampler(SamplingRule(0, service="db"), service_rates=rates)
    assert decide(without_match).tags == {"_dd.p.dm": "-1", "_dd.p.ksr": "1"}


def test_inherited_priority_is_final_and_adds_nothing(make_sampler, decide):
    """A known priority stays, and no tag, rate or probability is added or changed."""
    tags = {"_dd.p.dm": "-8", "_dd.p.ksr": "1.000000"}
    segment = decide(make_sampler(SamplingRule(0)), priority=1, tags=tags)
    assert segment.decided
    assert (segment.priority, segment.tags, segment.rule_rate, segment.probability) == (1, tags, None, None)
    assert decide(make_sampler(SamplingRule(1)), priority=0).tags is None


def test_decided_is_locked(make_sampler, make_root):
    """Later values do not change a decision that was made."""
    sampler = make_sampler(
        SamplingRule(0, tags={"tag2": "val2"}),
        SamplingRule(1, tags={"tag1": "val1"}),
        SamplingRule(0, tags={"tag0": "val*"}),
    )
    root = make_root({"tag0": "val0", "tag1": "val1"})
    sampler.decide(root.segment, root)
    root.values["tag2"] = "val2"
    sampler.decide(root.segment, root)
    assert (root.segment.priority, root.segment.rule_rate) == (2, 1.0)


@pytest.mark.parametrize(
    ("rules", "tags"),
    [
        ((SamplingRule(0.5),), {"_dd.p.usr.id": "x", "_dd.p.dm": "-3", "_dd.p.a": "b", "_dd.p.ksr": "0.5"}),
        ((), {"_dd.p.usr.id": "x", "_dd.p.dm": "-0", "_dd.p.a": "b"}),
    ],
)
def test_undecided_context_keeps_its_tags_in_order(make_sampler, decide, rules, tags):
    """A local decision on a received context replaces mechanism and rate in place and leaves the rest alone."""
    received = {"_dd.p.usr.id": "x", "_dd.p.dm": "-4", "_dd.p.a": "b", "_dd.p.ksr": "0.9"}
    before = dict(received)
    segment = decide(make_sampler(*rules), tags=received)
    assert list(segment.tags.items()) == list(tags.items())
    assert received == before


def test_rate_limit(make_sampler, decide, clock):
    """What the limiter takes back is a user reject with the rule's marks, and no probability decision."""
    sampler = make_sampler(SamplingRule(1), limit=1)
    kept, limited = decide(sampler), decide(sampler)
    assert (kept.priority, limited.priority) == (2, -1)
    assert kept.tags == limited.tags == {"_dd.p.dm": "-3", "_dd.p.ksr": "1"}
    assert limited.rule_rate == 1.0
    assert (limited.probability, limited.threshold_cleared) == (None, True)
    clock.advance(1)
    assert decide(sampler).priority == 2


def test_rate_limit_is_only_for_rules(make_sampler, decide):
    """Neither default nor Agent-rate decisions ask the limiter."""
    rates = ServiceRates()
    sampler = make_sampler(limit=0, service_rates=rates)
    assert decide(sampler).priority == 1
    rates.update({"service:,env:": 1})
    assert decide(sampler).priority == 1


@pytest.mark.parametrize(
    ("rule_rate", "is_explicit", "expected"),
    [(1, False, [None, None]), (1, True, [1.0, 0.5]), (0, True, [1.0, 1.0]), (0, False, [None, None])],
)
def test_limit_rate(make_sampler, decide, rule_rate, is_explicit, expected):
    """The effective rate is written only when the user set the limit, also for what the rule rejects."""
    sampler = make_sampler(SamplingRule(rule_rate), limit=1, rate_limit_is_explicit=is_explicit)
    assert [decide(sampler).limit_rate for _ in expected] == expected


def test_rate_zero_is_no_probability(make_sampler, decide):
    """A rate of 0 has no threshold, so nothing to compute one from is left."""
    segment = decide(make_sampler(SamplingRule(0)))
    assert (segment.probability, segment.threshold_cleared) == (None, True)
    assert segment.tags["_dd.p.ksr"] == "0"


@pytest.mark.parametrize(("keep", "priority"), [(True, 2), (False, -1)])
@pytest.mark.parametrize("first", ["rule", "agent", "default", "inherited", "nothing"])
def test_manual_overrides_everything(make_sampler, decide, make_root, first, keep, priority):
    """A manual decision replaces any other, removes its rates and its own propagated rate."""
    rates = ServiceRates()
    rates.update({"service:,env:": 0.5} if first == "agent" else {})
    sampler = make_sampler(
        *([SamplingRule(0.5)] if first == "rule" else []), service_rates=rates, rate_limit_is_explicit=True
    )
    inherited = {"priority": 0, "tags": {"_dd.p.ksr": "0.1", "_dd.p.dm": "-1"}} if first == "inherited" else {}
    segment = make_root().segment if first == "nothing" else decide(sampler, **inherited)
    sampler.decide_manual(segment, keep)
    assert (segment.priority, segment.decided) == (priority, True)
    assert (segment.rule_rate, segment.agent_rate, segment.limit_rate) == (None, None, None)
    assert (segment.probability, segment.threshold_cleared) == (None, True)
    expected = {"_dd.p.ksr": "0.1", "_dd.p.dm": "-4"} if first == "inherited" else {"_dd.p.dm": "-4"}
    assert list(segment.tags.items()) == list(expected.items())


def test_last_manual_decision_wins(make_sampler, make_root):
    """Keep after drop keeps, drop after keep drops, and a later `decide` changes nothing."""
    sampler = make_sampler(SamplingRule(1))
    root = make_root()
    for keep in (False, True, False):
        sampler.decide_manual(root.segment, keep)
    sampler.decide(root.segment, root)
    assert root.segment.priority == -1


@pytest.mark.parametrize(("values", "priority"), [({"manual.keep": None}, 2), ({"manual.drop": "1"}, -1)])
def test_manual_tag_on_the_root(make_sampler, decide, values, priority):
    """A manual tag on the root goes before rules and before an inherited priority."""
    sampler = make_sampler(SamplingRule(0.5))
    for inherited in ({}, {"priority": 0}):
        segment = decide(sampler, values, **inherited)
        assert (segment.priority, segment.tags, segment.rule_rate) == (priority, {"_dd.p.dm": "-4"}, None)


def test_remote_update_and_removal(make_sampler, decide):
    """Remote rules take over with their own mechanism; their removal restores the local ones."""
    sampler = make_sampler(SamplingRule(0, service="webserver"), sample_rate=0.0)
    customer = SamplingRule(1, service="webserver", provenance="customer")
    dynamic = SamplingRule(1, name="*", provenance="dynamic")
    sampler.update(remote_rules=[dynamic, customer], remote_rate=0.5)
    assert [rule.provenance for rule in sampler.rules] == ["customer", "dynamic", "default"]
    assert decide(sampler).tags["_dd.p.dm"] == "-11"
    assert decide(sampler, {"service.name": "db"}).tags["_dd.p.dm"] == "-12"
    sampler.update(remote_rate=0.5)
    assert decide(sampler).rule_rate == 0.0
    assert decide(sampler, {"service.name": "db"}).rule_rate == 0.5
    sampler.update()
    assert decide(sampler, {"service.name": "db"}).rule_rate == 0.0
    assert decide(sampler).tags["_dd.p.dm"] == "-3"


def test_limiter_survives_updates(make_sampler, decide):
    """A new configuration does not refill the budget."""
    sampler = make_sampler(SamplingRule(1), limit=1)
    assert decide(sampler).priority == 2
    sampler.update(remote_rate=1.0)
    assert decide(sampler).priority == -1


def test_other_products_own_the_traces(make_sampler, decide, clock):
    """With APM tracing off one trace a minute is kept, rules and Agent rates are not asked, manual still works."""
    rates = ServiceRates()
    rates.update({"service:,env:": 1})
    sampler = make_sampler(SamplingRule(1), service_rates=rates, apm_tracing_enabled=False)
    first, second = decide(sampler), decide(sampler)
    assert (first.priority, second.priority) == (1, 0)
    assert first.tags == {"_dd.p.dm": "-5"}
    assert first.probability is None
    clock.advance(60)
    assert decide(sampler).priority == 1
    assert decide(sampler, {"manual.keep": True}).priority == 2
    assert decide(sampler, priority=2).tags is None


def test_failing_values_keep_the_trace(make_sampler, make_root, view, caplog, monkeypatch):
    """When looking at the root fails, the default decision is made and one line is logged."""
    caplog.set_level(logging.ERROR, "ddtrace_manual")
    monkeypatch.setattr("ddtrace_manual.sampling._sampler._log.interval_s", 0.0)
    view.service_name = lambda span: span.nonsense
    sampler = make_sampler(SamplingRule(0, service="a"))
    root = make_root(tags={"_dd.p.a": "b"})
    sampler.decide(root.segment, root)
    assert (root.segment.priority, root.segment.tags) == (1, {"_dd.p.a": "b", "_dd.p.dm": "-0"})
    assert len(caplog.records) == 1


def test_fork_while_locked(view, clock, decide):
    """After a fork decisions work even if another thread of the parent was asking a limiter."""
    for apm in (True, False):
        limiter = RateLimiter(5, clock)
        sampler = TraceSampler(
            span_view=view,
            rules=[SamplingRule(1)],
            limiter=limiter,
            service_rates=ServiceRates(),
            apm_tracing_enabled=apm,
            clock=clock,
        )
        limiter._lock.acquire()
        if not apm:
            sampler._minute_limiter._lock.acquire()
        sampler.reset_after_fork()
        assert decide(sampler).priority > 0


_RULES = st.lists(
    st.builds(
        SamplingRule,
        st.floats(0, 1),
        service=st.sampled_from([None, "", "web", "w*", "db", "*"]),
        name=st.sampled_from([None, "op", "o?", "x"]),
        tags=st.sampled_from([None, {"a": "1"}, {"a": "*", "b": "2"}]),
    ),
    max_size=6,
)
_GLOBS = {"w*": "web", "o?": "op"}


def _matches_by_hand(rule, service, name, tags):
    return (
        (rule.service in (None, "*", service) or _GLOBS.get(rule.service) == service)
        and (rule.name in (None, name) or _GLOBS.get(rule.name) == name)
        and all(key in tags and pattern in ("*", tags[key]) for key, pattern in (rule.tags or {}).items())
    )


@given(
    rules=_RULES,
    service=st.sampled_from(["web", "db", "other"]),
    name=st.sampled_from(["op", "other"]),
    tags=st.dictionaries(st.sampled_from("ab"), st.sampled_from("12")),
    trace_id=st.integers(1, (1 << 128) - 1),
)
def test_first_match_equals_brute_force(rules, service, name, tags, trace_id):
    """The first rule whose constraints all hold decides, and the same id and rate always decide alike."""

    class View:
        service_name = staticmethod(lambda _span: service)
        operation_name = staticmethod(lambda _span: name)
        resource_name = staticmethod(lambda _span: "")
        tag = staticmethod(lambda _span, key: tags.get(key))

    from ddtrace_manual._model import SegmentRecord, SpanRecord

    sampler = TraceSampler(span_view=View(), rules=rules, limiter=RateLimiter(-1), service_rates=ServiceRates())
    segment = SegmentRecord()
    segment.trace_id = trace_id
    sampler.decide(segment, SpanRecord())
    expected = next((rule for rule in rules if _matches_by_hand(rule, service, name, tags)), None)
    if expected is None:
        assert (segment.priority, segment.rule_rate) == (1, None)
    else:
        assert segment.rule_rate == expected.sample_rate
        assert segment.priority == (2 if keeps(trace_id, expected.sample_rate) else -1)


def test_remote_configuration_is_adopted(make_sampler, decide):
    """Another sampler, as in a forked child, takes over what remote configuration said, and nothing else."""
    parent = make_sampler(SamplingRule(0))
    parent.update(remote_rate=1.0, remote_rules=[SamplingRule(0.5, service="web*", provenance="customer")])
    child = make_sampler(SamplingRule(0.25))
    child.take_over(parent)
    assert child.rules == parent.rules
    child.update()
    assert child.rules == (SamplingRule(0.25),)
