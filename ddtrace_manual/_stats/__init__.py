"""Statistics about all finished spans, counted before any of them is dropped."""

from .aggregation import AggregationRules
from .concentrator import CardinalityLimits, Concentrator
from .exporter import BucketExporter, StatsExporter, StatsIdentity
from .filters import NO_FILTERS, TraceFilters
from .otlp import DurationHistogram, SpanMetricsExporter, span_metrics_resource
from .p0_dropping import Selection, must_be_sent, select_spans

__all__ = [
    "NO_FILTERS",
    "AggregationRules",
    "BucketExporter",
    "CardinalityLimits",
    "Concentrator",
    "DurationHistogram",
    "Selection",
    "SpanMetricsExporter",
    "StatsExporter",
    "StatsIdentity",
    "TraceFilters",
    "must_be_sent",
    "select_spans",
    "span_metrics_resource",
]
