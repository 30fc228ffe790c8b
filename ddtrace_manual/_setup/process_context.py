"""The OpenTelemetry process context: a mapping of 32 bytes that points to the resource of this process.

A reader in another process finds it by its name, `OTEL_CTX`. `ctypes` rather than the module `mmap`, which keeps a
second descriptor open.

Source: spec/telemetry-remote-config.md §14; OTEP 4719.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEADER", "ProcessContext", "encode_context", "encode_header"]

HEADER: Final = struct.Struct("=8sIIQQ")
"""Signature, version, payload size, time of publication, address of the payload; native byte order."""
_NAME: Final = "OTEL_CTX"
_SIGNATURE: Final = _NAME.encode()
_VERSION: Final = 2
_TIME_OFFSET: Final = 16
_MFD_NOEXEC_SEAL: Final = 8
_PROT_READ_WRITE: Final = 3
_MAP_PRIVATE: Final = 2
_MAP_ANONYMOUS: Final = 0x20
_MADV_DONTFORK: Final = 10
_PR_SET_VMA: Final = 0x53564D41
_PR_SET_VMA_ANON_NAME: Final = 0
_FAILED: Final = ctypes.c_void_p(-1).value


def encode_context(resource: Mapping[str, str], process_tags: str = "") -> bytes:
    """Return the payload: protobuf `ProcessContext`."""
    attributes = b"".join(_field(1, _key_value(key, value)) for key, value in resource.items())
    extra = _field(2, _key_value("datadog.process_tags", process_tags)) if process_tags else b""
    return _field(1, attributes) + extra


def encode_header(size: int, published_ns: int, address: int) -> bytes:
    """Return the content of the mapping."""
    return HEADER.pack(_SIGNATURE, _VERSION, size, published_ns, address)


class ProcessContext:
    """The mapping of this process; `publish` creates it, or exchanges what it points to."""

    def __init__(self) -> None:
        self._address = 0
        self._payload: ctypes.Array[ctypes.c_char] | None = None
        self._published_ns = 0
        self._lock = threading.Lock()  # one update at a time
        self._fence = threading.Lock()  # taking and releasing a lock are the memory fences that Python has

    def publish(self, payload: bytes) -> None:
        """Show a payload to readers in place of the one before.

        Raises:
            OSError: No mapping can be made that forked children do not inherit.
        """
        with self._lock:
            libc = _libc()
            if not self._address:
                self._address = _map_header(libc)
            buffer = ctypes.create_string_buffer(payload, max(len(payload), 1))
            self._write_time(0)
            start = encode_header(len(payload), 0, ctypes.addressof(buffer))
            ctypes.memmove(self._address, start, HEADER.size)
            self._published_ns = max(time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._published_ns + 1)
            self._write_time(self._published_ns)
            self._payload = buffer  # only now may the former one be freed
            libc.prctl(_PR_SET_VMA, _PR_SET_VMA_ANON_NAME, self._address, HEADER.size, _SIGNATURE)

    def _write_time(self, published_ns: int) -> None:
        """Write the time of publication, after all that was written before and before all that follows."""
        with self._fence:
            ctypes.c_uint64.from_address(self._address + _TIME_OFFSET).value = published_ns
        with self._fence:
            return


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p]
    return libc


def _map_header(libc: ctypes.CDLL) -> int:
    """Return the address of a new mapping: of a file in memory with the name, else an anonymous one."""
    try:
        fd = _open_named()
    except (AttributeError, OSError):
        address = libc.mmap(None, HEADER.size, _PROT_READ_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
    else:
        try:
            os.ftruncate(fd, HEADER.size)
            address = libc.mmap(None, HEADER.size, _PROT_READ_WRITE, _MAP_PRIVATE, fd, 0)
        finally:
            os.close(fd)
    if address in {None, _FAILED}:
        raise OSError(ctypes.get_errno(), "mmap failed")
    if libc.madvise(address, HEADER.size, _MADV_DONTFORK):
        error = ctypes.get_errno()
        libc.munmap(address, HEADER.size)
        raise OSError(error, "madvise failed")
    return int(address)


def _open_named() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(_NAME, flags | _MFD_NOEXEC_SEAL)
    except OSError:  # Linux before 6.3
        return os.memfd_create(_NAME, flags)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _key_value(key: str, value: str) -> bytes:
    return _field(1, _text(key)) + _field(2, _field(1, _text(value)))


def _text(value: str) -> bytes:
    return value.encode("utf-8", "replace")


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
