"""Spans of the OpenTelemetry API and of this library in one trace: they are the same objects."""

from opentelemetry import trace

import ddtrace_manual as dd

dd.configure(service="bakery", env="dev")
tracer = trace.get_tracer("my.library")

with dd.span("shift", resource="morning") as shift:
    with tracer.start_as_current_span("sweep the floor") as inner:
        inner.set_attribute("room", "front")
        dd.set_tag("broom", "new")  # acts on the current span, whoever made it
    assert inner.get_span_context().trace_id == shift.get_span_context().trace_id

dd.flush()
