"""The tracer behind the OpenTelemetry API: SDK signatures over the engine."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from opentelemetry.sdk.trace import Tracer as SDKTracer
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, SpanKind
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace.status import Status, StatusCode

from ddtrace_manual._base.context import (
    CLOSED_KEY,
    COLLECTION,
    ENTERING,
    SPAN_KEY,
    Context,
    activate,
    add_entry,
    get_current,
    restore,
    set_current,
    take_entry,
)
from ddtrace_manual._base.errors import class_name, safe_str
from ddtrace_manual._base.values import is_a, is_true
from ddtrace_manual._model import UNCHARGED_NAME_CHARS

from .span import NOTED_KEYS, describe_failure
from .span_factory import SpanSource
from .values import clean_items, nanoseconds, size_of

if TYPE_CHECKING:
    from types import TracebackType

    from .provider import TracerProvider
    from .span import Span

__all__ = ["CurrentSpanScope", "Tracer", "apply_options"]

_INTERNAL = SpanKind.INTERNAL
_NO_LINKS = ()
_MAX_LINKS = 1_000
"""Links that are read of one call; a span keeps 128 by default."""

_logger = logging.getLogger("ddtrace_manual.tracing")

_F = TypeVar("_F", bound=Callable[..., Any])  # Any: decorators accept every callable


class Tracer(SDKTracer):
    """A tracer of `TracerProvider`. Thread-safe."""

    # Set by the provider after the SDK's constructor has run.
    provider: TracerProvider
    _source: SpanSource | None = None  # what its last span was made with

    def source(self) -> SpanSource | None:
        """Return what its spans are made with; `None` while tracing is disabled."""
        engine, source = self.provider.engine, self._source
        if engine is None:
            return None
        if source is None or source.facade is not engine.source:
            source = self._source = SpanSource(engine, self._instrumentation_scope)
        return source

    def start_span(  # noqa: C901 - a helper would be a call for each span (bench: ten-span-otel)
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,  # Any: values of every type
        links: Sequence[Link] | None = _NO_LINKS,
        start_time: int | None = None,
        record_exception: bool = True,  # the OpenTelemetry signature
        set_status_on_exception: bool = True,
    ) -> OtelSpan:
        """Start a span that is not made current; see `opentelemetry.trace.Tracer.start_span`.

        Args:
            name: OpenTelemetry name; becomes the resource unless attributes say otherwise.
            context: Where to look for the parent; default: the current context. An empty one means no parent.
            kind: Role of the span.
            attributes: Values known at the start.
            links: Spans of other traces.
            start_time: Nanoseconds since the Unix epoch; default: now.
            record_exception: Whether leaving `with span:` by an exception adds an `exception` event.
            set_status_on_exception: Whether it sets the status to error.
        """
        if context is None or (type(context) is not Context and not is_a(context, dict)):
            context = get_current()
        source = self.source()
        if source is None or not self._tracer_config.is_enabled:
            parent = context.get(SPAN_KEY)
            parent = parent if isinstance(parent, OtelSpan) else INVALID_SPAN
            return NonRecordingSpan(parent.get_span_context())
        engine = source.engine
        trace_id = ot = None
        if engine.sampler is not None:
            dropped, attributes, trace_id, ot = engine.sample(context, name, kind, attributes, links)
            if dropped is not None:
                return dropped
        span = engine.start(
            name if type(name) is str else safe_str(name),
            context,
            source,
            trace_id=trace_id,
        )
        try:
            if trace_id is not None:
                engine.note_sampled(span, ot)
            if len(span.otel_name) > UNCHARGED_NAME_CHARS:
                span.segment.charge_text(span.otel_name)
            if kind is not _INTERNAL and type(kind) is SpanKind:
                span.set_kind(kind)
            if attributes is not None or links is not _NO_LINKS or start_time is not None:
                apply_options(span, attributes, links, start_time)
            if record_exception is not True:
                span._record_exception = is_true(record_exception)
            if set_status_on_exception is not True:
                span._set_status_on_exception = is_true(set_status_on_exception)
            if engine.processor is not None:
                engine.notify_start(span, context)
        except BaseException:  # whatever the values are, or a signal handler does: nobody else knows the span yet
            span.end()
            raise
        return span

    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0913, PLR0917 - the OpenTelemetry signature
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,  # Any: values of every type
        links: Sequence[Link] | None = _NO_LINKS,
        start_time: int | None = None,
        record_exception: bool = True,  # the OpenTelemetry signature
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpanScope:
        """Return a context manager, usable as a decorator, that starts a span and makes it current."""
        # A constructor would be another call, and costs more than all of this (bench: ten-span, OpenTelemetry API).
        scope = CurrentSpanScope()
        scope._context = None
        scope._tracer = self
        scope._name = name
        scope._end_on_exit = end_on_exit
        scope._options = (
            None
            if context is None
            and attributes is None
            and kind is _INTERNAL
            and (links is None or links is _NO_LINKS)
            and start_time is None
            and record_exception is True
            and set_status_on_exception is True
            and type(name) is str
            and len(name) <= UNCHARGED_NAME_CHARS
            else (context, kind, attributes, links, start_time, record_exception, set_status_on_exception)
        )
        return scope


class CurrentSpanScope(AbstractContextManager[OtelSpan]):
    """What `start_as_current_span` returns, and fills in; starts its span on entering.

    A small class instead of a generator-based context manager (bench: ten-span, OpenTelemetry API).
    """

    __slots__ = ("_context", "_end_on_exit", "_name", "_options", "_previous", "_span", "_tracer")
    _tracer: Tracer
    _name: str
    _end_on_exit: bool
    _options: tuple[Any, ...] | None  # Any: the arguments of start_span behind the name; `None`: all are defaults
    _span: OtelSpan
    _context: Context | None  # None: not entered
    _previous: Context

    def __enter__(self) -> OtelSpan:
        if self._context is not None:  # see SpanScope.__enter__
            entry = self._recreate()
            made = entry.__enter__()
            add_entry(self, cast("Context", entry._context).get(SPAN_KEY), entry)
            return made
        self._context = ENTERING
        try:
            return self._enter()
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Undo what was done of entering."""
        context, self._context = self._context, None
        if context is not None and context is not ENTERING:
            restore(context, self._previous)
            self._span.end()

    def _enter(self) -> OtelSpan:
        self._previous = previous = get_current()
        tracer, options = self._tracer, self._options
        # The question of Tracer.source(), which nearly always answers that nothing has changed (bench: ten-span-otel).
        engine, source = tracer.provider.engine, tracer._source
        if engine is None or source is None or source.facade is not engine.source:
            source = tracer.source()
        if options is None and source is not None and source.for_children and tracer._tracer_config.is_enabled:
            # As Tracer.start_span (bench: ten-span, OpenTelemetry API).
            parent: Any = previous.get(SPAN_KEY)  # Any: see Engine.start
            span: OtelSpan
            if parent.__class__ is source.span_class and parent.child_source is source:
                span = source.child(parent, self._name)
            else:
                span = source.engine.start(self._name, previous, source)
        else:
            span = tracer.start_span(self._name, *(options or ()))
        self._span = span
        # activate() written out.
        if COLLECTION.thread is not None:
            self._context = activate(span, previous)
            return span
        context: Context = previous.copy()  # type: ignore[assignment] # as there
        context[SPAN_KEY] = span
        self._context = context
        set_current(context)
        return span

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        context = self._context
        if get_current() is not context or context is None:
            own = None if context is None else context.get(SPAN_KEY)
            entry: CurrentSpanScope = take_entry(self, get_current().get(SPAN_KEY), own) or self
            entry._exit(exc)
            return
        self._exit(exc)

    def _exit(self, exc: BaseException | None) -> None:
        context, self._context = self._context, None
        if context is None:
            return
        span = self._span
        try:
            if exc is not None and issubclass(type(exc), Exception) and span.is_recording():
                record, set_status = (True, True) if self._options is None else self._options[5:7]
                if record is True or is_true(record):
                    span.record_exception(exc)
                if set_status is True or is_true(set_status):
                    span.set_status(Status(StatusCode.ERROR, describe_failure(exc)))
        finally:
            previous = self._previous
            if get_current() is context and CLOSED_KEY not in previous and COLLECTION.thread is None:
                set_current(previous)
            else:
                restore(context, previous)
            if self._end_on_exit is True or is_true(self._end_on_exit):
                span.end()

    def __call__(self, func: _F) -> _F:
        """Decorate a function or coroutine function: each call runs in a span of its own."""
        if inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def run_async(*args: Any, **kwargs: Any) -> Any:  # Any: the decorated function's own
                with self._recreate():
                    return await func(*args, **kwargs)

            return cast("_F", run_async)

        @functools.wraps(func)
        def run(*args: Any, **kwargs: Any) -> Any:  # Any: the decorated function's own
            with self._recreate():
                return func(*args, **kwargs)

        return cast("_F", run)

    def _recreate(self) -> CurrentSpanScope:
        """Return another one for a span made in the same way."""
        scope = CurrentSpanScope()
        scope._context = None
        scope._tracer, scope._name = self._tracer, self._name
        scope._options, scope._end_on_exit = self._options, self._end_on_exit
        return scope


