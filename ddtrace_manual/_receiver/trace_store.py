"""The traces that arrived lately, put together from their parts, bounded in number and bytes."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from .spans import CleanSpan, trace_id_high

__all__ = ["StoredTrace", "TraceStore"]

_SPAN_OVERHEAD_BYTES: Final = 200
_MOST_LISTED: Final = 50
_LONGEST_LISTED: Final = 200
_MASK_64: Final = (1 << 64) - 1
_ID_IN_TEXT: Final = re.compile(r"(?<![0-9A-Za-z])(?:0x)?([0-9a-fA-F]{8,39})(?![0-9A-Za-z])")
_PART_OF_ID: Final = re.compile(r"(?:0x)?(?!0+\Z)[0-9a-f]{6,39}\Z")
_PARTIAL: Final = "_dd.partial_version"


@dataclass(slots=True)
class StoredTrace:
    """One trace, as far as it has arrived. Only `TraceStore` changes it."""

    key: int
    """Identifies the trace in its store."""
    low: int
    """Lower half of the trace id."""
    high: int = 0
    """Upper half of the trace id; 0 while no part has named it."""
    version: int = 0
    """Version of the store at the last change."""
    changed_s: float = 0.0
    """Monotonic time of the last change."""
    size_bytes: int = 0
    omitted: int = 0
    """Spans that were not kept because the trace alone reached the limit."""
    begin: int = 0
    end: int = 0
    errors: int = 0
    services: dict[str, None] = field(default_factory=dict)
    resources: dict[str, None] = field(default_factory=dict)
    root: tuple[bool, int, str, str, str] | None = None
    """(names a parent, start, service, name, resource) of the span that stands for the trace."""
    encoded: list[bytes] = field(default_factory=list)
    """Every span as JSON."""
    _seen: set[int] = field(default_factory=set)
    """Hashes of the spans as JSON, to recognise what is sent again."""
    _partial: dict[int, int] = field(default_factory=dict)
    """Span id to index of the spans that are still running where they were made."""

    @property
    def trace_id_hex(self) -> str:
        """The trace id, 32 hex digits."""
        return f"{self.high:016x}{self.low:016x}"

    def spans(self) -> list[CleanSpan]:
        """Return the spans in the order of their arrival."""
        return [json.loads(each) for each in self.encoded]

    def summary(self) -> dict[str, Any]:
        """Return what a list of traces shows; ids are text because they exceed the numbers of JavaScript."""
        _, _, service, name, resource = self.root or (False, 0, "", "", "")
        return {
            "key": str(self.key),
            "trace_id_hex": self.trace_id_hex,
            "trace_id": str(self.low),
            "service": service,
            "name": name,
            "resource": resource,
            "begin_ms": self.begin // 1_000_000,
            "duration": self.end - self.begin,
            "spans": len(self.encoded),
            "errors": self.errors,
            "version": self.version,
            "omitted": self.omitted,
            "services": list(self.services),
            "resources": list(self.resources),
        }

    def _add(self, span: CleanSpan, encoded: bytes) -> None:
        self._seen.add(hash(encoded))
        at = self._partial.pop(span["span_id"], None)
        if at is None:
            self.encoded.append(encoded)
            self.size_bytes += len(encoded) + _SPAN_OVERHEAD_BYTES
            at = len(self.encoded) - 1
            self._count(span)
        else:  # a later state of the same span
            self.size_bytes += len(encoded) - len(self.encoded[at])
            self.encoded[at] = encoded
            self._recount()
        if _PARTIAL in span["metrics"]:
            self._partial[span["span_id"]] = at

    def _count(self, span: CleanSpan) -> None:
        start, end = span["start"], span["start"] + span["duration"]
        self.begin = start if self.root is None else min(self.begin, start)
        self.end = max(self.end, end)
        self.errors += span["error"]
        for listed, text in ((self.services, span["service"]), (self.resources, span["resource"])):
            if len(listed) < _MOST_LISTED:
                listed[text[:_LONGEST_LISTED]] = None
        texts = (span[name][:_LONGEST_LISTED] for name in ("service", "name", "resource"))
        candidate = (span["parent_id"] != 0, start, *texts)
        if self.root is None or candidate[:2] < self.root[:2]:
            self.root = candidate

    def _recount(self) -> None:
        self.begin = self.end = self.errors = 0
        self.root = None
        self.services.clear()
        self.resources.clear()
        for span in self.spans():
            self._count(span)


class TraceStore:
    """Recent traces, the one that changed last at the end. Thread-safe.

    Parts of a trace are put together by its id, whichever process they come from and whether or not they name the
    upper half of it. A part that is sent again is kept once.

    Args:
        max_traces: Beyond that the traces that have not changed for longest go.
        max_bytes: Bound of all spans together, as JSON.
        on_removed: Called with a trace that goes, outside the lock.

    Attributes:
        instance: Identifies this store among others at the same address.
    """

    def __init__(
        self,
        max_traces: int = 500,
        max_bytes: int = 64 * 1024 * 1024,
        on_removed: Callable[[StoredTrace], None] | None = None,
    ) -> None:
        self.instance = uuid.uuid4().hex
        self.max_traces = max_traces
        self.max_bytes = max_bytes
        self.on_removed = on_removed
        self._changed = threading.Condition()  # guards the fields below
        self._version = 0
        self._next_key = 1
        self._bytes = 0
        self._total = 0
        self._closed = False
        self._traces: dict[int, StoredTrace] = {}  # by key
        self._by_low: dict[int, list[StoredTrace]] = {}

    @property
    def version(self) -> int:
        """Number of changes so far."""
        with self._changed:
            return self._version

    @property
    def size_bytes(self) -> int:
        """Bytes of all spans, as they are counted against the bound."""
        with self._changed:
            return self._bytes

    @property
    def total(self) -> int:
        """Traces so far, those that are gone included."""
        with self._changed:
            return self._total

    def add(self, chunks: Iterable[Iterable[CleanSpan]]) -> None:
        """Keep the spans of a payload."""
        removed: list[StoredTrace] = []
        prepared = [[(span, json.dumps(span).encode()) for span in chunk] for chunk in chunks]
        with self._changed:
            self._version += 1
            for chunk in prepared:
                high = next((high for span, _ in chunk if (high := trace_id_high(span))), 0)
                for span, encoded in chunk:
                    self._add_span(self._trace_of(span["trace_id"], high), span, encoded)
            while len(self._traces) > self.max_traces or (self._bytes > self.max_bytes and len(self._traces) > 1):
                removed.append(self._remove(next(iter(self._traces))))
            self._changed.notify_all()
        self._tell_removed(removed)

    def clear(self) -> None:
        """Remove all traces."""
        with self._changed:
            self._version += 1
            removed = [self._remove(key) for key in list(self._traces)]
            self._changed.notify_all()
        self._tell_removed(removed)

    def close(self) -> None:
        """Wake everybody who waits; waiting ends at once from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Wake everybody who waits, once, without a change."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, version: int, timeout_s: float, *, until_woken: bool = False) -> None:
        """Wait for a version other than this one, at most so many seconds; `until_woken`: `wake` ends it too."""
        with self._changed:
            if until_woken:
                if self._version == version and not self._closed:
                    self._changed.wait(timeout_s)
            else:
                self._changed.wait_for(lambda: self._version != version or self._closed, timeout_s)

    def changes(self, after: int = -1) -> tuple[int, list[int], list[dict[str, Any]]]:
        """Return the version, the keys of all traces, newest first, and the summaries that changed after `after`."""
        with self._changed:
            keys = list(reversed(self._traces))
            return self._version, keys, [each.summary() for each in self._traces.values() if each.version > after]

    def traces(self) -> list[tuple[StoredTrace, list[CleanSpan]]]:
        """Return all traces with their spans, the oldest first."""
        return [(trace, _decoded(encoded)) for trace, encoded in self._snapshot()]

    def due(self, drawn: dict[int, int], quiet_s: float) -> list[tuple[StoredTrace, list[CleanSpan]]]:
        """Return the traces that changed since the versions in `drawn` and have been quiet for so many seconds."""
        now_s = time.monotonic()
        with self._changed:
            found = [
                (each, list(each.encoded))
                for key, each in self._traces.items()
                if each.version > drawn.get(key, -1) and now_s - each.changed_s >= quiet_s
            ]
            drawn.update({trace.key: trace.version for trace, _ in found})
            for key in drawn.keys() - self._traces.keys():
                del drawn[key]
        return [(trace, _decoded(encoded)) for trace, encoded in found]

    def find(self, text: str) -> tuple[dict[str, Any], list[CleanSpan]] | None:
        """Return summary and spans of a trace by its key (`#7`) or its id, decimal or hex, 128 bits or the lower 64."""
        wanted = _wanted_ids(text)
        with self._changed:
            found = self._traces.get(int(text[1:])) if re.match(r"#[0-9]{1,18}\Z", text) else None
            if found is None:
                by_id = (each for each in reversed(self._traces.values()) if not wanted.isdisjoint(_ids(each)))
                found = next(by_id, None)
            if found is None:
                return None
            summary, encoded = found.summary(), list(found.encoded)
        return summary, _decoded(encoded)

    def search(self, text: str) -> list[int]:
        """Return the keys of the traces that a text finds.

        A trace is found by an id of it or of one of its spans, decimal or hex, also when the id stands in a longer
        text such as a line of a log; otherwise by a text that occurs in a value or a tag's name, in any case.
        """
        query = text.strip()
        ids = {number for match in _ID_IN_TEXT.finditer(query) for number in _wanted_ids(match[1])}
        folded = query.casefold()
        return [trace.key for trace, encoded in self._snapshot() if _matches(trace, encoded, ids, folded)]

    # -- with the lock held ---------------------------------------------------------------------------

    def _trace_of(self, low: int, high: int) -> StoredTrace:
        candidates = self._by_low.setdefault(low, [])
        for trace in candidates:
            if not high or not trace.high or trace.high == high:
                trace.high = trace.high or high
                break
        else:
            trace = StoredTrace(self._next_key, low, high)
            self._next_key += 1
            self._total += 1
            candidates.append(trace)
        self._traces.pop(trace.key, None)
        self._traces[trace.key] = trace  # at the end
        return trace

    def _add_span(self, trace: StoredTrace, span: CleanSpan, encoded: bytes) -> None:
        trace.version = self._version
        trace.changed_s = time.monotonic()
        if hash(encoded) in trace._seen:
            return  # sent again because the answer did not arrive
        if trace.size_bytes + len(encoded) + _SPAN_OVERHEAD_BYTES > self.max_bytes:
            trace.omitted += 1
            return
        before = trace.size_bytes
        trace._add(span, encoded)
        self._bytes += trace.size_bytes - before

    def _remove(self, key: int) -> StoredTrace:
        trace = self._traces.pop(key)
        self._bytes -= trace.size_bytes
        others = self._by_low[trace.low]
        others.remove(trace)
        if not others:
            del self._by_low[trace.low]
        return trace

    # -- without it -----------------------------------------------------------------------------------

    def _tell_removed(self, removed: list[StoredTrace]) -> None:
        if self.on_removed is not None:
            for trace in removed:
                self.on_removed(trace)

    def _snapshot(self) -> list[tuple[StoredTrace, list[bytes]]]:
        with self._changed:
            return [(each, list(each.encoded)) for each in self._traces.values()]


