"""OpenTelemetry variables that stand in for Datadog settings, and the counters about them."""

from __future__ import annotations

import pytest

DEFAULT = ("datadog", "tracecontext", "baggage")

MAPPED = [
    ({"OTEL_SERVICE_NAME": "s"}, "service", "s"),
    ({"OTEL_PROPAGATORS": "b3,tracecontext,baggage"}, "trace_propagation_style", ("b3", "tracecontext", "baggage")),
    ({"OTEL_PROPAGATORS": "none"}, "trace_propagation_style_inject", ()),
    ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, "trace_sample_rate", 1.0),
    ({"OTEL_TRACES_SAMPLER": "PARENTBASED_ALWAYS_OFF"}, "trace_sample_rate", 0.0),
    (
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
        "trace_sample_rate",
        0.25,
    ),
    ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, "trace_sample_rate", 1.0),
    ({"OTEL_TRACES_EXPORTER": "none"}, "trace_enabled", False),
    ({"OTEL_TRACES_EXPORTER": "otlp"}, "trace_enabled", True),
    ({"OTEL_LOG_LEVEL": "DEBUG"}, "trace_debug", True),
    ({"OTEL_LOG_LEVEL": "trace"}, "trace_debug", True),
    ({"OTEL_LOG_LEVEL": "warn"}, "trace_log_level", "warning"),
    ({"OTEL_LOG_LEVEL": "fatal"}, "trace_log_level", "critical"),
    ({"OTEL_LOG_LEVEL": "none"}, "trace_log_level", "off"),
    ({"OTEL_SDK_DISABLED": "TRUE"}, "trace_otel_enabled", False),
    ({"OTEL_SDK_DISABLED": "false"}, "trace_otel_enabled", True),
    ({"OTEL_SDK_DISABLED": "true"}, "metrics_otel_enabled", False),
    ({"OTEL_SDK_DISABLED": "true"}, "logs_otel_enabled", False),
    ({"OTEL_RESOURCE_ATTRIBUTES": "foo=bar1"}, "tags", {"foo": "bar1"}),
]


@pytest.mark.parametrize(("environ", "name", "value"), MAPPED)
def test_an_otel_variable_stands_in_for_its_setting(load, environ, name, value):
    """A usable OpenTelemetry variable gives its value to the Datadog setting, without a warning."""
    config = load(environ)
    assert (getattr(config, name), config.origin(name)) == (value, "otel_env_var")
    assert (config.warnings, config.otel_events) == ((), ())


@pytest.mark.parametrize("sampler", ["always_on", "always_off", "traceidratio"])
def test_samplers_without_parent_are_warned_about(load, sampler):
    """A sampler that ignores the parent acts like its parent-based twin, with a warning."""
    config = load({"OTEL_TRACES_SAMPLER": sampler})
    assert config.trace_sample_rate == (0.0 if sampler == "always_off" else 1.0)
    assert len(config.warnings) == 1
    assert "OTEL_TRACES_SAMPLER" in config.warnings[0]


HIDDEN = [
    ("OTEL_SERVICE_NAME", "a", "DD_SERVICE", "b"),
    ("OTEL_RESOURCE_ATTRIBUTES", "nonsense", "DD_TAGS", "a:b"),
    ("OTEL_PROPAGATORS", "nonsense", "DD_TRACE_PROPAGATION_STYLE", "b3"),
    ("OTEL_TRACES_SAMPLER", "nonsense", "DD_TRACE_SAMPLE_RATE", "0.5"),
    ("OTEL_TRACES_SAMPLER", "nonsense", "DD_TRACE_SAMPLING_RULES", "[]"),
    ("OTEL_TRACES_SAMPLER_ARG", "nonsense", "DD_TRACE_SAMPLE_RATE", "0.5"),
    ("OTEL_TRACES_EXPORTER", "nonsense", "DD_TRACE_ENABLED", "true"),
    ("OTEL_METRICS_EXPORTER", "nonsense", "DD_RUNTIME_METRICS_ENABLED", "true"),
    ("OTEL_LOG_LEVEL", "nonsense", "DD_TRACE_LOG_LEVEL", "INFO"),
    ("OTEL_LOG_LEVEL", "nonsense", "DD_LOG_LEVEL", "INFO"),
    ("OTEL_LOG_LEVEL", "trace", "DD_TRACE_DEBUG", "false"),
    ("OTEL_SDK_DISABLED", "nonsense", "DD_TRACE_OTEL_ENABLED", "true"),
]


@pytest.mark.parametrize(("otel", "value", "datadog", "other"), HIDDEN)
def test_a_datadog_variable_hides_the_otel_one(load, otel, value, datadog, other):
    """A hidden variable is counted, noted at debug level, and not judged."""
    config = load({otel: value, datadog: other})
    assert config.otel_events == (("hiding", otel.lower(), datadog.lower()),)
    assert config.warnings == ()
    assert f"{otel} is hidden by {datadog}" in config.notes


def test_debug_and_log_level_are_hidden_apart(load):
    """`DD_TRACE_DEBUG` hides only the debug levels, so another level still sets the log level."""
    config = load({"DD_TRACE_DEBUG": "true", "OTEL_LOG_LEVEL": "error"})
    assert (config.trace_debug, config.trace_log_level, config.library_log_level) == (True, "error", 10)
    assert config.otel_events == ()


