"""Looks at settings, installed libraries, proxies and, where it was imported, the application.

Source: spec/configuration.md §2, §5, §8.11.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
import threading
from importlib import metadata
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from ddtrace_manual._setup import lifecycle as _setup
from ddtrace_manual._setup.startup import missing_parts, unused_settings
from ddtrace_manual._version import __version__

from .findings import Finding, note, ok, warning
from .findings import problem as trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ddtrace_manual.config import Config

__all__ = ["check_application", "check_libraries", "check_proxies", "check_settings"]

_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")
_OWN_PROVIDER: Final = "ddtrace_manual"


def check_settings(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with the settings, and which of them do nothing."""
    if not config.trace_enabled:
        origin = "OTEL_TRACES_EXPORTER=none" if config.origin("trace_enabled") == "otel_env_var" else "DD_TRACE_ENABLED"
        yield trouble(f"Tracing is switched off ({origin})", "Unset that, or set DD_TRACE_ENABLED=true.")
    for text in config.warnings:
        yield warning(text, "Correct or unset that variable or setting.")
    for what, advice in missing_parts(config):
        yield warning(what, advice)
    yield from _check_sampling(config)
    idle = unused_settings(config)
    if idle:
        yield note(f"Set, but without effect here: {', '.join(idle)}")
    unknown = sorted(text.split()[0] for text in config.notes if text.endswith("is not supported and has no effect"))
    if unknown:
        yield note(f"Set, but unknown to this library: {', '.join(unknown)}", "Check the spelling.")
    batch = sorted(name for name in environ if name.startswith("OTEL_BSP_"))
    if batch:
        yield note(
            f"Set, but without effect: {', '.join(batch)}",
            "Spans do not go through OpenTelemetry's batch processor. See DD_TRACE_WRITER_INTERVAL_SECONDS and"
            " DD_TRACE_WRITER_BUFFER_SIZE_BYTES.",
        )


def _check_sampling(config: Config) -> Iterator[Finding]:
    if config.trace_sample_rate == 0 and not config.trace_sampling_rules:
        yield warning(
            "Every trace of this service's own making is dropped: the sample rate is 0",
            "Raise DD_TRACE_SAMPLE_RATE, or unset OTEL_TRACES_SAMPLER=always_off.",
        )
    elif config.trace_rate_limit == 0 and (config.trace_sampling_rules or config.trace_sample_rate is not None):
        yield warning("Every trace is dropped: the rate limit is 0", "Raise DD_TRACE_RATE_LIMIT.")


def check_libraries(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the versions in use, and libraries that trace beside this one."""
    yield ok(
        f"ddtrace_manual {__version__}, {platform.python_implementation()} {platform.python_version()},"
        f" opentelemetry-sdk {_version_of('opentelemetry-sdk')}"
    )
    api, sdk = _version_of("opentelemetry-api"), _version_of("opentelemetry-sdk")
    if api != sdk:
        yield warning(
            f"opentelemetry-api {api} and opentelemetry-sdk {sdk} do not belong together",
            "Install the same version of both.",
        )
    yield from _check_ddtrace()
    yield from _check_otel(environ)
    yield from _check_gevent()


def _check_ddtrace() -> Iterator[Finding]:
    if "ddtrace" in sys.modules:
        yield warning(
            "The library ddtrace is active in this process: requests may be traced twice",
            "Use one of the two: start without `ddtrace-run`, `import ddtrace.auto` and Datadog's injection"
            " (single-step instrumentation), or set DD_TRACE_ENABLED=false for ddtrace's process only.",
        )
    elif importlib.util.find_spec("ddtrace") is not None:
        yield note(
            f"The library ddtrace is installed too (version {_version_of('ddtrace')}), and not active here",
            "Do not start the application with `ddtrace-run`: both would trace it, and both read DD_* variables.",
        )


def _check_otel(environ: Mapping[str, str]) -> Iterator[Finding]:
    chosen = environ.get("OTEL_PYTHON_TRACER_PROVIDER", "")
    if chosen and chosen != _OWN_PROVIDER:
        yield warning(
            f"OTEL_PYTHON_TRACER_PROVIDER={chosen} lets OpenTelemetry install another provider",
            "Whichever provider is installed first stays in charge. Unset it, or set it to ddtrace_manual.",
        )
    if "opentelemetry.instrumentation.auto_instrumentation" in sys.modules and chosen != _OWN_PROVIDER:
        yield warning(
            "OpenTelemetry's auto-instrumentation (`opentelemetry-instrument`) is active in this process",
            "It installs a provider before the application can. Set OTEL_PYTHON_TRACER_PROVIDER=ddtrace_manual, or"
            " start without it.",
        )


def _check_gevent() -> Iterator[Finding]:
    if "gevent.monkey" not in sys.modules:
        return
    is_patched = sys.modules["gevent.monkey"].is_module_patched("threading")
    if not is_patched:
        yield note(
            "gevent is loaded, and threads are not patched",
            "If the application uses gevent, call `gevent.monkey.patch_all()` first of all.",
        )
    elif type(_setup._setup.lock) is not type(threading.RLock()):
        yield warning(
            "gevent patched threads after ddtrace_manual was imported",
            "Call `gevent.monkey.patch_all()` before any other import, or the worker may block all greenlets.",
        )
    else:
        yield ok("gevent patched threads before ddtrace_manual was imported")


def check_proxies(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield which proxies are configured; requests to the Agent never use them."""
    names = sorted(name for name in environ if name.lower() in _PROXIES and environ[name])
    if names:
        yield note(
            f"Proxies are configured ({', '.join(names)}); requests to the Agent do not use them",
            "The Agent must be reachable directly.",
        )


def check_application() -> tuple[list[Finding], Config | None]:
    """Return what the imported application did, and the configuration it chose."""
    provider = _setup._setup.provider
    installed = trace._TRACER_PROVIDER
    found: list[Finding] = []
    if installed is not None and installed is not provider:
        kind = type(installed)
        found.append(
            trouble(
                f"Another OpenTelemetry provider is in charge: {kind.__module__}.{kind.__qualname__}",
                "Spans go to it and not to the Agent. Call `ddtrace_manual.configure()` before anything installs a"
                " provider, and install no other.",
            )
        )
    if provider is None:
        found.append(
            warning(
                "The application did not call `ddtrace_manual.configure()` while it was imported",
                "Without that call nothing is traced. If it is called later, for example in `main()`, this is fine;"
                " the checks below use the environment instead of the settings given in code.",
            )
        )
        return found, None
    if not found:
        found.append(ok("The application configured tracing"))
    return found, provider.config


def _version_of(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(unknown)"
