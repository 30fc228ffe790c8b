"""What `configure()` does about SIGTERM. Real processes are killed in tests/faults."""

import signal
import sys
import threading
from types import SimpleNamespace

import pytest

from ddtrace_manual import shutdown
from ddtrace_manual._export import SignalHandler, handle_sigterm, restore_sigterm
from ddtrace_manual.integrations import shutdown_on_signals

calls = []


@pytest.fixture(autouse=True)
def sigterm():
    """Start with the default action; put back what the test runner had."""
    calls.clear()
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def install():
    handle_sigterm(lambda: calls.append("send"), lambda: calls.append("drain"))
    return signal.getsignal(signal.SIGTERM)


def servers_handler(number, _frame):
    calls.append(("server", number))


def test_default_action_is_replaced_once_and_restored():
    ours = install()
    assert isinstance(ours, SignalHandler)
    assert install() is ours
    restore_sigterm()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_function_is_called_after_the_exporter_is_told():
    signal.signal(signal.SIGTERM, servers_handler)
    install()
    signal.raise_signal(signal.SIGTERM)
    assert calls == ["send", ("server", signal.SIGTERM)]
    restore_sigterm()
    assert signal.getsignal(signal.SIGTERM) is servers_handler


def test_failure_to_deliver_does_not_keep_the_signal_from_its_handler():
    signal.signal(signal.SIGTERM, servers_handler)
    handle_sigterm(lambda: 1 / 0, lambda: None)
    signal.raise_signal(signal.SIGTERM)
    assert calls == [("server", signal.SIGTERM)]


def test_ignored_signal_stays_ignored():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert install() == signal.SIG_IGN


def test_handler_that_is_not_from_python_stays(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda number: None)
        patch.setattr(signal, "signal", lambda *args: calls.append(args))
        install()
    assert not calls


def test_uwsgi_keeps_its_handlers(monkeypatch):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace())
    assert install() == signal.SIG_DFL


def test_interpreter_without_signals_is_left_alone(monkeypatch):
    """As a sub-interpreter."""

    def refuse(*_args):
        raise ValueError("signal only works in main thread of the main interpreter")

    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", refuse)
        assert install() == signal.SIG_DFL


def test_other_threads_change_nothing():
    ours = install()
    thread = threading.Thread(target=restore_sigterm)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is ours
    restore_sigterm()
    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_handler_that_a_server_set_later_stays():
    install()
    signal.signal(signal.SIGTERM, servers_handler)
    restore_sigterm()
    assert signal.getsignal(signal.SIGTERM) is servers_handler


def test_helper_takes_over_the_handler_and_keeps_it():
    ours = install()
    shutdown_on_signals(timeout_s=2.0)
    assert signal.getsignal(signal.SIGTERM) is ours
    restore_sigterm()
    assert signal.getsignal(signal.SIGTERM) is ours


def test_configure_handles_sigterm_until_shutdown(fresh_configuration):
    fresh_configuration()
    assert isinstance(signal.getsignal(signal.SIGTERM), SignalHandler)
    fresh_configuration(handle_sigterm=False)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    fresh_configuration()
    shutdown()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.fixture
def fresh_configuration(clean_runtime, monkeypatch):
    """Return `configure` for a process in which it was never called."""
    from opentelemetry import trace
    from opentelemetry.util._once import Once

    from ddtrace_manual._setup import lifecycle as _setup

    fresh = _setup._Setup()
    fresh.is_exit_hooked = True
    monkeypatch.setattr(_setup, "_setup", fresh)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())

    def configure(**settings):
        return _setup.configure(
            instrumentation_telemetry_enabled=False,
            remote_configuration_enabled=False,
            trace_startup_logs=False,
            **settings,
        )

    return configure
