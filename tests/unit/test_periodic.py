"""The periodic thread: its grid, waking, stopping, failing and forking."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import count

import pytest

from ddtrace_manual._base.periodic import PeriodicThread, Wakeup

WAIT_S = 10.0


class FakeTime:
    """A clock that only a waiting thread moves: each wait takes exactly as long as it was asked to."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def make_wakeup(self):
        time = self

        class Instant(Wakeup):
            def wait(self, timeout_s):
                time.now += timeout_s
                return False

        return Instant()


@pytest.fixture
def run():
    """Start threads that the test need not stop."""
    threads = []

    def start(action, **settings):
        thread = PeriodicThread(action, name="test-periodic", **{"interval_s": 3600.0, **settings})
        threads.append(thread)
        assert thread.start()
        return thread

    yield start
    for thread in threads:
        assert thread.stop(WAIT_S)


def test_calls_keep_to_the_grid_however_long_one_takes(run):
    time, calls, done = FakeTime(), [], threading.Event()
    durations = iter([0.0, 4.0, 25.0, 1.0])

    def action():
        calls.append(time.now)
        time.now += next(durations, 0.0)
        if len(calls) == 5:
            thread._is_stopping = True
            done.set()

    thread = PeriodicThread(
        action, name="test", interval_s=10.0, monotonic=time.monotonic, make_wakeup=time.make_wakeup
    )
    assert thread.start()
    assert done.wait(WAIT_S)
    assert thread.stop(WAIT_S)
    assert calls == [100.0, 110.0, 120.0, 145.0, 150.0]  # 130 and 140 were missed; the call of 140 came at once


def test_wake_calls_at_once_and_is_remembered(run):
    called = threading.Semaphore(0)
    thread = run(called.release)
    for _ in range(3):
        assert called.acquire(timeout=WAIT_S)
        thread.wake()
    assert called.acquire(timeout=WAIT_S)


def test_stop_calls_at_stop_on_the_thread_and_nothing_afterwards(run):
    seen, called = [], threading.Event()
    thread = run(called.set, at_stop=lambda: seen.append(threading.current_thread().name))
    assert called.wait(WAIT_S)
    assert thread.stop(WAIT_S)
    assert thread.stop(0.0)
    assert seen == ["test-periodic"]
    assert not thread.is_running
    assert not thread.start()


def test_stop_does_not_wait_longer_than_asked(run):
    entered, leave = threading.Event(), threading.Event()

    def action():
        entered.set()
        leave.wait(WAIT_S)

    thread = run(action)
    assert entered.wait(WAIT_S)
    assert not thread.stop(0.01)
    leave.set()


def test_stop_on_the_thread_itself_returns_at_once(run):
    stopped = []
    done = threading.Event()

    def action():
        stopped.append(thread.stop(WAIT_S))
        done.set()

    thread = PeriodicThread(action, name="test", interval_s=3600.0)
    thread.start()
    assert done.wait(WAIT_S)
    assert stopped == [False]
    assert thread.stop(WAIT_S)


def test_a_failing_action_is_logged_and_called_again(run, caplog):
    calls = count()
    second = threading.Event()

    def action():
        if next(calls):
            second.set()
        else:
            raise ValueError("once")

    thread = run(action)
    thread.wake()
    assert second.wait(WAIT_S)
    assert "test-periodic has failed" in caplog.text


def test_a_system_without_threads_is_reported(monkeypatch, caplog):
    monkeypatch.setattr(threading.Thread, "start", lambda _self: (_ for _ in ()).throw(RuntimeError("no thread")))
    thread = PeriodicThread(print, name="none", interval_s=1.0)
    assert not thread.start()
    assert not thread.is_running
    assert thread.stop(0.0)
    assert "Could not start the thread none" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gets_a_thread_of_its_own():
    code = """
import os, threading
from ddtrace_manual._base.periodic import PeriodicThread
called = threading.Semaphore(0)
order = []
def after_fork():
    global called
    called = threading.Semaphore(0)
    order.append("hook")
    return True
def action():
    order.append(os.getpid())
    called.release()
thread = PeriodicThread(action, name="forked", interval_s=3600.0, after_fork=after_fork)
silent = PeriodicThread(lambda: None, name="silent", interval_s=3600.0, after_fork=lambda: False)
stopped = PeriodicThread(lambda: None, name="stopped", interval_s=3600.0)
assert not thread.is_running and threading.active_count() == 1
thread.start(), silent.start(), stopped.start()
assert called.acquire(timeout=10) and stopped.stop(10)
pid = os.fork()
if pid == 0:
    good = called.acquire(timeout=10) and order[1:] == ["hook", os.getpid()] and thread.is_running
    good = good and not silent.is_running and silent.stop(1) and not stopped.is_running
    os._exit(0 if good and thread.stop(10) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert thread.is_running and order == order[:1]
assert thread.stop(10) and silent.stop(10)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
