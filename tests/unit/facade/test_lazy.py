"""A loader that imports an application's modules again, as Temporal's sandbox does, gets no second copy of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import builtins, importlib, sys
import ddtrace_manual as dd
from ddtrace_manual import testing
from ddtrace_manual._api.runtime import RUNTIME

if {decorate_first}:
    dd.traced(lambda: None)
host, host_import = sys.modules, builtins.__import__
sandbox = {{name: module for name, module in host.items() if not name.startswith("ddtrace_manual.")}}
source = '''
import ddtrace_manual as dd

@dd.traced("work")
def work():
    with dd.span("inside"):
        return dd.Config.__module__

@dd.untraced
def left_alone(): ...

work()
'''
with testing.SpanRecorder() as spans:
    sys.modules, builtins.__import__ = sandbox, importlib.__import__
    try:
        exec(source, {{"__name__": "workflows", "__builtins__": builtins}})
    finally:
        sys.modules, builtins.__import__ = host, host_import
    assert sorted(span.name for span in spans) == ["inside", "work"], list(spans)
for name, module in sandbox.items():
    if name.startswith("ddtrace_manual"):
        assert host[name] is module, name
assert dd.Config is host["ddtrace_manual.config"].Config
from ddtrace_manual._decorators import dispatch as _traced_targets
assert host["ddtrace_manual._decorators.dispatch"] is _traced_targets
"""


@pytest.mark.parametrize("decorate_first", [False, True], ids=["first decorated there", "decorated before"])
def test_a_loader_that_imports_again_gets_no_second_copy(decorate_first):
    program = PROGRAM.format(decorate_first=decorate_first)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
