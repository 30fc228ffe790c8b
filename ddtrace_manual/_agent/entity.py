"""Which container this process runs in, as the Agent wants to hear it. Linux only; ask once per process.

Source: spec/trace-export.md §6.1.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Entity", "find_entity", "parse_container_id", "parse_node_path"]

_CGROUP_FILE: Final = "/proc/self/cgroup"
_NAMESPACE_FILE: Final = "/proc/self/ns/cgroup"
_CGROUP_ROOT: Final = "/sys/fs/cgroup"
_HOST_NAMESPACE_INODE: Final = 0xEFFFFFFB

_LINE: Final = re.compile(r"^\d+:[^:]*:(.+)$")
_CONTAINER: Final = re.compile(
    r"([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}"  # UUID
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}"  # PCF, Garden
    r"|[0-9a-f]{64}"
    r"|[0-9a-f]{32}-\d+)"  # ECS Fargate task
    r"(?:\.scope(?:/[^/ \t]+)?)? *$"
)


@dataclass(frozen=True, slots=True)
class Entity:
    """Ids of the container; "" when not known."""

    container_id: str = ""
    entity_id: str = ""
    """`ci-<container id>` or `in-<inode of the cgroup node>`."""


def find_entity(
    read_text: Callable[[str], str] | None = None,
    read_inode: Callable[[str], int] | None = None,
    platform: str = sys.platform,
) -> Entity:
    """Find out which container this process runs in; never raises.

    Args:
        read_text: Returns the content of a file.
        read_inode: Returns the inode number of a file or folder.
        platform: As `sys.platform`.
    """
    if not platform.startswith("linux"):
        return Entity()
    try:
        lines = (read_text or _read_text)(_CGROUP_FILE).splitlines()
    except (OSError, ValueError):
        return Entity()
    container_id = parse_container_id(lines)
    if container_id:
        return Entity(container_id, f"ci-{container_id}")
    inode = _node_inode(lines, read_inode or _read_inode)
    return Entity("", f"in-{inode}" if inode else "")


def parse_container_id(lines: Iterable[str]) -> str:
    """Return the container id in the lines of a cgroup file; "" for none."""
    for line in lines:
        path = _LINE.match(line)
        found = _CONTAINER.search(path.group(1)) if path is not None else None
        if found is not None:
            return found.group(1)
    return ""


def parse_node_path(lines: Iterable[str]) -> str:
    """Return the path of the cgroup node named in a cgroup file, of version 1 if possible; "" for none."""
    unified = ""
    for line in lines:
        parts = line.split(":")
        if len(parts) != 3:  # number, controllers, path
            continue
        _, controllers, path = parts
        if "memory" in controllers.split(","):
            return f"{_CGROUP_ROOT}/memory/{path.lstrip('/')}"
        if not controllers:
            unified = unified or f"{_CGROUP_ROOT}/{path.lstrip('/')}"
    return unified


def _node_inode(lines: Iterable[str], read_inode: Callable[[str], int]) -> int:
    """Return the inode number of this process's cgroup node; 0 on the host or when there is none."""
    if _inode_or_0(_NAMESPACE_FILE, read_inode) == _HOST_NAMESPACE_INODE:
        return 0
    path = parse_node_path(lines)
    return _inode_or_0(path, read_inode) if path else 0


def _inode_or_0(path: str, read_inode: Callable[[str], int]) -> int:
    try:
        return read_inode(path)
    except (OSError, ValueError):
        return 0


def _read_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _read_inode(path: str) -> int:
    return Path(path).stat().st_ino
