"""Import a module of this package late, and never a second time.

A loader that imports an application's modules again (Temporal's workflow sandbox does) has a `sys.modules` of its own,
in which this package is passed through and its modules are not. A late import there would make copies of the modules
it needs, which nobody configured.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from typing import Any

__all__ = ["load"]

_modules, _import = sys.modules, builtins.__import__
"""The modules that this package was imported among, and what imported it."""

_package = __name__.partition(".")[0]


def load(name: str) -> Any:  # Any: a module, of which the caller knows the names
    """Return the module of this package with this name, imported if it is not.

    Where such a loader is at work, its table and its import function are out of the way for as long as the import
    takes; that is once in a process.
    """
    full_name = f"{_package}.{name}"
    module = _modules.get(full_name)
    if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
        return module
    present, present_import = sys.modules, builtins.__import__
    if present is _modules:
        return importlib.import_module(full_name)
    sys.modules, builtins.__import__ = _modules, _import
    try:
        return importlib.import_module(full_name)
    finally:
        sys.modules, builtins.__import__ = present, present_import
