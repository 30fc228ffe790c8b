"""`ddtrace` as a child process that answers cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-bench-ddtrace"


@pytest.fixture(scope="session")
def ask_ddtrace():
    """A function from cases to the answers of `ddtrace`, in its own environment."""
    python = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        if os.environ.get("CI"):
            pytest.fail("ddtrace is not installed: run `make .venv-bench-ddtrace/.stamp`")
        pytest.skip("ddtrace is not installed: run `make .venv-bench-ddtrace/.stamp`")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_", "COVERAGE_"))}

    def ask(cases):
        done = subprocess.run(
            [str(python), str(Path(__file__).with_name("ddtrace_oracle.py"))],
            input="".join(json.dumps(case) + "\n" for case in cases),
            env=environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(cases), done.stderr[-3000:]
        return answers

    return ask
