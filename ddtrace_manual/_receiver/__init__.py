"""A small Agent double on loopback, and the requests it keeps."""

from .faults import Fault
from .server import DEFAULT_INFO, FakeAgent
from .store import Received, Store

__all__ = ["DEFAULT_INFO", "FakeAgent", "Fault", "Received", "Store"]
