"""A name for the service when the user gave none: serverless platform, then the command line.

Source: spec/configuration.md §6.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["infer_service_name", "serverless_name"]

_SERVERLESS: Final = ("AWS_LAMBDA_FUNCTION_NAME", "K_SERVICE", "FUNCTION_NAME", "WEBSITE_SITE_NAME")


def serverless_name(environ: Mapping[str, str]) -> str | None:
    """Return the name of the function or site that a serverless platform runs here."""
    return next((environ[name] for name in _SERVERLESS if environ.get(name)), None)


def infer_service_name(argv: Sequence[str], cwd: str) -> str | None:
    """Return a name derived from the script or module on the command line, or `None`.

    Args:
        argv: As `sys.argv`.
        cwd: Directory to which relative paths refer.
    """
    return _scan(argv, cwd, skip_flag_values=True) or _scan(argv, cwd, skip_flag_values=False)


def _scan(argv: Sequence[str], cwd: str, *, skip_flag_values: bool) -> str | None:
    previous = ""
    for argument in argv:
        before, previous = previous, argument
        if before == "-m" and _is_importable(argument):
            return argument
        if not argument or argument.startswith("-") or "=" in argument or _is_executable(argument):
            continue
        if skip_flag_values and before.startswith("-"):
            continue
        name = _name_of_path(Path(cwd, argument))
        if name:
            return name
    return None


def _is_importable(module: str) -> bool:
    import importlib.util  # rarely needed, and slow to import

    # Only the top-level package is looked up: finding a submodule would import its parents.
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _is_executable(path: str) -> bool:
    """Return whether the path lies below a directory whose name ends in `bin`."""
    return any(directory.name.endswith("bin") for directory in PurePath(path).parents)


def _name_of_path(path: Path) -> str | None:
    """Return the dotted package around an existing path, or the name of its topmost directory with Python files."""
    try:
        if not path.exists():
            return None
        path = Path(os.path.normpath(path))
        directory = path if path.is_dir() else path.parent
        return _package_of(directory) or _project_of(directory) or None
    except (OSError, ValueError):  # ValueError: a null byte in the argument
        return None


def _package_of(directory: Path) -> str:
    names: list[str] = []
    while directory.name and (directory / "__init__.py").exists():
        names.append(directory.name)
        directory = directory.parent
    return ".".join(reversed(names))


def _project_of(directory: Path) -> str:
    while directory.name and any(directory.parent.glob("*.py")):
        directory = directory.parent
    return directory.name
