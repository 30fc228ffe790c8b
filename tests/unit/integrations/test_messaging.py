"""Producer headers and consumer spans for message queues."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ddtrace_manual as dd
from ddtrace_manual.exceptions import ConfigurationError
from ddtrace_manual.integrations import message_carrier, producer_headers, traced_consumer, traced_producer


def as_sns_over_sqs(headers):
    """SNS hands attributes on in the body of the SQS message, binary ones in base64."""
    text = headers["_datadog"]["StringValue"]
    return {"_datadog": {"Type": "Binary", "Value": base64.b64encode(text.encode()).decode()}}


FORMS = {
    "mapping": producer_headers,
    "pairs": lambda: producer_headers([("old", "1"), ("traceparent", "old")]),
    "kafka": lambda: producer_headers([("old", b"1"), ("TraceParent", b"old")], form="kafka"),
    "new kafka": lambda: producer_headers(form="kafka"),
    "sqs": lambda: producer_headers(form="sqs"),
    "lambda": lambda: {"_datadog": {"stringValue": producer_headers(form="sqs")["_datadog"]["StringValue"]}},
    "binary": lambda: {"_datadog": {"BinaryValue": producer_headers(form="sqs")["_datadog"]["StringValue"].encode()}},
    "sns": lambda: as_sns_over_sqs(producer_headers(form="sqs")),
    "attributes": lambda: {
        name: {"DataType": "String", "StringValue": value} for name, value in producer_headers().items()
    },
    "bytes": lambda: {name.encode(): value.encode() for name, value in producer_headers().items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_message_carries_the_trace_from_producer_to_consumer(spans, form):
    """Whatever form the headers of the queue have, the consumer continues the producer's trace."""
    with traced_producer("Orders", system="Kafka") as producer:
        headers = FORMS[form]()
    with traced_consumer("Orders", headers, system="Kafka") as consumer:
        assert dd.current_span() is consumer
    spans.assert_tree(
        """
        kafka.send [resource="send Orders", kind=producer, type=queue, messaging.system=Kafka, messaging.destination.name=Orders]
          kafka.process [resource="process Orders", kind=consumer, type=queue, messaging.operation=process]
        """
    )
    assert consumer.trace_id == producer.trace_id
    assert dd.current_span().span_id == 0


def test_kafka_headers_are_text_and_bytes_and_replace_old_ones(spans):
    """Kafka clients take names as text and values as bytes; what else was there stays."""
    with dd.span("x"):
        headers = producer_headers([("old", b"1"), ("traceparent", b"old")], form="kafka")
    names = [name for name, _ in headers]
    assert names[0] == "old"
    assert names.count("traceparent") == 1
    assert all(type(name) is str and type(value) is bytes for name, value in headers)


def test_sqs_headers_take_one_attribute(spans):
    """Of the ten attributes that SQS allows one is used, as other Datadog tracers do; without a span none."""
    mine = {"mine": {"DataType": "String", "StringValue": "1"}}
    assert producer_headers(dict(mine), form="sqs") == mine
    with dd.span("x") as span:
        headers = producer_headers(dict(mine), form="sqs")
    assert headers.keys() == {"mine", "_datadog"}
    assert json.loads(headers["_datadog"]["StringValue"])["x-datadog-parent-id"] == str(span.span_id)


def test_another_span_can_be_injected(spans):
    """`span` names the span that the consumer is to descend from."""
    other = dd.start_span("other")
    assert producer_headers(span=other)["x-datadog-parent-id"] == str(other.span_id)
    other.end()


def test_a_link_starts_a_new_trace(spans):
    """With `relation="link"` producer and consumer are two traces, and the second says where it comes from."""
    with traced_producer("q", system="sqs") as producer:
        headers = producer_headers()
    with traced_consumer("q", headers, system="sqs", relation="link", links=[producer]) as consumer:
        pass
    assert consumer.trace_id != producer.trace_id
    links = spans.find("sqs.process").links
    assert [(link.trace_id, link.span_id) for link in links] == [(producer.trace_id, producer.span_id)] * 2
    assert links[1].attributes == {"reason": "message"}


def test_a_batch_links_to_each_message(spans):
    """One span for several messages has a link to each that carries a trace, and says how many there were."""
    batch = []
    for _ in range(3):
        with traced_producer("q", system="kafka"):
            batch.append(producer_headers([], form="kafka"))
    batch.append([])
    with traced_consumer("q", batch=batch, system="kafka"):
        pass
    span = spans.find("kafka.process")
    sent = spans.find_all("kafka.send")
    assert [link.span_id for link in span.links] == [each.span_id for each in sent]
    assert span.tag("messaging.batch.message_count") == 4
    assert span.parent_id == 0


def test_an_untrusted_sender_is_only_linked(spans):
    """Its decision does not count, but the link remains."""
    headers = {"x-datadog-trace-id": "1", "x-datadog-parent-id": "2", "x-datadog-sampling-priority": "-1"}
    with traced_consumer("q", headers, system="sqs", trusted=False):
        pass
    span = spans.find("sqs.process")
    assert (span.priority, span.trace_id != 1, span.links[0].attributes) == (1, True, {"reason": "untrusted_caller"})


def test_a_failed_handling_is_an_error_that_goes_on(spans):
    """The exception reaches the caller; ignored ones leave the span unmarked."""
    for ignore in ((), (KeyError,)):
        with pytest.raises(KeyError), traced_consumer("q", system="sqs", ignore=ignore):
            raise KeyError("lost")
    assert [span.error_type for span in spans] == ["KeyError", None]


def test_a_consumer_works_in_coroutines(spans):
    """`async with` does the same."""

    async def handle():
        async with traced_consumer("q", {}, system="sqs"):
            with dd.span("work"):
                await asyncio.sleep(0)

    asyncio.run(handle())
    spans.assert_tree("sqs.process\n  work")


def test_a_consumer_does_not_descend_from_a_span_around_its_loop(spans):
    """A span around a polling loop would otherwise collect every message that carries no trace."""
    with dd.span("poll"), traced_consumer("q", {}, system="sqs"):
        pass
    assert spans.find("sqs.process").parent_id == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: producer_headers(form="pigeon"),
        lambda: traced_consumer("q", system="x", relation="child"),
        lambda: traced_consumer("q", system="x", colour="red"),
        lambda: traced_producer("q", system="x", colour="red"),
    ],
)
def test_mistakes_in_code_are_told_at_once(call):
    """Unknown forms, relations and options are configuration errors."""
    with pytest.raises(ConfigurationError):
        call()


attributes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["StringValue", "BinaryValue", "Value", "Type"]), inner)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["_datadog", "traceparent", "x"]), attributes) | attributes)
def test_hostile_headers_never_raise(headers):
    """Whatever a message holds, its handling begins."""
    message_carrier(headers)
    with traced_consumer("q", headers, system="x"):
        pass


@pytest.mark.parametrize("text", ["[" * 100_000, "{}" * 50_000, "1", "[]", '{"traceparent": [1]}'])
def test_hostile_sqs_attributes_give_nothing(text):
    """Nested, long and wrong JSON is no context."""
    with traced_consumer("q", {"_datadog": {"StringValue": text}}, system="sqs") as span:
        assert span.get_tag("x") is None
