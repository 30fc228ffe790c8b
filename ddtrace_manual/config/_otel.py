"""`OTEL_*` variables that stand in for Datadog settings, and the events counted about them.

Source: spec/configuration.md §5, spec/telemetry-remote-config.md §6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._kinds import Kind, choice, number
from ._parsers import parse_bool, sort_styles
from ._settings import BY_ENV, BY_NAME
from ._sources import CALCULATED, LOCAL_FILE, OTEL_ENV_VAR, Found, Resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MAPPED", "SAMPLER_ARGUMENT", "apply_otel_variables"]

MAPPED: Final[Mapping[str, tuple[str, ...]]] = {
    "OTEL_SERVICE_NAME": ("DD_SERVICE",),
    "OTEL_RESOURCE_ATTRIBUTES": ("DD_TAGS",),
    "OTEL_PROPAGATORS": (
        "DD_TRACE_PROPAGATION_STYLE",
        "DD_TRACE_PROPAGATION_STYLE_INJECT",
        "DD_TRACE_PROPAGATION_STYLE_EXTRACT",
    ),
    "OTEL_TRACES_SAMPLER": ("DD_TRACE_SAMPLE_RATE", "DD_TRACE_SAMPLING_RULES"),
    "OTEL_TRACES_SAMPLER_ARG": ("DD_TRACE_SAMPLE_RATE", "DD_TRACE_SAMPLING_RULES"),
    "OTEL_TRACES_EXPORTER": ("DD_TRACE_ENABLED",),
    "OTEL_METRICS_EXPORTER": ("DD_RUNTIME_METRICS_ENABLED",),
    "OTEL_LOG_LEVEL": ("DD_TRACE_DEBUG", "DD_LOG_LEVEL", "DD_TRACE_LOG_LEVEL"),
    "OTEL_SDK_DISABLED": ("DD_TRACE_OTEL_ENABLED",),
}
"""OpenTelemetry variable → Datadog variables that hide it."""

SAMPLER_ARGUMENT: Final = "OTEL_TRACES_SAMPLER_ARG"
MAX_RESOURCE_TAGS: Final = 10

_SDK_PREFIXES: Final = (
    "OTEL_EXPORTER_OTLP_",
    "OTEL_METRIC_EXPORT_",
    "OTEL_PYTHON_",
    "OTEL_BLRP_",
)
_SDK_LIMITS: Final = ("OTEL_SPAN_", "OTEL_ATTRIBUTE_", "OTEL_EVENT_", "OTEL_LINK_")
_DEBUG_LEVELS: Final = ("debug", "trace")
_LOG_LEVELS: Final = choice(
    "debug", "info", "warning", "error", "critical", "off", trace="debug", warn="warning", fatal="critical", none="off"
)
_SAMPLERS: Final = choice(
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
_RATIO: Final = number(0, 1)


def apply_otel_variables(resolution: Resolution) -> None:
    """Add the values of `OTEL_*` variables to the Datadog settings they map to, and judge the variables."""
    mapping = _Mapping(resolution)
    mapping.service()
    mapping.resource_attributes()
    mapping.propagators()
    mapping.sampler()
    mapping.exporters()
    mapping.log_level()
    mapping.sdk_disabled()
    mapping.count_hidden()
    mapping.count_unsupported()


class _Mapping:
    """One pass over the `OTEL_*` variables."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution
        self._environ = resolution.inputs.environ

    def _text(self, variable: str) -> str | None:
        text = self._environ.get(variable)
        return text if text is not None and text.strip() else None

    def _free(self, *names: str) -> bool:
        """Return whether none of the settings has a value from code, fleet file or Datadog variable."""
        return not any(self._resolution.is_set(name, OTEL_ENV_VAR) for name in names)

    def _add(self, name: str, value: object, raw: str) -> None:
        self._resolution.add(name, Found(value, OTEL_ENV_VAR, raw))

    def _invalid(self, variable: str, raw: str, reason: str) -> None:
        resolution = self._resolution
        resolution.warn(f"{variable}={raw!r} is ignored: {reason}")
        for datadog in MAPPED.get(variable, (None,)):
            resolution.otel_events.append(("invalid", variable.lower(), datadog.lower() if datadog else None))

    def _parse(self, variable: str, parse: Callable[[str], object], text: str) -> object:
        """Return the parsed text, or `None` after judging it invalid."""
        try:
            return parse(text)
        except ValueError as exc:
            self._invalid(variable, text, str(exc))
            return None

    def service(self) -> None:
        text = self._text("OTEL_SERVICE_NAME")
        if text is not None and self._free("service"):
            self._add("service", text, text)

    def resource_attributes(self) -> None:
        """Map attributes other than service, env and version to tags; these three follow later (`_derived.py`)."""
        resolution = self._resolution
        text = self._text("OTEL_RESOURCE_ATTRIBUTES")
        free = self._free("tags")
        if text is not None and free:
            self._parse("OTEL_RESOURCE_ATTRIBUTES", BY_NAME["otel_resource_attributes"].kind.parse, text)
        best = resolution.best("otel_resource_attributes")
        attributes = best.value
        if not attributes or not free:
            return
        assert isinstance(attributes, dict)  # noqa: S101 - its kind makes it so
        others = {key: value for key, value in attributes.items() if key.lower() not in RESOURCE_KEYS}
        room = MAX_RESOURCE_TAGS - (len(attributes) - len(others))
        if len(others) > room:
            dropped = list(others)[max(room, 0) :]
            others = {key: others[key] for key in others if key not in dropped}
            resolution.warn(
                f"OTEL_RESOURCE_ATTRIBUTES: {', '.join(dropped)} do not become tags: "
                f"at most {MAX_RESOURCE_TAGS} attributes do"
            )
        if others:
            resolution.add("tags", Found(others, OTEL_ENV_VAR if best.raw is not None else CALCULATED, best.raw))

    def propagators(self) -> None:
        text = self._text("OTEL_PROPAGATORS")
        resolution = self._resolution
        both = not self._free("trace_propagation_style_extract") and not self._free("trace_propagation_style_inject")
        if text is None or both or not self._free("trace_propagation_style"):
            return
        styles = sort_styles(text.split(","))
        if not styles.known and not styles.none:
            self._invalid("OTEL_PROPAGATORS", text, "it names no known propagation style")
            return
        if styles.unknown:
            resolution.warn(f"OTEL_PROPAGATORS={text!r} dropped unknown {', '.join(map(repr, styles.unknown))}")
        self._add("trace_propagation_style", styles.known, text)

    def sampler(self) -> None:
        text = self._text("OTEL_TRACES_SAMPLER")
        if text is None or not self._free("trace_sample_rate", "trace_sampling_rules"):
            return
        name = self._parse("OTEL_TRACES_SAMPLER", _SAMPLERS.parse, text)
        if name is None:
            return
        kind = str(name).removeprefix("parentbased_")
        if kind == "traceidratio":
            argument = self._text(SAMPLER_ARGUMENT)
            rate = 1.0 if argument is None else self._parse(SAMPLER_ARGUMENT, _RATIO.parse, argument)
            if rate is None:
                return
        else:
            rate = 1.0 if kind == "always_on" else 0.0
        if name == kind:
            self._resolution.warn(
                f"OTEL_TRACES_SAMPLER={text!r} acts like parentbased_{kind}: inherited decisions stay"
            )
        self._add("trace_sample_rate", rate, text)

    def exporters(self) -> None:
        traces = self._text("OTEL_TRACES_EXPORTER")
        if traces is not None and self._free("trace_enabled"):
            exporter = self._parse("OTEL_TRACES_EXPORTER", _traces_exporter.parse, traces)
            if exporter is not None:
                self._add("trace_enabled", exporter != "none", traces)
        metrics = self._text("OTEL_METRICS_EXPORTER")
        if metrics is not None and not self._is_hidden_by("DD_RUNTIME_METRICS_ENABLED"):
            self._parse("OTEL_METRICS_EXPORTER", _exporter.parse, metrics)
        logs = self._text("OTEL_LOGS_EXPORTER")
        if logs is not None and not self._resolution.is_set("otel_logs_exporter", OTEL_ENV_VAR):
            self._parse("OTEL_LOGS_EXPORTER", _exporter.parse, logs)

    def log_level(self) -> None:
        text = self._text("OTEL_LOG_LEVEL")
        if text is None or not self._free("trace_log_level"):
            return
        debugs = text.strip().lower() in _DEBUG_LEVELS
        if debugs and not self._free("trace_debug"):
            return
        level = self._parse("OTEL_LOG_LEVEL", _LOG_LEVELS.parse, text)
        if debugs:
            self._add("trace_debug", True, text)
        elif level is not None:
            self._add("trace_log_level", level, text)

    def sdk_disabled(self) -> None:
        text = self._text("OTEL_SDK_DISABLED")
        if text is None:
            return
        word = text.strip().lower()
        free = self._free("trace_otel_enabled")
        if word not in ("true", "false"):
            if free:
                self._invalid("OTEL_SDK_DISABLED", text, "must be true or false")
            return
        if free:
            self._add("trace_otel_enabled", not parse_bool(word), text)
        if word == "true":
            for name in ("metrics_otel_enabled", "logs_otel_enabled"):
                if self._free(name):
                    self._add(name, False, text)

    def count_hidden(self) -> None:
        """Count every pair of an `OTEL_*` variable and a Datadog variable that takes its place."""
        resolution = self._resolution
        for variable, rivals in MAPPED.items():
            text = self._text(variable)
            if text is None:
                continue
            for rival in rivals:
                if self._text(rival) is None and not self._keeps_empty(rival):
                    continue
                if rival == "DD_TRACE_DEBUG" and text.strip().lower() not in _DEBUG_LEVELS:
                    continue
                if self._is_hidden_by(rival):
                    resolution.otel_events.append(("hiding", variable.lower(), rival.lower()))
                    resolution.notes.append(f"{variable} is hidden by {rival}")

    def _is_hidden_by(self, rival: str) -> bool:
        """Return whether a Datadog variable has a value that outranks OpenTelemetry variables."""
        row = BY_ENV.get(rival)
        if row is not None:
            return self._resolution.is_set(row.name, OTEL_ENV_VAR)
        found = self._resolution.without_effect.get(rival)
        return found is not None and found.origin != LOCAL_FILE

    def _keeps_empty(self, variable: str) -> bool:
        """Return whether a variable is set to an empty string that counts as a value."""
        row = BY_ENV.get(variable)
        return row is not None and variable in self._environ and row.kind.keeps_empty

    def count_unsupported(self) -> None:
        """Count and warn about every other `OTEL_*` variable that neither this library nor the SDK honours."""
        for variable in self._environ:
            if not variable.startswith("OTEL_") or self._text(variable) is None:
                continue
            if variable in MAPPED or variable in BY_ENV or variable.startswith(_SDK_PREFIXES):
                continue
            if variable.startswith(_SDK_LIMITS) and variable.endswith("_LIMIT"):
                continue
            self._resolution.otel_events.append(("unsupported", variable.lower(), None))
            self._resolution.warn(f"{variable} is not supported and has no effect")


RESOURCE_KEYS: Final[Mapping[str, str]] = {
    "service.name": "service",
    "service.version": "version",
    "deployment.environment": "env",
    "deployment.environment.name": "env",
}
"""Resource attribute, in lower case → setting it stands in for."""

_traces_exporter: Final[Kind] = BY_NAME["otel_traces_exporter"].kind
_exporter: Final[Kind] = BY_NAME["otel_metrics_exporter"].kind
