"""Celery: tasks are consumer spans in the trace of whoever sent them.

    app = Celery("shop", broker=...)
    connect_celery(app)                    # in the worker and where tasks are sent

Celery's signals are used, nothing is replaced. Sending is a producer span; it marks the moment and has
next to no duration, because Celery tells about a message that could not be sent with no signal at all.

A worker that forks its children needs `configure()` before it starts or in `worker_process_init`; both work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import WeakKeyDictionary

import celery
from celery import signals

from ddtrace_manual._api.other_provider import NoopSpan
from ddtrace_manual._api.propagate import inject
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._api.start import record_exit, start
from ddtrace_manual._base.context import get_current
from ddtrace_manual.exceptions import ConfigurationError

from ._incoming import Incoming, link_to

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["connect_celery", "disconnect_celery"]

Relation = Literal["parent", "link"]

_RUN: Final = "celery.run"
_SEND: Final = "celery.apply"
_CALL: Final = "_ddtrace_manual_call"
"""Attribute of a task's request that holds the span of its run."""
_UID: Final = "ddtrace_manual"

_relations: WeakKeyDictionary[Any, Relation] = WeakKeyDictionary()
"""By connected application; the class stands for every one. Empty: nothing new is traced."""


def connect_celery(app: celery.Celery | None = None, *, relation: Relation = "parent") -> None:
    """Trace the tasks that are sent and run in this process from now on; a second call changes the relation.

    Args:
        app: Only the tasks of this application; default: of all. What is sent by name alone, without a task
            of its own, counts as of all.
        relation: `parent`: a run continues the sender's trace. `link`: it is a trace of its own, linked to it.

    Raises:
        ConfigurationError: `relation` is neither.
    """
    if relation not in ("parent", "link"):
        raise ConfigurationError(f"relation must be 'parent' or 'link', not {relation!r}")
    _relations[_key(app)] = relation
    for signal, receiver in _RECEIVERS:
        signal.connect(receiver, weak=False, dispatch_uid=_UID)


def disconnect_celery(app: celery.Celery | None = None) -> None:
    """Undo `connect_celery`. Tasks that are running finish their spans."""
    _relations.pop(_key(app), None)
    if not _relations:
        for signal, receiver in _RECEIVERS[:2]:
            signal.disconnect(receiver, dispatch_uid=_UID)


def _key(app: celery.Celery | None) -> object:
    return celery.Celery if app is None else app


def _relation_of(app: Any) -> Relation | None:
    own = _relations.get(app) if isinstance(app, celery.Celery) else None
    return own or _relations.get(celery.Celery)


def _on_publish(
    sender: str = "",
    headers: Any = None,  # Any: as Celery sends them, here and below
    routing_key: object = None,
    **_: Any,
) -> None:
    """Write the trace into the headers of a task message."""
    if RUNTIME.extract is None or not isinstance(headers, dict):
        return
    current: Any = celery.current_app._get_current_object()
    task = current.tasks.get(sender)
    if _relation_of(getattr(task, "app", current)) is None:
        return
    span = start(
        _SEND,
        {
            "kind": "producer",
            "span_type": "worker",
            "resource": sender,
            "tags": {
                "component": "celery",
                "messaging.system": "celery",
                "messaging.operation": "send",
                "messaging.destination.name": str(routing_key or ""),
                "celery.task_name": sender,
                "celery.id": str(headers.get("id", "")),
            },
        },
        get_current(),
    )
    inject(headers, span=None if isinstance(span, NoopSpan) else span)
    span.end()


def _on_prerun(task_id: str = "", task: Any = None, **_: Any) -> None:
    """Start the span of a run and make it current."""
    relation = _relation_of(getattr(task, "app", None))
    if RUNTIME.extract is None or relation is None:
        return
    request = task.request
    tags = {
        "component": "celery",
        "messaging.system": "celery",
        "messaging.operation": "process",
        "celery.task_name": task.name,
        "celery.id": task_id,
        "celery.retries": getattr(request, "retries", 0) or 0,
    }
    options: dict[str, Any] = {"kind": "consumer", "span_type": "worker", "resource": task.name, "tags": tags}
    carrier = _headers_of(request)
    if relation == "link":
        options["links"] = link_to(RUNTIME.extract(carrier, _nothing(), None), "message")
        carrier = {}
    call = Incoming(_RUN, options, carrier, trusted=True)
    call.enter()
    setattr(request, _CALL, call)


def _nothing() -> Context:
    from opentelemetry.context import Context  # only where it is used

    return Context()


def _headers_of(request: Any) -> dict[str, Any]:
    """Return the headers of the message: Celery makes them attributes, keeps them as `headers`, or both."""
    found = {name: value for name, value in vars(request).items() if isinstance(value, str)}
    headers = getattr(request, "headers", None)
    return {**found, **headers} if isinstance(headers, dict) else found


def _on_failure(sender: Any = None, exception: BaseException | None = None, **_: Any) -> None:
    """Record the exception that leaves a task."""
    call = _call_of(sender)
    if call is not None and exception is not None:
        record_exit(call.span, exception)


def _on_retry(request: Any = None, reason: object = None, **_: Any) -> None:
    """Tell why a task will run again, which is no error of this run."""
    call = getattr(request, _CALL, None)
    if isinstance(call, Incoming):
        call.span.set_tag("celery.retry.reason", str(reason))


def _on_postrun(task: Any = None, state: object = None, **_: Any) -> None:
    """End the span of a run."""
    call = _call_of(task)
    if call is None:
        return
    delattr(task.request, _CALL)
    if state:
        call.span.set_tag("celery.state", str(state))
    call.span.end()
    call.exit()


def _call_of(task: Any) -> Incoming | None:
    call = getattr(getattr(task, "request", None), _CALL, None)
    return call if isinstance(call, Incoming) else None


_RECEIVERS: Final = (
    (signals.before_task_publish, _on_publish),
    (signals.task_prerun, _on_prerun),
    (signals.task_failure, _on_failure),
    (signals.task_retry, _on_retry),
    (signals.task_postrun, _on_postrun),
)
