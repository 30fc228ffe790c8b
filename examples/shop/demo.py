"""`make demo`: run the shop as separate processes, send it requests, read the traces back and check them.

An Agent that answers at the configured address is used; otherwise the receiver of `ddtrace-manual view` is started,
with its page for the browser. Exits with 0 when every request became exactly one connected trace across both
processes, with 1 otherwise. Everything that is started here is stopped here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import webbrowser
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import checks
import requests

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

import test_agent  # noqa: E402 - finding free ports and fetching live with the project's scripts

from ddtrace_manual._cli.render import render_trace  # noqa: E402
from ddtrace_manual._receiver import TraceViewer  # noqa: E402

START_TIMEOUT_S = 30.0
ARRIVAL_TIMEOUT_S = 20.0


@dataclass
class Agent:
    """Where the traces go.

    Attributes:
        url: For `DD_TRACE_AGENT_URL`.
        web_url: Page for the browser, or "".
        ours: It was started here.
        read: Returns the traces that it received; `None` for an Agent that does not give them back.
    """

    url: str
    web_url: str = ""
    ours: bool = False
    read: Callable[[], list[checks.Trace]] | None = None


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--requests", type=int, default=60, help="how many requests to send, 50 at least")
    parser.add_argument("--keep", action="store_true", help="leave the agent's page up until Ctrl-C")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without Unicode
    try:
        return run(max(args.requests, 50), keep=args.keep)
    except KeyboardInterrupt:
        print("\ninterrupted")
        return 130
    except (RuntimeError, OSError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1


def run(count: int, *, keep: bool) -> int:
    """Do one run with `count` requests."""
    with contextlib.ExitStack() as stack:
        agent = stack.enter_context(agent_to_use())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shop-")))
        print(f"agent     {agent.url}{' (started for this demo)' if agent.ours else ''}")
        sent = send_requests(folder, agent, count)
        problems = checks.wrong_answers(sent)
        if agent.read is not None:
            problems += read_back(agent, sent)
        else:
            print("          It is a real Agent: what it received cannot be read back here; look into Datadog.")
        for problem in problems[:20]:
            print(f"  ✗ {problem}")
        for log in sorted(folder.glob("*.log")) if problems else []:
            print(f"\nend of {log.name}:\n{log.read_text(errors='replace')[-2000:]}")
        if agent.web_url:
            print(f"\nbrowser   {agent.web_url}{'' if keep else '   (gone when this ends: make demo KEEP=1)'}")
        if keep:
            open_page(agent.web_url)
            print("Ctrl-C ends it.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)
    print("FAILED" if problems else "OK")
    return 1 if problems else 0


def send_requests(folder: Path, agent: Agent, count: int) -> list[checks.Sent]:
    """Start both services, send the requests through four connections and stop the services again.

    The services write their logs into `folder`.
    """
    with contextlib.ExitStack() as services:
        gateway_port, payments_port = test_agent.free_ports(2)
        payments = f"http://127.0.0.1:{payments_port}"
        gateway = f"http://127.0.0.1:{gateway_port}"
        environ = environment_for(agent)
        services.enter_context(service(folder, environ, "payments.py", payments, "--port", str(payments_port)))
        options = ["--port", str(gateway_port), "--payments", payments]
        services.enter_context(service(folder, environ, "gateway.py", gateway, *options))
        print(f"services  shop-gateway {gateway} (Flask), shop-payments {payments} (FastAPI)")
        begin = time.monotonic()
        planned = checks.plan(uuid.uuid4().hex[:8], count)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda sent: send(gateway, sent), [sent for sent in planned if sent.method == "POST"]))
            list(pool.map(lambda sent: send(gateway, sent), [sent for sent in planned if sent.method == "GET"]))
        print(f"requests  {len(planned)} answered in {time.monotonic() - begin:.1f} s", flush=True)
    return planned


def send(gateway: str, sent: checks.Sent) -> None:
    """Send one request and note the status of its answer."""
    headers = {"X-Request-Id": sent.request_id}
    answer = requests.request(sent.method, gateway + sent.path, json=sent.body, headers=headers, timeout=30)
    sent.status = answer.status_code


def read_back(agent: Agent, sent: list[checks.Sent]) -> list[str]:
    """Read the traces back until all are there, draw two, and return what is wrong."""
    assert agent.read is not None
    deadline = time.monotonic() + ARRIVAL_TIMEOUT_S
    while True:
        traces = agent.read()
        problems = checks.wrong_traces(sent, traces, alone=agent.ours)
        if not problems or time.monotonic() > deadline:
            break
        time.sleep(0.25)
    found = checks.traces_of_requests(traces)
    width = shutil.get_terminal_size((110, 24)).columns
    for title, wanted in (("A good one:", checks.ORDER), ("A failed one:", checks.DECLINED)):
        example = next((one for one in reversed(sent) if one.kind is wanted and one.request_id in found), None)
        if example is not None:
            print(f"\n{title}")
            print(render_trace(found[example.request_id][0], width=min(width, 130), color=sys.stdout.isatty()))
    if not problems:
        spans = sum(len(found[one.request_id][0]) for one in sent)
        print(f"\nchecked   {len(sent)} requests, {len(sent)} connected traces across both processes, {spans} spans")
    return problems


@contextlib.contextmanager
def agent_to_use() -> Iterator[Agent]:
    """Yield the Agent at the configured address when one answers, else a receiver of our own."""
    address = configured_address()
    if answers(f"{address}/info"):
        # `ddtrace-manual view` and Datadog's test agent give back what they received.
        paths = [path for path in ("/api/export", "/test/traces") if answers(f"{address}{path}")]
        read = (lambda: test_agent.fetch_json(f"{address}{paths[0]}")) if paths else None
        yield Agent(address, address if paths == ["/api/export"] else "", read=read)
        return
    with TraceViewer() as viewer:
        yield Agent(viewer.url, viewer.url, ours=True, read=lambda: [spans for _, spans in viewer.store.traces()])


def open_page(url: str) -> None:
    """Open the page in a browser with a window, where there is a screen."""
    if url and (sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(url)


def configured_address() -> str:
    """Return the Agent's address from the environment, as the library reads it (HTTP only)."""
    host = os.environ.get("DD_AGENT_HOST", "localhost")
    port = os.environ.get("DD_TRACE_AGENT_PORT", "8126")
    return os.environ.get("DD_TRACE_AGENT_URL", f"http://{host}:{port}").rstrip("/")


