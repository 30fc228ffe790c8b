"""The whole configuration: construction, precedence, views, and what settings do to one another."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import subprocess
import sys

import pytest

from ddtrace_manual.config import Config
from ddtrace_manual.exceptions import ConfigurationError


def test_construction_reads_the_process(monkeypatch, tmp_path):
    """`Config(...)` resolves code, the process environment and the command line at once."""
    monkeypatch.setenv("DD_ENV", "from-env")
    monkeypatch.setenv("_DD_SC_LOCAL_FILE_OVERRIDE", str(tmp_path / "none"))
    monkeypatch.setenv("_DD_SC_MANAGED_FILE_OVERRIDE", str(tmp_path / "none"))
    config = Config(service="x", sample_rate=0.5)
    monkeypatch.setenv("DD_ENV", "changed")
    assert (config.service, config.env, config.trace_sample_rate) == ("x", "from-env", 0.5)
    assert config.evolve(version="1").env == "from-env"


def test_a_config_cannot_be_changed(load):
    """Fields cannot be set, and no field can be added."""
    config = load()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.service = "x"
    assert not hasattr(config, "__dict__")


def test_mutable_values_belong_to_one_config(load):
    """Changing a returned mapping changes neither defaults nor other configurations."""
    load().tags["x"] = "y"
    load().service_mapping["x"] = "y"
    assert (load().tags, load().service_mapping) == ({}, {})


def test_unknown_names_raise_with_a_suggestion(load):
    """An unknown name raises and suggests the nearest one, if any is near."""
    with pytest.raises(ConfigurationError, match=r"^unknown setting sampel_rate; did you mean sample_rate\?$"):
        load(code={"sampel_rate": 1})
    with pytest.raises(ConfigurationError, match=r"^unknown setting qqqqqq$"):
        load(code={"qqqqqq": 1})


def test_one_setting_given_under_two_names_raises(load):
    """A setting may be given under one name only."""
    with pytest.raises(ConfigurationError, match="trace_sample_rate is given twice"):
        load(code={"sample_rate": 1, "trace_sample_rate": 1})


def test_a_long_wrong_value_is_cut(load):
    """Errors and warnings quote at most two hundred characters."""
    with pytest.raises(ConfigurationError) as caught:
        load(code={"trace_rate_limit": "x" * 5000})
    assert len(str(caught.value)) < 300
    assert len(load({"DD_TRACE_RATE_LIMIT": "x" * 5000}).warnings[0]) < 300


def test_evolving_adds_code_values(load):
    """`evolve` keeps earlier code values and everything read, and leaves the original alone."""
    config = load({"DD_VERSION": "1"}, code={"service": "a", "env": "b"})
    other = config.evolve(service="c", rate_limit=None)
    assert (other.service, other.env, other.version) == ("c", "b", "1")
    assert config.service == "a"
    with pytest.raises(ConfigurationError):
        config.evolve(nonsense=1)


def test_remote_values_win_and_are_reverted(load):
    """Remote values beat code until they are removed; identity does not follow remote tags."""
    config = load({"DD_TAGS": "a:b,env:e"}, code={"trace_sample_rate": 0.1})
    remote = config.with_remote({"trace_sample_rate": 0.5, "tags": {"service": "r", "env": "r", "x": "y"}}, "7")
    assert (remote.trace_sample_rate, remote.env) == (0.5, "e")
    assert remote.tags == {"env": "e", "x": "y"}
    assert remote.service == config.service
    assert remote.found("trace_sample_rate")[-1] == (0.5, "remote_config", None, "7")
    assert remote.snapshot()["dd_trace_sample_rate"] == "0.5"
    stored = remote.evolve(trace_sample_rate=0.2)
    assert stored.trace_sample_rate == 0.5
    assert stored.with_remote({}).trace_sample_rate == 0.2
    assert config.trace_sample_rate == 0.1


@pytest.mark.parametrize(("local", "remote", "enabled"), [("false", True, False), ("true", False, False)])
def test_remote_configuration_never_enables_tracing(load, local, remote, enabled):
    """Tracing that is off locally stays off; a remote `false` switches it off."""
    assert load({"DD_TRACE_ENABLED": local}).with_remote({"trace_enabled": remote}).trace_enabled is enabled


SNAPSHOT = {
    "dd_service": "unnamed-python-service",
    "dd_env": None,
    "dd_version": None,
    "dd_tags": "",
    "dd_trace_enabled": "true",
    "dd_trace_debug": "false",
    "dd_trace_otel_enabled": "true",
    "dd_runtime_metrics_enabled": "false",
    "dd_logs_injection": "true",
    "dd_profiling_enabled": "false",
    "dd_data_streams_enabled": "false",
    "dd_trace_sample_rate": "1.0",
    "dd_trace_rate_limit": "100",
    "dd_trace_propagation_style": "datadog,tracecontext,baggage",
    "dd_trace_agent_url": "http://localhost:8126",
    "dd_dogstatsd_host": "localhost",
    "dd_dogstatsd_port": "8125",
    "dd_log_level": None,
    "dd_trace_sample_ignore_parent": "false",
}

CHANGED = [
    ({}, {}),
    ({"DD_SERVICE": "s", "DD_ENV": "e", "DD_VERSION": "v"}, {"dd_service": "s", "dd_env": "e", "dd_version": "v"}),
    ({"DD_TAGS": "b:1 a:2"}, {"dd_tags": "b:1,a:2"}),
    ({"OTEL_RESOURCE_ATTRIBUTES": "foo=bar1,baz=qux1"}, {"dd_tags": "foo:bar1,baz:qux1"}),
    ({"DD_TRACE_ENABLED": "0"}, {"dd_trace_enabled": "false"}),
    ({"DD_TRACE_DEBUG": "1", "OTEL_LOG_LEVEL": "error"}, {"dd_trace_debug": "true", "dd_log_level": "error"}),
    ({"DD_TRACE_OTEL_ENABLED": "0"}, {"dd_trace_otel_enabled": "false"}),
    ({"DD_RUNTIME_METRICS_ENABLED": "1"}, {"dd_runtime_metrics_enabled": "true"}),
    ({"DD_LOGS_INJECTION": "0"}, {"dd_logs_injection": "false"}),
    ({"DD_PROFILING_ENABLED": "1"}, {"dd_profiling_enabled": "true"}),
    ({"DD_DATA_STREAMS_ENABLED": "1"}, {"dd_data_streams_enabled": "true"}),
    ({"DD_TRACE_SAMPLE_RATE": "0.5"}, {"dd_trace_sample_rate": "0.5"}),
    ({"DD_TRACE_SAMPLE_RATE": "1e-06"}, {"dd_trace_sample_rate": "1e-06"}),
    (
        {"DD_TRACE_SAMPLING_RULES": '[{"sample_rate":0.1},{"sample_rate":"0.2"},{"sample_rate":0.3,"name":"x"},1]'},
        {"dd_trace_sample_rate": "0.2"},
    ),
    ({"DD_TRACE_SAMPLING_RULES": '[{"sample_rate":"x"},{"sample_rate":true},{}]'}, {}),
    ({"DD_TRACE_SAMPLING_RULES": '[{"sample_rate":2}]'}, {"dd_trace_sample_rate": "1.0"}),
    ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, {"dd_trace_sample_rate": "0.0"}),
    ({"DD_TRACE_SAMPLE_RATE": "1", "DD_TRACE_RATE_LIMIT": "7"}, {"dd_trace_rate_limit": "7"}),
    ({"DD_TRACE_PROPAGATION_STYLE_EXTRACT": "B3"}, {"dd_trace_propagation_style": "b3"}),
    ({"DD_TRACE_AGENT_URL": "http://h:1"}, {"dd_trace_agent_url": "http://h:1"}),
    ({"DD_LOG_LEVEL": "WARN"}, {"dd_log_level": "warning"}),
]


@pytest.mark.parametrize(("environ", "changed"), CHANGED)
def test_the_snapshot_shows_the_values_in_effect(load, environ, changed):
    """The snapshot has exactly the specified keys and forms."""
    snapshot = load(environ).snapshot()
    assert snapshot == SNAPSHOT | changed
    assert list(snapshot) == list(SNAPSHOT)


def test_repr_shows_what_is_set_and_hides_secrets(load):
    """`repr` names settings that differ from the default, without secrets."""
    environ = {"DD_API_KEY": "s3cret", "OTEL_EXPORTER_OTLP_HEADERS": "k=s3cret", "DD_ENV": "prod"}
    shown = repr(load({**environ, "_DD_TRACE_WRITER_ADDITIONAL_HEADERS": "k:s3cret"}))
    assert "env='prod'" in shown
    assert "api_key=<hidden>" in shown
    assert "s3cret" not in shown
    assert "trace_rate_limit" not in shown


def test_secrets_are_hidden_in_warnings(load):
    """A wrong value of a secret setting is not quoted."""
    config = load({"OTEL_EXPORTER_OTLP_HEADERS": "s3cret"})
    assert config.warnings == (
        "OTEL_EXPORTER_OTLP_HEADERS=<hidden> is ignored: every piece must have the form key=value",
    )


def test_warnings_and_notes_are_logged_on_request(load, caplog):
    """`log_warnings` writes warnings at WARNING and notes at DEBUG; loading writes nothing."""
    caplog.set_level(logging.DEBUG, logger="ddtrace_manual")
    config = load({"DD_TRACE_DEBUG": "x%s", "DD_NO_SUCH_THING": "1", "_DD_NEITHER": "1"})
    assert caplog.records == []
    config.log_warnings()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "ddtrace_manual.config",
            "WARNING",
            "DD_TRACE_DEBUG='x%s' is ignored: must be true, 1, false or 0",
        ),
        ("ddtrace_manual.config", "DEBUG", "DD_NO_SUCH_THING is not supported and has no effect"),
        ("ddtrace_manual.config", "DEBUG", "_DD_NEITHER is not supported and has no effect"),
    ]


def test_a_wrong_value_falls_to_the_next_source(load):
    """An unusable variable uncovers the local file, then the default."""
    local = "apm_configuration_default: {DD_TRACE_RATE_LIMIT: 50}"
    assert load({"DD_TRACE_RATE_LIMIT": "abc"}, local=local).trace_rate_limit == 50
    assert load({"DD_TRACE_RATE_LIMIT": "abc"}).trace_rate_limit == 100


@pytest.mark.parametrize(
    ("environ", "explicit", "warnings"),
    [
        ({}, False, 0),
        ({"DD_TRACE_RATE_LIMIT": "3"}, True, 1),
        ({"DD_TRACE_RATE_LIMIT": "3", "DD_TRACE_SAMPLE_RATE": "1"}, True, 0),
        ({"DD_TRACE_RATE_LIMIT": "3", "DD_TRACE_SAMPLING_RULES": '[{"sample_rate":1}]'}, True, 0),
        ({"DD_TRACE_RATE_LIMIT": "3", "OTEL_TRACES_SAMPLER": "parentbased_always_on"}, True, 0),
    ],
)
def test_a_rate_limit_without_rules_is_warned_about(load, environ, explicit, warnings):
    """A limit counts as explicit when anybody set it, and is warned about when nothing asks it."""
    config = load(environ)
    assert (config.rate_limit_is_explicit, len(config.warnings)) == (explicit, warnings)


def test_agentless_mode_switches_others(load):
    """Without an Agent statistics and health metrics are off and the host name is reported."""
    environ = {
        "_DD_APM_TRACING_AGENTLESS_ENABLED": "1",
        "DD_TRACE_STATS_COMPUTATION_ENABLED": "1",
        "DD_TRACE_HEALTH_METRICS_ENABLED": "1",
        "DD_HOSTNAME": "h",
    }
    config = load({**environ, "DD_API_KEY": "k"})
    assert (config.apm_tracing_agentless_enabled, config.trace_stats_computation_enabled) == (True, False)
    assert (config.trace_health_metrics_enabled, config.hostname) == (False, "h")
    assert config.origin("trace_stats_computation_enabled") == "calculated"
    config = load(environ)
    assert (config.apm_tracing_agentless_enabled, config.trace_stats_computation_enabled) == (False, True)
    assert config.warnings == ("_DD_APM_TRACING_AGENTLESS_ENABLED=true is ignored: DD_API_KEY is unset",)


SWITCHES = [
    ({"DD_METRICS_OTEL_ENABLED": "1", "OTEL_METRICS_EXPORTER": "none"}, "metrics_otel_enabled", False),
    ({"DD_METRICS_OTEL_ENABLED": "1", "OTEL_METRICS_EXPORTER": "otlp"}, "metrics_otel_enabled", True),
    ({"DD_LOGS_OTEL_ENABLED": "1", "OTEL_LOGS_EXPORTER": "none"}, "logs_otel_enabled", False),
    ({"DD_LOGS_OTEL_ENABLED": "1", "OTEL_SDK_DISABLED": "true"}, "logs_otel_enabled", True),
    ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp_traces_enabled", True),
    ({"OTEL_TRACES_EXPORTER": "otlp", "DD_TRACE_AGENT_PROTOCOL_VERSION": "0.4"}, "otlp_traces_enabled", False),
    ({"OTEL_TRACES_EXPORTER": "otlp"}, "span_metrics_enabled", False),
    ({"OTEL_TRACES_EXPORTER": "otlp", "DD_METRICS_OTEL_ENABLED": "1"}, "span_metrics_enabled", True),
    ({"OTEL_TRACES_SPAN_METRICS_ENABLED": "true"}, "span_metrics_enabled", True),
    ({"OTEL_TRACES_SPAN_METRICS_ENABLED": "true", "DD_TRACE_ENABLED": "0"}, "span_metrics_enabled", False),
    ({"OTEL_TRACES_SPAN_METRICS_ENABLED": "true", "DD_APM_TRACING_ENABLED": "0"}, "span_metrics_enabled", False),
    ({"DD_TRACE_AGENT_PROTOCOL_VERSION": "0.5"}, "trace_api_version", "v0.5"),
    ({"DD_TRACE_AGENT_PROTOCOL_VERSION": "0.5", "DD_TRACE_API_VERSION": "v0.4"}, "trace_api_version", "v0.4"),
    ({"DD_TRACE_AGENT_PROTOCOL_VERSION": "9"}, "trace_api_version", "v0.4"),
    ({"DD_TELEMETRY_HEARTBEAT_INTERVAL": "3"}, "telemetry_metrics_aggregation_interval", 3.0),
    ({"DD_TELEMETRY_HEARTBEAT_INTERVAL": "30"}, "telemetry_metrics_aggregation_interval", 10.0),
    ({"DD_TRACE_LOG_LEVEL": "OFF"}, "library_log_level", logging.CRITICAL + 10),
    ({"DD_TRACE_LOG_LEVEL": "OFF", "DD_TRACE_DEBUG": "1"}, "library_log_level", logging.DEBUG),
    ({}, "library_log_level", None),
    ({"DD_TRACE_HEADER_TAGS": "User-Agent:ua,Content-Type."}, "header_tags", {"user-agent": "ua", "content-type.": ""}),
    ({"DD_EXTERNAL_ENV": "x"}, "dd_external_env", "x"),
]


@pytest.mark.parametrize(("environ", "name", "value"), SWITCHES)
def test_fields_that_depend_on_several_settings(load, environ, name, value):
    """Resolved fields need nothing but themselves to be read."""
    config = load(environ)
    assert getattr(config, name) == value
    assert config.warnings == ()


def test_span_events_cannot_be_native_in_v05(load):
    """The format that has no field for events wins over the wish for them, with a warning."""
    config = load({"DD_TRACE_API_VERSION": "v0.5", "DD_TRACE_NATIVE_SPAN_EVENTS": "true"})
    assert config.trace_api_version == "v0.5"
    assert len(config.warnings) == 1
    assert config.warnings[0].startswith("DD_TRACE_NATIVE_SPAN_EVENTS=true ")


def test_span_rules_may_come_from_a_file(load, tmp_path):
    """A file gives the single-span rules when the variable is unset; the variable wins, with a warning."""
    path = tmp_path / "rules.json"
    path.write_text('[{"name": "x"}]', encoding="utf-8")
    config = load({"DD_SPAN_SAMPLING_RULES_FILE": str(path)})
    assert config.span_sampling_rules == ({"name": "x"},)
    assert (config.origin("span_sampling_rules"), config.warnings) == ("env_var", ())
    config = load({"DD_SPAN_SAMPLING_RULES_FILE": str(path), "DD_SPAN_SAMPLING_RULES": '[{"name": "y"}]'})
    assert config.span_sampling_rules == ({"name": "y"},)
    assert len(config.warnings) == 1


@pytest.mark.parametrize("content", [None, b"{}", b"[", b"\xff"])
def test_an_unusable_file_of_span_rules_costs_one_warning(load, tmp_path, content):
    """A missing or wrong file means no rules and one warning."""
    path = tmp_path / "rules.json"
    if content is not None:
        path.write_bytes(content)
    config = load({"DD_SPAN_SAMPLING_RULES_FILE": str(path)})
    assert config.span_sampling_rules == ()
    assert len(config.warnings) == 1
    assert "DD_SPAN_SAMPLING_RULES_FILE=" in config.warnings[0]


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"DD_TRACE_STATS_CARDINALITY_LIMIT": "0"}, None),
        ({"DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT": "0"}, "DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT=0"),
        ({"DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT": "7000"}, "DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT=7000"),
        ({"DD_TRACE_STATS_CARDINALITY_LIMIT": "1024"}, "DD_TRACE_STATS_RESOURCE_CARDINALITY_LIMIT=1024"),
        ({"DD_TRACE_STATS_CARDINALITY_LIMIT": "2000"}, ""),
    ],
)
def test_odd_statistics_limits_are_accepted_with_a_warning(load, environ, named):
    """Limits of 0, and field limits that the whole limit hides, are accepted and warned about."""
    config = load(environ)
    for variable, text in environ.items():
        assert getattr(config, variable.removeprefix("DD_").lower()) == int(text)
    if named is None:
        assert config.warnings[0].startswith("DD_TRACE_STATS_CARDINALITY_LIMIT=0")
    elif named:
        assert [text.startswith(named) for text in config.warnings] == [True]
    else:
        assert config.warnings == ()


def test_a_removed_working_directory_is_no_error(monkeypatch):
    """A process whose directory is gone can still be configured."""

    def fail():
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.cwd", fail)
    assert Config.load(environ={}, argv=[]).service == "unnamed-python-service"


class NoList:
    """Cannot be iterated over."""

    def __iter__(self):
        raise RuntimeError


@pytest.mark.parametrize("name", ["argv", "orig_argv"])
@pytest.mark.parametrize(
    "value",
    [None, 5, "text", b"bytes", [None, 1, object()], [b"/srv/a\xff.py", "\udcff", "a\0b"], NoList(), {"a": 1}],
    ids=lambda value: type(value).__name__,
)
def test_a_command_line_that_is_no_text_is_no_error(monkeypatch, name, value):
    """Applications set `sys.argv` to anything; what is no text is passed over."""
    monkeypatch.setattr(sys, name, value)
    config = Config()
    assert config.service
    assert isinstance(config.process_tags, str)
    config.process_tags.encode()


def test_arguments_that_are_no_text_keep_their_place(tmp_path):
    """What stands around them is still understood."""
    script = tmp_path / "app" / "main.py"
    script.parent.mkdir()
    script.touch()
    assert Config.load(environ={}, argv=[None, bytes(script)], cwd=str(tmp_path)).service == "app"


def test_an_embedded_interpreter_without_argv_is_no_error(monkeypatch):
    """A process without `sys.argv` can still be configured."""
    monkeypatch.delattr(sys, "argv")
    assert Config.load(environ={"DD_SERVICE": "x"}).service == "x"


def test_a_config_survives_pickling(load):
    """A configuration can be sent to another process."""
    config = Config.load({"service": "x"}, environ={}, argv=[])
    copy = pickle.loads(pickle.dumps(config))
    assert (copy.service, copy.origin("service")) == ("x", "code")


def test_importing_the_configuration_is_light():
    """Importing loads neither HTTP client, nor SDK, nor YAML, nor what only mistakes need."""
    code = (
        "import sys, ddtrace_manual.config\n"
        "print([name for name in ('requests', 'opentelemetry.sdk', 'yaml', 'difflib')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
