"""`ddtrace-manual run` and `ddtrace-manual view` as processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from ddtrace_manual.testing import FakeAgent

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "ddtrace_manual"]
TRACED = "import ddtrace_manual as dd\ndd.configure(service='shop')\n"


def run(*arguments, **options):
    """Run `ddtrace-manual run` to its end."""
    return subprocess.run(
        [*COMMAND, "run", *arguments], capture_output=True, text=True, timeout=100, check=False, cwd=ROOT, **options
    )


def wait_for_line(stream, pattern):
    """Read until a line matches; return the match."""
    for line in stream:
        if match := re.search(pattern, line):
            return match
    pytest.fail(f"no line matches {pattern}")


def stop(process, number=signal.SIGINT):
    """Send a signal and return the exit status."""
    process.send_signal(number)
    return process.wait(60)


@pytest.fixture
def start():
    """Start a process in a session of its own; everything of it is gone afterwards."""
    started = []

    def begin(*arguments):
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_the_first_example_is_drawn():
    """Its own output stays its own: traces go to standard error."""
    result = run("examples/first_trace.py")
    assert (result.returncode, result.stdout) == (0, "no bread: the bowl is too small\n")
    lines = result.stderr.splitlines()
    assert any(line.startswith("├─ dough.knead  by hand") for line in lines), result.stderr
    assert "✗ ValueError: the bowl is too small" in result.stderr
    assert "2 traces · 5 spans · 1 with errors" in lines
    assert any(re.match(r"oven\.heat +1 +0 ", line) for line in lines)


def test_modules_commands_and_arguments(tmp_path):
    """`-m`, `--`, and arguments that look like our own options."""
    (tmp_path / "shop.py").write_text(f"import sys\n{TRACED}with dd.span('work'): print(sys.argv[1:])\n")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for program in (["-m", "shop"], [str(tmp_path / "shop.py")], ["--", sys.executable, str(tmp_path / "shop.py")]):
        result = run("--trees", "0", *program, "--web", "-m", "--", "x", env=environ)
        assert (result.returncode, result.stdout) == (0, "['--web', '-m', '--', 'x']\n"), result.stderr
        assert "1 trace · 1 span · no errors" in result.stderr
        assert "trace 00" not in result.stderr.split("slowest")[0]


def test_parts_of_several_processes_are_one_trace(tmp_path):
    program = tmp_path / "parent.py"
    child = TRACED.replace("shop", "child") + "with dd.span('inner', parent=dd.extract_environ()): pass\n"
    program.write_text(
        f"import subprocess, sys, os\n{TRACED}"
        "with dd.span('outer'):\n"
        "    env = dd.inject_environ(dict(os.environ))\n"
        f"    subprocess.run([sys.executable, '-c', {child!r}], env=env, check=True)\n"
    )
    result = run(str(program))
    assert result.returncode == 0, result.stderr
    assert "2 spans · 2 services" in result.stderr
    assert "└─ inner" in result.stderr


def test_exit_statuses(tmp_path):
    program = tmp_path / "program.py"
    for text, expected in (
        ("raise SystemExit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
    ):
        program.write_text(text)
        result = run(str(program))
        assert result.returncode == expected
        assert "No traces arrived." in result.stderr
        assert "Does it call configure()" in result.stderr
    program.chmod(0o600)
    for arguments, expected, message in [
        ([], 2, "name a program"),
        (["-m"], 2, "name a program"),
        (["--"], 2, "name a program"),
        (["absent.py"], 2, "there is no file absent.py"),
        (["--", "no-such-command"], 127, "not found"),
        (["--", str(program)], 126, "ermission"),
        (["--forward", "ftp://x", str(program)], 2, "ftp"),
        (["--port", "99999", str(program)], 2, "--port"),
        (["--trees", "-1", str(program)], 2, "--trees"),
    ]:
        result = run(*arguments)
        assert (result.returncode, message in result.stderr) == (expected, True), (arguments, result.stderr)
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
def test_signals_reach_the_program(start, tmp_path, number):
    """Its handler runs and delivers; its exit status is ours."""
    program = tmp_path / "server.py"
    program.write_text(
        f"import signal, sys, time\n{TRACED}"
        "def end(number, frame):\n"
        "    with dd.span('ending', tags={'signal': number}): pass\n"
        "    dd.shutdown()\n"
        "    sys.exit(5)\n"
        f"signal.signal({int(number)}, end)\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )
    process = start("run", str(program))
    wait_for_line(process.stdout, "ready")
    assert stop(process, number) == 5
    assert "1 trace · 1 span" in process.stderr.read()


def test_the_page_stays_until_it_is_stopped(start, monkeypatch):
    """With `--web` the traces can be looked at after the program has ended; then its exit status counts."""
    rules = [{"service": "none", "sample_rate": 0}, {"name": "wo*", "sample_rate": 1}]
    monkeypatch.setenv("DD_TRACE_SAMPLING_RULES", json.dumps(rules))
    program = f"{TRACED}with dd.span('work'): pass\nraise SystemExit(3)"
    process = start("run", "--web", "--", sys.executable, "-c", program)
    url = wait_for_line(process.stderr, r"The page stays at (http\S+) until")[1]
    assert [trace["name"] for trace in requests.get(f"{url}/api/traces", timeout=10).json()["traces"]] == ["work"]
    decision = requests.get(f"{url}/api/trace?id=%231", timeout=10).json()["decision"]
    assert 'Of the settings here, rule 2 matches: {"sample_rate": 1.0, "name": "wo*"}.' in decision["lines"]
    assert "<title>Traces</title>" in requests.get(url, timeout=10).text
    assert stop(process) == 3


def test_run_passes_traces_on():
    with FakeAgent() as agent:
        result = run("--forward", agent.url, "examples/first_trace.py")
        assert result.returncode == 0
        assert len(agent.spans()) == 5
        assert "2 traces · 5 spans" in result.stderr


def test_view_receives_draws_and_serves(start):
    """A program that knows nothing of it but the address; ends with the summary."""
    with FakeAgent() as agent:
        process = start("view", "--port", "0", "--forward", agent.url)
        url = wait_for_line(process.stdout, r"page:\s+(http\S+)")[1]
        wait_for_line(process.stdout, f"forward: {agent.url}")
        environ = {**os.environ, "DD_TRACE_AGENT_URL": url}
        subprocess.run([sys.executable, "examples/first_trace.py"], env=environ, cwd=ROOT, timeout=60, check=True)
        wait_for_line(process.stdout, "├─ dough.knead  by hand")
        assert requests.get(f"{url}/api/traces", timeout=10).json()["total"] == 2
        assert len(agent.spans()) == 5
        assert stop(process, signal.SIGTERM) == 0
        assert "2 traces · 5 spans · 1 with errors" in process.stdout.read()
        assert process.stderr.read() == ""


@pytest.mark.parametrize("version", ["v0.4", "v0.5"])
def test_traces_of_another_tracer(version):
    """Datadog's own tracer for Python."""
    python = ROOT / ".venv-bench-ddtrace" / "bin" / "python"
    if not python.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run `make .venv-bench-ddtrace/.stamp`")
    program = (
        "from ddtrace.trace import tracer\n"
        "with tracer.trace('web.request', service='peer', resource='GET /'):\n"
        "    with tracer.trace('db'): pass\n"
    )
    environ = {**os.environ, "DD_TRACE_API_VERSION": version}
    result = run("--", str(python), "-c", program, env=environ)
    assert result.returncode == 0, result.stderr
    assert "2 spans · 1 service" in result.stderr
    assert "└─ db" in result.stderr


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [*COMMAND, "view", "--port", port], capture_output=True, text=True, timeout=60, check=False
        )
    assert result.returncode == 1
    assert f"Port {port} cannot be used" in result.stderr
    assert f"--forward http://127.0.0.1:{port}" in result.stderr


def test_ctrl_c_in_a_terminal_reaches_the_program_once(tmp_path):
    """The terminal signals the whole group; passing it on as well would interrupt the program's clean-up."""
    import pty

    program = tmp_path / "server.py"
    program.write_text(
        "import signal, sys, time\n"
        "count = []\n"
        "signal.signal(signal.SIGINT, lambda *_: count.append(1))\n"
        "print('ready', flush=True)\n"
        "while not count: time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "print('interrupts', len(count), flush=True)\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*COMMAND, "run", str(program)])
    output = b""
    sent = False
    deadline = time.monotonic() + 60
    while b"No traces" not in output and time.monotonic() < deadline:
        try:
            output += os.read(terminal, 65536)
        except OSError:
            break
        if b"ready" in output and not sent:
            os.write(terminal, b"\x03")
            sent = True
    os.waitpid(pid, 0)
    os.close(terminal)
    assert b"interrupts 1" in output
