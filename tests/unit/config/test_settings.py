"""Every settings row: default, valid and invalid values, aliases, precedence, and its static types."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ddtrace_manual.config import SETTINGS, WITHOUT_EFFECT, Config, Settings
from ddtrace_manual.config._row import code_name
from ddtrace_manual.config._settings import BY_ENV, CODE_NAMES
from ddtrace_manual.exceptions import ConfigurationError

STYLES = ("datadog", "tracecontext", "baggage")


class Sample(NamedTuple):
    """A text, the value it means, a text that is refused, and a value that is refused in code."""

    text: str
    value: Any
    bad: str | None
    bad_code: Any


# Samples by the label of the kind; settings with ranges or words of their own follow below.
KINDS = {
    "bool": Sample("TRUE", True, "yes", 1),
    "string": Sample("text", "text", None, 1),
    "path": Sample("/tmp/x", "/tmp/x", None, 1),
    "host": Sample("h", "h", "a b", 1),
    "URL": Sample("http://h:1/x?y", "http://h:1/x?y", "h:1", "h:1"),
    "list": Sample("b, a", ("a", "b"), None, 1),
    "map `k:v`": Sample("a:b", {"a": "b"}, None, ["a"]),
    "map `k=v`": Sample("a=b", {"a": "b"}, "a", {"a": None}),
    "JSON array": Sample('[{"sample_rate": 0.5}]', ({"sample_rate": 0.5},), "{}", [1]),
    "ranges": Sample("500-502,404", ((500, 502), (404, 404)), "x", [(1, 2, 3)]),
    "list of styles": Sample("b3,baggage", ("b3", "baggage"), None, ["jaeger"]),
    "methods": Sample("a:b", (("a", ("b",)),), "a", "a"),
    "bool or `structured`": Sample("structured", True, None, "perhaps"),
    "regular expression": Sample("x+", "x+", None, "("),
    "int": Sample("7", 7, "7.5", True),
    "int bytes": Sample("7", 7, "0x7", "7"),
    "int ms": Sample("7", 7, "-1", 7.5),
    "int s": Sample("7", 7, "-1", -1),
    "number": Sample("0.5", 0.5, "1.5", 2),
    "number s": Sample("2.5", 2.5, "0", 0),
}
WORDS = {
    "trace_api_version": Sample("V0.5", "v0.5", "v0.7", "v0.3"),
    "trace_propagation_behavior_extract": Sample("Restart", "restart", "stop", "stop"),
    "trace_log_level": Sample("WARN", "warning", "loud", 10),
    "trace_log_file_level": Sample("Error", "error", "loud", "loud"),
    "otel_exporter_otlp_metrics_temporality_preference": Sample("LowMemory", "lowmemory", "none", "none"),
}
OWN = WORDS | {
    "trace_agent_url": Sample("http://h:1/", "http://h:1", "h:1", "h:1"),
    "dogstatsd_url": Sample("/x", "unix:///x", "tcp://x", "tcp://x"),
    "trace_agent_port": Sample("65535", 65535, "65536", 0),
    "dogstatsd_port": Sample("1", 1, "0", 65536),
    "trace_partial_flush_min_spans": Sample("7", 7, "x", 0),
    "trace_x_datadog_tags_max_length": Sample("7", 7, "x", 513),
    "remote_config_poll_interval_seconds": Sample("-2.5", 2.5, "0", 5.1),
    "telemetry_heartbeat_interval": Sample("-2.5", 2.5, "0", 0),
    "trace_baggage_tag_keys": Sample("b, a", ("b", "a"), None, [1]),
    "trace_org_guard_trusted_opms": Sample("b, a", ("b", "a"), None, 1),
    "trace_rate_limit": Sample("-7", -7, "7.5", 7.5),
}


def sample(row) -> Sample:
    if row.name in OWN:
        return OWN[row.name]
    if row.kind.label.startswith("one of"):
        protocol = "http/protobuf" in row.kind.label
        return Sample("HTTP/JSON", "http/json", "x", "x") if protocol else Sample("OTLP", "otlp", None, "x")
    return KINDS[row.kind.label]


FROM_ENV = [row for row in SETTINGS if row.env and not row.env.startswith("_DD_SC_")]
by_name = pytest.mark.parametrize("row", FROM_ENV, ids=[row.name for row in FROM_ENV])


@by_name
def test_nothing_set_gives_the_default(load, row):
    """Without any source a setting has its default, and nothing is warned about."""
    config = load()
    assert config.values(row.name)[0] == (row.default, "default")
    assert not config.is_set(row.name)
    assert config.warnings == ()


@by_name
def test_a_valid_text_counts(load, row):
    """A valid text is used under every name of the setting, the names in their order."""
    expected = sample(row)
    for variable in row.env_names:
        found = load({variable: expected.text}).found(row.name)
        last = next(one for one in reversed(found) if one.origin == "env_var")
        assert (last.value, last.raw) == (expected.value, expected.text)
    names = list(row.env_names)
    for first, second in itertools.pairwise(names):
        config = load({first: expected.text, second: "1" if expected.text != "1" else "2"})
        assert config.found(row.name)[-1].value == expected.value


@by_name
def test_an_invalid_text_costs_one_warning_and_the_next_source_counts(load, row):
    """An invalid text is warned about once, by name, and the local file counts instead."""
    expected = sample(row)
    if expected.bad is None:
        return
    local = f"apm_configuration_default: {{{row.env}: '{expected.text}'}}"
    config = load({row.env: expected.bad}, local=local)
    assert config.found(row.name)[1][:2] == (expected.value, "local_stable_config")
    shown = "<hidden>" if row.secret else repr(expected.bad)
    assert [text.startswith(f"{row.env}={shown} is ignored: ") for text in config.warnings].count(True) == 1


@by_name
def test_an_empty_text_is_unset_unless_it_means_something(load, row):
    """An empty text is no value, except where the setting gives it a meaning."""
    config = load({row.env: ""})
    assert config.is_set(row.name) is row.kind.keeps_empty
    assert config.warnings == ()


@by_name
def test_code_wins_and_is_checked(load, row):
    """A value in code beats the environment under each of its names; a wrong one raises and names the setting."""
    expected = sample(row)
    for name in (row.name, *row.code_aliases):
        config = load({row.env: expected.text}, code={name: expected.value})
        assert (expected.value, "code") in config.values(row.name)
        with pytest.raises(ConfigurationError, match=f"^{name} ") as caught:
            load(code={name: expected.bad_code})
        assert not row.secret or "got" not in str(caught.value)


@by_name
def test_fleet_file_beats_environment_beats_local_file(load, row):
    """The sources rank as specified for every setting."""
    text = f"apm_configuration_default: {{{row.env}: '{sample(row).text}'}}"
    found = load({row.env: sample(row).text}, fleet=text, local=text).found(row.name)
    origins = [one.origin for one in found if one.origin != "calculated"]
    assert origins == ["default", "local_stable_config", "env_var", "fleet_stable_config"]


def test_names_are_unique_and_follow_the_rule():
    """Code names are the environment names without prefix, and no name belongs to two settings by accident."""
    assert all(row.name == code_name(row.env) for row in SETTINGS if row.env)
    assert len({row.name for row in SETTINGS}) == len(SETTINGS)
    shared = [name for row in SETTINGS for name in row.env_names]
    assert {name for name in shared if shared.count(name) > 1} == {"DD_AGENT_PORT"}
    assert (code_name("_DD_TRACE_X"), code_name("OTEL_X")) == ("trace_x", "otel_x")


def test_every_setting_has_a_field_and_a_keyword():
    """The typed fields of `Config` and the keywords of `Settings` are those of the rows."""
    fields = {name for cls in Config.__mro__ for name in getattr(cls, "__slots__", ())}
    assert {row.name for row in SETTINGS} <= fields
    assert set(Settings.__annotations__) == set(CODE_NAMES)


def test_the_specified_variables_are_all_there():
    """Every variable that spec/configuration.md names in §8 and §9 is a row or an alias."""
    named = [
        "DD_TRACE_ENABLED",
        "DD_SERVICE",
        "DD_ENV",
        "DD_VERSION",
        "DD_TAGS",
        "DD_SERVICE_MAPPING",
        "DD_TRACE_OTEL_ENABLED",
        "DD_TRACE_OTEL_SEMANTICS_ENABLED",
        "DD_TRACE_METHODS",
        "DD_APM_TRACING_ENABLED",
        "DD_HOSTNAME",
        "DD_TRACE_REPORT_HOSTNAME",
        "DD_SITE",
        "DD_API_KEY",
        "DD_EXPERIMENTAL_PROPAGATE_PROCESS_TAGS_ENABLED",
        "DD_TRACE_GIT_METADATA_ENABLED",
        "DD_GIT_REPOSITORY_URL",
        "DD_GIT_COMMIT_SHA",
        "DD_MAIN_PACKAGE",
        "DD_EXTERNAL_ENV",
        "DD_ENTITY_ID",
        "DD_TRACE_AGENT_URL",
        "DD_AGENT_HOST",
        "DD_TRACE_AGENT_PORT",
        "DD_TRACE_AGENT_HOSTNAME",
        "DD_AGENT_PORT",
        "DD_TRACE_AGENT_TIMEOUT_SECONDS",
        "DD_DOGSTATSD_HOST",
        "DD_DOGSTATSD_PORT",
        "DD_DOGSTATSD_URL",
        "DD_DOGSTATSD_DISABLE",
        "DD_TRACE_API_VERSION",
        "DD_TRACE_AGENT_PROTOCOL_VERSION",
        "DD_TRACE_NATIVE_SPAN_EVENTS",
        "DD_TRACE_PARTIAL_FLUSH_ENABLED",
        "DD_TRACE_PARTIAL_FLUSH_MIN_SPANS",
        "DD_TRACE_WRITER_INTERVAL_SECONDS",
        "DD_TRACE_WRITER_BUFFER_SIZE_BYTES",
        "DD_TRACE_WRITER_MAX_PAYLOAD_SIZE_BYTES",
        "DD_TRACE_WRITER_REUSE_CONNECTIONS",
        "DD_TRACE_HEALTH_METRICS_ENABLED",
        "DD_TRACE_SPAN_TRACEBACK_MAX_SIZE",
        "DD_TRACE_SAMPLE_RATE",
        "DD_TRACE_SAMPLING_RULES",
        "DD_TRACE_RATE_LIMIT",
        "DD_SPAN_SAMPLING_RULES",
        "DD_SPAN_SAMPLING_RULES_FILE",
        "DD_TRACE_PROPAGATION_STYLE",
        "DD_TRACE_PROPAGATION_STYLE_EXTRACT",
        "DD_TRACE_PROPAGATION_STYLE_INJECT",
        "DD_TRACE_PROPAGATION_EXTRACT_FIRST",
        "DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT",
        "DD_TRACE_PROPAGATION_HTTP_BAGGAGE_ENABLED",
        "DD_TRACE_X_DATADOG_TAGS_MAX_LENGTH",
        "DD_TRACE_BAGGAGE_MAX_ITEMS",
        "DD_TRACE_BAGGAGE_MAX_BYTES",
        "DD_TRACE_BAGGAGE_TAG_KEYS",
        "DD_TRACE_128_BIT_TRACEID_GENERATION_ENABLED",
        "DD_TRACE_128_BIT_TRACEID_LOGGING_ENABLED",
        "DD_TRACE_ORG_GUARD_ENABLED",
        "DD_TRACE_ORG_GUARD_STRICT",
        "DD_TRACE_ORG_GUARD_TRUSTED_OPMS",
        "DD_TRACE_HEADER_TAGS",
        "DD_TRACE_HTTP_SERVER_ERROR_STATUSES",
        "DD_TRACE_HTTP_CLIENT_ERROR_STATUSES",
        "DD_TRACE_HTTP_CLIENT_TAG_QUERY_STRING",
        "DD_HTTP_SERVER_TAG_QUERY_STRING",
        "DD_TRACE_OBFUSCATION_QUERY_STRING_REGEXP",
        "DD_TRACE_PEER_SERVICE_DEFAULTS_ENABLED",
        "DD_TRACE_PEER_SERVICE_MAPPING",
        "DD_TRACE_WRAP_SPAN_NAME_INCLUDE_CLASS",
        "DD_TRACE_DEBUG",
        "DD_TRACE_LOG_LEVEL",
        "DD_LOG_LEVEL",
        "DD_TRACE_STARTUP_LOGS",
        "DD_TRACE_LOG_STREAM_HANDLER",
        "DD_TRACE_LOG_FILE",
        "DD_TRACE_LOG_FILE_LEVEL",
        "DD_TRACE_LOG_FILE_SIZE_BYTES",
        "DD_TRACE_LOG_DIRECTORY",
        "DD_TRACE_LOGGING_RATE",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED",
        "DD_TELEMETRY_HEARTBEAT_INTERVAL",
        "DD_TELEMETRY_EXTENDED_HEARTBEAT_INTERVAL",
        "DD_TELEMETRY_METRICS_AGGREGATION_INTERVAL",
        "DD_TELEMETRY_LOG_COLLECTION_ENABLED",
        "DD_TELEMETRY_DEPENDENCY_COLLECTION_ENABLED",
        "DD_TELEMETRY_METRICS_ENABLED",
        "DD_INTERNAL_TELEMETRY_DEBUG_ENABLED",
        "DD_APM_TELEMETRY_DD_URL",
        "DD_INSTRUMENTATION_INSTALL_ID",
        "DD_INSTRUMENTATION_INSTALL_TYPE",
        "DD_INSTRUMENTATION_INSTALL_TIME",
        "DD_INJECTION_ENABLED",
        "DD_INJECT_FORCE",
        "DD_REMOTE_CONFIGURATION_ENABLED",
        "DD_REMOTE_CONFIG_ENABLED",
        "DD_REMOTE_CONFIG_POLL_INTERVAL_SECONDS",
        "DD_REMOTECONFIG_POLL_SECONDS",
        "DD_TRACE_STATS_COMPUTATION_ENABLED",
        "DD_TRACE_COMPUTE_STATS",
        "DD_TRACE_STATS_COMPUTATION_IGNORE_AGENT_VERSION",
        "DD_TRACE_STATS_ADDITIONAL_TAGS",
        "DD_TRACE_STATS_CARDINALITY_LIMIT",
        "DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT",
        "DD_TRACE_STATS_HTTP_ENDPOINT_CARDINALITY_LIMIT",
        "DD_TRACE_STATS_PEER_TAGS_CARDINALITY_LIMIT",
        "DD_TRACE_STATS_ADDITIONAL_TAGS_CARDINALITY_LIMIT",
        "OTEL_TRACES_SPAN_METRICS_ENABLED",
        "_DD_TRACE_STATS_COMPUTATION_EXPERIMENTAL_CLIENT_OBFUSCATION_ENABLED",
        "_DD_TRACE_STATS_WRITER_INTERVAL",
        "_DD_TRACE_METRICS_OTEL_FLUSH_INTERVAL",
        "_DD_TRACE_WRITER_LOG_ERROR_PAYLOADS",
        "_DD_TRACE_WRITER_ADDITIONAL_HEADERS",
        "_DD_APM_TRACING_AGENTLESS_ENABLED",
        "_DD_SC_LOCAL_FILE_OVERRIDE",
        "_DD_SC_MANAGED_FILE_OVERRIDE",
        "_DD_ROOT_PY_SESSION_ID",
        "_DD_PARENT_PY_SESSION_ID",
        "_DD_DIRECT_SUBMISSION_ENABLED",
        "DD_PROFILING_ENABLED",
        "DD_APPSEC_ENABLED",
        "DD_APPSEC_SCA_ENABLED",
        "DD_DATA_STREAMS_ENABLED",
        "DD_DYNAMIC_INSTRUMENTATION_ENABLED",
        "DD_RUNTIME_METRICS_ENABLED",
        "DD_TRACE_CLIENT_IP_ENABLED",
        "DD_TRACE_CLIENT_IP_HEADER",
        "DD_TRACE_SPAN_ATTRIBUTE_SCHEMA",
        "DD_TRACE_REMOVE_INTEGRATION_SERVICE_NAMES_ENABLED",
        "DD_TRACE_EXPERIMENTAL_FEATURES_ENABLED",
        "DD_TRACE_RESOURCE_RENAMING_ENABLED",
        "DD_TRACE_OTEL_CTX_ENABLED",
        "DD_CRASHTRACKING_ENABLED",
        "DD_METRICS_OTEL_ENABLED",
        "DD_LOGS_OTEL_ENABLED",
        "DD_LOGS_INJECTION",
        "OTEL_METRICS_EXPORTER",
        "OTEL_LOGS_EXPORTER",
        "OTEL_TRACES_EXPORTER",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_METRIC_EXPORT_TIMEOUT",
    ]
    signals = ("TRACES", "METRICS", "LOGS")
    parts = ("PROTOCOL", "ENDPOINT", "HEADERS", "TIMEOUT")
    named += [f"OTEL_EXPORTER_OTLP_{signal}_{part}" for signal in signals for part in parts]
    assert set(named) == {*BY_ENV, *WITHOUT_EFFECT}


CORRECTED = [
    ("DD_TRACE_PARTIAL_FLUSH_MIN_SPANS", "0", 1),
    ("DD_TRACE_X_DATADOG_TAGS_MAX_LENGTH", "-1", 0),
    ("DD_TRACE_X_DATADOG_TAGS_MAX_LENGTH", "600", 512),
    ("DD_REMOTE_CONFIG_POLL_INTERVAL_SECONDS", "60", 5),
    ("DD_TRACE_PROPAGATION_STYLE", "foo", STYLES),
    ("DD_TRACE_PROPAGATION_STYLE", "foo,b3", ("b3",)),
    ("DD_TRACE_PROPAGATION_STYLE_EXTRACT", "foo", ()),
    ("DD_TRACE_HTTP_SERVER_ERROR_STATUSES", "500,x", ((500, 500),)),
    ("DD_TRACE_STATS_ADDITIONAL_TAGS", "e,d,c,b,a,a", ("a", "b", "c", "d")),
    ("DD_TRACE_OBFUSCATION_QUERY_STRING_REGEXP", "(", None),
    ("DD_LOGS_INJECTION", "perhaps", False),
]


@pytest.mark.parametrize(("variable", "text", "value"), CORRECTED)
def test_a_corrected_value_is_used_with_one_warning(load, variable, text, value):
    """What can be used after clamping or dropping a part is used, with one warning."""
    config = load(
        {variable: text}, local=f"apm_configuration_default: {{{variable}: true}}" if text == "perhaps" else None
    )
    assert getattr(config, BY_ENV[variable].name) == value
    assert len(config.warnings) == 1
    assert config.warnings[0].startswith(f"{variable}={text!r} ")


STYLE_CASES = [
    ({}, STYLES, STYLES),
    ({"DD_TRACE_PROPAGATION_STYLE": ""}, STYLES, STYLES),
    ({"DD_TRACE_PROPAGATION_STYLE": "none"}, (), ()),
    ({"DD_TRACE_PROPAGATION_STYLE": "none,B3 single header"}, ("b3",), ("b3",)),
    ({"DD_TRACE_PROPAGATION_STYLE": "b3", "DD_TRACE_PROPAGATION_STYLE_INJECT": "datadog"}, ("b3",), ("datadog",)),
    ({"DD_TRACE_PROPAGATION_STYLE_EXTRACT": ""}, (), STYLES),
    ({"DD_TRACE_PROPAGATION_STYLE_INJECT": "none"}, STYLES, ()),
    ({"DD_TRACE_PROPAGATION_STYLE_INJECT": "none", "OTEL_PROPAGATORS": "b3"}, ("b3",), ()),
]


@pytest.mark.parametrize(("environ", "extract", "inject"), STYLE_CASES)
def test_styles_are_resolved_for_each_direction(load, environ, extract, inject):
    """Each direction takes its own variable, the common one, OpenTelemetry's, or the default."""
    config = load(environ)
    assert (config.trace_propagation_style_extract, config.trace_propagation_style_inject) == (extract, inject)
    assert config.warnings == ()


