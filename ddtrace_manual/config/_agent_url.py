"""Addresses of the Agent: how they are written and how they follow from host, port and socket.

Source: spec/trace-export.md §4, spec/configuration.md §8.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "APM_SOCKET",
    "DEFAULT_AGENT_PORT",
    "DEFAULT_STATSD_PORT",
    "DSD_SOCKET",
    "agent_host_of",
    "derive_agent_url",
    "derive_statsd_url",
    "parse_agent_url",
    "parse_host",
    "parse_http_url",
    "parse_statsd_url",
    "statsd_host_and_port",
    "without_user_info",
]

APM_SOCKET: Final = "/var/run/datadog/apm.socket"
DSD_SOCKET: Final = "/var/run/datadog/dsd.socket"
DEFAULT_AGENT_PORT: Final = 8126
DEFAULT_STATSD_PORT: Final = 8125
_LABEL: Final = r"[^\W_]([\w-]{0,61}\w)?|_[\w-]{0,62}"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,254}}\Z)({_LABEL})(\.({_LABEL}))*\.?")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f]")


def parse_host(text: str) -> str:
    """Parse a host name or address; brackets around an IPv6 address are removed.

    Raises:
        ValueError: No URL can be made of it, for example because it has a port.
    """
    host = text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        is_host = _is_ipv6(host)
    else:
        is_host = _is_ipv6(host) if ":" in host else _is_host_name(host)
    if not is_host:
        raise ValueError("must be a host name or an IP address, without scheme and port")
    return host


def _is_ipv6(text: str) -> bool:
    from ipaddress import IPv6Address  # rarely needed

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_host_name(text: str) -> bool:
    """Return whether the text is a host name or an IPv4 address; `_` is allowed, for container networks."""
    if _HOST_NAME.fullmatch(text) is None:
        return False
    try:
        return text.isascii() or bool(text.encode("idna"))
    except UnicodeError:
        return False


def parse_agent_url(text: str) -> str:
    """Parse `http(s)://host[:port][/prefix]` or `unix://path`; a trailing `/` is removed.

    Raises:
        ValueError: Another scheme, or host, path or port are missing or unusable.
    """
    url = text.strip()
    scheme = url.partition("://")[0].lower()
    if scheme == "unix":
        return _parse_unix(url)
    if scheme not in ("http", "https"):
        raise ValueError("must start with http://, https:// or unix://")
    _require_host(url)
    if "?" in url or "#" in url:
        raise ValueError("must not have a query or fragment")
    return url.rstrip("/")


def parse_http_url(text: str) -> str:
    """Parse `http(s)://host[:port][/path][?query]`; it is used as it is.

    Raises:
        ValueError: Another scheme, or host or port are missing or unusable.
    """
    url = text.strip()
    if url.partition("://")[0].lower() not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    _require_host(url)
    if "#" in url:
        raise ValueError("must not have a fragment")
    return url


def parse_statsd_url(text: str) -> str:
    """Parse `udp://host[:port]` or `unix://path`; without scheme a leading `/` means a socket.

    `http://` and `https://` mean the same as `udp://`, as other tracers write it.
    """
    url = text.strip()
    if "://" not in url:
        url = ("unix://" if url.startswith("/") else "udp://") + url
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme == "unix":
        return _parse_unix(url)
    if scheme not in ("udp", "http", "https"):
        raise ValueError("must start with udp:// or unix://")
    url = f"udp://{rest}".rstrip("/")
    _require_host(url)
    return url


def _parse_unix(url: str) -> str:
    path = url.partition("://")[2]
    if not path or "\0" in path:
        raise ValueError("must name a socket after unix://")
    return f"unix://{path}"


def _require_host(url: str) -> None:
    """Raise `ValueError` unless the URL has a host and, if any, a usable port."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        parse_host(f"[{host}]" if "[" in parts.netloc else host)
    except ValueError:
        raise ValueError("must have a host and a port in 1-65535") from None
    # `urlsplit` passes over line feeds and tabs, what sends requests does not.
    if port == 0 or _UNPRINTABLE.search(url) is not None:
        raise ValueError("must have a host and a port in 1-65535, and neither blanks nor control characters")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def derive_agent_url(host: str | None, port: int | None, exists: Callable[[str], bool]) -> tuple[str, bool]:
    """Return the URL that follows from host, port and socket, and whether anything but the default decided.

    Args:
        host: Configured host without brackets, or `None`.
        port: Configured port, or `None`.
        exists: Says whether a path exists.
    """
    if host is not None or port is not None:
        return f"http://{_bracketed(host or 'localhost')}:{port or DEFAULT_AGENT_PORT}", True
    if exists(APM_SOCKET):
        return f"unix://{APM_SOCKET}", True
    return f"http://localhost:{DEFAULT_AGENT_PORT}", False


def derive_statsd_url(host: str | None, port: int | None, exists: Callable[[str], bool]) -> tuple[str, bool]:
    """Return the DogStatsD URL that follows from host, port and socket; arguments as `derive_agent_url`."""
    if host is not None or port is not None:
        return f"udp://{_bracketed(host or 'localhost')}:{port or DEFAULT_STATSD_PORT}", True
    if exists(DSD_SOCKET):
        return f"unix://{DSD_SOCKET}", True
    return f"udp://localhost:{DEFAULT_STATSD_PORT}", False


def agent_host_of(url: str) -> str:
    """Return the host of an Agent URL, bracketed if needed; `localhost` for sockets."""
    if url.startswith("unix://"):
        return "localhost"
    return _bracketed(urlsplit(url).hostname or "localhost")


def statsd_host_and_port(url: str) -> tuple[str, int] | None:
    """Return host and port of a DogStatsD URL, or `None` for a socket."""
    if url.startswith("unix://"):
        return None
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or DEFAULT_STATSD_PORT


def without_user_info(url: str) -> str:
    """Return the URL without what stands before `@` in its authority."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if not separator or "@" not in authority:
        return url
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
