"""Where one OTLP signal is sent: the signal's own variable, then the general one, then the default.

Source: spec/configuration.md §9.2, spec/trace-export.md §12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ._agent_url import agent_host_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OtlpSignal", "OtlpTarget", "resolve_otlp_target"]

OtlpSignal = Literal["traces", "metrics", "logs"]

_DEFAULT_TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """Everything an OTLP exporter has to know."""

    protocol: str
    """`grpc`, `http/protobuf` or `http/json`; never `grpc` for traces."""
    endpoint: str
    headers: Mapping[str, str]
    """May hold secrets."""
    timeout_s: float


def resolve_otlp_target(
    signal: OtlpSignal,
    value: Callable[[str], Any],
    is_set: Callable[[str], bool],
    agent_url: str,
    *,
    fixed_protocol: str | None = None,
) -> OtlpTarget:
    """Return the target of a signal.

    Args:
        signal: Which signal.
        value: Code name → value in effect. `Any`: the kinds of the settings differ.
        is_set: Code name → whether anybody configured it.
        agent_url: Resolved address of the Agent, whose host is the default.
        fixed_protocol: What the exporter speaks, whatever is configured.
    """

    def pick(setting: str) -> Any:  # Any: as `value`
        for name in (f"otel_exporter_otlp_{signal}_{setting}", f"otel_exporter_otlp_{setting}"):
            found = value(name) if is_set(name) else None
            if found:
                return found
        return None

    protocol = fixed_protocol or pick("protocol") or "grpc"
    if signal == "traces" and protocol == "grpc":
        protocol = "http/protobuf"
    own_endpoint = value(f"otel_exporter_otlp_{signal}_endpoint")
    endpoint = own_endpoint or _general_endpoint(signal, protocol, value("otel_exporter_otlp_endpoint"), agent_url)
    timeout_ms = pick("timeout") or _DEFAULT_TIMEOUT_MS
    return OtlpTarget(protocol, endpoint, pick("headers") or {}, timeout_ms / 1000)


def _general_endpoint(signal: OtlpSignal, protocol: str, base: str | None, agent_url: str) -> str:
    """Return the endpoint that follows from the general one, or from the Agent's host."""
    is_grpc = protocol == "grpc"
    if not base:
        base = f"http://{agent_host_of(agent_url)}:{4317 if is_grpc else 4318}"
    base = base.rstrip("/")
    return base if is_grpc else f"{base}/v1/{signal}"
