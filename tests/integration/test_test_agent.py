"""The test agent fixture itself: what the other integration tests stand on."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgpack
import pytest

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[2] / "scripts" / "test_agent.py"


def send(url, name, headers=None, count="1"):
    """Send one trace of one span."""
    span = {"name": name, "service": "s", "resource": "r", "trace_id": 7, "span_id": 8, "start": 1, "duration": 1}
    request = urllib.request.Request(
        f"{url}/v0.4/traces",
        data=msgpack.packb([[span]]),
        headers={
            "Content-Type": "application/msgpack",
            "X-Datadog-Trace-Count": count,
            "Datadog-Meta-Tracer-Version": "0",
            **(headers or {}),
        },
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


@pytest.mark.parametrize("name", ["first", "second"])
def test_session_sees_only_its_own_traces(test_agent, name):
    """A test reads back what it sent, with or without token, and nothing of the test before it."""
    send(test_agent.url, name, test_agent.headers)
    assert [[span["name"] for span in trace] for trace in test_agent.wait_for_traces(1)] == [[name]]
    send(test_agent.url, name)
    assert [span["name"] for span in test_agent.traces()[0]] == [name, name]


def test_waiting_for_traces_gives_up(test_agent):
    """Waiting for more traces than arrive ends with an error that says how many there are."""
    with pytest.raises(TimeoutError, match="0 of 1 traces"):
        test_agent.wait_for_traces(1, timeout_s=0)


def test_agent_checks_payload_headers(test_agent):
    """A payload whose trace count header is wrong is refused, so mistakes do not pass unseen."""
    with pytest.raises(urllib.error.HTTPError, match="400"):
        send(test_agent.url, "wrong", test_agent.headers, count="2")


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("ending", ["terminate", "kill"])
def test_agent_ends_with_its_owner(agent_process, ending, tmp_path):
    """The agent leaves when its owner is asked to stop, and also when the owner is killed."""
    environ = os.environ | {"TMPDIR": str(tmp_path)}  # the killed one leaves its folder behind
    with subprocess.Popen([sys.executable, SCRIPT], env=environ, stdout=subprocess.PIPE, text=True) as owner:
        url = owner.stdout.readline().strip().partition("=")[2]
        with urllib.request.urlopen(f"{url}/info", timeout=10) as answer:
            assert answer.status == 200
        getattr(owner, ending)()
        owner.wait(20)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/info", timeout=1).close()
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the agent still answers")
