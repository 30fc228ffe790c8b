"""Facts about the running process: entry point, host name, source code, session.

Source: spec/span-mapping.md §11.1, §11.2; spec/telemetry-remote-config.md §8.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

__all__ = [
    "GIT_TAGS",
    "format_process_tags",
    "git_from_package",
    "normalize_tag_value",
    "publish_session",
    "run_module",
    "system_hostname",
    "without_credentials",
]

GIT_TAGS: Final = ("git.repository_url", "git.commit.sha", "python_main_package")
"""Keys of `DD_TAGS` that are source code metadata and never ordinary span tags."""

_MAX_VALUE: Final = 100
_RUNS: Final = re.compile("_{2,}")
_OMITTED: Final = frozenset({"", "/", "\\", "bin"})
_CREDENTIALS: Final = re.compile(r"^((?:https?|ssh)://)[^/]*@", re.IGNORECASE)
_OPTIONS_WITH_VALUE: Final = ("-W", "-X", "--check-hash-based-pycs")


def normalize_tag_value(text: str) -> str:
    """Return the text cut to 100 characters, in lower case, with unusual characters as single `_`."""
    kept = "".join(
        character if character.isalnum() or character in "/._-" else "_" for character in text[:_MAX_VALUE].lower()
    )
    return _RUNS.sub("_", kept).strip("_")


def run_module(orig_argv: Sequence[str]) -> str | None:
    """Return the module of `python -m module`, or `None` when a script or command runs.

    Args:
        orig_argv: As `sys.orig_argv`: interpreter, its options, then script or module.
    """
    arguments = iter(orig_argv[1:])
    for argument in arguments:
        if argument in _OPTIONS_WITH_VALUE:
            next(arguments, None)
        elif not argument.startswith("-") or argument in ("-", "-c"):
            return None
        elif not argument.startswith("--") and "m" in argument and not argument.startswith(("-W", "-X", "-c")):
            # Options without value may be joined in front (`-Bm`), the module behind (`-mpkg`).
            return argument.partition("m")[2] or next(arguments, None)
    return None


def format_process_tags(
    argv: Sequence[str], orig_argv: Sequence[str], cwd: str, service: str, *, service_is_user_provided: bool
) -> str:
    """Return the sorted, comma-joined `key:value` list that describes this process.

    Source: spec/span-mapping.md §11.2.
    """
    values = {"entrypoint.workdir": PurePath(cwd).name}
    module = run_module(orig_argv)
    script = argv[0] if argv else ""
    if module is not None:
        values["entrypoint.name"] = module
        values["entrypoint.type"] = "module"
    elif script not in ("", "-", "-c"):
        values["entrypoint.name"] = PurePath(script).stem
        values["entrypoint.type"] = "script"
    if script not in ("", "-", "-c", "-m"):
        values["entrypoint.basedir"] = PurePath(cwd, script).parent.name
    if service_is_user_provided:
        values["svc.user"] = "true"
    else:
        values["svc.auto"] = service
    normalized = {key: normalize_tag_value(value) for key, value in values.items()}
    return ",".join(f"{key}:{value}" for key, value in sorted(normalized.items()) if value not in _OMITTED)


def system_hostname() -> str | None:
    """Return the host name of the system, or `None`."""
    import socket  # rarely needed, and slow to import

    try:
        return socket.gethostname() or None
    except OSError:
        return None


def without_credentials(url: str) -> str:
    """Remove what stands between scheme and `@` in the authority of an http(s) or ssh URL."""
    return _CREDENTIALS.sub(r"\1", url)


def git_from_package(distribution: str) -> tuple[str, str]:
    """Return repository URL and commit that an installed distribution names as `source_code_link`; "" for unknown."""
    import importlib.metadata  # rarely needed, and slow to import

    try:
        urls = importlib.metadata.metadata(distribution).get_all("Project-URL") or ()
    except Exception:  # not installed, or its metadata is broken; either way nothing is known
        return "", ""
    for entry in urls:
        label, _, link = str(entry).partition(",")
        if label.strip() == "source_code_link":
            url, _, commit = link.strip().partition("#")
            return url, commit
    return "", ""


def publish_session(own: str, environ: MutableMapping[str, str] | None = None) -> None:
    """Write the session lineage for child processes into the process environment.

    The oldest known session is kept; the parent of a child is this process.

    Args:
        own: Runtime id of this process.
        environ: Environment to write to instead of the process's.

    Source: spec/telemetry-remote-config.md §8.
    """
    target = os.environ if environ is None else environ
    target.setdefault("_DD_ROOT_PY_SESSION_ID", own)
    target["_DD_PARENT_PY_SESSION_ID"] = own
