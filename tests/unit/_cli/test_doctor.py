"""The doctor against real servers: what it finds, what it advises, and whether traces can arrive."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as StockProvider

import ddtrace_manual as dd
from ddtrace_manual._cli import connection, process_checks
from ddtrace_manual._cli.connection import explain_no_answer
from ddtrace_manual._cli.doctor import examine, import_application
from ddtrace_manual._cli.findings import summary, traces_can_arrive
from ddtrace_manual._setup import lifecycle as _setup
from ddtrace_manual.config import Config

NOBODY = "http://127.0.0.1:9"


def doctor(url, **environ):
    """Examine a process whose Agent has this address; the word `with_trace` decides about the test trace."""
    send_trace = environ.pop("send_trace", True)
    variables = {"DD_TRACE_AGENT_URL": url, **environ}
    return list(examine(Config.load(environ=variables, argv=[""]), send_trace=send_trace, environ=variables))


def said(found, level):
    """Return what was found at a level, with the advice."""
    return "\n".join(f"{each.what} → {each.advice}" for each in found if each.level == level)


def test_a_good_agent(agent):
    """Everything is fine, the Agent is described, and the test trace is there, to be kept."""
    agent.rates = {"service:,env:": 0.5}
    found = doctor(agent.url, DD_SERVICE="shop", DD_ENV="prod", DD_VERSION="1")
    assert traces_can_arrive(found)
    assert said(found, "problem") == said(found, "warning") == ""
    text = said(found, "ok")
    for part in (
        "from the environment",
        "version 7.65.0",
        "/v0.4/traces",
        "statistics",
        "offers remote configuration",
        "clock agrees",
        "200 OK",
        "0.5",
    ):
        assert part in text
    (span,) = agent.spans()
    assert (span["service"], span["meta"]["env"], span["meta"]["version"]) == ("shop", "prod", "1")
    assert span["metrics"]["_sampling_priority_v1"] == 2
    assert f"{span['meta']['_dd.p.tid']}{span['trace_id']:016x}" in said(found, "note")
    assert summary(found) == "Traces can arrive."


def test_no_trace_is_sent_unasked(agent):
    """The test trace can be left out."""
    found = doctor(agent.url, send_trace=False)
    assert agent.traces() == []
    assert "not asked for" in said(found, "note")
    assert traces_can_arrive(found)


def test_an_agent_with_limits_is_described(agent):
    """An old version, a format that is missing, and statistics that are off are said."""
    agent.info = {"version": "7.0.0", "endpoints": ["/v0.4/traces"]}
    found = doctor(agent.url, DD_TRACE_API_VERSION="v1.0")
    assert "does not list the endpoint /v1.0/traces; for traces it lists: /v0.4/traces" in said(found, "warning")
    assert "computes trace statistics itself" in said(found, "note")
    assert "does not offer remote configuration" in said(found, "note")
    off = doctor(agent.url, DD_TRACE_STATS_COMPUTATION_ENABLED="false")
    assert "switched off here" in said(off, "note")


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ({"status": 400, "body": b"bad\x1b[31m\npayload"}, "400 Bad Request: 'bad�[31m payload'"),
        ({"status": 404}, "404 Not Found"),
        ({"status": 405}, "no endpoint for traces"),
        ({"status": 413}, "413"),
        ({"status": 501}, "no endpoint for traces"),
        ({"status": 429}, "429 Too Many Requests"),
        ({"status": 503, "body": b""}, "503 Service Unavailable → The Agent, or a proxy"),
        ({"status": 599}, "599"),
        ({"reset": True}, "Connection"),
        ({"garbage": True}, "not HTTP"),
    ],
)
def test_a_test_trace_that_is_refused_is_a_problem(agent, fault, what):
    """What the Agent says to the test trace is shown, tried once, and each way to refuse has its advice."""
    agent.fail("/v0.4/traces", **fault)
    found = doctor(agent.url)
    assert what in said(found, "problem")
    assert said(found, "problem").split(" → ")[1]
    assert len(agent.requests("/v0.4/traces")) == 1
    assert not traces_can_arrive(found)


@pytest.mark.parametrize(("status", "level"), [(404, "warning"), (500, "warning"), (301, "warning")])
def test_an_agent_without_info_is_judged_by_the_trace(agent, status, level):
    """Odd answers to `/info` are warnings; a trace that is taken proves that there is an Agent."""
    agent.fail("/info", status=status, body=b"")
    found = doctor(agent.url)
    assert str(status) in said(found, level)
    assert traces_can_arrive(found)


def test_an_old_agent_says_ok(agent):
    """Agents of old answer `OK` to traces."""
    agent.fail("/info", status=404)
    agent.fail("/v0.4/traces", status=200, body=b"OK\n")
    assert traces_can_arrive(doctor(agent.url))


@pytest.mark.parametrize("status", [200, 403, 404, 501])
def test_a_web_server_is_no_agent(website, status):
    """Whatever a web server answers, also 200 to everything: it is recognised, and quoted without its control codes."""
    website.status = status
    found = doctor(website.url)
    assert not traces_can_arrive(found)
    everything = said(found, "warning") + said(found, "problem")
    assert "BaseHTTP" in everything
    assert "\x1b" not in everything


def test_an_absent_agent(monkeypatch):
    """Nobody listening is said once, with what to do, and no trace is tried."""
    monkeypatch.setattr("ddtrace_manual._cli.connection._is_in_container", lambda: False)
    found = doctor(NOBODY)
    assert "Nothing listens at 127.0.0.1:9" in said(found, "problem")
    assert "container" not in said(found, "problem")
    assert "No test trace was sent" in said(found, "note")
    assert summary(found) == "Traces cannot arrive: 1 problem."


@pytest.mark.parametrize(
    ("url", "hint"), [(NOBODY, True), ("http://127.0.0.1.invalid:9", True), ("http://a.invalid", False)]
)
def test_containers_get_a_hint(monkeypatch, url, hint):
    """In a container, an address of this host is explained."""
    monkeypatch.setattr("ddtrace_manual._cli.connection._is_in_container", lambda: True)
    text = said(doctor(url), "problem")
    assert ("in a container" in text.partition("→")[2]) is (hint and "unknown" not in text)


def test_an_unknown_host():
    """A name that does not resolve is told from a closed port."""
    assert "The host of nowhere.invalid:8126 is unknown" in said(doctor("http://nowhere.invalid:8126"), "problem")


def test_a_silent_agent(agent):
    """An answer that does not come in time is told with the time that was given."""
    agent.fail("/info", delay_s=5.0)
    found = doctor(agent.url, DD_TRACE_AGENT_TIMEOUT_SECONDS="0.2")
    assert "within 0.2 s" in said(found, "problem")


def test_a_port_that_speaks_something_else(banner, agent):
    """A server that is not HTTP, or not TLS, is recognised as such."""
    assert "does not speak HTTP" in said(doctor(banner), "problem")
    assert "No secure connection" in said(doctor(agent.url.replace("http", "https")), "problem")


def test_a_connection_that_breaks(agent):
    """A connection cut without an answer has a message of its own."""
    agent.fail(reset=True)
    assert "No connection to 127.0.0.1" in said(doctor(agent.url), "problem")


def test_an_address_that_cannot_be_used(monkeypatch):
    """A wrong address in the environment is a warning, and the next source counts; the transport's doubts end the check."""
    assert "DD_TRACE_AGENT_URL" in said(doctor("ftp://x"), "warning")
    config = Config.load({"agent_url": "unix:///x"}, environ={}, argv=[""])
    object.__setattr__(config, "trace_agent_url", "pipe:x")
    assert "cannot be used" in said(examine(config, environ={}), "problem")


