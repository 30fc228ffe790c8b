"""Creates and connects the components of one configuration.

    Config → transport → client → delivery ← pipeline ← queue ← engine's hooks
           → mapper, sampler, statistics, propagator

Nothing is started here: the worker's thread starts with the first finished chunk.
"""

from __future__ import annotations

import codecs
import os
import platform
import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from ddtrace_manual._agent import (
    AgentClient,
    AgentInfo,
    DogStatsdClient,
    Features,
    RequestsTransport,
    SendResult,
    choose_features,
    common_headers,
    find_entity,
    report_send,
)
from ddtrace_manual._base import tags as _tags
from ddtrace_manual._base.clock import SYSTEM_CLOCK
from ddtrace_manual._base.lazy import load
from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._encoding import PayloadHeader, V1Encoder, new_packer
from ddtrace_manual._export import (
    AgentWatch,
    Backoff,
    ChunkPacker,
    ChunkQueue,
    ChunkSteps,
    Counters,
    Delivery,
    ExportWorker,
    LogTransport,
    Pipeline,
    run_between_forks,
    wants_log_transport,
)
from ddtrace_manual._mapping import Mapper, MappingSettings
from ddtrace_manual._tracing import EngineHooks, Span
from ddtrace_manual._version import __version__
from ddtrace_manual.config import process_environ, without_user_info
from ddtrace_manual.exceptions import ConfigurationError
from ddtrace_manual.propagation import (
    DatadogPropagator,
    PropagationSettings,
    Propagator,
    baggage_tags,
    display_trace_state,
    remote_from_span_context,
)
from ddtrace_manual.sampling import (
    RateLimiter,
    ServiceRates,
    SpanSampler,
    TraceSampler,
    parse_sampling_rules,
    parse_span_sampling_rules,
)

from .statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ddtrace_manual._agent import Entity, Transport
    from ddtrace_manual._model import SegmentRecord
    from ddtrace_manual.config import Config
    from ddtrace_manual.sampling import SamplingRule, SpanSamplingRule

__all__ = ["ParsedRules", "PipelineComponents", "agent_headers", "make_resource"]

_log = get_logger("setup")

_EARLY_FLUSH_BYTES = 2_500_000
"""By the estimate of the queue, which is about 1.5 MB on the wire (spec/trace-export.md §2)."""
_DEFAULT_AGENT_URL = "http://localhost:8126"
_SDK_MADE = frozenset({"service.instance.id"})
"""Resource attributes the SDK invents; they say nothing a span must repeat."""


def make_resource(config: Config) -> tuple[Resource, str]:
    """Return the provider's OpenTelemetry resource and the service it names.

    A service name given in code or environment replaces that of a resource given in code; otherwise a
    real name in the resource is kept, and becomes the configured service.

    Source: spec/span-mapping.md §4.1, spec/configuration.md §9.3.
    """
    given: Resource | None = config.resource
    resource = _detect_resource(config.resource_attributes)
    if given is not None:
        resource = resource.merge(given)
    named = str(resource.attributes.get(_tags.SERVICE_NAME) or "")
    is_default = not named or named == "unknown_service" or named.startswith("unknown_service:")
    service = config.service if config.service_is_user_provided or is_default else named
    resolved: dict[str, str] = {_tags.SERVICE_NAME: service}
    if config.env and not resource.attributes.get("deployment.environment.name"):
        resolved["deployment.environment.name"] = config.env
    if config.version:
        resolved[_tags.SERVICE_VERSION] = config.version
    return resource.merge(Resource(resolved)), service


def _detect_resource(attributes: Mapping[str, str]) -> Resource:
    """Return the SDK's resource with these attributes."""
    try:
        return Resource.create(dict(attributes))
    except Exception:  # the SDK asks its detectors on threads, and none can be started here
        return OTELResourceDetector().detect().merge(Resource(dict(attributes)))


