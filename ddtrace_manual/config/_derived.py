"""Values that follow from other settings: identity, addresses, styles, and what switches something else off.

Each function adds `calculated` values to a `Resolution`, or warns about settings that do not fit together.

Source: spec/configuration.md §6, §8, spec/trace-export.md §4, spec/propagation.md §2.1, spec/span-mapping.md §11.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from ._agent_url import derive_agent_url, derive_statsd_url
from ._files import read_small_file
from ._otel import RESOURCE_KEYS
from ._process import git_from_package
from ._service_name import infer_service_name, serverless_name
from ._settings import BY_NAME
from ._sources import CALCULATED, CODE, LOCAL_FILE, OTEL_ENV_VAR, RANKS, Found, Resolution

__all__ = ["derive_all"]

_FORMATS: Final = {"0.4": "v0.4", "0.5": "v0.5", "1.0": "v1.0"}
_STATS_FIELDS: Final = (
    "trace_stats_resource_cardinality_limit",
    "trace_stats_http_endpoint_cardinality_limit",
    "trace_stats_peer_tags_cardinality_limit",
    "trace_stats_additional_tags_cardinality_limit",
)


def derive_all(resolution: Resolution) -> bool:
    """Add every calculated value; return whether the user chose the service name."""
    user_provided = _derive_identity(resolution)
    _derive_git(resolution)
    _derive_addresses(resolution)
    _derive_styles(resolution)
    _derive_format(resolution)
    _derive_span_rules(resolution)
    _derive_telemetry(resolution)
    _switch_off(resolution)
    _check_rate_limit(resolution)
    _check_stats_limits(resolution)
    return user_provided


def _calculate(resolution: Resolution, name: str, value: object) -> None:
    resolution.add(name, Found(value, CALCULATED))


def _override(resolution: Resolution, name: str, value: object) -> None:
    """Let a calculated value win over whatever the user configured."""
    if resolution.best(name).value != value:
        resolution.found[name].append(Found(value, CALCULATED))


def _derive_identity(resolution: Resolution) -> bool:
    """Find service, env and version outside their own settings.

    Order: the setting's own code, fleet file and Datadog variable; `OTEL_SERVICE_NAME`; the key in
    `DD_TAGS`; the resource attribute; the local file (its own setting, then the key in its `DD_TAGS`).

    Source: spec/configuration.md §6.
    """
    attributes = resolution.best("otel_resource_attributes")
    by_setting = _identity_attributes(cast("Mapping[str, str]", attributes.value))
    tags = resolution.best("tags")
    for name in ("service", "env", "version"):
        values = resolution.found[name]
        slot = _position(values, OTEL_ENV_VAR)
        tag = cast("Mapping[str, str]", tags.value).get(name)
        if tag and tags.origin != LOCAL_FILE:
            values.insert(slot, Found(tag, CALCULATED))
        if by_setting.get(name):
            origin = OTEL_ENV_VAR if attributes.raw is not None else CALCULATED
            values.insert(slot, Found(by_setting[name], origin, attributes.raw))
        if tag and tags.origin == LOCAL_FILE:
            values.insert(_position(values, LOCAL_FILE), Found(tag, CALCULATED))
    return _derive_service(resolution)


def _position(values: list[Found], origin: str) -> int:
    """Return the index of the first value whose origin ranks at least as high."""
    rank = RANKS[origin]
    return next((index for index, found in enumerate(values) if RANKS[found.origin] >= rank), len(values))


def _identity_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return setting → value of the resource attribute that stands in for it; keys are compared without case."""
    lowered = {key.lower(): value for key, value in attributes.items()}
    return {setting: lowered[key] for key, setting in RESOURCE_KEYS.items() if lowered.get(key)}


def _derive_service(resolution: Resolution) -> bool:
    """Calculate a service name when the user gave none; return whether the user did."""
    if len(resolution.found["service"]) > 1:
        return True
    name = _service_of_resource(resolution.best("resource").value)
    if name is not None:
        _calculate(resolution, "service", name)
        return True
    inputs = resolution.inputs
    name = serverless_name(inputs.environ) or infer_service_name(inputs.argv, inputs.cwd)
    if name:
        _calculate(resolution, "service", name)
    return False


def _service_of_resource(resource: object) -> str | None:
    """Return the service name of an OpenTelemetry resource given in code, unless it is the SDK's placeholder.

    Source: spec/span-mapping.md §4.1.
    """
    attributes = getattr(resource, "attributes", None)
    name = attributes.get("service.name") if isinstance(attributes, Mapping) else None
    if not isinstance(name, str) or not name or name == "unknown_service" or name.startswith("unknown_service:"):
        return None
    return name


def _derive_git(resolution: Resolution) -> None:
    """Fill repository URL and commit from tags, then from the metadata of the main package."""
    tags = cast("Mapping[str, str]", resolution.best("tags").value)
    for name, key in (
        ("git_repository_url", "git.repository_url"),
        ("git_commit_sha", "git.commit.sha"),
        ("main_package", "python_main_package"),
    ):
        if tags.get(key) and not resolution.is_set(name):
            _calculate(resolution, name, tags[key])
    package = str(resolution.best("main_package").value)
    missing = [name for name in ("git_repository_url", "git_commit_sha") if not resolution.best(name).value]
    if not package or not missing or not resolution.best("trace_git_metadata_enabled").value:
        return
    url, commit = git_from_package(package)
    for name, value in (("git_repository_url", url), ("git_commit_sha", commit)):
        if value and name in missing:
            _calculate(resolution, name, value)


