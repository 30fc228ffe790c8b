"""Read small files whose path comes from the environment: bounded, and never waiting for a writer."""

from __future__ import annotations

import os
import stat
from typing import Final

__all__ = ["MAX_BYTES", "read_small_file"]

MAX_BYTES: Final = 1024 * 1024
"""Largest file that is read."""

# Opening a FIFO without a writer would block; anything but a regular file is refused after opening.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def read_small_file(path: str, *, is_trusted_only: bool = False) -> str:
    """Return the text of a regular file of at most 1 MiB.

    Args:
        path: May be a symbolic link: mounted configuration often is.
        is_trusted_only: Refuse a file that belongs to neither root nor the user of this process, or that others may
            write. Without effect where files have no such owner.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is refused, or is not UTF-8.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if is_trusted_only:
            _require_trust(status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ValueError("it is larger than 1 MiB")
    return content.decode("utf-8")


def _require_trust(status: os.stat_result) -> None:
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid not in (0, os.geteuid()):
        raise ValueError("it belongs to neither root nor the user of this process")
    if status.st_mode & stat.S_IWOTH:
        raise ValueError("every user may write it")