@dataclass(frozen=True, slots=True)
class ParsedRules:
    """The sampling rules of a configuration."""

    trace: tuple[SamplingRule, ...] = ()
    span: tuple[SpanSamplingRule, ...] = ()

    @classmethod
    def of(cls, config: Config) -> ParsedRules:
        """Read the rules; what the environment has wrong is skipped and logged, naming variable and position.

        Raises:
            ConfigurationError: A rule given in code is wrong; the message names argument and position.
        """
        trace_in_code = config.origin("trace_sampling_rules") == "code"
        span_in_code = config.origin("span_sampling_rules") == "code"
        return cls(
            parse_sampling_rules(
                config.trace_sampling_rules,
                strict=trace_in_code,
                source="sampling_rules" if trace_in_code else "DD_TRACE_SAMPLING_RULES",
            ),
            parse_span_sampling_rules(
                config.span_sampling_rules,
                strict=span_in_code,
                source="span_sampling_rules" if span_in_code else "DD_SPAN_SAMPLING_RULES",
            ),
        )


class PipelineComponents:
    """Everything behind one configuration in one process.

    Args:
        config: The effective configuration.
        resource: The provider's resource.
        service: The service it names.
        counters: Running totals; kept when the configuration changes.
        decide: Makes the sampling decision of a segment final: the engine's, which holds the lock.
        transport: Carries requests to the Agent; `None` makes the real one.
        rules: The sampling rules of `config` if they were read before; `None` reads them.
        renew: Makes the pipeline of a process that was forked without Python's hooks, and returns its queue.

    Raises:
        ConfigurationError: A sampling rule given in code is wrong.
    """

    def __init__(
        self,
        config: Config,
        *,
        resource: Resource,
        service: str,
        counters: Counters,
        decide: Callable[[SegmentRecord], None],
        transport: Transport | None = None,
        rules: ParsedRules | None = None,
        renew: Callable[[], ChunkQueue] | None = None,
    ) -> None:
        self._renew = renew
        self.rules = rules if rules is not None else ParsedRules.of(config)
        self.config = config
        self.service = service
        self.counters = counters
        self.runtime_id = str(uuid.uuid4())
        self.org_marker: str | None = None
        self.mapper = Mapper(self._mapping_settings(resource), pack=new_packer())
        self._mapping_changes: dict[str, Any] = {}  # Any: values of MappingSettings
        self.rates = ServiceRates()
        self.sampler = self._make_sampler()
        self.span_sampler = SpanSampler(self.rules.span)
        self.propagator = Propagator(propagation_settings(config), local_marker=lambda: self.org_marker)
        self.otel_propagator = DatadogPropagator(self.propagator)
        self.entity = find_entity()
        self.health = _make_health(config)
        transport = transport or _make_transport(config)
        # Lambda freezes the process between two events: what is not in the log by then may never be.
        self._is_synchronous = config.trace_writer_synchronous_write or isinstance(transport, LogTransport)
        self._has_real_transport = isinstance(transport, RequestsTransport)
        self._wire_export(decide, transport)
        self.hooks = EngineHooks(
            export=self._accept_synchronously if self._is_synchronous else self.queue.put,
            decide=self.sampler.decide,
            decide_manual=self.sampler.decide_manual,
            display_trace_state=display_trace_state,
            remote_of=remote_from_span_context,
            read_headers=self.otel_propagator.extract,
            takes_compact=not config.trace_filters,
            note_places=config.trace_debug,
            baggage_tags=partial(baggage_tags, keys) if (keys := config.trace_baggage_tag_keys) else None,
        )

    # -- building ----------------------------------------------------------------------------------

    def _mapping_settings(self, resource: Resource) -> MappingSettings:
        config = self.config
        configured = {_tags.SERVICE_VERSION} if config.version else set()
        attributes = {
            key: value for key, value in resource.attributes.items() if key not in _SDK_MADE and key not in configured
        }
        return MappingSettings(
            service=self.service,
            service_is_user_provided=config.service_is_user_provided,
            env=config.env or "",
            version=config.version or "",
            tags=config.tags,
            resource_attributes=attributes,
            tracer_version=__version__,
            runtime_id=self.runtime_id,
            process_id=os.getpid(),
            hostname=config.hostname or "",
            git_repository_url=config.git_repository_url or "",
            git_commit_sha=config.git_commit_sha or "",
            main_package=config.main_package or "",
            process_tags=config.process_tags,
            service_mapping=config.service_mapping,
            resource_from_span_name=config.resource_from_span_name,
            peer_service_defaults=config.trace_peer_service_defaults_enabled,
            peer_service_mapping=config.trace_peer_service_mapping,
            otel_semantics=config.trace_otel_semantics_enabled,
            apm_tracing_enabled=config.apm_tracing_enabled,
        )

    def _make_sampler(self) -> TraceSampler:
        config = self.config
        return TraceSampler(
            span_view=self.mapper,
            rules=self.rules.trace,
            sample_rate=config.trace_sample_rate,
            limiter=RateLimiter(config.trace_rate_limit),
            rate_limit_is_explicit=config.rate_limit_is_explicit,
            service_rates=self.rates,
            env=config.env or "",
            apm_tracing_enabled=config.apm_tracing_enabled,
        )

    def _wire_export(self, decide: Callable[[SegmentRecord], None], transport: Transport) -> None:
        config = self.config
        self.agent_log = RateLimitedLogger(get_logger("agent"))
        client = AgentClient(
            transport,
            headers=agent_headers(config, self.entity),
            timeout_s=config.trace_agent_timeout_seconds,
            wait=lambda delay_s: self.worker.wait_to_retry(delay_s),  # noqa: PLW0108 - the worker is made later
            log=self.agent_log,
            log_payloads=config.trace_writer_log_error_payloads,
            setting=config.agent_url_setting,
        )
        self.client = client
        self.queue = ChunkQueue(
            max_bytes=config.trace_writer_buffer_size_bytes,
            wake_bytes=min(_EARLY_FLUSH_BYTES, config.trace_writer_buffer_size_bytes // 2),
            wake=lambda early: self.worker.wake(early),  # noqa: PLW0108 - likewise
            counters=self.counters,
            renew=self._renew,
        )
        self.agent = AgentWatch(client, clock=SYSTEM_CLOCK, choose=self._choose_features, on_info=self._on_info)
        self.backoff = Backoff(timeout_s=config.trace_agent_timeout_seconds, clock=SYSTEM_CLOCK)
        self.steps = ChunkSteps(
            decide=decide,
            map_chunk=self.mapper.map_chunk,
            map_directly=self.mapper.map_directly,
            map_for_stats=self.mapper.map_for_stats,
            apply_chunk_tags=self.mapper.apply_chunk_tags,
            sample_spans=self.span_sampler.sample if self.rules.span else None,
            trace_filters=config.trace_filters,
            span_type=Span,
        )
        self.pipeline = Pipeline(self.steps, self.counters)
        self.delivery = Delivery(
            client,
            backoff=self.backoff,
            packer=ChunkPacker(release=self.queue.release, counters=self.counters),
            release=self.queue.release,
            counters=self.counters,
            max_payload_bytes=config.trace_writer_max_payload_size_bytes,
            headers=self._payload_headers,
            on_rates=self.rates.update,
            on_state=self.agent.saw_state,
            on_unsupported=self.agent.expire,
            on_sent=self._on_sent,
        )
        self.statistics = Statistics(
            config,
            service=self.service,
            runtime_id=self.runtime_id,
            counters=self.counters,
            client=client,
            agent=self.agent,
            wait=lambda delay_s: self.worker.pause(delay_s),  # noqa: PLW0108 - the worker is made later
            health=self.health,
            agent_log=self.agent_log,
        )
        self.worker = ExportWorker(
            queue=self.queue,
            pipeline=self.pipeline,
            delivery=self.delivery,
            agent=self.agent,
            client=client,
            backoff=self.backoff,
            apply_features=self._apply_features,
            stats=self.statistics.exporter,
            stats_go_elsewhere=self.statistics.is_otlp,
            counters=self.counters,
            interval_s=config.trace_writer_interval_seconds,
            clock=SYSTEM_CLOCK,
            prepare=self.prepare_thread,
            agent_log=self.agent_log,
        )

    @property
    def agent_address(self) -> str:
        """Where requests to the Agent go, without credentials."""
        return str(getattr(self.client.transport, "address", without_user_info(self.config.trace_agent_url)))

    @property
    def has_agent(self) -> bool:
        """Whether there is an Agent to talk to, and not only a log."""
        return not isinstance(self.client.transport, LogTransport)

    # -- changes at run time -------------------------------------------------------------------------

    def change_mapping(self, **changes: Any) -> None:  # Any: values of MappingSettings
        """Map spans with other settings from now on, and show them to sampling rules so.

        Args:
            **changes: Fields of `MappingSettings`, for example `tags` from remote configuration.
        """
        self._mapping_changes |= changes
        self.mapper = mapper = Mapper(replace(self.mapper.settings, **changes), pack=new_packer())
        self.sampler.span_view = mapper
        self.steps.map_chunk, self.steps.apply_chunk_tags = mapper.map_chunk, mapper.apply_chunk_tags
        self.steps.map_directly, self.steps.map_for_stats = mapper.map_directly, mapper.map_for_stats

    def stop_propagating(self) -> None:
        """Read and write no headers any more, as when tracing is switched off."""
        settings = replace(self.propagator.settings, enabled=False)
        self.propagator = Propagator(settings, local_marker=lambda: self.org_marker)
        self.otel_propagator = DatadogPropagator(self.propagator)

    def inherit(self, parent: PipelineComponents) -> None:
        """Take over, in a forked child, what the parent process had learned."""
        parent.sampler.reset_after_fork()  # it still decides traces that were open at the fork
        self.rates.table = parent.rates.table
        self.org_marker = parent.org_marker
        self.sampler.take_over(parent.sampler)
        if parent._mapping_changes:
            self.change_mapping(**parent._mapping_changes)

    def close(self) -> None:
        """Close the socket of health metrics; a late metric opens it again."""
        if self.health is not None:
            self.health.close()

    # -- at run time, on the worker thread -----------------------------------------------------------

    def _choose_features(self, info: AgentInfo | None) -> Features:
        config = self.config
        return choose_features(
            info,
            trace_version=config.trace_api_version,
            native_events=config.trace_native_span_events,
            stats_enabled=config.trace_stats_computation_enabled and config.apm_tracing_enabled,
            ignore_agent_version=config.trace_stats_computation_ignore_agent_version,
        )

    def _on_info(self, info: AgentInfo) -> None:
        self.org_marker = info.org_prop_marker or None

    def _apply_features(self) -> None:
        features = self.agent.features
        self.delivery.use_format(
            features.trace_version,
            native_events=features.native_events,
            v1_encoder=self._make_v1_encoder,
        )
        self.pipeline.takes_bytes = features.trace_version == "v0.4"
        self.statistics.apply_features(self.pipeline)

    def _make_v1_encoder(self) -> V1Encoder:
        config = self.config
        return V1Encoder(
            PayloadHeader(
                container_id=self.entity.container_id,
                language_version=platform.python_version(),
                tracer_version=__version__,
                runtime_id=self.runtime_id,
                env=config.env or "",
                hostname=config.hostname or "",
                app_version=config.version or "",
            ),
        )

    def _payload_headers(self, counted: bool) -> dict[str, str]:  # a callback
        return self.statistics.payload_headers(self.pipeline, counted=counted)

    def _on_sent(self, result: SendResult, size_bytes: int, chunks: int, counted: bool) -> None:
        """Report dropped traces once, with the payload that was delivered; report health."""
        if result.delivered and counted:
            self.pipeline.dropped_p0_traces = self.pipeline.dropped_p0_spans = 0
        if self.health is not None:
            report_send(self.health, result, chunks=chunks, payload_bytes=size_bytes)

    def prepare_thread(self) -> None:
        """Import what only requests need; for the threads that make them."""
        if self._has_real_transport:
            run_between_forks(_import_http)

    def _accept_synchronously(self, segment: Any, spans: Any, *, partial: bool) -> None:  # Any: as ChunkQueue.put
        if self.queue.put(segment, spans, partial=partial) and not self.worker.is_away:
            self.worker.flush(self.config.trace_writer_synchronous_timeout)


def agent_headers(config: Config, entity: Entity) -> dict[str, str]:
    """Return the header fields common to all requests of this process to its Agent."""
    return common_headers(
        tracer_version=__version__,
        language_version=platform.python_version(),
        interpreter=platform.python_implementation(),
        container_id=entity.container_id,
        entity_id=entity.entity_id,
        external_env=config.external_env,
        additional=config.trace_writer_additional_headers,
    )


def propagation_settings(config: Config) -> PropagationSettings:
    """Return what the propagator needs of a configuration."""
    return PropagationSettings(
        extract_styles=config.trace_propagation_style_extract,
        inject_styles=config.trace_propagation_style_inject,
        extract_first=config.trace_propagation_extract_first,
        behavior=config.trace_propagation_behavior_extract,
        tags_max_length=config.trace_x_datadog_tags_max_length,
        baggage_max_items=config.trace_baggage_max_items,
        baggage_max_bytes=config.trace_baggage_max_bytes,
        http_baggage=config.trace_propagation_http_baggage_enabled,
        org_guard_enabled=config.trace_org_guard_enabled,
        org_guard_strict=config.trace_org_guard_strict,
        org_guard_trusted=frozenset(config.trace_org_guard_trusted_opms),
        enabled=config.trace_enabled,
    )


def _make_transport(config: Config) -> Transport:
    """Return the transport for the configured Agent; a URL it cannot use is reported and replaced."""
    if config.otel_traces_exporter == "console":
        return cast("Transport", load("_cli.console").ConsoleTransport())  # by name: only `_cli` prints
    has_address = any(map(config.is_set, ("trace_agent_url", "agent_host", "trace_agent_port")))
    if wants_log_transport(process_environ(), os.path.exists, has_address=has_address):
        return LogTransport()
    try:
        return RequestsTransport(config.trace_agent_url, reuse_connections=config.trace_writer_reuse_connections)
    except ConfigurationError as exc:
        _log.error("Cannot use the Agent address %s: %s", config.trace_agent_url, exc)
        return RequestsTransport(_DEFAULT_AGENT_URL)


def _import_http() -> None:
    from ddtrace_manual._agent import exchange  # noqa: F401 - late: `configure()` stays cheap

    codecs.lookup("idna")  # imported by the first resolution of a host name


def _make_health(config: Config) -> DogStatsdClient | None:
    """Return what sends health metrics, if they are wanted."""
    if not config.trace_health_metrics_enabled or config.dogstatsd_disable or not config.dogstatsd_url:
        return None
    tags = [f"tracer_version:{__version__}", "lang:python"]
    if config.entity_id:
        tags.append(f"dd.internal.entity_id:{config.entity_id}")  # tells DogStatsD the pod, whatever the address
    try:
        return DogStatsdClient(config.dogstatsd_url, tags=tags)
    except ConfigurationError as exc:
        _log.error("Cannot send health metrics (DD_DOGSTATSD_URL): %s", exc)
        return None
