"""Where values come from, and which of several counts.

    remote > code > fleet file > DD_* environment > OTEL_* environment > local file > calculated > default

`Inputs` is everything read from outside, gathered once; `Resolution` is pure: it turns inputs into
all found values per setting and remembers what was wrong with them.

Source: spec/configuration.md §2.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ddtrace_manual.exceptions import ConfigurationError

from ._agent_url import without_user_info
from ._parsers import Corrected
from ._settings import BY_NAME, CODE_NAMES
from ._stable_files import SelectorFacts, StableFile, read_stable_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ._row import Setting

__all__ = [
    "CALCULATED",
    "CODE",
    "DEFAULT",
    "ENV_VAR",
    "FLEET_FILE",
    "LOCAL_FILE",
    "OTEL_ENV_VAR",
    "REMOTE",
    "Found",
    "Inputs",
    "Resolution",
    "check_code_settings",
    "gather_inputs",
]

# Origins, as telemetry names them, by rising precedence (spec/configuration.md §2).
DEFAULT: Final = "default"
CALCULATED: Final = "calculated"
LOCAL_FILE: Final = "local_stable_config"
OTEL_ENV_VAR: Final = "otel_env_var"
ENV_VAR: Final = "env_var"
FLEET_FILE: Final = "fleet_stable_config"
CODE: Final = "code"
REMOTE: Final = "remote_config"

RANKS: Final[Mapping[str, int]] = {
    origin: rank
    for rank, origin in enumerate(
        (DEFAULT, CALCULATED, LOCAL_FILE, OTEL_ENV_VAR, ENV_VAR, FLEET_FILE, CODE, REMOTE),
    )
}
_PREFIXES: Final = ("DD_", "_DD_", "OTEL_")
_PLATFORM_NAMES: Final = frozenset({"AWS_LAMBDA_FUNCTION_NAME", "K_SERVICE", "FUNCTION_NAME", "WEBSITE_SITE_NAME"})
_LONGEST_QUOTE: Final = 200


class Found(NamedTuple):
    """One value of a setting, with where it was found."""

    value: object
    origin: str
    raw: str | None = None
    """The text as the user wrote it; `None` when it was not a text."""
    config_id: str | None = None
    """Identifier of the fleet file or of the remote configuration."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that was read from outside this package, once."""

    environ: Mapping[str, str]
    """Only the variables that may matter: `DD_*`, `_DD_*`, `OTEL_*` and the names serverless platforms set."""
    fleet: StableFile
    local: StableFile
    argv: tuple[str, ...]
    orig_argv: tuple[str, ...]
    cwd: str
    exists: Callable[[str], bool]
    warnings: tuple[str, ...] = ()
    """What was wrong with the files."""


def gather_inputs(
    environ: Mapping[str, str] | None = None,
    argv: Sequence[str] | None = None,
    orig_argv: Sequence[str] | None = None,
    cwd: str | None = None,
    exists: Callable[[str], bool] = os.path.exists,
) -> Inputs:
    """Read environment, command line and files; arguments replace what the process itself has."""
    if environ is None:
        environ = os.environ
    if orig_argv is None:
        orig_argv = getattr(sys, "orig_argv", ()) if argv is None else ["python", *argv]
    if argv is None:
        argv = getattr(sys, "argv", ())  # absent when Python is embedded
    argv, orig_argv = _texts(argv), _texts(orig_argv)
    warnings: list[str] = []
    fleet, local = read_stable_files(SelectorFacts(environ, orig_argv), warnings.append)
    kept = {name: value for name, value in environ.items() if name.startswith(_PREFIXES) or name in _PLATFORM_NAMES}
    return Inputs(kept, fleet, local, argv, orig_argv, _directory() if cwd is None else cwd, exists, tuple(warnings))


def _texts(arguments: object) -> tuple[str, ...]:
    """Return a command line as text; arguments that are not strings become ""."""
    try:
        if isinstance(arguments, (str, bytes)):
            return ()
        return tuple([os.fsdecode(each) if isinstance(each, (str, bytes)) else "" for each in arguments])  # type: ignore[attr-defined] # or raises
    except Exception:  # an object of the application
        return ()


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # the directory was removed
        return os.sep


