"""The environment of the process, for the one part outside `config` that hands it on: `extract_environ()`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["process_environ"]


def process_environ() -> Mapping[str, str]:
    """Return the environment variables of this process."""
    return os.environ
