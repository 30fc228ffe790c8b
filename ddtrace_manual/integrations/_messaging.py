"""Message queues of every kind: headers for a message, and a span for its handling.

    with traced_producer("orders", system="kafka"):
        producer.send("orders", value, headers=producer_headers([], form="kafka"))

    with traced_consumer("orders", message.headers, system="kafka"):
        handle(message)

By default the handling continues the producer's trace. With `relation="link"` it is a trace of its own
that is linked to the producer's: for messages that wait long or are handled in batches.

Source: OpenTelemetry semantic conventions for messaging spans
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). The SQS attribute `_datadog` is
the one that other Datadog tracers write and read; a message may have only ten attributes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from typing_extensions import Unpack

from ddtrace_manual._api.options import check, checked_links
from ddtrace_manual._api.propagate import inject
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._api.scope import span
from ddtrace_manual._api.start import record_exit
from ddtrace_manual._base.context import SPAN_KEY, Context, add_entry, get_current, take_entry
from ddtrace_manual.exceptions import ConfigurationError

from ._incoming import Incoming, link_to

if TYPE_CHECKING:
    from types import TracebackType

    from ddtrace_manual._api.scope import SpanScope
    from ddtrace_manual._model.types import Span, SpanOptions

__all__ = ["message_carrier", "producer_headers", "traced_consumer", "traced_producer"]

Form = Literal["text", "kafka", "sqs"]

_C = TypeVar("_C")

_SQS_ATTRIBUTE: Final = "_datadog"
_MAX_SQS_TEXT: Final = 65_536
_NOTHING = Context()


def producer_headers(headers: _C | None = None, *, form: Form = "text", span: Span | None = None) -> _C:
    """Write the headers that continue the current trace into those of a message, and return them.

    Args:
        headers: Mapping or list that the message has so far; default: a new one of the form.
        form: `text`: names and values as text, in a mapping (RabbitMQ, Celery, Pub/Sub) or a list of pairs.
            `kafka`: a list of pairs with values as bytes. `sqs`: message attributes of SQS or SNS, in boto3's form.
        span: Inject this span instead of the current one.

    Raises:
        ConfigurationError: There is no such form.
    """
    target: Any = headers  # Any: carriers of every form
    if form == "text":
        return cast("_C", inject({} if target is None else target, span=span))
    written: dict[str, str] = inject({}, span=span)
    if form == "kafka":
        target = [] if target is None else target
        target[:] = [pair for pair in target if pair[0].lower() not in written]
        target.extend((name, value.encode()) for name, value in written.items())
    elif form == "sqs":
        target = {} if target is None else target
        if written:
            target[_SQS_ATTRIBUTE] = {"DataType": "String", "StringValue": json.dumps(written)}
    else:
        raise ConfigurationError(f"form must be one of text, kafka, sqs, not {form!r}")
    return cast("_C", target)


def message_carrier(headers: object) -> object:
    """Return the headers of a message in a form that `extract` reads; whatever it is, it is not changed.

    Attributes of SQS and SNS are unpacked: the attribute `_datadog`, or one attribute for each header. What
    `extract` reads already (mappings, pairs, text or bytes) stays as it is.
    """
    if not isinstance(headers, Mapping):
        return headers
    packed = headers.get(_SQS_ATTRIBUTE)
    if packed is not None:
        return _unpacked(packed)
    if any(isinstance(value, Mapping) for value in headers.values()):
        return {name: _sqs_text(value) for name, value in headers.items()}
    return headers


def _unpacked(packed: object) -> Mapping[str, str]:
    text = _sqs_text(packed)
    if text is None or len(text) > _MAX_SQS_TEXT:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _sqs_text(attribute: object) -> str | None:
    """Return the text of an attribute as SQS, SNS through SQS, and Lambda spell it."""
    if isinstance(attribute, str):
        return attribute
    if not isinstance(attribute, Mapping):
        return None
    for key in ("StringValue", "stringValue", "BinaryValue", "binaryValue", "Value"):
        value = attribute.get(key)
        if value is None:
            continue
        if attribute.get("Type") == "Binary" or key == "binaryValue":  # base64 within JSON
            try:
                value = base64.b64decode(value)
            except (binascii.Error, TypeError, ValueError):
                return None
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value if isinstance(value, str) else None
    return None


def traced_producer(destination: str, *, system: str, **options: Unpack[SpanOptions]) -> SpanScope:
    """Return a producer span for sending to a destination, as a context manager.

    Args:
        destination: Queue or topic.
        system: For example `kafka`, `rabbitmq`, `sqs`.
        **options: See `SpanOptions`; `tags` are added to those of the conventions.

    Raises:
        ConfigurationError: An option is unknown or of the wrong type.
    """
    given: dict[str, Any] = {  # Any: options of several types
        "kind": "producer",
        "resource": f"send {destination}",
        "span_type": "queue",
        **options,
        "tags": {**_tags(system, "send", destination), **(options.get("tags") or {})},
    }
    return span(f"{system}.send".lower(), **given)


class traced_consumer:  # noqa: N801 - used like a function
    """A consumer span for the handling of a message or a batch; a context manager, also asynchronous.

    The span is current inside the block and ends with it. Never raises after construction.

    Args:
        destination: Queue or topic.
        headers: Of the message, in any form that `producer_headers` writes.
        system: For example `kafka`, `rabbitmq`, `sqs`.
        relation: `parent` continues the trace of the message; `link` starts a new one with a link to it.
        batch: Headers of several messages that are handled together: a new trace with a link to each.
        trusted: Whether the sender may be continued; otherwise it is only linked.
        **options: See `SpanOptions`; `tags` are added to those of the conventions.

    Raises:
        ConfigurationError: `relation` is neither, or an option is unknown or of the wrong type.

    Example:
        >>> with traced_consumer("orders", message.headers, system="rabbitmq") as span:
        ...     handle(message.body)
    """

    def __init__(
        self,
        destination: str,
        headers: object = None,
        *,
        system: str,
        relation: Literal["parent", "link"] = "parent",
        batch: Iterable[object] = (),
        trusted: bool = True,
        **options: Unpack[SpanOptions],
    ) -> None:
        if relation not in ("parent", "link"):
            raise ConfigurationError(f"relation must be 'parent' or 'link', not {relation!r}")
        self._name = f"{system}.process".lower()
        self._ignore = options.pop("ignore", None)
        several = [*batch]
        self._is_linked = relation == "link" or bool(several)
        self._headers = [*several] if headers is None else [headers, *several]
        self._trusted = trusted
        tags = {**_tags(system, "process", destination), **(options.get("tags") or {})}
        if several:
            tags["messaging.batch.message_count"] = len(self._headers)
        defaults: dict[str, Any] = {  # Any: options of several types
            "kind": "consumer",
            "resource": f"process {destination}",
            "span_type": "queue",
        }
        self._options = {**defaults, **options, "tags": tags}
        if "links" in self._options:
            self._options["links"] = checked_links(self._options["links"])
        check(self._name, {**self._options, "ignore": self._ignore})

    def __enter__(self) -> Span:
        options = dict(self._options)
        carrier: object = {}
        if self._is_linked:
            links = [link for headers in self._headers for link in _links_to(headers)]
            options["links"] = (*(options.get("links") or ()), *links)
        elif self._headers:
            carrier = message_carrier(self._headers[0])
        incoming = Incoming(self._name, options, carrier, trusted=self._trusted)
        try:
            add_entry(self, incoming.marker, incoming)
            incoming.enter()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return incoming.span

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        incoming = take_entry(self, get_current().get(SPAN_KEY))
        if incoming is None:
            return
        try:
            if exc is not None:
                record_exit(incoming.span, exc, self._ignore)
            incoming.span.end()
        finally:
            incoming.exit()

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)


def _links_to(headers: object) -> tuple[Any, ...]:  # Any: links in recorded form
    if RUNTIME.extract is None:
        return ()
    return link_to(RUNTIME.extract(message_carrier(headers), _NOTHING, None), "message")


def _tags(system: str, operation: str, destination: str) -> dict[str, Any]:  # Any: see Tags
    return {
        "messaging.system": system,
        "messaging.operation": operation,
        "messaging.destination.name": destination,
    }
