"""`configure`, `flush`, `shutdown` and `counters`: the only wiring, and the only global state.

The state is one `_Setup`, guarded by its lock, and the slot `_runtime.RUNTIME` that the facade reads.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace
from typing_extensions import Unpack

from ddtrace_manual._api import collection as _collection
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.errors import IgnoredExceptions
from ddtrace_manual._base.log import get_logger
from ddtrace_manual.exceptions import ConfigurationError

from .counter_snapshot import CounterSnapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtrace_manual._export import ChunkQueue, Counters
    from ddtrace_manual._model import SegmentRecord
    from ddtrace_manual._tracing import Engine, EngineHooks, TracerProvider
    from ddtrace_manual.config import Config
    from ddtrace_manual.config._settings_type import Settings

    from .pipeline import PipelineComponents
    from .process_discovery import PublishedProcess
    from .remote import RemoteControl
    from .startup import StartupCheck

__all__ = ["CounterSnapshot", "configure", "counters", "flush", "shutdown"]

_log = get_logger("setup")


class Recording(Protocol):
    """A test that records spans (`testing`): while there is one, nothing is started and nothing is sent."""

    def adjust(self, config: Config) -> Config:
        """Return the configuration to use instead of the one that was asked for."""
        ...

    def take_over(self, provider: TracerProvider, parts: PipelineComponents) -> None:
        """Detach a provider that was just configured from its pipeline."""
        ...


class _Setup:
    """What `configure()` has made in this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.provider: TracerProvider | None = None
        self.parts: PipelineComponents | None = None
        self.counters: Counters | None = None
        self.recording: Recording | None = None
        self.startup_shown: Mapping[str, object] | None = None
        self.startup_check: StartupCheck | None = None
        self.remote: RemoteControl | None = None
        self.published: PublishedProcess | None = None
        self.is_exit_hooked = False
        self.has_told_about_foreign = False


_setup = _Setup()


def configure(config: Config | None = None, **settings: Unpack[Settings]) -> TracerProvider:
    """Set up tracing, and install the provider and propagator for OpenTelemetry.

    Called again it replaces the pipeline behind the same provider; what is queued is handed over, and
    settings of the first call do not linger. An OpenTelemetry provider that the application installed
    before stays in charge, and the facade works over it.

    Args:
        config: A configuration; settings given besides override it.
        **settings: See `docs/reference/configuration.md`; whatever is not given comes from `DD_*` and `OTEL_*`
            variables, configuration files and defaults.

    Returns:
        The provider; its `config` is the effective configuration.

    Raises:
        ConfigurationError: A setting is unknown, of the wrong type or out of range; the message names it.
    """
    from ddtrace_manual._export import handle_sigterm, restore_sigterm, run_at_exit  # importing the package stays light
    from ddtrace_manual.config import Config

    from .log_handlers import apply_log_settings

    if config is not None and not isinstance(config, Config):
        raise ConfigurationError(f"config must be a Config, not {type(config).__name__}; settings are given by name")
    effective = Config(**settings) if config is None else config.evolve(**settings) if settings else config
    effective = effective.with_remote({})  # what Datadog says is put over it again
    with _setup.lock:
        if _setup.recording is not None:
            effective = _setup.recording.adjust(effective)
        apply_log_settings(effective)
        effective.log_warnings()
        provider = _build(effective)
        _install(provider, effective)
        _publish_process(effective)
        _start_remote(effective)
        _log_startup(effective)
        if not _setup.is_exit_hooked:
            _setup.is_exit_hooked = True
            run_at_exit(shutdown)
        if not effective.handle_sigterm:
            restore_sigterm()
        elif _setup.recording is None:
            handle_sigterm(send_without_delay, shut_down_before_death)
    return provider


class _NoTracerProvider(trace.NoOpTracerProvider):
    """What OpenTelemetry gets when it asks for our provider and `DD_TRACE_OTEL_ENABLED` is false."""


def provider_for_opentelemetry() -> trace.TracerProvider:
    """Return the provider for `OTEL_PYTHON_TRACER_PROVIDER=ddtrace_manual`; called by OpenTelemetry.

    Sets up tracing from the environment if `configure()` was not called. Never raises.
    """
    provider = _setup.provider
    if provider is None or provider.config is None:
        provider = configure()
    if provider.config is not None and not provider.config.trace_otel_enabled:
        return _NoTracerProvider()
    return provider


