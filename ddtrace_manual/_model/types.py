"""The span that users hold, and shared aliases."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from opentelemetry import trace
from opentelemetry.context import Context
from typing_extensions import TypedDict

from ddtrace_manual._base.context import NOT_CURRENT, activate, add_entry, get_current, restore, take_entry
from ddtrace_manual._base.errors import class_name
from ddtrace_manual._base.log import get_logger
from ddtrace_manual._base.values import metric_of

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .propagation import PropagationState

__all__ = [
    "Activation",
    "InjectableSpan",
    "Kind",
    "LinkTarget",
    "OtherSpanOptions",
    "ParentTarget",
    "Span",
    "SpanOptions",
    "Tags",
]

Tags = Mapping[str, Any]
"""Tags by name. Any: values of every type are accepted, see spec/span-mapping.md §7."""

Kind = Literal["internal", "server", "client", "producer", "consumer"]


@runtime_checkable
class InjectableSpan(Protocol):
    """A local span whose trace can be written into headers."""

    def propagation_state(self) -> tuple[int, int, PropagationState]:
        """Return trace id, span id and the state to inject; makes the sampling decision final."""
        ...


_log = get_logger("span")


class Activation:
    """Makes a span current for the length of a `with` block; what `Span.activate` returns.

    May be entered again while it is entered, and left in any thread, task or order.
    """

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        previous = get_current()
        context = NOT_CURRENT
        if self._span.span_id:  # one without ids stands for no trace, and must not hide the one that is current
            context = activate(getattr(self._span, "wrapped", self._span), previous)
        add_entry(self, None if context is NOT_CURRENT else context, (context, previous))
        return self._span

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entry = take_entry(self, get_current())
        if entry is not None:
            restore(*entry)


class _Hints:
    """What has been logged, once in the life of the process."""

    told_about_with = False


class Span(trace.Span):
    """An OpenTelemetry span with Datadog's vocabulary.

    All methods of `opentelemetry.trace.Span` work. Calls after the end of the span are ignored.
    Values of every type are accepted; what becomes of each is listed in `docs/reference/attributes.md`.
    """

    def activate(self) -> Activation:
        """Return a context manager that makes the span current for a `with` block and does not end it."""
        return Activation(self)

    def __enter__(self) -> Self:
        if not _Hints.told_about_with and _log.isEnabledFor(logging.DEBUG):
            _Hints.told_about_with = True
            _log.debug(
                "`with` on a span that start_span() returned ends it, but does not make it current: use span(), or"
                " Span.activate() to make it current without ending it.",
                stacklevel=2,
            )
        return self

    @abstractmethod
    def set_tag(self, key: str, value: Any = None) -> None:  # Any: see Tags
        """Set one tag; `None` removes it. `manual.keep` and `manual.drop` act at once."""

    @abstractmethod
    def get_tag(self, key: str) -> Any:  # Any: see Tags
        """Return the value of a tag as it was set, or `None`."""

    def set_tags(self, tags: Tags) -> None:
        """Set several tags."""
        for key, value in tags.items():
            self.set_tag(key, value)

    def set_metric(self, key: str, value: float | None) -> None:
        """Set a numeric tag; the same store as `set_tag`.

        Takes numbers of every kind, `bool` (1 or 0) and text that is a number; `None` removes the tag. Anything else is
        refused with a debug log.
        """
        number = value if value is None or type(value) is float or type(value) is int else metric_of(value)
        if number is None and value is not None:
            _log.debug("Refused a metric: its value is no number, but of type %s.", class_name(value))
            return
        self.set_tag(key, number)

    def add_link(self, context: LinkTarget, attributes: Tags | None = None) -> None:
        """Link to another span, a span context, a context, or the trace that headers describe.

        Of several links to one span the last is reported.

        Args:
            context: What to link to (the name is OpenTelemetry's); one that names no trace is ignored.
            attributes: Details of the link; at most 128 are kept.
        """

    @abstractmethod
    def set_error(
        self,
        exc: BaseException | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the field's standard term
        message: str | None = None,
        stack: str | None = None,
    ) -> None:
        """Mark the span as failed.

        Args:
            exc: The exception; without any argument the one being handled.
            type: Overrides the exception's type, `error.type`.
            message: Overrides its text, `error.message`.
            stack: Overrides its traceback, `error.stack`.
        """

    @property
    @abstractmethod
    def error(self) -> int:
        """1 while the span is marked as failed, else 0. Assign 1 or `True` to mark it, 0 or `False` to clear it.

        Clearing leaves events and tags such as `error.message` as they are. A status of `OK` is final.
        """

    @error.setter
    def error(self, value: object) -> None: ...

    @abstractmethod
    def record_exit(self, exc: BaseException) -> None:
        """Record that an exception left the span; `span` and `traced` call this."""

    @abstractmethod
    def keep(self) -> None:
        """Keep the whole trace: priority 2, mechanism manual. The last of `keep` and `drop` wins."""

    @abstractmethod
    def drop(self) -> None:
        """Drop the whole trace: priority -1, mechanism manual. The last of `keep` and `drop` wins."""

    @property
    @abstractmethod
    def trace_id(self) -> int:
        """128-bit trace id; 0 for a no-op span. Reading it decides nothing."""

    span_id: int
    """64-bit span id; 0 for a no-op span."""

    @property
    @abstractmethod
    def service(self) -> str | None:
        """Service set on this span or taken over from its parent; `None` for the configured one."""

    @service.setter
    def service(self, value: str | None) -> None: ...

    @property
    @abstractmethod
    def resource(self) -> Any:  # Any: a str that is also the SDK's Resource on recording spans
        """Resource name; default: the span's name. Assign a string to change it."""

    @resource.setter
    def resource(self, value: str | None) -> None: ...

    @property
    @abstractmethod
    def span_type(self) -> str | None:
        """Span type, for example `web` or `sql`; `None` when not set."""

    @span_type.setter
    def span_type(self, value: str | None) -> None: ...


Headers = Mapping[str, Any] | Sequence[tuple[str | bytes, str | bytes]]
"""Headers by name, or pairs. Any: some have lists as values."""

LinkTarget = Span | trace.Span | trace.SpanContext | trace.Link | Context | Headers
"""What a span can be linked to: a span, a span context, an OpenTelemetry link, what `extract` returned, or headers."""

ParentTarget = "Span | trace.Span | trace.SpanContext | Context"
"""What can be given as a parent."""


class OtherSpanOptions(TypedDict, total=False):
    """Options of `span` besides `resource`, which it takes by itself because that is quicker (bench: ten-span)."""

    service: str | None
    """Service name; default: the parent's, else the configured one."""
    span_type: str | None
    """Product category, for example `web`, `sql`, `worker`."""
    kind: Kind | None
    """Role of the span; default `internal`."""
    tags: Tags | None
    links: Iterable[LinkTarget] | None
    """Spans of other traces that this one relates to."""
    measured: bool
    """Whether statistics are computed for this span even when it is neither top-level nor a client call."""
    new_trace: bool
    """Start a new trace instead of a child; the current span becomes a link."""
    parent: Any  # Any: ParentTarget; a forward reference cannot be resolved in a TypedDict at run time
    """A span, span context or context to start under instead of the current one."""
    ignore: tuple[type[BaseException], ...] | type[BaseException] | None
    """Exceptions that leave the span unmarked."""
    start_time_ns: int | None
    """Start, in nanoseconds since the Unix epoch."""


class SpanOptions(OtherSpanOptions, total=False):
    """Options of `span`, `start_span` and, with some more, `traced`."""

    resource: str | None
    """Resource name; default: the operation name."""
