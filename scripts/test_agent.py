"""Run Datadog's test agent: the one owner of that process, for the demo, the tests and by hand.

    python scripts/test_agent.py --web            # until Ctrl-C; prints the addresses

The agent runs in the environment .venv-agent (`make .venv-agent/.stamp`) on free loopback ports. It ends
with `AgentProcess.stop()`, and also when the process that started it dies in any other way: it holds the
reading end of a pipe and leaves when that pipe closes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = environment.ROOT / ".venv-agent"

CHECKS = ("trace_count_header", "meta_tracer_version_header", "trace_content_length", "meta_events_is_valid_json")
"""What the agent verifies on every trace payload; it answers 400 when one fails."""

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0

# Runs in the agent's environment. The thread turns the end of our process into the end of the agent.
_CHILD = """
import os, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits "ignore"
def watch():
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(5)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
from ddapm_test_agent.agent import main
try:
    main()
except KeyboardInterrupt:
    pass
"""


class AgentProcess:
    """A running test agent.

    Attributes:
        url: Address of the Agent endpoints.
        web_url: Address of the page for people; "" when it was not asked for.
        socket_path: Unix socket of the Agent endpoints, or `None`.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, web_url: str, socket_path: str | None) -> None:
        self._process = process
        self.url = url
        self.web_url = web_url
        self.socket_path = socket_path

    def get(self, path: str, timeout_s: float = 10.0) -> Any:  # Any: JSON
        """Return the decoded answer of one of the agent's own endpoints, for example `/test/traces`."""
        return fetch_json(self.url + path, timeout_s)

    def session(self, token: str) -> Session:
        """Begin a session: what arrives from now on, with this token or without any, belongs to it."""
        return Session(self, token)

    def stop(self) -> None:
        """End the process; returns when it is gone."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()  # the agent's own watcher ends it
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Session:
    """What one test sent to the agent.

    Attributes:
        url: Address of the agent, for `DD_TRACE_AGENT_URL`.
        token: Sent in `headers`, it keeps sessions apart that run at the same time.
        headers: For a tracer or client that can add headers to its requests.
    """

    def __init__(self, agent: AgentProcess, token: str) -> None:
        self._agent = agent
        self.url = agent.url
        self.socket_path = agent.socket_path
        self.token = token
        self.headers = {"X-Datadog-Test-Session-Token": token}
        self._request("/test/session/start")

    def traces(self) -> list[list[dict[str, Any]]]:  # Any: JSON
        """Return the spans received so far, grouped by the low 64 bits of the trace id."""
        traces: list[list[dict[str, Any]]] = self._json("/test/session/traces")
        return traces

    def wait_for_traces(self, count: int, timeout_s: float = 10.0) -> list[list[dict[str, Any]]]:  # Any: JSON
        """Return the traces as soon as there are at least `count`.

        Raises:
            TimeoutError: They did not arrive in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            traces = self.traces()
            if len(traces) >= count:
                return traces
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(traces)} of {count} traces arrived within {timeout_s} s")
            time.sleep(0.05)

    def stats(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return the statistics payloads received so far."""
        stats: list[dict[str, Any]] = self._json("/test/session/stats")
        return stats

    def telemetry(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return the telemetry events received so far."""
        apmtelemetry: list[dict[str, Any]] = self._json("/test/session/apmtelemetry")
        return apmtelemetry

    def requests(self) -> list[dict[str, Any]]:  # Any: JSON
        """Return every request received so far: method, url, headers, body (base64)."""
        requests: list[dict[str, Any]] = self._json("/test/session/requests")
        return requests

    def clear(self) -> None:
        """Forget what this session received."""
        self._request("/test/session/clear")

    def _json(self, path: str) -> Any:  # Any: JSON
        return json.loads(self._request(path))

    def _request(self, path: str) -> bytes:
        separator = "&" if "?" in path else "?"
        return fetch(f"{self.url}{path}{separator}test_session_token={self.token}")


@contextlib.contextmanager
def running(*, web: bool = False, unix_socket: bool = False, version: str | None = None) -> Iterator[AgentProcess]:
    """Run a test agent for the duration of a block; arguments as for `start`."""
    with tempfile.TemporaryDirectory(prefix="test-agent-") as folder:
        agent = start(Path(folder), web=web, unix_socket=unix_socket, version=version)
        try:
            yield agent
        finally:
            agent.stop()


def start(
    folder: Path, *, web: bool = False, unix_socket: bool = False, version: str | None = None, attempts: int = 3
) -> AgentProcess:
    """Start a test agent on free loopback ports and wait until it answers.

    Args:
        folder: For its log and socket.
        web: Serve the page for people too.
        unix_socket: Listen on a Unix socket as well.
        version: What it says its version is; by default `test`, with which tracers compute no statistics.
        attempts: How often to try with other ports when another program took one in between.

    Raises:
        RuntimeError: It is not installed or did not start; the message says why.
    """
    python = environment.python_of(ENVIRONMENT)
    if not python.exists():
        raise RuntimeError("the test agent is not installed: run `make .venv-agent/.stamp`")
    for attempt in range(1, attempts + 1):
        try:
            return _start_once(folder, python, web=web, unix_socket=unix_socket, version=version)
        except RuntimeError:  # noqa: PERF203 - once per start
            if attempt == attempts:
                raise
    raise ValueError("attempts must be at least 1")


def _start_once(folder: Path, python: Path, *, web: bool, unix_socket: bool, version: str | None) -> AgentProcess:
    port, otlp_http, otlp_grpc, page = free_ports(4)
    socket_path = str(folder / "agent.socket") if unix_socket else None
    command = [str(python), "-c", _CHILD, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--otlp-http-port", str(otlp_http), "--otlp-grpc-port", str(otlp_grpc)]
    command += ["--snapshot-dir", str(folder), "--vcr-cassettes-directory", str(folder / "cassettes")]
    command += ["--max-requests", "2000", "--disable-llmobs-data-forwarding"]
    command += ["--web-ui-port", str(page)] if web else []
    command += ["--trace-uds-socket", socket_path] if socket_path else []
    # The agent reads settings of its own from the environment; none of the caller's may reach it.
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    if version is not None:
        variables["TEST_AGENT_VERSION"] = version
    variables["ENABLED_CHECKS"] = ",".join(CHECKS)  # its option of that name is broken
    log = folder / "agent.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us first; we stop it in order
        )
    agent = AgentProcess(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{page}" if web else "", socket_path)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            agent.get("/info", timeout_s=1.0)
            return agent
        time.sleep(0.05)
    agent.stop()
    raise RuntimeError(f"the test agent did not start:\n{log.read_text(errors='replace')[-2000:]}")


def free_ports(count: int) -> list[int]:
    """Return distinct loopback ports that nobody uses at this moment."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def fetch(url: str, timeout_s: float = 10.0) -> bytes:
    """Return the body of a GET request, past any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout_s) as answer:
        body: bytes = answer.read()
    return body


def fetch_json(url: str, timeout_s: float = 10.0) -> Any:  # Any: JSON
    """Return the decoded JSON body of a GET request."""
    return json.loads(fetch(url, timeout_s))


def main() -> int:
    """Run until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Run Datadog's test agent on free loopback ports until Ctrl-C.")
    parser.add_argument("--web", action="store_true", help="serve the page for people too")
    parser.add_argument("--socket", action="store_true", help="listen on a Unix socket as well")
    args = parser.parse_args()
    # No threading.Event: its lock may be held by the very `wait` that the handler interrupts.
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: asked.append(received))
    with running(web=args.web, unix_socket=args.socket) as agent:
        print(f"DD_TRACE_AGENT_URL={agent.url}")
        if agent.socket_path:
            print(f"DD_TRACE_AGENT_URL=unix://{agent.socket_path}")
        if agent.web_url:
            print(f"page: {agent.web_url}")
        print("Ctrl-C ends it.", flush=True)
        while not asked:
            time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
