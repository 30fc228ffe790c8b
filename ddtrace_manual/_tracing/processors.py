"""Additional span processors: every one is told, whatever the others do.

The SDK calls them in a row and lets an exception of one pass into the application, so that those
behind it miss the span. Here each failure is logged and the next processor is called. A processor
that blocks blocks the thread that starts or ends the span, as with the SDK: hand work to a thread.

Source: OpenTelemetry specification, Trace SDK, span processors ("should not block or throw").
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor

from ddtrace_manual._base.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import SpanProcessor

__all__ = ["call_processors", "flush", "members", "shut_down"]

_logger = logging.getLogger("ddtrace_manual.tracing")


def call_processors(processor: SpanProcessor, method: str, *arguments: object, **named: object) -> None:
    """Call a method of a processor, or of each processor in a group; exceptions stay here."""
    for each in members(processor):
        try:
            getattr(each, method)(*arguments, **named)
        except Exception:  # noqa: PERF203 - each one for itself
            _logger.exception("The span processor %r failed in %s.", type(each).__name__, method)


def members(processor: SpanProcessor) -> Sequence[SpanProcessor]:
    """Return the processors of the SDK's usual group; any other processor, a concurrent group too, calls its own."""
    return processor._span_processors if type(processor) is SynchronousMultiSpanProcessor else (processor,)


def flush(processor: SpanProcessor, timeout_s: float) -> Callable[[float], bool]:
    """Begin to flush processors, one after the other; see `_in_background` for the result."""

    def work() -> bool:
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(timeout_s * 1e9)
        is_flushed = True
        for each in members(processor):
            left_ms = max(0, deadline_ns - SYSTEM_CLOCK.monotonic_ns()) // 1_000_000
            try:
                # The SDK's interface says bool; processors that return nothing have flushed.
                is_flushed = each.force_flush(left_ms) is not False and is_flushed
            except Exception:
                _logger.exception("The span processor %r failed in force_flush.", type(each).__name__)
                is_flushed = False
        return is_flushed

    return _in_background(work) if members(processor) else _done


def shut_down(processors: Sequence[SpanProcessor]) -> Callable[[float], bool]:
    """Begin to shut processors down, one after the other; see `_in_background` for the result."""

    def work() -> bool:
        for each in processors:
            call_processors(each, "shutdown")
        return True

    return _in_background(work) if processors else _done


def _done(_timeout_s: float) -> bool:
    return True


def _in_background(work: Callable[[], bool]) -> Callable[[float], bool]:
    """Start `work` on a thread; return how to wait so many seconds for its result, `False` when it is late.

    Processors may not know a timeout or not keep it: one that hangs must neither hold up the export to
    the Agent nor keep the process from ending.
    """
    results: list[bool] = []
    thread: threading.Thread | None = None
    try:
        thread = threading.Thread(target=lambda: results.append(work()), name="ddtrace_manual-processors", daemon=True)
        thread.start()
    except Exception:  # the interpreter ends, allows no daemon threads, or the system has none left
        thread = None
        results.append(work())

    def wait(timeout_s: float) -> bool:
        if not results and thread is not None:
            thread.join(max(0.0, timeout_s))
        if not results:
            _logger.warning("Span processors were not done in time.")
        return bool(results) and results[0]

    return wait
