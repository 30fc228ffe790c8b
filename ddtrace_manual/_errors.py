"""What an exception means for a span, and how it is written on it.

Source: spec/span-mapping.md §8.
"""

from __future__ import annotations

import traceback
from enum import Enum

__all__ = ["MAX_STACK_CHARS", "Outcome", "describe_type", "format_stack", "outcome_of", "safe_str"]

MAX_STACK_CHARS = 25_000

# Cancellation is recognised by class name, so that neither asyncio nor trio must be imported for it.
_CANCELLATIONS = frozenset({"CancelledError", "Cancelled"})


class Outcome(Enum):
    """What leaving a span by an exception means."""

    ERROR = "error"
    IGNORED = "ignored"
    """The span's `ignore` option names the exception: the span stays unmarked."""
    CANCELLED = "cancelled"
    """`asyncio.CancelledError` or trio's `Cancelled`: tagged, no error."""
    CLOSED = "closed"
    """`GeneratorExit`: tagged, no error."""
    EXIT = "exit"
    """`SystemExit` with a code of success: tagged, no error."""


def outcome_of(
    exc: BaseException,
    ignore: type[BaseException] | tuple[type[BaseException], ...] | None = None,
) -> Outcome:
    """Return what it means that `exc` leaves a span.

    Every other `BaseException`, `KeyboardInterrupt` among them, is an error: the work was not done.
    """
    if ignore is not None and isinstance(exc, ignore):
        return Outcome.IGNORED
    if isinstance(exc, Exception):
        return Outcome.ERROR
    if isinstance(exc, GeneratorExit):
        return Outcome.CLOSED
    if isinstance(exc, SystemExit) and exc.code in (None, 0):
        return Outcome.EXIT
    if any(cls.__name__ in _CANCELLATIONS for cls in type(exc).__mro__):
        return Outcome.CANCELLED
    return Outcome.ERROR


def describe_type(exc: BaseException) -> str:
    """Return `module.QualName`, without the module for builtins."""
    cls = type(exc)
    module = cls.__module__
    return cls.__qualname__ if module in (None, "", "builtins") else f"{module}.{cls.__qualname__}"


def safe_str(value: object) -> str:
    """Return `str(value)`, or a stand-in naming the class when that raises."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - the application's __str__ may raise anything
        name = type(value).__name__
        return name if isinstance(value, BaseException) else f"<unprintable {name}>"


def format_stack(exc: BaseException, max_frames: int = 30) -> str:
    """Return the traceback text of an exception, its causes and its group members included.

    Keeps the innermost `max_frames` frames of each traceback; while the text is longer than 25,000
    characters the limit is halved, down to 1, and what is still too long is cut.
    """
    frames = max(1, max_frames)
    while True:
        try:
            text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__, limit=-frames))
        except Exception:  # noqa: BLE001 - a hostile __str__, __cause__ loop or source loader
            return f"{describe_type(exc)}: <traceback not printable>\n"
        if len(text) <= MAX_STACK_CHARS:
            return text
        if frames == 1:
            return text[:MAX_STACK_CHARS]
        frames //= 2