def test_a_direction_reports_the_origin_of_the_common_styles(load):
    """A direction without its own styles has the origin of the common ones."""
    config = load({"DD_TRACE_PROPAGATION_STYLE": "b3"})
    assert config.origin("trace_propagation_style_inject") == "env_var"
    assert load().origin("trace_propagation_style_inject") == "default"


CODE_FORMS = [
    ("trace_log_file", Path("x"), "x"),
    ("trace_http_server_error_statuses", [404, (599, 500)], ((404, 404), (500, 599))),
    ("trace_http_server_error_statuses", "404", ((404, 404),)),
    ("propagation_style", "b3", ("b3",)),
    ("propagation_style", [], ()),
    ("tags", "a:b c:d", {"a": "b", "c": "d"}),
    ("otel_exporter_otlp_headers", "a=b%20c", {"a": "b c"}),
    ("sampling_rules", '[{"sample_rate": 1}]', ({"sample_rate": 1},)),
    ("span_sampling_rules", [{"name": "x"}], ({"name": "x"},)),
    ("trace_obfuscation_query_string_regexp", "", ""),
    ("logs_injection", "structured", True),
    ("logs_injection", False, False),
    ("agent_host", "[::1]", "::1"),
    ("telemetry_heartbeat_interval", -3, 3.0),
    ("trace_filters", [len], (len,)),
    ("span_processors", ["p"], ("p",)),
    ("redact", max, max),
    ("ignore_exceptions", KeyError, (KeyError,)),
    ("ignore_exceptions", [KeyError, "click.exceptions.Exit"], (KeyError, "click.exceptions.Exit")),
    ("ignore_exceptions", "click.exceptions.Exit", ("click.exceptions.Exit",)),
    ("sampler", STYLES, STYLES),
]


