"""`Span.activate`: a span that `start_span` returned is current in a block, and is not ended by it."""

from __future__ import annotations

import contextvars
import logging
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider as SDKProvider

import ddtrace_manual as dd
from ddtrace_manual._api.other_provider import NOOP_SPAN, ForeignSpan, NoopSpan
from ddtrace_manual._model import types
from ddtrace_manual._tracing import TracerProvider
from ddtrace_manual.exceptions import ConfigurationError


def engine_span():
    return TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("work")


def other_providers_span():
    return ForeignSpan(SDKProvider(shutdown_on_exit=False).get_tracer("t").start_span("work"))


def remote_span():
    return NoopSpan(trace.SpanContext(1, 2, is_remote=True))


KINDS = pytest.mark.parametrize("make", [engine_span, other_providers_span, remote_span])


@KINDS
def test_a_span_is_current_in_the_block_and_stays_open(make):
    span = make()
    recording = span.is_recording()
    before = trace.get_current_span()
    with span.activate() as active:
        assert active is span
        assert trace.get_current_span().get_span_context() == span.get_span_context()
        assert dd.current_span().span_id == span.span_id
    assert trace.get_current_span() is before
    assert span.is_recording() is recording
    span.end()


@KINDS
def test_one_activation_may_be_entered_again(make):
    span, other = make(), make()
    activation = span.activate()
    with activation, other.activate():
        with activation:
            assert dd.current_span().span_id == span.span_id
        assert trace.get_current_span() is getattr(other, "wrapped", other)
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_span_without_ids_hides_nothing():
    span = engine_span()
    with span.activate(), NOOP_SPAN.activate() as active:
        assert active is NOOP_SPAN
        assert dd.current_span() is span


def test_an_exception_passes_and_marks_nothing():
    span = engine_span()
    with pytest.raises(KeyError), span.activate():
        raise KeyError
    assert span.status_code == 0


def test_it_is_left_in_another_thread_or_context():
    span = engine_span()
    activation = span.activate()
    contextvars.copy_context().run(activation.__enter__)
    assert not trace.get_current_span().get_span_context().is_valid
    thread = threading.Thread(target=activation.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert not trace.get_current_span().get_span_context().is_valid


def test_one_activation_is_entered_by_two_threads():
    """Each leaves to what was current before in its own thread, in whatever order."""
    span, outer = engine_span(), engine_span()
    activation = span.activate()
    entered, left = threading.Event(), threading.Event()
    found = []

    def other():
        with activation:
            entered.set()
            left.wait(10)
        found.append(trace.get_current_span().get_span_context().is_valid)

    thread = threading.Thread(target=other)
    with outer.activate():
        with activation:
            thread.start()
            assert entered.wait(10)
        assert dd.current_span() is outer
        left.set()
        thread.join()
    assert found == [False]


def test_with_on_a_span_is_explained_once(caplog, monkeypatch):
    monkeypatch.setattr(types._Hints, "told_about_with", False)
    with caplog.at_level(logging.DEBUG, "ddtrace_manual.span"):
        for _ in range(2):
            with engine_span() as span:
                assert dd.current_span() is not span
    [message] = [record.message for record in caplog.records if record.name == "ddtrace_manual.span"]
    assert "Span.activate()" in message


@pytest.mark.parametrize("make", [lambda **o: dd.start_span("a", **o), lambda **o: dd.span("a", **o), dd.traced])
def test_the_option_that_does_not_exist_points_at_the_method(make):
    with pytest.raises(ConfigurationError, match=r"with s\.activate\(\)"):
        make(activate=True)
