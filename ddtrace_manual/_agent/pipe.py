"""A Windows named pipe with those methods of a socket that an HTTP client uses.

Opened as a file, a pipe knows no time limits. Reading asks first whether something has arrived; writing
can block, as long as the pipe is full and the Agent reads nothing: then the worker thread waits, nobody else.

Source: spec/trace-export.md §4.
"""

from __future__ import annotations

import errno
import io
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["PipeSocket", "is_pipe"]

_PREFIX: Final = "\\\\"
_BUSY: Final = errno.EINVAL
"""What the C library makes of Windows saying that all instances of the pipe are in use."""
_LONGEST_NAP_S: Final = 0.01


def is_pipe(path: str) -> bool:
    r"""Say whether a path names a pipe, as `\\.\pipe\name`; the other ones are of sockets."""
    return path.startswith(_PREFIX)


class PipeSocket:
    r"""One connection. Used by one thread at a time.

    Args:
        path: `\\.\pipe\name`.
        timeout_s: How long to wait for a free instance of the pipe, in seconds.

    Raises:
        OSError: There is no such pipe, it may not be used, or all its instances stay busy.
    """

    def __init__(self, path: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._file = _open_patiently(path, timeout_s)
        self._users = 1

    def settimeout(self, timeout_s: float | None) -> None:
        """Limit the time that each read may take, in seconds; `None` leaves it as it is."""
        if timeout_s is not None:
            self._timeout_s = timeout_s

    def sendall(self, data: Buffer) -> None:
        """Write everything."""
        left = memoryview(data).cast("B")
        while left:
            left = left[self._file.write(left) or 0 :]

    def makefile(self, *_: Any) -> io.BufferedReader:  # Any: mode and buffering, which are always the same
        """Return the receiving half, which stays open when the socket is closed."""
        self._users += 1
        return io.BufferedReader(_PipeReader(self))

    def close(self) -> None:
        """Close the pipe unless its receiving half is still in use."""
        self._users -= 1
        if self._users == 0:
            self._file.close()

    def read_into(self, buffer: Buffer) -> int:
        """Wait for data and read some; 0 = the other side has ended.

        Raises:
            TimeoutError: Nothing has arrived in time.
        """
        end = time.monotonic() + self._timeout_s
        nap_s = 0.0
        try:
            while not _has_data(self._file):
                left_s = end - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("nothing arrived through the pipe")
                time.sleep(min(nap_s, left_s))
                nap_s = min(2 * nap_s + 0.0005, _LONGEST_NAP_S)
            view = memoryview(buffer).cast("B")
            data = self._file.read(len(view)) or b""
        except BrokenPipeError:
            return 0
        view[: len(data)] = data
        return len(data)


class _PipeReader(io.RawIOBase):
    """What `makefile` returns, without its buffer."""

    def __init__(self, pipe: PipeSocket) -> None:
        self._pipe = pipe

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        return self._pipe.read_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._pipe.close()


def _open_patiently(path: str, timeout_s: float) -> io.FileIO:
    end = time.monotonic() + timeout_s
    while True:
        try:
            return _open(path)
        except OSError as exc:
            if exc.errno != _BUSY or time.monotonic() >= end:
                raise
        time.sleep(_LONGEST_NAP_S)


def _open(path: str) -> io.FileIO:
    return io.FileIO(path, "r+")


if sys.platform == "win32":  # pragma: no cover - tests put a socket in its place
    import _winapi
    import msvcrt

    def _has_data(file: io.FileIO) -> bool:
        return bool(_winapi.PeekNamedPipe(msvcrt.get_osfhandle(file.fileno()), 0)[0])

else:

    def _has_data(file: io.FileIO) -> bool:  # noqa: ARG001 - there are no such pipes here
        return True
