"""`ddtrace-manual check`: mistakes in how a program makes spans."""

import json
import subprocess
import sys

import pytest

from ddtrace_manual._cli import main
from ddtrace_manual._cli.check_rules import RULES, find_mistakes

HEAD = "import ddtrace_manual as dd\nfrom ddtrace_manual import span, start_span as begin, traced\n"


def rules(source):
    return [each.rule for each in find_mistakes((HEAD + source).encode())]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("dd.start_span('a')", "DDM001"),
        ("begin('a')", "DDM001"),
        ("span('a')", "DDM002"),
        ("def f():\n  s = begin('a')\n  s.set_tag('k', 1)", "DDM003"),
        ("async def f():\n  s: object = dd.span('a')", "DDM003"),
        ("with span(f'a.{1}'): pass", "DDM004"),
        ("with dd.span('a.%s' % x): pass", "DDM004"),
        ("with dd.span('a.' + x): pass", "DDM004"),
        ("with dd.span('a.' + x + '.b'): pass", "DDM004"),
        ("@dd.traced(name='a.{}'.format(x))\ndef f(): ...", "DDM004"),
        ("with dd.start_span('a') as s: pass", "DDM005"),
        ("@traced\n@app.route('/')\ndef f(): ...", "DDM006"),
        ("@dd.traced('a')\n@shared_task\nasync def f(): ...", "DDM006"),
    ],
)
def test_mistake_is_found(source, rule):
    assert rules(source) == [rule]


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n  s = begin('a')\n  s.end()",
        "def f():\n  s = begin('a')\n  return s",
        "def f():\n  s = begin('a')\n  g(s)",
        "def f():\n  s = begin('a')\n  def later():\n    s.end()\n  h(later)",
        "def f():\n  global s\n  s = begin('a')",
        "s = begin('a')",
        "class C:\n  s = begin('a')",
        "def f(self):\n  self.s = begin('a')",
        "def f():\n  s = span('a')\n  with s: pass",
        "with span('a' 'b', resource=f'{x}'): pass",
        "with span('a' + 'b'): pass",
        "with span(f'a'): pass",
        "with span(NAME): pass",
        "@app.route('/')\n@traced\ndef f(): ...",
        "@traced\n@functools.cache\ndef f(): ...",
        "begin('a')  # ddtrace-manual: ignore",
        "other.span('a')",
    ],
)
def test_correct_code_has_no_findings(source):
    assert rules(source) == []


def test_files_without_the_library_are_not_parsed():
    assert find_mistakes(b"this is not python") == []


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "app" / "main.py"
    path.parent.mkdir()
    path.write_text(HEAD + "begin('a')\n")
    return path


def test_text_names_the_place(program, capsys):
    assert main(["check", str(program.parent)]) == 1
    assert capsys.readouterr().out.startswith(f"{program.as_posix()}:3:1: DDM001 ")


def test_json(program, capsys):
    assert main(["check", "--format", "json", str(program)]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["path"], found["line"], found["column"], found["rule"]) == (program.as_posix(), 3, 1, "DDM001")


def test_sarif(program, capsys):
    assert main(["check", "--format", "sarif", str(program)]) == 1
    log = json.loads(capsys.readouterr().out)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert {each["id"] for each in run["tool"]["driver"]["rules"]} == set(RULES)
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 3, "startColumn": 1}


@pytest.mark.parametrize("content", [b"import ddtrace_manual\n(", b"import ddtrace_manual\n\0"], ids=["syntax", "null"])
def test_unreadable_file_is_named_and_others_are_checked(program, content, capsys):
    (program.parent / "broken.py").write_bytes(content)
    assert main(["check", str(program.parent), str(program.parent / "absent.py")]) == 2
    output = capsys.readouterr()
    assert "DDM001" in output.out
    assert "broken.py: not checked" in output.err
    assert "absent.py: not checked" in output.err


def test_environments_and_hidden_folders_are_skipped(program, capsys):
    for name in (".hidden", "env", "node_modules"):
        (program.parent / name).mkdir()
        (program.parent / name / "x.py").write_text(HEAD + "begin('a')\n")
    (program.parent / "env" / "pyvenv.cfg").touch()
    program.write_text(HEAD)
    assert main(["check", str(program.parent)]) == 0
    assert capsys.readouterr().out == ""


def test_other_commands_do_not_load_the_rules():
    code = "import sys; from ddtrace_manual._cli import main; main(['version']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "_cli.check_rules" not in done.stdout
