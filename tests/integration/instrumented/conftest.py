"""Programs in the environment of the instrumentation packages, which is apart from that of the tests."""

import os
import subprocess
from pathlib import Path

import environment
import pytest

ENVIRONMENT = environment.ROOT / ".venv-instrumented"


@pytest.fixture(scope="session")
def interpreter() -> Path:
    """The Python that has the instrumentation packages."""
    python = environment.python_of(ENVIRONMENT)
    if not (ENVIRONMENT / environment.STAMP).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run `make .venv-instrumented/.stamp`")
    return python


@pytest.fixture
def run(interpreter):
    """Run `python <arguments>` there, under `opentelemetry-instrument` or not; return its output."""

    def run(*arguments, auto=False, **environ):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
        # opentelemetry-instrument looks for the program it starts on the path.
        inherited["PATH"] = f"{interpreter.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        command = [str(interpreter.parent / "opentelemetry-instrument"), "python"] if auto else [str(interpreter)]
        done = subprocess.run(
            [*command, *arguments],
            env=inherited | environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run
