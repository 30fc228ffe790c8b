"""Delays forks while the worker imports modules.

A module that is being imported is locked by the importing thread. A child forked in that moment
inherits the lock but not the thread, and waits forever when it imports the same module, as do all its
threads, the application's included. So a fork waits until the import is done, some tens of milliseconds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

__all__ = ["run_between_forks"]

_LONGEST_WAIT_S = 5.0


class ForkGuard:
    """The lock, and whether the current fork holds it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._held = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._close, after_in_parent=self._open_in_parent, after_in_child=self._open_in_child
            )

    def _close(self) -> None:
        self._held = self.lock.acquire(timeout=_LONGEST_WAIT_S)

    def _open_in_parent(self) -> None:
        if self._held:
            self._held = False
            self.lock.release()

    def _open_in_child(self) -> None:
        # The hooks that ran before this one may have started threads, which wait for this very lock.
        if self._held:
            self._held = False
            self.lock.release()
        else:  # a thread of the parent holds it
            self.lock = threading.Lock()


_guard: ForkGuard | None = None


def run_between_forks(action: Callable[[], None]) -> None:
    """Run `action` while forks in other threads wait. Not reentrant."""
    global _guard  # noqa: PLW0603 - made with the first use: importing this module registers nothing
    if _guard is None:
        _guard = ForkGuard()
    with _guard.lock:
        action()
