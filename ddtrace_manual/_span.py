"""`span`, `start_span` and the helpers for the current span.

Everything here is a no-op before `configure()`, and works over another OpenTelemetry provider when
one is in charge (`_foreign.py`). The engine is looked up per call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from opentelemetry import trace
from typing_extensions import Unpack

from . import _options, _tags
from ._context import CLOSED_KEY, SPAN_KEY, Context, activate, get_current, restore, set_current
from ._errors import Outcome, outcome_of
from ._foreign import NOOP_SPAN, NoopSpan, as_facade_span
from ._links import link_record, otel_link
from ._runtime import RUNTIME
from ._types import LinkTarget, OtherSpanOptions, Span, SpanOptions, Tags

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.trace import SpanKind

    from ._tracing.engine import Engine
    from ._tracing.span import Span as EngineSpan

__all__ = [
    "OUTCOME_TAG",
    "SpanScope",
    "activate_span",
    "add_event",
    "add_link",
    "begin",
    "current_span",
    "drop",
    "keep",
    "leave",
    "root_span",
    "set_error",
    "set_tag",
    "set_tags",
    "span",
    "start_span",
]

OUTCOME_TAG = "span.outcome"
"""Tag of a span left by a cancellation (`cancelled`), a closed generator (`closed`) or `SystemExit(0)` (`exit`)."""

_SCOPE_NAME = "ddtrace_manual"
_TEXT_OPTIONS = {"resource": _tags.RESOURCE_NAME, "span_type": _tags.SPAN_TYPE}
_SHORT_TEXT = 64
"""Longer text is charged to the queue's budget, which the general path does."""


def begin(name: str, options: Mapping[str, Any], current: Context) -> Span:  # Any: options of several types
    """Start a span of the facade; `options` were checked. It is not made current."""
    engine = RUNTIME.engine
    if engine is None:
        return _begin_elsewhere(name, options, current)
    if engine.sampler is not None or "parent" in options or "new_trace" in options:
        return _begin_special(engine, name, options, current)
    made = engine.start(name, current)
    if options:
        _options.apply(made, options, current)
    if engine.processor is not None:
        engine.notify_start(made, current)
    return made


def _begin_special(engine: Engine, name: str, options: Mapping[str, Any], current: Context) -> Span:  # Any: see begin
    """Start a span with a parent of its own choice, or one the user's sampler has a say about."""
    context = _options.parent_context(options, current)
    trace_id = None
    if engine.sampler is not None:
        kind = _options.KINDS[options.get("kind") or "internal"]
        dropped, attributes, trace_id = engine.sample(context, name, kind, options.get("tags"), None)
        if dropped is not None:
            return NoopSpan(dropped.get_span_context())
        options = {**options, "tags": attributes}
    made = engine.start(name, context, trace_id=trace_id)
    _options.apply(made, options, current)
    engine.notify_start(made, context)
    return made


def _begin_elsewhere(name: str, options: Mapping[str, Any], current: Context) -> Span:  # Any: see begin
    """Start a span with the global OpenTelemetry provider, or none at all."""
    if not RUNTIME.use_otel:
        provider = trace._TRACER_PROVIDER  # the proxy would install a provider from the environment
        # Ours without an engine, while tracing is disabled, would come to the same at three times the cost.
        if provider is None or getattr(provider, "engine", provider) is None:
            return _noop_under(options, current)
    tracer = trace.get_tracer(_SCOPE_NAME)
    context = _options.parent_context(options, current)
    attributes: dict[str, Any] = dict(options.get("tags") or {})
    names = {"service": "service.name", "resource": "resource.name", "span_type": "span.type"}
    attributes.update((key, options[option]) for option, key in names.items() if options.get(option) is not None)
    attributes.setdefault("operation.name", name)
    records = [link_record(target) for target in options.get("links") or ()]
    made = tracer.start_span(
        name,
        context,
        _options.KINDS[options.get("kind") or "internal"],
        attributes,
        [otel_link(record) for record in records if record is not None],
        options.get("start_time_ns"),
    )
    return as_facade_span(made)


def _noop_under(options: Mapping[str, Any], current: Context) -> Span:  # Any: see begin
    """Return a no-op span that stands for the span it would have continued, if any; never that span itself."""
    if (SPAN_KEY not in current and "parent" not in options) or options.get("new_trace"):
        return NOOP_SPAN
    parent = as_facade_span(_options.parent_context(options, current).get(SPAN_KEY))
    return parent if isinstance(parent, NoopSpan) else NoopSpan(parent.get_span_context())


def activate_span(span: Span, previous: Context) -> Context | None:
    """Make a span current; `None` for a no-op span, since what that would stand for is current already."""
    return None if isinstance(span, NoopSpan) else activate(getattr(span, "wrapped", span), previous)


