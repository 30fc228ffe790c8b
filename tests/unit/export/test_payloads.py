"""From mapped chunks to parcels."""

import pytest

from ddtrace_manual._encoding import V05Encoder
from ddtrace_manual._export import ChunkPacker, Counters


@pytest.fixture
def released():
    return []


@pytest.fixture
def packer(released):
    return ChunkPacker(release=released.append, counters=Counters(accepted_spans=100))


def test_chunks_are_encoded_one_by_one(packer, released, datadog_span, span_ids):
    """In v0.4 every chunk is a parcel at once, and the budget holds its real size afterwards."""
    [parcel] = packer.add([datadog_span(1), datadog_span(2)], 5000, counted=True)
    assert (parcel.version, parcel.chunks, parcel.spans, parcel.counted) == ("v0.4", 1, 2, True)
    assert sum(released) == 5000 - len(parcel.body)
    assert span_ids("v0.4", packer.join([parcel, parcel])) == [[1, 2], [1, 2]]


@pytest.mark.parametrize("spans", [[1, 2], [1]])
def test_spans_that_cannot_be_encoded_are_lost(packer, released, datadog_span, spans):
    """A span that cannot be packed is left out and counted; a chunk of nothing else gives no parcel."""
    bad = [datadog_span(span_id, meta=object()) if span_id == 1 else datadog_span(span_id) for span_id in spans]
    parcels = packer.add(bad, 500, counted=False)
    assert [parcel.spans for parcel in parcels] == ([1] if len(spans) == 2 else [])
    assert packer._counters.dropped_spans == {"serialization_error": 1}
    assert packer._counters.dropped_chunks == {"serialization_error": int(not parcels)}
    assert sum(released) == 500 - sum(len(parcel.body) for parcel in parcels)


def test_other_formats_gather_chunks(packer, released, datadog_span, span_ids):
    """In v0.5 chunks wait until they are sealed, or enough of them wait, and become one parcel."""
    packer.use_format("v0.5", native_events=False)
    assert not packer.add([datadog_span(1)], 500, counted=True)
    assert not packer.add([datadog_span(2)], 600, counted=True)
    assert packer.open_chunks == 2
    [parcel] = packer.seal()
    assert (parcel.chunks, parcel.spans, packer.open_chunks) == (2, 2, 0)
    assert span_ids("v0.5", packer.join([parcel])) == [[1], [2]]
    assert sum(released) == 1100 - len(parcel.body)
    [parcel] = packer.add([datadog_span(3)], 2_000_000, counted=True)
    assert parcel.chunks == 1
    assert not packer.seal()


def test_counted_and_uncounted_chunks_do_not_mix(packer, datadog_span):
    """Chunks before and after statistics were switched on go out in different payloads."""
    packer.use_format("v0.5", native_events=False)
    packer.add([datadog_span(1)], 1, counted=False)
    [before] = packer.add([datadog_span(2)], 1, counted=True)
    [after] = packer.seal()
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
    [parcel] = packer.seal()
    halves = packer.halve(parcel)
    assert [span_ids(half.version, half.body) for half in halves] == [[[1]], [[2], [3]]]
    assert sum(released) == 1500 - sum(len(half.body) for half in halves)
    assert packer.halve(halves[0]) == ()
    released.clear()
    chunks = packer.as_v04(halves[1])
    assert [chunk.version for chunk in chunks] == ["v0.4", "v0.4"]
    assert sum(released) == len(halves[1].body) - sum(len(chunk.body) for chunk in chunks)
    packer.give_up("v0.5")
    assert [half.version for half in packer.halve(parcel)] == ["v0.4"] * 3


def test_an_encoder_that_fails_loses_its_payload(packer, released, datadog_span):
    """An error of an encoder, or spans none of which it can encode, are counted and give their budget back."""
    packer.use_format("v0.5", native_events=False)
    packer.add([datadog_span(1, start="x")], 500, counted=True)
    assert packer.seal() == ()
    assert packer._counters.dropped_spans == {"serialization_error": 1}
    packer.add([datadog_span(1), datadog_span(2, start="x")], 500, counted=True)
    [parcel] = packer.seal()
    assert parcel.spans == 1
    packer._encoder.encode = lambda chunks: 1 / 0
    packer.add([datadog_span(1)], 500, counted=True)
    assert packer.seal() == ()
    assert packer._counters.dropped_spans == {"serialization_error": 3}
    assert sum(released) == 1500 - len(parcel.body)
