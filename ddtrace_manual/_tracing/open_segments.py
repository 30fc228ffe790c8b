"""The segments of a provider that have open or waiting spans: what `flush`, `shutdown` and `counters` look through.

A segment is listed by a weak reference, so that one whose spans are never ended goes when the
application forgets them. Its finished spans are handed over then, and the others counted.

Taking a reference out is also the claim that lets one thread at a time hand over a segment, see
`segment.py` and `Engine.hand_over`.

Source: spec/trace-export.md §2.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from ddtrace_manual._base.process_mark import make_process_mark

if TYPE_CHECKING:
    from .segment import Segment
    from .span import Span

__all__ = ["OpenSegments", "place_of_caller"]

_logger = logging.getLogger("ddtrace_manual.tracing")
_MAX_NAMES = 10
_MAX_NAME_CHARS = 100
_PACKAGE = str(Path(__file__).parents[1])
_NOT_THE_APPLICATION = (_PACKAGE + os.sep, os.sep + "opentelemetry" + os.sep, os.sep + "contextlib.py")
_MAX_COLLECTED = 100
"""Spans that were collected without having been ended and that a debug log names."""


class OpenSegments:
    """Lists segments. Thread-safe, and safe to use in finalizers and signal handlers.

    Attributes:
        references: The listed segments; a segment that a thread is handing over is missing for that moment.
    """

    def __init__(self) -> None:
        self.references: dict[ref[Segment], None] = {}
        # Guards listing a segment again. A finalizer or signal handler may interrupt its holder, hence reentrant.
        self._lock = threading.RLock()
        self._collected_spans = 0
        self._collected: list[tuple[str, str]] = []
        self._reported_spans = 0
        self._mark = make_process_mark()

    def list_again(self, segment: Segment) -> None:
        """List a segment that was complete and has open or finished spans again."""
        with self._lock:
            if segment.is_listed:
                return
            self._collected_spans -= segment.collected_spans
            segment.collected_spans = 0
            segment.reference = reference = ref(segment)
            segment.is_listed = True
            self.references[reference] = None

    def alive(self) -> list[Segment]:
        """Return the listed segments."""
        found = []
        for reference in tuple(self.references):
            segment = reference()
            if segment is not None:
                found.append(segment)
            else:
                self.references.pop(reference, None)
        return found

    def hand_over(self) -> None:
        """Hand the finished spans of all segments to their exporters; in a fork those are the parent's to send."""
        if not self._mark[0]:
            return
        for segment in self.alive():
            if segment.finished:
                segment.engine.hand_over(segment)

    def collect(self, segment: Segment) -> None:
        """Take leave of a segment whose open spans nobody can end any more; called by its finalizer."""
        self.references.pop(segment.reference, None)
        segment.is_listed = False
        engine = segment.engine
        if engine.is_dead or not self._mark[0]:
            return
        for span in segment.open:
            if len(self._collected) < _MAX_COLLECTED:
                self._collected.append(_described(span))
        segment.collected_spans = len(segment.open)
        self._collected_spans += len(segment.open)
        spans = segment.finished.copy()
        segment.finished.clear()
        if spans:
            engine.export(segment, spans, partial=bool(segment.open))

    def count(self) -> tuple[int, int]:
        """Return how many spans were started and not ended, and how many ended ones wait in their segment."""
        never_ended, waiting = self._collected_spans, 0
        for segment in self.alive():
            never_ended += len(segment.open)
            waiting += len(segment.finished)
        return never_ended, waiting

    def report_open(self) -> None:
        """Warn about the spans that were not ended, each once; a debug log says where each was started."""
        collected, self._collected = self._collected, []
        open_spans = [span for segment in self.alive() for span in tuple(segment.open) if not span.is_reported]
        count = self._collected_spans - self._reported_spans + len(open_spans)
        self._reported_spans = self._collected_spans
        if count <= 0:
            return
        for span in open_spans:
            span.is_reported = True
        names = dict.fromkeys(name for name, _ in (*map(_described, open_spans[:_MAX_COLLECTED]), *collected))
        shown = list(names)[:_MAX_NAMES]
        _logger.warning(
            "%d spans were started and never ended, and are not sent: %s%s",
            count,
            ", ".join(map(repr, shown)),
            ", …" if len(names) > len(shown) else "",
        )
        if _logger.isEnabledFor(logging.DEBUG):
            for name, place in (*map(_described, open_spans), *collected):
                _logger.debug("The span %r was never ended. It was started %s.", name, place or "at an unknown place")


def _described(span: Span) -> tuple[str, str]:
    """Return the name of a span, and where it was started if that is known."""
    return (span.operation_name or span.otel_name)[:_MAX_NAME_CHARS], span.started_at


def place_of_caller() -> str:
    """Return the innermost line of the call stack that is neither in this package nor in OpenTelemetry."""
    frame = sys._getframe(1)
    while frame.f_back is not None and any(part in frame.f_code.co_filename for part in _NOT_THE_APPLICATION):
        frame = frame.f_back
    return f"at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
