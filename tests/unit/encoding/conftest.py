"""Spans to encode."""

from __future__ import annotations

import pytest


@pytest.fixture
def make_span():
    """Return a function that makes a small valid span with some fields changed."""

    def make(**changes):
        return {
            "service": "svc",
            "name": "op",
            "resource": "res",
            "trace_id": 1,
            "span_id": 2,
            "start": 1000,
            "duration": 5,
            "meta": {"span.kind": "internal"},
            "metrics": {"m": 1.0},
            **changes,
        }

    return make
