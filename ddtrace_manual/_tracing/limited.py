"""A span with limits other than the usual ones; a class of its own, so that the usual span need not ask."""

from __future__ import annotations

from typing import Any

from .span import NOTED_KEYS, Span
from .values import clean_value, size_of

__all__ = ["LimitedSpan"]


class LimitedSpan(Span):
    """A span whose provider has limits of its own; they are class attributes of a subclass made by the engine.

    Source: OpenTelemetry specification, common/attribute limits, as the SDK implements them: the oldest
    attribute makes room for a new one, and setting an attribute again makes it the newest.
    """

    def set_attribute(self, key: str, value: Any = None) -> None:  # Any: values of every type
        """Set one attribute; see `Span.set_attribute`."""
        if self.end_ns is not None and self._refuse("Setting attribute on ended span."):
            return
        if type(key) is not str or not key:
            self._set_odd_key(key, value)
        elif key not in NOTED_KEYS or not self._note(key, value):
            self._set_value(key, value)

    set_tag = set_attribute

    def _is_full(self) -> bool:
        return self.max_values is not None and len(self.values) >= self.max_values

    def _set_value(self, key: str, value: Any) -> None:  # Any: values of every type
        cleaned = clean_value(value, self.max_value_length)
        values = self.values
        if self.max_values == 0:
            self.dropped_values += 1
            return
        values.pop(key, None)
        if self._is_full():
            self._drop_oldest()
        self.segment.reserve_bytes(size_of(cleaned))
        self.segment.charge_text(key)
        values[key] = cleaned
