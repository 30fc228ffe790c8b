"""From mapped chunks to batches."""

import pytest

from ddtrace_manual._encoding import V05Encoder, decode_v04
from ddtrace_manual._encoding.encoded_chunk import EncodedChunk
from ddtrace_manual._export import ChunkPacker, Counters


@pytest.fixture
def released():
    return []


@pytest.fixture
def packer(released):
    return ChunkPacker(release=released.append, counters=Counters(accepted_spans=100))


def test_chunks_are_encoded_one_by_one(packer, released, datadog_span, span_ids):
    """In v0.4 chunks become bytes at once and a batch when it is closed; then the budget holds its real size."""
    assert not packer.add([datadog_span(1), datadog_span(2)], 5000, counted=True)
    assert not packer.add([datadog_span(3)], 5000, counted=True)
    assert packer.open_chunks == 2
    [batch] = packer.close_batch()
    assert (batch.version, batch.chunks, batch.spans, batch.counted) == ("v0.4", 2, 3, True)
    assert sum(released) == 10_000 - batch.size == 10_000 - sum(map(len, batch.bodies))
    assert span_ids("v0.4", packer.join([batch, batch])) == [[1, 2], [3]] * 2
    assert packer.close_batch() == ()


@pytest.mark.parametrize("count", [1, 99, 100, 70_000])
def test_chunks_that_the_mapping_has_encoded(packer, count):
    """A chunk of nothing but encoded spans only gets its header, however many they are."""
    packer.add(EncodedChunk([b"", *[b"\x80"] * count], count, [], True, []), 5000, counted=True)
    [batch] = packer.close_batch()
    assert (batch.spans, batch.span_counts) == (count, [count])
    assert decode_v04(packer.join([batch])) == [[{"meta": {}, "metrics": {}}] * count]


def test_batches_are_closed_when_they_are_large(packer, released, datadog_span):
    """Enough bytes, or chunks that are counted otherwise, end a batch."""
    ready = []
    for span_id in range(1, 21):
        ready += packer.add([datadog_span(span_id, resource="x" * 20_000)], 0, counted=True)
    assert [batch.chunks for batch in ready] == [13]
    ready += packer.add([datadog_span(1)], 0, counted=False)
    ready += packer.close_batch()
    assert [(batch.chunks, batch.counted) for batch in ready] == [(13, True), (7, True), (1, False)]
    assert sum(released) == -sum(batch.size for batch in ready)


@pytest.mark.parametrize("spans", [[1, 2], [1]])
def test_spans_that_cannot_be_encoded_are_lost(packer, released, datadog_span, spans):
    """A span that cannot be packed is left out and counted; a chunk of nothing else gives no batch."""
    bad = [datadog_span(span_id, meta=object()) if span_id == 1 else datadog_span(span_id) for span_id in spans]
    packer.add(bad, 500, counted=False)
    batches = packer.close_batch()
    assert [batch.spans for batch in batches] == ([1] if len(spans) == 2 else [])
    assert packer._counters.dropped_spans == {"serialization_error": 1}
    assert packer._counters.dropped_chunks == {"serialization_error": int(not batches)}
    assert sum(released) == 500 - sum(batch.size for batch in batches)


def test_other_formats_gather_chunks(packer, released, datadog_span, span_ids):
    """In v0.5 chunks wait until the batch is closed, or enough of them wait, and become one batch."""
    packer.use_format("v0.5", native_events=False)
    assert not packer.add([datadog_span(1)], 500, counted=True)
    assert not packer.add([datadog_span(2)], 600, counted=True)
    assert packer.open_chunks == 2
    [batch] = packer.close_batch()
    assert (batch.chunks, batch.spans, packer.open_chunks) == (2, 2, 0)
    assert span_ids("v0.5", packer.join([batch])) == [[1], [2]]
    assert sum(released) == 1100 - batch.size
    [batch] = packer.add([datadog_span(3)], 2_000_000, counted=True)
    assert batch.chunks == 1
    assert not packer.close_batch()


def test_counted_and_uncounted_chunks_do_not_mix(packer, datadog_span):
    """Chunks before and after statistics were switched on go out in different payloads."""
    packer.use_format("v0.5", native_events=False)
    packer.add([datadog_span(1)], 1, counted=False)
    [before] = packer.add([datadog_span(2)], 1, counted=True)
    [after] = packer.close_batch()
    assert (before.counted, after.counted) == (False, True)


