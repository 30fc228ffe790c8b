"""Delivering finished traces when a signal ends the process.

A process that is killed by a signal runs no `atexit` functions. A handler written in Python runs on the main thread,
in the middle of whatever it interrupts; so nothing here waits for a lock that the interrupted frame may hold.

Source: spec/trace-export.md §10.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeAlias

from ddtrace_manual._base.log import RateLimitedLogger, get_logger

__all__ = ["SignalHandler", "handle_sigterm", "restore_sigterm"]

_log = RateLimitedLogger(get_logger("export"))

FormerHandler: TypeAlias = "Callable[[int, FrameType | None], Any] | int | None"
"""What `signal.getsignal` returns; `None` is a handler that was not installed from Python."""


class SignalHandler:
    """Delivers traces, then does what the signal did before.

    Args:
        former: The handler that was there.
        before_handler: Called before a former handler that is a function, or when the signal was ignored.
        before_death: Called when the signal ends the process: the former handler is the default action.

    Attributes:
        stays: Was asked for by name (`shutdown_on_signals`), so `shutdown()` does not remove it.
    """

    def __init__(
        self,
        former: FormerHandler,
        before_handler: Callable[[], object],
        before_death: Callable[[], object],
        *,
        stays: bool = False,
    ) -> None:
        self.former = former
        self.before_handler = before_handler
        self.before_death = before_death
        self.stays = stays

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        former = self.former
        if callable(former):
            _run(self.before_handler)
            former(number, frame)
        elif former == signal.SIG_IGN:
            _run(self.before_handler)
        else:
            _run(self.before_death)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def handle_sigterm(before_handler: Callable[[], object], before_death: Callable[[], object]) -> None:
    """Install a handler of SIGTERM over the default action or a Python function; leave all others alone.

    Does nothing when the handler is ours already, on other threads than the main one, and in uWSGI, which handles
    signals in C without Python's knowledge.
    """
    if threading.current_thread() is not threading.main_thread() or "uwsgi" in sys.modules:
        return
    former = signal.getsignal(signal.SIGTERM)
    if isinstance(former, SignalHandler) or former is None or former == signal.SIG_IGN:
        return
    try:
        signal.signal(signal.SIGTERM, SignalHandler(former, before_handler, before_death))
    except (OSError, ValueError):  # a sub-interpreter
        return


def restore_sigterm() -> None:
    """Put the former handler of SIGTERM back if ours is in place and only `configure()` wanted it."""
    if threading.current_thread() is not threading.main_thread():
        return
    ours = signal.getsignal(signal.SIGTERM)
    if isinstance(ours, SignalHandler) and not ours.stays:
        signal.signal(signal.SIGTERM, ours.former)


def _run(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:  # the signal must do what it did before
        _log.log(logging.ERROR, "signal", "Could not deliver traces before a signal", exc_info=True)
