"""Start a span of the facade, make it current, and record the exception that leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from ddtrace_manual._base.context import SPAN_KEY, Context, activate
from ddtrace_manual._base.errors import Outcome, outcome_of
from ddtrace_manual._base.values import clean_mapping
from ddtrace_manual._model import UNCHARGED_NAME_CHARS
from ddtrace_manual._model.links import link_record, otel_link

from . import options as _options
from .other_provider import NOOP_SPAN, NoopSpan, as_facade_span
from .runtime import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtrace_manual._model.types import Span
    from ddtrace_manual._tracing.engine import Engine


__all__ = [
    "OUTCOME_TAG",
    "activate_span",
    "record_exit",
    "start",
]

OUTCOME_TAG = "span.outcome"
"""Tag of a span left by a cancellation (`cancelled`), a closed generator (`closed`) or `SystemExit(0)` (`exit`)."""

_SCOPE_NAME = "ddtrace_manual"


def start(name: str, options: Mapping[str, Any], current: Context) -> Span:  # Any: options of several types
    """Start a span of the facade; `options` were checked. It is not made current."""
    engine = RUNTIME.engine
    if engine is None:
        return _start_elsewhere(name, options, current)
    if engine.sampler is not None or "parent" in options or "new_trace" in options:
        return _start_special(engine, name, options, current)
    made = engine.start(name, current)
    try:
        if len(name) > UNCHARGED_NAME_CHARS:
            made.segment.charge_text(name)
        if options:
            _options.apply(made, options, current)
        if engine.processor is not None:
            engine.notify_start(made, current)
    except BaseException:  # the recursion limit, or a signal handler that raises: nobody else knows the span yet
        made.end()
        raise
    return made


def _start_special(engine: Engine, name: str, options: Mapping[str, Any], current: Context) -> Span:  # Any: see start
    """Start a span with a parent of its own choice, or one the user's sampler has a say about."""
    context = _options.parent_context(options, current)
    trace_id = ot = None
    if engine.sampler is not None:
        kind = _options.KINDS[options.get("kind") or "internal"]
        dropped, attributes, trace_id, ot = engine.sample(context, name, kind, options.get("tags"), None)
        if dropped is not None:
            return NoopSpan(dropped.get_span_context())
        options = {**options, "tags": attributes}
    made = engine.start(name, context, trace_id=trace_id)
    try:
        if trace_id is not None:
            engine.note_sampled(made, ot)
        made.segment.charge_text(name)
        _options.apply(made, options, current)
        engine.notify_start(made, context)
    except BaseException:  # as in start()
        made.end()
        raise
    return made


def _start_elsewhere(name: str, options: Mapping[str, Any], current: Context) -> Span:  # Any: see start
    """Start a span with the global OpenTelemetry provider, or none at all."""
    if not RUNTIME.use_otel:
        provider = trace._TRACER_PROVIDER  # the proxy would install a provider from the environment
        # Ours without an engine, while tracing is disabled, would come to the same at three times the cost.
        if provider is None or getattr(provider, "engine", provider) is None:
            return _noop_under(options, current)
    tracer = trace.get_tracer(_SCOPE_NAME)
    context = _options.parent_context(options, current)
    attributes: dict[str, Any] = clean_mapping(options.get("tags"))
    names = {"service": "service.name", "resource": "resource.name", "span_type": "span.type"}
    attributes.update((key, options[option]) for option, key in names.items() if options.get(option) is not None)
    attributes.setdefault("operation.name", name)
    records = [link_record(target, None, RUNTIME.extract) for target in options.get("links") or ()]
    made = tracer.start_span(
        name,
        context,
        _options.KINDS[options.get("kind") or "internal"],
        attributes,
        [otel_link(record) for record in records if record is not None],
        options.get("start_time_ns"),
    )
    return as_facade_span(made)


def _noop_under(options: Mapping[str, Any], current: Context) -> Span:  # Any: see start
    """Return a no-op span that stands for the span it would have continued, if any; never that span itself."""
    if (SPAN_KEY not in current and "parent" not in options) or options.get("new_trace"):
        return NOOP_SPAN
    parent = as_facade_span(_options.parent_context(options, current).get(SPAN_KEY))
    return parent if isinstance(parent, NoopSpan) else NoopSpan(parent.get_span_context())


def activate_span(span: Span, previous: Context) -> Context | None:
    """Make a span current; `None` for a no-op span, since what that would stand for is current already."""
    return None if isinstance(span, NoopSpan) else activate(getattr(span, "wrapped", span), previous)


def record_exit(
    span: Span,
    exc: BaseException,
    ignore: type[BaseException] | tuple[type[BaseException], ...] | None = None,
) -> None:
    """Record on `span` that `exc` leaves it; what that means is decided by `_errors.outcome_of`. Never raises."""
    try:
        try:
            outcome = outcome_of(exc, ignore, RUNTIME.ignored)
        except Exception:  # an exception that refuses to be asked what it is
            outcome = Outcome.ERROR
        if outcome is Outcome.ERROR:
            span.record_exit(exc)
        elif outcome is not Outcome.IGNORED:
            span.set_tag(OUTCOME_TAG, outcome.value)
    except Exception:  # a hostile exception class must not replace the application's exception
        if RUNTIME.count is not None:
            RUNTIME.count("error_not_recorded")
