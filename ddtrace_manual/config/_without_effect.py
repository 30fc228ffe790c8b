"""Variables of other Datadog tracers that this library knows and that will never do anything here.

They are read only to be reported: by `ddtrace-manual config` and `doctor`, and at DEBUG when tracing is configured.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ._sources import ENV_VAR, FLEET_FILE, LOCAL_FILE, Found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._sources import Inputs

__all__ = ["WITHOUT_EFFECT", "find_without_effect"]

WITHOUT_EFFECT: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "DD_APPSEC_ENABLED": "false",
        "DD_APPSEC_SCA_ENABLED": None,
        "DD_CRASHTRACKING_ENABLED": "false",
        "DD_DATA_STREAMS_ENABLED": "false",
        "DD_DYNAMIC_INSTRUMENTATION_ENABLED": "false",
        "DD_INJECTION_ENABLED": None,
        "DD_INJECT_FORCE": None,
        "DD_PROFILING_ENABLED": "false",
        "DD_RUNTIME_METRICS_ENABLED": "false",
        "DD_TRACE_128_BIT_TRACEID_LOGGING_ENABLED": "false",
        "DD_TRACE_CLIENT_IP_ENABLED": "false",
        "DD_TRACE_CLIENT_IP_HEADER": None,
        "DD_TRACE_EXPERIMENTAL_FEATURES_ENABLED": None,
        "DD_TRACE_METHODS": None,
        "DD_TRACE_OTEL_CTX_ENABLED": "false",
        "DD_TRACE_REMOVE_INTEGRATION_SERVICE_NAMES_ENABLED": "false",
        "DD_TRACE_RESOURCE_RENAMING_ENABLED": "false",
        "DD_TRACE_SPAN_ATTRIBUTE_SCHEMA": "v0",
        "DD_TRACE_WRAP_SPAN_NAME_INCLUDE_CLASS": "false",
        "_DD_DIRECT_SUBMISSION_ENABLED": "false",
    }
)
"""Variable → its default as text, or `None` for unset."""


def find_without_effect(inputs: Inputs) -> dict[str, Found]:
    """Return variable → the text in effect, for those that are set."""
    found: dict[str, Found] = {}
    for origin, texts, config_id in (
        (LOCAL_FILE, inputs.local.values, inputs.local.config_id),
        (ENV_VAR, inputs.environ, None),
        (FLEET_FILE, inputs.fleet.values, inputs.fleet.config_id),
    ):
        for name in WITHOUT_EFFECT:
            text = texts.get(name, "").strip()
            if text:
                found[name] = Found(text, origin, text, config_id)
    return found
