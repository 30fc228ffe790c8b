"""The start-up line, which shows the configuration in effect, and the check whether the Agent can be reached.

Source: spec/telemetry-remote-config.md §12.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import platform
import sys
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._base.log import DELIVERY, get_logger
from ddtrace_manual._version import __version__
from ddtrace_manual.config import SETTINGS, without_user_info

from .log_handlers import handle_directly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ddtrace_manual.config import Config
    from ddtrace_manual.exceptions import AgentError

    from .pipeline import PipelineComponents

__all__ = ["StartupCheck", "log_startup", "log_unused", "missing_parts", "startup_fields", "unused_settings"]

_log = get_logger("startup")

_CONFIGURATION: Final = "DATADOG TRACER CONFIGURATION - %s"
_UNREACHABLE: Final = "DATADOG TRACER DIAGNOSTIC - Agent not reachable at %s (%s): %s"
_FAILED: Final = "DATADOG TRACER DIAGNOSTIC - Failed to collect start-up logs: %s"
_OF_THE_MOMENT: Final = frozenset({"date", "runtime_id"})


def log_startup(
    config: Config, parts: PipelineComponents, *, unless: Mapping[str, object] | None = None
) -> Mapping[str, object] | None:
    """Write the start-up line, unless it would repeat an earlier one. Never raises.

    Args:
        config: The effective configuration.
        parts: What it led to.
        unless: What the call before returned.

    Returns:
        What makes this line differ from others; `None` when it could not be collected.
    """
    try:
        fields = startup_fields(config, parts)
        shown = {name: value for name, value in fields.items() if name not in _OF_THE_MOMENT}
        if shown != unless:
            _emit(logging.INFO, _CONFIGURATION, json.dumps(fields))
    except Exception as exc:  # whatever an object given in code does when it is shown
        _emit(logging.WARNING, _FAILED, exc)
        return None
    return shown


def startup_fields(config: Config, parts: PipelineComponents) -> dict[str, Any]:  # Any: JSON
    """Return the fields of the start-up line: settings in effect, which may be fewer than those configured.

    Telemetry and runtime metrics do not exist here yet: they are never said to be on.
    No secret is among the fields.
    """
    return {
        "date": dt.datetime.now(dt.timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds"),
        **_platform_fields(),
        "version": __version__,
        "agent_url": parts.agent_address,
        "agent_error": None,
        "statsd_url": without_user_info(config.dogstatsd_url),
        "env": config.env or "",
        "service": parts.service,
        "dd_version": config.version or "",
        "enabled": config.trace_enabled,
        "debug": config.trace_debug,
        "sample_rate": config.trace_sample_rate,
        "sampling_rules": [_rule_text(rule) for rule in config.trace_sampling_rules],
        "global_tags": ",".join(f"{key}:{value}" for key, value in config.tags.items()),
        "log_injection_enabled": config.logs_injection,
        "health_metrics_enabled": parts.health is not None,
        "runtime_metrics_enabled": False,
        "partial_flush_enabled": config.trace_partial_flush_enabled,
        "partial_flush_min_spans": config.trace_partial_flush_min_spans,
        "propagation_style_inject": _joined(config.trace_propagation_style_inject),
        "propagation_style_extract": _joined(config.trace_propagation_style_extract),
        "remote_config_enabled": config.remote_configuration_enabled and parts.has_agent,
        "telemetry_enabled": False,
        "stats_computation_enabled": config.trace_stats_computation_enabled and config.apm_tracing_enabled,
        "integrations": [],
        "gitmetadata_enabled": config.trace_git_metadata_enabled,
        "git_repository_url": config.git_repository_url,
        "git_commit_sha": config.git_commit_sha,
        "git_main_package": config.main_package,
        "log_level_override": config.trace_log_level,
        "runtime_id": parts.runtime_id,
        "hostname": config.hostname or platform.node(),
    }


def log_unused(config: Config) -> None:
    """Warn of what was switched on and does not exist here; tell at DEBUG which other settings do nothing."""
    for what, advice in missing_parts(config):
        _log.warning("%s. %s", what, advice)
    unused = unused_settings(config)
    if unused:
        _log.debug("Set, but without effect here: %s", ", ".join(unused))


def missing_parts(config: Config) -> Sequence[tuple[str, str]]:
    """Return what was switched on and does not exist here, each with what to do instead."""
    candidates = (
        (
            config.otlp_traces_enabled and not _is_set_by_opentelemetry_instrument(config),
            "OTEL_TRACES_EXPORTER=otlp has no effect: traces go to the Agent",
            "Unset it, or install OpenTelemetry's own provider instead of this one.",
        ),
        (
            config.metrics_otel_enabled or config.logs_otel_enabled,
            "DD_METRICS_OTEL_ENABLED and DD_LOGS_OTEL_ENABLED have no effect: metrics and logs are not exported",
            "Install OpenTelemetry's meter and logger providers with its OTLP exporters.",
        ),
        (
            config.apm_tracing_agentless_enabled,
            "_DD_APM_TRACING_AGENTLESS_ENABLED has no effect: traces go to the Agent",
            "Unset it, and run an Agent.",
        ),
        (
            "DD_TRACE_METHODS" in config.without_effect,
            "DD_TRACE_METHODS has no effect: this library never wraps functions by itself",
            "Decorate those functions with ddtrace_manual.traced.",
        ),
    )
    return [(what, advice) for is_missing, what, advice in candidates if is_missing]


def _is_set_by_opentelemetry_instrument(config: Config) -> bool:
    """Return whether exporter and protocol are the defaults that `opentelemetry-instrument` sets."""
    return (
        "opentelemetry.instrumentation.auto_instrumentation" in sys.modules
        and config.otel_traces_exporter == "otlp"
        and config.is_set("otel_exporter_otlp_protocol")
        and config.otel_exporter_otlp_protocol == "grpc"
    )


def unused_settings(config: Config) -> Sequence[str]:
    """Return the variables of settings that are set and have no effect."""
    idle = [row.env or row.name for row in SETTINGS if not row.is_used and config.is_set(row.name)]
    return [*idle, *config.without_effect]


class StartupCheck:
    """Writes a line when the first request to the Agent, for `/info`, gets no answer.

    That request is the first act of the export thread, which starts with the first finished span or `flush()`. Nothing
    is started or imported before: `gevent` may patch the modules that requests need until then.

    Args:
        parts: The pipeline whose Agent is asked.
    """

    def __init__(self, parts: PipelineComponents) -> None:
        self._agent_log = parts.agent_log
        self._address = parts.agent_address
        self._setting = parts.client.setting
        self._is_cancelled = False
        parts.agent.on_first_attempt = self._report

    def cancel(self) -> None:
        """Write nothing any more."""
        self._is_cancelled = True

    def _report(self, error: AgentError | None) -> None:
        """Report that the first attempt has ended; a broken answer is an answer."""
        if error is None or error.status or self._is_cancelled:
            return
        if self._agent_log.claim(DELIVERY):
            _emit(logging.WARNING, _UNREACHABLE, self._address, self._setting, error)


def _emit(level: int, message: str, *args: object) -> None:
    """Log through the library's logger; where it lets nothing through, to the handlers the user asked for."""
    try:
        if _log.isEnabledFor(level):
            _log.log(level, message, *args)
        else:
            handle_directly(_log.makeRecord(_log.name, level, __file__, 0, message, args, None))
    except Exception:  # noqa: S110 - a broken handler of the application must not break `configure()`
        pass


def _platform_fields() -> dict[str, Any]:  # Any: JSON
    is_64_bit = sys.maxsize > 2**32
    return {
        "os_name": platform.system(),
        "os_version": platform.release(),
        "is_64_bit": is_64_bit,
        "architecture": "64bit" if is_64_bit else "32bit",
        "vm": platform.python_implementation(),
        "lang": "python",
        "lang_version": platform.python_version(),
        "pip_version": _pip_version(),
        "in_virtual_env": sys.prefix != sys.base_prefix,
    }


def _pip_version() -> str:
    """Return the version of pip, or "": many images have none."""
    from importlib import metadata  # only for this line

    try:
        return metadata.version("pip")
    except Exception:  # not installed, or its metadata is broken
        return ""


def _joined(styles: Iterable[str]) -> str:
    return ",".join(styles)


def _rule_text(rule: object) -> str:
    return json.dumps(rule) if isinstance(rule, dict) else str(rule)
