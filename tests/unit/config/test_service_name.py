"""The service name that the command line suggests."""

from __future__ import annotations

import os

import pytest

from ddtrace_manual.config._service_name import infer_service_name


@pytest.fixture
def tree(tmp_path):
    """A directory with scripts, packages and executables."""
    for name in (
        "srv/app/main.py",
        "project/manage.py",
        "project/jobs/nightly.py",
        "pkg/outer/__init__.py",
        "pkg/outer/inner/__init__.py",
        "pkg/outer/inner/cli.py",
        "venv/bin/gunicorn",
        "venv/sbin/tool.py",
        "venv/bin/deep/tool.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


CASES = [
    (["{0}/srv/app/main.py"], "app"),
    (["{0}/srv/app"], "app"),
    (["srv/app/main.py"], "app"),
    (["{0}/project/jobs/nightly.py"], "project"),
    (["{0}/pkg/outer/inner/cli.py"], "outer.inner"),
    (["{0}/venv/bin/gunicorn", "-w", "2", "{0}/srv/app/main.py"], "app"),
    (["{0}/venv/bin/gunicorn", "--chdir", "{0}/srv/app"], "app"),
    (["{0}/venv/bin/gunicorn", "--chdir={0}/srv/app", "x=y", "app:app"], None),
    (["{0}/venv/sbin/tool.py"], None),
    (["{0}/venv/bin/deep/tool.py"], None),
    (["runner", "-m", "json.tool"], "json.tool"),
    (["runner", "-m", "no_such_module_anywhere"], None),
    (["runner", "-m", ""], None),
    (["runner", "-m", ".x"], None),
    ([""], None),
    (["-c"], None),
    ([], None),
    (["a\0b"], None),
    (["{0}/missing.py"], None),
    (["/"], None),
]


@pytest.mark.parametrize(("argv", "name"), CASES)
def test_the_command_line_suggests_a_name(tree, argv, name):
    """Packages, script directories and modules name the service; executables, flags and assignments do not."""
    arguments = [argument.format(tree) for argument in argv]
    assert infer_service_name(arguments, str(tree)) == name


def test_a_directory_that_cannot_be_read_suggests_nothing(tree, monkeypatch):
    """A failure of the file system ends the inference, not the program."""

    def fail(*_):
        raise OSError

    monkeypatch.setattr("pathlib.Path.exists", fail)
    assert infer_service_name([str(tree / "srv/app/main.py")], os.sep) is None


def test_an_inferred_name_is_calculated(load, tree):
    """An inferred name counts as calculated and not as chosen by the user."""
    config = load(argv=["srv/app/main.py"], cwd=str(tree))
    assert (config.service, config.origin("service"), config.service_is_user_provided) == ("app", "calculated", False)
