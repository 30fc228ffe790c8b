"""The keyword arguments of `configure()` and `Config()`, for type checkers and editors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike

__all__ = ["Settings"]

Tags: TypeAlias = "Mapping[str, str | int | float | bool] | str"
Rules: TypeAlias = "Sequence[Any] | str"  # Any: dictionaries or rule objects


class Settings(TypedDict, total=False):
    """Every name accepted in code, short names included; `None` means not given.

    `Any` stands where objects of the application or of the OpenTelemetry SDK pass through.
    """

    # Core
    trace_enabled: bool | None
    enabled: bool | None
    service: str | None
    env: str | None
    version: str | None
    tags: Tags | None
    service_mapping: Tags | None
    trace_otel_enabled: bool | None
    trace_otel_semantics_enabled: bool | None
    apm_tracing_enabled: bool | None
    hostname: str | None
    trace_report_hostname: bool | None
    site: str | None
    api_key: str | None
    experimental_propagate_process_tags_enabled: bool | None
    trace_git_metadata_enabled: bool | None
    git_repository_url: str | None
    git_commit_sha: str | None
    main_package: str | None
    external_env: str | None
    dd_external_env: str | None
    entity_id: str | None
    # Agent connection and trace export
    trace_agent_url: str | None
    agent_url: str | None
    agent_host: str | None
    trace_agent_hostname: str | None
    trace_agent_port: int | None
    agent_port: int | None
    trace_agent_timeout_seconds: float | None
    agent_timeout: float | None
    dogstatsd_url: str | None
    dogstatsd_host: str | None
    dogstatsd_port: int | None
    dogstatsd_disable: bool | None
    trace_api_version: str | None
    trace_agent_protocol_version: str | None
    trace_native_span_events: bool | None
    trace_partial_flush_enabled: bool | None
    trace_partial_flush_min_spans: int | None
    trace_writer_interval_seconds: float | None
    trace_writer_max_flush_interval: float | None
    trace_writer_buffer_size_bytes: int | None
    trace_writer_max_payload_size_bytes: int | None
    trace_writer_reuse_connections: bool | None
    trace_health_metrics_enabled: bool | None
    trace_span_traceback_max_size: int | None
    # Sampling
    trace_sample_rate: float | None
    sample_rate: float | None
    trace_sampling_rules: Rules | None
    sampling_rules: Rules | None
    trace_rate_limit: int | None
    rate_limit: int | None
    span_sampling_rules: Rules | None
    span_sampling_rules_file: str | PathLike[str] | None
    # Propagation and ids
    trace_propagation_style: Iterable[str] | None
    propagation_style: Iterable[str] | None
    trace_propagation_style_extract: Iterable[str] | None
    propagation_style_extract: Iterable[str] | None
    trace_propagation_style_inject: Iterable[str] | None
    propagation_style_inject: Iterable[str] | None
    trace_propagation_extract_first: bool | None
    trace_propagation_behavior_extract: str | None
    trace_propagation_http_baggage_enabled: bool | None
    trace_x_datadog_tags_max_length: int | None
    trace_baggage_max_items: int | None
    trace_baggage_max_bytes: int | None
    trace_baggage_tag_keys: Iterable[str] | None
    trace_128_bit_traceid_generation_enabled: bool | None
    trace_org_guard_enabled: bool | None
    trace_org_guard_strict: bool | None
    trace_org_guard_trusted_opms: Iterable[str] | None
    # Span content
    trace_header_tags: Tags | None
    trace_http_server_error_statuses: str | Iterable[int | tuple[int, int]] | None
    trace_http_client_error_statuses: str | Iterable[int | tuple[int, int]] | None
    trace_http_client_tag_query_string: bool | None
    http_server_tag_query_string: bool | None
    trace_obfuscation_query_string_regexp: str | None
    trace_peer_service_defaults_enabled: bool | None
    trace_peer_service_mapping: Tags | None
    # Logging and diagnostics of the library
    trace_debug: bool | None
    trace_log_level: str | None
    log_level: str | None
    trace_startup_logs: bool | None
    trace_log_stream_handler: bool | None
    trace_log_file: str | PathLike[str] | None
    trace_log_file_level: str | None
    trace_log_file_size_bytes: int | None
    trace_log_directory: str | PathLike[str] | None
    trace_logging_rate: int | None
    logs_injection: bool | str | None
    # Telemetry and remote configuration
    instrumentation_telemetry_enabled: bool | None
    telemetry_heartbeat_interval: float | None
    telemetry_extended_heartbeat_interval: float | None
    telemetry_metrics_aggregation_interval: float | None
    telemetry_log_collection_enabled: bool | None
    telemetry_dependency_collection_enabled: bool | None
    telemetry_metrics_enabled: bool | None
    internal_telemetry_debug_enabled: bool | None
    apm_telemetry_dd_url: str | None
    instrumentation_install_id: str | None
    instrumentation_install_type: str | None
    instrumentation_install_time: str | None
    remote_configuration_enabled: bool | None
    remote_config_poll_interval_seconds: float | None
    # Statistics
    trace_stats_computation_enabled: bool | None
    trace_stats_computation_ignore_agent_version: bool | None
    trace_stats_additional_tags: Iterable[str] | None
    trace_stats_cardinality_limit: int | None
    trace_stats_resource_cardinality_limit: int | None
    trace_stats_http_endpoint_cardinality_limit: int | None
    trace_stats_peer_tags_cardinality_limit: int | None
    trace_stats_additional_tags_cardinality_limit: int | None
    otel_traces_span_metrics_enabled: bool | None
    # OTLP
    metrics_otel_enabled: bool | None
    logs_otel_enabled: bool | None
    otel_resource_attributes: Tags | None
    resource_attributes: Tags | None
    otel_traces_exporter: str | None
    otel_metrics_exporter: str | None
    otel_logs_exporter: str | None
    otel_exporter_otlp_protocol: str | None
    otel_exporter_otlp_traces_protocol: str | None
    otel_exporter_otlp_metrics_protocol: str | None
    otel_exporter_otlp_logs_protocol: str | None
    otel_exporter_otlp_endpoint: str | None
    otel_exporter_otlp_traces_endpoint: str | None
    otel_exporter_otlp_metrics_endpoint: str | None
    otel_exporter_otlp_logs_endpoint: str | None
    otel_exporter_otlp_headers: Tags | None
    otel_exporter_otlp_traces_headers: Tags | None
    otel_exporter_otlp_metrics_headers: Tags | None
    otel_exporter_otlp_logs_headers: Tags | None
    otel_exporter_otlp_timeout: int | None
    otel_exporter_otlp_traces_timeout: int | None
    otel_exporter_otlp_metrics_timeout: int | None
    otel_exporter_otlp_logs_timeout: int | None
    otel_exporter_otlp_metrics_temporality_preference: str | None
    otel_metric_export_interval: int | None
    otel_metric_export_timeout: int | None
    # Internal
    trace_stats_computation_experimental_client_obfuscation_enabled: bool | None
    trace_stats_writer_interval: float | None
    trace_metrics_otel_flush_interval: int | None
    trace_writer_log_error_payloads: bool | None
    trace_writer_additional_headers: Tags | None
    apm_tracing_agentless_enabled: bool | None
    sc_local_file_override: str | PathLike[str] | None
    sc_managed_file_override: str | PathLike[str] | None
    root_py_session_id: str | None
    parent_py_session_id: str | None
    # Only in code
    resource_from_span_name: bool | None
    trace_writer_synchronous_write: bool | None
    trace_writer_synchronous_timeout: float | None
    handle_sigterm: bool | None
    redact: Callable[[str, object], object] | None
    ignore_exceptions: Iterable[type[BaseException] | str] | type[BaseException] | str | None
    add_tags: Tags | None
    trace_filters: Iterable[Callable[..., Any]] | None
    span_processors: Iterable[Any] | None
    resource: Any
    sampler: Any
    id_generator: Any
    span_limits: Any
    metric_views: Iterable[Any] | None
