"""What `configure()` changes in a process, remembered and put back.

A recording borrows the provider of the application (or keeps one for the whole process): tracers
that modules of the application made at import time hold on to their provider, so another provider
in each test would leave them behind.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor
from opentelemetry.util._once import Once

from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.context import Context, get_current, set_current
from ddtrace_manual._base.log import LOGGER_NAME
from ddtrace_manual._export import Counters
from ddtrace_manual._setup import lifecycle as _setup
from ddtrace_manual._setup.log_handlers import apply_log_settings, undo_log_settings
from ddtrace_manual._tracing import OpenSegments, TracerProvider
from ddtrace_manual.propagation import _otel as _propagation

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddtrace_manual.config import Config

__all__ = ["ProcessState"]

_own_provider: TracerProvider | None = None  # lends itself to recordings where configure() was never called


class ProcessState:
    """The state of the process before a recording; `restore` puts it back.

    Args:
        recording: Installed for the time in between.
    """

    def __init__(self, recording: _setup.Recording) -> None:
        former = _setup._setup
        self._setup = former
        self._runtime = dict(vars(RUNTIME))
        self._otel = (trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE)
        self._put_textmap_back = _remember_textmap()
        self._propagator = _propagation._installed
        self._log_level = logging.getLogger(LOGGER_NAME).level
        self._context = get_current()
        self.config: Config | None = former.parts.config if former.parts is not None else None
        self.provider = provider = former.provider or _lend_provider()
        self._provider_fields = dict(vars(provider))
        _empty(provider)
        _setup._setup = fresh = _setup._Setup()
        fresh.provider = provider
        fresh.counters = Counters()
        fresh.recording = recording
        fresh.is_exit_hooked = True  # a recording needs no farewell
        vars(RUNTIME).clear()
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = provider, _done_once()
        set_current(Context())

    def restore(self) -> None:
        """Make the process what it was."""
        set_current(self._context)
        _setup._setup = self._setup
        provider = self.provider
        vars(provider).clear()
        vars(provider).update(self._provider_fields)
        for tracer in provider._tracers.values():
            tracer.resource, tracer.sampler = provider.resource, provider.sampler
            tracer.id_generator = provider.id_generator
        vars(RUNTIME).clear()
        vars(RUNTIME).update(self._runtime)
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = self._otel
        self._put_textmap_back()
        _propagation.install_propagator(self._propagator)
        undo_log_settings()
        if self.config is not None:
            apply_log_settings(self.config)
        logging.getLogger(LOGGER_NAME).setLevel(self._log_level)


def _lend_provider() -> TracerProvider:
    """Return the provider of recordings in a process without one."""
    global _own_provider  # noqa: PLW0603 - see the module docstring
    if _own_provider is None:
        _own_provider = TracerProvider(shutdown_on_exit=False, enabled=False)
    return _own_provider


def _empty(provider: TracerProvider) -> None:
    """Take engine, processors and pipeline off a provider; `restore` brings them back."""
    fields = vars(provider)
    fields.update(
        engine=None,
        _segments=OpenSegments(),
        _active_span_processor=SynchronousMultiSpanProcessor(),  # type: ignore[no-untyped-call] # untyped in the SDK
        _configured_processors=(),
        _on_engine=None,
        _disabled=False,  # OTEL_SDK_DISABLED is common where tests run; recording was asked for
    )


def _done_once() -> Once:
    """Return a latch that keeps code under test from installing another provider."""
    once = Once()
    once._done = True
    return once


def _remember_textmap() -> Callable[[], object]:
    """Return what puts back OpenTelemetry's global propagator; importing it can fail (spec/configuration.md §5.1)."""
    try:
        from opentelemetry import propagate  # see the docstring
    except Exception:  # entry points of other packages may raise anything
        return lambda: None
    textmap: Any = propagate.get_global_textmap()
    return lambda: propagate.set_global_textmap(textmap)
