"""What only `ddtrace_manual` is measured with: its features, one at a time (`make bench-features`).

Besides the workloads of `ours`, which it takes over, it has further ones and functions that set the library up in
other ways.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from ours import (
    HEADERS,
    flush,
    inject,
    set_up,
    shut_down,
    ten_span,
    ten_span_otel_api,
    ten_span_resources,
    traced_arguments,
    traced_async,
    traced_method,
    traced_nested,
    wide,
)

import ddtrace_manual as dd
from ddtrace_manual.integrations import install_log_record_factory

# The worker looks everything up in one module.
__all__ = [
    "flush",
    "inject",
    "set_up",
    "shut_down",
    "ten_span",
    "ten_span_otel_api",
    "ten_span_resources",
    "traced_arguments",
    "traced_async",
    "traced_method",
    "traced_nested",
    "wide",
]

_LOG = logging.getLogger("bench")
_ALL_HEADERS = {
    **HEADERS,
    "b3": "67f2a1b300000000112210f47de98115-891087b8fbb3d1b1-1",
    "x-b3-traceid": "67f2a1b300000000112210f47de98115",
    "x-b3-spanid": "891087b8fbb3d1b1",
    "x-b3-sampled": "1",
}
"""The same context in every format."""

# -- set-ups -------------------------------------------------------------------------------------------


def with_trace_filter() -> None:
    """Let a filter look at every chunk, and keep it."""

    def keep(spans: Sequence[Any]) -> Sequence[Any]:
        return spans

    dd.configure(service="bench", trace_filters=[keep])


def with_span_processor() -> None:
    """Call an OpenTelemetry span processor that does nothing at each start and end."""
    dd.configure(service="bench", span_processors=[SpanProcessor()])


def with_sampler() -> None:
    """Ask an OpenTelemetry sampler, which keeps everything."""
    dd.configure(service="bench", sampler=ParentBased(ALWAYS_ON))


def with_baggage() -> None:
    """Have three baggage items in the context that become tags of the root."""
    dd.configure(service="bench")
    for key, value in (("user.id", "42"), ("session.id", "s-1001"), ("account.id", "shop")):
        dd.set_baggage(key, value)


def with_logging() -> None:
    """Write log lines to nowhere."""
    _log_to_nowhere("%(asctime)s %(levelname)s %(name)s %(message)s")


def with_correlated_logging() -> None:
    """Write log lines with the ids of the current span."""
    install_log_record_factory()
    _log_to_nowhere(
        "%(asctime)s %(levelname)s %(name)s [dd.service=%(dd.service)s dd.env=%(dd.env)s dd.version=%(dd.version)s"
        " dd.trace_id=%(dd.trace_id)s dd.span_id=%(dd.span_id)s] %(message)s"
    )


def _log_to_nowhere(line: str) -> None:
    dd.configure(service="bench")
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
    handler = logging.StreamHandler(nowhere)
    handler.setFormatter(logging.Formatter(line))
    _LOG.addHandler(handler)
    _LOG.propagate = False
    _LOG.setLevel(logging.INFO)


# -- ten spans -----------------------------------------------------------------------------------------


def ten_span_logged(count: int) -> None:
    """Ten spans in three levels with a log line in each."""
    span = dd.span
    for _ in range(count):
        with span("web.request"):
            _LOG.info("order %s", "A-1001")
            for _ in range(3):
                with span("shop.step"):
                    _LOG.info("order %s", "A-1001")
                    for _ in range(2):
                        with span("sql.query"):
                            _LOG.info("order %s", "A-1001")


def ten_span_continued(count: int) -> None:
    """The same in the trace that headers name."""
    headers = HEADERS
    for _ in range(count):
        with dd.continue_trace(headers):
            ten_span(1)


def extract(count: int) -> None:
    """A context from headers of every format."""
    headers = _ALL_HEADERS
    for _ in range(count):
        dd.extract(headers)


# -- a span and 99 children, which differ in one thing -------------------------------------------------


def children(count: int) -> None:
    """Spans without anything."""
    span = dd.span
    for _ in range(count):
        with span("parent"):
            for _ in range(99):
                with span("job"):
                    pass


def children_tags(count: int) -> None:
    """Spans with ten tags: five texts, three numbers, two flags."""
    span = dd.span
    for _ in range(count):
        with span("parent"):
            for _ in range(99):
                with span("job") as job:
                    job.set_tag("order.id", "A-1001")
                    job.set_tag("customer", "C-17")
                    job.set_tag("country", "Germany")
                    job.set_tag("currency", "EUR")
                    job.set_tag("channel", "web")
                    job.set_tag("items", 3)
                    job.set_tag("total", 17.5)
                    job.set_tag("weight", 1200)
                    job.set_tag("is_gift", True)
                    job.set_tag("is_new", False)


def children_service(count: int) -> None:
    """Spans of another service."""
    span = dd.span
    for _ in range(count):
        with span("parent"):
            for _ in range(99):
                with span("job", service="other"):
                    pass


def children_client(count: int) -> None:
    """Client spans, which are counted in statistics."""
    span = dd.span
    for _ in range(count):
        with span("parent"):
            for _ in range(99):
                with span("job", kind="client"):
                    pass


def children_event(count: int) -> None:
    """Spans with an event of two attributes."""
    span = dd.span
    for _ in range(count):
        with span("parent"):
            for _ in range(99):
                with span("job") as job:
                    job.add_event("cache.miss", {"key": "k", "size": 3})


def children_link(count: int) -> None:
    """Spans with a link to the first span of the run."""
    span = dd.span
    with span("target") as target:
        pass
    for _ in range(count):
        with span("parent"):
            for _ in range(99):
                with span("job") as job:
                    job.add_link(target)


def children_exception(count: int) -> None:
    """Spans that an exception leaves."""
    span = dd.span
    for _ in range(count):
        with span("parent"):
            for _ in range(99):
                try:
                    with span("job"):
                        raise ValueError("no such order")
                except ValueError:
                    pass


def children_raise(count: int) -> None:
    """Spans in which an exception is raised and handled, for comparison."""
    span = dd.span
    for _ in range(count):
        with span("parent"):
            for _ in range(99):
                with span("job"):
                    try:
                        raise ValueError("no such order")
                    except ValueError:
                        pass


@dd.traced
def numbers() -> Iterator[int]:
    """Yield ten numbers."""
    yield from range(10)


def generators(count: int) -> None:
    """Decorated generators of ten steps inside a span, 99 each."""
    for _ in range(count):
        with dd.span("parent"):
            for _ in range(99):
                for _ in numbers():
                    pass
