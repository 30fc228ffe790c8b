"""Host addresses in peer tags are replaced by one text, so that they do not multiply the statistics.

Source: spec/client-stats.md §3.2.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["BLOCKED_ADDRESS", "quantize_addresses"]

BLOCKED_ADDRESS: Final = "blocked-ip-address"

# Loopback and metadata services: the same everywhere, so they say something and multiply nothing.
_ALLOWED: Final = frozenset(("127.0.0.1", "::1", "169.254.169.254", "fd00:ec2::254", "169.254.170.2"))
_PREFIX: Final = re.compile(r"ip-|(?:dnspoll|ftp|file|http|https):/{2,3}")
_FIELD: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])"
_IPV4: Final = re.compile(rf"{_FIELD}([._-]){_FIELD}\1{_FIELD}\1{_FIELD}(?![0-9])")


@lru_cache(maxsize=2048)  # one peer serves many spans
def quantize_addresses(value: str) -> str:
    """Return a comma-separated list of hosts with IP addresses blocked and equal parts merged.

    `10.0.0.1:5432` → `blocked-ip-address:5432`; loopback and metadata addresses stay; IPv6 zones are
    not recognised.
    """
    if "," not in value:
        return _quantize(value)
    return ",".join(dict.fromkeys(_quantize(part) for part in value.split(",")))


def _quantize(part: str) -> str:
    found = _PREFIX.match(part)
    start = found.end() if found else 0
    address, end = _ipv4_at(part, start) or _ipv6_at(part, start) or ("", start)
    if not address or address in _ALLOWED:
        return part
    return part[:start] + BLOCKED_ADDRESS + part[end:]


def _ipv4_at(text: str, start: int) -> tuple[str, int] | None:
    """Return the address a text has at an index and the index after it."""
    found = _IPV4.match(text, start)
    return (found.group(), found.end()) if found else None


def _ipv6_at(text: str, start: int) -> tuple[str, int] | None:
    """Return the address, without its brackets, that fills the rest of a text or stands in front of a port."""
    end = len(text)
    address = text[start:]
    if address.startswith("["):
        close = text.find("]", start)
        if close < 0 or text[close + 1 : close + 2] not in ("", ":"):
            return None
        address, end = text[start + 1 : close], close + 1
    if address.count(":") < 2 or "%" in address:  # the shortest address is "::"
        return None
    from ipaddress import AddressValueError, IPv6Address  # rarely needed; keeps the import light

    try:
        IPv6Address(address)
    except AddressValueError:
        return None
    return address, end
