"""The engine: an OpenTelemetry SDK provider whose spans are cheap."""

from .engine import Engine
from .hooks import EngineHooks, SpanLimitValues
from .open_segments import OpenSegments
from .provider import TracerProvider
from .segment import Segment
from .span import Span
from .tracer import Tracer

__all__ = ["Engine", "EngineHooks", "OpenSegments", "Segment", "Span", "SpanLimitValues", "Tracer", "TracerProvider"]
