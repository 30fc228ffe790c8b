"""The one mutable slot that the facade reads. Only `_setup/lifecycle.py` writes it.

The facade lies below the set-up in the import order, and a function decorated before `configure()`
must be traced after it: so each call looks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ddtrace_manual._base.errors import IgnoredExceptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from opentelemetry.context import Context

    from ddtrace_manual._tracing.engine import Engine
    from ddtrace_manual.config import Config

__all__ = ["RUNTIME", "Runtime"]


class Runtime:
    """What `configure()` installed; class-level defaults are the state before it."""

    engine: Engine | None = None
    """The engine spans are made with; `None` before `configure()`, when tracing is disabled, or when
    another OpenTelemetry provider is in charge."""

    source: Any = object()  # Any: compared only, by those who then hold the same object as a `SpanSource`
    """The source of `engine`, see `_tracing/span_factory.py`; without an engine an object that is no span's."""

    use_otel: bool = False
    """Make facade spans with the global OpenTelemetry provider, which is not ours."""

    inject: Callable[[Any, Context | None, Any], None] | None = None  # Any: carriers of every form
    """(carrier, context, setter) → writes headers; `None` before `configure()`."""

    extract: Callable[[Any, Context | None, Any], Context] | None = None  # Any: carriers of every form
    """(carrier, base context, getter) → context; `None` before `configure()`."""

    inject_environ: Callable[[MutableMapping[str, str], Context], None] | None = None
    """(environment of a child process, context) → writes variables; `None` before `configure()`."""

    extract_environ: Callable[[Mapping[str, str], Context], Context] | None = None
    """(environment, base context) → context; `None` before `configure()`."""

    config: Config | None = None
    """The effective configuration, for integrations: they derive what they need once for each configuration."""

    redact: Callable[[str, object], object] | None = None
    """(name, value) → value to record, for captured arguments and return values."""

    ignored: IgnoredExceptions = IgnoredExceptions()
    """Exceptions that leave every span unmarked."""

    count: Callable[[str], None] | None = None
    """Counts one event of the facade by name, for example `capture_failed`."""

    environ: Callable[[], Mapping[str, str]] | None = None
    """Returns the process environment; handed in because only `config` may read it."""

    log_identity: tuple[str, str, str] = ("", "", "")
    """Configured service, environment and version, for log records."""

    logs_injection: bool = True
    """Whether the hooks for log records, where installed, write ids."""

    def __reduce__(self) -> str:
        return "RUNTIME"  # functions sent to other processes by value find the one that is there

    def use_engine(self, engine: Engine | None) -> None:
        """Make spans with `engine` and its present source from now on, or with none."""
        self.engine = engine
        self.source = Runtime.source if engine is None else engine.source
        while engine is not None and self.source is not engine.source:  # another thread reconfigured it meanwhile
            self.source = engine.source


RUNTIME = Runtime()