@pytest.mark.parametrize(("name", "given", "value"), CODE_FORMS)
def test_values_in_code_come_in_several_forms(load, name, given, value):
    """Code may give texts as in the environment, or Python's own types."""
    config = load(code={name: given})
    assert getattr(config, CODE_NAMES[name]) == value


class BytesPath(os.PathLike):
    """A path that is not text."""

    def __fspath__(self):
        return b"x"


BAD_CODE = [
    ("trace_filters", [1]),
    ("trace_filters", "text"),
    ("span_processors", 1),
    ("redact", 1),
    ("ignore_exceptions", 1),
    ("ignore_exceptions", [int]),
    ("ignore_exceptions", [""]),
    ("trace_log_file", b"x"),
    ("trace_log_file", BytesPath()),
    ("tags", {1: "a"}),
    ("propagation_style", 1),
    ("trace_agent_timeout_seconds", float("nan")),
    ("trace_agent_timeout_seconds", "2"),
    ("trace_http_server_error_statuses", 500),
    ("trace_http_server_error_statuses", "500,x"),
    ("sampling_rules", [{"service": "x"}]),
    ("sampling_rules", 5),
    ("trace_stats_additional_tags", ["a", "b", "c", "d", "e"]),
    ("trace_writer_synchronous_timeout", 0),
]


