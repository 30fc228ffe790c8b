"""Delivery when a signal ends the process. Real processes are killed in tests/faults."""

import os
import signal
import threading

import pytest

from ddtrace_manual.exceptions import ConfigurationError
from ddtrace_manual.integrations import _signals, shutdown_on_signals

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")


@pytest.fixture
def calls(monkeypatch):
    """Note what is called, and restore the handler afterwards."""
    calls = []
    monkeypatch.setattr(_signals, "flush", lambda timeout_s: calls.append(("flush", timeout_s)))
    monkeypatch.setattr(_signals, "shut_down_before_death", lambda timeout_s: calls.append(("shutdown", timeout_s)))
    monkeypatch.setattr(os, "kill", lambda pid, number: calls.append(("kill", pid == os.getpid(), number)))
    before = signal.getsignal(signal.SIGUSR1)
    yield calls
    signal.signal(signal.SIGUSR1, before)


def test_a_deadly_signal_shuts_down_and_kills(calls):
    """With the default action everything is delivered, then the signal is sent again without a handler."""
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    shutdown_on_signals(signal.SIGUSR1, timeout_s=3.0)
    signal.raise_signal(signal.SIGUSR1)
    assert calls == [("shutdown", 3.0), ("kill", True, signal.SIGUSR1)]
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_an_earlier_handler_is_called_after_a_flush(calls):
    """A handler that was there decides how to go on; installing twice chains once."""
    signal.signal(signal.SIGUSR1, lambda number, frame: calls.append(("earlier", number)))
    shutdown_on_signals(signal.SIGUSR1)
    shutdown_on_signals(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    assert calls == [("flush", 5.0), ("earlier", signal.SIGUSR1)]


def test_an_ignored_signal_stays_ignored(calls):
    """A signal that was ignored leads to a flush and nothing else."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    shutdown_on_signals(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    assert calls == [("flush", 5.0)]


def test_pythons_own_interrupt_is_left_alone():
    """SIGINT with Python's handler leads to a normal exit: there is nothing to do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        shutdown_on_signals(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [getattr(signal, "SIGKILL", 9), 12345])
def test_signals_that_cannot_be_handled_are_refused(number):
    """A signal that no program can handle is a configuration error."""
    with pytest.raises(ConfigurationError, match=str(int(number))):
        shutdown_on_signals(number)


def test_other_threads_are_refused():
    """Only the main thread may install handlers."""
    errors = []

    def attempt():
        try:
            shutdown_on_signals()
        except ConfigurationError as exc:
            errors.append(exc)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(errors) == 1
