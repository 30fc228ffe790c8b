"""Ids of the current trace in log records of three libraries."""

import io
import json
import logging
import logging.handlers
import queue
import threading

import loguru
import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual.integrations import (
    BraceFormatter,
    LogFilter,
    install_log_record_factory,
    log_fields,
    loguru_patcher,
    structlog_processor,
    uninstall_log_record_factory,
)

FORMAT = (
    "%(message)s [dd.service=%(dd.service)s dd.env=%(dd.env)s dd.version=%(dd.version)s"
    " dd.trace_id=%(dd.trace_id)s dd.span_id=%(dd.span_id)s]"
)
NAMES = ("dd.trace_id", "dd.span_id", "dd.service", "dd.env", "dd.version")


@pytest.fixture
def configured(spans):
    """Tracing with service, environment and version, ids that count up, and the recorder."""
    dd.configure(service="shop", env="prod", version="1.2")
    spans.fix_ids(first_trace_id=10, first_span_id=20)
    return spans


@pytest.fixture
def records():
    """Install the record factory, and collect the records of a logger."""
    before = logging.getLogRecordFactory()
    install_log_record_factory()
    yield
    uninstall_log_record_factory()
    assert logging.getLogRecordFactory() is before


def make_record(message="text"):
    """Make a record as a logger does."""
    return logging.getLogger("application").makeRecord("application", logging.INFO, "file", 1, message, (), None)


def fields_of(record):
    """Return the five fields of a record."""
    return {name: value for name, value in vars(record).items() if name.startswith("dd")}


def test_fields_of_the_current_span(configured):
    """Ids are decimal; names are the configured ones; reading them makes no sampling decision."""
    with dd.span("a") as span:
        assert log_fields() == dict(zip(NAMES, ("10", "20", "shop", "prod", "1.2"), strict=True))
        assert not span.segment.decided
    assert log_fields() == dict(zip(NAMES, ("0", "0", "shop", "prod", "1.2"), strict=True))


@pytest.mark.parametrize(
    ("trace_id", "text"),
    [
        (1, "1"),
        ((1 << 64) - 1, "18446744073709551615"),
        (1 << 64, "00000000000000010000000000000000"),
        ((1 << 128) - 1, "f" * 32),
    ],
)
def test_the_form_of_the_trace_id(spans, trace_id, text):
    """Hexadecimal above 64 bits, else decimal."""
    spans.fix_ids(first_trace_id=trace_id, first_span_id=(1 << 64) - 1)
    with dd.span("a"):
        assert (log_fields()["dd.trace_id"], log_fields()["dd.span_id"]) == (text, "18446744073709551615")


def test_an_extracted_trace_counts_as_current(configured):
    """Between extraction and the first span the ids are the caller's."""
    with dd.continue_trace({"x-datadog-trace-id": "123", "x-datadog-parent-id": "456"}):
        assert (log_fields()["dd.trace_id"], log_fields()["dd.span_id"]) == ("123", "456")


def test_unset_names_are_empty(spans):
    """Environment and version that nobody configured are empty texts."""
    assert [log_fields()[name] for name in NAMES] == ["0", "0", "test", "", ""]


def test_before_configure_and_when_disabled_ids_are_zero(spans):
    """Nothing is raised; foreign spans do not count while tracing is off."""
    spans.stop()
    assert log_fields() == dict(zip(NAMES, ("0", "0", "", "", ""), strict=True))
    spans.start()
    dd.configure(trace_enabled=False, service="off")
    foreign = trace.NonRecordingSpan(trace.SpanContext(5, 6, is_remote=False))
    with trace.use_span(foreign):
        assert [log_fields()[name] for name in NAMES[:3]] == ["0", "0", "off"]


def test_spans_of_another_provider_count(spans):
    """Over another OpenTelemetry provider the ids are its spans'."""
    RUNTIME.engine, RUNTIME.use_otel = None, True  # the recorder puts them back
    with SdkTracerProvider(shutdown_on_exit=False).get_tracer("x").start_as_current_span("a") as span:
        context = span.get_span_context()
        assert log_fields()["dd.trace_id"] == f"{context.trace_id:032x}"
        assert log_fields()["dd.span_id"] == str(context.span_id)


def test_a_strange_current_span_is_none(spans):
    """Whatever is in the context, logging goes on."""
    with trace.use_span(None):
        assert log_fields()["dd.trace_id"] == "0"


# -- logging ---------------------------------------------------------------------------------------------


def test_the_factory_adds_fields_and_nothing_else(configured, records):
    """Records get exactly the five attributes; the message stays as it is."""
    with dd.span("a"):
        record = make_record("text %d%%")
    assert fields_of(record) == dict(zip(NAMES, ("10", "20", "shop", "prod", "1.2"), strict=True))
    assert record.msg == "text %d%%"
    expected = "text %d%% [dd.service=shop dd.env=prod dd.version=1.2 dd.trace_id=10 dd.span_id=20]"
    assert logging.Formatter(FORMAT).format(record) == expected


