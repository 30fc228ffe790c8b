"""What the mapping must know about the process: one frozen value, built by `_setup` from configuration and resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_SERVICE", "MappingSettings"]

DEFAULT_SERVICE = "unnamed-python-service"


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """Constants of the mapping; a change (remote tags, fork) means a new value and a new `Mapper`.

    Source: spec/span-mapping.md §4.1, §11, §12.
    """

    service: str = DEFAULT_SERVICE
    """Configured or default service name."""
    service_is_user_provided: bool = False
    """`service` was configured: it beats a `service.name` of the OpenTelemetry resource."""
    env: str = ""
    """Configured environment; "" when unset."""
    version: str = ""
    """Configured version; "" when unset. Only spans of `service` get it."""
    tags: Mapping[str, Any] = field(default_factory=dict)  # Any: typed like span attributes
    """Global tags. `service`, `env`, `version` and the git tags among them never become plain tags."""
    resource_attributes: Mapping[str, Any] = field(default_factory=dict)  # Any: any attribute value
    """The OpenTelemetry resource *without* the configured version (§5 step 5); `env` is added by the mapping."""
    tracer_version: str = ""
    """Version of this library, `telemetry.sdk.version`."""
    runtime_id: str = ""
    """UUID of the process; "" writes none."""
    process_id: int = 0
    """Process id; 0 writes none."""
    hostname: str = ""
    """Host name to report on spans that start a trace; "" reports none."""
    git_repository_url: str = ""
    """Repository of the running code; without credentials."""
    git_commit_sha: str = ""
    """Commit of the running code."""
    main_package: str = ""
    """Distribution that is the program, `_dd.python_main_package`."""
    process_tags: str = ""
    """Text of `_dd.tags.process` (see `config`); "" writes none."""
    service_mapping: Mapping[str, str] = field(default_factory=dict)
    """Service name → name to report instead; applied once, to the resolved service of each span."""
    resource_from_span_name: bool = False
    """Resource of an OpenTelemetry span is its span name, whatever its attributes (§4.3)."""
    peer_service_defaults: bool = False
    """Derive `peer.service` on client and producer spans."""
    peer_service_mapping: Mapping[str, str] = field(default_factory=dict)
    """`peer.service` → name to report instead; needs `peer_service_defaults`."""
    otel_semantics: bool = False
    """OpenTelemetry trace semantics: names stay as OpenTelemetry has them (§8, end)."""
    apm_tracing_enabled: bool = True
    """`False`: another product owns the traces; every span says so (`_dd.apm.enabled` = 0)."""
