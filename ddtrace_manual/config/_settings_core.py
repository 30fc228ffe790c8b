"""Settings: core, connection to the Agent, trace export.

Source: spec/configuration.md §8.1-§8.3, spec/trace-export.md §4.
"""

from __future__ import annotations

from ._kinds import AGENT_URL, BOOL, HOST, MAP, STATSD_URL, STRING, choice, integer, number
from ._row import Setting

__all__ = ["CORE", "EXPORT"]

DEFAULT_SERVICE = "unnamed-python-service"
_BUFFER_BYTES = 20_971_520

CORE: tuple[Setting, ...] = (
    Setting(
        "DD_TRACE_ENABLED",
        BOOL,
        True,
        "`false`: spans record nothing, nothing is exported, injected or extracted.",
        code_aliases=("enabled",),
    ),
    Setting(
        "DD_SERVICE",
        STRING,
        DEFAULT_SERVICE,
        "Name of the service. Also from `OTEL_SERVICE_NAME`, the key `service` of `DD_TAGS`, and `service.name` of"
        " `OTEL_RESOURCE_ATTRIBUTES`, in this order; otherwise inferred from the command line.",
        default_text="inferred, else `unnamed-python-service`",
    ),
    Setting(
        "DD_ENV",
        STRING,
        None,
        "Deployment environment. Also from the key `env` of `DD_TAGS` and `deployment.environment.name` or"
        " `deployment.environment` of `OTEL_RESOURCE_ATTRIBUTES`.",
    ),
    Setting(
        "DD_VERSION",
        STRING,
        None,
        "Version of the service. Also from the key `version` of `DD_TAGS` and `service.version` of"
        " `OTEL_RESOURCE_ATTRIBUTES`.",
    ),
    Setting(
        "DD_TAGS",
        MAP,
        {},
        "Tags put on every span; what the application sets on a span wins. `service`, `env` and `version` act as the"
        " settings of that name.",
    ),
    Setting(
        "DD_SERVICE_MAPPING",
        MAP,
        {},
        "A span service equal to a key is replaced by its value when the span starts.",
    ),
    Setting(
        "DD_TRACE_OTEL_ENABLED",
        BOOL,
        True,
        "`false`: the provider is not registered as the global OpenTelemetry provider; decorators and context managers"
        " still trace.",
    ),
    Setting(
        "DD_TRACE_OTEL_SEMANTICS_ENABLED",
        BOOL,
        False,
        "Keep OpenTelemetry names instead of mapping them to Datadog's.",
    ),
    Setting(
        "DD_APM_TRACING_ENABLED",
        BOOL,
        True,
        "`false`: at most one trace per minute is kept, for products other than tracing.",
    ),
    Setting("DD_HOSTNAME", STRING, None, "Host name to report instead of the system's.", default_text="the system's"),
    Setting("DD_TRACE_REPORT_HOSTNAME", BOOL, False, "Report the host name with every trace and as `host.name`."),
    Setting(
        "DD_SITE", STRING, "datadoghq.com", "Datadog site; only without an Agent.", awaits="sending without an Agent"
    ),
    Setting(
        "DD_API_KEY", STRING, None, "API key; only without an Agent.", secret=True, awaits="sending without an Agent"
    ),
    Setting(
        "DD_EXPERIMENTAL_PROPAGATE_PROCESS_TAGS_ENABLED",
        BOOL,
        True,
        "Describe the process (entry point, working directory) in the payloads.",
    ),
    Setting("DD_TRACE_GIT_METADATA_ENABLED", BOOL, True, "Report repository URL and commit."),
    Setting(
        "DD_GIT_REPOSITORY_URL",
        STRING,
        "",
        "Repository URL; credentials are removed. Otherwise from the key `git.repository_url` of `DD_TAGS` or from"
        " `DD_MAIN_PACKAGE`.",
        is_url=True,
    ),
    Setting(
        "DD_GIT_COMMIT_SHA",
        STRING,
        "",
        "Commit. Otherwise from the key `git.commit.sha` of `DD_TAGS` or from `DD_MAIN_PACKAGE`.",
    ),
    Setting(
        "DD_MAIN_PACKAGE",
        STRING,
        "",
        "Distribution whose project URL `source_code_link` (`https://host/repo#commit`) fills what is missing.",
    ),
    Setting(
        "DD_EXTERNAL_ENV",
        STRING,
        None,
        "Container identification set by the cluster agent.",
        code_aliases=("dd_external_env",),
    ),
    Setting("DD_ENTITY_ID", STRING, None, "Pod the process runs in, set by the cluster agent; put on health metrics."),
)

