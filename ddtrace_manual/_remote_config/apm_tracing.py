"""Product APM_TRACING: settings of tracing, from one or several files.

Source: spec/telemetry-remote-config.md §10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._base.log import get_logger
from ddtrace_manual.exceptions import RemoteConfigError

from .files import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .files import RemoteFile

__all__ = ["ApmTracing", "Overrides"]

_log = get_logger("remote_config")

_ANYTHING: Final = frozenset({None, "*"})
_MAX_ENTRIES: Final = 1000
"""Most rules, tags or header tags of one file."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Values in effect instead of the local ones; `None` leaves the local one in effect."""

    sampling_rate: float | None = None
    sampling_rules: tuple[Any, ...] | None = None  # Any: what `parse_rules` makes of them
    tags: Mapping[str, str] | None = None
    enabled: bool | None = None
    log_injection: bool | None = None
    header_tags: Mapping[str, str] | None = None
    config_id: str | None = field(default=None, compare=False)
    """Identifier of the most specific file that contributes."""


@dataclass(slots=True)
class _Part:
    """What one file says."""

    service: str | None
    env: str | None
    specificity: int
    values: Mapping[str, Any]  # Any: one type for each field of Overrides
    config_id: str | None
    order: int = 0


class ApmTracing:
    """Merges the files that concern this process, and has the result put into effect whenever it changes.

    Args:
        service: The configured service.
        env: The configured environment.
        extra_services: Other services of this process; files for one of them concern it too.
        parse_rate: Checks a sampling rate; `None` stays `None`. Raises `RemoteConfigError`.
        parse_rules: Checks sampling rules likewise.
        apply: Puts overrides into effect; returns whether that was possible now.
        inherited: Overrides in effect already, of a former pipeline or a parent process; kept until the first answer.
    """

    name = "APM_TRACING"
    capabilities = (12, 13, 14, 15, 19, 29, 45)

    def __init__(
        self,
        *,
        service: str,
        env: str,
        extra_services: Callable[[], Sequence[str]],
        parse_rate: Callable[[object], float | None],
        parse_rules: Callable[[object], tuple[Any, ...]],
        apply: Callable[[Overrides], bool],
        inherited: Overrides | None = None,
    ) -> None:
        self._service = service.lower()
        self._env = env.lower()
        self._extra_services = extra_services
        self._readers: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
            "sampling_rate": ("tracing_sampling_rate", parse_rate),
            "sampling_rules": ("tracing_sampling_rules", lambda value: parse_rules(_bounded(value))),
            "tags": ("tracing_tags", _read_tags),
            "enabled": ("tracing_enabled", _read_flag),
            "log_injection": ("log_injection_enabled", _read_lenient_flag),
            "header_tags": ("tracing_header_tags", _read_header_tags),
        }
        self._apply = apply
        self._parts: dict[str, _Part] = {}
        self._received = 0
        self.overrides = inherited or Overrides()
        """In effect now."""

    def update(self, removed: Sequence[RemoteFile], changed: Sequence[RemoteFile]) -> dict[str, str]:
        """Take files; one that cannot be read keeps what it said before, and is an error."""
        for file in removed:
            self._parts.pop(file.path, None)
        errors: dict[str, str] = {}
        for file in changed:
            try:
                part = self._read(file.content)
            except RemoteConfigError as exc:
                errors[file.path] = str(exc)
                continue
            self._received += 1
            part.order = self._received
            self._parts[file.path] = part
        return errors

    def complete(self) -> None:
        """Put the merged values into effect if they are others than before."""
        merged = self._merge()
        if merged != self.overrides and self._apply(merged):
            self.overrides = merged

    def _merge(self) -> Overrides:
        """Return for each key the first value of the files that concern this process, the most specific first."""
        parts = [part for part in self._parts.values() if self._concerns(part)]
        parts.sort(key=lambda part: (part.specificity, part.order), reverse=True)
        values: dict[str, Any] = {}
        for part in parts:
            for name, value in part.values.items():
                if values.setdefault(name, value) is value:
                    values.setdefault("config_id", part.config_id)
        return Overrides(**values)

    def _concerns(self, part: _Part) -> bool:
        if part.env is not None and part.env != self._env:
            return False
        return part.service in (None, self._service) or part.service in {
            service.lower() for service in self._extra_services()
        }

    def _read(self, content: bytes) -> _Part:
        document = parse_json(content)
        if not isinstance(document, dict):
            raise RemoteConfigError("the content is not an object")
        target = document.get("service_target")
        if target is not None and not isinstance(target, dict):
            raise RemoteConfigError("service_target is not an object")
        service, env = _target(target, "service"), _target(target, "env")
        given = document.get("lib_config")
        if given is not None and not isinstance(given, dict):
            raise RemoteConfigError("lib_config is not an object")
        if document.get("action", "enable") != "enable":
            given = None
        values: dict[str, Any] = {}
        for name, (key, read) in self._readers.items():
            if given and given.get(key) is not None:
                values[name] = _named(key, read, given[key])
        specificity = 4 * (service is not None) + 2 * (env is not None)
        specificity += document.get("k8s_target_v2") is not None
        config_id = document.get("id")
        return _Part(service, env, specificity, values, config_id if isinstance(config_id, str) else None)


def _target(target: Mapping[str, Any] | None, member: str) -> str | None:
    """Return what a file is for, in lower case; `None` for anything."""
    value = None if target is None else target.get(member)
    if value is not None and not isinstance(value, str):
        raise RemoteConfigError(f"service_target.{member} is not a string")
    return None if value in _ANYTHING else str(value).lower()


def _named(key: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except RemoteConfigError as exc:
        raise RemoteConfigError(f"{key}: {exc}") from exc


def _bounded(value: Any) -> Any:
    if isinstance(value, list) and len(value) > _MAX_ENTRIES:
        raise RemoteConfigError(f"more than {_MAX_ENTRIES} entries")
    return value


def _entries(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise RemoteConfigError("not an array")
    return list(_bounded(value))


def _read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise RemoteConfigError("not a boolean")
    return value


def _read_lenient_flag(value: Any) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    return known[value.lower()] if isinstance(value, str) and value.lower() in known else _read_flag(value)


def _read_tags(value: Any) -> dict[str, str]:
    """Read `["key:value", …]`; an entry that is none is left out."""
    tags: dict[str, str] = {}
    for entry in _entries(value):
        key, found, text = entry.partition(":") if isinstance(entry, str) else ("", "", "")
        if found and key.strip():
            tags[key.strip()] = text.strip()
        else:
            _log.debug("Left out a malformed entry of tracing_tags")
    return tags


def _read_header_tags(value: Any) -> dict[str, str]:
    """Read `[{"header": …, "tag_name": …}, …]`; an entry that is none is left out."""
    tags: dict[str, str] = {}
    for entry in _entries(value):
        header = entry.get("header") if isinstance(entry, dict) else None
        tag = (entry.get("tag_name") or "") if isinstance(entry, dict) else None
        if isinstance(header, str) and header.strip() and isinstance(tag, str):
            tags[header.strip()] = tag.strip()
        else:
            _log.debug("Left out a malformed entry of tracing_header_tags")
    return tags
