"""`@traced` below the decorators of FastAPI and pydantic, and on FastAPI's `yield` dependencies."""

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("web_order.py")


@pytest.fixture(scope="module")
def shown(interpreter):
    """What the program printed; its own assertions hold."""
    done = subprocess.run(
        [str(interpreter), "-W", "ignore", str(PROGRAM)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_a_dependency_does_after_its_yield_is_under_its_span(shown):
    """FastAPI runs both parts of a synchronous dependency in a thread pool, each in a context of its own."""
    parents = shown["parents"]
    assert parents["sync_before"] == parents["sync_after"] == "sync_dependency"
    assert parents["async_after"] == "async_dependency"


def test_routes_and_validators_are_traced(shown):
    assert {"endpoint", "validated", "validator"} <= shown["parents"].keys()


def test_above_a_validator_the_message_says_what_to_write(shown):
    assert "write @traced nearest to the function" in shown["message"]
