"""Threads that a forked child starts while its hooks still run get on."""

import subprocess
import sys

PROGRAM = """
import os, sys, threading
from ddtrace_manual._export.fork_guard import run_between_forks

done = threading.Event()
thread = lambda: threading.Thread(target=lambda: (started.set(), run_between_forks(done.set)), daemon=True).start()
started = threading.Event()
os.register_at_fork(after_in_child=lambda: (thread(), started.wait(5)))  # as tracing does, before the guard exists
run_between_forks(lambda: None)
child = os.fork()
if child == 0:
    os._exit(0 if done.wait(5) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_thread_started_in_an_earlier_hook_of_the_fork_is_not_blocked():
    """It waits for the lock that the fork holds; the child opens that lock, rather than make another one."""
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False, timeout=60).returncode == 0
