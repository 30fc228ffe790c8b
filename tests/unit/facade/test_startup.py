"""The start-up line, and the check whether the Agent can be reached."""

from __future__ import annotations

import datetime as dt
import json
import logging
import subprocess
import sys
import threading

import pytest

import ddtrace_manual as dd
from ddtrace_manual._base.log import DELIVERY
from ddtrace_manual._receiver.server import FakeAgent
from ddtrace_manual._setup import log_handlers as _log_setup
from ddtrace_manual._setup import startup as _diagnostics
from ddtrace_manual.sampling import SamplingRule

CONFIGURATION = "DATADOG TRACER CONFIGURATION - "
UNREACHABLE = "DATADOG TRACER DIAGNOSTIC - Agent not reachable at "
NOBODY = "http://127.0.0.1:9"
FIELDS = [
    "date",
    "os_name",
    "os_version",
    "is_64_bit",
    "architecture",
    "vm",
    "lang",
    "lang_version",
    "pip_version",
    "in_virtual_env",
    "version",
    "agent_url",
    "agent_error",
    "statsd_url",
    "env",
    "service",
    "dd_version",
    "enabled",
    "debug",
    "sample_rate",
    "sampling_rules",
    "global_tags",
    "log_injection_enabled",
    "health_metrics_enabled",
    "runtime_metrics_enabled",
    "partial_flush_enabled",
    "partial_flush_min_spans",
    "propagation_style_inject",
    "propagation_style_extract",
    "remote_config_enabled",
    "telemetry_enabled",
    "stats_computation_enabled",
    "integrations",
    "gitmetadata_enabled",
    "git_repository_url",
    "git_commit_sha",
    "git_main_package",
    "log_level_override",
    "runtime_id",
    "hostname",
]


@pytest.fixture
def setup(caplog, fresh_setup):
    """A process without configuration, whose records are kept."""
    caplog.set_level(logging.INFO, "ddtrace_manual")
    caplog.handler.setLevel(logging.DEBUG)
    yield fresh_setup
    _log_setup.undo_log_settings()  # before the level is restored


def lines(caplog, marker):
    """Return what follows the marker in each record."""
    return [text.split(marker, 1)[1] for text in caplog.messages if marker in text]


def finished(setup):
    """Have the export thread make its first request, which is the check."""
    assert setup._setup.startup_check is not None
    return dd.flush(10.0)


def test_line_has_every_field(setup, caplog, monkeypatch):
    """All fields of the specification are there, with the values in effect."""
    monkeypatch.setenv("DD_TRACE_STATS_COMPUTATION_ENABLED", "false")
    dd.configure(
        service="shop",
        env="prod",
        version="1.2",
        tags={"team": "a", "x": "y"},
        agent_url=NOBODY,
        sample_rate=0.5,
        sampling_rules=[{"sample_rate": 1.0, "service": "s"}, SamplingRule(0.25)],
        propagation_style_inject=["b3", "datadog"],
    )
    (line,) = lines(caplog, CONFIGURATION)
    shown = json.loads(line)
    assert list(shown) == FIELDS
    assert dt.datetime.fromisoformat(shown["date"]).tzinfo is None
    expected = {
        "service": "shop",
        "env": "prod",
        "dd_version": "1.2",
        "global_tags": "team:a,x:y",
        "agent_url": NOBODY,
        "agent_error": None,
        "statsd_url": "udp://localhost:8125",
        "sample_rate": 0.5,
        "propagation_style_inject": "b3,datadog",
        "stats_computation_enabled": False,
        "enabled": True,
        "lang": "python",
        "log_level_override": None,
    }
    assert {name: shown[name] for name in expected} == expected
    assert shown["sampling_rules"][0] == '{"sample_rate": 1.0, "service": "s"}'
    assert "0.25" in shown["sampling_rules"][1]


def test_line_does_not_promise_what_does_not_exist(setup, caplog, monkeypatch):
    """Whatever is configured: telemetry and runtime metrics are not on."""
    for name in (
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED",
        "DD_RUNTIME_METRICS_ENABLED",
    ):
        monkeypatch.setenv(name, "true")
    dd.configure(agent_url=NOBODY)
    shown = json.loads(lines(caplog, CONFIGURATION)[0])
    assert not shown["telemetry_enabled"]
    assert shown["remote_config_enabled"]
    assert not shown["runtime_metrics_enabled"]


