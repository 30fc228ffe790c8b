"""The values in effect, one typed field per setting; what each means stands in the settings rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EffectiveSettings"]


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class EffectiveSettings:
    """Fields of `Config`. Each is resolved: nothing has to be combined with another setting.

    `Any` stands where objects of the application or of the OpenTelemetry SDK pass through.
    """

    # Core
    trace_enabled: bool
    service: str
    env: str | None
    version: str | None
    tags: Mapping[str, str]
    service_mapping: Mapping[str, str]
    trace_otel_enabled: bool
    trace_otel_semantics_enabled: bool
    apm_tracing_enabled: bool
    hostname: str | None
    trace_report_hostname: bool
    site: str
    api_key: str | None
    experimental_propagate_process_tags_enabled: bool
    trace_git_metadata_enabled: bool
    git_repository_url: str
    git_commit_sha: str
    main_package: str
    external_env: str | None
    entity_id: str | None
    # Agent connection and trace export
    trace_agent_url: str
    agent_host: str | None
    trace_agent_port: int | None
    trace_agent_timeout_seconds: float
    dogstatsd_url: str
    dogstatsd_host: str | None
    dogstatsd_port: int | None
    dogstatsd_disable: bool
    trace_api_version: Literal["v0.4", "v0.5", "v1.0"]
    trace_agent_protocol_version: str | None
    trace_native_span_events: bool | None
    trace_partial_flush_enabled: bool
    trace_partial_flush_min_spans: int
    trace_writer_interval_seconds: float
    trace_writer_buffer_size_bytes: int
    trace_writer_max_payload_size_bytes: int
    trace_writer_reuse_connections: bool
    trace_health_metrics_enabled: bool
    trace_span_traceback_max_size: int
    # Sampling
    trace_sample_rate: float | None
    trace_sampling_rules: tuple[Any, ...]
    trace_rate_limit: int
    span_sampling_rules: tuple[Any, ...]
    span_sampling_rules_file: str | None
    # Propagation and ids
    trace_propagation_style: tuple[str, ...]
    trace_propagation_style_extract: tuple[str, ...]
    trace_propagation_style_inject: tuple[str, ...]
    trace_propagation_extract_first: bool
    trace_propagation_behavior_extract: Literal["continue", "restart", "ignore"]
    trace_propagation_http_baggage_enabled: bool
    trace_x_datadog_tags_max_length: int
    trace_baggage_max_items: int
    trace_baggage_max_bytes: int
    trace_baggage_tag_keys: tuple[str, ...]
    trace_128_bit_traceid_generation_enabled: bool
    trace_org_guard_enabled: bool
    trace_org_guard_strict: bool
    trace_org_guard_trusted_opms: tuple[str, ...]
    # Span content
    trace_header_tags: Mapping[str, str]
    trace_http_server_error_statuses: tuple[tuple[int, int], ...]
    trace_http_client_error_statuses: tuple[tuple[int, int], ...]
    trace_http_client_tag_query_string: bool
    http_server_tag_query_string: bool
    trace_obfuscation_query_string_regexp: str | None
    trace_peer_service_defaults_enabled: bool
    trace_peer_service_mapping: Mapping[str, str]
    # Logging and diagnostics of the library
    trace_debug: bool
    trace_log_level: str | None
    trace_startup_logs: bool
    trace_log_stream_handler: bool
    trace_log_file: str | None
    trace_log_file_level: str
    trace_log_file_size_bytes: int
    trace_log_directory: str | None
    trace_logging_rate: int
    logs_injection: bool
    # Telemetry and remote configuration
    instrumentation_telemetry_enabled: bool
    telemetry_heartbeat_interval: float
    telemetry_extended_heartbeat_interval: float
    telemetry_metrics_aggregation_interval: float
    telemetry_log_collection_enabled: bool
    telemetry_dependency_collection_enabled: bool
    telemetry_metrics_enabled: bool
    internal_telemetry_debug_enabled: bool
    apm_telemetry_dd_url: str | None
    instrumentation_install_id: str | None
    instrumentation_install_type: str | None
    instrumentation_install_time: str | None
    remote_configuration_enabled: bool
    remote_config_poll_interval_seconds: float
    # Statistics
    trace_stats_computation_enabled: bool
    trace_stats_computation_ignore_agent_version: bool
    trace_stats_additional_tags: tuple[str, ...]
    trace_stats_cardinality_limit: int
    trace_stats_resource_cardinality_limit: int
    trace_stats_http_endpoint_cardinality_limit: int
    trace_stats_peer_tags_cardinality_limit: int
    trace_stats_additional_tags_cardinality_limit: int
    otel_traces_span_metrics_enabled: bool | None
    # OTLP
    metrics_otel_enabled: bool
    logs_otel_enabled: bool
    otel_resource_attributes: Mapping[str, str]
    otel_traces_exporter: Literal["otlp", "console", "none"] | None
    otel_metrics_exporter: Literal["otlp", "none"] | None
    otel_logs_exporter: Literal["otlp", "none"] | None
    otel_exporter_otlp_protocol: Literal["grpc", "http/protobuf", "http/json"]
    otel_exporter_otlp_traces_protocol: Literal["grpc", "http/protobuf", "http/json"] | None
    otel_exporter_otlp_metrics_protocol: Literal["grpc", "http/protobuf", "http/json"]
    otel_exporter_otlp_logs_protocol: Literal["grpc", "http/protobuf", "http/json"]
    otel_exporter_otlp_endpoint: str | None
    otel_exporter_otlp_traces_endpoint: str | None
    otel_exporter_otlp_metrics_endpoint: str | None
    otel_exporter_otlp_logs_endpoint: str | None
    otel_exporter_otlp_headers: Mapping[str, str]
    otel_exporter_otlp_traces_headers: Mapping[str, str]
    otel_exporter_otlp_metrics_headers: Mapping[str, str]
    otel_exporter_otlp_logs_headers: Mapping[str, str]
    otel_exporter_otlp_timeout: int
    otel_exporter_otlp_traces_timeout: int
    otel_exporter_otlp_metrics_timeout: int
    otel_exporter_otlp_logs_timeout: int
    otel_exporter_otlp_metrics_temporality_preference: Literal["delta", "cumulative", "lowmemory"]
    otel_metric_export_interval: int
    otel_metric_export_timeout: int
    # Internal
    trace_stats_computation_experimental_client_obfuscation_enabled: bool
    trace_stats_writer_interval: float
    trace_metrics_otel_flush_interval: int
    trace_writer_log_error_payloads: bool
    trace_writer_additional_headers: Mapping[str, str]
    apm_tracing_agentless_enabled: bool
    sc_local_file_override: str | None
    sc_managed_file_override: str | None
    root_py_session_id: str | None
    parent_py_session_id: str | None
    # Only in code
    resource_from_span_name: bool
    trace_writer_synchronous_write: bool
    trace_writer_synchronous_timeout: float
    handle_sigterm: bool
    redact: Callable[[str, object], object] | None
    ignore_exceptions: tuple[type[BaseException] | str, ...]
    add_tags: Mapping[str, str]
    trace_filters: tuple[Callable[..., Any], ...]
    span_processors: tuple[Any, ...]
    resource: Any
    sampler: Any
    id_generator: Any
    span_limits: Any
    metric_views: tuple[Any, ...]

    # Resolved, without a setting of their own
    service_is_user_provided: bool
    """`False`: the service name was inferred or is the default."""
    resource_attributes: Mapping[str, str]
    """All of `OTEL_RESOURCE_ATTRIBUTES`, decoded."""
    header_tags: Mapping[str, str]
    """`trace_header_tags` with header names in lower case; "" = the tag is derived from the header."""
    process_tags: str
    """Sorted `key:value` list that describes this process; "" when switched off."""
    rate_limit_is_explicit: bool
    """`DD_TRACE_RATE_LIMIT` was set by anybody."""
    library_log_level: int | None
    """Level for the library's loggers, as a number of `logging`; debug mode included."""
    otlp_traces_enabled: bool
    """Traces go out by OTLP instead of to the Agent's trace endpoint."""
    span_metrics_enabled: bool
    """Trace statistics go out as OTLP metrics."""