def flush(timeout_s: float = 5.0) -> bool:
    """Deliver everything finished so far, statistics included.

    Args:
        timeout_s: Longest time to wait, in seconds.

    Returns:
        Whether all of it arrived in time; `True` before `configure()`.
    """
    provider = _setup.provider
    return True if provider is None else provider.force_flush(round(timeout_s * 1000))


def shutdown(timeout_s: float = 5.0) -> bool:
    """Deliver what is finished and stop tracing; called at the exit of the process.

    Spans started afterwards are no-ops; spans that end afterwards are counted as dropped. A second
    call returns at once. `configure()` starts anew.

    Args:
        timeout_s: Longest time to take, in seconds.

    Returns:
        Whether everything arrived in time.
    """
    from ddtrace_manual._export import restore_sigterm  # importing the package stays light

    check, _setup.startup_check = _setup.startup_check, None
    if check is not None:
        check.cancel()
    remote, _setup.remote = _setup.remote, None
    if remote is not None:
        remote.stop()
    provider, parts = _setup.provider, _setup.parts
    if provider is None or not (provider.is_running or (remote is not None and remote.has_disabled_tracing)):
        return True
    delivered = provider.stop(timeout_s)
    if parts is not None:
        parts.close()
    restore_sigterm()
    return delivered


def send_without_delay() -> None:
    """Send what is finished now, and each trace as soon as it finishes from now on. Does not wait."""
    provider, parts = _setup.provider, _setup.parts
    if provider is not None and parts is not None:
        provider.hand_over_finished()
        parts.worker.send_without_delay()


def shut_down_before_death(timeout_s: float = 5.0) -> None:
    """As `shutdown`, in the handler of a signal; also wait for a `shutdown` that the signal has interrupted."""
    shutdown(timeout_s)
    if (parts := _setup.parts) is not None:
        parts.worker.join(timeout_s)


def counters() -> CounterSnapshot:
    """Return what was created, finished, queued, sent and dropped in this process so far."""
    parts, provider, totals = _setup.parts, _setup.provider, _setup.counters
    if parts is None or provider is None or totals is None:
        return CounterSnapshot()
    open_spans, waiting_spans = provider.count_spans()
    finished_spans = totals.finished_spans + waiting_spans
    return CounterSnapshot(
        created_spans=finished_spans + open_spans,
        open_spans=open_spans,
        finished_spans=finished_spans,
        queued_spans=totals.queued_spans + waiting_spans,
        queued_bytes=parts.queue.used_bytes,
        sent_spans=totals.sent_spans,
        sent_traces=totals.sent_chunks,
        sent_bytes=totals.sent_bytes,
        sent_payloads=totals.sent_payloads,
        filtered_spans=totals.filtered_spans,
        dropped_spans={str(reason): count for reason, count in totals.dropped_spans.copy().items()},
        dropped_traces={str(reason): count for reason, count in totals.dropped_chunks.copy().items()},
        requests=totals.requests,
        failed_requests=totals.errors,
        stats_payloads=totals.stats_payloads,
        lost_stats_payloads=totals.lost_stats_payloads,
        collapsed_spans=dict(totals.collapsed_spans),
        events=dict(totals.events),
        last_error=totals.last_error,
    )


def _build(config: Config) -> TracerProvider:
    """Make provider and parts, or exchange the parts behind the provider there is."""
    from ddtrace_manual._export import Counters  # importing the package stays light
    from ddtrace_manual.config._sdk import import_sdk

    import_sdk()  # before whatever imports the SDK by itself
    from ddtrace_manual._base.ids import IdSource
    from ddtrace_manual._tracing import TracerProvider

    from .pipeline import PipelineComponents, make_resource

    resource, service = make_resource(config)
    if _setup.counters is None:
        _setup.counters = Counters()
    former = _setup.parts
    parts = PipelineComponents(
        config,
        resource=resource,
        service=service,
        counters=_setup.counters,
        decide=_decide,
        renew=_renew_unannounced,
    )
    if former is not None and former.config.trace_agent_url == config.trace_agent_url:
        parts.rates.table = former.rates.table  # the same Agent: its next answer replaces them
    ids = IdSource(trace_id_128_bit=config.trace_128_bit_traceid_generation_enabled)
    if _setup.provider is None:
        _setup.provider = TracerProvider(shutdown_on_exit=False, resource=resource, enabled=False)
    provider = _setup.provider
    provider.config = config
    provider.reconfigure(
        hooks=parts.hooks,
        flush=parts.worker.flush,
        shutdown=parts.worker.shutdown,
        on_fork=_renew_after_fork,
        on_engine=_use_engine,
        resource=resource,
        ids=ids,
        enabled=config.trace_enabled,
        sampler=config.sampler,
        id_generator=config.id_generator,
        span_limits=config.span_limits,
        span_processors=tuple(config.span_processors or ()),
        partial_flush_min_spans=config.trace_partial_flush_min_spans if config.trace_partial_flush_enabled else None,
        max_frames=config.trace_span_traceback_max_size,
    )
    _setup.parts = parts
    if _setup.recording is not None:
        _setup.recording.take_over(provider, parts)
    elif former is not None:
        _hand_over(former, parts)
    return provider


