"""Importing the SDK under an environment it does not like."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from ddtrace_manual.config._sdk import import_sdk
import_sdk()
print("opentelemetry.sdk.trace" in sys.modules, os.environ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"])
"""


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "7", "", " "])
def test_any_limit_lets_the_sdk_be_imported(text):
    """A span attribute limit that is no number does not keep the SDK from being imported, and stays as it was."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": text},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"True {text}\n", "")


def test_a_limit_that_is_hidden_is_put_back(monkeypatch):
    """The variable is there again after the import, also in a process that has the SDK already."""
    from ddtrace_manual.config._sdk import import_sdk

    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    import_sdk()
    assert os.environ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"] == "many"
