"""Addresses of the Agent and of DogStatsD: written, derived and rejected."""

from __future__ import annotations

import pytest

from ddtrace_manual.config._agent_url import (
    agent_host_of,
    parse_agent_url,
    parse_host,
    parse_statsd_url,
    without_user_info,
)
from ddtrace_manual.config._settings import BY_ENV
from ddtrace_manual.exceptions import ConfigurationError

APM = "/var/run/datadog/apm.socket"
DSD = "/var/run/datadog/dsd.socket"

AGENT = [
    ({}, (), "http://localhost:8126", "default"),
    ({"DD_AGENT_HOST": "::1"}, (), "http://[::1]:8126", "calculated"),
    ({"DD_AGENT_HOST": "[::1]"}, (), "http://[::1]:8126", "calculated"),
    ({"DD_AGENT_HOST": "agent"}, (APM,), "http://agent:8126", "calculated"),
    ({"DD_TRACE_AGENT_PORT": "9"}, (APM,), "http://localhost:9", "calculated"),
    ({"DD_AGENT_PORT": "9"}, (), "http://localhost:9", "calculated"),
    ({"DD_AGENT_PORT": "9", "DD_TRACE_AGENT_PORT": "8"}, (), "http://localhost:8", "calculated"),
    ({"DD_AGENT_HOST": "a", "DD_TRACE_AGENT_HOSTNAME": "b"}, (), "http://b:8126", "calculated"),
    ({}, (APM,), f"unix://{APM}", "calculated"),
    ({"DD_TRACE_AGENT_URL": ""}, (APM,), f"unix://{APM}", "calculated"),
    (
        {"DD_TRACE_AGENT_URL": f"unix://{APM}", "DD_AGENT_HOST": "a", "DD_TRACE_AGENT_PORT": "1"},
        (),
        f"unix://{APM}",
        "env_var",
    ),
    (
        {"DD_TRACE_AGENT_URL": "http://random-host:9999/", "DD_AGENT_HOST": "other"},
        (),
        "http://random-host:9999",
        "env_var",
    ),
    ({"DD_TRACE_AGENT_URL": "https://h/prefix/"}, (), "https://h/prefix", "env_var"),
]


@pytest.mark.parametrize(("environ", "sockets", "url", "origin"), AGENT)
def test_the_agent_address_follows_the_first_match(load, environ, sockets, url, origin):
    """URL, then host and port, then the socket, then the default decide the Agent's address."""
    config = load(environ, sockets=sockets)
    assert (config.trace_agent_url, config.origin("trace_agent_url"), config.warnings) == (url, origin, ())


@pytest.mark.parametrize(
    ("environ", "code", "setting"),
    [
        ({}, {}, "default of DD_TRACE_AGENT_URL"),
        ({"DD_TRACE_AGENT_URL": "bad"}, {}, "default of DD_TRACE_AGENT_URL"),
        ({"DD_TRACE_AGENT_URL": "http://h", "DD_AGENT_HOST": "a"}, {}, "DD_TRACE_AGENT_URL"),
        ({"DD_TRACE_AGENT_URL": "http://h"}, {"agent_url": "http://i"}, "agent_url"),
        ({"DD_AGENT_HOST": "a"}, {}, "DD_AGENT_HOST"),
        ({"DD_AGENT_HOST": "a"}, {"agent_port": 1}, "DD_AGENT_HOST and agent_port"),
    ],
)
def test_messages_name_what_decided_the_address(load, environ, code, setting):
    """The setting is named in the form in which it was given."""
    assert load(environ, code=code).agent_url_setting == setting


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "h:8126",
        "http://",
        "http://:80",
        "http://h:x",
        "http://h:70000",
        "http://h:0",
        "http://::1:8126",
        "unix://",
        "http://h?x=1",
        "http://h#f",
        "http://a b:1",
        "http://10.1.2.3:8126:8126",
        "http://h:1\n2",
        "http://h:1/a b",
        "http://[10.1.2.3]:1",
        "http://.h:1",
        "http://a..b",
        "http://h?",
        "unix://a\0b",
    ],
)
def test_an_unusable_agent_url_costs_one_warning(load, url):
    """An unusable URL is named once, and host and port decide."""
    config = load({"DD_TRACE_AGENT_URL": url, "DD_AGENT_HOST": "fallback"})
    assert config.trace_agent_url == "http://fallback:8126"
    assert len(config.warnings) == 1
    assert config.warnings[0].startswith(f"DD_TRACE_AGENT_URL={url!r} is ignored: must ")


UNUSABLE_HOSTS = [
    "10.1.2.3:8126",
    "agent:8126",
    "[::1]:8126",
    "[agent]",
    "http://agent",
    "agent/",
    "agent:",
    "::1::2",
    "a b",
    "a,b",
    "$(HOST_IP)",
    "a..b",
    "-agent",
    "a\tb",
    "a" * 64,
    "\u0301.example",
]


@pytest.mark.parametrize("host", UNUSABLE_HOSTS)
@pytest.mark.parametrize("variable", ["DD_AGENT_HOST", "DD_TRACE_AGENT_HOSTNAME", "DD_DOGSTATSD_HOST"])
def test_a_host_of_which_no_url_can_be_made_costs_one_warning(load, variable, host):
    """The warning names the variable and the next source counts; in code the value is refused."""
    config = load({variable: host}, local=f"apm_configuration_default: {{{variable}: fallback}}")
    assert config.warnings == (
        f"{variable}={host!r} is ignored: must be a host name or an IP address, without scheme and port",
    )
    assert config.dogstatsd_url == "udp://fallback:8125"
    if variable != "DD_DOGSTATSD_HOST":
        assert config.trace_agent_url == "http://fallback:8126"
    with pytest.raises(ConfigurationError, match="without scheme and port"):
        load(code={"agent_host": host})


