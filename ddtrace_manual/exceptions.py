"""Every exception this library raises.

TracingError
├── ConfigurationError      also a ValueError: a bad value given in code
├── EncodingError           a payload could not be written or read
├── RemoteConfigError       a remote configuration could not be applied
└── AgentError              talking to the Datadog Agent failed
    ├── AgentConnectionError    no connection, or it broke
    ├── AgentTimeoutError       no answer in time
    └── AgentResponseError      an answer, but not a usable one

Only `ConfigurationError` ever reaches an application: after set-up the library
raises nothing of its own. The others are counted, logged at a limited rate and
readable through `ddtrace_manual.counters()`.
"""

from __future__ import annotations

__all__ = [
    "AgentConnectionError",
    "AgentError",
    "AgentResponseError",
    "AgentTimeoutError",
    "ConfigurationError",
    "EncodingError",
    "RemoteConfigError",
    "TracingError",
]


class TracingError(Exception):
    """Base of every exception of this library."""


class ConfigurationError(TracingError, ValueError):
    """A setting or an option given in code is unknown, of the wrong type or out of range."""


class EncodingError(TracingError):
    """A payload could not be encoded or decoded."""


class RemoteConfigError(TracingError):
    """A remote configuration is malformed or could not be applied."""


class AgentError(TracingError):
    """A request to the Datadog Agent failed.

    Attributes:
        status: HTTP status code if an answer had begun, else 0.
    """

    status: int = 0


class AgentConnectionError(AgentError):
    """No connection to the Agent, or it broke before the answer was complete."""


class AgentTimeoutError(AgentError):
    """The Agent did not answer in time."""


class AgentResponseError(AgentError):
    """The Agent answered, but not with something usable.

    Args:
        message: What is wrong.
        status: HTTP status code, or 0 when the answer was not HTTP.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
