"""Settings: diagnostics, telemetry, remote configuration, statistics, OTLP, internals, and what only code can give.

Source: spec/configuration.md §8.7-§8.11, §9, §10, §11; spec/client-stats.md §1, §5, §10.
"""

from __future__ import annotations

from ._kinds import (
    BOOL,
    CALLABLE,
    CALLABLES,
    EXCEPTIONS,
    HTTP_URL,
    INJECTION,
    LOG_LEVEL,
    MAP,
    OBJECT,
    OBJECTS,
    PAIRS,
    PATH,
    STRING,
    at_most_sorted,
    choice,
    integer,
    number,
)
from ._row import Setting

__all__ = ["CODE_ONLY", "DIAGNOSTICS", "INTERNAL", "OTLP", "REMOTE", "STATISTICS"]

DIAGNOSTICS: tuple[Setting, ...] = (
    Setting("DD_TRACE_DEBUG", BOOL, False, "The library logs at DEBUG. Also from `OTEL_LOG_LEVEL=debug`."),
    Setting(
        "DD_TRACE_LOG_LEVEL",
        LOG_LEVEL,
        None,
        "Level of the library's loggers; loses against `DD_TRACE_DEBUG`. Also from `OTEL_LOG_LEVEL`.",
        code_aliases=("log_level",),
        aliases=("DD_LOG_LEVEL",),
    ),
    Setting("DD_TRACE_STARTUP_LOGS", BOOL, True, "Log the configuration once, and whether the Agent can be reached."),
    Setting(
        "DD_TRACE_LOG_STREAM_HANDLER",
        BOOL,
        True,
        "Log to stderr in debug mode, with an explicit log level, or with `DD_TRACE_STARTUP_LOGS=true`; otherwise"
        " records go to the application's handlers.",
    ),
    Setting(
        "DD_TRACE_LOG_FILE",
        PATH,
        None,
        "File for the library's log, with one backup; made with mode 0600. A symbolic link, and what is no regular"
        " file, is not opened.",
    ),
    Setting(
        "DD_TRACE_LOG_FILE_LEVEL",
        choice("notset", "debug", "info", "warning", "error", "critical", "off", warn="warning"),
        "debug",
        "Level for that file.",
    ),
    Setting(
        "DD_TRACE_LOG_FILE_SIZE_BYTES", integer(0, unit="bytes"), 15_728_640, "Size at which that file is rotated."
    ),
    Setting(
        "DD_TRACE_LOG_DIRECTORY",
        PATH,
        None,
        "Directory for `ddtrace_manual-<pid>.log`; created when missing. `DD_TRACE_LOG_FILE` wins.",
    ),
    Setting(
        "DD_TRACE_LOGGING_RATE",
        integer(0, unit="s"),
        60,
        "One record per call site and interval; 0 means unlimited.",
    ),
    Setting(
        "DD_LOGS_INJECTION",
        INJECTION,
        True,
        "Put trace and span ids on log records, where the logging integration is installed.",
    ),
)