def test_line_hides_secrets(setup, caplog, monkeypatch):
    """No key, header or password is written."""
    monkeypatch.setenv("DD_API_KEY", "tres-secret")
    monkeypatch.setenv("_DD_TRACE_WRITER_ADDITIONAL_HEADERS", "authorization:tres-secret")
    monkeypatch.setenv("DD_GIT_REPOSITORY_URL", "https://me:tres-secret@host/repo")
    monkeypatch.setenv("DD_TRACE_AGENT_URL", "http://me:tres-secret@127.0.0.1:9")
    dd.configure()
    assert finished(setup)
    assert lines(caplog, CONFIGURATION)
    assert "tres-secret" not in caplog.text


def test_absent_agent_is_reported(setup, caplog):
    """The check runs behind `configure()` and warns, with the address, what named it and the reason."""
    dd.configure(agent_url=NOBODY)
    assert finished(setup)
    (line,) = lines(caplog, UNREACHABLE)
    assert line.startswith(f"{NOBODY} (agent_url): ConnectionRefusedError")
    assert [record.levelname for record in caplog.records if UNREACHABLE in record.getMessage()] == ["WARNING"]


@pytest.mark.parametrize("status", [200, 404, 500])
def test_any_status_is_an_answer(setup, caplog, status):
    """An Agent that answers `/info` with whatever status can be reached."""
    with FakeAgent() as agent:
        agent.fail("/info", status=status)
        dd.configure(agent_url=agent.url)
        assert finished(setup)
        assert agent.requests("/info")
    assert lines(caplog, UNREACHABLE) == []


def test_configure_does_not_wait_for_the_check(setup, caplog):
    """A hanging Agent delays neither `configure()` nor `shutdown()`."""
    with FakeAgent() as agent:
        agent.fail("/info", delay_s=5.0, status=200)
        dd.configure(agent_url=agent.url, agent_timeout=10.0)
        assert not dd.flush(0.0)
        dd.shutdown(1.0)
    assert lines(caplog, UNREACHABLE) == []


def test_the_same_configuration_is_shown_once(setup, caplog):
    """Configuring again the same way writes nothing; another way writes another line."""
    for service in ("a", "a", "b"):
        dd.configure(service=service, agent_url=NOBODY)
    assert [json.loads(line)["service"] for line in lines(caplog, CONFIGURATION)] == ["a", "b"]


@pytest.mark.parametrize("debug", ["true", "false"])
def test_switched_off_means_off(setup, caplog, monkeypatch, debug):
    """`DD_TRACE_STARTUP_LOGS=false` silences line and check, in debug mode too."""
    monkeypatch.setenv("DD_TRACE_STARTUP_LOGS", "false")
    monkeypatch.setenv("DD_TRACE_DEBUG", debug)
    dd.configure(agent_url=NOBODY)
    assert setup._setup.startup_check is None
    # Of this thread: the check of an earlier test may only now have noticed that its Agent is absent.
    own = [record.getMessage() for record in caplog.records if record.thread == threading.get_ident()]
    assert "DATADOG TRACER" not in "".join(own)


def test_disabled_tracing_needs_no_agent(setup, caplog):
    """The line says that tracing is off, and nobody asks the Agent."""
    dd.configure(trace_enabled=False, agent_url=NOBODY)
    assert setup._setup.startup_check is None
    assert json.loads(lines(caplog, CONFIGURATION)[0])["enabled"] is False


def test_a_line_that_cannot_be_collected_is_reported(setup, caplog, monkeypatch):
    """A failure while collecting costs one warning, and `configure()` goes on."""

    def fail():
        raise OSError("no platform")

    monkeypatch.setattr(_diagnostics, "_platform_fields", fail)
    assert dd.configure(agent_url=NOBODY)
    assert lines(caplog, "DATADOG TRACER DIAGNOSTIC - Failed to collect start-up logs: ") == ["no platform"]


