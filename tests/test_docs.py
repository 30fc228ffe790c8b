"""What the documentation says holds: links lead somewhere, code compiles, examples run, named things exist."""

import ast
import doctest
import http.server
import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import ddtrace_manual

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<title>.+?) *#*$", re.MULTILINE)


def name_of(path):
    """Give a test a readable name."""
    return path.relative_to(ROOT).as_posix()


def code_blocks(page, language):
    """Return the fenced code of one language."""
    text = page.read_text(encoding="utf-8")
    return [textwrap.dedent(block["code"]) for block in FENCE.finditer(text) if block["language"] == language]


def anchors(page):
    """Return the anchors that a page's headings get."""
    titles = [match["title"] for match in HEADING.finditer(FENCE.sub("", page.read_text(encoding="utf-8")))]
    plain = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip()) for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_inside_the_project_lead_somewhere(page):
    """Every relative link names a file that exists, and a heading in it where it names one."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in LINK.finditer(text):
        path, _, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link["target"])
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_code_compiles_and_names_what_exists(page):
    """Every Python block is valid, and everything it takes from `dd` is public."""
    for code in code_blocks(page, "python"):
        if "--8<--" in code or code.startswith(">>>"):
            continue  # included from examples/, which run; a doctest, which runs below
        source = code.replace("    ...\n", "    pass\n")
        compile(source, name_of(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        tree = ast.parse(source)
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dd"
        }
        assert not used - set(ddtrace_manual.__all__)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_doctests_hold(page):
    """Every block that shows a session with the interpreter gives what it shows."""
    sessions = [code for language in ("python", "pycon") for code in code_blocks(page, language) if ">>> " in code]
    for number, code in enumerate(sessions):
        shown = doctest.DocTestParser().get_doctest(code, {}, f"{name_of(page)}[{number}]", name_of(page), 0)
        result = doctest.DocTestRunner(verbose=False).run(shown)
        assert result.failed == 0


def test_mentioned_make_targets_exist():
    """Every `make target` that a page or the CI script mentions is in the Makefile."""
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in [*PAGES, ROOT / ".ci" / "run"]:
        mentioned = set(re.findall(r"(?:^|`)(?:make|step) ([\w./-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert not mentioned - targets, name_of(page)


def test_included_examples_exist():
    """Every include names a file, and a marked section where it names one."""
    for page in PAGES:
        for target in re.findall(r'--8<-- "([^"]+)"', page.read_text(encoding="utf-8")):
            path, _, section = target.partition(":")
            text = (ROOT / path).read_text(encoding="utf-8")
            assert not section or f"[start:{section}]" in text, (name_of(page), target)


class _Agent(http.server.BaseHTTPRequestHandler):
    """Accepts everything."""

    protocol_version = "HTTP/1.1"

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - names that http.server looks up

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def agent():
    """A server that answers like an Agent and remembers what was asked."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Agent) as server:
        server.paths = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.integration
@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_example_runs(example, agent):
    """Every small example ends well, warns about nothing, and its traces arrive."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_"))}
    environ["DD_TRACE_AGENT_URL"] = f"http://127.0.0.1:{agent.server_port}"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert any(path.endswith("/traces") for path in agent.paths)
