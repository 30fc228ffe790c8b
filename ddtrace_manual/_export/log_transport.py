"""Traces as lines of the log, for AWS Lambda without the Datadog extension: the forwarder reads them there.

A transport that takes the place of the Agent: each chunk becomes one line on standard output,
`{"traces":[[span, …]]}`, with the field names of v0.4 and ids as 16 hexadecimal digits. A line has at most
256 KiB; larger chunks are divided. There is no `/info`, hence no statistics and no dropping. `meta_struct`, which is
binary, is left out.

Source: spec/trace-export.md §14.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ddtrace_manual._agent import Response
from ddtrace_manual._encoding import decode_v04

if TYPE_CHECKING:
    from ddtrace_manual._model import DDSpan

__all__ = ["LogTransport", "wants_log_transport"]

_MAX_LINE_BYTES = 256 * 1024
_EXTENSION = "/opt/extensions/datadog-agent"
_FRAME_BYTES = len('{"traces":[[]]}\n')


def wants_log_transport(environ: Mapping[str, str], exists: Callable[[str], bool], *, has_address: bool) -> bool:
    """Return whether traces go to the log: in Lambda, without the extension, and without an Agent's address."""
    return bool(environ.get("AWS_LAMBDA_FUNCTION_NAME")) and not has_address and not exists(_EXTENSION)


class LogTransport:
    """Answers like an Agent that takes traces and nothing else. See `Transport`.

    Args:
        write: Takes whole lines; standard output by default.
        max_line_bytes: Longest line, its end included.
    """

    address = "the log"

    def __init__(self, write: Callable[[str], object] | None = None, *, max_line_bytes: int = _MAX_LINE_BYTES) -> None:
        self._write = write if write is not None else _write_out
        self._max_line_bytes = max_line_bytes

    def request(
        self,
        method: str,  # as in `Transport`, here and below
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Response:
        """Write the traces of a v0.4 payload; a span too long for a line is refused with 413, and nothing written."""
        if not path.endswith("/v0.4/traces") or body is None:
            return Response(HTTPStatus.NOT_FOUND)
        lines: list[str] = []
        for chunk in decode_v04(body):
            for texts in self._divided([json.dumps(_json_span(span), separators=(",", ":")) for span in chunk]):
                if not texts:
                    return Response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                lines.append('{"traces":[[' + ",".join(texts) + "]]}\n")
        self._write("".join(lines))
        return Response(HTTPStatus.OK)

    def _divided(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """Divide spans among lines; an empty one stands for a span that fits nowhere.

        The JSON is ASCII: a character is a byte.
        """
        line: list[str] = []
        size = _FRAME_BYTES
        for text in texts:
            if _FRAME_BYTES + len(text) > self._max_line_bytes:
                yield ()
                return
            if line and size + 1 + len(text) > self._max_line_bytes:
                yield line
                line, size = [], _FRAME_BYTES
            line.append(text)
            size += len(text) + 1
        yield line


def _json_span(span: DDSpan) -> dict[str, Any]:  # Any: values of JSON
    fields: dict[str, Any] = {key: value for key, value in span.items() if key != "meta_struct"}
    for key in ("trace_id", "span_id", "parent_id"):
        fields[key] = f"{fields.get(key, 0):016X}"
    return fields


def _write_out(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