def _decide(segment: SegmentRecord) -> None:
    """Make a decision final, for the pipeline; the segment knows the engine that holds the lock."""
    segment.engine.decide(segment)  # type: ignore[attr-defined] # segments of the pipeline are the engine's


def _hand_over(former: PipelineComponents, parts: PipelineComponents) -> None:
    """Let the new pipeline take over what the former one holds, once that has finished its current request."""
    former.queue.forward_to(parts.queue)
    former.worker.replace_with(parts.worker)
    former.close()


def _install(provider: TracerProvider, config: Config) -> None:
    """Make the facade and OpenTelemetry use the provider."""
    from ddtrace_manual.config import process_environ  # importing the package stays light

    parts = _setup.parts
    if parts is None:
        return
    RUNTIME.redact = config.redact
    RUNTIME.ignored = IgnoredExceptions(config.ignore_exceptions)
    RUNTIME.count = _setup.counters.count if _setup.counters is not None else None
    RUNTIME.environ = process_environ
    RUNTIME.log_identity = (parts.service, config.env or "", config.version or "")
    RUNTIME.logs_injection = config.logs_injection
    RUNTIME.config = config
    _use_propagator(parts)
    foreign = _foreign_provider(provider)
    RUNTIME.use_otel = foreign is not None
    _use_engine(provider.engine)
    if foreign is not None:
        if not _setup.has_told_about_foreign:
            _setup.has_told_about_foreign = True
            _log.warning(
                "An OpenTelemetry provider is installed already (%s.%s); it stays in charge, and spans go to it.",
                type(foreign).__module__,
                type(foreign).__qualname__,
            )
        return
    if config.trace_otel_enabled:
        if trace._TRACER_PROVIDER is None:
            trace.set_tracer_provider(provider)
        _install_propagator(parts)


def _use_propagator(parts: PipelineComponents) -> None:
    """Let the facade read and write headers and environments with the propagator of these parts."""
    from ddtrace_manual.propagation import extract_environ, inject_environ  # importing the package stays light

    propagator = parts.otel_propagator
    RUNTIME.inject = propagator.inject
    RUNTIME.extract = propagator.extract
    RUNTIME.inject_environ = lambda env, context: inject_environ(env, propagator, context)
    RUNTIME.extract_environ = lambda env, base: extract_environ(env, propagator, base)


def _use_engine(engine: Engine | None) -> None:
    """Let the facade make its spans with `engine`, unless another provider is in charge."""
    _collection.install()
    RUNTIME.use_engine(None if RUNTIME.use_otel else engine)


def _foreign_provider(own: TracerProvider) -> Any:  # Any: whatever provider the application installed
    """Return the global provider if this library did not make it."""
    installed = trace._TRACER_PROVIDER
    return None if installed is None or installed is own or isinstance(installed, _NoTracerProvider) else installed


def _install_propagator(parts: PipelineComponents) -> None:
    """Install the global propagator. `opentelemetry.propagate` raises on import for unknown `OTEL_PROPAGATORS`.

    Source: spec/configuration.md §5.1.
    """
    from ddtrace_manual.propagation import install_propagator  # importing the package stays light

    install_propagator(parts.propagator)
    try:
        from opentelemetry import propagate  # see the docstring

        propagate.set_global_textmap(parts.otel_propagator)
    except Exception:  # entry points of other packages may raise anything
        _log.warning("The OpenTelemetry propagator could not be installed", exc_info=True)