@pytest.mark.parametrize(
    ("date", "level", "what"),
    [
        ("Sat, 01 Jan 2000 00:00:00 GMT", "warning", "ahead of"),
        ("Fri, 01 Jan 2100 00:00:00 GMT", "warning", "behind"),
        ("yesterday", None, ""),
        ("", "ok", "The clock agrees"),
    ],
)
def test_clock(website, date, level, what):
    """The date of the answer is compared with the own clock; without a usable date nothing is said."""
    website.date = date
    found = doctor(website.url)
    clock = [each for each in found if "clock" in each.what]
    assert [each.level for each in clock] == ([level] if level else [])
    assert all(what in each.what for each in clock)


# -- Unix sockets ----------------------------------------------------------------------------------


@pytest.fixture
def short_path():
    """A folder whose name leaves room for a socket's, and which everybody may enter; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("missing", "There is no socket"),
        ("file", "is not a socket"),
        ("folder", "is not a socket"),
        ("stale", "left over"),
        ("datagram", "is a datagram socket"),
        ("beneath a file", "cannot be used"),
    ],
)
def test_a_socket_that_is_none(short_path, kind, what):
    """Every way in which the path of a socket can be wrong is told apart."""
    path = short_path / "a.sock"
    open_socket = None
    if kind == "file":
        path.write_text("")
    elif kind == "folder":
        path.mkdir()
    elif kind == "beneath a file":
        path.write_text("")
        path = path / "b.sock"
    elif kind in ("stale", "datagram"):
        open_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
        open_socket.bind(str(path))
        if kind == "stale":
            open_socket.close()
    found = doctor(f"unix://{path}")
    if open_socket is not None:
        open_socket.close()
    assert what in said(found, "problem")
    assert not traces_can_arrive(found)


@pytest.mark.parametrize(
    ("blocked", "what", "advice"),
    [("", "the socket has user", "0722"), ("/tmp", "the directory /tmp has user", "enter that directory")],
)
def test_what_stands_in_the_way_of_a_user(short_path, monkeypatch, blocked, what, advice):
    """The outermost directory that may not be entered is named, else the socket."""
    path = short_path / "a.sock"
    path.write_text("")
    monkeypatch.setattr(os, "access", lambda directory, _: str(directory) != blocked)
    finding = explain_no_answer(PermissionError(13, "no"), f"unix://{path}", 1.0)
    assert what in finding.what
    assert advice in finding.advice
    gone = explain_no_answer(PermissionError(13, "no"), f"unix://{path}.gone", 1.0)
    assert gone.what.endswith(f"this process is user {os.geteuid()}, group {os.getegid()}") or blocked


@pytest.mark.parametrize("cgroup", ["", "0" * 64])
def test_a_container_is_known_by_its_cgroup(monkeypatch, cgroup):
    """What says that this is a container is what the Agent is told."""
    monkeypatch.setattr(connection, "find_entity", lambda: SimpleNamespace(container_id=cgroup))
    monkeypatch.setattr(connection.Path, "exists", lambda _: False)
    assert connection._is_in_container() is bool(cgroup)


# Root may do everything: the check runs as a user who may not. What it needs is imported before it stops being root,
# because that user need not be able to read our files.
AS_NOBODY = """
import os, sys
from ddtrace_manual._cli import main
# All that is imported late is imported now: nobody may be unable to read the interpreter's folder.
import ddtrace_manual._agent.exchange, difflib, importlib.metadata, textwrap
importlib.metadata.version("pytest")
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(main(["doctor", "--plain"]))
"""


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or not hasattr(os, "setuid"), reason="needs Unix users")
@pytest.mark.parametrize("blocked", ["socket", "folder"])
def test_a_socket_without_permission(short_path, blocked):
    """The report says who we are, what stands in the way and whose it is."""
    path = short_path / "closed" / "a.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o000 if blocked == "socket" else 0o777)
        path.parent.chmod(0o755 if blocked == "socket" else 0o000)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY],
            env={"PATH": "", "DD_TRACE_AGENT_URL": f"unix://{path}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        path.parent.chmod(0o755)
    report = " ".join(done.stdout.split())
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    assert done.returncode == 1, done.stderr
    assert f"No permission to use the socket {path}: this process is user {user}" in report
    mode = "the socket has user {} group" if blocked == "socket" else f"the directory {path.parent} has user {{}} group"
    assert mode.format(f"{os.geteuid()},") in report


# -- settings, libraries, proxies ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "level", "what"),
    [
        ({"DD_TRACE_ENABLED": "false"}, "problem", "Tracing is switched off (DD_TRACE_ENABLED)"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "problem", "(OTEL_TRACES_EXPORTER=none)"),
        ({"DD_TRACE_RATE_LIMIT": "x"}, "warning", "DD_TRACE_RATE_LIMIT='x' is ignored"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "warning", "OTEL_TRACES_EXPORTER=otlp has no effect"),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "warning", "OTEL_METRICS_EXPORTER"),
        ({"DD_TRACE_METHODS": "a:b"}, "warning", "never wraps"),
        ({"DD_TRACE_SAMPLE_RATE": "0"}, "warning", "the sample rate is 0"),
        ({"DD_TRACE_SAMPLE_RATE": "1", "DD_TRACE_RATE_LIMIT": "0"}, "warning", "the rate limit is 0"),
        ({"DD_PROFILING_ENABLED": "true"}, "note", "without effect here: DD_PROFILING_ENABLED"),
        ({"DD_SERVCE": "x"}, "note", "unknown to this library: DD_SERVCE"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "1"}, "note", "OTEL_BSP_MAX_QUEUE_SIZE"),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "x"}, "note", "(HTTPS_PROXY)"),
        ({"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"}, "warning", "OTEL_PYTHON_TRACER_PROVIDER"),
    ],
)
def test_what_the_environment_gets_wrong(agent, environ, level, what):
    """Each mistake is found, at its level."""
    found = doctor(agent.url, **environ)
    assert what in said(found, level)
    assert traces_can_arrive(found) is (level != "problem")


def test_our_own_provider_is_no_other(agent):
    """Asking OpenTelemetry for our provider is fine."""
    found = doctor(agent.url, OTEL_PYTHON_TRACER_PROVIDER="ddtrace_manual")
    assert said(found, "warning") == ""


def modules(monkeypatch, **loaded):
    """Pretend that modules are loaded."""
    for name, module in loaded.items():
        monkeypatch.setitem(sys.modules, name.replace("__", "."), module)


def test_libraries_that_trace_too(agent, monkeypatch):
    """Ddtrace and OpenTelemetry's auto-instrumentation in the same process are warned about."""
    modules(monkeypatch, ddtrace=SimpleNamespace(), opentelemetry__instrumentation__auto_instrumentation=object())
    text = said(doctor(agent.url), "warning")
    assert "ddtrace is active in this process" in text
    assert "opentelemetry-instrument" in text


