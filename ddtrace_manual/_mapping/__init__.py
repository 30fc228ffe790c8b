"""Spans of OpenTelemetry and of the facade → Datadog spans. Pure: no clock, no I/O, no environment."""

from .chunk import Mapper
from .settings import MappingSettings

__all__ = ["Mapper", "MappingSettings"]
