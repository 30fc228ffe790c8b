"""The gate that keeps forks out of imports."""

import threading

from ddtrace_manual._export import fork_guard as fork_gate
from ddtrace_manual._export import run_between_forks


def test_a_fork_waits_for_the_action():
    """While an action runs, the hook before a fork does not return; afterwards it does, and opens the gate again."""
    inside, leave, forked = threading.Event(), threading.Event(), threading.Event()

    def action():
        inside.set()
        leave.wait(10)

    worker = threading.Thread(target=run_between_forks, args=(action,))
    worker.start()
    assert inside.wait(10)
    gate = fork_gate._guard
    forker = threading.Thread(target=lambda: (gate._close(), forked.set(), gate._open_in_parent()))
    forker.start()
    assert not forked.is_set()
    leave.set()
    assert forked.wait(10)
    worker.join()
    forker.join()
    run_between_forks(inside.clear)
    assert not inside.is_set()


def test_a_child_gets_a_gate_of_its_own():
    """In the child the gate is open whatever it was in the parent, also when the parent gave up waiting."""
    gate = fork_gate.ForkGuard()
    gate._close()
    gate._open_in_child()
    assert gate.lock.acquire(timeout=0)
    gate.lock.release()
    gate._open_in_parent()
    assert gate.lock.acquire(timeout=0)
    gate.lock.release()  # its hooks stay: later forks of this process go through it