def test_ddtrace_that_is_only_installed(agent, monkeypatch):
    """An installed ddtrace is worth a note."""
    monkeypatch.setattr(process_checks.importlib.util, "find_spec", lambda name: name == "ddtrace" or None)
    assert "ddtrace is installed too" in said(doctor(agent.url), "note")


def test_versions_that_do_not_match(agent, monkeypatch):
    """OpenTelemetry's API and SDK belong together."""

    def version(name):
        if name == "opentelemetry-api":
            raise process_checks.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(process_checks.metadata, "version", version)
    assert "opentelemetry-api (unknown) and opentelemetry-sdk 1" in said(doctor(agent.url), "warning")


@pytest.mark.parametrize(
    ("is_patched", "is_late", "level", "what"),
    [
        (False, False, "note", "threads are not patched"),
        (True, True, "warning", "gevent patched threads after"),
        (True, False, "ok", "gevent patched threads before"),
    ],
)
def test_gevent(agent, monkeypatch, is_patched, is_late, level, what):
    """Gevent that patches after this library was imported is found by the locks made before."""
    modules(monkeypatch, gevent__monkey=SimpleNamespace(is_module_patched=lambda name: is_patched))
    if is_late:
        monkeypatch.setattr(_setup._setup, "lock", object())
    else:
        monkeypatch.setattr(_setup._setup, "lock", threading.RLock())
    assert what in said(doctor(agent.url), level)