def leave(
    span: Span,
    exc: BaseException,
    ignore: type[BaseException] | tuple[type[BaseException], ...] | None = None,
) -> None:
    """Record on `span` that `exc` leaves it; what that means is decided by `_errors.outcome_of`. Never raises."""
    try:
        outcome = outcome_of(exc, ignore)
        if outcome is Outcome.ERROR:
            span.leave_with(exc)
        elif outcome is not Outcome.IGNORED:
            span.set_tag(OUTCOME_TAG, outcome.value)
    except Exception:  # noqa: BLE001 - a hostile exception class must not replace the application's exception
        if RUNTIME.count is not None:
            RUNTIME.count("error_not_recorded")


class SpanScope:
    """A span for the length of a `with` or `async with` block; what `span` returns, and fills in."""

    # No constructor: it would be another call, and costs more than all that it would do (bench: ten-span).
    __slots__ = ("_context", "_name", "_previous", "_resource", "_span")
    _name: str
    _resource: str | None
    _span: Span
    _context: Context | None
    _previous: Context

    def __enter__(self) -> Span:
        previous = get_current()
        parent: Any = previous.get(SPAN_KEY)  # Any: the source is compared next, which type checkers do not follow
        try:
            source: Any = None if parent is None else parent.child_source  # Any: as RUNTIME.source, which it may be
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
        made.values = {} if resource is None else {_tags.RESOURCE_NAME: resource}
        made.end_ns = None
        made.span_id = new_span_id() or source.engine.ids.span_id()
        made.start_ns = monotonic_ns() + segment.clock_offset_ns
        segment.open.add(made)
        source.engine.created += 1
        self._span = made
        self._previous = previous
        # Written as an ignored error and not as a cast, which is a call (bench: ten-span).
        context: Context = previous.copy()  # type: ignore[assignment]
        self._context = context
        context[SPAN_KEY] = made
        set_current(context)
        return made

    def _enter_slowly(self, previous: Context) -> Span:
        """Enter with a span that is no child of an ordinary one."""
        engine, name, resource = RUNTIME.engine, self._name, self._resource
        made: Span
        if engine is None or engine.is_watched:
            made = begin(name, {} if resource is None else {"resource": resource}, previous)
            self._context = activate_span(made, previous)
        else:
            made = engine.start(name, previous, None, None if resource is None else {_tags.RESOURCE_NAME: resource})
            self._context = activate(made, previous)  # its class is known, and asking costs more (bench: ten-span)
        self._span = made
        self._previous = previous
        return made

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
                if not segment.open or len(finished) >= source.partial_flush_min_spans:
                    source.engine.flush_segment(segment)
        else:
            made.end()
        context = self._context
        if context is None:
            return
        previous = self._previous
        # restore() written out for the usual case (bench: ten-span).
        if get_current() is context and CLOSED_KEY not in previous:
            set_current(previous)
        else:
            restore(context, previous)

    def _leave(self, exc: BaseException) -> None:
        leave(self._span, exc)

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
        given = {o: v for o, v in options.items() if v is not None or o not in _options.SPAN_OPTION_NAMES}
        self._options: Mapping[str, Any] = given  # Any: options of several types
        # Values and kind that the span is started with; `None`: it needs the general way with all its options.
        self._prepared: tuple[dict[str, Any], SpanKind | None] | None = None  # Any: values of every type
        values = {}
        kind = None
        for option, value in given.items():
            if isinstance(value, str) and len(value) <= _SHORT_TEXT:
                key = _TEXT_OPTIONS.get(option)
                if key is not None:
                    values[key] = value
                    continue
                if option == "kind" and value in _options.KINDS:
                    kind = _options.KINDS[value]
                    continue
            break
        else:
            if name.__class__ is str:
                self._prepared = values, kind
                return
        self._name, self._options = _options.settle(name, given)

    def __enter__(self) -> Span:
        previous = get_current()
        engine = RUNTIME.engine
        if self._prepared is None or engine is None or engine.is_watched:
            self._span = begin(self._name, self._options, previous)
            self._context = activate_span(self._span, previous)
        else:
            values, kind = self._prepared
            self._span = made = engine.start(self._name, previous, None, values.copy())
            if kind is not None:
                made.set_kind(kind)
            self._context = activate(made, previous)
        self._previous = previous
        return self._span

    def _leave(self, exc: BaseException) -> None:
        leave(self._span, exc, self._options.get("ignore"))


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
        or name.__class__ is not str
        or (resource is not None and (resource.__class__ is not str or len(resource) > _SHORT_TEXT))
    ):
        return SpanScopeWithOptions(name, {**options, "resource": resource})
    scope = SpanScope()
    scope._name = name
    scope._resource = resource
    return scope


def start_span(name: str, **options: Unpack[SpanOptions]) -> Span:
    """Start a span that is not made current; the caller ends it with `.end()`.

    Args:
        name: Operation name.
        **options: See `SpanOptions`.

    Raises:
        ConfigurationError: As `span`.
    """
    text, settled = _options.settle(name, options)
    return begin(text, settled, get_current())


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