def test_configure_leaves_the_http_library_and_threads_alone():
    """Without remote configuration, what `gevent` patches is imported, and a thread started, with the first payload."""
    program = """
import sys, threading
import ddtrace_manual as dd
dd.configure(agent_url='http://127.0.0.1:9', remote_configuration_enabled=False)
with dd.span('open'):
    print(sorted({'ssl', 'requests', 'urllib3', 'http.client', '_ssl'} & sys.modules.keys()), threading.active_count())
dd.shutdown(1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[] 1\n"


def test_what_was_switched_on_and_does_not_exist_is_said(setup, caplog, monkeypatch):
    """A feature that is missing is warned about when somebody asks for it."""
    monkeypatch.setenv("DD_TRACE_METHODS", "a:b")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("DD_LOGS_OTEL_ENABLED", "1")
    monkeypatch.setenv("_DD_APM_TRACING_AGENTLESS_ENABLED", "1")
    monkeypatch.setenv("DD_API_KEY", "k")
    monkeypatch.setenv("DD_TRACE_DEBUG", "1")
    dd.configure(agent_url=NOBODY)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for name in ("DD_TRACE_METHODS", "OTEL_TRACES_EXPORTER", "DD_LOGS_OTEL_ENABLED", "_DD_APM_TRACING_AGENTLESS"):
        assert any(name in text for text in warned)
    assert any("without effect here: " in text and "DD_API_KEY" in text for text in caplog.messages)


def test_a_quiet_logger_does_not_keep_the_line_from_our_file(setup, monkeypatch, tmp_path):
    """Where the level of the loggers lets nothing through, the handlers the user asked for get the line."""
    monkeypatch.setenv("DD_TRACE_LOG_FILE", str(tmp_path / "a.log"))
    dd.configure(log_level="critical", agent_url=NOBODY)
    assert finished(setup)  # what it logs later would open the closed file again
    assert CONFIGURATION in (tmp_path / "a.log").read_text("utf-8")


def test_broken_handlers_do_not_break_configure(setup):
    """A handler of the application that raises is none of our business."""

    def fail(record):
        raise OSError("disk full")

    logger = logging.getLogger("ddtrace_manual.startup")
    handler = logging.Handler()
    handler.emit = fail
    logger.addHandler(handler)
    try:
        assert dd.configure(agent_url=NOBODY)
        assert finished(setup)
    finally:
        logger.removeHandler(handler)


def test_the_check_shares_the_minute_of_the_worker(setup, caplog):
    """When something else has told already that the Agent takes nothing, the check does not repeat it."""
    dd.configure(agent_url=NOBODY)
    setup._setup.parts.agent_log.warning(DELIVERY, "told")
    assert finished(setup)
    assert lines(caplog, UNREACHABLE) == []
    assert "told" in caplog.text


PROGRAM = """
import ddtrace_manual as dd
from ddtrace_manual._setup import lifecycle as _setup
dd.configure(agent_url='http://127.0.0.1:9')
dd.flush(10)
"""


@pytest.mark.parametrize(
    ("environ", "shown", "warned"),
    [
        ({}, 0, 1),
        ({"DD_TRACE_STARTUP_LOGS": "true"}, 1, 1),
        ({"DD_TRACE_STARTUP_LOGS": "true", "DD_TRACE_LOG_LEVEL": "critical"}, 1, 1),
        ({"DD_TRACE_DEBUG": "true"}, 1, 1),
        ({"DD_TRACE_STARTUP_LOGS": "false", "DD_TRACE_DEBUG": "true"}, 0, 0),
        ({"DD_TRACE_STARTUP_LOGS": "true", "DD_TRACE_LOG_STREAM_HANDLER": "false"}, 0, 1),
    ],
)
def test_what_an_application_without_logging_sees(environ, shown, warned):
    """Asked for, the line is on stderr whatever the level; by default only the warning is, by Python's own handler."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": "", **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stderr.count(CONFIGURATION), done.stderr.count(UNREACHABLE)) == (shown, warned)


def test_a_forked_child_says_nothing():
    """Line and check belong to the process that configured."""
    program = f"""{PROGRAM}
import os
if not os.fork():
    with dd.span('a'): pass
    os._exit(_setup._setup.startup_check is not None)
assert os.wait()[1] == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": "", "DD_TRACE_STARTUP_LOGS": "true"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr.count("DATADOG TRACER") == 2
