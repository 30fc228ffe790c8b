"""Where a process says that it ends.

| ending | what calls `shutdown` |
|---|---|
| return from main, `sys.exit`, uncaught exception | `atexit` |
| the same in a child of `multiprocessing` | its finalizers: such a child leaves by `os._exit`, without `atexit` |
| SIGTERM | the handler that `configure()` installed, see `termination.py` |
| another signal | nothing, unless `integrations.shutdown_on_signals` was called |
| `os._exit`, `kill -9` | nothing can |

uWSGI with `--skip-atexit` wants no work at the end; then nothing is registered.

Source: spec/trace-export.md §10.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["run_at_exit"]

_AFTER_CHILDREN = -100
"""Finalizers below 0 run after a process has joined its own children."""


def run_at_exit(shutdown: Callable[[], object]) -> None:
    """Have `shutdown` called when this process ends, and when processes forked from it do."""
    if _skips_exit(sys.modules.get("uwsgi")):
        return
    atexit.register(shutdown)
    finalizers = _ChildFinalizers(shutdown)
    finalizers.register()
    if hasattr(os, "register_at_fork"):
        # Again in the child: it may be forked by a `multiprocessing` that was imported only after now.
        os.register_at_fork(after_in_child=finalizers.register)


class _ChildFinalizers:
    """Registers with `multiprocessing`, if that is in use."""

    def __init__(self, shutdown: Callable[[], object]) -> None:
        self._shutdown = shutdown

    def register(self) -> None:
        util: Any = sys.modules.get("multiprocessing.util")  # Any: of its functions few are in the type stubs
        process: Any = sys.modules.get("multiprocessing.process")
        if util is None or process is None:
            return
        if process.parent_process() is not None:
            self.finalize()
        # A child forgets all finalizers when it begins to work, and calls this afterwards.
        util.register_after_fork(self, _ChildFinalizers.finalize)

    def finalize(self) -> None:
        util: Any = sys.modules["multiprocessing.util"]
        util.Finalize(None, self._shutdown, exitpriority=_AFTER_CHILDREN)


def _skips_exit(uwsgi: Any) -> bool:  # Any: a module that exists only inside of uWSGI
    try:
        return uwsgi is not None and bool(uwsgi.opt.get("skip-atexit") or uwsgi.opt.get(b"skip-atexit"))
    except Exception:  # whatever this uWSGI looks like, it is no reason to fail
        return False
