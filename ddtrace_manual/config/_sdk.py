"""Import the OpenTelemetry SDK whatever the environment says.

`opentelemetry.sdk.trace` reads one variable while it is imported and raises when that is no number;
a mistyped limit must not keep the application from starting.
"""

from __future__ import annotations

import os

__all__ = ["import_sdk"]

_READ_ON_IMPORT = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"


def import_sdk() -> None:
    """Import `opentelemetry.sdk.trace`, without that variable when it is not usable.

    The provider reads it again, warns about it and takes the default.
    """
    text = os.environ.get(_READ_ON_IMPORT)
    is_hidden = text is not None and bool(text.strip()) and not text.strip().isdecimal()
    if is_hidden:
        del os.environ[_READ_ON_IMPORT]
    try:
        import opentelemetry.sdk.trace  # noqa: F401 - this is the import that raises
    finally:
        if is_hidden and text is not None:
            os.environ[_READ_ON_IMPORT] = text
