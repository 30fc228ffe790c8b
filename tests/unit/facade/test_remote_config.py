"""Remote configuration of a running process, over a real socket: what each key does to real traces."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import zipfile

import pytest
from opentelemetry import propagate

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual.integrations._logging import log_fields
from ddtrace_manual.testing import FakeAgent, SpanRecorder, poll_remote_config, remote_config_state

PATH = "datadog/2/APM_TRACING/1/config"
THREAD = "ddtrace-manual-remote-config"


@pytest.fixture
def agent():
    with FakeAgent() as running:
        running.info["client_drop_p0s"] = False  # dropped traces arrive too
        yield running


@pytest.fixture
def configured(fresh_setup, agent):
    """Tracing that polls only when told to."""

    def configure(**settings):
        # One poll is the thread's first; the interval of the others is longer than a test.
        given = {"service": "checkout", "env": "prod", "agent_url": agent.url, "trace_startup_logs": False, **settings}
        dd.configure(instrumentation_telemetry_enabled=False, **given)
        return poll_remote_config()

    return configure


def offer(agent, content=None, target=None, **lib_config):
    """Have the Agent offer one file, or none; return what polling leads to."""
    document = {"id": "cfg", "action": "enable", "service_target": target, "lib_config": lib_config}
    agent.set_remote_config({PATH: content or document} if content or lib_config else {})
    return poll_remote_config()


def trace(agent, name="work", **options):
    """Make a trace of one span; return the span as the Agent received it."""
    with dd.span(name, **options):
        pass
    assert dd.flush()
    return agent.spans()[-1]


def sockets_in_use(remote):
    opened = remote.parts.client.transport._opened.get(os.getpid())
    return opened._in_use if opened is not None else {}


def sampling(agent):
    span = trace(agent)
    return span["metrics"]["_sampling_priority_v1"], span["meta"].get("_dd.p.dm")


def rule(provenance, rate=0):
    return {"name": "work", "sample_rate": rate, "provenance": provenance}


KEYS = {
    "tracing_sampling_rate": (sampling, 0.0, (-1, "-3"), 1.0, (2, "-3"), (1, "-0"), "no"),
    "tracing_sampling_rules": (
        sampling,
        [rule("dynamic")],
        (-1, None),
        [rule("dynamic", 1), rule("customer", 1)],
        (2, "-11"),
        (1, "-0"),
        {},
    ),
    "tracing_tags": (
        lambda agent: {key: value for key, value in trace(agent)["meta"].items() if key in ("team", "tier")},
        ["team:apm"],
        {"team": "apm"},
        ["tier:1"],
        {"tier": "1"},
        {"team": "local"},
        "team:apm",
    ),
    "log_injection_enabled": (
        lambda _agent: log_fields()["dd.service"],
        False,
        "",
        True,
        "checkout",
        "checkout",
        5,
    ),
    "tracing_header_tags": (
        lambda _agent: RUNTIME.config.header_tags,
        [{"header": "X-Id", "tag_name": "x.id"}],
        {"x-id": "x.id"},
        [{"header": "Y"}],
        {"y": ""},
        {"local": "tag"},
        "X-Id",
    ),
}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_set_changed_refused_and_unset(agent, configured, key):
    effect, first, first_effect, second, second_effect, local_effect, wrong = KEYS[key]
    configured(tags={"team": "local"}, trace_header_tags={"local": "tag"})
    assert effect(agent) == local_effect
    for value, expected in ((first, first_effect), (second, second_effect)):
        assert [file.state for file in offer(agent, **{key: value}).files] == ["acknowledged"]
        assert matches(effect(agent), expected)
    (file,) = offer(agent, **{key: wrong}).files
    assert file.state == "error"
    assert key in file.error
    assert matches(effect(agent), second_effect)
    offer(agent, **{key: None})
    assert effect(agent) == local_effect
    offer(agent, **{key: first})
    assert matches(effect(agent), first_effect)
    assert offer(agent).files == ()
    assert effect(agent) == local_effect
    poll_remote_config()
    assert agent.requests("/v0.7/config")[-1].payload["client"]["state"]["has_error"] is False


def matches(actual, expected):
    """Compare; a dropped trace has no decision maker to compare."""
    if isinstance(expected, tuple) and expected[0] == -1:
        return actual[0] == -1
    return actual == expected


def test_a_rate_leaves_local_rules_in_effect(agent, configured):
    configured(sampling_rules=[{"name": "local", "sample_rate": 1.0}])
    state = offer(agent, tracing_sampling_rate=0.0)
    assert trace(agent, "local")["metrics"]["_sampling_priority_v1"] == 2
    assert trace(agent, "other")["metrics"]["_sampling_priority_v1"] == -1
    assert state.settings["trace_sample_rate"] == 0.0
    assert state.settings["trace_sampling_rules"] == (
        {"sample_rate": 1.0, "name": "local"},
        {"sample_rate": 0.0},
    )


def test_changed_values_are_shown_with_their_origin(agent, configured, fresh_setup):
    configured(tags={"team": "local"})
    offer(agent, tracing_tags=["team:apm"], tracing_sampling_rate=0.5)
    config = fresh_setup._setup.provider.config
    assert config.tags["team"] == "apm"
    assert config.found("trace_sample_rate")[-1][:4] == (0.5, "remote_config", None, "cfg")
    offer(agent)
    assert fresh_setup._setup.provider.config.origin("tags") == "code"


def test_open_and_queued_spans_survive_every_change(agent, configured):
    configured(trace_writer_interval_seconds=60.0)
    with dd.span("queued"):
        pass
    with dd.span("open"):
        offer(agent, tracing_sampling_rate=1.0, tracing_tags=["a:b"], log_injection_enabled=False)
        with dd.span("inner"):
            pass
    assert dd.flush()
    assert sorted(span["name"] for span in agent.spans()) == ["inner", "open", "queued"]
    assert dd.counters().dropped_spans == {}


def test_tracing_is_switched_off_for_good(agent, configured):
    configured()
    with dd.span("in progress"):
        offer(agent, tracing_enabled=False)
        assert dd.inject({}) == {}
        carrier = {}
        propagate.inject(carrier)
        assert carrier == {}
    for change in ({"tracing_enabled": True}, {}):
        offer(agent, **change)
        with dd.span("never") as span:
            assert not span.is_recording()
    dd.configure(service="checkout", agent_url=agent.url, instrumentation_telemetry_enabled=False)
    with dd.span("never"):
        pass
    assert dd.shutdown()
    assert [span["name"] for span in agent.spans()] == ["in progress"]


def test_remote_configuration_never_switches_tracing_on(agent, configured):
    configured(trace_enabled=False)
    state = offer(agent, tracing_enabled=True)
    assert [file.state for file in state.files] == ["acknowledged"]
    with dd.span("never") as span:
        assert not span.is_recording()
    assert "trace_enabled" not in state.settings


def test_files_for_another_service_have_no_effect(agent, configured):
    configured()
    state = offer(agent, target={"service": "billing", "env": "prod"}, tracing_sampling_rate=0.0)
    assert [file.state for file in state.files] == ["acknowledged"]
    assert state.settings == {}
    assert sampling(agent) == (1, "-0")


def test_services_of_spans_are_told_and_targeted(agent, configured):
    configured()
    trace(agent, service="checkout-db")
    with dd.span("odd", tags={"http.request.method": "GET", "datadog.service": "general-way"}):
        pass
    dd.flush()
    offer(agent, target={"service": "CHECKOUT-DB"}, tracing_sampling_rate=0.0)
    tracer = agent.requests("/v0.7/config")[-1].payload["client"]["client_tracer"]
    assert (tracer["service"], tracer["extra_services"]) == ("checkout", ["checkout-db", "general-way"])
    assert sampling(agent)[0] == -1


def test_configure_again_keeps_what_is_in_effect(agent, configured):
    configured()
    offer(agent, tracing_sampling_rate=0.0)
    agent.fail("/v0.7/config")
    state = configured(version="2")
    assert state.settings["trace_sample_rate"] == 0.0
    assert sampling(agent)[0] == -1
    agent.recover()
    offer(agent)
    assert sampling(agent) == (1, "-0")


def test_a_configuration_with_remote_values_does_not_make_them_local(agent, configured, fresh_setup):
    configured()
    offer(agent, tracing_sampling_rate=0.0)
    dd.configure(fresh_setup._setup.provider.config)
    offer(agent)
    assert fresh_setup._setup.provider.config.trace_sample_rate is None
    assert sampling(agent) == (1, "-0")


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"body": b"x" * (3 << 20)},
        {"garbage": True},
        {"reset": True},
        {"truncate": True},
        {"delay_s": 0.5},
        {"body": b"[" * 100_000},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_a_hostile_agent_costs_nothing_that_was_good(agent, configured, fault):
    configured(trace_agent_timeout_seconds=0.25)
    offer(agent, tracing_sampling_rate=0.0)
    agent.fail("/v0.7/config", times=1, **fault)
    began = time.monotonic()
    state = poll_remote_config()
    assert time.monotonic() - began < 5
    assert state.settings["trace_sample_rate"] == 0.0
    assert sampling(agent)[0] == -1
    agent.recover()
    assert poll_remote_config().error == ""


def test_polling_goes_on_by_itself(agent, fresh_setup):
    agent.set_remote_config({PATH: {"lib_config": {"tracing_sampling_rate": 0}}})
    dd.configure(agent_url=agent.url, remote_config_poll_interval_seconds=0.05, instrumentation_telemetry_enabled=False)

    def has_acknowledged(receiver):
        polls = receiver.requests("/v0.7/config")
        return polls and any(each["apply_state"] == 2 for each in polls[-1].payload["client"]["state"]["config_states"])

    assert agent.wait_for(has_acknowledged, 10)
    assert remote_config_state().is_offered
    assert THREAD in [thread.name for thread in threading.enumerate()]
    dd.shutdown()
    assert THREAD not in [thread.name for thread in threading.enumerate()]


def test_shutdown_does_not_wait_for_a_hanging_poll(agent, fresh_setup):
    agent.fail("/v0.7/config", delay_s=30)
    dd.configure(agent_url=agent.url, trace_agent_timeout_seconds=60, instrumentation_telemetry_enabled=False)
    remote = fresh_setup._setup.remote
    while not remote.client.is_offered or remote._thread.ident not in sockets_in_use(remote):
        time.sleep(0.01)
    began = time.monotonic()
    dd.shutdown()
    assert time.monotonic() - began < 5
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(10)
            assert not thread.is_alive()


def test_polling_waits_for_gevent_to_patch(agent, fresh_setup, monkeypatch):
    waiting = [True]
    asked = threading.Event()

    def may_still_patch():
        asked.set()
        return waiting[0]

    monkeypatch.setattr("ddtrace_manual._setup.remote.gevent_may_still_patch", may_still_patch)
    dd.configure(agent_url=agent.url, remote_config_poll_interval_seconds=0.05, instrumentation_telemetry_enabled=False)
    assert asked.wait(10)
    assert agent.requests() == []
    waiting[0] = False
    assert agent.wait_for(lambda receiver: receiver.requests("/v0.7/config"), 10)


def test_a_preparation_survives_configure_no_longer_and_a_child_stops_collecting(agent, configured, fresh_setup):
    configured()
    agent.set_remote_config(
        {
            "datadog/2/AGENT_CONFIG/flare/config": {
                "name": "flare-log-level.debug",
                "config": {"log_level": "debug"},
            }
        }
    )
    poll_remote_config()
    remote = fresh_setup._setup.remote
    assert remote.flare.is_preparing
    configured()
    assert not remote.flare.is_preparing


def test_an_agent_without_the_endpoint_is_not_polled(agent, configured):
    agent.info["endpoints"] = ["/info", "/v0.4/traces"]
    assert configured().is_offered is False
    assert agent.requests("/v0.7/config") == []


def test_a_test_that_records_does_not_poll(agent, configured):
    configured()
    offer(agent, tracing_sampling_rate=0.0)
    with SpanRecorder() as spans:
        with pytest.raises(RuntimeError, match="not running"):
            poll_remote_config()
        with dd.span("recorded"):
            pass
        assert len(spans) == 1
    assert remote_config_state().settings["trace_sample_rate"] == 0.0


def test_a_task_has_a_flare_sent_without_secrets(agent, configured, monkeypatch):
    monkeypatch.setenv("DD_API_KEY", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("DD_APP_KEY", "app-key-secret")
    monkeypatch.setenv("MY_TOKEN", "unknown-variable")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=otlp-secret")
    monkeypatch.setenv("_DD_TRACE_WRITER_ADDITIONAL_HEADERS", "X-Auth:header-secret")
    monkeypatch.setenv("DD_DOGSTATSD_URL", "udp://user:url-secret@localhost:8125")
    configured()
    with dd.span("private", tags={"card": "content-of-a-span"}):
        pass
    args = {"case_id": "12", "hostname": "h", "user_handle": "me@example.com"}
    agent.set_remote_config({"datadog/2/AGENT_TASK/t/config": {"task_type": "tracer_flare", "uuid": "u", "args": args}})
    assert [file.state for file in poll_remote_config().files] == ["acknowledged"]
    assert agent.wait_for(lambda receiver: receiver.requests("/tracer_flare/v1"), 10)
    body = agent.requests("/tracer_flare/v1")[0].body
    archive = zipfile.ZipFile(io.BytesIO(body[body.index(b"PK\x03\x04") :]))
    contents = {name.split("/")[1]: archive.read(name).decode() for name in archive.namelist()}
    assert {"agent_info.json", "counters.json", "distributions.json", "startup.json"} < contents.keys()
    configs = json.loads(contents[f"tracer_config_{os.getpid()}.json"])["configs"]
    assert configs["DD_API_KEY"] == "*cdef"
    assert configs["DD_SERVICE"] == "checkout"
    assert json.loads(contents["counters.json"])["created_spans"] == 1
    assert "ddtrace" in contents["distributions.json"]
    everything = "".join(contents.values())
    for secret in (
        "0123456789abcdef",
        "app-key-secret",
        "unknown-variable",
        "otlp-secret",
        "header-secret",
        "url-secret",
        "content-of-a-span",
    ):
        assert secret not in everything


OFF = """
import sys, threading
import ddtrace_manual as dd
dd.configure(instrumentation_telemetry_enabled=False, trace_startup_logs=False)
names = ("_remote_config", "_setup.remote")
print([name for name in sys.modules if name.startswith("ddtrace_manual") and any(each in name for each in names)])
print([thread.name for thread in threading.enumerate()])
"""


@pytest.mark.parametrize("log_only", [{"DD_REMOTE_CONFIGURATION_ENABLED": "false"}, {"AWS_LAMBDA_FUNCTION_NAME": "f"}])
def test_nothing_is_loaded_or_started_when_it_is_off_or_there_is_no_agent(log_only):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    done = subprocess.run(
        [sys.executable, "-c", OFF], env=environ | log_only, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["[]", "['MainThread']"], done.stderr


FORK = """
import os, sys
import ddtrace_manual as dd
from ddtrace_manual.testing import poll_remote_config, remote_config_state
dd.configure(instrumentation_telemetry_enabled=False, trace_startup_logs=False, trace_enabled=sys.argv[1] == "on")
poll_remote_config()
child = os.fork()
if child == 0:
    poll_remote_config()
    same = remote_config_state().settings.get("trace_sample_rate") == 0.0
    with dd.span("in child"):
        pass
    os._exit(0 if dd.shutdown() and same else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
with dd.span("in parent"):
    pass
poll_remote_config()
dd.shutdown()
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("tracing", ["on", "off"])
def test_a_forked_child_polls_for_itself(agent, tracing):
    agent.set_remote_config({PATH: {"lib_config": {"tracing_sampling_rate": 0}}})
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    done = subprocess.run(
        [sys.executable, "-c", FORK, tracing],
        env=environ | {"DD_TRACE_AGENT_URL": agent.url, "DD_SERVICE": "s"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    clients = [request.payload["client"] for request in agent.requests("/v0.7/config")]
    assert len({client["id"] for client in clients}) == 2
    assert len({client["client_tracer"]["runtime_id"] for client in clients}) == 2
    first_of_each = {client["id"]: client for client in reversed(clients)}
    assert all(client["state"]["config_states"] == [] for client in first_of_each.values())
    if tracing == "on":
        assert {span["metrics"]["_sampling_priority_v1"] for span in agent.spans()} == {-1}
        assert {span["name"] for span in agent.spans()} == {"in child", "in parent"}
