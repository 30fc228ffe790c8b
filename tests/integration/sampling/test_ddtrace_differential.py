"""The same configuration and the same traces through `ddtrace` and through us: decisions and what they leave.

Differences that are wanted are applied in `as_wanted` and `headers_as_wanted`, with the section of the specification that asks for them; they are
explained in docs/explanation/sampling.md.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
ORACLE = HERE.parents[2] / ".venv-bench-ddtrace" / "bin" / "python"
SAMPLING_METRICS = (
    "_sampling_priority_v1",
    "_dd.rule_psr",
    "_dd.agent_psr",
    "_dd.span_sampling.mechanism",
    "_dd.span_sampling.rule_rate",
    "_dd.span_sampling.max_per_second",
)
SAMPLING_META = ("_dd.p.dm", "_dd.p.ksr")

SERVICES = ("web", "Web-API", "db", "queue_1")
NAMES = ("web.request", "db.query", "job")
RESOURCES = ("GET /users", "GET /health", "SELECT 1", "[abc]")
TAGS = {"tier": ("gold", "Silver", "gold?"), "size": (20, 20.0, 20.1, -100, 0), "flag": (True, "yes")}
GLOBS = {
    "service": ("web", "WEB*", "w?b", "*", "d?", "*-api", "**", "web-api", "?"),
    "name": ("web.*", "WEB.rEquEst", "*.query", "j?b", "*", "*e*r*"),
    "resource": ("GET /*", "get /HEALTH", "[abc]", "[a-c]*", "*1", "GET ?users"),
    "tier": ("gold*", "g?ld", "silver", "*", "gold?"),
    "size": ("20", "2*", "2?", "*", "-1*", "0", "20.1"),
    "flag": ("true", "TRUE", "y*", "*"),
}
RATES = (0, 1, 0.5, 0.25, 0.1, 1 / 3, 0.123456789, 0.00000051, 0.9999999, 0.7654321)
AGENT_RATES = {"service:web,env:test": 0.3, "service:db,env:test": 0.0, "service:job,env:": 0.5}


def generate_rule(chance):
    """Return one trace rule."""
    rule = {"sample_rate": chance.choice(RATES)}
    for field in ("service", "name", "resource"):
        if chance.random() < 0.35:
            rule[field] = chance.choice(GLOBS[field])
    if chance.random() < 0.3:
        rule["tags"] = {key: chance.choice(GLOBS[key]) for key in chance.sample(sorted(TAGS), chance.randint(1, 2))}
    return rule


def generate_configuration(chance):
    """Return variables and the Agent's rates."""
    environ = {}
    if chance.random() < 0.8:
        environ["DD_TRACE_SAMPLING_RULES"] = json.dumps([generate_rule(chance) for _ in range(chance.randint(1, 4))])
    if chance.random() < 0.5:
        rules = []
        for _ in range(chance.randint(1, 3)):
            rule = {field: chance.choice(GLOBS[field]) for field in chance.choice((["service"], ["name"]))}
            if chance.random() < 0.7:
                rule["sample_rate"] = chance.choice((0, 1, 1.0))
            if chance.random() < 0.5:
                rule["max_per_second"] = chance.choice((0, 10_000))
            rules.append(rule)
        environ["DD_SPAN_SAMPLING_RULES"] = json.dumps(rules)
    return environ, AGENT_RATES if chance.random() < 0.5 else {}


