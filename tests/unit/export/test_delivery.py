"""Encoded chunks on their way to the Agent."""

from dataclasses import replace

import pytest


@pytest.fixture
def delivery(rig):
    rig.client.wait = lambda delay_s: True  # one attempt: retries are the worker's business
    rig.counters.accepted_spans = 1000
    return rig.delivery


@pytest.fixture
def add(rig, datadog_span):
    def add(*span_ids, counted=False, **fields):
        for span_id in span_ids:
            rig.queue.release(-1000)
            rig.delivery.add([datadog_span(span_id, **fields)], 1000, counted=counted)

    return add


def test_what_is_delivered_is_accounted_for(rig, delivery, add, result):
    """A delivery empties the delivery, gives the budget back, counts, and passes on what the Agent said."""
    add(1, 2)
    rig.client.script.append(result("delivered", rates={"service:,env:": 0.5}, agent_state="abc"))
    assert delivery.send()
    assert rig.client.delivered() == [[[1], [2]]]
    assert rig.told == ["sent", ("rates", {"service:,env:": 0.5}), ("state", "abc")]
    counters = rig.counters
    assert (counters.sent_chunks, counters.sent_spans, counters.sent_payloads) == (2, 2, 1)
    assert counters.sent_bytes == len(rig.client.posts[0][1])
    assert (rig.queue.used_bytes, len(delivery), delivery.was_reached) == (0, 0, True)


@pytest.mark.parametrize("outcome", ["network", "timeout", "overloaded", "failed"])
def test_what_may_be_tried_again_is_kept_in_order(rig, delivery, add, outcome):
    """After failures that may pass everything stays, oldest first, and goes out with what came later."""
    add(1, 2)
    rig.client.script.append(outcome)
    assert not delivery.send()
    assert len(delivery) == 1
    assert rig.queue.used_bytes > 0
    assert rig.counters.last_error == outcome
    add(3)
    assert delivery.send()
    assert rig.client.delivered() == [[[1], [2], [3]]]
    assert (rig.counters.requests, rig.counters.errors) == (2, 1)
    assert rig.counters.dropped_spans == {}
    assert rig.queue.used_bytes == 0


def test_a_redirect_is_not_an_answer_of_the_agent(rig, delivery, add, result):
    """What somebody else answered with a redirect is kept until the Agent answers."""
    add(1)
    rig.client.script.append(replace(result("rejected"), status=302))
    assert not delivery.send()
    assert delivery.send()
    assert rig.counters.dropped_spans == {}


@pytest.mark.parametrize("outcome", ["rejected", "unsupported"])
def test_what_the_agent_refuses_for_good_is_lost(rig, delivery, add, outcome):
    """A refusal that trying again does not change loses the payload; the next one is sent."""
    add(1)
    rig.client.script.append(outcome)
    assert delivery.send()
    assert rig.counters.dropped_spans == {"rejected": 1}
    add(2)
    assert delivery.send()
    assert rig.client.delivered() == [[[2]]]
    assert rig.queue.used_bytes == 0


def test_payloads_are_bounded(make_rig, datadog_span):
    """No payload is larger than allowed; a single chunk above that is lost."""
    rig = make_rig(max_payload_bytes=1000)
    for span_id in range(1, 11):
        rig.delivery.add([datadog_span(span_id)], 0, counted=False)
    rig.delivery.add([datadog_span(11, meta={"k": "x" * 1000})], 0, counted=False)
    assert rig.delivery.send()
    assert rig.counters.dropped_spans == {"too_large": 1}
    assert [chunk for payload in rig.client.delivered() for chunk in payload] == [[span_id] for span_id in range(1, 11)]
    assert max(len(body) for _, body, _, _, _ in rig.client.posts) <= 1000
    assert len(rig.client.posts) == 2


def test_large_payloads_of_other_formats_are_split_before_they_are_sent(make_rig, datadog_span):
    """A v0.5 payload above the limit is halved until its parts fit; a single chunk above it is lost."""
    rig = make_rig(max_payload_bytes=600)
    rig.delivery.use_format("v0.5", native_events=False)
    rig.counters.accepted_spans = 5
    for span_id in range(1, 5):
        rig.delivery.add([datadog_span(span_id, resource=str(span_id) * 250)], 100, counted=False)
    rig.delivery.add([datadog_span(5, resource="5" * 700)], 100, counted=False)
    assert rig.delivery.send()
    assert [chunk for payload in rig.client.delivered() for chunk in payload] == [[1], [2], [3], [4]]
    assert rig.counters.dropped_spans == {"too_large": 1}
    assert rig.counters.queued_spans == 0


