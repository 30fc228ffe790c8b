"""What a decision leaves for the `ot` member, vector by vector (spec/propagation.md §6.1)."""

from __future__ import annotations

import pytest

from ddtrace_manual._model import SegmentRecord, SpanRecord
from ddtrace_manual.sampling import RateLimiter, SamplingRule, ServiceRates, TraceSampler, knuth_hash

_RANDOMNESS = {
    1: "f0948a54d43b8e",
    10: "65cd67504a538e",
    100: "fa060922e7438e",
    1000: "c43c5b5d08a38e",
    18444899399302180860: "1d6aabcffddf37",
    18444899399302180862: "fe93c079a65653",
    18444899399302180863: "ef284ace7a91e1",
    9223372036854775807: "8f6b75ab2bc471",
    9223372036854775809: "70948a54d43b8e",
    18446744073709551615: "0f6b75ab2bc471",
}
_THRESHOLDS = {
    1e-17: "ffffffffffffff",
    1e-6: "ffffef39085f48",
    0.01: "fd70a3d70a3d7",
    0.05: "f333333333333",
    0.1: "e6666666666668",
    0.2: "ccccccccccccd",
    0.25: "c",
    0.5: "8",
    0.75: "4",
    0.99: "028f5c28f5c29",
    1: "0",
    1 / 3: "aaaaaaaaaaaab",
}


def _decided(trace_id, rules, limit=-1):
    sampler = TraceSampler(span_view=None, rules=rules, limiter=RateLimiter(limit), service_rates=ServiceRates())
    segment = SegmentRecord()
    segment.trace_id = trace_id
    sampler.decide(segment, SpanRecord())
    return segment


def _ot(segment):
    """Compute the member from the data of a decision, as the specification says."""
    if segment.probability is None:
        return None
    rate, kept = segment.probability
    randomness = ((1 << 64) - 1 - knuth_hash(segment.trace_id)) >> 8
    threshold = min(max(round((1 - rate) * 2**56), 0), 2**56 - 1)
    if kept and randomness < threshold:
        randomness = threshold
    if not kept and randomness >= threshold:
        randomness = max(threshold - 1, 0)
    return f"rv:{randomness:014x};th:{f'{threshold:014x}'.rstrip('0') or '0'}"


@pytest.mark.parametrize(("trace_id", "randomness"), _RANDOMNESS.items())
def test_default_decision(trace_id, randomness):
    """The default decision is a decision at rate 1."""
    assert _ot(_decided(trace_id, ())) == f"rv:{randomness};th:0"


@pytest.mark.parametrize(("rate", "threshold"), _THRESHOLDS.items())
@pytest.mark.parametrize("trace_id", _RANDOMNESS)
def test_rule_decision(trace_id, rate, threshold):
    """The recorded rate and outcome give the published threshold, on the right side of the randomness."""
    segment = _decided(trace_id, [SamplingRule(rate)])
    randomness, written = (item.split(":")[1] for item in _ot(segment).split(";"))
    assert written == threshold
    assert (int(randomness, 16) >= int(written.ljust(14, "0"), 16)) is (segment.priority > 0)


@pytest.mark.parametrize(
    ("trace_id", "rate", "kept", "ot"),
    [
        (0x03A93EE8B1999F00, 0.1, True, "rv:e6666666666668;th:e6666666666668"),
        (5401449561355763072, 0.05, False, "rv:f333333333332f;th:f333333333333"),
        (10, 0.1, False, "rv:65cd67504a538e;th:e6666666666668"),
    ],
)
def test_rounding_cases(trace_id, rate, kept, ot):
    """Ids next to the threshold fall on the side the hash says."""
    segment = _decided(trace_id, [SamplingRule(rate)])
    assert (segment.priority > 0) is kept
    assert _ot(segment) == ot


@pytest.mark.parametrize(("rate", "limit"), [(0, 100), (1, 0)])
def test_decisions_without_probability(rate, limit):
    """Rate 0 and a keep that the limiter overturned leave nothing to compute, and forbid a received threshold."""
    segment = _decided(1, [SamplingRule(rate)], limit)
    assert _ot(segment) is None
    assert segment.threshold_cleared
