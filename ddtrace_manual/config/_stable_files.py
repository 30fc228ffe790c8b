"""The two host-wide YAML files that configure every traced process of a machine.

A file is evaluated once: its defaults, overlaid by the first rule whose selectors all match. A
faulty file is ignored as a whole, the other one is not affected. So is one that is larger than 1 MiB, belongs to
neither root nor the user of the process, or may be written by every user: it decides where traces go.

Source: spec/configuration.md §4.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ._files import read_small_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["SelectorFacts", "StableFile", "default_paths", "read_stable_files"]

LOCAL_OVERRIDE: Final = "_DD_SC_LOCAL_FILE_OVERRIDE"
FLEET_OVERRIDE: Final = "_DD_SC_MANAGED_FILE_OVERRIDE"
UNDEFINED: Final = "UNDEFINED"

_PATHS: Final = {
    "linux": (
        "/etc/datadog-agent/managed/datadog-agent/stable/application_monitoring.yaml",
        "/etc/datadog-agent/application_monitoring.yaml",
    ),
    "darwin": (
        "/opt/datadog-agent/etc/stable/application_monitoring.yaml",
        "/opt/datadog-agent/etc/application_monitoring.yaml",
    ),
    "win32": (
        r"C:\ProgramData\Datadog\managed\datadog-agent\stable\application_monitoring.yaml",
        r"C:\ProgramData\Datadog\application_monitoring.yaml",
    ),
}


@dataclass(frozen=True, slots=True)
class StableFile:
    """What one file says for this process."""

    path: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    """Environment name → text."""
    config_id: str | None = None
    """Identifier of the fleet file; always `None` for the local one."""


@dataclass(frozen=True, slots=True)
class SelectorFacts:
    """What selectors and templates of a file may ask about the process."""

    environ: Mapping[str, str]
    arguments: Sequence[str]
    """The whole command line."""

    def argument(self, key: str) -> str | None:
        """Return the value of the first argument of the form `key=value`."""
        for argument in self.arguments:
            name, separator, value = argument.partition("=")
            if separator and name == key:
                return value
        return None


def default_paths(platform: str = sys.platform) -> tuple[str, str]:
    """Return the paths of the fleet file and of the local file; empty texts where there are none."""
    return _PATHS.get(platform, ("", ""))


def read_stable_files(facts: SelectorFacts, warn: Callable[[str], None]) -> tuple[StableFile, StableFile]:
    """Read and evaluate the fleet file and the local file.

    Args:
        facts: What the files may ask about the process.
        warn: Takes one text per faulty file.
    """
    fleet_path, local_path = default_paths()
    fleet_path = facts.environ.get(FLEET_OVERRIDE) or fleet_path
    local_path = facts.environ.get(LOCAL_OVERRIDE) or local_path
    missing_library: list[str] = []
    fleet = _read(fleet_path, facts, warn, missing_library)
    local = _read(local_path, facts, warn, missing_library)
    if missing_library:
        names = ", ".join(missing_library)
        warn(f"configuration file {names} is ignored: install the extra ddtrace-manual[yaml] to read it")
    return fleet, StableFile(local.path, local.values)


def _read(path: str, facts: SelectorFacts, warn: Callable[[str], None], missing_library: list[str]) -> StableFile:
    """Return what one file says; nothing when it is missing or faulty."""
    try:
        return _evaluate(path, _load(path), facts)
    except ImportError:
        missing_library.append(path)
    # A hostile or broken file may fail in many ways (nesting depth, encoding, structure); each means: ignore it.
    except Exception as exc:
        warn(f"configuration file {path} is ignored: {_first_line(exc)}")
    return StableFile(path)


def _first_line(exc: Exception) -> str:
    text = str(exc).partition("\n")[0]
    return text or type(exc).__name__


def _load(path: str) -> object:
    """Return the document with all scalars as text, or `None` when there is nothing to read."""
    if not path or path == os.devnull:
        return None
    try:
        text = read_small_file(path, is_trusted_only=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not text.strip():
        return None
    yaml = importlib.import_module("yaml")
    return yaml.load(text, Loader=yaml.BaseLoader)  # builds only text, lists and mappings


def _evaluate(path: str, document: object, facts: SelectorFacts) -> StableFile:
    """Return what the document says for this process.

    Raises:
        ValueError: The structure is wrong.
    """
    if document is None:
        return StableFile(path)
    top = _mapping(document, "the file")
    tags = _scalars(top.get("tags"), "tags")
    values = _scalars(top.get("apm_configuration_default"), "apm_configuration_default")
    rules = [*_list(top.get("apm_configuration_rules"), "apm_configuration_rules"), *_list(top.get("rules"), "rules")]
    # All rules are judged before one is applied: a mistake in a later one must not depend on the host.
    matches = [_matches(_mapping(rule, "a rule"), tags, facts) for rule in rules]
    for rule, matched in zip(rules, matches, strict=True):
        if matched:
            values |= {
                name: _render(value, tags, facts)
                for name, value in _scalars(rule.get("configuration"), "configuration").items()
            }
            break
    config_id = top.get("config_id")
    if config_id is not None and not isinstance(config_id, str):
        raise ValueError("config_id must be text")
    return StableFile(path, values, config_id or None)


def _mapping(value: object, what: str) -> dict[str, Any]:  # Any: the parts are checked one by one
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{what} must be a mapping")
    return value


def _list(value: object, what: str) -> list[Any]:  # Any: as above
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list")  # noqa: TRY004 - the file is wrong, not a type
    return value


def _scalars(value: object, what: str) -> dict[str, str]:
    if value is None or value == "":
        return {}
    result = _mapping(value, what)
    for key, item in result.items():
        if not isinstance(item, str):
            raise ValueError(f"{what}: the value of {key} must be a scalar")  # noqa: TRY004 - as above
    return dict(result)


def _matches(rule: dict[str, Any], tags: Mapping[str, str], facts: SelectorFacts) -> bool:  # Any: as above
    selectors = [_mapping(item, "a selector") for item in _list(rule.get("selectors"), "selectors")]
    results = [_selects(selector, tags, facts) for selector in selectors]
    return all(results)


def _selects(selector: dict[str, Any], tags: Mapping[str, str], facts: SelectorFacts) -> bool:  # Any: as above
    candidates = _candidates(selector.get("origin"), selector.get("key") or None, tags, facts)
    wanted = _list(selector.get("matches"), "matches")
    if not all(isinstance(item, str) for item in wanted):
        raise ValueError("matches must be a list of text")
    operator = selector.get("operator")
    if operator == "exists":
        return bool(candidates)
    test = _OPERATORS.get(operator) if isinstance(operator, str) else None
    if test is None:
        raise ValueError(f"unknown operator {operator!r}")
    return any(test(text, item) for text in candidates for item in wanted)


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "equals": str.__eq__,
    "prefix_matches": str.startswith,
    "suffix_matches": str.endswith,
}


def _candidates(origin: object, key: object, tags: Mapping[str, str], facts: SelectorFacts) -> list[str]:
    """Return the texts that a selector compares."""
    if key is not None and not isinstance(key, str):
        raise ValueError("the key of a selector must be text")
    if origin not in ("language", "environment_variables", "process_arguments", "tags"):
        raise ValueError(f"unknown origin {origin!r}")
    if key is None:
        if origin == "environment_variables":
            return [f"{name}={value}" for name, value in facts.environ.items()]
        if origin == "process_arguments":
            return list(facts.arguments)
        return ["python"] if origin == "language" else []
    found = _lookup(str(origin), key, tags, facts)
    return [] if found is None else [found]


def _lookup(origin: str, key: str | None, tags: Mapping[str, str], facts: SelectorFacts) -> str | None:
    """Return the text that an origin holds under a key."""
    if origin == "language":
        return "python"
    if key is None:
        return None
    if origin == "environment_variables":
        return facts.environ.get(key)
    if origin == "process_arguments":
        return facts.argument(key)
    return tags.get(key) if origin == "tags" else None


def _render(template: str, tags: Mapping[str, str], facts: SelectorFacts) -> str:
    """Replace every `{{…}}` in a string; unknown names become `UNDEFINED`.

    Raises:
        ValueError: A `{{` is not closed.
    """
    head, *rest = template.split("{{")
    parts = [head]
    for piece in rest:
        expression, closed, tail = piece.partition("}}")
        if not closed:
            raise ValueError(f"unterminated {{{{ in {template!r}")
        origin, bracket, key = expression.strip().partition("[")
        found = _lookup(origin.strip(), _template_key(key) if bracket else None, tags, facts)
        parts += (UNDEFINED if found is None else found, tail)
    return "".join(parts)


def _template_key(text: str) -> str | None:
    """Return the key that stands before `]`, without a pair of quotes around it."""
    key, bracket, _ = text.rpartition("]")
    key = key.strip()
    if not bracket or not key:
        return None
    if len(key) > 1 and key[0] == key[-1] and key[0] in "'\"":
        return key[1:-1]
    return key