REMOTE: tuple[Setting, ...] = (
    Setting(
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED",
        BOOL,
        True,
        "Report configuration and health of the library.",
        awaits="telemetry",
    ),
    Setting(
        "DD_TELEMETRY_HEARTBEAT_INTERVAL",
        number(positive=True, magnitude=True, unit="s"),
        60.0,
        "Time between heartbeats; the sign is ignored.",
        awaits="telemetry",
    ),
    Setting(
        "DD_TELEMETRY_EXTENDED_HEARTBEAT_INTERVAL",
        number(positive=True, unit="s"),
        86400.0,
        "Time between heartbeats that repeat everything.",
        awaits="telemetry",
    ),
    Setting(
        "DD_TELEMETRY_METRICS_AGGREGATION_INTERVAL",
        number(positive=True, unit="s"),
        10.0,
        "Time over which counters are summed.",
        default_text="10, at most the heartbeat interval",
        awaits="telemetry",
    ),
    Setting(
        "DD_TELEMETRY_LOG_COLLECTION_ENABLED", BOOL, True, "Report errors of the library itself.", awaits="telemetry"
    ),
    Setting(
        "DD_TELEMETRY_DEPENDENCY_COLLECTION_ENABLED",
        BOOL,
        True,
        "Report names and versions of packages.",
        awaits="telemetry",
    ),
    Setting("DD_TELEMETRY_METRICS_ENABLED", BOOL, True, "Report counters.", awaits="telemetry"),
    Setting("DD_INTERNAL_TELEMETRY_DEBUG_ENABLED", BOOL, False, "Mark telemetry as debug data.", awaits="telemetry"),
    Setting(
        "DD_APM_TELEMETRY_DD_URL",
        HTTP_URL,
        None,
        "Base URL for telemetry without an Agent.",
        is_url=True,
        awaits="telemetry",
    ),
    Setting("DD_INSTRUMENTATION_INSTALL_ID", STRING, None, "Who installed the library: id.", awaits="telemetry"),
    Setting("DD_INSTRUMENTATION_INSTALL_TYPE", STRING, None, "Who installed the library: way.", awaits="telemetry"),
    Setting("DD_INSTRUMENTATION_INSTALL_TIME", STRING, None, "Who installed the library: time.", awaits="telemetry"),
    Setting(
        "DD_REMOTE_CONFIGURATION_ENABLED",
        BOOL,
        True,
        "Take changes of some settings from Datadog while running.",
        aliases=("DD_REMOTE_CONFIG_ENABLED",),
        deprecated=frozenset({"DD_REMOTE_CONFIG_ENABLED"}),
    ),
    Setting(
        "DD_REMOTE_CONFIG_POLL_INTERVAL_SECONDS",
        number(high=5, positive=True, magnitude=True, clamp=True, unit="s"),
        5.0,
        "Time between two polls, at most 5; the sign is ignored.",
        aliases=("DD_REMOTECONFIG_POLL_SECONDS",),
    ),
)

STATISTICS: tuple[Setting, ...] = (
    Setting(
        "DD_TRACE_STATS_COMPUTATION_ENABLED",
        BOOL,
        True,
        "Compute trace statistics here, if the Agent can take them.",
        aliases=("DD_TRACE_COMPUTE_STATS",),
    ),
    Setting(
        "DD_TRACE_STATS_COMPUTATION_IGNORE_AGENT_VERSION",
        BOOL,
        False,
        "Do not ask whether the Agent is new enough for that.",
    ),
    Setting(
        "DD_TRACE_STATS_ADDITIONAL_TAGS",
        at_most_sorted(4),
        (),
        "Tags by which statistics are split further; at most 4.",
    ),
    Setting("DD_TRACE_STATS_CARDINALITY_LIMIT", integer(0), 7000, "Most distinct keys per bucket."),
    Setting("DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT", integer(0), 1024, "Most distinct resources per bucket."),
    Setting(
        "DD_TRACE_STATS_HTTP_ENDPOINT_CARDINALITY_LIMIT", integer(0), 512, "Most distinct HTTP endpoints per bucket."
    ),
    Setting("DD_TRACE_STATS_PEER_TAGS_CARDINALITY_LIMIT", integer(0), 512, "Most distinct peer tag sets per bucket."),
    Setting(
        "DD_TRACE_STATS_ADDITIONAL_TAGS_CARDINALITY_LIMIT",
        integer(0),
        100,
        "Most distinct additional tag sets per bucket.",
    ),
    Setting(
        "OTEL_TRACES_SPAN_METRICS_ENABLED",
        BOOL,
        None,
        "Send trace statistics as OTLP metrics; unset: iff traces and metrics both go out by OTLP.",
    ),
)

_PROTOCOL = choice("grpc", "http/protobuf", "http/json")
_EXPORTER = choice("otlp", "none")
_TRACES_EXPORTER = choice("otlp", "console", "none")
_MILLISECONDS = integer(0, unit="ms")