def test_an_unusable_datadog_variable_hides_nothing(load):
    """When the Datadog variable cannot be used the OpenTelemetry one counts, and nothing is hidden."""
    config = load({"DD_TRACE_SAMPLE_RATE": "x", "OTEL_TRACES_SAMPLER": "parentbased_always_off"})
    assert (config.trace_sample_rate, config.otel_events) == (0.0, ())
    assert len(config.warnings) == 1


def test_a_disabled_sdk_switches_each_signal_unless_hidden(load):
    """`OTEL_SDK_DISABLED` is hidden for each switch apart."""
    config = load({"OTEL_SDK_DISABLED": "true", "DD_TRACE_OTEL_ENABLED": "true", "DD_LOGS_OTEL_ENABLED": "true"})
    assert (config.trace_otel_enabled, config.logs_otel_enabled) == (True, True)
    assert config.origin("metrics_otel_enabled") == "otel_env_var"


def test_both_directions_hide_the_propagators(load):
    """With both directions set the common OpenTelemetry variable is neither used nor judged."""
    config = load(
        {
            "OTEL_PROPAGATORS": "nonsense",
            "DD_TRACE_PROPAGATION_STYLE_EXTRACT": "",
            "DD_TRACE_PROPAGATION_STYLE_INJECT": "b3",
        }
    )
    assert (config.trace_propagation_style_extract, config.trace_propagation_style_inject) == ((), ("b3",))
    assert config.warnings == ()
    assert {event[2] for event in config.otel_events} == {
        "dd_trace_propagation_style_extract",
        "dd_trace_propagation_style_inject",
    }


INVALID = [
    ({"OTEL_RESOURCE_ATTRIBUTES": "a"}, "otel_resource_attributes", {"dd_tags"}),
    (
        {"OTEL_PROPAGATORS": "jaeger"},
        "otel_propagators",
        {"dd_trace_propagation_style", "dd_trace_propagation_style_inject", "dd_trace_propagation_style_extract"},
    ),
    ({"OTEL_TRACES_SAMPLER": "x"}, "otel_traces_sampler", {"dd_trace_sample_rate", "dd_trace_sampling_rules"}),
    (
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
        "otel_traces_sampler_arg",
        {"dd_trace_sample_rate", "dd_trace_sampling_rules"},
    ),
    ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otel_traces_exporter", {"dd_trace_enabled"}),
    ({"OTEL_METRICS_EXPORTER": "console"}, "otel_metrics_exporter", {"dd_runtime_metrics_enabled"}),
    ({"OTEL_LOGS_EXPORTER": "console"}, "otel_logs_exporter", {None}),
    ({"OTEL_LOG_LEVEL": "loud"}, "otel_log_level", {"dd_trace_debug", "dd_log_level", "dd_trace_log_level"}),
    ({"OTEL_SDK_DISABLED": "1"}, "otel_sdk_disabled", {"dd_trace_otel_enabled"}),
]


@pytest.mark.parametrize(("environ", "otel", "rivals"), INVALID)
def test_an_unusable_otel_variable_is_counted_and_warned_about(load, environ, otel, rivals):
    """An unusable variable costs one warning and one count per Datadog variable, and changes nothing."""
    config = load(environ)
    assert set(config.otel_events) == {("invalid", otel, rival) for rival in rivals}
    assert len(config.warnings) == 1
    assert config.warnings[0].startswith(otel.upper() + "=")
    assert config.trace_propagation_style == DEFAULT
    assert config.trace_sample_rate is None
    assert config.trace_enabled
    assert config.tags == {}


def test_unknown_propagators_are_dropped(load):
    """Known names count beside unknown ones, which are warned about."""
    config = load({"OTEL_PROPAGATORS": "xray,b3"})
    assert config.trace_propagation_style_extract == ("b3",)
    assert config.warnings == ("OTEL_PROPAGATORS='xray,b3' dropped unknown 'xray'",)


def test_local_file_loses_and_fleet_file_wins_against_otel(load):
    """OpenTelemetry variables rank between the Datadog environment and the local file."""
    text = "apm_configuration_default: {DD_TRACE_SAMPLE_RATE: 0.5}"
    environ = {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}
    assert load(environ, local=text).trace_sample_rate == 1.0
    assert load(environ, fleet=text).trace_sample_rate == 0.5


UNSUPPORTED = ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_FOO", "OTEL_SPAN_FOO", "OTEL_FOO_LIMIT"]
HONOURED = [
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_PYTHON_CONTEXT",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
]


def test_other_otel_variables_are_unsupported(load):
    """What nobody honours is counted and warned about; what the SDK honours is not."""
    config = load(dict.fromkeys([*UNSUPPORTED, *HONOURED], "1") | {"OTEL_EMPTY": ""})
    assert set(config.otel_events) == {("unsupported", name.lower(), None) for name in UNSUPPORTED}
    assert sorted(config.warnings) == sorted(f"{name} is not supported and has no effect" for name in UNSUPPORTED)