@pytest.mark.parametrize(
    "host",
    ["agent", "Agent.example.", "10.1.2.3", "my_agent", "_x", "::1", "[fe80::1%eth0]", "bücher.example", "127.1"],
)
def test_usable_hosts(load, host):
    """Names, also with underscores or of other alphabets, and addresses are taken."""
    assert load({"DD_AGENT_HOST": host}).warnings == ()


@pytest.mark.parametrize(
    "url", ["c:4318", "grpc://c:4317", "http://", "http://c:99999", "http://c:4318:1", "http://c#f"]
)
@pytest.mark.parametrize(
    "variable",
    [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "DD_APM_TELEMETRY_DD_URL",
    ],
)
def test_an_unusable_endpoint_costs_one_warning(load, variable, url):
    """It is named once, and the next source counts."""
    config = load({variable: url}, local=f"apm_configuration_default: {{{variable}: 'http://fallback/x?y=1'}}")
    assert config.warnings == tuple(
        text for text in config.warnings if text.startswith(f"{variable}={url!r} is ignored: ")
    )
    assert len(config.warnings) == 1
    assert config.found(BY_ENV[variable].name)[-1].value == "http://fallback/x?y=1"


def test_a_host_in_code_does_not_beat_a_url_silently(load):
    """The URL counts whatever its source, and a host given in code beside it is reported."""
    config = load({"DD_TRACE_AGENT_URL": "http://url:1"}, code={"agent_host": "code"})
    assert config.trace_agent_url == "http://url:1"
    assert config.warnings == ("DD_TRACE_AGENT_URL is set, so agent_host given in code has no effect",)


STATSD = [
    ({}, (), "udp://localhost:8125", ("localhost", "8125")),
    ({}, (DSD,), f"unix://{DSD}", (None, None)),
    ({"DD_AGENT_HOST": "a"}, (DSD,), "udp://a:8125", ("a", "8125")),
    ({"DD_DOGSTATSD_HOST": "b", "DD_AGENT_HOST": "a"}, (), "udp://b:8125", ("b", "8125")),
    ({"DD_DOGSTATSD_HOST": "::1"}, (), "udp://[::1]:8125", ("::1", "8125")),
    ({"DD_DOGSTATSD_PORT": "9"}, (), "udp://localhost:9", ("localhost", "9")),
    ({"DD_AGENT_PORT": "7"}, (), "udp://localhost:7", ("localhost", "7")),
    ({"DD_DOGSTATSD_URL": "/tmp/dsd"}, (), "unix:///tmp/dsd", (None, None)),
    ({"DD_DOGSTATSD_URL": "h"}, (), "udp://h", ("h", "8125")),
    ({"DD_DOGSTATSD_URL": "http://h:1/"}, (), "udp://h:1", ("h", "1")),
    ({"DD_DOGSTATSD_URL": "udp://h:1", "DD_DOGSTATSD_HOST": "x"}, (), "udp://h:1", ("h", "1")),
]


@pytest.mark.parametrize(("environ", "sockets", "url", "shown"), STATSD)
def test_the_dogstatsd_address_follows_the_first_match(load, environ, sockets, url, shown):
    """URL, then host and port with the Agent's host behind them, then socket and default decide."""
    config = load(environ, sockets=sockets)
    snapshot = config.snapshot()
    assert (config.dogstatsd_url, config.warnings) == (url, ())
    assert (snapshot["dd_dogstatsd_host"], snapshot["dd_dogstatsd_port"]) == shown


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_statsd_url, "tcp://h"),
        (parse_statsd_url, "udp://"),
        (parse_statsd_url, "udp://h:x"),
        (parse_host, "a/b"),
        (parse_host, "[]"),
        (parse_agent_url, "windows:\\\\.\\pipe\\x"),
    ],
)
def test_unusable_addresses_are_refused(parse, text):
    """Addresses without host, or of a kind that is not supported, are refused."""
    with pytest.raises(ValueError, match="must"):
        parse(text)


@pytest.mark.parametrize(
    ("url", "host"), [("http://h:1/x", "h"), ("http://[::1]:1", "[::1]"), ("unix:///x", "localhost")]
)
def test_the_host_of_an_agent_url(url, host):
    """The Agent's host is bracketed for IPv6 and `localhost` for a socket."""
    assert agent_host_of(url) == host


@pytest.mark.parametrize(
    ("url", "shown"),
    [("http://u:p@h:1/x@y", "http://h:1/x@y"), ("http://h/u@v", "http://h/u@v"), ("u:p@h", "u:p@h"), ("", "")],
)
def test_user_information_is_removed(url, shown):
    """Only what stands before the `@` of the authority is removed."""
    assert without_user_info(url) == shown


def test_credentials_of_the_agent_url_are_not_shown(load):
    """Neither warnings, nor the snapshot, nor repr, nor the raw text show user information."""
    secret = "s3cret"
    config = load({"DD_TRACE_AGENT_URL": f"http://u:{secret}@h:1", "DD_DOGSTATSD_URL": f"tcp://u:{secret}@h"})
    assert config.trace_agent_url == f"http://u:{secret}@h:1"
    shown = f"{config.warnings} {config.snapshot()} {config!r} {config.found('trace_agent_url')[-1].raw}"
    assert secret not in shown
    assert "http://h:1" in shown
