"""The pytest plugin as a user's session sees it."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import ddtrace_manual.testing

ROOT = Path(__file__).resolve().parents[3]

CHECK_IMPORTS = """
import sys
import _ddtrace_manual_pytest
heavy = ("ddtrace_manual", "opentelemetry", "requests", "msgpack", "http.server")
loaded = [name for name in sys.modules if name.startswith(heavy)]
assert not loaded, loaded
"""

USER_TESTS = """
import threading
import ddtrace_manual as dd
import pytest

def code_under_test():
    dd.configure(service="app")
    with dd.span("work"):
        pass

@pytest.mark.parametrize("turn", range(6))
def test_isolated(spans, turn):
    code_under_test()
    spans.assert_tree("work [service=app]")
    assert not any(each.name.startswith("ddtrace") for each in threading.enumerate())

def test_agent(fake_agent):
    dd.configure(service="app", agent_url=fake_agent.url)
    try:
        with dd.span("sent"):
            pass
        assert dd.flush()
    finally:
        dd.shutdown()
    assert [each["name"] for each in fake_agent.spans()] == ["sent"]
"""


def test_the_plugin_loads_nothing_heavy():
    """Sessions that do not use the fixtures do not pay for the package, and coverage sees its import."""
    subprocess.run([sys.executable, "-W", "error", "-c", CHECK_IMPORTS], check=True)


@pytest.mark.integration
@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_a_users_session(tmp_path, options):
    """The fixtures are there without any import, isolated per test, in one process and in several."""
    (tmp_path / "test_user.py").write_text(textwrap.dedent(USER_TESTS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_the_package_exports_what_it_says():
    """Every public name exists and is sorted."""
    names = ddtrace_manual.testing.__all__
    assert names == sorted(names)
    assert all(hasattr(ddtrace_manual.testing, name) for name in names)


@pytest.mark.integration
def test_the_page_about_testing_is_right(tmp_path):
    """The code of the how-to page, as one file, passes as the tests it shows."""
    page = (ROOT / "docs" / "how-to" / "test-your-spans.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_page.py").write_text("\n".join(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(each.count('def test_') for each in code)} passed" in done.stdout
