"""Header fields common to every request to the Agent, computed once per process.

Source: spec/trace-export.md §6.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["common_headers", "valid_headers"]

_NAME_CHARS: Final = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
_LAST_CONTROL: Final = 0x1F
_DELETE: Final = 0x7F
_LAST_LATIN_1: Final = 0xFF


def common_headers(
    *,
    tracer_version: str,
    language_version: str,
    interpreter: str,
    container_id: str | None = None,
    entity_id: str | None = None,
    external_env: str | None = None,
    additional: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the fields that say who is sending.

    Args:
        tracer_version: Version of this library.
        language_version: For example `3.12.4`.
        interpreter: For example `CPython`.
        container_id: See `entity.find_entity`.
        entity_id: See `entity.find_entity`.
        external_env: `DD_EXTERNAL_ENV`.
        additional: Fields the user adds to every request; they win.
    """
    fields = {
        "Datadog-Meta-Lang": "python",
        "Datadog-Meta-Lang-Version": language_version,
        "Datadog-Meta-Lang-Interpreter": interpreter,
        "Datadog-Meta-Tracer-Version": tracer_version,
        "Datadog-Container-ID": container_id or "",
        "Datadog-Entity-ID": entity_id or "",
        "Datadog-External-Env": external_env or "",
        "User-Agent": f"Tracer/{tracer_version}",
    }
    return valid_headers({**fields, **(additional or {})})


def valid_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields without those that are empty or that HTTP cannot carry."""
    stripped = {name.strip(): value.strip() for name, value in fields.items()}
    return {name: value for name, value in stripped.items() if _is_name(name) and _is_value(value)}


def _is_name(text: str) -> bool:
    return bool(text) and _NAME_CHARS.issuperset(text)


def _is_value(text: str) -> bool:
    return bool(text) and all(_LAST_CONTROL < ord(char) <= _LAST_LATIN_1 and ord(char) != _DELETE for char in text)
