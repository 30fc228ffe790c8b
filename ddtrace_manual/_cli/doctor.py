"""The order in which the doctor looks at things: settings, libraries, this process, then the Agent."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ddtrace_manual._base.clock import SYSTEM_CLOCK
from ddtrace_manual.config import process_environ

from .agent_checks import check_agent
from .findings import Finding, note, ok, warning
from .process_checks import check_application, check_libraries, check_proxies, check_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ddtrace_manual._base.clock import Clock
    from ddtrace_manual.config import Config

__all__ = ["examine", "import_application"]


def examine(
    config: Config,
    *,
    send_trace: bool = True,
    is_imported: bool = False,
    environ: Mapping[str, str] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[Finding]:
    """Yield everything that was found, the most basic first.

    Args:
        config: The configuration to examine; with an application that configured tracing, its own counts.
        send_trace: Send a test trace.
        is_imported: The application was imported into this process.
        environ: Instead of the environment of the process.
        clock: Says what time it is.
    """
    variables = process_environ() if environ is None else environ
    if is_imported:
        findings, configured = check_application()
        yield from findings
        config = configured or config
    yield from check_settings(config, variables)
    yield from check_libraries(variables)
    yield from check_proxies(variables)
    if config.otel_traces_exporter == "console":
        yield note("Traces are drawn on standard output, not sent", "Unset OTEL_TRACES_EXPORTER to send them.")
        return
    yield from check_agent(config, clock, send_trace=send_trace)


def import_application(module: str) -> list[Finding]:
    """Import the application, from the current directory too, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        importlib.import_module(module)
    except Exception as exc:  # whatever the application raises
        return [
            warning(
                f"The application {module} cannot be imported here: {type(exc).__name__}: {exc}",
                "Run the doctor in the application's environment and directory. The checks below are about this"
                " process without it.",
            )
        ]
    except SystemExit:
        return [warning(f"Importing {module} ended the program", "Name a module that can be imported without running.")]
    return [ok(f"Imported {module}")]
