"""Fixtures of the statistics tests: a clock that stands still and Datadog spans in one call."""

from __future__ import annotations

import pytest

START_NS = 1_700_000_000_000_000_000


class ManualClock:
    """Time moves only when told; wall and monotonic time are the same."""

    def __init__(self):
        self.now_ns = START_NS

    def wall_ns(self):
        return self.now_ns

    def monotonic_ns(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make_span():
    """Make a top-level root span that ends at the clock's first moment; keywords replace or add fields."""

    def make(*, meta=None, metrics=None, duration=1_000_000_000, end=START_NS, **fields):
        span = {
            "service": "web",
            "name": "web.request",
            "resource": "GET /",
            "trace_id": 1,
            "span_id": 1,
            "start": end - duration,
            "duration": duration,
            "meta": dict(meta or {}),
            "metrics": {"_dd.top_level": 1.0} if metrics is None else dict(metrics),
        }
        span.update(fields)
        return span

    return make
