"""The ids of the current trace in log records, so that Datadog shows logs beside their trace.

Five fields: `dd.trace_id` (32 hexadecimal digits above 64 bits, else decimal), `dd.span_id` (decimal),
`dd.service`, `dd.env`, `dd.version`. Without a span, before `configure()` and while tracing is disabled
the ids are `0`. With `DD_LOGS_INJECTION=false` the fields stay, with ids `0` and empty names, so that
format strings go on working.

Reading the ids makes no sampling decision. Nothing is installed unless asked for.

Source: spec/configuration.md §10.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, MutableMapping
from types import FrameType, SimpleNamespace
from typing import Any, Final, cast

from opentelemetry import trace

from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.context import SPAN_KEY, get_current
from ddtrace_manual._base.ids import MASK_64, format_trace_id

__all__ = [
    "BraceFormatter",
    "LogFilter",
    "install_log_record_factory",
    "log_fields",
    "loguru_patcher",
    "structlog_processor",
    "uninstall_log_record_factory",
]

TRACE_ID: Final = "dd.trace_id"
SPAN_ID: Final = "dd.span_id"
SERVICE: Final = "dd.service"
ENV: Final = "dd.env"
VERSION: Final = "dd.version"

_FIELDS: Final = frozenset((TRACE_ID, SPAN_ID, SERVICE, ENV, VERSION))
_NO_FIELDS: Final[frozenset[str]] = frozenset()
_MAX_FACTORIES: Final = 10
"""How many frames of factories on top of ours are looked through for the logger's."""


def log_fields() -> dict[str, str]:
    """Return the five fields for the current context, for any logging library. Never raises."""
    if not RUNTIME.logs_injection:
        return {TRACE_ID: "0", SPAN_ID: "0", SERVICE: "", ENV: "", VERSION: ""}
    trace_id, span_id = _current_ids()
    service, env, version = RUNTIME.log_identity
    return {
        TRACE_ID: format_trace_id(trace_id) if trace_id > MASK_64 else str(trace_id),
        SPAN_ID: str(span_id),
        SERVICE: service,
        ENV: env,
        VERSION: version,
    }


def _current_ids() -> tuple[int, int]:
    """Return trace id and span id of the current span, our own or foreign; zeros for none."""
    if RUNTIME.engine is None and not RUNTIME.use_otel:
        return 0, 0
    span = get_current().get(SPAN_KEY)
    if span is None:
        return 0, 0
    segment = getattr(span, "segment", None)
    if segment is not None:  # a span of the engine: its span context would force the sampling decision
        return segment.trace_id, cast("Any", span).span_id
    remote = getattr(span, "remote_context", None)
    if remote is not None:
        return remote.trace_id, remote.span_id
    if not isinstance(span, trace.Span):
        return 0, 0
    context = span.get_span_context()
    return context.trace_id, context.span_id


# -- logging ---------------------------------------------------------------------------------------------


class _CorrelatingFactory:
    """A record factory that lets the previous one make the record, and adds the fields."""

    def __init__(self, previous: Callable[..., logging.LogRecord]) -> None:
        self.previous = previous
        self.is_active = True

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # Any: arguments of LogRecord
        record = self.previous(*args, **kwargs)
        if self.is_active:
            given = _given_fields()
            if given:  # the logger refuses what is there already, so that leaves room for them
                record.__dict__.update((name, value) for name, value in log_fields().items() if name not in given)
            else:
                add_to_record(record)
        return record


