"""The propagators in OpenTelemetry's form: they move contexts between carriers and OpenTelemetry's `Context`.

Source: spec/propagation.md §14, §4.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace import Span as OtelSpan

from ddtrace_manual._base.context import REMOTE_CONTEXT_KEY, SPAN_KEY, get_current
from ddtrace_manual._base.log import get_logger
from ddtrace_manual._base.tags import BAGGAGE_PREFIX
from ddtrace_manual._model import RANDOM_FLAG, PropagationState, RemoteContext
from ddtrace_manual._model.remote import BAGGAGE_KEY, BAGGAGE_METADATA_KEY, baggage_metadata, remote_context_of

from . import _tracecontext
from ._baggage import text_of
from ._composite import Extraction, Propagator
from ._settings import B3, B3_MULTI, BAGGAGE, TRACECONTEXT, PropagationSettings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ._carriers import AnyGetter, AnySetter, Carrier

__all__ = [
    "B3MultiPropagator",
    "B3Propagator",
    "BaggagePropagator",
    "DatadogPropagator",
    "RemoteSpan",
    "TraceContextPropagator",
    "baggage_tags",
    "install_propagator",
    "remote_from_span_context",
]

_log = get_logger("propagation")

_NO_IDS = (0, 0, PropagationState())


class RemoteSpan(NonRecordingSpan):
    """The calling span of an extracted context.

    Its `SpanContext` is built when first asked for: our own engine never asks.
    """

    def __init__(self, remote: RemoteContext) -> None:
        # Not calling the parent: it would want the span context now.
        self.remote_context = remote

    def get_span_context(self) -> SpanContext:
        """Return ids, sampled flag and the trace state as it is now."""
        remote = self.remote_context
        return SpanContext(
            remote.trace_id,
            remote.span_id,
            is_remote=True,
            trace_flags=TraceFlags(_flags(remote)),
            trace_state=_tracecontext.display_trace_state(remote, remote.span_id),
        )

    def __repr__(self) -> str:
        return f"RemoteSpan({self.remote_context!r})"


def _flags(remote: RemoteContext) -> int:
    """Return the sampled bit, from the priority or as received while there is none, and the random bit (§14.2)."""
    random = RANDOM_FLAG if remote.is_random else 0
    if remote.priority is not None:
        return random | (remote.priority > 0)
    return random | (remote.flags or 0) & 1


def remote_from_span_context(span_context: SpanContext) -> RemoteContext:
    """Return what a span context of a foreign propagator or provider says.

    Priority from the `dd` member of its trace state and the sampled flag, the rest from the trace state.

    Source: spec/propagation.md §14.1, §5.4.
    """
    return _tracecontext.build(
        span_context.trace_id,
        span_context.span_id,
        int(span_context.trace_flags),
        span_context.trace_state.to_header() if span_context.trace_state else None,
    )


def baggage_tags(keys: Collection[str], context: Mapping[str, object]) -> dict[str, str]:
    """Return the tags of a local root for the baggage items of its parent context.

    Args:
        keys: Items to take, compared exactly; `*` among them takes all.
        context: The parent context.

    Source: spec/propagation.md §9.4.
    """
    items = context.get(BAGGAGE_KEY)
    if not keys or not items or not isinstance(items, dict):
        return {}
    names = items if "*" in keys else [key for key in keys if key in items]
    return {f"{BAGGAGE_PREFIX}{name}": text_of(items[name]) for name in names if items[name] is not None}


_installed = Propagator(PropagationSettings())


def install_propagator(propagator: Propagator) -> None:
    """Make every `DatadogPropagator()` without arguments use this one from now on; called by the set-up."""
    global _installed  # noqa: PLW0603 - OpenTelemetry builds entry points without arguments
    _installed = propagator


class DatadogPropagator(TextMapPropagator):
    """All configured styles as one OpenTelemetry propagator. Never raises.

    Args:
        propagator: What reads and writes; `None` stands for the installed one, looked up at every call.
    """

    def __init__(self, propagator: Propagator | None = None) -> None:
        self._own = propagator

    @property
    def fields(self) -> set[str]:
        """Names of all headers that an injection may write."""
        return set((self._own or _installed).fields)

    def extract(
        self,
        carrier: Carrier,
        context: Context | None = None,
        getter: AnyGetter | None = default_getter,
    ) -> Context:
        """Return `context`, an empty one by default, with what the carrier holds.

        A trace that was found replaces the current span, even where it yields none (parent id 0,
        behaviour `restart`); baggage is merged.
        """
        base = Context() if context is None else context
        try:
            return self._merge(base, (self._own or _installed).extract(carrier, getter))
        except Exception:  # nothing of ours may reach the application
            _log.debug("An extracted context could not be used", exc_info=True)
            return base

    @staticmethod
    def _merge(base: Context, extraction: Extraction) -> Context:
        remote, items = extraction
        if remote is None and not items:
            return base
        values: dict[str, object] = dict(base)
        if remote is not None:
            values[REMOTE_CONTEXT_KEY] = remote
            span: OtelSpan = RemoteSpan(remote) if remote.trace_id and remote.span_id else INVALID_SPAN
            values[SPAN_KEY] = span
        if items:
            present = base.get(BAGGAGE_KEY)
            merged: dict[str, object] = dict(present) if isinstance(present, dict) else {}
            merged.update({key: entry[0] for key, entry in items.items()})
            values[BAGGAGE_KEY] = merged
            described = {key: entry for key, entry in items.items() if entry[1]}
            if described or BAGGAGE_METADATA_KEY in base:
                values[BAGGAGE_METADATA_KEY] = {**baggage_metadata(base), **described}
        return Context(values)

    def inject(
        self,
        carrier: Carrier,
        context: Context | None = None,
        setter: AnySetter | None = default_setter,
    ) -> None:
        """Write the current span and the baggage of `context`, by default the current one, into the carrier.

        Injecting a local span makes its sampling decision final.
        """
        propagator = self._own or _installed
        if not propagator.writes:
            return
        try:
            here = get_current() if context is None else context
            headers: dict[str, str] = {}
            items = here.get(BAGGAGE_KEY)
            if items and isinstance(items, dict):
                propagator.add_baggage(dict(items), baggage_metadata(here), headers)
            span = here.get(SPAN_KEY)
            if span is not None or REMOTE_CONTEXT_KEY in here:
                propagator.add_trace(*_to_inject(span, here), headers)
            propagator.write(headers, carrier, setter, knows_baggage=BAGGAGE_KEY in here)
        except Exception:  # nothing of ours may reach the application
            _log.debug("A context could not be injected", exc_info=True)


def _to_inject(span: object, context: Context) -> tuple[int, int, PropagationState]:
    """Return ids and state of the current span: local, extracted by us, or foreign (§14.1)."""
    local = getattr(span, "propagation_state", None)
    if local is not None:
        ids_and_state: tuple[int, int, PropagationState] = local()
        return ids_and_state
    remote = remote_context_of(context)
    if remote is None:
        span_context = span.get_span_context() if isinstance(span, OtelSpan) else None
        if span_context is None or not span_context.is_valid:
            return _NO_IDS
        remote = remote_from_span_context(span_context)
    return remote.trace_id, remote.span_id, _with_local_decision(remote)


def _with_local_decision(remote: RemoteContext) -> PropagationState:
    """Return the context as it came, or with the decision of the local trace that was started from it."""
    segment = remote.segment
    if segment is None or segment.priority is None:
        return remote
    state = RemoteContext(remote.trace_id, remote.span_id, span_is_datadog=remote.span_is_datadog)
    state.parent_tag = remote.parent_tag
    state.priority = segment.priority
    state.origin = segment.origin
    state.tags = segment.tags
    state.members = segment.members
    state.ot = segment.ot
    state.probability = segment.probability
    state.threshold_cleared = segment.threshold_cleared
    state.probability_unknown = segment.probability_unknown
    state.is_random = segment.is_random
    return state


class _StylePropagator(DatadogPropagator):
    """One style alone, with default settings."""

    _style = ""

    def __init__(self) -> None:
        super().__init__(Propagator(PropagationSettings(extract_styles=(self._style,), inject_styles=(self._style,))))


class TraceContextPropagator(_StylePropagator):
    """`traceparent` and `tracestate` only."""

    _style = TRACECONTEXT


class B3Propagator(_StylePropagator):
    """`b3` only."""

    _style = B3


class B3MultiPropagator(_StylePropagator):
    """`x-b3-*` only."""

    _style = B3_MULTI


class BaggagePropagator(_StylePropagator):
    """`baggage` only."""

    _style = BAGGAGE
