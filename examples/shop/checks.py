"""What the demo sends and what it expects back: pure, no I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

Trace = list[dict[str, Any]]  # Any: spans as they are read back

ITEMS = ("book", "lamp", "desk")
GOOD_CARD, BAD_CARD = "4242424242424242", "4000000000000002"
SERVICES = {"shop-gateway", "shop-payments"}


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    Attributes:
        status: HTTP status it must be answered with.
        operations: Operation names of its trace, sorted, all of them.
        errors: The operations among them that must be marked as errors.
    """

    status: int
    operations: tuple[str, ...]
    errors: tuple[str, ...] = ()


_CALLED = ("http.client.request", "http.server.request", "http.server.request")
_CHARGED = (*_CALLED, "payments.check_fraud", "payments.reserve")
ORDER = Kind(201, tuple(sorted([*_CHARGED, "payments.book", "shop.discount", "shop.price", "sqlite.query"])))
DECLINED = Kind(
    402,
    tuple(sorted([*_CHARGED, "shop.discount", "shop.price"])),
    # 402 is no error of the server that says so, but of who asked; the gateway marks its own span.
    errors=("http.client.request", "http.server.request", "payments.reserve"),
)
READ = Kind(200, (*_CALLED, "payments.find", "sqlite.query"))


@dataclass
class Sent:
    """One request, and the status of its answer once there is one."""

    kind: Kind
    request_id: str
    method: str
    path: str
    body: dict[str, Any] | None = None  # Any: JSON
    status: int = 0


def plan(run_id: str, count: int) -> list[Sent]:
    """Return `count` requests: of ten, seven orders, one declined order and two that read an order."""
    planned: list[Sent] = []
    for number in range(count):
        request_id = f"{run_id}-{number}"
        if number % 10 in (3, 7):
            planned.append(Sent(READ, request_id, "GET", f"/orders/{run_id}-{number - 1}"))
            continue
        declined = number % 10 == 8
        body = {
            "order_id": request_id,
            "item": ITEMS[number % len(ITEMS)],
            "quantity": number % 7 + 1,
            "card": BAD_CARD if declined else GOOD_CARD,
        }
        planned.append(Sent(DECLINED if declined else ORDER, request_id, "POST", "/orders", body))
    return planned


def wrong_answers(sent: list[Sent]) -> list[str]:
    """Return a line for each request whose answer had an unexpected status."""
    return [f"{one.request_id}: status {one.status}" for one in sent if one.status != one.kind.status]


def traces_of_requests(traces: list[Trace]) -> dict[str, list[Trace]]:
    """Return the traces of each request id, as the gateway tagged it."""
    found: dict[str, list[Trace]] = {}
    for trace in traces:
        for request_id in {span.get("meta", {}).get("request.id") for span in trace} - {None}:
            found.setdefault(request_id, []).append(trace)
    return found


def wrong_traces(sent: list[Sent], traces: list[Trace], *, alone: bool) -> list[str]:
    """Return a line for each request that did not become exactly one complete, connected trace.

    Args:
        sent: The requests.
        traces: Everything that was received.
        alone: Nobody else sends to the agent: any further trace is a broken piece of ours.
    """
    found = traces_of_requests(traces)
    problems = []
    for one in sent:
        mine = found.get(one.request_id, [])
        if len(mine) != 1:
            problems.append(f"{one.request_id}: {len(mine)} traces instead of one")
            continue
        problems += [f"{one.request_id}: {wrong}" for wrong in _wrong_trace(one.kind, mine[0])]
    if alone and len(traces) > len(sent):
        names = Counter(span["name"] for trace in traces for span in trace if not traces_of_requests([trace]))
        problems.append(f"{len(traces) - len(sent)} traces that belong to no request: {dict(names)}")
    return problems


def _wrong_trace(kind: Kind, trace: Trace) -> list[str]:
    ids = {span["span_id"] for span in trace}
    roots = [span for span in trace if not span.get("parent_id")]
    lost = [span["name"] for span in trace if span.get("parent_id") and span["parent_id"] not in ids]
    operations = [span["name"] for span in trace]
    errors = [span["name"] for span in trace if span.get("error")]
    processes = {span.get("metrics", {}).get("process_id") for span in trace} - {None}
    wrong = []
    if [span["name"] for span in roots] != ["http.server.request"]:
        wrong.append(f"roots are {[span['name'] for span in roots]}")
    if lost:
        wrong.append(f"parents missing of {lost}")
    wrong += [f"spans {difference}" for difference in _differences(operations, kind.operations)]
    wrong += [f"errors {difference}" for difference in _differences(errors, kind.errors)]
    if {span["service"] for span in trace} != SERVICES:
        wrong.append(f"services are { ({span['service'] for span in trace}) }")
    if len(processes) != len(SERVICES):
        wrong.append(f"processes are {processes}")
    return wrong


def _differences(found: list[str], expected: tuple[str, ...]) -> list[str]:
    missing, unexpected = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    named = {"missing": missing, "unexpected": unexpected}
    return [f"{word}: {', '.join(sorted(names.elements()))}" for word, names in named.items() if names]
