"""The SDK provider: what `opentelemetry.trace.get_tracer_provider()` returns after `configure()`."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
)
from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NoOpTracer
from opentelemetry.trace import Tracer as OtelTracer

from ddtrace_manual._base.clock import SYSTEM_CLOCK
from ddtrace_manual._base.ids import MASK_64, IdSource

from .engine import Engine
from .hooks import EngineHooks, SpanLimitValues
from .open_segments import OpenSegments
from .processors import flush as flush_processors
from .processors import members
from .processors import shut_down as shut_down_processors
from .readable import info_of
from .tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.resources import Resource

    from ddtrace_manual.config import Config

__all__ = ["EngineIdGenerator", "TracerProvider", "limits_from_environment", "limits_of"]

_logger = logging.getLogger("ddtrace_manual.tracing")
_MASK_128 = (1 << 128) - 1
_SHUTDOWN_TIMEOUT_S = 5.0


_LIMIT_DEFAULTS = {
    "max_attributes": 128,
    "max_events": 128,
    "max_links": 128,
    "max_span_attributes": 128,
    "max_event_attributes": 128,
    "max_link_attributes": 128,
    "max_attribute_length": SpanLimits.UNSET,
    "max_span_attribute_length": SpanLimits.UNSET,
}


class EngineIdGenerator(IdGenerator):
    """The engine's ids as an SDK id generator; the high half of a trace id is a time, so not all is random."""

    def __init__(self, ids: IdSource) -> None:
        self.ids = ids

    def generate_span_id(self) -> int:
        """Return a new 64-bit span id."""
        return self.ids.span_id()

    def generate_trace_id(self) -> int:
        """Return a new 128-bit trace id."""
        return self.ids.trace_id()

    def is_trace_id_random(self) -> bool:
        """Return `False`: `traceparent` must not claim the W3C random flag (spec/propagation.md §14.2)."""
        return False


class _ForeignIds(IdSource):
    """Ids from a user's generator; 0 and surplus bits are replaced by ids of our own."""

    def __init__(self, generator: IdGenerator) -> None:
        super().__init__()
        self._generator = generator
        self.random_span_id = self.span_id  # type: ignore[assignment] # a method has the same call
        try:
            self.claims_random = bool(generator.is_trace_id_random())
        except Exception:
            _logger.exception("The id generator failed; its trace ids do not count as random.")

    def span_id(self) -> int:
        """Return the generator's next span id."""
        return self._checked(self._generator.generate_span_id, MASK_64) or super().span_id()

    def trace_id(self) -> int:
        """Return the generator's next trace id."""
        return self._checked(self._generator.generate_trace_id, _MASK_128) or super().trace_id()

    @staticmethod
    def _checked(generate: Callable[[], int], mask: int) -> int:
        try:
            return generate() & mask
        except Exception:
            _logger.exception("The id generator failed; a random id is used.")
            return 0


