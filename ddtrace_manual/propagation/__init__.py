"""Context propagation: Datadog headers, W3C Trace Context, B3 and W3C Baggage."""

from ._composite import Extraction, Propagator
from ._environ import extract_environ, inject_environ
from ._otel import (
    B3MultiPropagator,
    B3Propagator,
    BaggagePropagator,
    DatadogPropagator,
    RemoteSpan,
    TraceContextPropagator,
    baggage_tags,
    install_propagator,
    remote_from_span_context,
)
from ._settings import PropagationSettings
from ._tracecontext import display_trace_state

__all__ = [
    "B3MultiPropagator",
    "B3Propagator",
    "BaggagePropagator",
    "DatadogPropagator",
    "Extraction",
    "PropagationSettings",
    "Propagator",
    "RemoteSpan",
    "TraceContextPropagator",
    "baggage_tags",
    "display_trace_state",
    "extract_environ",
    "inject_environ",
    "install_propagator",
    "remote_from_span_context",
]