def check_code_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Return code name → value; `None`, and an empty text where it means nothing, count as not given.

    Raises:
        ConfigurationError: A name is unknown or given twice, or a value is of the wrong type or out of range.
    """
    checked: dict[str, object] = {}
    for given, value in settings.items():
        name = CODE_NAMES.get(given)
        if name is None:
            raise ConfigurationError(_unknown(given))
        if value is None or (isinstance(value, str) and not value and not BY_NAME[name].kind.keeps_empty):
            continue
        if name in checked:
            raise ConfigurationError(f"{name} is given twice, once as {given}")
        checked[name] = _checked(BY_NAME[name], given, value)
    return checked


def _unknown(given: str) -> str:
    from difflib import get_close_matches  # only for a mistake

    close = get_close_matches(given, CODE_NAMES, n=1)
    return f"unknown setting {given}" + (f"; did you mean {close[0]}?" if close else "")


def _checked(row: Setting, given: str, value: object) -> object:
    try:
        result = row.kind.check(value)
    except ValueError as exc:
        reason = str(exc)
    else:
        if not isinstance(result, Corrected):
            return result
        reason = result.reason
    shown = "" if row.secret else f", got {_shortened(repr(value))}"
    raise ConfigurationError(f"{given} {reason}{shown}")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


@dataclass(slots=True)
class Resolution:
    """All values found so far, per code name by rising precedence, and what was wrong."""

    inputs: Inputs
    found: dict[str, list[Found]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """One text per mistake."""
    notes: list[str] = field(default_factory=list)
    """What is worth a line at DEBUG."""
    without_effect: Mapping[str, Found] = field(default_factory=dict)
    """Known variable that does nothing here → its text, where it is set."""
    otel_events: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Kind (`hiding`, `invalid`, `unsupported`), `OTEL_*` name and `DD_*` name, both in lower case."""

    def read(self, row: Setting, code: Mapping[str, object]) -> None:
        """Find the values that default, files, environment and code have for a setting."""
        inputs = self.inputs
        values = [Found(row.default, DEFAULT)]
        self._from_text(row, inputs.local.values, LOCAL_FILE, values, inputs.local)
        self._from_text(row, inputs.environ, ENV_VAR, values, None)
        self._from_text(row, inputs.fleet.values, FLEET_FILE, values, inputs.fleet)
        if row.name in code:
            values.append(Found(code[row.name], CODE))
        self.found[row.name] = values

    def add(self, name: str, found: Found) -> None:
        """Insert a value according to the precedence of its origin; among equal origins it comes last."""
        values = self.found[name]
        rank = RANKS[found.origin]
        at = next((i for i, other in enumerate(values) if RANKS[other.origin] > rank), len(values))
        values.insert(at, found)

    def best(self, name: str) -> Found:
        """Return the value in effect."""
        return self.found[name][-1]

    def is_set(self, name: str, above: str = CALCULATED) -> bool:
        """Return whether a source ranking above `above` has a value; remote configuration does not count."""
        limit = RANKS[above]
        return any(limit < RANKS[found.origin] < RANKS[REMOTE] for found in self.found[name])

    def warn(self, text: str) -> None:
        """Remember a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def reject(self, row: Setting, variable: str, raw: str, reason: str, place: str = "") -> None:
        """Remember that the value of a variable is not used."""
        self.warn(f"{variable}={self._shown(row, raw)}{place} is ignored: {reason}")

    def _shown(self, row: Setting, raw: str) -> str:
        if row.secret:
            return "<hidden>"
        return _shortened(repr(without_user_info(raw) if row.is_url else raw))

    def _from_text(
        self, row: Setting, texts: Mapping[str, str], origin: str, values: list[Found], file: StableFile | None
    ) -> None:
        """Append the value of the first name of a setting whose text can be used."""
        place = f" in {file.path}" if file is not None else ""
        for variable in row.env_names:
            raw = texts.get(variable)
            if raw is None or (not row.kind.keeps_empty and not raw.strip()):
                continue
            if variable in row.deprecated:
                self.warn(f"{variable}{place} is deprecated: use {row.env}")
            try:
                value = row.kind.parse(raw)
            except ValueError as exc:
                if file is not None or not row.otel_mapped:
                    self.reject(row, variable, raw, str(exc), place)
                continue
            if isinstance(value, Corrected):
                self.warn(f"{variable}={self._shown(row, raw)}{place} {value.reason}")
                value = value.value
            config_id = file.config_id if file is not None else None
            values.append(Found(value, origin, without_user_info(raw) if row.is_url else raw, config_id))
            return

    def read_all(self, rows: Iterable[Setting], code: Mapping[str, object]) -> None:
        """`read` every row."""
        for row in rows:
            self.read(row, code)
