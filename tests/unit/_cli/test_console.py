"""`OTEL_TRACES_EXPORTER=console`: traces on the program's own output."""

import io
import os
import subprocess
import sys

import pytest

from ddtrace_manual._cli import main
from ddtrace_manual._cli.console import ConsoleTransport
from ddtrace_manual._encoding import V04Encoder, V05Encoder

SPAN = {"service": "s", "name": "work", "resource": "\x1b[31m", "trace_id": 1, "span_id": 2, "start": 3, "duration": 4,
        "meta": {}, "metrics": {}}  # fmt: skip


def send(path, body):
    return ConsoleTransport().request("PUT", path, body, {}, 1.0)


@pytest.mark.parametrize(("path", "encoder"), [("/v0.4/traces", V04Encoder), ("/v0.5/traces", V05Encoder)])
def test_traces_are_drawn(capsys, path, encoder):
    assert send(path, encoder().encode([[SPAN], [SPAN]])).status == 200
    output = capsys.readouterr().out
    assert output.count("trace 0000000000000001 · 1 span") == 2
    assert "\x1b" not in output


def test_other_payloads_are_not_accepted(capsys):
    """Statistics and telemetry are off then, as with an Agent that does not know them."""
    assert send("/v0.6/stats", b"x").status == 404
    assert send("/info", None).status == 404
    assert send("/v0.4/traces", None).status == 200
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "none"])
def test_an_output_that_is_gone(monkeypatch, closed):
    stream = io.StringIO() if closed else None
    if closed:
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    assert send("/v0.4/traces", V04Encoder().encode([[SPAN]])).status == 200


def test_the_doctor_looks_for_no_agent(monkeypatch, capsys):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("DD_TRACE_AGENT_URL", "http://127.0.0.1:9")
    assert main(["doctor", "--plain"]) == 0
    assert "Traces are drawn on standard output" in capsys.readouterr().out


def test_a_whole_program():
    """Without an Agent, without a warning, delivered at the end of the program."""
    program = (
        "import ddtrace_manual as dd\n"
        "dd.configure(service='bakery')\n"
        "with dd.span('bake'), dd.span('knead', resource='by hand'): pass\n"
    )
    environ = {**os.environ, "OTEL_TRACES_EXPORTER": "console", "DD_TRACE_AGENT_URL": "http://127.0.0.1:9"}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "└─ knead  by hand" in result.stdout
    assert "2 spans · 1 service" in result.stdout
    assert result.stderr == ""
