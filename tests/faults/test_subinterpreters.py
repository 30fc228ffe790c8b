"""The library in an interpreter beside the main one, which may have a lock of its own and refuse daemon threads."""

from __future__ import annotations

import importlib.util
import sys

import pytest

NAME = next((name for name in ("_interpreters", "_xxsubinterpreters") if importlib.util.find_spec(name)), None)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NAME is None, reason="this Python shows no sub-interpreters"),
]

PROGRAM = """
import {name} as interpreters
import sys, time

def create():
    if sys.version_info >= (3, 13):
        return interpreters.create("isolated" if {isolated} else "legacy")
    return interpreters.create(isolated={isolated})

def destroy(which):
    end = time.monotonic() + 10
    while True:
        try:
            return interpreters.destroy(which)
        except RuntimeError:  # a thread that has ended is about to be forgotten
            if time.monotonic() > end: raise
        time.sleep(0.01)

CODE = '''
import sys
sys.path[:] = {path!r}
import ddtrace_manual as dd
dd.configure(service="x", agent_url={url!r}, instrumentation_telemetry_enabled=False,
             remote_configuration_enabled=False, trace_startup_logs={startup_logs})
for number in range(3):
    with dd.span("s", tags={{"seq": f"%s{{number}}"}}): pass
{ending}
'''
for name in "ab":
    which = create()
    failure = interpreters.run_string(which, CODE % name)
    assert failure is None, failure
    destroy(which)
print("well")
"""


@pytest.mark.parametrize("isolated", [False, True], ids=["shared lock", "isolated"])
@pytest.mark.parametrize(
    "ending",
    ["assert dd.shutdown(10)", "assert dd.flush(10); dd.shutdown(10)", ""],
    ids=["shut down", "flushed", "destroyed"],
)
def test_a_subinterpreter_delivers(program, agent, isolated, ending):
    """Two interpreters after one another deliver, before or while they are destroyed."""
    if isolated and sys.version_info[:2] == (3, 12):
        pytest.skip("the module ssl of Python 3.12 corrupts memory in isolated interpreters")
    if not (isolated or ending) and sys.version_info < (3, 12):
        pytest.skip("before Python 3.12 an interpreter with a thread cannot be destroyed: shut down before")
    code = PROGRAM.format(
        name=NAME, isolated=isolated, path=sys.path, url=agent.url, ending=ending, startup_logs="flush" in ending
    )
    ended = program(code, prelude=False)
    assert (ended.returncode, ended.out) == (0, "well\n"), ended.err
    assert dict(agent.accepted) == dict.fromkeys(["a0", "a1", "a2", "b0", "b1", "b2"], 1)
