"""Delivering finished traces when other signals than SIGTERM end the process, or with another time limit.

`configure()` handles SIGTERM by itself; this is for who wants more, and shares its handler.

Source: spec/trace-export.md §10.
"""

from __future__ import annotations

import signal
import threading

from ddtrace_manual._export import SignalHandler
from ddtrace_manual._setup.lifecycle import flush, send_without_delay, shut_down_before_death
from ddtrace_manual.exceptions import ConfigurationError

__all__ = ["shutdown_on_signals"]

_DEFAULT_TIMEOUT_S = 5.0


def shutdown_on_signals(*signals: int, timeout_s: float = _DEFAULT_TIMEOUT_S) -> None:
    """Deliver what is finished when one of these signals arrives; then let it do what it did before.

    A signal that would have killed the process still does, with the same exit status, after a
    `shutdown`. A handler that was installed before is called after a `flush`, because it may let the
    process go on. Call this in the main thread, after whoever else installs handlers; processes forked
    later inherit it. `SIGINT` with Python's own handler is left alone: it leads to a normal exit.
    SIGTERM needs this only for another `timeout_s`, or where a handler should wait for the delivery:
    `configure()` handles it.

    Args:
        *signals: `SIGTERM` when none is given.
        timeout_s: Longest time to take, in seconds.

    Raises:
        ConfigurationError: Not called in the main thread, or no signal that can be handled.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError("shutdown_on_signals must be called in the main thread")

    def before_handler() -> None:
        send_without_delay()
        flush(timeout_s)

    def before_death() -> None:
        shut_down_before_death(timeout_s)

    for number in signals or (signal.SIGTERM,):
        try:
            former = signal.getsignal(number)
            if former is signal.default_int_handler:
                continue
            if isinstance(former, SignalHandler):
                former.before_handler, former.before_death, former.stays = before_handler, before_death, True
            else:
                signal.signal(number, SignalHandler(former, before_handler, before_death, stays=True))
        except (OSError, ValueError) as exc:
            raise ConfigurationError(f"signal {number} cannot be handled: {exc}") from exc