class TracerProvider(SDKTracerProvider):
    """An OpenTelemetry SDK provider whose spans reach the Datadog Agent.

    Extra span processors, limits, samplers and id generators work as with the SDK's own provider.
    Until `reconfigure` attaches a pipeline its spans go to the extra processors only.

    Limits that the environment gives and that are no numbers are warned about and replaced by the
    defaults, where the SDK refuses to start.

    Attributes:
        config: The effective configuration, or `None` for a provider made by hand.
        engine: What spans are made with; `None` while tracing is disabled or after `shutdown()`.
    """

    def __init__(  # noqa: PLR0913 - the SDK signature
        self,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        shutdown_on_exit: bool = True,  # the SDK signature
        active_span_processor: SynchronousMultiSpanProcessor | ConcurrentMultiSpanProcessor | None = None,
        id_generator: IdGenerator | None = None,
        span_limits: SpanLimits | None = None,
        *,
        hooks: EngineHooks | None = None,
        ids: IdSource | None = None,
        partial_flush_min_spans: int | None = 300,
        max_frames: int = 30,
        enabled: bool = True,
        **extra: Any,  # Any: keyword arguments that later versions of the SDK add
    ) -> None:
        ids = ids or IdSource()
        super().__init__(
            sampler or ALWAYS_ON,
            resource,
            shutdown_on_exit,
            active_span_processor,
            id_generator or EngineIdGenerator(ids),
            span_limits or limits_from_environment(),
            **extra,
        )
        self.config: Config | None = None
        self.engine: Engine | None = None
        self._segments = OpenSegments()
        self._hooks = hooks or EngineHooks()
        self._user_sampler = sampler
        self._max_frames = max_frames
        self._partial_flush_min_spans = partial_flush_min_spans
        self._ids = ids if id_generator is None else _ForeignIds(id_generator)
        self._flush: Callable[[float], bool] | None = None
        self._shutdown: Callable[[float], bool] | None = None
        self._on_fork: Callable[[], EngineHooks] | None = None
        self._on_engine: Callable[[Engine | None], None] | None = None
        self._configured_processors: tuple[SpanProcessor, ...] = ()
        if enabled and not self._disabled:
            self._make_engine()
        _register_fork(self)

    @property
    def is_running(self) -> bool:
        """Whether spans are recorded."""
        return self.engine is not None

    def reconfigure(  # noqa: PLR0913 - called in one place, by name
        self,
        *,
        hooks: EngineHooks,
        flush: Callable[[float], bool],
        shutdown: Callable[[float], bool],
        on_fork: Callable[[], EngineHooks],
        on_engine: Callable[[Engine | None], None],
        resource: Resource,
        ids: IdSource,
        enabled: bool,
        sampler: Sampler | None,
        id_generator: IdGenerator | None,
        span_limits: SpanLimits | None,
        span_processors: tuple[SpanProcessor, ...],
        partial_flush_min_spans: int | None,
        max_frames: int,
    ) -> None:
        """Attach a pipeline, or another one in place of it. Open spans end into the new one.

        Args:
            hooks: Where finished chunks go and who decides about sampling.
            flush: (timeout in seconds) → whether everything accepted so far arrived.
            shutdown: (timeout in seconds) → whether everything was sent before the end.
            on_fork: Called in a forked child; returns the hooks of the child's own pipeline.
            on_engine: Told when spans are made with another engine from now on, with another source or with none.
            resource: Replaces the provider's resource.
            ids: Source of ids, unless there is an `id_generator`.
            enabled: `False` stops recording.
            sampler: The user's sampler, or `None`.
            id_generator: The user's id generator, or `None`.
            span_limits: `None` for those of the environment.
            span_processors: Replace those of the former call; processors added by hand stay.
            partial_flush_min_spans: `None` switches partial flushing off.
            max_frames: Frames in a recorded traceback.
        """
        self._hooks, self._flush, self._shutdown = hooks, flush, shutdown
        self._on_fork, self._on_engine = on_fork, on_engine
        self._resource = resource
        self._user_sampler = sampler
        self.sampler = sampler or ALWAYS_ON
        self._ids = ids if id_generator is None else _ForeignIds(id_generator)
        self.id_generator = id_generator or EngineIdGenerator(ids)  # type: ignore[assignment] # too narrow in the SDK
        self._span_limits = span_limits or limits_from_environment()
        self._partial_flush_min_spans = partial_flush_min_spans
        self._max_frames = max_frames
        with self._tracers_lock:
            for tracer in self._tracers.values():
                tracer.resource, tracer.sampler, tracer.id_generator = resource, self.sampler, self.id_generator
        self._exchange_processors(span_processors)
        if not enabled or self._disabled:
            self._drop_engine()
        elif self.engine is None:
            self._make_engine()
        else:
            self._configure_engine(self.engine)

    def use_pipeline(self, *, flush: Callable[[float], bool], shutdown: Callable[[float], bool]) -> None:
        """Flush and shut down another pipeline from now on, as in a forked child."""
        self._flush, self._shutdown = flush, shutdown

    def count_spans(self) -> tuple[int, int]:
        """Return how many spans were started and not ended, and how many ended ones wait in their trace."""
        return self._segments.count()

    def hand_over_finished(self) -> None:
        """Give the exporter the finished spans of all open traces, without waiting for anything."""
        self._segments.hand_over()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,  # Any: OpenTelemetry attribute values
    ) -> OtelTracer:
        """Return the tracer of an instrumentation scope; equal scopes share one."""
        if self._disabled:
            return NoOpTracer()
        if not instrumenting_module_name:
            instrumenting_module_name = ""
            _logger.error("get_tracer called with missing module name.")
        version = instrumenting_library_version or ""
        scope = InstrumentationScope(instrumenting_module_name, version, schema_url, attributes)
        with self._tracers_lock:
            tracer = self._tracers.get(scope)
            if tracer is None:
                tracer = self._tracers[scope] = self._new_tracer(scope)
        return tracer

    def _new_tracer(self, scope: InstrumentationScope) -> Tracer:
        tracer = Tracer(
            self.sampler,
            self.resource,
            self._active_span_processor,
            self.id_generator,
            info_of(scope),
            self._span_limits,
            scope,
            meter_provider=self._meter_provider,
            _tracer_config=self._apply_tracer_configurator(scope),
        )
        tracer.provider = self
        return tracer

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor beside the export to the Agent; it sees every span, sampled or not."""
        super().add_span_processor(span_processor)
        if self.engine is not None:
            self._attach_processor(self.engine)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver everything finished so far, of open traces too; return whether that was done in time.

        Additional processors are flushed at the same time.
        """
        timeout_s = timeout_millis / 1000
        began_ns = SYSTEM_CLOCK.monotonic_ns()
        self.hand_over_finished()
        wait = flush_processors(self._active_span_processor, timeout_s)
        delivered = self._flush is None or self._flush(timeout_s)
        return wait(timeout_s - (SYSTEM_CLOCK.monotonic_ns() - began_ns) / 1e9) and delivered

    def shutdown(self) -> None:
        """Deliver what is finished, within 5 seconds, and stop. Spans started later are not recorded."""
        self.stop(_SHUTDOWN_TIMEOUT_S)

    def stop(self, timeout_s: float) -> bool:
        """As `shutdown`, within so many seconds; return whether everything arrived.

        One warning says how many spans were never ended.
        Additional processors are shut down at the same time.
        """
        self._drop_engine()
        began_ns = SYSTEM_CLOCK.monotonic_ns()
        self.hand_over_finished()
        self._segments.report_open()
        wait = shut_down_processors(members(self._active_span_processor))
        delivered = self._shutdown is None or self._shutdown(timeout_s)
        wait(timeout_s - (SYSTEM_CLOCK.monotonic_ns() - began_ns) / 1e9)
        if self._atexit_handler is not None:
            atexit.unregister(self._atexit_handler)
            self._atexit_handler = None
        return delivered

    def stop_recording(self) -> None:
        """Make spans without effect from now on; those that are open finish and are exported."""
        self._drop_engine()

    def _make_engine(self) -> None:
        engine = Engine(resource=self._resource, ids=self._ids, segments=self._segments)
        self._configure_engine(engine)
        self.engine = engine
        engine.on_new_sources = self._announce_engine
        self._announce_engine()

    def _drop_engine(self) -> None:
        if self.engine is not None:
            self.engine.on_new_sources = None
        self.engine = None
        self._announce_engine()

    def _announce_engine(self) -> None:
        """Tell the facade what spans are made with from now on. Takes no lock: a signal handler may shut down."""
        on_engine = self._on_engine
        if on_engine is None:
            return
        while True:
            engine = self.engine
            on_engine(engine)
            if self.engine is engine:  # else another thread, or an interrupting shutdown, was quicker
                return

    def _configure_engine(self, engine: Engine) -> None:
        engine.resource = self._resource
        engine.reconfigure(
            hooks=self._hooks,
            limits=limits_of(self._span_limits, self._max_frames),
            partial_flush_min_spans=self._partial_flush_min_spans,
            sampler=self._user_sampler,
            ids=self._ids,
        )
        self._attach_processor(engine)

    def _attach_processor(self, engine: Engine) -> None:
        """Let the engine call the extra processors only when there are some."""
        active = self._active_span_processor
        engine.use_processor(active if getattr(active, "_span_processors", None) != () else None)

    def _exchange_processors(self, processors: tuple[SpanProcessor, ...]) -> None:
        """Put configured processors in place of those configured before."""
        active = self._active_span_processor
        gone = [each for each in self._configured_processors if each not in processors]
        with active._lock if hasattr(active, "_lock") else nullcontext():
            kept = tuple(each for each in active._span_processors if each not in self._configured_processors)
            active._span_processors = kept
        for processor in processors:
            active.add_span_processor(processor)
        self._configured_processors = processors
        shut_down_processors(gone)(_SHUTDOWN_TIMEOUT_S)

    def _update_resource(self, resource: Resource) -> None:
        super()._update_resource(resource)
        if self.engine is not None:
            self.engine.resource = self._resource

    def _decide_before_fork(self) -> None:
        """Make the decision of the trace that is current, so that both processes agree."""
        from ddtrace_manual._base.context import SPAN_KEY, get_current  # only when forking

        from .span import Span

        span = get_current().get(SPAN_KEY)
        if isinstance(span, Span):
            span.segment.decide()

    def _renew_after_fork(self) -> None:
        """Replace the engine in a forked child; spans of the parent process become remote-like parents."""
        # A thread of the parent process may have held it; only later versions of the SDK see to that.
        self._tracers_lock = threading.Lock()
        self._segments = OpenSegments()  # the parent process sends what it has
        old = self.engine
        if old is None:
            return
        old.disable_after_fork()
        self._ids.reseed()
        if self._on_fork is not None:
            self._hooks = self._on_fork()
        self._make_engine()