OTLP: tuple[Setting, ...] = (
    Setting(
        "DD_METRICS_OTEL_ENABLED",
        BOOL,
        False,
        "Install an OpenTelemetry meter provider that exports by OTLP.",
        awaits="OTLP metrics",
    ),
    Setting("DD_LOGS_OTEL_ENABLED", BOOL, False, "Export log records by OTLP.", awaits="OTLP logs"),
    Setting(
        "OTEL_RESOURCE_ATTRIBUTES",
        PAIRS,
        {},
        "Attributes of the OpenTelemetry resource. `service.name`, `service.version`, `deployment.environment(.name)`"
        " stand in for service, version and env, the others for `DD_TAGS` (at most 10 in all).",
        code_aliases=("resource_attributes",),
        otel_mapped=True,
    ),
    Setting(
        "OTEL_TRACES_EXPORTER",
        _TRACES_EXPORTER,
        None,
        "`none`: as `DD_TRACE_ENABLED=false`. `console`: traces are drawn on standard output, not sent."
        " `otlp`: traces go out by OTLP, which does not exist yet: they go to the"
        " Agent.",
        otel_mapped=True,
    ),
    Setting(
        "OTEL_METRICS_EXPORTER", _EXPORTER, None, "`none`: no OTLP metrics.", otel_mapped=True, awaits="OTLP metrics"
    ),
    Setting("OTEL_LOGS_EXPORTER", _EXPORTER, None, "`none`: no OTLP logs.", otel_mapped=True, awaits="OTLP logs"),
    Setting(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        _PROTOCOL,
        "grpc",
        "Protocol for all signals.",
        awaits="OTLP traces, metrics and logs",
    ),
    Setting(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        _PROTOCOL,
        None,
        "Protocol for traces; `grpc` is not supported.",
        awaits="OTLP traces",
    ),
    Setting("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", _PROTOCOL, "grpc", "Protocol for metrics.", awaits="OTLP metrics"),
    Setting("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", _PROTOCOL, "grpc", "Protocol for logs.", awaits="OTLP logs"),
    Setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        HTTP_URL,
        None,
        "Base URL for all signals; over HTTP `/v1/<signal>` is added.",
        default_text="host of the Agent, port 4317 (grpc) or 4318 (http)",
        is_url=True,
    ),
    Setting(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        HTTP_URL,
        None,
        "URL for traces, used as it is.",
        is_url=True,
        awaits="OTLP traces",
    ),
    Setting("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", HTTP_URL, None, "URL for metrics, used as it is.", is_url=True),
    Setting(
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        HTTP_URL,
        None,
        "URL for logs, used as it is.",
        is_url=True,
        awaits="OTLP logs",
    ),
    Setting("OTEL_EXPORTER_OTLP_HEADERS", PAIRS, {}, "Headers for all signals.", secret=True),
    Setting("OTEL_EXPORTER_OTLP_TRACES_HEADERS", PAIRS, {}, "Headers for traces.", secret=True, awaits="OTLP traces"),
    Setting("OTEL_EXPORTER_OTLP_METRICS_HEADERS", PAIRS, {}, "Headers for metrics.", secret=True),
    Setting("OTEL_EXPORTER_OTLP_LOGS_HEADERS", PAIRS, {}, "Headers for logs.", secret=True, awaits="OTLP logs"),
    Setting("OTEL_EXPORTER_OTLP_TIMEOUT", _MILLISECONDS, 10000, "Timeout for all signals; 0 means unset."),
    Setting("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", _MILLISECONDS, 10000, "Timeout for traces.", awaits="OTLP traces"),
    Setting("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", _MILLISECONDS, 10000, "Timeout for metrics."),
    Setting("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", _MILLISECONDS, 10000, "Timeout for logs.", awaits="OTLP logs"),
    Setting(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        choice("delta", "cumulative", "lowmemory"),
        "delta",
        "Temporality of metrics.",
        awaits="OTLP metrics",
    ),
    Setting(
        "OTEL_METRIC_EXPORT_INTERVAL",
        integer(1, unit="ms"),
        10000,
        "Time between two exports of metrics.",
        awaits="OTLP metrics",
    ),
    Setting(
        "OTEL_METRIC_EXPORT_TIMEOUT",
        integer(1, unit="ms"),
        7500,
        "Longest duration of one export of metrics.",
        awaits="OTLP metrics",
    ),
)