def generate_trace(chance, number):
    """Return one trace; ids come in by headers, so that both libraries hash the same."""
    headers = {"x-datadog-trace-id": str(chance.getrandbits(64) | 1), "x-datadog-parent-id": str(number + 1)}
    kind = chance.random()
    if kind < 0.15:
        headers["x-datadog-sampling-priority"] = str(chance.choice((-1, 0, 1, 2)))
        if chance.random() < 0.5:
            headers["x-datadog-tags"] = chance.choice(("_dd.p.dm=-1,_dd.p.ksr=0.100", "_dd.p.dm=-4", "_dd.p.other=1"))
    elif kind < 0.25:
        headers["x-datadog-origin"] = "rum"
    steps = []
    depth = chance.randint(1, 3)
    for _ in range(depth):
        service = chance.choice((*SERVICES, None))
        steps.append(["start", chance.choice(NAMES), service, chance.choice((*RESOURCES, None))])
        steps += [["tag", key, chance.choice(values)] for key, values in TAGS.items() if chance.random() < 0.4]
        steps += [["inject"]] * (chance.random() < 0.15) + [["keep"]] * (chance.random() < 0.04)
        steps += [["drop"]] * (chance.random() < 0.04) + [["tag", "late", "1"]] * (chance.random() < 0.1)
    steps += [["inject"]] * (chance.random() < 0.3)
    return {"headers": headers, "steps": steps + [["end"]] * depth}


def act(python, library, job, environ, agent):
    """Act the job out with one library; return its injections and, by trace and span, what arrived."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_", "_DD"))}
    variables = inherited | {
        "DD_TRACE_AGENT_URL": agent.url,
        "DD_SERVICE": "main",
        "DD_ENV": "test",
        "DD_TRACE_API_VERSION": "v0.4",
        "DD_TRACE_RATE_LIMIT": "1000000",
        "DD_TRACE_STATS_COMPUTATION_ENABLED": "false",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "DD_TRACE_STARTUP_LOGS": "false",
        **environ,
    }
    agent.clear()
    done = subprocess.run(
        [str(python), str(HERE / "actor.py"), library],
        input=json.dumps(job),
        env=variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    spans = {}
    for span in agent.spans():
        metrics, meta = span["metrics"], span["meta"]
        seen = {key: metrics[key] for key in SAMPLING_METRICS if key in metrics}
        seen |= {key: meta[key] for key in SAMPLING_META if key in meta}
        spans[int(metrics["case.trace"]), int(metrics["case.span"])] = seen
    return json.loads(done.stdout), spans


def decision_headers(headers):
    """Return what of injected headers comes from the decision."""
    headers = {name.lower(): value for name, value in headers.items()}
    tags = dict(pair.split("=", 1) for pair in headers.get("x-datadog-tags", "").split(",") if "=" in pair)
    members = dict(member.strip().split("=", 1) for member in headers.get("tracestate", "").split(",") if "=" in member)
    items = dict(item.split(":", 1) for item in members.get("dd", "").split(";") if ":" in item)
    return {
        "priority": headers.get("x-datadog-sampling-priority"),
        "dm": tags.get("_dd.p.dm"),
        "ksr": tags.get("_dd.p.ksr"),
        "flags": headers.get("traceparent", "")[-2:],
        "state": {key: items.get(key) for key in ("s", "t.dm", "t.ksr", "o")},
        "ot": members.get("ot"),
    }


def as_wanted(span, trace, *, is_first):
    """Return what `ddtrace` wrote on a span, with our wanted differences applied."""
    wanted = dict(span)
    inherited = "_dd.p.ksr" in trace["headers"].get("x-datadog-tags", "")
    if not is_first:
        wanted.pop("_dd.p.ksr", None)  # §12: on the first span of a chunk only
    elif wanted.get("_dd.p.dm") == "-4" and not inherited:
        wanted.pop("_dd.p.ksr", None)  # §9: a manual decision has no rate; one that was made here goes
    return wanted


def headers_as_wanted(found, ours):
    """Return what `ddtrace` injected, with our wanted differences applied."""
    if found["ksr"] is None:  # §12: a rate of our own is propagated as well
        return {**found, "ksr": ours["ksr"], "state": {**found["state"], "t.ksr": ours["state"]["t.ksr"]}}
    return found


def run(seed, traces, agent):
    """Compare both libraries over one generated configuration; return the differences."""
    chance = random.Random(seed)
    environ, agent.rates = generate_configuration(chance)
    job = {"traces": [generate_trace(chance, number) for number in range(traces)]}
    ours, our_spans = act(sys.executable, "ours", job, environ, agent)
    theirs, their_spans = act(ORACLE, "ddtrace", job, environ, agent)
    found = []
    assert our_spans.keys() == their_spans.keys()
    for key in sorted(our_spans):
        mine, other = our_spans[key], as_wanted(their_spans[key], job["traces"][key[0]], is_first=key[1] == 0)
        if mine != other:
            found.append(f"span {key}: ours {mine}, ddtrace {other}\n   {job['traces'][key[0]]}")
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for our_headers, their_headers in zip(mine, other, strict=True):
            left = decision_headers(our_headers)
            right = headers_as_wanted(decision_headers(their_headers), left)
            if left != right:
                found.append(f"headers of trace {number}: ours {left}, ddtrace {right}\n   {job['traces'][number]}")
    return environ, found


@pytest.fixture(autouse=True)
def oracle():
    """Skip where `ddtrace` is not installed: it never shares an environment with us."""
    if not ORACLE.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run `make .venv-bench-ddtrace/.stamp`")


@pytest.mark.parametrize("seed", range(3))
def test_decisions_agree_with_ddtrace(fake_agent, seed):
    """Priority, mechanism, rates and headers are those of `ddtrace` for generated rules and traces."""
    environ, differences = run(seed, 60, fake_agent)
    assert not differences, "\n".join([str(environ), *differences])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_decisions_agree_with_ddtrace(fake_agent):
    """The same over sixty configurations and six thousand traces."""
    for seed in range(100, 160):
        environ, differences = run(seed, 100, fake_agent)
        assert not differences, "\n".join([f"seed {seed}", str(environ), *differences])


def single(environ, rates, trace, agent):
    """Act one trace out, after another one that brings the Agent's rates; return the root span of each library."""
    agent.rates = rates
    job = {"traces": [{"headers": {}, "steps": [["start", "first", None, None], ["end"]]}, trace]}
    _, ours = act(sys.executable, "ours", job, environ, agent)
    _, theirs = act(ORACLE, "ddtrace", job, environ, agent)
    return ours[1, 0], theirs[1, 0]


