"""The effective configuration for people and programs: every value with where it came from, secrets hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual.config import SETTINGS, WITHOUT_EFFECT, without_user_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ddtrace_manual.config import Config, Setting

__all__ = ["HEAD", "as_document", "as_rows"]

HEAD: Final = ("setting", "value", "from")
_HIDDEN: Final = "<hidden>"
_LONGEST_CELL: Final = 80
_PLACES: Final = {
    "default": "default",
    "calculated": "calculated",
    "local_stable_config": "local file",
    "otel_env_var": "OpenTelemetry variable",
    "env_var": "environment",
    "fleet_stable_config": "fleet file",
    "code": "code",
    "remote_config": "remote configuration",
}


def as_rows(config: Config, *, everything: bool) -> Sequence[tuple[str, str, str]]:
    """Return a table row for each setting: variable, value, origin.

    Args:
        config: The configuration to show.
        everything: Also settings that have their default.
    """
    rows = [
        (row.env or row.name, _cut(_text(_value(config, row))), _PLACES[config.origin(row.name)] + _remark(row))
        for row in SETTINGS
        if everything or config.origin(row.name) != "default" or row.name == "trace_agent_url"
    ]
    rows += [
        (name, _cut(_text(value)), f"{_PLACES[origin]}, without effect")
        for name, value, origin in _without_effect(config)
        if everything or origin != "default"
    ]
    return rows


def as_document(config: Config) -> dict[str, Any]:  # Any: JSON
    """Return all settings, and what was wrong with them, for other programs."""
    return {
        "settings": {
            row.env or row.name: {
                "name": row.name,
                "value": _plain(_value(config, row)),
                "origin": config.origin(row.name),
                "is_used": row.is_used,
            }
            for row in SETTINGS
        }
        | {
            name: {"name": None, "value": value, "origin": origin, "is_used": False}
            for name, value, origin in _without_effect(config)
        },
        "warnings": list(config.warnings),
    }


def _without_effect(config: Config) -> Iterator[tuple[str, str | None, str]]:
    """Yield (variable, text, origin) of the known variables that do nothing here."""
    for name, default in WITHOUT_EFFECT.items():
        found = config.without_effect.get(name)
        if found is None:
            yield name, default, "default"
        else:
            yield name, str(found.value), found.origin


def _value(config: Config, row: Setting) -> Any:  # Any: settings are of every type
    value = getattr(config, row.name)
    if row.secret and value:
        return _HIDDEN
    return without_user_info(value) if row.is_url and isinstance(value, str) else value


def _remark(row: Setting) -> str:
    return "" if row.is_used else ", without effect"


def _text(value: Any) -> str:  # Any: see `_value`
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ",".join(f"{key}:{item}" for key, item in value.items())
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value)


def _plain(value: Any) -> Any:  # Any: see `_value`
    """Return the value as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value)


def _cut(text: str) -> str:
    line = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return line if len(line) <= _LONGEST_CELL else f"{line[: _LONGEST_CELL - 1]}…"
