"""Contexts in environment variables, for child processes.

Names are upper-case, and every character that is not a letter, digit or underscore becomes an underscore:
`TRACEPARENT`, `X_DATADOG_TRACE_ID`. That is OpenTelemetry's convention for environment variables as carriers.
Values are the same as in headers.

Source: https://opentelemetry.io/docs/specs/otel/context/env-carriers/.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ddtrace_manual._base.log import get_logger

from ._baggage import LEGACY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from opentelemetry.context.context import Context

    from ._otel import DatadogPropagator

__all__ = ["extract_environ", "inject_environ", "variable_name"]

_log = get_logger("propagation")

_OTHER = re.compile("[^A-Za-z0-9_]")


def variable_name(header: str) -> str:
    """Return the name of the variable that carries a header."""
    name = _OTHER.sub("_", header).upper()
    return f"_{name}" if not name or name[0].isdigit() else name


_LEGACY_PREFIX = variable_name(LEGACY_PREFIX)


def _header_name(variable: str) -> str:
    return variable.lower().replace("_", "-")


def inject_environ(
    env: MutableMapping[str, str],
    propagator: DatadogPropagator,
    context: Context | None = None,
) -> None:
    """Write a context into the environment of a child process.

    Variables of an earlier context are removed where the new one has no value for them; without a trace those of
    an earlier trace stay.

    Args:
        env: Usually a copy of the own environment, to be handed to the child.
        propagator: What to write.
        context: `None` is the current one.
    """
    try:
        present = {field: env[name] for field in propagator.fields if (name := variable_name(field)) in env}
        present |= {_header_name(name): env[name] for name in env if name.startswith(_LEGACY_PREFIX)}
        headers = present.copy()
        propagator.inject(headers, context)
        for name in present.keys() - headers.keys():
            del env[variable_name(name)]
        for name, value in headers.items():
            if present.get(name) != value:
                env[variable_name(name)] = value
    except Exception:  # a foreign mapping
        _log.debug("An environment could not be written", exc_info=True)


def extract_environ(
    env: Mapping[str, str],
    propagator: DatadogPropagator,
    context: Context | None = None,
) -> Context:
    """Return `context`, an empty one by default, with what the environment carries.

    Args:
        env: Usually `os.environ`, at the start of the process.
        propagator: What to read.
        context: Base of the result.
    """
    headers = {}
    try:
        for name, value in env.items():
            if variable_name(name) == name:  # others are not of this convention
                headers[_header_name(name)] = value
    except Exception:  # a foreign mapping
        _log.debug("An environment could not be read", exc_info=True)
    return propagator.extract(headers, context)
