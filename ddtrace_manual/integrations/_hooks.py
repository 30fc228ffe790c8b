"""Functions of the application that integrations call: what they raise stays here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["call_hook"]

_log = get_logger("integrations")


def call_hook(function: Callable[..., object], *arguments: object) -> object:
    """Call a function of the application; `None` when it fails, which is logged and counted."""
    try:
        return function(*arguments)
    except Exception:  # foreign code
        _log.warning("A function given to an integration failed", exc_info=True)
        if RUNTIME.count is not None:
            RUNTIME.count("integration_hook_failed")
        return None
