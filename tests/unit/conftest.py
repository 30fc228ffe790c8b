"""What unit tests of several parts need."""

import pytest
from opentelemetry.context import Context

from ddtrace_manual._context import set_current
from ddtrace_manual._runtime import RUNTIME


@pytest.fixture
def clean_runtime():
    """Undo whatever a test installs for the facade, and leave no span current."""
    saved = dict(vars(RUNTIME))
    set_current(Context())
    yield RUNTIME
    set_current(Context())
    vars(RUNTIME).clear()
    vars(RUNTIME).update(saved)
