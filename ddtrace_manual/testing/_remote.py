"""Remote configuration in tests of applications: poll now, and see what is in effect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ddtrace_manual._setup import lifecycle as _setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtrace_manual._setup.remote import RemoteControl

__all__ = ["RemoteConfigFile", "RemoteConfigState", "poll_remote_config", "remote_config_state"]

_STATES: dict[int, Literal["unacknowledged", "acknowledged", "error"]] = {2: "acknowledged", 3: "error"}


@dataclass(frozen=True, slots=True)
class RemoteConfigFile:
    """One file that is active for this process."""

    path: str
    state: Literal["unacknowledged", "acknowledged", "error"]
    error: str = ""


@dataclass(frozen=True, slots=True)
class RemoteConfigState:
    """What remote configuration has done in this process."""

    is_offered: bool | None
    """Whether the Agent offers it; `None` before it was asked."""
    error: str = ""
    """Why the last answer could not be used."""
    files: tuple[RemoteConfigFile, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    """Values in effect from remote configuration, by the name of the setting in `configure()`."""


def poll_remote_config() -> RemoteConfigState:
    """Ask the Agent now, and put what it answers into effect before returning.

    Raises:
        RuntimeError: Remote configuration is not running: off, before `configure()`, or while spans are recorded.
    """
    remote = _remote()
    remote.poll()
    return _state_of(remote)


def remote_config_state() -> RemoteConfigState:
    """Return what is in effect, without asking the Agent.

    Raises:
        RuntimeError: As `poll_remote_config`.
    """
    return _state_of(_remote())


def _remote() -> RemoteControl:
    remote = _setup._setup.remote
    if remote is None:
        raise RuntimeError("remote configuration is not running in this process")
    return remote


def _state_of(remote: RemoteControl) -> RemoteConfigState:
    client = remote.client
    files = [
        RemoteConfigFile(file.path, _STATES.get(file.apply_state, "unacknowledged"), file.apply_error)
        for file in list(client.files.values())
    ]
    return RemoteConfigState(client.is_offered, client.error, tuple(files), remote.settings())
