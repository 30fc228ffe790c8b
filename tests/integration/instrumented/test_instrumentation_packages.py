"""OpenTelemetry's instrumentation packages at work with our provider, as seen by the real test agent."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

APP = Path(__file__).with_name("app.py")
FROM_OUTSIDE = {"OTEL_PYTHON_TRACER_PROVIDER": "ddtrace_manual", "OTEL_PYTHON_CONFIGURATOR": "ddtrace_manual"}

# operation name | resource name | type | error; the spans of decorators and `with` blocks are marked.
ORDER = """
client.order | client.order | - | 0  (ours)
  http.client.request | GET | http | 0
    http.server.request | GET /orders/{order_id} | web | 0
      sqlite.query | connect | sql | 0
        sqlite.query | PRAGMA read_uncommitted | sql | 0
      sqlite.query | SELECT 1 | sql | 0
      sqlite.query | SELECT 1 | sql | 0
      http.client.request | GET | http | 0
        http.server.request | GET /stock/<int:item> | web | 0
          stock.count | stock.count | - | 0  (ours)
            sqlite.query | SELECT ? * 2 | sql | 0
      order.pack | order.pack | - | 0  (ours)
      internal | GET /orders/{order_id} http send | custom | 0
      internal | GET /orders/{order_id} http send | custom | 0
"""
FAILING = """
client.failing | client.failing | - | 0  (ours)
  http.client.request | GET | http | 0
    http.server.request | GET /failing | web | 0
      http.client.request | GET | http | 1
        http.server.request | GET /broken | web | 1
      internal | GET /failing http send | custom | 0
      internal | GET /failing http send | custom | 0
"""


def draw(trace):
    """The spans of a trace as an indented list, children by start."""
    ids = {span["span_id"] for span in trace}
    lines = []

    def add(parent_id, depth):
        for span in sorted(trace, key=lambda each: each["start"]):
            if (span.get("parent_id", 0) if span.get("parent_id", 0) in ids else 0) == parent_id:
                ours = "" if "otel.scope.name" in span["meta"] else "  (ours)"
                fields = (span["name"], span["resource"], span.get("type") or "-", str(span.get("error") or 0))
                lines.append("  " * depth + " | ".join(fields) + ours)
                add(span["span_id"], depth + 1)

    add(0, 0)
    return "\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("auto", [False, True], ids=["by-hand", "opentelemetry-instrument"])
def test_instrumented_services_and_decorators_make_whole_traces(run, test_agent, auto):
    """Two services and their client show one trace a request: names, types, errors and parents across headers."""
    done = run(
        str(APP),
        *([] if auto else ["by-hand"]),
        auto=auto,
        DD_TRACE_AGENT_URL=test_agent.url,
        DD_SERVICE="shop",
        DD_ENV="test",
        _DD_TRACE_WRITER_ADDITIONAL_HEADERS=f"X-Datadog-Test-Session-Token:{test_agent.token}",
        OTEL_PYTHON_LOG_CORRELATION="true",
        OTEL_PROPAGATORS="datadog",
        **(FROM_OUTSIDE if auto else {}),
    )
    printed = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines()}
    traces = test_agent.wait_for_traces(2)
    assert len(traces) == 2  # our own requests to the agent are not traced
    by_low_id = {trace[0]["trace_id"]: trace for trace in traces}
    for name, expected in (("client.order", ORDER), ("client.failing", FAILING)):
        trace_id, span_id = printed[name]
        trace = by_low_id[int(trace_id[16:], 16)]
        assert draw(trace) == expected
        assert {span["meta"]["otel.trace_id"] for span in trace} == {trace_id}
        assert {(span["service"], span["meta"]["env"]) for span in trace} == {("shop", "test")}
        assert next(span["span_id"] for span in trace if span["name"] == name) == int(span_id, 16)
        assert all(span["meta"]["span.kind"] == "server" for span in trace if span["name"] == "http.server.request")
    counted = next(
        span for span in by_low_id[int(printed["client.order"][0][16:], 16)] if span["name"] == "stock.count"
    )
    assert (counted["meta"]["unit"], counted["metrics"]["stock.pieces"]) == ("pieces", 14)
    failed = by_low_id[int(printed["client.failing"][0][16:], 16)]
    server = next(span for span in failed if span["resource"] == "GET /broken")
    assert (server["meta"]["error.type"], server["meta"]["error.message"]) == ("ValueError", "no such shelf")
    assert server["meta"]["error.stack"].endswith("ValueError: no such shelf\n")
    assert server["meta"]["http.status_code"] == "500"
    # Log records carry the id of the span in which they were made.
    logged = re.search(r"trace_id=(\w+) span_id=(\w+) .*- counting", done.stderr)
    served = next(span for trace in traces for span in trace if span["resource"] == "GET /stock/<int:item>")
    assert logged is not None
    assert logged.groups() == (printed["client.order"][0], f"{served['span_id']:016x}")