def answers(url: str) -> bool:
    """Tell whether somebody answers with JSON."""
    try:
        test_agent.fetch_json(url, timeout_s=2.0)
    except (OSError, ValueError):
        return False
    return True


def environment_for(agent: Agent) -> dict[str, str]:
    """Return the services' environment; with an agent of our own nothing of the caller's settings reaches them."""
    environ = dict(os.environ)
    if agent.ours:
        environ = {name: value for name, value in environ.items() if not name.startswith(("DD_", "OTEL_"))}
    return {**environ, "DD_TRACE_AGENT_URL": agent.url, "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def service(folder: Path, environ: dict[str, str], script: str, url: str, *options: str) -> Iterator[None]:
    """Run a service for the duration of a block; it is ready when the block begins, gone when it ends.

    Raises:
        RuntimeError: It did not start, or did not end in order; the message has the end of its log.
    """
    log = folder / f"{script}.log"
    with log.open("wb") as output:
        command = [sys.executable, str(HERE / script), *options]
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{script} did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.returncode not in (0, -signal.SIGTERM):
        text = log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{script} ended with exit code {process.returncode}:\n{text}")


def is_healthy(url: str) -> bool:
    """Tell whether a service answers."""
    try:
        test_agent.fetch(f"{url}/health", timeout_s=2.0)
    except OSError:
        return False
    return True


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