def apply_options(
    span: Span,
    attributes: Mapping[str, Any] | None,  # Any: values of every type
    links: Sequence[Link] | None,
    start_time: int | None,
) -> None:
    """Put the optional arguments of `start_span` on a span that was just started."""
    if attributes is not None:
        kept, span.dropped_values = clean_items(attributes, span.max_values, span.max_value_length)
        span.segment.reserve_bytes(size_of(kept))
        span.values.update(kept)
        if not NOTED_KEYS.isdisjoint(span.values):
            for key in NOTED_KEYS & span.values.keys():
                span.set_attribute(key, span.values.pop(key))
    if links is not None:
        for link in _given_links(links):
            if is_a(link, Link):
                span.add_link(link)  # type: ignore[arg-type] # it is a link
    if start_time is not None:
        given = start_time if type(start_time) is int else nanoseconds(start_time)
        if given is not None:
            span.start_ns = given
            span.segment.needs_care = True


def _given_links(links: object) -> list[object]:
    """Return the links that can be read; callers without type checks pass anything."""
    read: list[object] = []
    try:
        read.extend(islice(cast("Sequence[object]", links), _MAX_LINKS))
    except Exception:  # no iterable, or one of the application that raises
        _logger.debug("Links of type %s could not all be read.", class_name(links))
    return read
