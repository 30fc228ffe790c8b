"""`span`: a span for the length of a block. Entering and leaving are the hot path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from typing_extensions import Unpack

from ddtrace_manual._base import tags
from ddtrace_manual._base.context import (
    CLOSED_KEY,
    COLLECTION,
    ENTERING,
    NOT_CURRENT,
    SPAN_KEY,
    Context,
    activate,
    add_entry,
    get_current,
    restore,
    set_current,
    take_entry,
)
from ddtrace_manual._model import UNCHARGED_NAME_CHARS

from . import options as _options
from .runtime import RUNTIME
from .start import activate_span, record_exit, start

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import SpanKind

    from ddtrace_manual._model.types import OtherSpanOptions, Span
    from ddtrace_manual._tracing.span import Span as EngineSpan

__all__ = ["SpanScope", "end_interrupted", "span"]

_TEXT_OPTIONS = {"resource": tags.RESOURCE_NAME, "span_type": tags.SPAN_TYPE}
_SHORT_TEXT = 64
"""Longer text is charged to the queue's budget, which the general path does."""


def end_interrupted(span: Any) -> None:  # Any: spans of every library
    """End a span whose end may have been interrupted between any two steps."""
    segment = getattr(span, "segment", None)
    if segment is not None and span.end_ns is None:
        segment.open.add(span)  # it may have been taken out already
    if segment is None or span.end_ns is None:
        span.end()
    elif segment.finished and not segment.open:
        segment.engine.flush_segment(segment)


class SpanScope:
    """A span for the length of a `with` or `async with` block; what `span` returns, and fills in.

    It may be entered again while it is open, by the same or another thread or task. The first entry is kept in the
    scope itself, each other one in a copy of it.

    An exception may come between any two steps, from a signal handler or at the recursion limit. Then what is left of
    entering is undone, and what is left of leaving is done. Where even that fails the next outer scope restores.
    """

    # No constructor: it would be another call, and costs more than all that it would do (bench: ten-span).
    __slots__ = ("_context", "_name", "_previous", "_resource", "_span")
    _name: str
    _resource: str | None
    _span: Span
    _context: Context | None  # None: not entered
    _previous: Context

    def __enter__(self) -> Span:
        if self._context is not None:
            return self._enter_again()
        self._context = ENTERING  # no other thread gets its turn between the question and this: it is a claim
        try:
            previous = get_current()
            parent: Any = previous.get(SPAN_KEY)  # Any: the source is compared next, which type checkers do not follow
            try:
                source: Any = None if parent is None else parent.child_source  # Any: as RUNTIME.source, it may be that
            except AttributeError:  # another library's span
                source = None
            if source is not RUNTIME.source:
                return self._enter_slowly(previous)
            # SpanSource.child() and activate() written out: two frames less (bench: ten-span).
            new_span_id, monotonic_ns = source.new_span_id, source.monotonic_ns
            resource = self._resource
            made: EngineSpan = source.span_class()
            made.local_parent = parent
            made.parent_id = parent.span_id  # pyright: ignore[reportOptionalMemberAccess] # it has a source
            made.segment = segment = parent.segment  # pyright: ignore[reportOptionalMemberAccess]
            made.source = source.own
            made.child_source = source
            made.otel_name = made.operation_name = self._name
            made.values = {} if resource is None else {tags.RESOURCE_NAME: resource}
            made.end_ns = None
            made.span_id = new_span_id() or source.engine.ids.span_id()
            made.start_ns = monotonic_ns() + segment.clock_offset_ns
            self._span = made
            self._previous = previous
            segment.open.add(made)
            # Written as an ignored error and not as a cast, which is a call (bench: ten-span).
            context: Context = previous.copy()  # type: ignore[assignment]
            context[SPAN_KEY] = made
            self._context = context
            set_current(context)
        except BaseException:
            self._abandon()
            raise
        return made

    def _enter_slowly(self, previous: Context) -> Span:
        """Enter with a span that is no child of an ordinary one."""
        engine, name, resource = RUNTIME.engine, self._name, self._resource
        made: Span
        self._previous = previous
        if engine is None or engine.is_watched:
            self._span = made = start(name, {} if resource is None else {"resource": resource}, previous)
            self._context = activate_span(made, previous) or NOT_CURRENT
        else:
            made = engine.start(name, previous, None, None if resource is None else {tags.RESOURCE_NAME: resource})
            self._span = made
            self._context = activate(made, previous)  # its class is known, and asking costs more (bench: ten-span)
        return made

    def _enter_again(self) -> Span:
        """Enter while the scope is in use, with a copy of it."""
        entry = self._recreate()
        made = entry.__enter__()
        try:
            add_entry(self, cast("Context", entry._context).get(SPAN_KEY), entry)
        except BaseException:
            entry._abandon()
            raise
        return made

    def _recreate(self) -> SpanScope:
        scope = SpanScope()
        scope._context = None
        scope._name, scope._resource = self._name, self._resource
        return scope

    def _abandon(self) -> None:
        """Undo what was done of entering."""
        if self._context is ENTERING:
            self._context = NOT_CURRENT
        if getattr(self, "_span", None) is not None:
            self._finish()
        self._context = None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if get_current() is not self._context:
            self._exit_slowly(exc)
            return
        try:
            if exc is not None:
                self._leave(exc)
            made: Any = self._span  # Any: spans of all kinds have a source; an engine's is compared next
            source = made.source
            if source is RUNTIME.source:
                # Span.end() written out for a child with nothing out of the ordinary: a frame less (bench: ten-span).
                segment = made.segment
                monotonic_ns = source.monotonic_ns
                end_ns = monotonic_ns() + segment.clock_offset_ns
                try:
                    segment.open.remove(made)
                except KeyError:
                    made.end()  # which says that it has ended
                else:
                    made.end_ns = end_ns
                    made.child_source = None
                    finished = segment.finished
                    finished.append(
                        (
                            made.span_id,
                            made.parent_id,
                            made.start_ns,
                            end_ns,
                            made.otel_name,
                            made.operation_name,
                            None,
                            made.values,
                            made.local_parent.values,
                        )
                    )
                    made.local_parent = None
                    if not segment.open:
                        source.engine.hand_over(segment)
                    elif len(finished) >= source.partial_flush_min_spans or end_ns >= segment.flush_due_ns:
                        source.engine.flush_segment(segment)
            else:
                made.end()
            previous = self._previous
            # restore() written out for the usual case (bench: ten-span).
            if CLOSED_KEY not in previous and COLLECTION.thread is None:
                set_current(previous)
            else:
                restore(get_current(), previous)
            self._context = None
        except BaseException:
            self._finish()
            raise

    def _exit_slowly(self, exc: BaseException | None) -> None:
        """Leave an entry whose context is not current as it was made."""
        own = None if self._context is None else self._context.get(SPAN_KEY)
        entry: SpanScope = take_entry(self, get_current().get(SPAN_KEY), own) or self
        try:
            if exc is not None:
                entry._leave(exc)
            entry._span.end()
        finally:
            context, entry._context = entry._context, None
            if context is not None:
                restore(context, entry._previous)

    def _finish(self) -> None:
        """Do what is left of leaving when it was interrupted."""
        context = self._context
        if context is None:
            return
        try:
            end_interrupted(self._span)
        finally:
            self._context = None
            restore(context, self._previous)

    def _leave(self, exc: BaseException) -> None:
        record_exit(self._span, exc)

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    if not TYPE_CHECKING:  # type checkers report the call by themselves

        def __call__(self, *_: object, **__: object) -> object:
            """Explain what to write instead of `@span(...)`."""
            raise TypeError(
                f"span({self._name!r}) is for `with` and `async with`; to trace a function, "
                f"decorate it with @traced({self._name!r})",
            )

    def __repr__(self) -> str:
        return f"span({self._name!r})"


