"""The command line: the only part of the package that prints."""

from __future__ import annotations

__all__: list[str] = []
