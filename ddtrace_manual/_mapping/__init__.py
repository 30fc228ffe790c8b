"""Spans of OpenTelemetry and of the facade → Datadog spans. Pure: no clock, no I/O, no environment."""

from .chunk import Mapper
from .events import to_text_events, to_text_links
from .limits import MAX_STRING_CHARACTERS, truncate_long_strings
from .metadata import format_process_tags, strip_credentials
from .settings import MappingSettings

__all__ = [
    "MAX_STRING_CHARACTERS",
    "Mapper",
    "MappingSettings",
    "format_process_tags",
    "strip_credentials",
    "to_text_events",
    "to_text_links",
    "truncate_long_strings",
]
