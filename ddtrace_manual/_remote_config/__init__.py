"""Configuration from Datadog while the process runs: the client that polls the Agent, and what it can change.

Pure towards the rest of the library: what is decided here is put into effect by functions that the set-up hands in.

Source: spec/telemetry-remote-config.md §9-§11.
"""

from .apm_tracing import ApmTracing, Overrides
from .client import Identity, RemoteConfigClient
from .files import ERROR, RemoteFile
from .flare import TracerFlare
from .flare_products import AgentConfig, AgentTask

__all__ = [
    "ERROR",
    "AgentConfig",
    "AgentTask",
    "ApmTracing",
    "Identity",
    "Overrides",
    "RemoteConfigClient",
    "RemoteFile",
    "TracerFlare",
]
