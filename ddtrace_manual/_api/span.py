"""`start_span` and the helpers for the current span.

Everything here is a no-op before `configure()`, and works over another OpenTelemetry provider when
one is in charge (`_api/other_provider.py`). The engine is looked up per call.
"""

from __future__ import annotations

from typing import Any, cast

from typing_extensions import Unpack

from ddtrace_manual._base.context import SPAN_KEY, get_current
from ddtrace_manual._model.types import LinkTarget, Span, SpanOptions, Tags

from . import options as _options
from .other_provider import as_facade_span
from .start import start

__all__ = [
    "add_event",
    "add_link",
    "current_span",
    "drop",
    "keep",
    "root_span",
    "set_error",
    "set_tag",
    "set_tags",
    "start_span",
]


def start_span(name: str, **options: Unpack[SpanOptions]) -> Span:
    """Start a span that is not made current; the caller ends it with `.end()`.

    Args:
        name: Operation name.
        **options: See `SpanOptions`.

    Raises:
        ConfigurationError: As `span`.
    """
    text, settled = _options.settle(name, options)
    return start(text, settled, get_current())


def current_span() -> Span:
    """Return the current span; a no-op span when there is none."""
    current = get_current().get(SPAN_KEY)
    return current if isinstance(current, Span) else as_facade_span(current)


def root_span() -> Span:
    """Return the first span of the current trace in this process; a no-op span when there is none."""
    current = current_span()
    segment = getattr(current, "segment", None)
    return cast("Span", segment.local_root or current) if segment is not None else current


def set_tag(key: str, value: Any = None) -> None:  # Any: see Tags
    """Set a tag on the current span; `None` removes it."""
    current_span().set_tag(key, value)


def set_tags(tags: Tags) -> None:
    """Set several tags on the current span."""
    current_span().set_tags(tags)


def add_event(name: str, attributes: Tags | None = None, *, timestamp_ns: int | None = None) -> None:
    """Add an event to the current span.

    Args:
        name: What happened.
        attributes: Details; at most 128 are kept.
        timestamp_ns: Nanoseconds since the Unix epoch; default: now.
    """
    current_span().add_event(name, attributes, timestamp_ns)


def set_error(
    exc: BaseException | None = None,
    *,
    type: str | None = None,  # noqa: A002 - the field's standard term
    message: str | None = None,
    stack: str | None = None,
) -> None:
    """Mark the current span as failed; without arguments by the exception being handled."""
    current_span().set_error(exc, type=type, message=message, stack=stack)


def add_link(target: LinkTarget, attributes: Tags | None = None) -> None:
    """Link the current span to another span, a span context, a context, or the trace that headers describe.

    Args:
        target: What to link to; one that names no trace is ignored.
        attributes: Details of the link; at most 128 are kept.
    """
    current_span().add_link(target, attributes)


def keep() -> None:
    """Keep the current trace, whatever was decided before."""
    current_span().keep()


def drop() -> None:
    """Drop the current trace, whatever was decided before."""
    current_span().drop()
