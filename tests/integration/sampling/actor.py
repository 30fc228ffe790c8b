"""Acts out traces with one library, for the differential test: `python actor.py ours|ddtrace < job.json`.

The job is `{"traces": [{"headers": {...}, "steps": [...]}]}`. A trace continues `headers` and takes its steps on a
stack of open spans: `["start", name, service, resource]` with an optional type, `["tag", key, value]`, `["keep"]`,
`["drop"]`, `["error", name of a built-in exception, message]`, `["event", name, time, attributes]`,
`["link", trace id, span id, tracestate, flags, attributes]`, `["inject"]`, `["end"]`. Every span has the metric
`case.trace` and `case.span`. Written to standard output, as JSON: for each trace the headers of its injections. After
the first trace everything is delivered, so that the Agent's rates are known.
"""

import builtins
import json
import sys


class Ours:
    """ddtrace_manual."""

    def __init__(self):
        import ddtrace_manual as dd

        self.dd = dd
        dd.configure()

    def begin(self, headers):
        self.context = self.dd.extract(headers)

    def start(self, parent, name, service, resource, span_type=None):
        parent = self.context if parent is None else parent
        return self.dd.start_span(name, service=service, resource=resource, span_type=span_type, parent=parent)

    def tag(self, span, key, value):
        span.set_tag(key, value)

    def error(self, span, exc):
        span.set_error(exc)

    def event(self, span, name, time_ns, attributes):
        span.add_event(name, attributes, time_ns)

    def link(self, span, trace_id, span_id, tracestate, flags, attributes):
        from opentelemetry.trace import SpanContext, TraceFlags, TraceState

        state = TraceState.from_header([tracestate])
        span.add_link(SpanContext(trace_id, span_id, True, TraceFlags(flags), state), attributes)

    def decide(self, span, kept):
        (span.keep if kept else span.drop)()

    def inject(self, span):
        return self.dd.inject({}, span=span)

    def end(self, span):
        span.end()

    def flush(self):
        self.dd.flush(20.0)


class Theirs:
    """ddtrace."""

    def __init__(self):
        from ddtrace.propagation.http import HTTPPropagator
        from ddtrace.trace import tracer

        self.propagator, self.tracer = HTTPPropagator, tracer

    def begin(self, headers):
        self.context = self.propagator.extract(headers)

    def start(self, parent, name, service, resource, span_type=None):
        return self.tracer.start_span(
            name, child_of=parent or self.context, service=service, resource=resource, span_type=span_type
        )

    def tag(self, span, key, value):
        span.set_tag(key, value)

    def error(self, span, exc):
        span.set_exc_info(type(exc), exc, exc.__traceback__)

    def event(self, span, name, time_ns, attributes):
        span._add_event(name, attributes, time_ns)

    def link(self, span, trace_id, span_id, tracestate, flags, attributes):
        span.set_link(trace_id, span_id, tracestate, flags, attributes)

    def decide(self, span, kept):
        span.set_tag("manual.keep" if kept else "manual.drop")

    def inject(self, span):
        headers = {}
        self.propagator.inject(span, headers)
        return headers

    def end(self, span):
        span.finish()

    def flush(self):
        self.tracer.flush()


def raised(kind, message):
    """Return an exception that was raised."""
    try:
        raise getattr(builtins, kind)(message)
    except Exception as exc:
        return exc


def act(library, number, trace):
    """Take the steps of one trace; return the headers of its injections."""
    library.begin(trace["headers"])
    stack, injected, spans = [], [], 0
    for step, *arguments in trace["steps"]:
        if step == "start":
            span = library.start(stack[-1] if stack else None, *arguments)
            library.tag(span, "case.trace", number)
            library.tag(span, "case.span", spans)
            spans += 1
            stack.append(span)
        elif step in {"tag", "event", "link"}:
            getattr(library, step)(stack[-1], *arguments)
        elif step == "error":
            library.error(stack[-1], raised(*arguments))
        elif step == "inject":
            injected.append(library.inject(stack[-1]))
        elif step == "end":
            library.end(stack.pop())
        else:
            library.decide(stack[-1], step == "keep")
    return injected


def main():
    """Act out the job on standard input."""
    library = {"ours": Ours, "ddtrace": Theirs}[sys.argv[1]]()
    injected = []
    for number, trace in enumerate(json.load(sys.stdin)["traces"]):
        injected.append(act(library, number, trace))
        if not number:
            library.flush()
    library.flush()
    json.dump(injected, sys.stdout)


if __name__ == "__main__":
    main()