def _decoded(encoded: list[bytes]) -> list[CleanSpan]:
    return [json.loads(each) for each in encoded]


def _wanted_ids(text: str) -> set[int]:
    """Return the numbers that a text stands for as an id, read as decimal and as hex."""
    digits = text.strip().lower().removeprefix("0x")
    if not re.match(r"[0-9a-f]{1,39}\Z", digits):
        return set()
    return {int(digits, 16)} | ({int(digits)} if digits.isdigit() else set())


def _ids(trace: StoredTrace) -> set[int]:
    return {trace.low, trace.high << 64 | trace.low} - {0}


def _matches(trace: StoredTrace, encoded: list[bytes], ids: set[int], folded: str) -> bool:
    if not folded or not ids.isdisjoint(_ids(trace)):
        return True
    part = folded.removeprefix("0x") if _PART_OF_ID.match(folded) else ""
    if part and (part in trace.trace_id_hex or part in str(trace.low)):
        return True
    needles = [] if part else _needles(folded, ids)
    for each in encoded:
        if needles and not any(needle in each.lower() for needle in needles):
            continue
        span = json.loads(each)
        if span["span_id"] in ids or any(folded in text.casefold() for text in _texts(span)):
            return True
        if part and (part in str(span["span_id"]) or part in f"{span['span_id']:016x}"):
            return True
    return False


def _needles(folded: str, ids: set[int]) -> list[bytes]:
    """Return what the JSON of a span that matches contains, so that most spans need no decoding; [] when unknown.

    ASCII is written in JSON as it is, but for quotes and the like. A colon may stand between a tag and its value.
    """
    if not folded.isascii() or not folded.isprintable():
        return []
    longest = max(folded.split(":"), key=len)
    return [json.dumps(longest)[1:-1].encode(), *(str(number).encode() for number in ids)]


def _texts(span: CleanSpan) -> Iterator[str]:
    """Yield every text of a span that a person may search for."""
    yield from (span["service"], span["name"], span["resource"], span["type"])
    for key, value in (*span["meta"].items(), *span["metrics"].items()):
        yield f"{key}:{value:g}" if isinstance(value, float) else f"{key}:{value}"
    for record in (*span["events"], *span["links"]):
        yield record.get("name", "")
        yield record.get("trace_id", "")
        yield from (f"{key}:{value}" for key, value in record["attributes"].items())
