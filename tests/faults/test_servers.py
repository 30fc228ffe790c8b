"""Real servers that are stopped right after their last answer: every answered request has its trace."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time

import environment
import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

ENVIRONMENT = environment.ROOT / ".venv-servers"
REQUESTS = 200
APP = """
import ddtrace_manual as dd
from ddtrace_manual.integrations import AsgiMiddleware

dd.configure(service="web", agent_url={url!r}, instrumentation_telemetry_enabled=False,
             remote_configuration_enabled=False, trace_startup_logs=False)


async def traced_app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({{"type": kind + ".complete"}})
            if kind == "lifespan.shutdown":
                return
    dd.set_tag("seq", scope["path"])
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}})
    await send({{"type": "http.response.body", "body": b""}})  # a second packet would wait 40 ms for the first


app = AsgiMiddleware(traced_app)


def wsgi(environ, start_response):
    with dd.span("request", tags={{"seq": environ["PATH_INFO"]}}):
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
"""
SERVERS = {
    "uvicorn": "uvicorn --port {port} --log-level warning app:app",
    "uvicorn-workers": "uvicorn --port {port} --log-level warning --workers 2 app:app",
    "uvicorn-reload": "uvicorn --port {port} --log-level warning --reload app:app",
    "uvicorn-limit": "uvicorn --port {port} --log-level warning --limit-max-requests 200 app:app",
    "uvicorn-limit-workers": "uvicorn --port {port} --log-level warning --workers 1 --limit-max-requests 200 app:app",
    "gunicorn-sync": "gunicorn -b 127.0.0.1:{port} --log-level error -w 2 app:wsgi",
    "gunicorn-uvicorn": "gunicorn -b 127.0.0.1:{port} --log-level error -w 2 -k uvicorn_worker.UvicornWorker app:app",
    "gunicorn-uvicorn-preload": "gunicorn -b 127.0.0.1:{port} --log-level error -w 2 --preload"
    " -k uvicorn_worker.UvicornWorker app:app",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} --log-level error -w 2 app:app",
}


@pytest.fixture(params=list(SERVERS))
def server(request, agent, tmp_path):
    """A server in a process group of its own, and its port."""
    if not (ENVIRONMENT / environment.STAMP).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run `make .venv-servers/.stamp`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "app.py").write_text(APP.format(url=agent.url))
    python = str(environment.python_of(ENVIRONMENT))
    command = SERVERS[request.param].format(port=port).split()
    process = subprocess.Popen(
        [python, "-m", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process, port
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def request_all(process, port):
    """Send all requests; return the paths that were answered."""
    answered = []
    deadline = time.monotonic() + 30
    while len(answered) < REQUESTS:
        # One connection for ten requests, so that several workers get some.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            for number in range(len(answered), min(len(answered) + 10, REQUESTS)):
                connection.request("GET", f"/{number}")
                connection.getresponse().read()
                answered.append(f"/{number}")
        except (OSError, http.client.HTTPException):  # it starts
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        finally:
            connection.close()
    return answered


def test_server_loses_no_trace_of_an_answered_request(server, agent):
    process, port = server
    answered = request_all(process, port)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    lost = sorted(set(answered) - set(agent.accepted))
    assert not lost, (len(lost), output)
    assert set(agent.accepted.values()) == {1}