def test_413_is_answered_with_smaller_payloads(rig, delivery, add):
    """A payload that is too large for the Agent is halved until it fits, in order, with nothing lost or doubled."""
    add(*range(1, 9))
    rig.client.script.extend(["too_large", "too_large"])
    assert delivery.send()
    assert [chunk for payload in rig.client.delivered() for chunk in payload] == [[span_id] for span_id in range(1, 9)]
    sizes = [len(body) for _, body, _, _, _ in rig.client.posts]
    assert sizes[0] > 2 * sizes[1] - 2
    assert sizes[1] > 2 * sizes[2] - 2
    assert rig.counters.dropped_spans == {}
    assert rig.queue.used_bytes == 0


def test_413_to_a_single_chunk_loses_it(rig, delivery, add):
    """A single chunk that is too large for the Agent is lost, the others arrive."""
    add(1, 2)
    rig.client.script.extend(["too_large", "too_large"])
    assert delivery.send()
    assert rig.client.delivered() == [[[2]]]
    assert rig.counters.dropped_spans == {"too_large": 1}


def test_413_to_another_format_halves_the_payload(rig, delivery, add):
    """A v0.5 payload that is too large is encoded again in two halves; a single chunk is lost."""
    delivery.use_format("v0.5", native_events=False)
    add(1, 2, 3)
    rig.client.script.extend(["too_large", "too_large"])
    assert delivery.send()
    assert rig.client.delivered() == [[[2]], [[3]]]
    assert rig.counters.dropped_spans == {"too_large": 1}
    assert rig.queue.used_bytes == 0


@pytest.mark.parametrize("outcomes", [["too_large"], ["failed"] * 3 + ["delivered"] * 3 + ["failed"]])
def test_a_payload_that_cannot_be_divided_does_not_stop_the_others(rig, delivery, add, outcomes):
    """A damaged v0.5 payload that must become smaller is lost once; what comes later is sent."""
    delivery.use_format("v0.5", native_events=False)
    add(1, 2)
    delivery.close_batch()
    delivery._batches[0].bodies[0] = b"\xc1" * 100
    rig.client.script.extend(outcomes)
    for span_id in range(3, 12):
        delivery.send()
        add(span_id)
    assert delivery.send()
    assert rig.counters.dropped_spans == {"serialization_error": 2}
    assert rig.counters.queued_spans == 1000 - 2 - rig.counters.sent_spans
    assert rig.queue.used_bytes == 0


@pytest.mark.parametrize("version", ["v0.5", "v1.0"])
def test_an_unknown_format_is_replaced_by_v04(rig, delivery, add, version):
    """On 404 the payload, and all others of its format, are encoded again as v0.4; nothing is lost."""
    from ddtrace_manual._encoding import PayloadHeader, V1Encoder

    delivery.use_format(version, native_events=False, v1_encoder=lambda: V1Encoder(PayloadHeader()))
    add(1, 2)
    delivery.close_batch()
    add(3)
    rig.client.script.append("unsupported")
    assert delivery.send()
    assert [post[0] for post in rig.client.posts] == [version, "v0.4"]
    assert rig.client.delivered() == [[[1], [2], [3]]]
    assert "unsupported" in rig.told
    assert rig.queue.used_bytes == 0
    delivery.use_format(version, native_events=False)
    add(4)
    assert delivery.send()
    assert rig.client.posts[-1][0] == "v0.4"


def test_formats_and_statistics_do_not_mix_in_a_payload(rig, delivery, add):
    """Chunks of another format, or counted otherwise, go out in a payload of their own, with its own headers."""
    add(1)
    add(2, counted=True)
    delivery.use_format("v0.5", native_events=False)
    add(3, counted=True)
    assert delivery.send()
    assert [(post[0], post[3]["counted"]) for post in rig.client.posts] == [
        ("v0.4", "False"),
        ("v0.4", "True"),
        ("v0.5", "True"),
    ]


