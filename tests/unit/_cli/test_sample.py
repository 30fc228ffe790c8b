"""`ddtrace-manual sample`: what rules would keep."""

import json

import pytest

from ddtrace_manual._cli import main
from ddtrace_manual._receiver import TraceViewer, clean_span

SPANS = [
    {
        "service": "web",
        "name": "n",
        "resource": f"GET /{number}\x1b[0m",
        "trace_id": number + 1,
        "span_id": 1,
        "start": number,
    }
    for number in range(50)
]


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.json"
    path.write_text(json.dumps([{"service": "web", "resource": "GET /1*", "sample_rate": 0}, {"sample_rate": 1}]))
    return str(path)


@pytest.fixture
def traces(tmp_path):
    path = tmp_path / "traces.json"
    path.write_text(json.dumps([[span] for span in SPANS]))
    return str(path)


def test_rules_are_applied_to_a_file(rules, traces, capsys):
    assert main(["sample", "--rules", rules, "--traces", traces, "--plain"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("39 of 50 traces kept (78 %)\n")
    assert "11      0     0 %" in output
    assert '{"sample_rate": 0.0, "service": "web", "resource": "GET /1*"}' in output
    assert "… 10 more; --json shows all" in output
    assert "\x1b" not in output


def test_rules_are_applied_to_a_running_viewer(rules, capsys):
    with TraceViewer() as viewer:
        viewer.store.add([[clean_span(span)] for span in SPANS])
        assert main(["sample", "--rules", rules, "--traces", viewer.url, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["total"]["kept"], len(report["resources"])) == (39, 50)


def test_the_rate_limit(rules, traces, capsys):
    assert main(["sample", "--rules", rules, "--traces", traces, "--plain", "--rate-limit", "5"]) == 0
    assert "5 of 50 traces kept (10 %)\nThe rate limit turned 34 away." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ('[{"sample_rate": 2}]', "is not from 0 to 1"),
        ('[{"service": "x"}]', "sample_rate"),
        ("{}", "must be a list"),
        (None, "cannot be read"),
        (b"\xff", "cannot be read"),
    ],
)
def test_wrong_rules(tmp_path, traces, capsys, content, message):
    path = tmp_path / "wrong.json"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert main(["sample", "--rules", str(path), "--traces", traces]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"), [("x", "is not JSON"), ("[1]", "no array of traces"), ("[" * 100_000, "is not JSON")]
)
def test_wrong_traces(tmp_path, rules, capsys, content, message):
    path = tmp_path / "wrong.json"
    path.write_text(content)
    assert main(["sample", "--rules", rules, "--traces", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_no_viewer(rules, agent, website, capsys):
    """Nothing listens, an Agent does, or a web site."""
    for url in (agent.url, website.url):
        assert main(["sample", "--rules", rules, "--traces", url]) == 2
        assert "is not `ddtrace-manual view`" in capsys.readouterr().err
    agent.stop()
    assert main(["sample", "--rules", rules, "--traces", agent.url]) == 2
    assert "Is `ddtrace-manual view` running?" in capsys.readouterr().err
