"""The command `ddtrace-manual`: its sub-commands, their forms, and exit statuses."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from ddtrace_manual._cli import main, screen
from ddtrace_manual._cli import main as command
from ddtrace_manual._cli.findings import note, ok, problem, warning
from ddtrace_manual._version import __version__
from ddtrace_manual.config import SETTINGS, WITHOUT_EFFECT

REPORT = [ok("fine"), note("[bold]odd[/bold]"), warning("strange", "look at it"), problem("broken", "repair it " * 30)]

COVERAGE = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}


def run(*arguments, **environ):
    """Run the command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ddtrace_manual", *arguments],
        env={"PATH": "", **COVERAGE, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def terminal(monkeypatch):
    """Send output to a terminal, so that the pretty form is chosen where it can be."""

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    def use():  # in the test itself: the test runner sets the output of each phase
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")
        return stream

    return use


def test_config_shows_what_is_set(monkeypatch, capsys):
    """The table has the settings that were set, with value and origin; what is wrong stands below."""
    monkeypatch.setenv("DD_SERVICE", "shop")
    monkeypatch.setenv("DD_TAGS", "a:1,b:2")
    monkeypatch.setenv("DD_TRACE_RATE_LIMIT", "many")
    monkeypatch.setenv("DD_TRACE_DEBUG", "1")
    monkeypatch.setenv("DD_PROFILING_ENABLED", "1")
    monkeypatch.setenv("OTEL_PROPAGATORS", "b3")
    assert main(["config"]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == "setting value from"
    for row in (
        "DD_SERVICE shop environment",
        "DD_TAGS a:1,b:2 environment",
        "DD_TRACE_DEBUG true environment",
        "DD_PROFILING_ENABLED 1 environment, without effect",
        "DD_TRACE_PROPAGATION_STYLE b3 OpenTelemetry variable",
        "DD_TRACE_AGENT_URL http://localhost:8126 default",
    ):
        assert row in rows
    assert rows[-1].startswith("warning: DD_TRACE_RATE_LIMIT='many' is ignored")
    assert len(rows) < 15


def test_config_can_show_everything(capsys):
    """`--all` has a row for each setting."""
    assert main(["config", "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(SETTINGS) + len(WITHOUT_EFFECT) + 1


def test_config_hides_secrets_and_survives_odd_values(monkeypatch, capsys):
    """Keys and passwords are hidden; control characters and long values cannot spoil the table."""
    monkeypatch.setenv("DD_API_KEY", "tres-secret")
    monkeypatch.setenv("DD_TRACE_AGENT_URL", "http://me:tres-secret@host:1")
    monkeypatch.setenv("DD_SERVICE", "a\x1b[31mb")
    monkeypatch.setenv("DD_ENV", "x" * 5000)
    for form in ("--plain", "--json"):
        assert main(["config", form]) == 0
        out = capsys.readouterr().out
        assert "tres-secret" not in out
        assert "\x1b" not in out
        assert "<hidden>" in out
        assert "http://host:1" in out


def test_config_as_json(monkeypatch, capsys):
    """The document has every setting with value, origin and whether it is used."""
    monkeypatch.setenv("DD_TRACE_SAMPLE_RATE", "0.5")
    monkeypatch.setenv("DD_TRACE_HEADER_TAGS", "a:b")
    monkeypatch.setenv("DD_TRACE_SAMPLING_RULES", '[{"sample_rate": 1}]')
    assert main(["config", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["settings"]) == len(SETTINGS) + len(WITHOUT_EFFECT)
    expected = {"name": "trace_sample_rate", "value": 0.5, "origin": "env_var", "is_used": True}
    assert document["settings"]["DD_TRACE_SAMPLE_RATE"] == expected
    assert document["settings"]["DD_TRACE_HEADER_TAGS"]["value"] == {"a": "b"}
    assert document["settings"]["DD_TRACE_SAMPLING_RULES"]["value"] == [{"sample_rate": 1}]
    assert not document["settings"]["DD_TRACE_METHODS"]["is_used"]


def test_version(capsys):
    """Versions of the library, Python and what it is built on."""
    assert main(["version"]) == 0
    assert f"ddtrace-manual {__version__}" in capsys.readouterr().out
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ddtrace-manual"] == __version__


def test_version_of_what_is_not_installed(monkeypatch, capsys):
    """A missing package is named as such."""
    monkeypatch.setattr(sys.modules["ddtrace_manual._cli.main"], "_COMPANIONS", ("no-such-distribution",))
    main(["version"])
    assert "no-such-distribution not installed" in capsys.readouterr().out


def test_doctor_says_by_its_status_whether_traces_can_arrive(agent):
    """Status 0 with an Agent, 1 without, as text and as JSON."""
    good = run("doctor", DD_TRACE_AGENT_URL=agent.url)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("\nTraces can arrive.\n")
    bad = run("doctor", "--json", "--no-trace", DD_TRACE_AGENT_URL="http://127.0.0.1:9")
    assert (bad.returncode, bad.stderr) == (1, "")
    document = json.loads(bad.stdout)
    assert document["traces_can_arrive"] is False
    assert {"level", "what", "advice"} == set(document["findings"][0])


def test_doctor_in_both_forms(monkeypatch, capsys, agent, tmp_path):
    """Text for people, JSON for programs, with and without an application."""
    monkeypatch.setenv("DD_TRACE_AGENT_URL", agent.url)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "application_of_this_test.py").write_text("")
    assert main(["doctor", "--plain"]) == 0
    assert "Traces can arrive" in capsys.readouterr().out
    main(["doctor", "--json", "--import", "application_of_this_test"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert findings[0] == {"level": "ok", "what": "Imported application_of_this_test", "advice": ""}


def test_doctor_imports_the_application(agent, tmp_path):
    """With `--import` the settings given in code count, and an application's exit is not the doctor's."""
    (tmp_path / "shop.py").write_text("import ddtrace_manual as dd\ndd.configure(service='from-code')\n")
    done = run("doctor", "--import", "shop", DD_TRACE_AGENT_URL=agent.url, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "The application configured tracing" in done.stdout
    assert "from-code" in {span["service"] for span in agent.spans()}


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["config", "--plain", "--json"], ["doctor", "--import"]])
def test_a_wrong_command_line_is_status_2(arguments, capsys):
    """Usage errors go to stderr."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: ddtrace-manual" in capsys.readouterr().err


def test_a_reader_that_left_is_no_error():
    """`ddtrace-manual config --all | head -1` ends in silence."""
    line = f"{sys.executable} -m ddtrace_manual config --all | {sys.executable} -c 'import sys; sys.stdin.close()'"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_ctrl_c_ends_it(monkeypatch):
    """An interrupt is status 130 and no traceback."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["ddtrace_manual._cli.main"], "make_screen", interrupt)
    assert command(["version"]) == 130


def test_an_output_without_unicode_is_served():
    """Arrows become escapes where the output's encoding has none."""
    done = run("doctor", DD_TRACE_AGENT_URL="http://127.0.0.1:9", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "\\u2192" in done.stdout


def test_pretty_output(terminal, monkeypatch):
    """On a terminal with `rich` the same content comes with colours; nothing in it is taken as markup."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = terminal()
    pretty = screen.make_screen()
    assert isinstance(pretty, screen.RichScreen)
    pretty.report(REPORT)
    pretty.table(("a", "b"), [("1", "[red]2")])
    pretty.line("[green]plain")
    text = stream.getvalue()
    for part in (
        "fine",
        "[bold]odd[/bold]",
        "look at it",
        "repair it",
        "[red]2",
        "[green]plain",
        "1 problem, 1 warning",
    ):
        assert part in text
    assert "\x1b[" in text


def test_without_rich_the_output_is_plain(terminal, monkeypatch):
    """The command works without the extra `[console]`, and prettiness can be declined."""
    stream = terminal()
    assert isinstance(screen.make_screen(plain=True), screen.PlainScreen)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    plain = screen.make_screen()
    assert isinstance(plain, screen.PlainScreen)
    plain.report(REPORT)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert "warning  strange\n         → look at it\n" in text
