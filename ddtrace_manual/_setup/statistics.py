"""Builds the statistics behind one configuration: what counts spans, and what sends the counts.

    pipeline → Concentrator → StatsExporter → Agent, while it is suitable
                            → SpanMetricsExporter → OTLP receiver, whatever the Agent says

Source: spec/client-stats.md §1 (when), §8 (headers of trace payloads), §10 (OTLP).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddtrace_manual._agent import OtlpClient
from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._stats import (
    NO_FILTERS,
    AggregationRules,
    BucketExporter,
    CardinalityLimits,
    Concentrator,
    DurationHistogram,
    SpanMetricsExporter,
    StatsExporter,
    StatsIdentity,
    TraceFilters,
    span_metrics_resource,
)
from ddtrace_manual._version import __version__
from ddtrace_manual.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddtrace_manual._agent import AgentClient, DogStatsdClient, Transport
    from ddtrace_manual._export import AgentWatch, Counters, Pipeline
    from ddtrace_manual.config import Config

__all__ = ["Statistics"]

_log = get_logger("setup")


class Statistics:
    """Counts the spans of a process and sends the counts. Used by the worker thread only.

    Args:
        config: The effective configuration.
        service: Main service.
        runtime_id: Id of this process.
        counters: Counts payloads and collapsed spans.
        client: Talks to the Agent; what limits its requests in time limits ours too.
        agent: Knows what the Agent can do.
        wait: Waits before a retry; returns `True` to give up at once.
        health: Takes health metrics, or `None`.
        agent_log: Reports failed OTLP requests.
        otlp_transport: Carries OTLP requests; `None` makes the real one.

    Attributes:
        is_otlp: Counts leave as OTLP metrics, not to the Agent.
        concentrator: What counts.
        exporter: What sends.
    """

    def __init__(  # noqa: PLR0913 - wired in one place, by name
        self,
        config: Config,
        *,
        service: str,
        runtime_id: str,
        counters: Counters,
        client: AgentClient,
        agent: AgentWatch,
        wait: Callable[[float], bool],
        health: DogStatsdClient | None,
        agent_log: RateLimitedLogger | None = None,
        otlp_transport: Transport | None = None,
    ) -> None:
        self._config = config
        self._service = service
        self._runtime_id = runtime_id
        self._counters = counters
        self._client = client
        self._agent = agent
        self._health = health
        self._agent_log = agent_log
        self.is_otlp = config.span_metrics_enabled
        self.concentrator = self._make_concentrator()
        self.exporter: BucketExporter = (
            self._make_otlp_exporter(wait, otlp_transport) if self.is_otlp else self._make_agent_exporter()
        )

    # -- building ----------------------------------------------------------------------------------

    def _make_concentrator(self) -> Concentrator:
        config = self._config
        limits = CardinalityLimits(
            keys=config.trace_stats_cardinality_limit,
            resources=config.trace_stats_resource_cardinality_limit,
            http_endpoints=config.trace_stats_http_endpoint_cardinality_limit,
            peer_tags=config.trace_stats_peer_tags_cardinality_limit,
            additional_tags=config.trace_stats_additional_tags_cardinality_limit,
        )
        rules = AggregationRules(splits_top_level=self.is_otlp)
        if not self.is_otlp:
            return Concentrator(rules, limits, bucket_ns=round(config.trace_stats_writer_interval * 1e9))
        bucket_ns = config.trace_metrics_otel_flush_interval * 1_000_000
        return Concentrator(rules, limits, bucket_ns=bucket_ns, new_sketch=DurationHistogram)

    def _make_agent_exporter(self) -> StatsExporter:
        return StatsExporter(
            self.concentrator,
            self._send_to_agent,
            identity=self._identity,
            runtime_id=lambda: self._runtime_id,
            on_payload=self._count_payload,
            on_collapsed=self._on_collapsed,
            interval_s=self._config.trace_stats_writer_interval,
        )

    def _make_otlp_exporter(self, wait: Callable[[float], bool], transport: Transport | None) -> SpanMetricsExporter:
        config = self._config
        target = config.span_metrics_target()
        try:
            receiver = OtlpClient(
                target.endpoint, headers=target.headers, wait=wait, transport=transport, log=self._agent_log
            )
        except ConfigurationError as exc:
            _log.error("Cannot use the OTLP metrics endpoint, statistics are lost: %s", exc)
            receiver = None

        def send(body: bytes) -> bool:
            limit_s = min(target.timeout_s, self._client.timeout_s)
            return receiver is not None and receiver.send(body, limit_s)

        resource = span_metrics_resource(
            service=self._service,
            env=config.env or "",
            version=config.version or "",
            hostname=config.hostname or "",
            runtime_id=self._runtime_id,
            tracer_version=__version__,
            process_tags=config.process_tags,
            tags={**config.resource_attributes, **config.tags},
        )
        return SpanMetricsExporter(
            self.concentrator,
            send,
            resource=lambda: resource,
            on_payload=self._count_payload,
            on_collapsed=self._on_collapsed,
            interval_s=config.trace_metrics_otel_flush_interval / 1000,
        )

    def _identity(self) -> StatsIdentity:
        config = self._config
        return StatsIdentity(
            service=self._service,
            env=config.env or "",
            version=config.version or "",
            hostname=config.hostname or "",
            git_commit_sha=config.git_commit_sha or "",
            process_tags=config.process_tags,
        )

    # -- at run time -------------------------------------------------------------------------------

    def apply_features(self, pipeline: Pipeline) -> None:
        """Switch statistics on or off in the pipeline, according to the Agent's features."""
        features, info = self._agent.features, self._agent.info
        if features.stats or self.is_otlp:
            self.concentrator.rules = AggregationRules(
                span_kinds=features.span_kinds,
                peer_tags=features.peer_tags,
                additional_tags=self._config.trace_stats_additional_tags,
                splits_top_level=self.is_otlp,
            )
            pipeline.filters = TraceFilters.from_info(info) if info is not None else NO_FILTERS
            pipeline.concentrator = self.concentrator
        elif pipeline.concentrator is not None:
            self.exporter.flush(force=True)
            pipeline.concentrator = None
            pipeline.filters = NO_FILTERS

    def payload_headers(self, pipeline: Pipeline, *, counted: bool) -> dict[str, str]:
        """Return what a trace payload says about statistics of its chunks."""
        if not counted:
            # Without APM nobody is to compute statistics, the Agent included (spec/client-stats.md §1).
            return {} if self._config.apm_tracing_enabled else {"Datadog-Client-Computed-Stats": "true"}
        headers = {"Datadog-Client-Computed-Stats": "yes" if self.is_otlp else "true"}
        if pipeline.dropped_p0_traces:
            headers["Datadog-Client-Dropped-P0-Traces"] = str(pipeline.dropped_p0_traces)
        if pipeline.dropped_p0_spans:
            headers["Datadog-Client-Dropped-P0-Spans"] = str(pipeline.dropped_p0_spans)
        return headers

    def _send_to_agent(self, body: bytes) -> bool:
        result = self._client.send_stats(body)
        if result.agent_state:
            self._agent.saw_state(result.agent_state)
        if not result.delivered and result.outcome == "unsupported":
            self.concentrator.flush(force=True)  # what else was counted has no receiver either
            self._agent.stats_refused()
        return result.delivered

    def _count_payload(self, delivered: bool) -> None:  # a callback
        if delivered:
            self._counters.stats_payloads += 1
        else:
            self._counters.lost_stats_payloads += 1

    def _on_collapsed(self, kind: str, spans: int) -> None:
        collapsed = self._counters.collapsed_spans
        collapsed[kind] = collapsed.get(kind, 0) + spans
        if self._health is not None:
            self._health.count("datadog.tracer.stats.collapsed_spans", spans, (f"collapsed_spans:{kind}",))