@pytest.mark.parametrize(("name", "given"), BAD_CODE)
def test_wrong_values_in_code_raise(load, name, given):
    """A value of the wrong type, out of range, or one that would be corrected raises at once."""
    with pytest.raises(ConfigurationError, match=f"^{name} "):
        load(code={name: given})


def test_a_rule_object_is_accepted_in_code(load):
    """Rules may be objects that have a sample rate."""

    class Rule:
        sample_rate = 0.25

    rule = Rule()
    config = load(code={"sampling_rules": [rule]})
    assert config.trace_sampling_rules == (rule,)
    assert config.snapshot()["dd_trace_sample_rate"] == "0.25"


def test_deprecated_names_are_warned_about(load):
    """The old name of a setting works, with a warning that names the new one."""
    config = load({"DD_REMOTE_CONFIG_ENABLED": "false"})
    assert config.remote_configuration_enabled is False
    assert config.warnings == ("DD_REMOTE_CONFIG_ENABLED is deprecated: use DD_REMOTE_CONFIGURATION_ENABLED",)


def test_an_alias_counts_when_the_canonical_name_is_unusable(load):
    """An unusable canonical name is warned about, then its alias counts."""
    config = load({"DD_TRACE_AGENT_PORT": "x", "DD_AGENT_PORT": "7"})
    assert config.trace_agent_port == 7
    assert len(config.warnings) == 1


def test_one_bad_text_shared_by_two_settings_is_warned_about_once(load):
    """A variable that stands in for two settings costs one warning."""
    assert len(load({"DD_AGENT_PORT": "x"}).warnings) == 1


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_a_variable_without_effect_is_reported_and_refused_in_code(load, name):
    text = f"apm_configuration_default: {{{name}: 'file'}}"
    assert load().without_effect == {}
    assert load({name: " "}).without_effect == {}
    assert load(local=text).without_effect[name][:2] == ("file", "local_stable_config")
    assert load({name: "x"}, local=text).without_effect[name][:2] == ("x", "env_var")
    assert load({name: "x"}, fleet=text).without_effect[name][:2] == ("file", "fleet_stable_config")
    config = load({name: "x"})
    assert (config.warnings, config.notes) == ((), ())
    with pytest.raises(ConfigurationError, match="unknown setting"):
        load(code={code_name(name): "x"})
