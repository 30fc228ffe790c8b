"""The bell."""

import threading

from ddtrace_manual._export import Bell


def test_ringing_is_remembered_until_somebody_waits():
    """A bell rung once or several times before anybody waits ends exactly one wait."""
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(0)
    assert not bell.wait(0)


def test_another_thread_ends_a_wait():
    """A wait without limit ends when another thread rings."""
    bell = Bell()
    thread = threading.Thread(target=bell.ring)
    thread.start()
    assert bell.wait()
    thread.join()


def test_any_number_is_a_timeout():
    """Negative timeouts mean now, huge ones are cut to what the system can wait."""
    bell = Bell()
    assert not bell.wait(-1)
    bell.ring()
    assert bell.wait(1e30)
