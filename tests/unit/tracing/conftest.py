"""A provider without pipeline whose chunks are kept, and a span processor that keeps what it is told."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk.trace import SpanProcessor

from ddtrace_manual._tracing import EngineHooks, TracerProvider


class Told(SpanProcessor):
    """A processor that remembers its calls, and does what a test asks it to do in them."""

    def __init__(self, name="processor", log=None, **does):
        self.name = name
        self.log = [] if log is None else log
        self.spans = []
        self._does = does

    def _tell(self, method, *arguments):
        self.log.append((self.name, method))
        if method == "on_end":
            self.spans.append(arguments[0])
        does = self._does.get(method)
        return does(*arguments) if does is not None else None

    def on_start(self, span, parent_context=None):
        self._tell("on_start", span)

    def _on_ending(self, span):
        self._tell("_on_ending", span)

    def on_end(self, span):
        self._tell("on_end", span)

    def shutdown(self):
        self._tell("shutdown")

    def force_flush(self, timeout_millis=30000):
        return self._tell("force_flush", timeout_millis)


@pytest.fixture
def told():
    """The class of processors that remember their calls."""
    return Told


@pytest.fixture
def chunks():
    """Names of the spans of each finished chunk."""
    return []


@pytest.fixture
def make_provider(chunks):
    """Make a provider whose finished chunks go to `chunks`."""

    def export(_segment, spans, *, partial):
        chunks.append([span.name for span in spans] + (["..."] if partial else []))

    def make(hooks=None, **options):
        hooks = hooks or {}
        return TracerProvider(hooks=EngineHooks(**{"export": export, **hooks}), shutdown_on_exit=False, **options)

    return make


@pytest.fixture
def provider(make_provider):
    """A provider with the usual options."""
    return make_provider()


@pytest.fixture
def tracer(provider):
    """A tracer of that provider."""
    return provider.get_tracer("tests")


@pytest.fixture
def in_threads():
    """Run a function in so many threads that begin at the same time; return their exceptions."""

    def run(function, count=8):
        barrier = threading.Barrier(count)
        errors = []

        def work(number):
            barrier.wait(10)
            try:
                function(number)
            except BaseException as exc:
                errors.append(exc)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return errors

    return run
