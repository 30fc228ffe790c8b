"""Run in an environment that has `ddtrace`: continue traces from headers, and say what came out.

    python ddtrace_oracle.py < cases.jsonl > answers.jsonl

A case is `{"styles": [...], "headers": {...}}`; an answer `{"headers": {...}, "root": {...}}` with what was
injected from the local root and how the root was exported.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.update(
    DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
    DD_REMOTE_CONFIGURATION_ENABLED="false",
    DD_TRACE_STARTUP_LOGS="false",
    DD_TRACE_COMPUTE_STATS="false",
)

from ddtrace.internal.settings._config import config
from ddtrace.propagation.http import HTTPPropagator
from ddtrace.trace import tracer


class Collector:
    """A writer that keeps the last trace."""

    def __init__(self, former):
        self.former = former
        self.spans = []

    def write(self, spans):
        self.spans = spans

    def __getattr__(self, name):
        return getattr(self.former, name)


def answer(case, collector):
    config._propagation_style_extract = case["styles"]
    config._propagation_style_inject = case["styles"]
    context = HTTPPropagator.extract(case["headers"])
    span = tracer.start_span("op", child_of=context, service="t")
    headers = {}
    HTTPPropagator.inject(span, headers)
    span.finish()
    root = collector.spans[0]
    collector.spans = []
    return {
        "headers": headers,
        "root": {
            "trace_id": root.trace_id,
            "span_id": root.span_id,
            "parent_id": root.parent_id or 0,
            "meta": dict(root.get_tags()) if hasattr(root, "get_tags") else dict(root._meta),
            "metrics": dict(root.get_metrics()) if hasattr(root, "get_metrics") else dict(root._metrics),
            "links": [
                {
                    "trace_id": link.trace_id,
                    "span_id": link.span_id,
                    "flags": link.flags,
                    "tracestate": link.tracestate or "",
                    "attributes": dict(link.attributes or {}),
                }
                for link in root._get_links()
            ],
        },
    }


def main():
    collector = Collector(tracer._span_aggregator.writer)
    tracer._span_aggregator.writer = collector
    for line in sys.stdin:
        try:
            result = answer(json.loads(line), collector)
        except Exception as exc:
            result = {"raised": repr(exc)}
        sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
