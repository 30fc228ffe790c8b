"""A trace across two services: one writes headers, the other reads them. The network is left out."""

import ddtrace_manual as dd

dd.configure(service="bakery", env="dev")


# --8<-- [start:client]
def order_flour(kilos: int) -> str:
    with dd.span("http.request", resource="POST /flour", kind="client", span_type="http"):
        headers = dd.inject({})  # {"x-datadog-trace-id": "…", "traceparent": "00-…", …}
        return mill(headers, kilos)


# --8<-- [end:client]


# --8<-- [start:server]
def mill(headers: dict[str, str], kilos: int) -> str:
    with (
        dd.continue_trace(headers),
        dd.span("http.server.request", resource="POST /flour", kind="server", span_type="web", service="mill") as span,
    ):
        span.set_tag("kilos", kilos)
        return f"{kilos} kg of flour"


# --8<-- [end:server]

print(order_flour(25))
dd.flush()
