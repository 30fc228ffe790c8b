"""What an exception means for a span, and how it is written on it.

Source: spec/span-mapping.md §8.
"""

from __future__ import annotations

import traceback
from enum import Enum
from typing import cast

__all__ = [
    "MAX_STACK_CHARS",
    "IgnoredExceptions",
    "Outcome",
    "class_name",
    "describe_type",
    "format_stack",
    "outcome_of",
    "safe_repr",
    "safe_str",
]

MAX_STACK_CHARS = 25_000
_MAX_REPR_CHARS = 200

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


class IgnoredExceptions:
    """The exceptions that no span records as an error: classes, and classes named by `module.QualName`.

    A name is compared, never imported, so that naming an exception loads nothing.
    """

    __slots__ = ("_classes", "_names")

    def __init__(self, exceptions: tuple[type[BaseException] | str, ...] = ()) -> None:
        self._classes = tuple(item for item in exceptions if not isinstance(item, str))
        self._names = frozenset(item for item in exceptions if isinstance(item, str))

    def __contains__(self, exc: object) -> bool:
        """Return whether `exc` is an instance of one of the classes."""
        if isinstance(exc, self._classes):
            return True
        return bool(self._names) and any(_qualified_name(cls) in self._names for cls in type(exc).__mro__)


_NONE_IGNORED = IgnoredExceptions()


def outcome_of(
    exc: BaseException,
    ignore: type[BaseException] | tuple[type[BaseException], ...] | None = None,
    ignored_everywhere: IgnoredExceptions = _NONE_IGNORED,
) -> Outcome:
    """Return what it means that `exc` leaves a span.

    A group is what all its leaves are, as `except*` would sort them: ignored when all are, cancelled when all others
    are cancellations, and an error as soon as one leaf is. Every other `BaseException`, `KeyboardInterrupt` among
    them, is an error: the work was not done.
    """
    if (ignore is not None and isinstance(exc, ignore)) or exc in ignored_everywhere:
        return Outcome.IGNORED
    leaves = _leaves(exc)
    if leaves is not None:
        outcomes = {outcome_of(leaf, ignore, ignored_everywhere) for leaf in leaves} or {Outcome.ERROR}
        if len(outcomes) > 1:
            outcomes.discard(Outcome.IGNORED)
        return outcomes.pop() if len(outcomes) == 1 else Outcome.ERROR
    return _outcome_of_kind(exc)


def _outcome_of_kind(exc: BaseException) -> Outcome:
    if isinstance(exc, Exception):
        return Outcome.ERROR
    if isinstance(exc, GeneratorExit):
        return Outcome.CLOSED
    if isinstance(exc, SystemExit) and exc.code in (None, 0):
        return Outcome.EXIT
    if any(cls.__name__ in _CANCELLATIONS for cls in type(exc).__mro__):
        return Outcome.CANCELLED
    return Outcome.ERROR


def _leaves(exc: BaseException) -> list[BaseException] | None:
    """Return the exceptions of a group that are no groups; `None` if `exc` is no group.

    A group is known by its class's name: Python 3.10 has none of its own, and backports bring theirs. Walks without
    recursion, since groups may be nested deeper than the stack allows.
    """
    if not _is_group(exc):
        return None
    leaves = []
    waiting = [exc]
    while waiting:
        current = waiting.pop()
        if _is_group(current):
            waiting.extend(cast("tuple[BaseException, ...]", current.exceptions))  # type: ignore[attr-defined]
        else:
            leaves.append(current)
    return leaves


def _is_group(exc: BaseException) -> bool:
    return isinstance(getattr(exc, "exceptions", None), tuple) and any(
        cls.__name__ == "BaseExceptionGroup" for cls in type(exc).__mro__
    )


def describe_type(exc: BaseException) -> str:
    """Return `module.QualName`, without the module for builtins."""
    return _qualified_name(type(exc))


def _qualified_name(cls: type) -> str:
    try:
        module, name = cls.__module__, cls.__qualname__
    except Exception:  # a metaclass of the application
        return str(_NAME_OF_TYPE(cls))
    return name if type(module) is not str or module in {"", "builtins"} else f"{module}.{name}"


def class_name(value: object) -> str:
    """Return the name of an object's class, as it was written; never raises."""
    name: str = _NAME_OF_TYPE(type(value))
    return name


_NAME_OF_TYPE = type.__dict__["__name__"].__get__
"""Reads the name of a class past its metaclass, which may have an attribute of that name."""


def safe_str(value: object) -> str:
    """Return `str(value)` as a plain string, or a placeholder naming the class when that raises."""
    try:
        text = str(value)
    except Exception:  # the application's __str__ may raise anything
        name = class_name(value)
        return name if issubclass(type(value), BaseException) else f"<unprintable {name}>"
    return text if type(text) is str else str.__str__(text)


def safe_repr(value: object) -> str:
    """Return `repr(value)` for a message, cut to 200 characters, or a placeholder when that raises."""
    try:
        text = repr(value)
    except Exception:  # the application's __repr__ may raise anything
        return f"<unprintable {class_name(value)}>"
    return str.__str__(text) if len(text) <= _MAX_REPR_CHARS else f"{str.__str__(text)[: _MAX_REPR_CHARS - 1]}…"


def format_stack(exc: BaseException, max_frames: int = 30) -> str:
    """Return the traceback text of an exception, its causes and its group members included.

    Keeps the innermost `max_frames` frames of each traceback; while the text is longer than 25,000
    characters the limit is halved, down to 1, and what is still too long is cut.
    """
    frames = max(1, max_frames)
    while True:
        try:
            text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__, limit=-frames))
        except Exception:  # a hostile __str__, __cause__ loop or source loader
            return f"{describe_type(exc)}: <traceback not printable>\n"
        if len(text) <= MAX_STACK_CHARS:
            return text
        if frames == 1:
            return text[:MAX_STACK_CHARS]
        frames //= 2
