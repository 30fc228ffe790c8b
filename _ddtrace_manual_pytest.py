"""The pytest plugin: fixtures `spans` and `fake_agent`.

A module of its own beside the package, because pytest imports plugins of installed packages in every
session, before coverage is measured: nothing of `ddtrace_manual` is imported until a fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ddtrace_manual.testing import FakeAgent, SpanRecorder

__all__ = ["fake_agent", "spans"]


@pytest.fixture
def spans() -> Iterator[SpanRecorder]:
    """Record the spans of this test in the process, without threads or network (`SpanRecorder`)."""
    from ddtrace_manual.testing import SpanRecorder

    with SpanRecorder() as recorder:
        yield recorder


@pytest.fixture
def fake_agent() -> Iterator[FakeAgent]:
    """Run a Datadog Agent double on loopback for this test (`FakeAgent`)."""
    from ddtrace_manual.testing import FakeAgent

    with FakeAgent() as agent:
        yield agent
