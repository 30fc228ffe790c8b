"""What unit tests of several parts need."""

import pytest
from opentelemetry.context import Context

from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.context import set_current
from ddtrace_manual.propagation import _otel


@pytest.fixture
def clean_runtime():
    """Undo whatever a test installs for the facade, and leave no span current."""
    saved, propagator = dict(vars(RUNTIME)), _otel._installed
    set_current(Context())
    yield RUNTIME
    set_current(Context())
    _otel.install_propagator(propagator)
    vars(RUNTIME).clear()
    vars(RUNTIME).update(saved)
