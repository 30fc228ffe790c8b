"""A fork while a trace is open: both processes agree about it, and nothing is counted twice."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")]

PROGRAM = """
import json, os, sys
import ddtrace_manual as dd
from ddtrace_manual._setup import lifecycle as _setup
from ddtrace_manual.sampling import parse_remote_rules

dd.configure()
remote = json.loads(sys.argv[1])
if remote:
    _setup._setup.parts.sampler.update(remote_rules=parse_remote_rules(remote))
with dd.span("first"):  # learns the Agent's rates
    pass
dd.flush()
with dd.span("root") as root:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with dd.span("in-child"):
            headers = dd.inject({})
        os.write(writing, json.dumps(headers).encode())
        with dd.span("new-in-child", new_trace=True):
            pass
        ok = dd.shutdown()
        os._exit(0 if ok else 3)
    ended = os.waitpid(child, 0)[1]
    root.set_tag("late", "yes")
    mine = dd.inject({})
with dd.span("last"):
    pass
print(json.dumps({"ended": ended, "child": json.loads(os.read(reading, 65536)), "parent": mine}))
"""


def run(agent, remote=(), **environ):
    """Run the program against the Agent double; return what it says, and the received spans by name."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    variables = {
        "DD_TRACE_AGENT_URL": agent.url,
        "DD_SERVICE": "s",
        "DD_ENV": "e",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "DD_TRACE_STARTUP_LOGS": "false",
    }
    done = subprocess.run(
        # Python 3.12 warns about every fork of a process with threads.
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PROGRAM, json.dumps(remote)],
        env=inherited | variables | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["ended"] == 0
    return said, {span["name"]: span for span in agent.spans()}


@pytest.mark.parametrize(
    ("environ", "rates", "remote", "mechanism"),
    [
        ({"DD_TRACE_SAMPLE_RATE": "0.5"}, {}, (), "-3"),
        ({"DD_TRACE_SAMPLING_RULES": '[{"tags":{"late":"yes"},"sample_rate":0},{"sample_rate":1}]'}, {}, (), "-3"),
        ({"DD_TRACE_SAMPLE_RATE": "1", "DD_TRACE_RATE_LIMIT": "1"}, {}, (), "-3"),
        ({}, {"service:s,env:e": 0.5}, (), "-1"),
        ({}, {}, ({"name": "*oo*", "sample_rate": 0.5, "provenance": "customer"},), "-11"),
    ],
)
def test_both_processes_agree(fake_agent, environ, rates, remote, mechanism):
    """A trace that is open at a fork has one decision in both processes, whatever happens to it later."""
    fake_agent.rates = rates
    said, spans = run(fake_agent, remote, DD_TRACE_STATS_COMPUTATION_ENABLED="false", **environ)
    priorities = {said[name]["x-datadog-sampling-priority"] for name in ("child", "parent")}
    priorities |= {str(int(spans[name]["metrics"]["_sampling_priority_v1"])) for name in ("in-child", "root")}
    assert len(priorities) == 1
    thresholds = {said[name]["tracestate"].partition("ot=")[2] for name in ("child", "parent")}
    assert len(thresholds) == 1
    assert {spans[name]["meta"]["_dd.p.dm"] for name in ("in-child", "root")} == {mechanism}
    assert spans["in-child"]["parent_id"] == spans["root"]["span_id"]
    assert spans["in-child"]["trace_id"] == spans["root"]["trace_id"]


def test_what_was_learned_lives_on_in_the_child(fake_agent):
    """The child begins with the Agent's rates and the remote rules of its parent."""
    fake_agent.rates = {"service:s,env:e": 0.0}
    _, spans = run(fake_agent, DD_TRACE_STATS_COMPUTATION_ENABLED="false")
    assert spans["new-in-child"]["metrics"]["_dd.agent_psr"] == 0
    rule = {"name": "new*", "sample_rate": 0.5, "provenance": "dynamic"}
    _, spans = run(fake_agent, [rule], DD_TRACE_STATS_COMPUTATION_ENABLED="false")
    assert spans["new-in-child"]["meta"]["_dd.p.dm"] == "-12"


def test_every_span_is_counted_once(fake_agent):
    """Each process sends the statistics of its own spans, under its own id and from number 0."""
    run(fake_agent, DD_TRACE_SAMPLE_RATE="0")
    hits = Counter()
    for payload in fake_agent.stats():
        for bucket in payload["Stats"]:
            for group in bucket["Stats"]:
                hits[group["Name"]] += group["Hits"]
    assert hits == {"first": 1, "root": 1, "last": 1, "new-in-child": 1, "in-child": 1}
    sequences = {}
    for payload in fake_agent.stats():
        sequences.setdefault(payload["RuntimeID"], []).append(payload["Sequence"])
    assert sorted(sequences.values()) == [[0], [0, 1]]