def test_a_chunk_that_the_agent_never_takes_does_not_block_others(rig, delivery, add):
    """A payload refused with 500 again and again is set aside, and its culprit is lost once others were taken."""
    poison = {"rejecting": lambda ids: 3 in ids}

    def send_traces(body, *, chunks, version, extra_headers, original=rig.client.send_traces):
        from ddtrace_manual._encoding import decode_v04

        ids = [span["span_id"] for chunk in decode_v04(body) for span in chunk]
        rig.client.script.append("failed" if poison["rejecting"](ids) else "delivered")
        return original(body, chunks=chunks, version=version, extra_headers=extra_headers)

    rig.client.send_traces = send_traces
    add(1, 2, 3, 4)
    for _ in range(3):
        assert not delivery.send()
    for span_id in range(10, 16):
        add(span_id)
        delivery.send()
    assert len(delivery) == 0
    assert rig.counters.dropped_spans == {"rejected": 1}
    delivered = sorted(span_id for payload in rig.client.delivered() for [span_id] in payload)
    assert delivered == [1, 2, 4, *range(10, 16)]
    assert rig.queue.used_bytes == 0


def test_a_poisoned_payload_of_another_format_is_halved(rig, delivery, add):
    """A v0.5 payload that is refused while others are taken is halved until the culprit is alone."""
    delivery.use_format("v0.5", native_events=False)
    add(1, 2)
    rig.client.script.extend(["failed"] * 3)
    for _ in range(3):
        assert not delivery.send()
    add(3)
    rig.client.script.extend(["delivered", "failed"])
    assert not delivery.send()
    add(4)
    rig.client.script.extend(["delivered", "failed"])
    assert not delivery.send()
    add(5)
    assert delivery.send()
    assert rig.counters.dropped_spans == {"rejected": 1}
    assert rig.client.delivered() == [[[3]], [[4]], [[5]], [[2]]]


def test_when_all_are_refused_none_is_quarantined(rig, delivery, add):
    """While the Agent refuses everything nothing is lost, and the order stays."""
    add(1)
    for span_id in range(2, 10):
        rig.client.script.append("failed")
        assert not delivery.send()
        add(span_id)
    assert delivery.send()
    assert rig.client.delivered() == [[[span_id] for span_id in range(1, 10)]]
    assert rig.counters.dropped_spans == {}


def test_quarantined_batches_wait_when_the_agent_goes_away(rig, delivery, add):
    """A quarantined batch that gets no answer is kept, as is what comes behind it."""
    add(1)
    rig.client.script.extend(["failed"] * 3)
    for _ in range(3):
        assert not delivery.send()
    add(2)
    rig.client.script.extend(["delivered", "network"])
    assert not delivery.send()
    assert delivery.send()
    assert rig.client.delivered() == [[[2]], [[1]]]


def test_what_is_left_at_the_end_is_counted(rig, delivery, add):
    """Abandoning counts everything left, encoded or not, once."""
    delivery.use_format("v0.5", native_events=False)
    add(1, 2)
    rig.client.script.append("network")
    assert not delivery.send()
    add(3)
    assert delivery.abandon() == 3
    assert delivery.abandon() == 0
    assert rig.counters.dropped_spans == {"shutdown": 3}
    assert (len(delivery), rig.queue.used_bytes) == (0, 0)


def test_a_successor_takes_over(rig, make_rig, delivery, add, datadog_span):
    """What one delivery holds moves in front of what its successor holds, budgets included."""
    add(1, 2)
    rig.client.script.append("failed")
    delivery.send()
    successor = make_rig()
    successor.delivery.add([datadog_span(9)], 0, counted=False)
    successor.delivery.take_over(delivery)
    assert (len(delivery), rig.queue.used_bytes) == (0, 0)
    assert successor.queue.used_bytes > 0
    assert successor.delivery.was_reached
    assert successor.delivery.send()
    assert successor.client.delivered() == [[[1], [2], [9]]]
    assert successor.queue.used_bytes == 0


def test_a_failing_callback_loses_nothing(rig, delivery, add):
    """An error of whoever is told about an answer does not stop sending."""
    add(1)
    delivery._on_sent = lambda *args: 1 / 0
    assert delivery.send()
    assert rig.counters.sent_spans == 1
