"""Delivering finished traces when a signal ends the process.

A process that a signal kills runs no `atexit` functions. This is opt-in, because only the application
knows who else handles its signals.

Source: spec/trace-export.md §10.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from ddtrace_manual._setup import flush, shutdown
from ddtrace_manual.exceptions import ConfigurationError

__all__ = ["shutdown_on_signals"]

_DEFAULT_TIMEOUT_S = 5.0


def shutdown_on_signals(*signals: int, timeout_s: float = _DEFAULT_TIMEOUT_S) -> None:
    """Deliver what is finished when one of these signals arrives; then let it do what it did before.

    A signal that would have killed the process still does, with the same exit status, after a
    `shutdown`. A handler that was installed before is called after a `flush`, because it may let the
    process go on. Call this in the main thread, after whoever else installs handlers; processes forked
    later inherit it. `SIGINT` with Python's own handler is left alone: it leads to a normal exit.

    Args:
        *signals: `SIGTERM` when none is given.
        timeout_s: Longest time to take, in seconds.

    Raises:
        ConfigurationError: Not called in the main thread, or no signal that can be handled.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError("shutdown_on_signals must be called in the main thread")
    for number in signals or (signal.SIGTERM,):
        try:
            earlier = signal.getsignal(number)
            if earlier is signal.default_int_handler or getattr(earlier, "is_ours", False):
                continue
            signal.signal(number, _Handler(earlier, timeout_s))
        except (OSError, ValueError) as exc:
            raise ConfigurationError(f"signal {number} cannot be handled: {exc}") from exc


class _Handler:
    """Delivers, then does what the signal did before."""

    is_ours = True

    def __init__(self, earlier: Callable[[int, FrameType | None], Any] | int | None, timeout_s: float) -> None:
        self._earlier = earlier
        self._timeout_s = timeout_s

    def __call__(self, number: int, frame: FrameType | None) -> None:
        earlier = self._earlier
        if callable(earlier):
            flush(self._timeout_s)
            earlier(number, frame)
        elif earlier == signal.SIG_IGN:
            flush(self._timeout_s)
        else:  # the default action; or a handler that was not installed from Python, which cannot be called
            shutdown(self._timeout_s)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