class SpanScopeWithOptions(SpanScope):
    """A scope whose span has more than a short name and a short resource.

    Args:
        name: As given.
        options: As given, the resource among them.
    """

    __slots__ = ("_options", "_prepared")

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:  # Any: options of several types
        self._name = name
        self._context = None
        given = {o: v for o, v in options.items() if v is not None or o not in _options.SPAN_OPTION_NAMES}
        self._options: Mapping[str, Any] = given  # Any: options of several types
        # Values and kind that the span is started with; `None`: it needs the general way with all its options.
        self._prepared: tuple[dict[str, Any], SpanKind | None] | None = None  # Any: values of every type
        values = {}
        kind = None
        for option, value in given.items():
            if type(value) is str and len(value) <= _SHORT_TEXT:
                key = _TEXT_OPTIONS.get(option)
                if key is not None:
                    values[key] = value
                    continue
                if option == "kind" and value in _options.KINDS:
                    kind = _options.KINDS[value]
                    continue
            break
        else:
            if type(name) is str and len(name) <= UNCHARGED_NAME_CHARS:
                self._prepared = values, kind
                return
        self._name, self._options = _options.settle(name, given)

    def __enter__(self) -> Span:
        if self._context is not None:
            return self._enter_again()
        self._context = ENTERING
        try:
            return self._enter_slowly(get_current())
        except BaseException:
            self._abandon()
            raise

    def _enter_slowly(self, previous: Context) -> Span:
        engine = RUNTIME.engine
        self._previous = previous
        if self._prepared is None or engine is None or engine.is_watched:
            self._span = start(self._name, self._options, previous)
            self._context = activate_span(self._span, previous) or NOT_CURRENT
        else:
            values, kind = self._prepared
            self._span = made = engine.start(self._name, previous, None, values.copy())
            if kind is not None:
                made.set_kind(kind)
            self._context = activate(made, previous)
        return self._span

    def _recreate(self) -> SpanScope:
        scope = SpanScopeWithOptions.__new__(SpanScopeWithOptions)
        scope._context = None
        scope._name, scope._options, scope._prepared = self._name, self._options, self._prepared
        return scope

    def _leave(self, exc: BaseException) -> None:
        record_exit(self._span, exc, self._options.get("ignore"))


def span(name: str, *, resource: str | None = None, **options: Unpack[OtherSpanOptions]) -> SpanScope:
    """Return a context manager, for `with` and `async with`, that runs the block in a span.

    The span starts on entering, is current inside the block, and ends on leaving it, whatever thread,
    task or order that happens in. An exception that leaves the block is recorded and goes on unchanged.

    Args:
        name: Operation name.
        resource: Resource name; default: the operation name.
        **options: See `SpanOptions`.

    Raises:
        ConfigurationError: An option is unknown or of the wrong type. Name, resource, service and type that are no text
            become text: they often come from data.

    Example:
        >>> with span("db.query", resource="SELECT 1", span_type="sql", kind="client") as s:
        ...     s.set_tag("db.system", "postgresql")
    """
    if (
        options
        or type(name) is not str
        or len(name) > UNCHARGED_NAME_CHARS
        or (resource is not None and (type(resource) is not str or len(resource) > _SHORT_TEXT))
    ):
        return SpanScopeWithOptions(name, {**options, "resource": resource})
    scope = SpanScope()
    scope._context = None
    scope._name = name
    scope._resource = resource
    return scope
