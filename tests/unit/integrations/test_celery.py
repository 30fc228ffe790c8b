"""The Celery connector, with a real worker over the in-memory broker."""

from __future__ import annotations

import threading

import celery
import pytest
from celery import signals

import ddtrace_manual as dd
from ddtrace_manual.exceptions import ConfigurationError
from ddtrace_manual.integrations import connect_celery, disconnect_celery
from ddtrace_manual.testing import SpanRecorder


def leave_logging_alone(**_):
    """Being connected keeps Celery from configuring the process's loggers."""


@pytest.fixture(scope="module")
def app():
    """An application with some tasks, and a worker that runs them in a thread."""
    from celery.contrib.testing.worker import start_worker

    application = celery.Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=True)
    application.conf.update(
        task_default_queue="orders",
        broker_connection_retry_on_startup=False,
        broker_transport_options={"polling_interval": 0.01},
    )

    @application.task(name="shop.add", shared=False)
    def add(a, b):
        with dd.span("work"):
            return a + b

    @application.task(name="shop.fail", shared=False)
    def fail():
        raise KeyError("lost")

    @application.task(name="shop.flaky", bind=True, max_retries=2, shared=False)
    def flaky(self):
        if self.request.retries == 0:
            raise self.retry(exc=ValueError("not yet"), countdown=0)
        return "done"

    @application.task(name="shop.outer", shared=False)
    def outer():
        add.delay(1, 2)

    @application.task(name="shop.look", bind=True, shared=False)
    def look(self):
        return sorted(name for name in vars(self.request) if "trace" in name)

    signals.setup_logging.connect(leave_logging_alone)
    with start_worker(application, pool="solo", perform_ping_check=False, shutdown_timeout=20):
        yield application
    signals.setup_logging.disconnect(leave_logging_alone)
    application.close()


@pytest.fixture(autouse=True)
def disconnected(app):
    """Leave nothing connected."""
    yield
    disconnect_celery(app)
    disconnect_celery()


def perform(app, name, *args, runs=1):
    """Send a task and return its result, once so many tasks have run and their spans are over."""
    over = threading.Semaphore(0)

    def note(**_):
        over.release()

    # Receivers are called in the order they were connected: this one after the connector's.
    signals.task_postrun.connect(note)
    try:
        result = app.tasks[name].delay(*args)
        for _ in range(runs):
            assert over.acquire(timeout=20)
    finally:
        signals.task_postrun.disconnect(note)
    return result


def test_a_task_runs_in_the_trace_of_its_sender(app, spans):
    """Sending is a producer span, running a consumer span below it, and the task's spans are below that."""
    connect_celery(app)
    with dd.span("request"):
        result = perform(app, "shop.add", 1, 2)
    assert result.get() == 3
    spans.assert_tree(
        """
        request
          celery.apply [resource=shop.add, kind=producer, type=worker, messaging.destination.name=orders]
            celery.run [resource=shop.add, kind=consumer, type=worker, celery.state=SUCCESS, error=false]
              work
        """
    )
    assert spans.find("celery.run").tag("celery.id") == spans.find("celery.apply").tag("celery.id") == result.id


def test_a_link_starts_a_new_trace(app, spans):
    """With `relation="link"` the run is a trace of its own that knows who sent it."""
    connect_celery(app, relation="link")
    with dd.span("request"):
        perform(app, "shop.add", 1, 2)
    run, sent = spans.find("celery.run"), spans.find("celery.apply")
    assert run.trace_id != sent.trace_id
    assert [(link.trace_id, link.span_id) for link in run.links] == [(sent.trace_id, sent.span_id)]


def test_a_failed_task_is_an_error(app, spans):
    """The exception of the task is on its span; the result fails as it would otherwise."""
    connect_celery(app)
    with pytest.raises(KeyError):
        perform(app, "shop.fail").get()
    run = spans.find("celery.run")
    assert (run.error_type, run.tag("celery.state")) == ("KeyError", "FAILURE")
    assert dd.current_span().span_id == 0


def test_a_retry_is_a_run_of_its_own_and_no_error(app, spans):
    """Both runs are in the trace; the first says why there is a second."""
    connect_celery(app)
    assert perform(app, "shop.flaky", runs=2).get() == "done"
    first, second = spans.find_all("celery.run")
    assert (first.error, first.tag("celery.state"), first.tag("celery.retry.reason")) == (
        False,
        "RETRY",
        "Retry in 0s: ValueError('not yet')",
    )
    assert (second.tag("celery.retries"), second.tag("celery.state")) == (1, "SUCCESS")
    assert first.trace_id == second.trace_id


def test_tasks_that_send_tasks_are_one_trace(app, spans):
    """A chain through the queue stays connected."""
    connect_celery(app)
    perform(app, "shop.outer", runs=2)
    inner = spans.find("celery.run", resource="shop.add")
    assert inner.parent.name == "celery.apply"
    assert inner.parent.parent.resource == "shop.outer"


def test_tasks_run_on_the_spot_are_traced(app, spans):
    """`apply` sends no message: the run is a trace of its own."""
    connect_celery(app)
    assert app.tasks["shop.add"].apply((1, 2)).get() == 3
    assert [span.name for span in spans] == ["celery.run", "work"]


def test_only_the_connected_application_is_traced(app, spans):
    """Another application in the process is left alone, and disconnecting ends it."""
    other = celery.Celery("other", broker="memory://", set_as_current=False)
    connect_celery(other)
    app.tasks["shop.add"].apply((1, 2))
    assert not spans.find_all("celery.run")
    disconnect_celery(other)
    connect_celery()
    app.tasks["shop.add"].apply((1, 2))
    assert len(spans.find_all("celery.run")) == 1
    disconnect_celery()
    app.tasks["shop.add"].apply((1, 2))
    assert len(spans.find_all("celery.run")) == 1
    other.close()


def test_a_mistaken_relation_is_told_at_once():
    """There are two relations."""
    with pytest.raises(ConfigurationError):
        connect_celery(relation="child")


def test_without_tracing_messages_stay_as_they_are(app):
    """With tracing off tasks are sent and run without headers of ours."""
    connect_celery(app)
    with SpanRecorder(service="t", trace_enabled=False):
        assert "traceparent" not in perform(app, "shop.look").get()
