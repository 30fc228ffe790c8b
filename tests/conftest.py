"""What every test may rely on: a clean environment, and the real test agent on request."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from test_agent import AgentProcess, Session

# The machine may be busy: slowness of a property test says nothing about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse test names that differ from process to process: parallel workers must collect the same tests."""
    if " at 0x" in item.nodeid or "current-span-" in item.nodeid:
        raise pytest.UsageError(f"the name of this test is not stable, give its parameters ids: {item.nodeid}")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the caller's DD_* and OTEL_* variables: tests see only the ones they set."""
    for name in list(os.environ):
        if name.startswith(("DD_", "_DD_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def agent_process() -> Iterator[AgentProcess]:
    """Datadog's test agent as a process of its own: one for each test worker, started when first needed."""
    import test_agent as owner

    if not owner.environment.python_of(owner.ENVIRONMENT).exists():
        if os.environ.get("CI"):
            pytest.fail("the test agent is not installed: run `make .venv-agent/.stamp`")
        pytest.skip("the test agent is not installed: run `make .venv-agent/.stamp`")
    with owner.running(unix_socket=os.name != "nt") as agent:
        yield agent


@pytest.fixture
def test_agent(agent_process: AgentProcess) -> Iterator[Session]:
    """A session of the test agent that sees only what this test sends."""
    session = agent_process.session(uuid.uuid4().hex)
    yield session
    session.clear()
