"""Runs with real sockets and child processes."""

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fault_agent import FaultAgent

ROOT = Path(__file__).parent.parent.parent
PRELUDE = """
import os, signal, sys, threading, time
import ddtrace_manual as dd

def configure(**settings):
    dd.configure(service="x", agent_url={url!r}, instrumentation_telemetry_enabled=False,
                 remote_configuration_enabled=False, trace_startup_logs=False, **settings)

def trace(seq):
    with dd.span("s") as span:
        span.set_tag("seq", seq)
    return span
"""


@dataclass
class Ended:
    """A program that has ended."""

    returncode: int
    out: str
    err: str
    took_s: float


@pytest.fixture
def agent():
    """An Agent that misbehaves on command."""
    agent = FaultAgent()
    yield agent
    agent.close()


@pytest.fixture
def program(agent, tmp_path):
    """Return what runs a program against the Agent, with a hard timeout; it is not left running."""
    started = []

    def start(code, *, python=sys.executable, args=(), prelude=True, stdin=False):
        path = tmp_path / f"program_{len(started)}.py"
        path.write_text((PRELUDE.format(url=agent.url) if prelude else "") + code)
        process = subprocess.Popen(
            [python, *args, str(path)],
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            start_new_session=True,
        )
        started.append(process)
        return process

    def run(code, *, timeout_s=30, **options):
        begin = time.monotonic()
        process = start(code, **options)
        out, err = process.communicate(timeout=timeout_s)
        return Ended(process.returncode, out, err, time.monotonic() - begin)

    run.start = start
    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)  # children too
        process.communicate()