def _given_fields() -> frozenset[str]:
    """Return which of the five fields the logging call gives in `extra`, which the logger applies after the factory."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_MAX_FACTORIES):
        if frame is None:
            break
        if frame.f_code.co_name == "makeRecord":
            extra = frame.f_locals.get("extra")
            return _FIELDS.intersection(extra) if extra else _NO_FIELDS
        frame = frame.f_back
    return _NO_FIELDS


_lock = threading.Lock()  # guards _installed
_installed: _CorrelatingFactory | None = None


def install_log_record_factory() -> None:
    """Give every `logging.LogRecord` the five fields when it is made; the message is not changed.

    The record factory in place goes on making the records. A second call does nothing. Fields that a logging call gives
    in `extra` have the value given.

    Example:
        >>> install_log_record_factory()
        >>> logging.basicConfig(
        ...     format="%(message)s [dd.service=%(dd.service)s dd.env=%(dd.env)s dd.version=%(dd.version)s"
        ...     " dd.trace_id=%(dd.trace_id)s dd.span_id=%(dd.span_id)s]"
        ... )
    """
    global _installed  # noqa: PLW0603 - there is one record factory in a process
    with _lock:
        if _installed is not None:
            return
        _installed = _CorrelatingFactory(logging.getLogRecordFactory())
        logging.setLogRecordFactory(_installed)


def uninstall_log_record_factory() -> None:
    """Undo `install_log_record_factory`; factories that were installed on top of it stay in place."""
    global _installed
    with _lock:
        factory, _installed = _installed, None
        if factory is None:
            return
        factory.is_active = False
        if logging.getLogRecordFactory() is factory:
            logging.setLogRecordFactory(factory.previous)


def add_to_record(record: logging.LogRecord) -> None:
    """Give a record the five fields unless it has them: a handler may run in another thread than the logging call."""
    attributes = record.__dict__
    if TRACE_ID not in attributes:
        attributes.update(log_fields())


class LogFilter(logging.Filter):
    """Gives the five fields to the records of one logger or handler, instead of all records.

    Lets every record pass that `logging.Filter` lets pass.

    Args:
        name: As for `logging.Filter`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; return whether the record is logged."""
        add_to_record(record)
        return bool(super().filter(record))


class BraceFormatter(logging.Formatter):
    """A `logging.Formatter` for `{`-style formats, where a name with a dot cannot be looked up.

    While it formats, the record has an attribute `dd` with members `trace_id`, `span_id`, `service`,
    `env` and `version`.

    Args:
        fmt: For example `"{message} [{dd.trace_id} {dd.span_id}]"`.
        datefmt: As for `logging.Formatter`.
        defaults: Values for fields that a record lacks; `dd` has some already.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        *,
        defaults: dict[str, Any] | None = None,  # Any: as in logging
    ) -> None:
        super().__init__(fmt, datefmt, style="{", defaults=defaults)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in logging
        """Return the formatted record, with `dd` there for the time being."""
        add_to_record(record)
        attributes = record.__dict__
        had, former = "dd" in attributes, attributes.get("dd")
        attributes["dd"] = SimpleNamespace(
            trace_id=attributes[TRACE_ID],
            span_id=attributes[SPAN_ID],
            service=attributes[SERVICE],
            env=attributes[ENV],
            version=attributes[VERSION],
        )
        try:
            return super().formatMessage(record)
        finally:
            if had:
                attributes["dd"] = former
            else:
                del attributes["dd"]


# -- other libraries ---------------------------------------------------------------------------------------


def structlog_processor(
    _logger: object,
    _method_name: str,
    event_dict: MutableMapping[str, Any],  # Any: values of every type
) -> MutableMapping[str, Any]:
    """Add the five fields to an event of structlog, unless it has them.

    Example:
        >>> structlog.configure(processors=[structlog_processor, structlog.processors.JSONRenderer()])
    """
    if TRACE_ID not in event_dict:
        event_dict.update(log_fields())
    return event_dict


def loguru_patcher(record: Any) -> None:  # Any: loguru's own record type, a mapping
    """Add the five fields to `extra` of a loguru record, unless it has them.

    Example:
        >>> logger.configure(patcher=loguru_patcher)
        >>> logger.add(sys.stderr, format="{message} {extra[dd.trace_id]}")
    """
    extra = record["extra"]
    if TRACE_ID not in extra:
        extra.update(log_fields())
