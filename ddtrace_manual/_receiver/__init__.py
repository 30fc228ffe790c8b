"""Receivers on loopback: an Agent double for tests, and one that shows the traces."""

from .faults import Fault
from .server import DEFAULT_INFO, FakeAgent
from .simulation import simulate
from .spans import CleanSpan, clean_span
from .store import Received, Store
from .trace_store import StoredTrace, TraceStore
from .viewer import TraceViewer

__all__ = [
    "DEFAULT_INFO",
    "CleanSpan",
    "FakeAgent",
    "Fault",
    "Received",
    "Store",
    "StoredTrace",
    "TraceStore",
    "TraceViewer",
    "clean_span",
    "simulate",
]
