"""Products AGENT_CONFIG and AGENT_TASK: prepare, send or cancel a flare.

Source: spec/telemetry-remote-config.md §11.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual.exceptions import RemoteConfigError

from .files import parse_json
from .flare import FlareTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .files import RemoteFile
    from .flare import TracerFlare

__all__ = ["AgentConfig", "AgentTask"]

_LEVELS: Final = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}
_NAME_PREFIX: Final = "flare-log-level."
_CASE_ID: Final = re.compile(r"(?!0$)\d{1,40}(?:-with-debug|-with-content)?", re.ASCII)
_MAX_TEXT: Final = 1000
_MAX_REMEMBERED: Final = 1000


class AgentConfig:
    """Prepares a flare while a file asks for a log level; its removal cancels the flare."""

    name = "AGENT_CONFIG"
    capabilities = ()

    def __init__(self, flare: TracerFlare) -> None:
        self._flare = flare
        self._asking: set[str] = set()

    def update(self, removed: Sequence[RemoteFile], changed: Sequence[RemoteFile]) -> dict[str, str]:
        """Prepare at the most verbose level that is asked for, or cancel."""
        errors: dict[str, str] = {}
        levels: list[str] = []
        for file in removed:
            if file.path in self._asking:
                self._asking.discard(file.path)
                if not self._asking:
                    self._flare.cancel()
        for file in changed:
            try:
                level = _requested_level(parse_json(file.content))
            except RemoteConfigError as exc:
                errors[file.path] = str(exc)
                continue
            if level is not None:
                self._asking.add(file.path)
                levels.append(level)
        if levels:
            level = min(levels, key=_LEVELS.__getitem__)
            self._flare.prepare(level, _LEVELS[level])
        return errors

    def complete(self) -> None:
        """Give up a preparation that is too old."""
        self._flare.expire()


class AgentTask:
    """Sends a flare when a task asks for it; each task once."""

    name = "AGENT_TASK"
    capabilities = ()

    def __init__(self, flare: TracerFlare) -> None:
        self._flare = flare
        self._handled: dict[str, None] = {}

    def update(self, removed: Sequence[RemoteFile], changed: Sequence[RemoteFile]) -> dict[str, str]:
        """Start sending; nothing waits for the end."""
        errors: dict[str, str] = {}
        for file in changed:
            try:
                task = _requested_task(parse_json(file.content))
            except RemoteConfigError as exc:
                errors[file.path] = str(exc)
                continue
            if task is None or task.uuid in self._handled:
                continue
            self._handled[task.uuid] = None
            if len(self._handled) > _MAX_REMEMBERED:
                del self._handled[next(iter(self._handled))]
            self._flare.prepare("debug", logging.DEBUG)  # unless it is prepared
            self._flare.send(task)
        return errors

    def complete(self) -> None:
        """Nothing is left to do."""


def _requested_level(document: Any) -> str | None:  # Any: JSON, here and below
    """Return the log level that a configuration asks for, or `None` when it asks for something else."""
    if not isinstance(document, dict):
        return None
    name, config = document.get("name"), document.get("config")
    level = config.get("log_level") if isinstance(config, dict) else None
    if not isinstance(name, str) or not name.startswith(_NAME_PREFIX) or not isinstance(level, str):
        return None
    return level.lower() if level.lower() in _LEVELS else None


def _requested_task(document: Any) -> FlareTask | None:
    """Return the flare that is asked for, or `None` when something else is.

    Raises:
        RemoteConfigError: The description of the flare is not as it must be.
    """
    if not isinstance(document, dict) or document.get("task_type") != "tracer_flare":
        return None
    args = document.get("args")
    if not isinstance(args, dict):
        raise RemoteConfigError("args is not an object")
    case_id = _text(args, "case_id")
    if not _CASE_ID.fullmatch(case_id):
        raise RemoteConfigError("case_id is not a number of a support case")
    return FlareTask(_text(document, "uuid"), case_id, _text(args, "hostname"), _text(args, "user_handle"))


def _text(values: Mapping[str, Any], key: str) -> str:
    text = values.get(key)
    if not isinstance(text, str) or len(text) > _MAX_TEXT or not text.isprintable():
        raise RemoteConfigError(f"{key} is not a printable text of at most {_MAX_TEXT} characters")
    return text
