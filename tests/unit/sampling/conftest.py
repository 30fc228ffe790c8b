"""Fixtures of the sampling tests: a clock that stands still, a plain view of spans, a sampler in one call."""

from __future__ import annotations

import pytest

from ddtrace_manual._model import SegmentRecord, SpanRecord
from ddtrace_manual.sampling import RateLimiter, ServiceRates, TraceSampler


class ManualClock:
    """Time moves only when told."""

    def __init__(self):
        self.now_ns = 1_700_000_000_000_000_000

    def wall_ns(self):
        return self.now_ns

    def monotonic_ns(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += round(seconds * 1e9)


class PlainView:
    """Reads names from the values of a span under the reserved attributes, without any mapping."""

    def service_name(self, span):
        return (span.values or {}).get("service.name", "webserver")

    def operation_name(self, span):
        return span.operation_name or "web.request"

    def resource_name(self, span):
        return (span.values or {}).get("resource.name", "GET /users")

    def tag(self, span, key):
        return (span.values or {}).get(key)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def view():
    return PlainView()


@pytest.fixture
def make_root():
    """Make a local root with a segment of its own."""

    def make(values=None, *, trace_id=1, operation_name=None, **segment_fields):
        segment = SegmentRecord()
        segment.trace_id = trace_id
        for name, value in segment_fields.items():
            setattr(segment, name, value)
        root = SpanRecord()
        root.segment = segment
        root.is_local_root = True
        root.operation_name = operation_name
        root.values = values
        segment.local_root = root
        return root

    return make


@pytest.fixture
def make_sampler(clock, view):
    """Make a sampler; `limit` is the trace rate limit."""

    def make(*rules, limit=100, **settings):
        settings.setdefault("service_rates", ServiceRates())
        return TraceSampler(span_view=view, rules=rules, limiter=RateLimiter(limit, clock), clock=clock, **settings)

    return make


@pytest.fixture
def decide(make_root):
    """Decide a new root; return its segment."""

    def run(sampler, values=None, **kwargs):
        root = make_root(values, **kwargs)
        sampler.decide(root.segment, root)
        return root.segment

    return run
