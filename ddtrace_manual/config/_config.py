"""The configuration of the library: immutable, typed, and able to say where every value came from.

Source: spec/configuration.md §1, §2, §7, §11.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from typing_extensions import Self, Unpack

from ddtrace_manual._base.log import get_logger

from ._agent_url import statsd_host_and_port, without_user_info
from ._derived import derive_all
from ._effective import EffectiveSettings
from ._otel import apply_otel_variables
from ._otlp import OtlpSignal, OtlpTarget, resolve_otlp_target
from ._parsers import format_map
from ._process import GIT_TAGS, format_process_tags, system_hostname, without_credentials
from ._settings import BY_ENV, BY_NAME, CODE_NAMES, SETTINGS
from ._sources import CODE, RANKS, REMOTE, Found, Inputs, Resolution, check_code_settings, gather_inputs
from ._without_effect import WITHOUT_EFFECT, find_without_effect

if TYPE_CHECKING:
    from ._settings_type import Settings

__all__ = ["Config"]

_OFF: Final = logging.CRITICAL + 10
_LEVELS: Final = {
    "notset": logging.NOTSET,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": _OFF,
}
_NO_TAGS: Final = frozenset({"service", "version", *GIT_TAGS})
_ADDRESS_NAMES: Final = {  # in the environment, in code
    "trace_agent_url": ("DD_TRACE_AGENT_URL", "agent_url"),
    "agent_host": ("DD_AGENT_HOST", "agent_host"),
    "trace_agent_port": ("DD_TRACE_AGENT_PORT", "agent_port"),
}
_MATCHERS: Final = ("service", "name", "resource", "tags")


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class Config(EffectiveSettings):
    """Every setting in effect. Reads environment and files once, when it is made; never changes afterwards.

    Wrong values in the environment and in files are collected in `warnings` and the next source
    counts; `log_warnings` writes them. Safe to share between threads.

    Args:
        **settings: Values given in code, by code name (`trace_sample_rate`) or short name
            (`sample_rate`). `None` counts as not given.

    Raises:
        ConfigurationError: A name is unknown, or a value is of the wrong type or out of range.

    Source: spec/configuration.md.
    """

    warnings: tuple[str, ...]
    """One text per mistake in the environment or in files: variable, value and reason."""
    notes: tuple[str, ...]
    """What is worth a line at DEBUG."""
    without_effect: Mapping[str, Found]
    """Variable that is set, known and does nothing here → its text and origin."""
    otel_events: tuple[tuple[str, str, str | None], ...]
    """(`hiding` | `invalid` | `unsupported`, OpenTelemetry variable, Datadog variable), for telemetry."""
    _code: Mapping[str, object]
    _inputs: Inputs
    _remote: Mapping[str, object]
    _remote_id: str | None
    _found: Mapping[str, Sequence[Found]]

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self._fill(check_code_settings(cast("Mapping[str, object]", settings)), gather_inputs())

    @classmethod
    def load(
        cls,
        settings: Mapping[str, object] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
        orig_argv: Sequence[str] | None = None,
        cwd: str | None = None,
        exists: Callable[[str], bool] = os.path.exists,
    ) -> Self:
        """Make a configuration from something else than the running process, for tests and tools.

        Args:
            settings: As the keyword arguments of `Config`.
            environ: Instead of `os.environ`.
            argv: Instead of `sys.argv`.
            orig_argv: Instead of `sys.orig_argv`; by default `python` and `argv`, when that is given.
            cwd: Instead of the current directory.
            exists: Says whether the path of a socket exists.

        Raises:
            ConfigurationError: As `Config`.
        """
        return cls._made(check_code_settings(settings or {}), gather_inputs(environ, argv, orig_argv, cwd, exists))

    def evolve(self, **settings: Unpack[Settings]) -> Self:
        """Return a copy with further values given in code, over the same environment and files.

        Raises:
            ConfigurationError: As `Config`.
        """
        code = {**self._code, **check_code_settings(cast("Mapping[str, object]", settings))}
        return self._made(code, self._inputs, self._remote, self._remote_id)

    def with_remote(self, values: Mapping[str, object], config_id: str | None = None) -> Self:
        """Return a copy in which these values, and no others, come from remote configuration.

        Tracing that is switched off locally stays off.

        Args:
            values: Code name → value, already checked; an empty mapping reverts to the local values.
            config_id: Identifier of the remote configuration, for telemetry.
        """
        remote = {CODE_NAMES[name]: value for name, value in values.items() if value is not None}
        return self._made(self._code, self._inputs, remote, config_id)

    @classmethod
    def _made(
        cls,
        code: Mapping[str, object],
        inputs: Inputs,
        remote: Mapping[str, object] | None = None,
        remote_id: str | None = None,
    ) -> Self:
        config = cls.__new__(cls)
        config._fill(code, inputs, remote, remote_id)
        return config

    def _fill(
        self,
        code: Mapping[str, object],
        inputs: Inputs,
        remote: Mapping[str, object] | None = None,
        remote_id: str | None = None,
    ) -> None:
        """Resolve every setting and set every field."""
        resolution = Resolution(inputs, warnings=list(inputs.warnings), without_effect=find_without_effect(inputs))
        resolution.read_all(SETTINGS, code)
        apply_otel_variables(resolution)
        user_provided = derive_all(resolution)
        remote = remote or {}
        for name, value in remote.items():
            if name == "trace_enabled" and value and not resolution.best(name).value:
                continue
            resolution.add(name, Found(value, REMOTE, None, remote_id))
        values: dict[str, Any] = {name: _own(found[-1].value) for name, found in resolution.found.items()}
        _finish(values, resolution, user_provided=user_provided)
        resolution.notes += [
            f"{name} is not supported and has no effect"
            for name in inputs.environ
            if name.startswith(("DD_", "_DD_")) and name not in BY_ENV and name not in WITHOUT_EFFECT
        ]
        values.update(
            warnings=tuple(resolution.warnings),
            notes=tuple(resolution.notes),
            without_effect=resolution.without_effect,
            otel_events=tuple(resolution.otel_events),
            _code=code,
            _inputs=inputs,
            _remote=remote,
            _remote_id=remote_id,
            _found=resolution.found,
        )
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def values(self, name: str) -> list[tuple[object, str]]:
        """Return every value found for a setting with its origin, by rising precedence.

        Raises:
            KeyError: No setting has this name.
        """
        return [(found.value, found.origin) for found in self._found[CODE_NAMES[name]]]

    def found(self, name: str) -> tuple[Found, ...]:
        """Return as `values`, with the text as written and the identifier of the file or remote configuration."""
        return tuple(self._found[CODE_NAMES[name]])

    def origin(self, name: str) -> str:
        """Return where the value in effect came from: `default`, `env_var`, `code` or another of telemetry's origins.

        Raises:
            KeyError: No setting has this name.
        """
        return self._found[CODE_NAMES[name]][-1].origin

    def is_set(self, name: str) -> bool:
        """Return whether the setting was configured: its value is neither default nor calculated."""
        return any(RANKS[found.origin] > 1 for found in self._found[CODE_NAMES[name]])

    @property
    def agent_url_setting(self) -> str:
        """Which setting named the address of the Agent, in the form it was given: for messages about that address."""
        for names in (("trace_agent_url",), ("agent_host", "trace_agent_port")):
            given = [_ADDRESS_NAMES[name][self.origin(name) == CODE] for name in names if self.is_set(name)]
            if given:
                return " and ".join(given)
        return "default of DD_TRACE_AGENT_URL"

    def otlp(self, signal: OtlpSignal) -> OtlpTarget:
        """Return where a signal is sent by OTLP: `traces`, `metrics` or `logs`.

        Source: spec/configuration.md §9.2.
        """
        return resolve_otlp_target(signal, partial(getattr, self), self.is_set, self.trace_agent_url)

    def span_metrics_target(self) -> OtlpTarget:
        """Return where statistics go as OTLP metrics; that export always speaks JSON over HTTP.

        Source: spec/client-stats.md §10.
        """
        return resolve_otlp_target(
            "metrics", partial(getattr, self), self.is_set, self.trace_agent_url, fixed_protocol="http/json"
        )

    @property
    def dd_external_env(self) -> str | None:
        """The same as `external_env`."""
        return self.external_env

    def log_warnings(self) -> None:
        """Write `warnings` at WARNING and `notes` at DEBUG to the logger `ddtrace_manual.config`."""
        logger = get_logger("config")
        for text in self.warnings:
            logger.warning("%s", text)
        for text in self.notes:
            logger.debug("%s", text)

    def snapshot(self) -> dict[str, str | None]:
        """Return the values in effect as text, for support and tools.

        Source: spec/configuration.md §7.
        """
        statsd = statsd_host_and_port(self.dogstatsd_url)
        return {
            "dd_service": self.service,
            "dd_env": self.env,
            "dd_version": self.version,
            "dd_tags": format_map(self.tags),
            "dd_trace_enabled": _flag(self.trace_enabled),
            "dd_trace_debug": _flag(self.trace_debug),
            "dd_trace_otel_enabled": _flag(self.trace_otel_enabled),
            "dd_runtime_metrics_enabled": _flag(self._asks_for("DD_RUNTIME_METRICS_ENABLED")),
            "dd_logs_injection": _flag(self.logs_injection),
            "dd_profiling_enabled": _flag(self._asks_for("DD_PROFILING_ENABLED")),
            "dd_data_streams_enabled": _flag(self._asks_for("DD_DATA_STREAMS_ENABLED")),
            "dd_trace_sample_rate": _effective_rate(self.trace_sample_rate, self.trace_sampling_rules),
            "dd_trace_rate_limit": str(self.trace_rate_limit),
            "dd_trace_propagation_style": ",".join(self.trace_propagation_style_extract),
            "dd_trace_agent_url": without_user_info(self.trace_agent_url),
            "dd_dogstatsd_host": statsd[0] if statsd else None,
            "dd_dogstatsd_port": str(statsd[1]) if statsd else None,
            "dd_log_level": self.trace_log_level,
            "dd_trace_sample_ignore_parent": "false",
        }

    def _asks_for(self, variable: str) -> bool:
        """Return whether a variable without effect is set to true."""
        found = self.without_effect.get(variable)
        return found is not None and str(found.value).lower() in ("1", "true")

    def __repr__(self) -> str:
        """Show what differs from the defaults; secrets are hidden."""
        parts = [
            f"{name}={'<hidden>' if BY_NAME[name].secret else repr(_shown(name, getattr(self, name)))}"
            for name, found in self._found.items()
            if len(found) > 1 or name == "service"
        ]
        return f"Config({', '.join(parts)})"


def _own(value: object) -> object:
    """Return the value, copied if it is mutable: rows and sources keep theirs."""
    return dict(value) if isinstance(value, dict) else value


def _shown(name: str, value: object) -> object:
    return without_user_info(value) if BY_NAME[name].is_url and isinstance(value, str) else value


def _flag(value: bool) -> str:  # formats a flag
    return "true" if value else "false"


def _finish(values: dict[str, Any], resolution: Resolution, *, user_provided: bool) -> None:
    """Make fields out of several settings, and fields that are none.

    Source: spec/configuration.md §6, spec/span-mapping.md §11.
    """
    inputs = resolution.inputs
    tags = {key: value for key, value in (values["tags"] | values["add_tags"]).items() if key not in _NO_TAGS}
    if "env" in tags and values["env"]:
        tags["env"] = values["env"]
    reports_git = values["trace_git_metadata_enabled"]
    system = values["hostname"] or system_hostname() if values["trace_report_hostname"] else None
    explicit_level = _LEVELS.get(values["trace_log_level"])
    otlp_traces = values["otel_traces_exporter"] == "otlp" and values["trace_agent_protocol_version"] is None
    values.update(
        tags=tags,
        hostname=system,
        git_repository_url=without_credentials(values["git_repository_url"]) if reports_git else "",
        git_commit_sha=values["git_commit_sha"] if reports_git else "",
        main_package=values["main_package"] if reports_git else "",
        service_is_user_provided=user_provided,
        resource_attributes=values["otel_resource_attributes"],
        header_tags={header.lower(): tag for header, tag in values["trace_header_tags"].items()},
        process_tags=_process_tags(values, inputs, user_provided=user_provided),
        rate_limit_is_explicit=resolution.is_set("trace_rate_limit"),
        library_log_level=logging.DEBUG if values["trace_debug"] else explicit_level,
        otlp_traces_enabled=otlp_traces,
        span_metrics_enabled=_span_metrics(values, otlp_traces=otlp_traces),
    )


def _process_tags(values: Mapping[str, Any], inputs: Inputs, *, user_provided: bool) -> str:
    if not values["experimental_propagate_process_tags_enabled"]:
        return ""
    return format_process_tags(
        inputs.argv, inputs.orig_argv, inputs.cwd, values["service"], service_is_user_provided=user_provided
    )


def _span_metrics(values: Mapping[str, Any], *, otlp_traces: bool) -> bool:
    """Return whether statistics go out as OTLP metrics (spec/client-stats.md §10)."""
    if not (values["trace_enabled"] and values["apm_tracing_enabled"]):
        return False
    chosen = values["otel_traces_span_metrics_enabled"]
    return bool(otlp_traces and values["metrics_otel_enabled"]) if chosen is None else bool(chosen)


def _effective_rate(rate: float | None, rules: Sequence[Any]) -> str:
    """Return the rate of the catch-all rule, else of the last rule without matchers, else 1.0."""
    if rate is None:
        rates = [_field(rule, "sample_rate") for rule in rules if not any(_field(rule, name) for name in _MATCHERS)]
        rate = next((value for value in map(_rate_of, reversed(rates)) if value is not None), 1.0)
    return str(float(rate))


def _rate_of(value: object) -> float | None:
    """Return a rate written as a number or as its text, in 0-1."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return min(max(float(value), 0.0), 1.0)
    except (ValueError, OverflowError):
        return None


def _field(rule: object, name: str) -> Any:  # Any: rules come from JSON or from the application
    return rule.get(name) if isinstance(rule, Mapping) else getattr(rule, name, None)
