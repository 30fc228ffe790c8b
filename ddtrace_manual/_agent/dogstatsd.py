"""Metrics as DogStatsD datagrams: fire and forget.

Source: spec/trace-export.md §4 (address), §11 (format and health metrics).
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ddtrace_manual.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .client import SendResult

__all__ = ["DogStatsdClient", "report_send"]

_DEFAULT_PORT: Final = 8125
_UNIX_SCHEME: Final = "unix://"
_TRANSPORT: Final = "datadog.tracer.exporter.transport."
_RESERVED: Final = str.maketrans(dict.fromkeys("|#,\n\r", "_"))


class DogStatsdClient:
    """Sends metrics; what cannot be sent at once is lost and counted.

    Thread-safe enough for what it does: a race opens one socket too many. After a fork the child opens its own.

    Args:
        address: `udp://host:port`, `http://host:port` (the same) or `unix:///path` of a datagram socket.
        tags: Added to every metric, each `name:value`.

    Attributes:
        lost_datagrams: Datagrams that could not be sent.

    Raises:
        ConfigurationError: Another scheme, or no host or path.
    """

    def __init__(self, address: str, *, tags: Iterable[str] = ()) -> None:
        self._unix_path, self._host, self._port = _split_address(address)
        self._tags = tuple(tags)
        self._opened: tuple[int, socket.socket] | None = None
        self.lost_datagrams = 0

    def count(self, name: str, value: int = 1, tags: Iterable[str] = ()) -> None:
        """Add to a count."""
        self._send(name, value, "c", tags)

    def distribution(self, name: str, value: float, tags: Iterable[str] = ()) -> None:
        """Add one value to a distribution."""
        self._send(name, value, "d", tags)

    def gauge(self, name: str, value: float, tags: Iterable[str] = ()) -> None:
        """Set a gauge."""
        self._send(name, value, "g", tags)

    def close(self) -> None:
        """Close the socket; the next metric opens another one."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened[1].close()

    def _send(self, name: str, value: float, kind: str, tags: Iterable[str]) -> None:
        try:
            all_tags = ",".join(tag.translate(_RESERVED) for tag in (*self._tags, *tags))
            suffix = f"|#{all_tags}" if all_tags else ""
            self._socket().send(f"{name}:{value}|{kind}{suffix}".encode(errors="replace"))
        except Exception:  # a metric is never worth an error
            self.lost_datagrams += 1
            self.close()

    def _socket(self) -> socket.socket:
        pid = os.getpid()
        opened = self._opened
        if opened is None or opened[0] != pid:
            opened = self._opened = (pid, self._connect())
        return opened[1]

    def _connect(self) -> socket.socket:
        if self._unix_path:
            return _connected(socket.AF_UNIX, self._unix_path)
        family, _, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
        return _connected(family, address)


def report_send(client: DogStatsdClient, result: SendResult, *, chunks: int, payload_bytes: int) -> None:
    """Report one sent trace payload as health metrics.

    Args:
        client: Sends them; its tags should be `tracer_version:<v>` and `lang:python`.
        result: What became of the payload.
        chunks: Chunks in it.
        payload_bytes: Its size.
    """
    client.distribution(_TRANSPORT + "requests", result.attempts)
    client.distribution(_TRANSPORT + "sent.bytes", payload_bytes)
    client.distribution(_TRANSPORT + "traces.sent", chunks)
    if result.delivered:
        client.count(_TRANSPORT + "traces.successful", chunks)
        return
    client.count(_TRANSPORT + "traces.failed", chunks, (f"type:{_failure_type(result)}",))
    if result.outcome != "unsupported":
        client.distribution(_TRANSPORT + "traces.dropped", chunks)
        client.distribution(_TRANSPORT + "dropped.bytes", payload_bytes)


def _failure_type(result: SendResult) -> str:
    if result.status:
        return str(result.status)
    return "response_body" if result.outcome == "failed" else result.outcome


def _connected(family: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(address)  # type: ignore[arg-type]  # of the type that the family needs
    except BaseException:
        sock.close()
        raise
    return sock


def _split_address(address: str) -> tuple[str, str, int]:
    """Return the path of a Unix socket or "", host, and port."""
    if address.startswith(_UNIX_SCHEME) and len(address) > len(_UNIX_SCHEME):
        return address[len(_UNIX_SCHEME) :], "", 0
    try:
        parts = urlsplit(address)
        if parts.scheme in {"udp", "http"} and parts.hostname:
            return "", parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        pass
    raise ConfigurationError(f"{address!r} is not a udp:// or unix:// address")
