"""Statistics about all finished spans, counted before any of them is dropped."""

from .aggregation import AggregationRules
from .concentrator import CardinalityLimits, Concentrator
from .drop import Selection, select_spans
from .exporter import StatsExporter, StatsIdentity
from .filters import NO_FILTERS, TraceFilters

__all__ = [
    "NO_FILTERS",
    "AggregationRules",
    "CardinalityLimits",
    "Concentrator",
    "Selection",
    "StatsExporter",
    "StatsIdentity",
    "TraceFilters",
    "select_spans",
]