EXPORT: tuple[Setting, ...] = (
    Setting(
        "DD_TRACE_AGENT_URL",
        AGENT_URL,
        "http://localhost:8126",
        "Address of the Agent: `http://host:port[/prefix]`, `https://…` or `unix:///path`."
        " Beats host and port from whatever source;"
        " without it they decide, then the socket `/var/run/datadog/apm.socket` if it exists.",
        code_aliases=("agent_url",),
        default_text="calculated",
        is_url=True,
    ),
    Setting(
        "DD_AGENT_HOST",
        HOST,
        None,
        "Host of the Agent; IPv6 addresses with or without brackets.",
        code_aliases=("trace_agent_hostname",),
        precursors=("DD_TRACE_AGENT_HOSTNAME",),
    ),
    Setting(
        "DD_TRACE_AGENT_PORT",
        integer(1, 65535),
        None,
        "Port of the Agent for traces; 8126 when only the host is set.",
        code_aliases=("agent_port",),
        aliases=("DD_AGENT_PORT",),
    ),
    Setting(
        "DD_TRACE_AGENT_TIMEOUT_SECONDS",
        number(positive=True, unit="s"),
        2.0,
        "Longest wait for an answer of the Agent.",
        code_aliases=("agent_timeout",),
    ),
    Setting(
        "DD_DOGSTATSD_URL",
        STATSD_URL,
        "udp://localhost:8125",
        "Address for health metrics: `udp://host:port` or `unix:///path`. Without it host and port decide, then the"
        " socket `/var/run/datadog/dsd.socket` if it exists.",
        default_text="calculated",
        is_url=True,
    ),
    Setting("DD_DOGSTATSD_HOST", HOST, None, "Host for health metrics.", default_text="host of the Agent"),
    Setting(
        "DD_DOGSTATSD_PORT",
        integer(1, 65535),
        None,
        "Port for health metrics; 8125 when only the host is set.",
        aliases=("DD_AGENT_PORT",),
    ),
    Setting("DD_DOGSTATSD_DISABLE", BOOL, False, "Send no health metrics."),
    Setting(
        "DD_TRACE_API_VERSION",
        choice("v0.4", "v0.5", "v1.0"),
        "v0.4",
        "Format of trace payloads.",
    ),
    Setting(
        "DD_TRACE_AGENT_PROTOCOL_VERSION",
        STRING,
        None,
        "Any value switches OTLP trace export off; `0.4`, `0.5` and `1.0` also select the format when"
        " `DD_TRACE_API_VERSION` is unset.",
    ),
    Setting(
        "DD_TRACE_NATIVE_SPAN_EVENTS",
        BOOL,
        None,
        "Send span events as a field of their own; unset, the Agent's answer decides.",
    ),
    Setting(
        "DD_TRACE_PARTIAL_FLUSH_ENABLED",
        BOOL,
        True,
        "Send the finished spans of a trace before it is complete: when its local root ends, when there are many, or"
        " when they have waited for 10 seconds.",
    ),
    Setting(
        "DD_TRACE_PARTIAL_FLUSH_MIN_SPANS",
        integer(1, clamp=True),
        300,
        "Finished spans of one trace that trigger a partial flush; at least 1.",
    ),
    Setting(
        "DD_TRACE_WRITER_INTERVAL_SECONDS",
        number(positive=True, unit="s"),
        1.0,
        "Longest wait between two sends.",
        code_aliases=("trace_writer_max_flush_interval",),
    ),
    Setting(
        "DD_TRACE_WRITER_BUFFER_SIZE_BYTES",
        integer(1, unit="bytes"),
        _BUFFER_BYTES,
        "Memory for finished spans that wait to be sent; what comes when it is full is dropped and counted.",
    ),
    Setting(
        "DD_TRACE_WRITER_MAX_PAYLOAD_SIZE_BYTES",
        integer(1, unit="bytes"),
        _BUFFER_BYTES,
        "Largest payload of one request.",
    ),
    Setting("DD_TRACE_WRITER_REUSE_CONNECTIONS", BOOL, False, "Keep the connection to the Agent open between sends."),
    Setting("DD_TRACE_HEALTH_METRICS_ENABLED", BOOL, False, "Send metrics about the exporter to DogStatsD."),
    Setting(
        "DD_TRACE_SPAN_TRACEBACK_MAX_SIZE",
        integer(0),
        30,
        "Most frames of a traceback in `error.stack`.",
    ),
)
