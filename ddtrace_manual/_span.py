"""`span`, `start_span` and the helpers for the current span.

Everything here is a no-op before `configure()`, and works over another OpenTelemetry provider when
one is in charge (`_foreign.py`). The engine is looked up per call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

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
_Prepared: TypeAlias = "tuple[dict[str, Any], SpanKind | None]"  # Any: values of every type
"""Values and kind that a span is started with."""
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
    made = engine.start(name, current, None, name)
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
    made = engine.start(name, context, None, name, trace_id=trace_id)
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
    if options.get("new_trace"):
        return NOOP_SPAN
    parent = as_facade_span(_options.parent_context(options, current).get(SPAN_KEY))
    return parent if isinstance(parent, NoopSpan) else NoopSpan(parent.get_span_context())


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
    """A span for the length of a `with` or `async with` block; `ddtrace_manual.span`.

    The span starts on entering, is current inside the block, and ends on leaving it, whatever thread,
    task or order that happens in. An exception that leaves the block is recorded and goes on unchanged.

    Args:
        name: Operation name.
        **options: See `SpanOptions`.

    Raises:
        ConfigurationError: An option is unknown or of the wrong type. Name, resource, service and type that are no text
            become text: they often come from data.

    Example:
        >>> with span("db.query", resource="SELECT 1", span_type="sql", kind="client") as s:
        ...     s.set_tag("db.system", "postgresql")
    """

    __slots__ = ("_context", "_name", "_previous", "_resource", "_span", "_special")
    _context: Context | None

    def __init__(self, name: str, *, resource: str | None = None, **options: Unpack[OtherSpanOptions]) -> None:
        self._name = name
        self._resource = resource
        # Nothing, or what makes the span more than a name and a resource: values and kind, or its options.
        self._special: _Prepared | Mapping[str, Any] | None = None  # Any: options of several types
        if (
            options
            or name.__class__ is not str
            or (resource is not None and (resource.__class__ is not str or len(resource) > _SHORT_TEXT))
        ):
            self._prepare({**options, "resource": resource})

    def _prepare(self, options: Mapping[str, Any]) -> None:  # Any: options of several types
        """Check the options, and turn the usual ones into values of the span right away (bench: ten-span)."""
        values = {}
        kind = None
        for option, value in options.items():
            if value is None and option in _options.SPAN_OPTION_NAMES:
                continue
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
            if self._name.__class__ is str:
                self._special = values, kind
                return
        self._name, self._special = _options.settle(self._name, options)

    def __enter__(self) -> Span:
        previous = get_current()
        engine = RUNTIME.engine
        if engine is None or engine.is_watched or self._special is not None:
            return self._enter_special(engine, previous)
        # begin(), Engine.start() for a child and activate() written out: three frames less (bench: ten-span).
        name, resource = self._name, self._resource
        # Functions kept in attributes are called as locals: calling them as methods costs more.
        new_span_id, monotonic_ns = engine.new_span_id, engine.monotonic_ns
        made: EngineSpan
        parent: Any = previous.get(SPAN_KEY)  # Any: the class is compared next, which type checkers do not follow
        if (
            parent.__class__ is engine.span_class
            and parent.end_ns is None
            and (segment := parent.segment).engine is engine
        ):
            made = engine.span_class()
            made.local_parent = parent
            made.parent_id = parent.span_id
            made.segment = segment
            made.compacts = engine.compacts and parent.scope is None
            made.values = {} if resource is None else {_tags.RESOURCE_NAME: resource}
            if segment.needs_care and _tags.SERVICE_NAME in parent.values:
                made.inherit_service(parent.values)
            made.otel_name = made.operation_name = name
            made.scope = made.end_ns = None
            made.span_id = new_span_id() or engine.ids.span_id()
            made.start_ns = monotonic_ns() + segment.clock_offset_ns
            segment.open.add(made)
            engine.created += 1
        else:
            values = None if resource is None else {_tags.RESOURCE_NAME: resource}
            made = engine.start(name, previous, None, name, values)
        self._span: Span = made
        self._previous = previous
        # Written as an ignored error and not as a cast, which is a call (bench: ten-span).
        context: Context = previous.copy()  # type: ignore[assignment]
        self._context = context
        context[SPAN_KEY] = made
        set_current(context)
        return made

    def _enter_special(self, engine: Engine | None, previous: Context) -> Span:
        """Enter with options, or while nobody traces, or an additional processor or sampler is told."""
        special = self._special
        made: Span
        if isinstance(special, tuple) and engine is not None and not engine.is_watched:
            values, kind = special
            made = engine_span = engine.start(self._name, previous, None, self._name, values.copy())
            if kind is not None:
                engine_span.set_kind(kind)
        else:
            made = begin(self._name, self._all_options(), previous)
        self._span = made
        self._previous = previous
        # A no-op span is not made current: what it would stand for is current already.
        self._context = None if isinstance(made, NoopSpan) else activate(getattr(made, "wrapped", made), previous)
        return made

    def _all_options(self) -> Mapping[str, Any]:  # Any: options of several types
        """Return what was given besides the name, prepared options in the form they were given."""
        special = self._special
        if special is None:
            return {} if self._resource is None else {"resource": self._resource}
        if not isinstance(special, tuple):
            return special
        values, kind = special
        options = {option: values[key] for option, key in _TEXT_OPTIONS.items() if key in values}
        return options if kind is None else {**options, "kind": kind}

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            special = self._special
            leave(self._span, exc, special.get("ignore") if isinstance(special, dict) else None)
        self._span.end()
        context = self._context
        if context is None:
            return
        previous = self._previous
        # restore() written out for the usual case (bench: ten-span).
        if get_current() is context and CLOSED_KEY not in previous:
            set_current(previous)
        else:
            restore(context, previous)

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


span = SpanScope


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
