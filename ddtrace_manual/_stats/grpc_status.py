"""The gRPC status of a span, from the many ways instrumentation writes it.

The newer conventions have one key for every system, `rpc.response.status_code`: it counts where the system is gRPC.

Source: spec/client-stats.md §3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GRPC_STATUS_KEYS", "grpc_status_code", "grpc_status_name"]

_RPC_STATUS: Final = "rpc.response.status_code"
GRPC_STATUS_KEYS: Final = (
    "rpc.grpc.status_code",
    "grpc.code",
    "rpc.grpc.status.code",
    "grpc.status.code",
    _RPC_STATUS,
)
_GRPC_SYSTEMS: Final = frozenset({"", "grpc", "connectrpc"})
"""Systems whose `rpc.response.status_code` is one of gRPC, in any case; "" when the span names none."""

_NAMES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_CODES: Final[Mapping[str, str]] = {
    spelling: str(code)
    for code, name in (*enumerate(_NAMES), (1, "CANCELED"))
    for spelling in (name, name.replace("_", ""))
}
_CODE_MAX: Final = 255


def grpc_status_code(meta: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    """Return the status as decimal text, or `""` when the span has none that is understood."""
    keys = GRPC_STATUS_KEYS if _is_grpc(meta) else GRPC_STATUS_KEYS[:-1]
    for key in keys:
        text = meta.get(key)
        if text is not None and (code := _code_of_text(text)) is not None:
            return code
    for key in keys:
        number = metrics.get(key)
        if number is not None and 0 <= number <= _CODE_MAX and number == int(number):
            return str(int(number))
    return ""


def _is_grpc(meta: Mapping[str, str]) -> bool:
    return (meta.get("rpc.system.name") or meta.get("rpc.system") or "").lower() in _GRPC_SYSTEMS


def grpc_status_name(code: str) -> str:
    """Return the canonical name of a status given as decimal text; an unnamed one stays as it is."""
    number = int(code)
    return _NAMES[number] if number < len(_NAMES) else code


def _code_of_text(text: str) -> str | None:
    if not text.isascii():
        return None
    if text.isdigit():
        digits = text.lstrip("0") or "0"
        return digits if len(digits) <= len("255") and int(digits) <= _CODE_MAX else None
    return _CODES.get(text.removeprefix("StatusCode.").upper())
