"""The log file of the library: readable by its user alone, and nothing but a file.

The path comes from the environment, and the process may run as root: a symbolic link that another user put there
would let it write anywhere, and a FIFO would hold it up.
"""

from __future__ import annotations

import os
import stat
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from io import TextIOWrapper

__all__ = ["PrivateLogFile"]

_MODE: Final = 0o600
_FLAGS: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


class PrivateLogFile(RotatingFileHandler):
    """A rotating log file that is made with mode 0600.

    Raises:
        OSError: The path is a symbolic link or is not a regular file, or the file cannot be opened.
    """

    def _open(self) -> TextIOWrapper:
        """Open the file; called by the base class at first, and after each rotation."""
        path = self.baseFilename
        if os.path.islink(path):  # noqa: PTH114 - a text, not a Path
            raise OSError("it is a symbolic link")
        descriptor = os.open(path, _FLAGS, _MODE)  # a link that was made meanwhile is not followed
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError("it is not a regular file")
        return os.fdopen(descriptor, "a", encoding=self.encoding, errors=self.errors)