def limits_from_environment() -> SpanLimits:
    """Return the limits of the `OTEL_*` variables; one that is no number is named in a warning and ignored."""
    try:
        return SpanLimits()
    except ValueError:
        usable: dict[str, int] = {}
        for name, default in _LIMIT_DEFAULTS.items():
            try:  # the SDK reads the variable of a limit that is not given: of this one alone
                SpanLimits(**{other: 0 for other in _LIMIT_DEFAULTS if other != name})
            except ValueError as exc:  # noqa: PERF203 - eight names, when something is wrong
                _logger.warning("%s; the default is used.", exc)
                usable[name] = default
        return SpanLimits(**usable)


def limits_of(limits: SpanLimits, max_frames: int = 30) -> SpanLimitValues:
    """Return the SDK's limits as plain values."""
    return SpanLimitValues(
        max_values=limits.max_span_attributes,
        max_value_length=limits.max_span_attribute_length,
        max_events=limits.max_events,
        max_links=limits.max_links,
        max_event_attributes=limits.max_event_attributes,
        max_link_attributes=limits.max_link_attributes,
        max_attribute_length=limits.max_attribute_length,
        max_frames=max_frames,
    )


def _register_fork(provider: TracerProvider) -> None:
    """Have a provider told about forks for as long as it lives."""
    reference = weakref.ref(provider)

    def before() -> None:
        if (alive := reference()) is not None:
            alive._decide_before_fork()

    def after_in_child() -> None:
        if (alive := reference()) is not None:
            alive._renew_after_fork()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_child=after_in_child)
