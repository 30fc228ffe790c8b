"""The v0.5 trace payload: a table of strings, and spans as arrays that refer to it.

Source: spec/trace-export.md §8.2.
The format has no fields for links and events: they become JSON in `meta`; `meta_struct` is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack

from ddtrace_manual._base.ids import MASK_64
from ddtrace_manual.exceptions import EncodingError

from .text_forms import with_text_events, with_text_links
from .wire_text import bounded_text, valid_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ddtrace_manual._model import DDSpan

__all__ = ["V05Encoder", "decode_v05"]

_ITEMS: Final = 12
_MAX_ERROR: Final = (1 << 31) - 1
_MAX_TIME: Final = (1 << 63) - 1


class _StringTable:
    """Numbers strings in order of arrival; the empty string is 0."""

    def __init__(self) -> None:
        self._indexes: dict[str, int] = {"": 0}
        self.texts: list[str] = [""]

    def index(self, text: str) -> int:
        known = self._indexes.get(text)
        if known is not None:
            return known
        if not isinstance(text, str):
            raise EncodingError(f"a {type(text).__name__} where text is expected")
        index = self._indexes[text] = len(self.texts)
        self.texts.append(valid_text(bounded_text(text)))
        return index


class V05Encoder:
    """Encodes payloads. Not thread-safe: one thread, one encoder.

    Attributes:
        skipped_spans: Spans left out so far because they could not be encoded.
    """

    version: Final = "v0.5"

    def __init__(self) -> None:
        self.skipped_spans = 0
        self._pack = msgpack.Packer().pack

    def encode(self, chunks: Sequence[Sequence[DDSpan]]) -> bytes:
        """Return the payload of these chunks. A span that cannot be encoded is skipped and counted."""
        table = _StringTable()
        rows = [self._rows(chunk, table) for chunk in chunks]
        packed: bytes = self._pack([table.texts, rows])
        return packed

    def _rows(self, chunk: Sequence[DDSpan], table: _StringTable) -> list[list[Any]]:
        rows = []
        for dd_span in chunk:
            row = self._row(dd_span, table)
            if row is not None:
                rows.append(row)
        return rows

    def _row(self, dd_span: DDSpan, table: _StringTable) -> list[Any] | None:
        try:
            if "span_links" in dd_span:
                dd_span = with_text_links(dd_span)
            if "span_events" in dd_span:
                dd_span = with_text_events(dd_span)
            return _encode_span(dd_span, table)
        except Exception:  # whatever is wrong with one span, the others must be sent
            self.skipped_spans += 1
            return None


def _encode_span(dd_span: Mapping[str, Any], table: _StringTable) -> list[Any]:  # Any: fields of many types
    index = table.index
    texts = [index(text) for text in (dd_span.get("service") or "", dd_span["name"], dd_span["resource"])]
    type_index = index(dd_span.get("type", ""))
    return [
        *texts,
        _bounded(dd_span["trace_id"], MASK_64),
        _bounded(dd_span["span_id"], MASK_64),
        _bounded(dd_span.get("parent_id", 0), MASK_64),
        _bounded(max(dd_span["start"], 0), _MAX_TIME),
        _bounded(max(dd_span["duration"], 0), _MAX_TIME),
        _bounded(dd_span.get("error", 0), _MAX_ERROR),
        {index(key): index(value) for key, value in dd_span.get("meta", {}).items()},
        {index(key): float(value) for key, value in dd_span.get("metrics", {}).items()},
        type_index,
    ]


def _bounded(number: int, highest: int) -> int:
    if 0 <= number <= highest:
        return int(number)
    raise EncodingError(f"{number} does not fit into its field")


def decode_v05(payload: bytes) -> list[list[DDSpan]]:
    """Read a v0.5 payload back; links and events stay JSON in `meta`.

    Raises:
        EncodingError: Not such a payload.
    """
    try:
        # Any: nothing is known about the payload yet
        table, chunks = msgpack.unpackb(payload, unicode_errors="replace", strict_map_key=False)
        return [[_decode_span(row, table) for row in chunk] for chunk in chunks]
    except Exception as exc:
        raise EncodingError(f"not a v0.5 payload: {exc}") from exc


def _decode_span(row: list[Any], table: list[str]) -> DDSpan:
    if len(row) != _ITEMS:
        raise EncodingError(f"a span of {len(row)} items")
    dd_span: DDSpan = {
        "service": table[row[0]],
        "name": table[row[1]],
        "resource": table[row[2]],
        "trace_id": row[3],
        "span_id": row[4],
        "start": row[6],
        "duration": row[7],
        "meta": {table[key]: table[value] for key, value in (row[9] or {}).items()},
        "metrics": {table[key]: value for key, value in (row[10] or {}).items()},
    }
    if row[5]:
        dd_span["parent_id"] = row[5]
    if row[8]:
        dd_span["error"] = row[8]
    if table[row[11]]:
        dd_span["type"] = table[row[11]]
    return dd_span