def test_a_refused_format_is_not_used_again(packer):
    """After the Agent refused a format, choosing it means v0.4."""
    packer.use_format("v0.5", native_events=False)
    packer.give_up("v0.5")
    packer.use_format("v0.5", native_events=False)
    assert packer._encoder is None


def test_v1_uses_the_given_encoder(packer):
    """The encoder of v1.0 is made once, by whoever knows what it says about the process."""
    made = []

    def make():
        made.append(V05Encoder())
        return made[-1]

    packer.use_format("v1.0", native_events=True, v1_encoder=make)
    assert packer._encoder is made[0]
    packer.use_format("v0.4", native_events=True)
    assert packer._encoder is None


def test_payloads_are_reopened(packer, released, datadog_span, span_ids):
    """A payload can be halved in its format, or become chunks of v0.4; the budget follows."""
    packer.use_format("v0.5", native_events=False)
    for span_id in (1, 2, 3):
        packer.add([datadog_span(span_id)], 500, counted=True)
    [batch] = packer.close_batch()
    batch.failures = 2
    halves = packer.halve(batch)
    assert [span_ids(half.version, half.bodies[0]) for half in halves] == [[[1]], [[2], [3]]]
    assert [half.failures for half in halves] == [2, 2]
    assert sum(released) == 1500 - sum(half.size for half in halves)
    assert packer.halve(halves[0]) is None
    released.clear()
    [chunks] = packer.as_v04(halves[1])
    assert (chunks.version, chunks.chunks, chunks.span_counts) == ("v0.4", 2, [1, 1])
    assert sum(released) == halves[1].size - chunks.size
    packer.give_up("v0.5")
    assert [(half.version, half.chunks) for half in packer.halve(batch)] == [("v0.4", 1), ("v0.4", 2)]


def test_batches_of_v04_are_halved(packer, released, datadog_span, span_ids):
    """The chunks are divided as they are; nothing is encoded again, and the budget stays."""
    for span_id in (1, 2, 3):
        packer.add([datadog_span(span_id)] * span_id, 500, counted=True)
    [batch] = packer.close_batch()
    released.clear()
    first, second = packer.halve(batch)
    assert (first.chunks, first.spans, second.chunks, second.spans) == (1, 1, 2, 5)
    assert first.size + second.size == batch.size
    assert span_ids("v0.4", packer.join([first, second])) == [[1], [2, 2], [3, 3, 3]]
    assert packer.halve(first) is None
    assert not released


def test_an_encoder_that_fails_loses_its_payload(packer, released, datadog_span):
    """An error of an encoder, or spans none of which it can encode, are counted and give their budget back."""
    packer.use_format("v0.5", native_events=False)
    packer.add([datadog_span(1, start="x")], 500, counted=True)
    assert packer.close_batch() == ()
    assert packer._counters.dropped_spans == {"serialization_error": 1}
    packer.add([datadog_span(1), datadog_span(2, start="x")], 500, counted=True)
    [batch] = packer.close_batch()
    assert batch.spans == 1
    packer._encoder.encode = lambda chunks: 1 / 0
    packer.add([datadog_span(1)], 500, counted=True)
    assert packer.close_batch() == ()
    assert packer._counters.dropped_spans == {"serialization_error": 3}
    assert sum(released) == 1500 - batch.size


def test_a_payload_that_cannot_be_divided_is_lost_once(packer, released, datadog_span):
    """Bytes that are no payload, or chunks that cannot be encoded again, are counted and give their budget back."""
    packer.use_format("v0.5", native_events=False)
    for damage in ("bytes", "encoder"):
        packer._counters.dropped_spans.clear()
        packer.add([datadog_span(1)], 500, counted=True)
        packer.add([datadog_span(2)], 500, counted=True)
        [batch] = packer.close_batch()
        released.clear()
        if damage == "bytes":
            batch.bodies[0] = b"\xc1"
        else:
            packer._encoder.encode = lambda chunks: 1 / 0
        assert packer.halve(batch) == []
        assert packer._counters.dropped_spans == {"serialization_error": 2}
        assert sum(released) == batch.size


def test_chunks_that_lost_all_their_spans_are_not_sent_after_a_downgrade(packer, datadog_span, span_ids):
    """An empty row of a v0.5 payload becomes no trace of v0.4."""
    packer.use_format("v0.5", native_events=False)
    packer.add([datadog_span(1)], 500, counted=True)
    packer.add([datadog_span(2, start="x")], 500, counted=True)
    [batch] = packer.close_batch()
    [chunks] = packer.as_v04(batch)
    assert span_ids("v0.4", packer.join([chunks])) == [[1]]