def _derive_addresses(resolution: Resolution) -> None:
    """Calculate the addresses of the Agent and of DogStatsD from host, port and sockets."""
    exists = resolution.inputs.exists
    host = cast("str | None", resolution.best("agent_host").value)
    port = cast("int | None", resolution.best("trace_agent_port").value)
    if not resolution.is_set("trace_agent_url"):
        url, decided = derive_agent_url(host, port, exists)
        if decided:
            _calculate(resolution, "trace_agent_url", url)
    elif resolution.best("trace_agent_url").origin != CODE:
        given = [name for name in ("agent_host", "trace_agent_port") if resolution.best(name).origin == CODE]
        if given:
            resolution.warn(f"DD_TRACE_AGENT_URL is set, so {' and '.join(given)} given in code has no effect")
    if not resolution.is_set("dogstatsd_url"):
        statsd_host = cast("str | None", resolution.best("dogstatsd_host").value) or host
        statsd_port = cast("int | None", resolution.best("dogstatsd_port").value)
        url, decided = derive_statsd_url(statsd_host, statsd_port, exists)
        if decided:
            _calculate(resolution, "dogstatsd_url", url)


def _derive_styles(resolution: Resolution) -> None:
    """Let the common propagation styles stand in for a direction without its own."""
    for name in ("trace_propagation_style_extract", "trace_propagation_style_inject"):
        if not resolution.is_set(name):
            resolution.found[name] = list(resolution.found["trace_propagation_style"])


def _derive_format(resolution: Resolution) -> None:
    version = _FORMATS.get(str(resolution.best("trace_agent_protocol_version").value))
    if version and not resolution.is_set("trace_api_version"):
        _calculate(resolution, "trace_api_version", version)
    if resolution.best("trace_api_version").value == "v0.5" and resolution.best("trace_native_span_events").value:
        resolution.warn("DD_TRACE_NATIVE_SPAN_EVENTS=true has no effect: the format v0.5 has no field for span events")


def _derive_span_rules(resolution: Resolution) -> None:
    """Read the file of single-span rules when the variable with the rules is unset.

    Source: spec/sampling.md §14.1.
    """
    file = resolution.best("span_sampling_rules_file")
    if file.value is None:
        return
    if resolution.is_set("span_sampling_rules"):
        resolution.warn(f"DD_SPAN_SAMPLING_RULES_FILE={file.value!r} is ignored: DD_SPAN_SAMPLING_RULES is set")
        return
    try:
        text = read_small_file(str(file.value))
        rules = BY_NAME["span_sampling_rules"].kind.parse(text)
    except (OSError, ValueError) as exc:
        resolution.warn(f"DD_SPAN_SAMPLING_RULES_FILE={file.value!r} is ignored: {exc}")
        return
    resolution.add("span_sampling_rules", Found(rules, file.origin, text, file.config_id))


def _derive_telemetry(resolution: Resolution) -> None:
    heartbeat = cast("float", resolution.best("telemetry_heartbeat_interval").value)
    if not resolution.is_set("telemetry_metrics_aggregation_interval") and heartbeat < 10.0:  # default
        _calculate(resolution, "telemetry_metrics_aggregation_interval", heartbeat)


def _switch_off(resolution: Resolution) -> None:
    """Apply settings that rule others out.

    Source: spec/configuration.md §8.10, §9.1.
    """
    for signal in ("metrics", "logs"):
        if resolution.best(f"otel_{signal}_exporter").value == "none":
            _override(resolution, f"{signal}_otel_enabled", value=False)
    if not resolution.best("apm_tracing_agentless_enabled").value:
        return
    if not resolution.best("api_key").value:
        resolution.warn("_DD_APM_TRACING_AGENTLESS_ENABLED=true is ignored: DD_API_KEY is unset")
        _override(resolution, "apm_tracing_agentless_enabled", value=False)
        return
    _override(resolution, "trace_stats_computation_enabled", value=False)
    _override(resolution, "trace_health_metrics_enabled", value=False)
    _override(resolution, "trace_report_hostname", value=True)


def _check_rate_limit(resolution: Resolution) -> None:
    if (
        resolution.is_set("trace_rate_limit")
        and not resolution.best("trace_sampling_rules").value
        and resolution.best("trace_sample_rate").value is None
    ):
        limit = resolution.best("trace_rate_limit").value
        resolution.warn(f"DD_TRACE_RATE_LIMIT={limit} has no effect without sampling rules or a sample rate")


def _check_stats_limits(resolution: Resolution) -> None:
    """Warn about limits that are accepted but cannot be meant.

    Source: spec/client-stats.md §5.
    """
    whole = "trace_stats_cardinality_limit"
    most = cast("int", resolution.best(whole).value)
    for name in (whole, *_STATS_FIELDS):
        limit = cast("int", resolution.best(name).value)
        if limit == 0:
            resolution.warn(f"{BY_NAME[name].env}=0 collapses everything into one row")
        elif name != whole and limit >= most and (resolution.is_set(name) or resolution.is_set(whole)):
            resolution.warn(f"{BY_NAME[name].env}={limit} has no effect: DD_TRACE_STATS_CARDINALITY_LIMIT is {most}")
