"""The demo's own checks: a complete run passes, and every kind of damage is seen."""

import copy
import importlib.util
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "examples" / "shop" / "checks.py"


@pytest.fixture(scope="module")
def checks():
    """The module under test, which is part of an example and not of the package."""
    spec = importlib.util.spec_from_file_location("shop_checks", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop_checks"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["shop_checks"]


@pytest.fixture
def run(checks):
    """A run of fifty requests as it should be: what was sent, and the traces of it."""
    sent = checks.plan("run", 50)
    for one in sent:
        one.status = one.kind.status
    return sent, [ideal_trace(number, one) for number, one in enumerate(sent, start=1)]


def ideal_trace(number, one):
    """Make the trace that a request should become."""
    names = sorted(one.kind.operations, key=lambda name: name != "http.server.request")
    failing = list(one.kind.errors)
    trace = []
    for index, name in enumerate(names):
        serves = name == "http.server.request"
        far = (serves and index == 1) or name.startswith("payments.")
        span = {"trace_id": number, "span_id": number * 100 + index, "name": name, "meta": {}, "metrics": {}}
        span |= {"service": "shop-payments" if far else "shop-gateway", "error": int(name in failing)}
        if name in failing:
            failing.remove(name)
        if index:
            span["parent_id"] = number * 100
        if serves:
            span["metrics"]["process_id"] = 2 if far else 1
        trace.append(span)
    trace[0]["meta"]["request.id"] = one.request_id
    return trace


def test_plan_has_every_kind_of_request(checks):
    """At least fifty requests, each with an id of its own, good, declined and reading ones."""
    planned = checks.plan("run", 50)
    assert len({one.request_id for one in planned}) == 50
    assert {one.kind for one in planned} == {checks.ORDER, checks.DECLINED, checks.READ}
    orders = {one.request_id for one in planned if one.kind is checks.ORDER}
    assert {one.path.rpartition("/")[2] for one in planned if one.kind is checks.READ} <= orders


def test_good_run_has_no_problems(checks, run):
    """Nothing is reported when everything is there, also beside the traces of others."""
    sent, traces = run
    assert checks.wrong_answers(sent) == []
    assert checks.wrong_traces(sent, traces, alone=True) == []
    foreign = [{"trace_id": 9999, "span_id": 1, "name": "other", "service": "other"}]
    assert checks.wrong_traces(sent, [*traces, foreign], alone=False) == []


def test_unexpected_answer_is_seen(checks, run):
    """An answer with another status than planned is reported."""
    sent, _ = run
    sent[0].status = 500
    assert len(checks.wrong_answers(sent)) == 1


def lose_trace(traces):
    del traces[0]


def lose_span(traces):
    del traces[0][-1]


def split_trace(traces):
    half = [copy.deepcopy(traces[0][-1]) | {"trace_id": 4711, "parent_id": 0}]
    del traces[0][-1]
    traces.append(half)


def break_parent(traces):
    traces[0][-1]["parent_id"] = 4711


def second_root(traces):
    traces[0][-1]["parent_id"] = 0


def duplicate_span(traces):
    traces[0].append(traces[0][-1])


def duplicate_trace(traces):
    traces.append(copy.deepcopy(traces[0]))


def miss_error(traces):
    for trace in traces:
        for span in trace:
            span["error"] = 0


def false_error(traces):
    traces[0][0]["error"] = 1


def wrong_service(traces):
    traces[0][-1]["service"] = "elsewhere"


def one_process(traces):
    for span in traces[0]:
        span["metrics"].pop("process_id", None)


@pytest.mark.parametrize(
    "damage",
    [
        lose_trace,
        lose_span,
        split_trace,
        break_parent,
        second_root,
        duplicate_span,
        duplicate_trace,
        miss_error,
        false_error,
        wrong_service,
        one_process,
    ],
)
def test_damage_is_seen(checks, run, damage):
    """Any lost, broken, doubled or wrongly marked trace is reported."""
    sent, traces = run
    damage(traces)
    assert checks.wrong_traces(sent, traces, alone=True)
