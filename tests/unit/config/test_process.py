"""What the process says about itself."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual.config import process_environ, publish_session
from ddtrace_manual.config._process import normalize_tag_value, run_module, without_credentials

SCRIPT = "entrypoint.basedir:app,entrypoint.name:main,entrypoint.type:script,entrypoint.workdir:srv"

TAGS = [
    (["/srv/app/main.py"], None, "/srv", {"DD_SERVICE": "x"}, f"{SCRIPT},svc.user:true"),
    (["app/main.py"], None, "/srv", {}, f"{SCRIPT},svc.auto:unnamed-python-service"),
    (
        ["/lib/pkg/__main__.py"],
        ["python", "-m", "pkg"],
        "/srv",
        {"DD_SERVICE": "x"},
        "entrypoint.basedir:pkg,entrypoint.name:pkg,entrypoint.type:module,entrypoint.workdir:srv,svc.user:true",
    ),
    (
        ["/x/bin/gunicorn"],
        None,
        "/",
        {"DD_SERVICE": "x"},
        "entrypoint.name:gunicorn,entrypoint.type:script,svc.user:true",
    ),
    ([""], None, "/srv", {"DD_SERVICE": "x"}, "entrypoint.workdir:srv,svc.user:true"),
    ([], None, "/srv", {"DD_SERVICE": "x"}, "entrypoint.workdir:srv,svc.user:true"),
    (["a.py"], None, "/", {"DD_EXPERIMENTAL_PROPAGATE_PROCESS_TAGS_ENABLED": "false"}, ""),
]


@pytest.mark.parametrize(("argv", "orig_argv", "cwd", "environ", "tags"), TAGS)
def test_process_tags_describe_the_entry_point(load, argv, orig_argv, cwd, environ, tags):
    """Process tags name script or module, its directory, the working directory and who chose the service."""
    assert load(environ, argv=argv, orig_argv=orig_argv, cwd=cwd).process_tags == tags


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My App!", "my_app"),
        ("a//b.c-d_e", "a//b.c-d_e"),
        ("__x__", "x"),
        ("a  b", "a_b"),
        ("Ünïcode", "ünïcode"),
        ("x" * 150, "x" * 100),
        ("!!!", ""),
    ],
)
def test_tag_values_are_normalized(text, expected):
    """Values are cut, lower-cased, and cleaned of unusual characters."""
    assert normalize_tag_value(text) == expected


@given(st.text())
def test_normalized_values_have_no_separators(text):
    """No value can be mistaken for another tag."""
    value = normalize_tag_value(text)
    assert not set(value) & set(",: ")
    assert "__" not in value


@pytest.mark.parametrize(
    ("orig_argv", "module"),
    [
        (["python", "-m", "pkg.mod", "x"], "pkg.mod"),
        (["python", "-mpkg"], "pkg"),
        (["python", "-Bm", "pkg"], "pkg"),
        (["python", "-W", "ignore", "-X", "dev", "-m", "pkg"], "pkg"),
        (["python", "-Wmodule", "main.py"], None),
        (["python", "main.py", "-m", "pkg"], None),
        (["python", "-c", "import m"], None),
        (["python", "--check-hash-based-pycs", "default", "-B", "x.py"], None),
        (["python", "-"], None),
        (["python"], None),
        ([], None),
    ],
)
def test_the_module_of_the_command_line(orig_argv, module):
    """Only the interpreter's own `-m` names the module that runs."""
    assert run_module(orig_argv) == module


def test_the_environment_is_the_living_one(monkeypatch):
    """Who hands the environment on sees what it is now."""
    monkeypatch.setenv("SOME_VARIABLE", "1")
    assert process_environ()["SOME_VARIABLE"] == "1"


def test_the_session_is_published_for_children(monkeypatch):
    """Children see this process as their parent and the oldest ancestor as their root."""
    monkeypatch.delenv("_DD_ROOT_PY_SESSION_ID", raising=False)
    monkeypatch.setenv("_DD_PARENT_PY_SESSION_ID", "old")
    publish_session("own")
    assert (os.environ["_DD_ROOT_PY_SESSION_ID"], os.environ["_DD_PARENT_PY_SESSION_ID"]) == ("own", "own")
    environ = {"_DD_ROOT_PY_SESSION_ID": "root"}
    publish_session("child", environ)
    assert environ == {"_DD_ROOT_PY_SESSION_ID": "root", "_DD_PARENT_PY_SESSION_ID": "child"}
    monkeypatch.delenv("_DD_ROOT_PY_SESSION_ID")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://token:x@gitlab.com/a/b.git", "https://gitlab.com/a/b.git"),
        ("http://token@gitlab.com/a/b.git", "http://gitlab.com/a/b.git"),
        ("ssh://token@gitlab.com/a/b.git", "ssh://gitlab.com/a/b.git"),
        ("HTTPS://a@b@host", "HTTPS://host"),
        ("https://host/path@1", "https://host/path@1"),
        ("git@github.com:user/p.git", "git@github.com:user/p.git"),
        ("gitlab.com/a/b.git", "gitlab.com/a/b.git"),
        ("", ""),
    ],
)
def test_credentials_leave_repository_urls(url, expected):
    assert without_credentials(url) == expected