HEADERS = {"x-datadog-trace-id": "10", "x-datadog-parent-id": "1"}


@pytest.mark.parametrize(
    ("environ", "rates", "tag", "ours", "theirs"),
    [
        # §11: the Agent's default entry is a rate of the Agent.
        ({}, {"service:,env:": 0.5}, None, ("-1", 0.0), ("-0", 1.0)),
        # §11: the Agent names services in lower case.
        ({}, {"service:web-api,env:test": 0.0}, None, ("-1", 0.0), ("-0", 1.0)),
        # §7.3: a number with a fraction matches only stars.
        ({"DD_TRACE_SAMPLING_RULES": '[{"tags":{"n":"?*"},"sample_rate":0}]'}, {}, 20.1, ("-0", 1.0), ("-3", -1.0)),
        # §6.2: an empty text is no constraint.
        ({"DD_TRACE_SAMPLING_RULES": '[{"service":"","sample_rate":0}]'}, {}, None, ("-3", -1.0), ("-0", 1.0)),
        # §6.2: one bad element does not cost the others.
        ({"DD_TRACE_SAMPLING_RULES": '[{"sample_rate":"x"},{"sample_rate":0}]'}, {}, None, ("-3", -1.0), ("-0", 1.0)),
        # §6.1: the catch-all rate counts.
        ({"DD_TRACE_SAMPLE_RATE": "0"}, {}, None, ("-3", -1.0), ("-0", 1.0)),
    ],
)
def test_wanted_differences(fake_agent, environ, rates, tag, ours, theirs):
    """Where we differ from `ddtrace` on purpose, both do what the documentation says."""
    steps = [["start", "job", "Web-API", None], *([["tag", "n", tag]] if tag else []), ["end"]]
    found = single(environ, rates, {"headers": HEADERS, "steps": steps}, fake_agent)
    assert [(span["_dd.p.dm"], span["_sampling_priority_v1"]) for span in found] == [ours, theirs]
