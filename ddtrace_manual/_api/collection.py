"""No span becomes current while this thread collects garbage, before Python 3.12.

There a collection may start in the middle of `ContextVar.set`, and a finalizer that sets the variable crashes the
interpreter. Since 3.12 collections only start between two bytecode instructions.

While one runs `RUNTIME.source` is an object that is no span's, so that no scope takes the short way; the long way asks
`_context.is_collecting`.
"""

from __future__ import annotations

import gc
import sys
from _thread import get_ident

from ddtrace_manual._base.context import COLLECTION

from .runtime import RUNTIME

__all__ = ["install"]


def install() -> None:
    """Watch collections from now on, where that is necessary. A second call does nothing."""
    if sys.version_info < (3, 12) and _watch not in gc.callbacks:
        gc.callbacks.append(_watch)


def _watch(phase: str, _info: object) -> None:
    if phase == "start":
        COLLECTION.thread = get_ident()
        RUNTIME.source = _NO_SOURCE
    else:
        COLLECTION.thread = None
        RUNTIME.use_engine(RUNTIME.engine)


_NO_SOURCE = object()
