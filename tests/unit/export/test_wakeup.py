"""The wakeup."""

import threading

from ddtrace_manual._export import Wakeup


def test_ringing_is_remembered_until_somebody_waits():
    """A wakeup rung once or several times before anybody waits ends exactly one wait."""
    wakeup = Wakeup()
    wakeup.set()
    wakeup.set()
    assert wakeup.wait(0)
    assert not wakeup.wait(0)


def test_another_thread_ends_a_wait():
    """A wait without limit ends when another thread rings."""
    wakeup = Wakeup()
    thread = threading.Thread(target=wakeup.set)
    thread.start()
    assert wakeup.wait()
    thread.join()


def test_any_number_is_a_timeout():
    """Negative timeouts mean now, huge ones are cut to what the system can wait."""
    wakeup = Wakeup()
    assert not wakeup.wait(-1)
    wakeup.set()
    assert wakeup.wait(1e30)
