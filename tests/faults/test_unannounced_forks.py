"""C code that forks without telling Python, as uWSGI does."""

import json
import os

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]


@pytest.mark.parametrize("parent", ["None", "HEADERS"], ids=["root", "continued"])
def test_first_spans_of_two_forks_have_different_ids(program, agent, parent):
    """Trace ids, span ids and the runtime id differ; a continued trace keeps its trace id."""
    ended = program(f"""
import contextlib, ctypes, json
HEADERS = {{"x-datadog-trace-id": "7", "x-datadog-parent-id": "8", "x-datadog-sampling-priority": "1"}}
configure()
trace("parent"); assert dd.flush(10)
def fork():
    time.sleep(0.2)  # the worker falls asleep: it holds no lock that the child would wait for
    return ctypes.PyDLL(None).fork()  # PyDLL keeps the interpreter lock, as uWSGI does
for number in range(2):
    child = fork()
    if not child:
        with dd.continue_trace({parent}) if {parent} else contextlib.nullcontext(), dd.span("outer", tags={{"seq": f"o{{number}}"}}) as outer:
            inner = trace(f"c{{number}}")
        os.write(1, (json.dumps([outer.trace_id, outer.span_id, inner.span_id]) + "\\n").encode())
        assert dd.flush(10)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
""")
    assert ended.returncode == 0, ended.err
    (first_trace, *first_spans), (second_trace, *second_spans) = map(json.loads, ended.out.splitlines())
    assert (first_trace == second_trace) is (parent != "None")
    assert len({*first_spans, *second_spans}) == 4
    # The runtime id stands on the first span of a trace in its process.
    runtime_ids = {agent.spans[seq]["meta"]["runtime-id"] for seq in ("o0", "o1", "parent")}
    assert len(runtime_ids) == 3
