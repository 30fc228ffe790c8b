"""The memory budget counts every text of a span, wherever it stands.

Source: spec/trace-export.md §2, "What the budget counts".
"""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

BUDGET = 20 * 2**20

PLACES = {
    "name": "with dd.span(text): pass",
    "name of start_span": "dd.start_span(text).end()",
    "name of a traced function": "dd.traced(text)(lambda: None)()",
    "OpenTelemetry name": "with tracer.start_as_current_span(text): pass",
    "OpenTelemetry name of start_span": "tracer.start_span(text).end()",
    "new name": "with dd.span('op') as s: s.update_name(text)",
    "resource": "with dd.span('op', resource=text): pass",
    "resource set later": "with dd.span('op') as s: s.resource = text",
    "service": "with dd.span('op', service=text): pass",
    "service set later": "with dd.span('op') as s: s.service = text",
    "type": "with dd.span('op', span_type=text): pass",
    "type set later": "with dd.span('op') as s: s.span_type = text",
    "key": "with dd.span('op') as s: s.set_tag(text, 1)",
    "key given": "with dd.span('op', tags={text: 1}): pass",
    "OpenTelemetry key": "with tracer.start_as_current_span('op', attributes={text: 1}): pass",
    "value": "with dd.span('op') as s: s.set_tag('k', text)",
    "bytes": "with dd.span('op') as s: s.set_tag('k', text.encode())",
    "value with wide characters": "with dd.span('op') as s: s.set_tag('k', '\\U0001f600' + text)",
    "nested key": "with dd.span('op') as s: s.set_tag('k', [{text: 1}])",
    "text of an object": "with dd.span('op') as s: s.set_tag('k', type('T', (), {'__str__': lambda self: text})())",
    "event name": "with dd.span('op') as s: s.add_event(text)",
    "event key": "with dd.span('op') as s: s.add_event('e', {text: 1})",
    "event value": "with dd.span('op') as s: s.add_event('e', {'a': text})",
    "status": "with tracer.start_as_current_span('op') as s: s.set_status(StatusCode.ERROR, text)",
    "error message": "with dd.span('op') as s: s.set_error(message=text)",
    "error type": "with dd.span('op') as s: s.set_error(type=text)",
    "error stack": "with dd.span('op') as s: s.set_error(stack=text)",
    "exception": "with contextlib.suppress(ValueError), dd.span('op'): raise ValueError(text)",
    "link key": "with dd.span('op') as s: s.add_link(context, {text: 1})",
    "link value": "with dd.span('op') as s: s.add_link(context, {'a': text})",
    "OpenTelemetry link": "with tracer.start_as_current_span('op', links=[Link(context, {'a': text})]): pass",
    "trace state of a link": "with dd.span('op', links=[headers(text)]): pass",
}

PROGRAM = """
import contextlib, resource
from opentelemetry.trace import Link, SpanContext, StatusCode
provider = dd.configure(
    service="s", agent_url="{url}", instrumentation_telemetry_enabled=False, remote_configuration_enabled=False,
    trace_startup_logs=False,
)
tracer = provider.get_tracer("x")
context = SpanContext(1, 2, False)
def headers(text):
    return {{"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tracestate": "a=" + text}}
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
def act(number):
    text = f"{{number:06d}}" + "x" * 200_000
    {place}
act(0)
dd.flush(0.5)
begin = largest = resident()
with {root}:
    for number in range(4_000):
        act(number)
        if number % 10 == 0:
            largest = max(largest, resident())
counts = dd.counters()
print(largest - begin, counts.created_spans, counts.finished_spans + counts.open_spans, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", ["traces", pytest.param("children", marks=pytest.mark.slow)])
def test_long_texts_keep_within_the_budget(program, place, shape):
    """4,000 spans with a text of 200,000 characters each take at most twice the budget while no Agent takes them."""
    root = "dd.span('root')" if shape == "children" else "contextlib.nullcontext()"
    ended = program(PROGRAM.format(place=PLACES[place], root=root, url="http://127.0.0.1:9"))
    assert ended.returncode == 0, ended.err
    grown, created, accounted = map(int, ended.out.split())
    assert grown <= 2 * BUDGET
    assert created == accounted >= 4_000


@pytest.mark.parametrize("place", ["name", "OpenTelemetry name", "resource", "service", "type", "key"])
def test_no_cache_keeps_long_texts(program, fake_agent, place):
    """Nothing that remembers names, services, keys or statistics keeps long ones once their spans were sent."""
    code = PROGRAM.format(place=PLACES[place], root="contextlib.nullcontext()", url=fake_agent.url)
    code = code.replace("range(4_000)", "range(600)").replace(
        "        act(number)\n", "        act(number); time.sleep(0.003)\n"
    )
    ended = program(
        code.replace("provider = dd.configure(", "provider = dd.configure(trace_writer_interval_seconds=0.1,")
    )
    assert ended.returncode == 0, ended.err
    grown, created, accounted = map(int, ended.out.split())
    assert grown <= 2 * BUDGET
    assert created == accounted >= 600