# -- the application -------------------------------------------------------------------------------


@pytest.fixture
def untouched(monkeypatch):
    """A process in which nothing is configured."""
    monkeypatch.setattr(_setup, "_setup", _setup._Setup())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)


def imported(agent):
    """Examine the process as after importing an application."""
    environ = {"DD_TRACE_AGENT_URL": agent.url}
    return list(examine(Config.load(environ=environ, argv=[""]), is_imported=True, environ=environ))


def test_an_application_without_configure(agent, untouched):
    """An application that did not configure tracing when imported gets a warning."""
    assert "did not call `ddtrace_manual.configure()`" in said(imported(agent), "warning")


def test_an_application_with_another_provider(agent, untouched, monkeypatch):
    """Another provider in charge keeps traces from us."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", StockProvider())
    assert "opentelemetry.sdk.trace.TracerProvider" in said(imported(agent), "problem")


def test_the_settings_of_the_application_count(agent, untouched, monkeypatch):
    """What the application configured in code is what is examined."""
    provider = SimpleNamespace(config=Config.load({"service": "mine"}, environ={"DD_TRACE_AGENT_URL": agent.url}))
    monkeypatch.setattr(_setup._setup, "provider", provider)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    found = imported(agent)
    assert "The application configured tracing" in said(found, "ok")
    assert agent.spans()[0]["service"] == "mine"


@pytest.mark.parametrize(
    ("code", "level", "what"),
    [
        ("x = 1", "ok", "Imported"),
        ("1 / 0", "warning", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "warning", "ended the program"),
    ],
)
def test_importing_the_application(tmp_path, monkeypatch, code, level, what):
    """The application is found in the current directory; whatever it does when imported is reported."""
    name = f"application_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (finding,) = import_application(name)
    assert (finding.level, what in finding.what) == (level, True)
    assert import_application(name)[0].level == level  # the directory is on the path already


@pytest.mark.integration
@pytest.mark.parametrize("way", ["tcp", "socket"])
def test_the_real_test_agent(test_agent, way):
    """Datadog's own test agent takes the test trace, over TCP and over its socket."""
    url = test_agent.url if way == "tcp" else f"unix://{test_agent.socket_path}"
    found = doctor(
        url,
        DD_SERVICE=f"doctor-{way}",
        _DD_TRACE_WRITER_ADDITIONAL_HEADERS=f"X-Datadog-Test-Session-Token:{test_agent.token}",
    )
    assert traces_can_arrive(found), found
    (trace_got,) = test_agent.wait_for_traces(1)
    assert trace_got[0]["service"] == f"doctor-{way}"
    assert dd.counters().sent_spans == 0
