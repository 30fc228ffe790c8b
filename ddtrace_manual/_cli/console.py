"""Draws a program's traces on its own standard output, instead of sending them (`OTEL_TRACES_EXPORTER=console`)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Final

from ddtrace_manual._agent.transport import Response
from ddtrace_manual._receiver import clean_span
from ddtrace_manual._receiver.store import TRACE_PATHS, decode
from ddtrace_manual.config import process_environ

from .render import render_trace
from .screen import printable

__all__ = ["ConsoleTransport"]

_ACCEPTED: Final = Response(200, body=b"{}")
_ABSENT: Final = Response(404)
_WIDTH: Final = 110


class ConsoleTransport:
    """Stands for the connection to an Agent: traces are drawn, other payloads are refused as by an old Agent."""

    address = "standard output"

    def request(
        self,
        method: str,  # part of the protocol
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Response:
        """See `Transport.request`."""
        if path not in TRACE_PATHS:
            return _ABSENT
        stream = sys.stdout
        if stream is None:  # a program without a console
            return _ACCEPTED
        try:
            terminal = stream.isatty()
            width = shutil.get_terminal_size((_WIDTH, 24)).columns if terminal else _WIDTH
            color = terminal and not process_environ().get("NO_COLOR")
            for chunk in decode(path, body or b"") or ():
                text = render_trace([clean_span(span) for span in chunk], width=width, color=color)
                print(printable(f"{text}\n", stream), file=stream, flush=True)
        except (OSError, ValueError):  # closed, or its reader has gone
            return _ACCEPTED
        return _ACCEPTED
