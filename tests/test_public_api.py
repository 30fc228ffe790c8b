"""The public names are those of the design, sorted, and nothing else."""

from __future__ import annotations

import importlib
import pkgutil

import ddtrace_manual

DESIGNED = {
    # lifecycle
    "configure", "Config", "flush", "shutdown", "counters", "CounterSnapshot",
    # make spans
    "traced", "untraced", "span", "start_span", "Span",
    # read
    "current_span", "root_span",
    # act on the current span
    "set_tag", "set_tags", "add_event", "set_error", "add_link", "keep", "drop",
    # propagate
    "inject", "extract", "continue_trace", "inject_environ", "extract_environ",
    # baggage
    "get_baggage", "set_baggage", "remove_baggage", "clear_baggage",
    # errors
    "exceptions",
}  # fmt: skip


def test_public_names_are_the_designed_ones():
    """`__all__` holds exactly the names of the design."""
    assert set(ddtrace_manual.__all__) == DESIGNED


def test_every_public_name_exists_and_is_documented():
    """Each name of `__all__` can be imported and has a docstring."""
    for name in ddtrace_manual.__all__:
        assert getattr(ddtrace_manual, name).__doc__, name


def test_names_of_every_package_exist():
    """Names of each package are unique and exist; that they are sorted is checked by the linter."""
    packages = [ddtrace_manual.__name__]
    packages += [
        found.name for found in pkgutil.iter_modules(ddtrace_manual.__path__, "ddtrace_manual.") if found.ispkg
    ]
    for package in packages:
        module = importlib.import_module(package)
        names = list(getattr(module, "__all__", []))
        assert len(set(names)) == len(names), package
        assert all(hasattr(module, name) for name in names), package


def test_unknown_names_are_refused():
    """A name that does not exist raises AttributeError, as for any module."""
    assert not hasattr(ddtrace_manual, "nonsense")
