"""Where a process says that it ends."""

import atexit
import os
import sys
from types import SimpleNamespace

import pytest

from ddtrace_manual._export import run_at_exit


class Multiprocessing:
    """Stands in for the modules of `multiprocessing`."""

    def __init__(self, *, is_child):
        self.finalizers = []
        self.after_fork = []
        self.util = SimpleNamespace(
            register_after_fork=lambda anchor, call: self.after_fork.append((anchor, call)),
            Finalize=lambda anchor, call, exitpriority: self.finalizers.append((call, exitpriority)),
        )
        self.process = SimpleNamespace(parent_process=lambda: object() if is_child else None)


@pytest.fixture
def registered(monkeypatch):
    """Catch what would be registered for good."""
    registered = SimpleNamespace(atexit=[], forks=[])
    monkeypatch.setattr(atexit, "register", registered.atexit.append)
    monkeypatch.setattr(os, "register_at_fork", lambda *, after_in_child: registered.forks.append(after_in_child))
    for name in ("uwsgi", "multiprocessing.util", "multiprocessing.process"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return registered


def use(monkeypatch, multiprocessing):
    monkeypatch.setitem(sys.modules, "multiprocessing.util", multiprocessing.util)
    monkeypatch.setitem(sys.modules, "multiprocessing.process", multiprocessing.process)


def shutdown():
    """Stand in for the real one."""


def test_a_plain_process_ends_by_atexit(registered):
    """Without multiprocessing only atexit and the hook after forks are used."""
    run_at_exit(shutdown)
    assert registered.atexit == [shutdown]
    [after_fork] = registered.forks
    after_fork()


def test_a_child_of_multiprocessing_ends_by_its_finalizers(registered, monkeypatch):
    """In a child a finalizer is registered at once, and again when the child forgets its finalizers."""
    multiprocessing = Multiprocessing(is_child=True)
    use(monkeypatch, multiprocessing)
    run_at_exit(shutdown)
    assert multiprocessing.finalizers == [(shutdown, -100)]
    [(anchor, call)] = multiprocessing.after_fork
    call(anchor)
    assert multiprocessing.finalizers == [(shutdown, -100)] * 2


def test_children_to_come_are_provided_for(registered, monkeypatch):
    """In a parent nothing is finalized, but a child will be, also when multiprocessing is imported later."""
    run_at_exit(shutdown)
    multiprocessing = Multiprocessing(is_child=False)
    use(monkeypatch, multiprocessing)
    registered.forks[0]()
    assert multiprocessing.finalizers == []
    [(anchor, call)] = multiprocessing.after_fork
    call(anchor)
    assert multiprocessing.finalizers == [(shutdown, -100)]


@pytest.mark.parametrize(
    ("options", "skips"),
    [({"skip-atexit": True}, True), ({b"skip-atexit": b"true"}, True), ({}, False), (None, False)],
)
def test_uwsgi_may_forbid_work_at_the_end(registered, monkeypatch, options, skips):
    """With --skip-atexit nothing is registered; a strange uWSGI is ignored."""
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))
    run_at_exit(shutdown)
    assert registered.atexit == ([] if skips else [shutdown])


def test_a_system_without_fork(registered, monkeypatch):
    """Where there is no fork, there is no hook."""
    monkeypatch.delattr(os, "register_at_fork")
    run_at_exit(shutdown)
    assert registered.atexit == [shutdown]
