# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""Checked by mypy and pyright, never executed: options and spans. See `decorated_kinds.py`."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from typing_extensions import assert_type

import ddtrace_manual as dd


def work(order: int) -> str:
    return str(order)


def resource_of(arguments: dict[str, Any]) -> str:
    return f"order {arguments['order']}"


def wrong_resource(arguments: dict[str, Any]) -> int:
    return 1


every_option = dd.traced(
    "name",
    service="s",
    resource=resource_of,
    span_type="web",
    kind="server",
    tags={"a": 1, "b": ["c"]},
    links=[trace.INVALID_SPAN_CONTEXT, {"traceparent": "x"}, [("traceparent", "x")]],
    measured=True,
    new_trace=True,
    capture_args=["order"],
    capture_return=len,
    ignore=(ValueError, KeyError),
    active_across_yield=False,
    only=None,
)(work)
assert_type(every_option(1), str)

dd.traced(resource=lambda arguments: str(arguments["order"]), tags=lambda arguments: {"order": arguments["order"]})(
    work
)
dd.traced(capture_args=True, capture_return=True, ignore=KeyError, kind=None)(work)
dd.traced(capture_args=lambda arguments: {"order": arguments["order"]})(work)
dd.traced(work, service="s")

dd.traced(service=1)  # type: ignore[call-overload]
dd.traced(resource=wrong_resource)  # type: ignore[arg-type]
dd.traced(kind="sideways")  # type: ignore[call-overload]
dd.traced(tags=["a"])  # type: ignore[call-overload]
dd.traced(measured="yes")  # type: ignore[call-overload]
dd.traced(capture_args=1)  # type: ignore[call-overload]
dd.traced(capture_return="x")  # type: ignore[call-overload]
dd.traced(ignore=int)  # type: ignore[arg-type]
dd.traced(sevrice="s")  # type: ignore[call-overload]
dd.traced("name", "service")  # type: ignore[call-overload]

with dd.span("name", service="s", kind="client", tags={"a": None}) as span:
    assert_type(span, dd.Span)
    span.set_tag("a", object())
    span.service = "s"
    span.service = 1  # type: ignore[assignment]
    as_otel: trace.Span = span

dd.span()  # type: ignore[call-arg]
dd.span("name", kind="sideways")  # type: ignore[arg-type]
dd.span("name", sevrice="s")  # type: ignore[call-arg]
dd.span("name")(work)  # type: ignore[operator]
dd.span("name", links=[42])  # type: ignore[list-item]
dd.start_span("name", start_time_ns="now")  # type: ignore[arg-type]
dd.set_tag(1, "x")  # type: ignore[arg-type]
dd.add_link([("traceparent", b"x")])
dd.add_link("span")  # type: ignore[arg-type]


async def block() -> None:
    async with dd.span("name") as inner:
        assert_type(inner, dd.Span)


assert_type(dd.current_span(), dd.Span)
headers: dict[str, str] = dd.inject({})
pairs: list[tuple[str, str]] = dd.inject([])