INTERNAL: tuple[Setting, ...] = (
    Setting(
        "_DD_TRACE_STATS_COMPUTATION_EXPERIMENTAL_CLIENT_OBFUSCATION_ENABLED",
        BOOL,
        False,
        "Obfuscate resources before statistics are computed.",
        awaits="obfuscation here",
    ),
    Setting("_DD_TRACE_STATS_WRITER_INTERVAL", number(positive=True, unit="s"), 10.0, "Length of a statistics bucket."),
    Setting(
        "_DD_TRACE_METRICS_OTEL_FLUSH_INTERVAL",
        integer(1, unit="ms"),
        10000,
        "Time between two exports of statistics as OTLP metrics.",
    ),
    Setting("_DD_TRACE_WRITER_LOG_ERROR_PAYLOADS", BOOL, False, "Log payloads that the Agent refused."),
    Setting("_DD_TRACE_WRITER_ADDITIONAL_HEADERS", MAP, {}, "Headers added to requests to the Agent.", secret=True),
    Setting(
        "_DD_APM_TRACING_AGENTLESS_ENABLED",
        BOOL,
        False,
        "Send traces without an Agent; needs `DD_API_KEY`. Statistics and health metrics are off, the host name is"
        " reported.",
        awaits="sending without an Agent",
    ),
    Setting("_DD_SC_LOCAL_FILE_OVERRIDE", PATH, None, "Other path of the local file."),
    Setting("_DD_SC_MANAGED_FILE_OVERRIDE", PATH, None, "Other path of the fleet file."),
    Setting("_DD_ROOT_PY_SESSION_ID", STRING, None, "Session of the oldest ancestor process.", awaits="telemetry"),
    Setting("_DD_PARENT_PY_SESSION_ID", STRING, None, "Session of the parent process.", awaits="telemetry"),
)

CODE_ONLY: tuple[Setting, ...] = (
    Setting(
        "",
        BOOL,
        False,
        "Spans of the OpenTelemetry API take their name as resource name, instead of deriving one.",
        name="resource_from_span_name",
    ),
    Setting(
        "",
        BOOL,
        False,
        "Every finished trace is sent at once, and the caller waits.",
        name="trace_writer_synchronous_write",
    ),
    Setting(
        "",
        number(positive=True, unit="s"),
        2.0,
        "Longest wait of the caller then.",
        name="trace_writer_synchronous_timeout",
    ),
    Setting(
        "",
        BOOL,
        True,
        "SIGTERM delivers what is finished before it ends the process, or before a server's own handler does.",
        name="handle_sigterm",
    ),
    Setting(
        "",
        CALLABLE,
        None,
        "Called with name and value of every captured argument; what it returns is recorded instead.",
        name="redact",
    ),
    Setting(
        "",
        EXCEPTIONS,
        (),
        "Exceptions that leave every span unmarked: classes, or names such as `django.http.response.Http404`, which"
        " are compared and not imported.",
        name="ignore_exceptions",
    ),
    Setting("", MAP, {}, "Tags added to `tags`, whichever source these come from.", name="add_tags"),
    Setting(
        "",
        CALLABLES,
        (),
        "Called with every finished chunk on the worker thread; may change its spans by their methods, or drop it.",
        name="trace_filters",
    ),
    Setting("", OBJECTS, (), "Further OpenTelemetry span processors.", name="span_processors"),
    Setting("", OBJECT, None, "OpenTelemetry resource.", name="resource"),
    Setting("", OBJECT, None, "OpenTelemetry sampler.", name="sampler"),
    Setting("", OBJECT, None, "OpenTelemetry id generator.", name="id_generator"),
    Setting("", OBJECT, None, "OpenTelemetry span limits.", name="span_limits"),
    Setting("", OBJECTS, (), "Views of the OpenTelemetry meter provider.", name="metric_views", awaits="OTLP metrics"),
)
