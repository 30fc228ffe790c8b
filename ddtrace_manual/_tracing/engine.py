"""What all spans of one provider share, and how a span is started.

One engine lives as long as its process: `configure()` called again changes its fields, a fork
replaces it, because locks and open segments of the parent must not be touched in the child.
"""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from ddtrace_manual._base.clock import SYSTEM_CLOCK, Clock
from ddtrace_manual._base.context import CLOSED_KEY, REMOTE_CONTEXT_KEY, SPAN_KEY, Context, skip_closed
from ddtrace_manual._base.ids import IdSource
from ddtrace_manual._base.tags import SERVICE_NAME
from ddtrace_manual._model import RANDOM_FLAG, PropagationState, RemoteContext
from ddtrace_manual._model.finished_span import expanded
from ddtrace_manual._model.remote import BAGGAGE_KEY, remote_context_of

from .hooks import EngineHooks, SpanLimitValues, ignore_chunk, keep_everything
from .limited import LimitedSpan
from .open_segments import OpenSegments, place_of_caller
from .processors import call_processors
from .readable import context_of
from .segment import HELD_BYTES, RandomIdSegment, Segment
from .span import Span
from .span_factory import SpanSource
from .values import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SynchronousMultiSpanProcessor
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Link, SpanKind

    from ddtrace_manual._model.finished_span import CompactSpan

__all__ = ["Engine"]

_MAX_WAIT_NS = 10_000_000_000
_FOREVER_NS = 1 << 64

_logger = logging.getLogger("ddtrace_manual.tracing")


class SamplerAnswer(NamedTuple):
    """What the user's sampler says about a span that is about to start."""

    dropped: NonRecordingSpan | None
    """The span to use instead when it is not recorded."""
    attributes: Mapping[str, Any] | None  # Any: values of every type
    trace_id: int
    """The trace id the sampler has seen; a new trace must have it."""
    ot: tuple[tuple[str, str | None], ...] | None = None
    """Items of the `ot` member of the trace state in its answer."""


