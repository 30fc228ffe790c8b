"""Remote configuration and a flare with Datadog's test agent: a child process from `configure()` to its traces."""

import base64
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
import zipfile

import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import json, sys, time
import ddtrace_manual as dd
from ddtrace_manual.testing import poll_remote_config

dd.configure(service="child", env="test", instrumentation_telemetry_enabled=False)
for line in sys.stdin:  # the parent has changed what is offered
    state = poll_remote_config()
    with dd.span(line.strip()):
        pass
    assert dd.flush()
    print(json.dumps([[file.state for file in state.files], state.error, sorted(state.settings)]), flush=True)
"""


@pytest.fixture
def child(test_agent):
    """A traced process: `run(name)` has it poll and make a trace, and returns what is in effect there."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=inherited
        | {
            "DD_TRACE_AGENT_URL": test_agent.url,
            "_DD_TRACE_WRITER_ADDITIONAL_HEADERS": f"X-Datadog-Test-Session-Token:{test_agent.token}",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:

        def run(name):
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, process.stderr.read()
            return json.loads(line)

        yield run
        process.stdin.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def offer(session, path, message):
    """Have the test agent offer one file to this session."""
    request = urllib.request.Request(
        f"{session.url}/test/session/responses/config/path?test_session_token={session.token}",
        data=json.dumps({"path": path, "msg": message}).encode(),
        headers=session.headers,
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


def test_sampling_follows_the_agent_and_a_flare_arrives(test_agent, child):
    """A rate is in effect for the next trace, its removal brings the local one back, and a flare is taken."""
    assert child("before") == [[], "", []]
    path = "datadog/2/APM_TRACING/1/config"
    offer(test_agent, path, {"id": "1", "lib_config": {"tracing_sampling_rate": 0.0, "tracing_tags": ["team:apm"]}})
    states, error, settings = child("during")
    assert (states, error) == (["acknowledged"], "")
    assert settings == ["tags", "trace_sample_rate", "trace_sampling_rules"]
    args = {"case_id": "12345", "hostname": "h", "user_handle": "me@example.com"}
    offer(
        test_agent,
        "datadog/2/AGENT_TASK/t/config",
        {"task_type": "tracer_flare", "uuid": "u", "args": args},
    )
    assert child("after") == [["acknowledged"], "", []]
    spans = {span["name"]: span for trace in test_agent.traces() for span in trace}
    # Statistics may spare the Agent the dropped trace.
    assert [spans[name]["metrics"]["_sampling_priority_v1"] for name in ("before", "after")] == [1, 1]
    assert "team" not in spans["after"]["meta"]
    assert spans.get("during", {"metrics": {"_sampling_priority_v1": -1}})["metrics"]["_sampling_priority_v1"] == -1
    flares = wait_for(test_agent, "/tracer_flare/v1")
    body = base64.b64decode(flares[0]["body"])
    names = zipfile.ZipFile(io.BytesIO(body[body.index(b"PK\x03\x04") :])).namelist()
    assert "tracer_flare/startup.json" in names


def wait_for(session, path):
    """Return the requests to a path, as soon as there is one."""
    for _ in range(200):
        found = [each for each in session.requests() if each["url"].endswith(path)]
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(path)