def _publish_process(config: Config) -> None:
    """Let other processes of the machine find this one, if it is traced; a test that records does not."""
    if _setup.recording is not None or _setup.parts is None or not config.trace_enabled:
        return
    from .process_discovery import ProcessFacts, PublishedProcess

    if _setup.published is None:
        _setup.published = PublishedProcess()
    _setup.published.publish(ProcessFacts.of(_setup.parts))


def _start_remote(config: Config) -> None:
    """Poll for remote configuration, if it is on and there is an Agent to poll; a test that records does not."""
    former, _setup.remote = _setup.remote, None
    if former is not None:
        former.stop()
    parts = _setup.parts
    if not config.remote_configuration_enabled or _setup.recording is not None or parts is None or not parts.has_agent:
        return
    _make_remote(parts, former).start()


def _make_remote(parts: PipelineComponents, former: RemoteControl | None) -> RemoteControl:
    """Make what polls for these parts; what the former one had put into effect stays."""
    from .remote import RemoteControl
    from .startup import startup_fields  # not loaded when it is off

    _setup.remote = remote = RemoteControl(
        parts,
        is_current=lambda control: control is _setup.remote and parts is _setup.parts,
        lock=lambda: _setup.lock,
        renew_lock=_renew_lock,
        stop_recording=_stop_recording,
        publish=_publish_config,
        startup_fields=lambda: startup_fields(parts.config, parts),
        counters=lambda: asdict(counters()),
        former=former,
    )
    remote.apply_inherited()
    return remote


def _publish_config(config: Config) -> None:
    """Show a configuration that has come into effect while running."""
    if _setup.provider is not None:
        _setup.provider.config = config


def _renew_lock() -> None:
    _setup.lock = threading.RLock()


def _stop_recording(parts: PipelineComponents) -> None:
    """Make no more spans and headers; traces in progress finish and are sent."""
    if _setup.provider is not None:
        _setup.provider.stop_recording()
    parts.stop_propagating()
    _use_propagator(parts)
    if not RUNTIME.use_otel and parts.config.trace_otel_enabled:
        _install_propagator(parts)


def _log_startup(config: Config) -> None:
    """Write the start-up line and have the Agent checked, unless all is as it was shown before.

    A test that records does neither; disabled tracing needs no Agent.
    """
    from .startup import StartupCheck, log_startup, log_unused  # importing the package stays light

    log_unused(config)
    parts = _setup.parts
    if parts is None or _setup.recording is not None or not config.trace_startup_logs:
        return
    shown = log_startup(config, parts, unless=_setup.startup_shown)
    if shown == _setup.startup_shown:
        return
    _setup.startup_shown = shown
    former, _setup.startup_check = _setup.startup_check, None
    if former is not None:
        former.cancel()
    if config.trace_enabled:
        _setup.startup_check = StartupCheck(parts)


def _renew_after_fork() -> EngineHooks:
    """Build the pipeline of a forked child. The parent sends what it had queued."""
    from ddtrace_manual._export import Counters  # imported before the fork

    from .log_handlers import renew_log_file
    from .pipeline import PipelineComponents

    _renew_lock()
    _setup.startup_check = None
    former, provider = _setup.parts, _setup.provider
    if former is None or provider is None:  # pragma: no cover - hooks exist only with both
        raise RuntimeError("no pipeline to renew")
    renew_log_file(former.config)
    _setup.counters = Counters()
    parts = PipelineComponents(
        former.config,
        resource=provider.resource,
        service=former.service,
        counters=_setup.counters,
        decide=_decide,
        rules=former.rules,
        renew=_renew_unannounced,
    )
    parts.inherit(former)
    _setup.parts = parts
    provider.use_pipeline(flush=parts.worker.flush, shutdown=parts.worker.shutdown)
    RUNTIME.count = _setup.counters.count
    _use_propagator(parts)
    if _setup.published is not None:
        _setup.published.forget_after_fork()
        _publish_process(former.config)
    if (remote := _setup.remote) is not None:
        remote.succeed_after_fork()
        _make_remote(parts, remote).start()
    return parts.hooks


def _renew_unannounced() -> ChunkQueue:
    """Build the pipeline of a process that was forked without Python's hooks, as uWSGI does; return its queue."""
    provider, parts = _setup.provider, _setup.parts
    if provider is None or parts is None:  # pragma: no cover - queues exist only with both
        raise RuntimeError("no pipeline to renew")
    provider._renew_after_fork()
    return (_setup.parts or parts).queue
