"""A traced child process, from `configure()` to the real test agent, over TCP and over a Unix socket."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import ddtrace_manual as dd
dd.configure(service="child", env="test", version="3")

@dd.traced("job", tags={"kind": "batch"})
def job(number):
    dd.set_tags({"number": number, "text": "h\\u00e9llo"})
    with dd.span("step", resource="one step") as span:
        span.add_event("halfway", {"done": 0.5})
        if number == 3:
            raise ValueError("three")

for number in range(5):
    try:
        job(number)
    except ValueError:
        pass
"""


def run_child(code, **environ):
    """Run a program with nothing but the given DD_* variables set; return what it wrote to standard error."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=inherited | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_traces_arrive_when_the_program_ends(test_agent, transport):
    """Without any flush every trace of a program arrives whole, in order to be looked at."""
    if transport == "unix" and test_agent.socket_path is None:
        pytest.skip("no Unix sockets here")
    url = test_agent.url if transport == "tcp" else f"unix://{test_agent.socket_path}"
    token = f"X-Datadog-Test-Session-Token:{test_agent.token}"
    assert run_child(PROGRAM, DD_TRACE_AGENT_URL=url, _DD_TRACE_WRITER_ADDITIONAL_HEADERS=token) == ""
    traces = test_agent.wait_for_traces(5)
    assert len(traces) == 5
    by_number = {int(trace[0]["metrics"]["number"]): trace for trace in traces}
    job, step = sorted(by_number[2], key=lambda span: span["name"])
    assert (job["service"], job["name"], job["resource"], job.get("parent_id", 0)) == ("child", "job", "job", 0)
    assert (step["name"], step["resource"], step["parent_id"]) == ("step", "one step", job["span_id"])
    assert job["meta"]["env"] == "test"
    assert job["meta"]["version"] == "3"
    assert job["meta"]["kind"] == "batch"
    assert job["meta"]["text"] == "héllo"
    assert job["metrics"]["_sampling_priority_v1"] == 1
    assert not job.get("error")
    failed_job, failed_step = sorted(by_number[3], key=lambda span: span["name"])
    assert failed_job["error"] == failed_step["error"] == 1
    assert failed_step["meta"]["error.type"] == "ValueError"
    assert failed_step["meta"]["error.message"] == "three"
    assert "ValueError: three" in failed_step["meta"]["error.stack"]


def test_every_format_arrives_equal(test_agent):
    """The same program gives the same spans in every version of the trace format."""
    seen = {}
    for version in ("v0.4", "v0.5"):
        test_agent.clear()
        run_child(PROGRAM, DD_TRACE_AGENT_URL=test_agent.url, DD_TRACE_API_VERSION=version)
        paths = {request["url"].rpartition(":")[2].partition("/")[2] for request in test_agent.requests()}
        assert f"{version}/traces" in paths
        seen[version] = sorted(
            (span["name"], span["resource"], span["service"], span.get("error", 0), span["metrics"].get("number", -1))
            for trace in test_agent.wait_for_traces(5)
            for span in trace
        )
    assert seen["v0.4"] == seen["v0.5"]
    assert len(seen["v0.4"]) == 10


def test_program_without_an_agent_runs_as_if_nothing_happened():
    """With nobody at the address the program ends well; it says why in one line."""
    errors = run_child(PROGRAM, DD_TRACE_AGENT_URL="http://127.0.0.1:9", DD_INSTRUMENTATION_TELEMETRY_ENABLED="false")
    (line,) = errors.splitlines()
    assert "http://127.0.0.1:9" in line
