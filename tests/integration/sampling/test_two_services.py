"""End to end: many requests through two processes, sampled at 5 %, at Datadog's own test agent.

The statistics must be exact, the traces the very ones that the hash of their ids keeps.
"""

import base64
import json
import math
import os
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import pytest

from ddtrace_manual._encoding import decode_stats, decode_v04
from ddtrace_manual._encoding.sketch import LatencySketch
from ddtrace_manual.sampling import keeps

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("two_services.py")
RATE = 0.05
ACCURACY = 1 / 129
LOW_64 = (1 << 64) - 1


@pytest.fixture
def agent(agent_environment):
    """A session of a test agent that says it is a real one, so that statistics are computed."""
    with agent_environment.running(version="7.70.0") as process:
        yield process.session(uuid.uuid4().hex)


@pytest.fixture
def agent_environment():
    """The owner of test agent processes."""
    import test_agent as owner

    if not owner.environment.python_of(owner.ENVIRONMENT).exists():
        if os.environ.get("CI"):
            pytest.fail("the test agent is not installed: run `make .venv-agent/.stamp`")
        pytest.skip("the test agent is not installed: run `make .venv-agent/.stamp`")
    return owner


def run(agent, tmp_path, count, timeout_s):
    """Send `count` requests through both services; return what each says it did."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    environ = inherited | {
        "DD_TRACE_AGENT_URL": agent.url,
        "_DD_TRACE_WRITER_ADDITIONAL_HEADERS": f"X-Datadog-Test-Session-Token:{agent.token}",
        "DD_TRACE_SAMPLE_RATE": str(RATE),
        "DD_TRACE_RATE_LIMIT": "-1",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "DD_TRACE_STARTUP_LOGS": "false",
    }
    reports = {name: tmp_path / f"{name}.json" for name in ("back", "front")}
    command = [sys.executable, "-W", "error", str(PROGRAM)]
    with subprocess.Popen(
        [*command, "back", str(reports["back"])], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as back:
        try:
            port = back.stdout.readline().strip()
            front = subprocess.run(
                [*command, "front", str(reports["front"]), port, str(count)],
                env=environ,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
            assert (front.returncode, front.stderr) == (0, "")
            assert back.wait(30) == 0
            assert back.stderr.read() == ""
        finally:
            back.kill()
    return {name: json.loads(path.read_text()) for name, path in reports.items()}


def received(agent, path):
    """Return headers (names in lower case) and bodies of the requests to a path."""
    return [
        ({name.lower(): value for name, value in each["headers"].items()}, base64.b64decode(each["body"]))
        for each in agent.requests()
        if each["url"].endswith(path)
    ]


def chunks_by_service(agent):
    """Return the local root of each received chunk by service and low half of the trace id."""
    found = {"front": {}, "back": {}}
    for _, body in received(agent, "/v0.4/traces"):
        for chunk in decode_v04(body):
            found[chunk[0]["service"]][chunk[0]["trace_id"]] = chunk
    return found


def groups(agent):
    """Return all groups of all statistics payloads by service, operation and resource, merged."""
    merged = {}
    for _, body in received(agent, "/v0.6/stats"):
        for bucket in decode_stats(body)["Stats"]:
            for group in bucket["Stats"]:
                key = (group["Service"], group["Name"], group["Resource"])
                sums, sketches = merged.setdefault(key, (Counter(), {"ok": Counter(), "error": Counter()}))
                sums.update({name: group[name] for name in ("Hits", "Errors", "TopLevelHits", "Duration")})
                sums["Roots"] += group["Hits"] * (group["IsTraceRoot"] == 1)
                for half, summary in (("ok", group["OkSummary"]), ("error", group["ErrorSummary"])):
                    sketches[half].update(LatencySketch.from_bytes(summary).bins())
    return merged


def check_sketch(bins, durations):
    """Compare every tenth percentile of a sketch, and the extremes, with the durations themselves."""
    from ddtrace_manual._encoding.sketch import bin_value

    ordered = sorted(durations)
    assert sum(bins.values()) == len(ordered)
    values = [bin_value(index) for index in sorted(bins) for _ in range(int(bins[index]))]
    for share in range(0, 101, 10):
        rank = (len(ordered) - 1) * share // 100
        assert values[rank] == pytest.approx(ordered[rank], rel=ACCURACY * 1.001)


def check(agent, reports, count):
    """Compare what the Agent got with what both services did."""
    front, back = reports["front"], reports["back"]
    failed = set(back["errors"])
    ids = front["trace_ids"]
    assert len(set(ids)) == count
    assert len(failed) == math.ceil(count / 40)

    # Statistics: exact, whatever was sampled.
    found = groups(agent)
    pages, page_sketches = found.pop(("front", "page", "GET /shop"))
    calls, call_sketches = found.pop(("front", "http.client", "GET"))
    assert (pages["Hits"], pages["Errors"], pages["TopLevelHits"], pages["Roots"]) == (count, 0, count, count)
    assert (calls["Hits"], calls["Errors"], calls["TopLevelHits"], calls["Roots"]) == (count, 0, 0, 0)
    assert pages["Duration"] == sum(front["durations"]["page"])
    check_sketch(page_sketches["ok"], front["durations"]["page"])
    check_sketch(call_sketches["ok"], front["durations"]["call"])
    for route in ("/orders", "/items", "/users"):
        sums, sketches = found.pop(("back", "http.server", f"GET {route}"))
        halves = {half: back["durations"].get(f"GET {route} {half}", []) for half in ("ok", "error")}
        hits = len(halves["ok"]) + len(halves["error"])
        assert (sums["Hits"], sums["Errors"], sums["TopLevelHits"]) == (hits, len(halves["error"]), hits)
        assert (sums["Roots"], sums["Duration"]) == (0, sum(halves["ok"]) + sum(halves["error"]))
        for half, durations in halves.items():
            check_sketch(sketches[half], durations)
    assert not found

    # Traces: those the hash keeps, in both services; besides them only chunks with an error.
    kept = {trace_id for trace_id in ids if keeps(trace_id, RATE)}
    assert abs(len(kept) - count * RATE) <= 5 * math.sqrt(count * RATE * (1 - RATE))
    chunks = chunks_by_service(agent)
    assert set(chunks["front"]) == {trace_id & LOW_64 for trace_id in kept}
    assert set(chunks["back"]) == {trace_id & LOW_64 for trace_id in kept | failed}
    for trace_id in kept | failed:
        low, priority = trace_id & LOW_64, 2 if trace_id in kept else -1
        for name in ("front", "back"):
            chunk = chunks[name].get(low)
            if chunk is None:
                continue
            first = chunk[0]
            assert len(chunk) == 2
            assert first["metrics"]["_sampling_priority_v1"] == priority
            assert (first["meta"]["_dd.p.dm"], first["meta"]["_dd.p.ksr"]) == ("-3", "0.05")
            assert first["metrics"].get("_dd.rule_psr") == (RATE if name == "front" else None)

    # Headers: the Agent is told about what it did not get, but for what followed the last payload.
    headers = [fields for fields, _ in received(agent, "/v0.4/traces")]
    assert {fields["datadog-client-computed-stats"] for fields in headers} == {"true"}
    dropped = sum(int(fields.get("datadog-client-dropped-p0-traces", 0)) for fields in headers)
    assert 0 < dropped <= 2 * count - len(chunks["front"]) - len(chunks["back"])
    spans = sum(int(fields.get("datadog-client-dropped-p0-spans", 0)) for fields in headers)
    assert spans == 2 * dropped


def test_statistics_are_exact_while_traces_are_sampled(agent, tmp_path):
    """A thousand requests: hits, errors and latencies are exact, and traces are kept by their hash in both services."""
    check(agent, run(agent, tmp_path, 1000, 60), 1000)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_thousand_requests(agent, tmp_path):
    """Twenty thousand requests over several buckets give the same exactness."""
    check(agent, run(agent, tmp_path, 20_000, 500), 20_000)