class Engine:
    """Starts spans and hands finished segments to the exporter. Thread-safe.

    Attributes:
        processor: Additional OpenTelemetry span processors, or `None`; without any the path does not pay for them.
        is_watched: There is an additional processor or a sampler, or places are noted: no span starts the short way.
        source: What spans of the facade are made with; see `source.py`.
        on_new_sources: Called when spans are made with other sources from now on.
        sampler: The user's OpenTelemetry sampler, or `None`. What it drops is not recorded.
        partial_flush_min_spans: A segment with open spans hands over its finished ones when there are so many.
        segments: The open segments of the provider; engines that follow one another share them.
        max_wait_ns: So long a finished span of an open segment waits at most when others end.
    """

    def __init__(
        self,
        *,
        hooks: EngineHooks | None = None,
        resource: Resource | None = None,
        ids: IdSource | None = None,
        clock: Clock = SYSTEM_CLOCK,
        limits: SpanLimitValues | None = None,
        partial_flush_min_spans: int | None = 300,
        sampler: Sampler | None = None,
        segments: OpenSegments | None = None,
    ) -> None:
        self.segments = segments if segments is not None else OpenSegments()
        self.references = self.segments.references
        self.clock = clock
        self.wall_ns = clock.wall_ns
        self.monotonic_ns = clock.monotonic_ns
        self.resource = resource if resource is not None else Resource.create({})
        self.processor: SynchronousMultiSpanProcessor | ConcurrentMultiSpanProcessor | None = None
        self.on_new_sources: Callable[[], object] | None = None
        self.is_dead = False
        # Guards the sampling fields of all segments. A finalizer or signal handler may interrupt its holder, hence
        # reentrant.
        self._decision_lock = threading.RLock()
        self._take_ids(ids or IdSource(clock=clock))
        self.reconfigure(
            hooks=hooks or EngineHooks(),
            limits=limits or SpanLimitValues(),
            partial_flush_min_spans=partial_flush_min_spans,
            sampler=sampler,
        )

    def _take_ids(self, ids: IdSource) -> None:
        self.ids = ids
        self.new_span_id = ids.random_span_id
        self.new_trace_id = ids.trace_id
        self.segment_class = RandomIdSegment if ids.claims_random else Segment

    def reconfigure(
        self,
        *,
        hooks: EngineHooks,
        limits: SpanLimitValues,
        partial_flush_min_spans: int | None,
        sampler: Sampler | None,
        ids: IdSource | None = None,
    ) -> None:
        """Change what spans started from now on are made of; open segments go to the new exporter."""
        if ids is not None:
            self._take_ids(ids)
        self.hooks = hooks
        self.display_trace_state = hooks.display_trace_state
        self.limits = limits
        self.sampler = sampler
        self.partial_flush_min_spans = partial_flush_min_spans or sys.maxsize
        self.max_wait_ns = _MAX_WAIT_NS if partial_flush_min_spans else _FOREVER_NS
        self.span_class: type[Span] = _span_class(limits)
        self._renew_sources()

    def use_processor(self, processor: SynchronousMultiSpanProcessor | ConcurrentMultiSpanProcessor | None) -> None:
        """Tell this processor of spans from now on; `None` for nobody."""
        self.processor = processor
        self._renew_sources()

    def _renew_sources(self) -> None:
        self.is_watched = self.processor is not None or self.sampler is not None or self.hooks.note_places
        self.source = SpanSource(self, None)
        if self.on_new_sources is not None:
            self.on_new_sources()

    # -- starting ----------------------------------------------------------------------------------

    def start(
        self,
        name: str,
        context: Context,
        source: SpanSource | None = None,
        values: dict[str, Any] | None = None,  # Any: values of every type
        trace_id: int | None = None,
    ) -> Span:
        """Start a span under the current span of `context`, or a new local trace.

        The caller sets whatever else the span is made of, then calls `notify_start` if there is a processor.

        Args:
            name: OpenTelemetry name, for the facade the operation name.
            context: Where the parent is looked up.
            source: What spans of the caller's instrumentation scope are made with; `None` is the facade's.
            values: Attributes in the form they are kept; the span takes the dictionary over.
            trace_id: For a new trace: the id that the user's sampler has seen.
        """
        if source is None:
            source = self.source
        scope = source.scope
        parent: Any = context.get(SPAN_KEY)  # Any: the class is compared, which type checkers do not follow
        segment: Segment
        span: Span
        if parent is None and REMOTE_CONTEXT_KEY not in context and BAGGAGE_KEY not in context:
            # The usual root: a trace of its own (bench: traced-root).
            segment = self.segment_class(self, trace_id or self.new_trace_id())
            span = segment.local_root = self.span_class()
            span.segment = segment
            span.is_local_root = True
            span.values = {} if values is None else values
            span.source, span.child_source = None, source.for_children
        elif parent.__class__ is self.span_class and parent.child_source is source:  # pyright: ignore[reportOptionalMemberAccess]
            return source.child(parent, name, values)  # pyright: ignore[reportArgumentType]
        else:
            span = self._start_rare(context, parent, values, trace_id)
            segment = span.segment
            span.child_source = source.for_children
            if (parent := span.local_parent) is not None:
                if parent.end_ns is None and parent.scope is scope:
                    span.source = source.own
                if scope is None and SERVICE_NAME in parent.values:
                    span.inherit_service(parent.values)
        # What is read of most spans is set on all: reading it from the class costs more (bench: ten-span).
        span.scope = scope
        span.otel_name = name
        span.operation_name = name if scope is None else None
        span.end_ns = None
        # Functions kept in attributes are called as locals: calling them as methods costs more (bench: ten-span).
        new_span_id, monotonic_ns = self.new_span_id, self.monotonic_ns
        span.span_id = new_span_id() or self.ids.span_id()
        span.start_ns = monotonic_ns() + segment.clock_offset_ns
        if self.hooks.note_places:
            span.started_at = place_of_caller()
        segment.open.add(span)
        if not segment.is_listed:
            self.segments.list_again(segment)
        return span

    def _start_rare(
        self,
        context: Context,
        parent: object,
        values: dict[str, Any] | None,  # Any: values of every type
        trace_id: int | None,
    ) -> Span:
        """Make a span that is no usual root, nor a child in the short way."""
        span = self.span_class()
        span.values = {} if values is None else values
        if isinstance(parent, Span):
            if parent.end_ns is not None and CLOSED_KEY in context:
                outer = skip_closed(context)
                if outer.get(SPAN_KEY) is not parent:
                    return self._start_rare(outer, outer.get(SPAN_KEY), values, trace_id)
            span.parent_id = parent.span_id
            if parent.segment.engine is self:
                span.local_parent = parent
                span.segment = parent.segment
                return span
            span.segment = self._take_over(parent.segment)
            span.given_parent = _stand_in(parent)
        else:
            remote = self._remote_parent(context, parent)
            span.segment, is_first = self._segment_for(remote, trace_id)
            if remote is not None:
                span.parent_id = remote.span_id if remote.trace_id else 0
                span.given_parent = parent
                if is_first:
                    for link in remote.links:
                        span.append_link(link)
        span.is_local_root = True
        if span.segment.local_root is None:
            span.segment.local_root = span
        if BAGGAGE_KEY in context and self.hooks.baggage_tags is not None:
            span.values = {**self.hooks.baggage_tags(context), **span.values}
            span.segment.reserve_bytes(size_of(span.values))
        return span

    def _remote_parent(self, context: Context, parent: object) -> RemoteContext | None:
        """Return what the new local root descends from, or `None` for a new trace.

        Source: spec/propagation.md §4.5, §14.1.
        """
        remote = remote_context_of(context)
        if remote is not None:
            return remote
        span_context = context_of(parent)
        if span_context is None:
            return None
        remote = self.hooks.remote_of(span_context)
        if self.sampler is not None and not span_context.is_remote:
            remote.priority = None  # the parent was dropped here by the user's sampler, which now wants this span
        return remote

    def _segment_for(self, remote: RemoteContext | None, trace_id: int | None) -> tuple[Segment, bool]:
        """Return the segment a remote context leads to, and whether its first span is being started."""
        if remote is None:
            return self.segment_class(self, trace_id or self.new_trace_id()), True
        segment = remote.segment
        if isinstance(segment, Segment) and segment.engine is self:
            return segment, False
        self.ids.notice_fork()
        made = Segment if remote.trace_id else self.segment_class
        segment = made(self, remote.trace_id or trace_id or self.new_trace_id())
        segment.inherit(remote)
        remote.segment = segment
        return segment, True

    def _take_over(self, foreign: Segment) -> Segment:
        """Return this engine's continuation of a segment of a dead or another engine."""
        successor = foreign.__dict__.get("successor")
        if isinstance(successor, Segment) and successor.engine is self:
            return successor
        foreign.decide()
        segment = Segment(self, foreign.trace_id)
        remote = RemoteContext(foreign.trace_id)
        vars(remote).update({k: v for k, v in vars(foreign).items() if hasattr(PropagationState, k)})
        segment.inherit(remote)
        segment.probability, segment.threshold_cleared = foreign.probability, foreign.threshold_cleared
        segment.probability_unknown = foreign.probability_unknown
        foreign.__dict__["successor"] = segment
        return segment

    # -- options that are not on the hot path --------------------------------------------------------

    def notify_start(self, span: Span, context: Context) -> None:
        """Tell the additional processors that a span started; their exceptions stay here."""
        if self.processor is not None:
            call_processors(self.processor, "on_start", span, parent_context=context)  # by name, as the SDK does

    def sample(
        self,
        context: Context,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,  # Any: values of every type
        links: Sequence[Link] | None,
    ) -> SamplerAnswer:
        """Ask the user's sampler whether to record a span. A sampler that fails records."""
        parent_context = context_of(context.get(SPAN_KEY))
        trace_id = parent_context.trace_id if parent_context is not None else self.new_trace_id()
        sampler = self.sampler
        if sampler is None:
            return SamplerAnswer(None, attributes, trace_id)
        try:
            result = sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
            if result.decision.is_recording():  # type: ignore[no-untyped-call] # untyped in the SDK
                return SamplerAnswer(None, result.attributes, trace_id, self._probability_of(result.trace_state))
        except Exception:
            _logger.exception("The sampler failed; the span is recorded.")
            return SamplerAnswer(None, attributes, trace_id)
        span_id = self.new_span_id() or self.ids.span_id()
        is_random = parent_context.trace_flags & RANDOM_FLAG if parent_context is not None else self.ids.claims_random
        flags = TraceFlags(RANDOM_FLAG if is_random else 0)
        dropped = SpanContext(trace_id, span_id, False, flags, result.trace_state)
        return SamplerAnswer(NonRecordingSpan(dropped), None, trace_id)

    def _probability_of(self, state: TraceState | None) -> tuple[tuple[str, str | None], ...] | None:
        """Return the items of the `ot` member of a sampler's answer."""
        if not state or "ot" not in state:
            return None
        return self.hooks.remote_of(SpanContext(1, 1, False, TraceFlags(0), TraceState([("ot", state["ot"])]))).ot

    def note_sampled(self, span: Span, ot: tuple[tuple[str, str | None], ...] | None) -> None:
        """Let the trace of a local root say of its probability what the user's sampler said, or nothing.

        Source: spec/propagation.md §6.1.
        """
        segment = span.segment
        if segment.local_root is span and self.sampler is not ALWAYS_ON:
            segment.probability_unknown = True
            if ot is not None:
                segment.ot = ot

    # -- deciding ------------------------------------------------------------------------------------

    def decide(self, segment: Segment) -> None:
        """Make the sampling decision of a segment final, unless it is."""
        with self._decision_lock:
            if segment.decided:
                return
            root = segment.local_root
            if root is None:
                segment.decided = True
                return
            try:
                self.hooks.decide(segment, root)
            except Exception:
                _logger.exception("The sampling decision failed; the trace is kept.")
                keep_everything(segment, root)

    def decide_manual(self, segment: Segment, *, keep: bool) -> None:
        """Keep or drop a trace by hand; the last call wins."""
        with self._decision_lock:
            self.hooks.decide_manual(segment, keep)

    # -- finishing -----------------------------------------------------------------------------------

    def end_with_processor(self, span: Span, end_time: int) -> None:
        """End a span that additional processors want to see."""
        segment = span.segment
        try:
            segment.open.remove(span)
        except KeyError:
            span._refuse("Calling end() on an ended span.")
            return
        span.end_ns = end_time
        span.child_source = None
        processor = self.processor
        if processor is not None:
            call_processors(processor, "_on_ending", span)
            call_processors(processor, "on_end", span._readable_span())
        segment.holds_records = True
        finished = segment.finished
        finished.append(span)
        if not segment.open:
            self.hand_over(segment)
        elif len(finished) >= self.partial_flush_min_spans or end_time >= segment.flush_due_ns:
            self.flush_segment(segment)
        elif segment.local_root is span:
            self.flush_open(segment)

    def flush_segment(self, segment: Segment) -> None:
        """Hand over a segment with open spans whose finished ones are enough, or large, or have waited for too long."""
        finished = segment.finished
        if self.max_wait_ns == _FOREVER_NS:
            segment.flush_due_ns = _FOREVER_NS  # it is due because of its size
            return
        if len(finished) < self.partial_flush_min_spans and segment.extra_bytes <= HELD_BYTES:
            now_ns = self.monotonic_ns() + segment.clock_offset_ns
            oldest = finished[:1]
            if now_ns < segment.flush_due_ns or not oldest:
                return  # a time of the end that was given, or another thread was quicker
            (first,) = oldest
            waits_since_ns = min((first.end_ns if isinstance(first, Span) else first[3]) or now_ns, now_ns)
            if waits_since_ns + self.max_wait_ns > now_ns:
                segment.flush_due_ns = waits_since_ns + self.max_wait_ns
                return
        self.hand_over(segment)

    def flush_open(self, segment: Segment) -> None:
        """Hand over what is finished of a segment whose local root has ended, unless partial flushing is off."""
        if self.max_wait_ns != _FOREVER_NS:
            segment.flush_due_ns = 0  # before the attempt: whoever is handing over already looks at it afterwards
            self.hand_over(segment)

    def hand_over(self, segment: Segment) -> None:  # noqa: C901 - a loop of few lines, without calls for speed
        """Hand the finished spans of a segment to the exporter, whether or not others are open."""
        references, finished = self.references, segment.finished
        while True:
            try:
                # A statement: after a call a signal handler might raise, and nobody put it back.
                del references[segment.reference]
            except KeyError:
                if segment.is_listed:  # another thread, or what a signal handler interrupted, has it; and looks again
                    return
                self.segments.list_again(segment)
                continue
            try:
                if segment.open:
                    segment.flush_due_ns = self.monotonic_ns() + segment.clock_offset_ns + self.max_wait_ns
                spans = finished.copy()
                del finished[: len(spans)]
            finally:
                if segment.open or finished:
                    references[segment.reference] = None
                else:
                    segment.is_listed = False
            if spans:  # none when two threads ended the last two at once
                # As in `export`, which would be a call (bench: traced-root).
                hooks = self.hooks
                if not hooks.takes_compact:
                    spans = _whole(spans, segment)
                hooks.export(segment, spans, partial=bool(segment.open))
            if not segment.open and not finished:
                return
            if not segment.is_listed:  # a span was started meanwhile
                self.segments.list_again(segment)
            if not finished or (segment.open and segment.flush_due_ns):
                return

    def export(self, segment: Segment, spans: list[Span | CompactSpan], *, partial: bool) -> None:
        """Give spans that were taken out of a segment to the exporter."""
        hooks = self.hooks  # read once: `reconfigure` may replace them meanwhile
        if not hooks.takes_compact:  # perhaps they did when these spans ended
            spans = _whole(spans, segment)
        hooks.export(segment, spans, partial=partial)

    # -- fork ----------------------------------------------------------------------------------------

    def disable_after_fork(self) -> None:
        """Cut off an engine inherited from the parent process: its spans end without effect."""
        self.is_dead = True
        self._decision_lock = threading.RLock()
        self.hooks = replace(self.hooks, export=ignore_chunk)
        self.processor = None


def _stand_in(parent: Span) -> NonRecordingSpan | None:
    """Return a parent of another engine without what it holds; `None` for one of the process that was forked."""
    return None if parent.segment.engine.is_dead else NonRecordingSpan(parent.get_span_context())


def _whole(spans: list[Span | CompactSpan], segment: Segment) -> list[Span | CompactSpan]:
    """Return finished spans of a segment as records."""
    return [span if isinstance(span, Span) else expanded(span, segment, Span) for span in spans]


def _span_class(limits: SpanLimitValues) -> type[Span]:
    """Return the span class for these limits: `Span` itself for the usual ones."""
    if limits == SpanLimitValues():
        return Span
    fields = {name: getattr(limits, name) for name in SpanLimitValues.__slots__}
    return type("Span", (LimitedSpan,), fields)
