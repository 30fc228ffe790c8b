"""The engine: an OpenTelemetry SDK provider whose spans are cheap."""

from .engine import Engine, EngineHooks, SpanLimitValues
from .provider import TracerProvider
from .segment import Segment
from .span import Span
from .tracer import Tracer

__all__ = ["Engine", "EngineHooks", "Segment", "Span", "SpanLimitValues", "Tracer", "TracerProvider"]
