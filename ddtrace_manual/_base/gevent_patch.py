"""Whether `gevent` is about to replace modules, and they must not be imported before."""

from __future__ import annotations

import sys

__all__ = ["gevent_may_still_patch"]


_HOLDS_SSL = "urllib3.util.ssl_"
"""The module of our HTTP library that takes classes out of `ssl`."""


def gevent_may_still_patch() -> bool:
    """Say whether gevent is loaded and has not replaced `ssl` yet, and the HTTP library is not imported.

    Imported before, that library keeps the classes that gevent replaces, and its requests recurse without end, those
    of the application too. Preloading servers load gevent first, then the application, and patch in their workers.
    """
    if "gevent" not in sys.modules or _HOLDS_SSL in sys.modules:
        return False
    monkey = sys.modules.get("gevent.monkey")
    return "ssl" not in getattr(monkey, "saved", {})