def test_the_factory_is_chained_and_removable(spans):
    """The previous factory makes the records; installing twice and removing twice are harmless."""
    before = logging.getLogRecordFactory()

    class Record(logging.LogRecord):
        """A record of the application."""

    logging.setLogRecordFactory(Record)
    try:
        install_log_record_factory()
        ours = logging.getLogRecordFactory()
        install_log_record_factory()
        assert logging.getLogRecordFactory() is ours
        assert isinstance(make_record(), Record)
        assert fields_of(make_record())
        uninstall_log_record_factory()
        uninstall_log_record_factory()
        assert logging.getLogRecordFactory() is Record
    finally:
        logging.setLogRecordFactory(before)


def test_a_factory_on_top_stays_when_ours_goes(spans):
    """Ours lies below another one: it stops adding fields and passes on; installed again it adds them once."""
    before = logging.getLogRecordFactory()
    install_log_record_factory()
    below = logging.getLogRecordFactory()

    def on_top(*args, **kwargs):
        record = below(*args, **kwargs)
        record.extra = 1
        return record

    logging.setLogRecordFactory(on_top)
    try:
        uninstall_log_record_factory()
        assert logging.getLogRecordFactory() is on_top
        assert make_record().extra == 1
        assert fields_of(make_record()) == {}
        install_log_record_factory()
        assert set(fields_of(make_record())) == set(NAMES)
        uninstall_log_record_factory()
    finally:
        logging.setLogRecordFactory(before)


def test_a_filter_adds_fields_to_one_handler(configured):
    """The fields are there at the handler; its name filters as usual."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(LogFilter("application"))
    logger, other = logging.getLogger("application.part"), logging.getLogger("other")
    for each in (logger, other):
        each.addHandler(handler)
    try:
        with dd.span("a"):
            logger.warning("hello")
            other.warning("unseen")
    finally:
        for each in (logger, other):
            each.removeHandler(handler)
    assert stream.getvalue() == "hello [dd.service=shop dd.env=prod dd.version=1.2 dd.trace_id=10 dd.span_id=20]\n"


def test_fields_of_the_logging_call_survive_a_queue(configured, records):
    """A filter or formatter that runs in another thread keeps what the record has."""
    waiting = queue.SimpleQueue()
    with dd.span("a"):
        logging.handlers.QueueHandler(waiting).handle(make_record())
    record = waiting.get()
    thread = threading.Thread(target=LogFilter().filter, args=(record,))
    thread.start()
    thread.join()
    assert fields_of(record)["dd.trace_id"] == "10"


def test_brace_formats(configured):
    """`{dd.trace_id}` works while formatting; the record has no such attribute afterwards."""
    formatter = BraceFormatter(
        "{message} {dd.trace_id} {dd.span_id} {dd.service} {dd.env} {dd.version} {x}", defaults={"x": 1}
    )
    record = make_record("hi")
    with dd.span("a"):
        assert formatter.format(record) == "hi 10 20 shop prod 1.2 1"
    assert "dd" not in vars(record)
    record.dd = "the application's own"
    assert BraceFormatter("{dd.trace_id}").format(record) == "10"
    assert record.dd == "the application's own"


def test_switched_off_formats_go_on_working(spans, records, monkeypatch):
    """With `DD_LOGS_INJECTION=false` ids are 0 and names empty."""
    monkeypatch.setenv("DD_LOGS_INJECTION", "false")
    dd.configure(service="shop")
    with dd.span("a"):
        text = logging.Formatter(FORMAT).format(make_record())
    assert text == "text [dd.service= dd.env= dd.version= dd.trace_id=0 dd.span_id=0]"


# -- other libraries ---------------------------------------------------------------------------------------


def test_structlog(configured):
    """The processor adds the fields to the event, and keeps those that are there."""
    stream = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream), processors=[structlog_processor, structlog.processors.JSONRenderer()]
    )
    with dd.span("a"):
        logger.info("hello", user=1)
        logger.info("again", **{"dd.trace_id": "7"})
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == {"event": "hello", "user": 1, **dict(zip(NAMES, ("10", "20", "shop", "prod", "1.2"), strict=True))}
    assert second == {"event": "again", "dd.trace_id": "7"}


def test_loguru(configured):
    """The patcher adds the fields to `extra`, and keeps those that are there."""
    stream = io.StringIO()
    logger = loguru.logger.patch(loguru_patcher)
    handler = logger.add(stream, format="{message} {extra[dd.trace_id]} {extra[dd.span_id]}")
    try:
        with dd.span("a"):
            logger.info("hello")
            logger.bind(**{"dd.trace_id": "7", "dd.span_id": "8"}).info("again")
    finally:
        logger.remove(handler)
    assert stream.getvalue() == "hello 10 20\nagain 7 8\n"


@pytest.mark.parametrize("adapted", [False, True])
def test_fields_given_in_extra_win(configured, records, caplog, adapted):
    logger = logging.getLogger("application")
    given = {"dd.trace_id": "123", "dd.service": "other"}
    with dd.span("work") as span, caplog.at_level(logging.INFO):
        if adapted:
            logging.LoggerAdapter(logger, given).info("text")
        else:
            logger.info("text", extra=given)
        logger.info("text", extra=log_fields())
    first, second = caplog.records
    assert fields_of(first) == {
        **fields_of(second),
        "dd.trace_id": "123",
        "dd.service": "other",
    }
    assert fields_of(second)["dd.span_id"] == str(span.span_id)
    assert set(fields_of(second)) == set(NAMES)
