"""Single span sampling (spec/sampling.md §14)."""

from __future__ import annotations

import pytest

from ddtrace_manual.sampling import SpanSampler, SpanSamplingRule, keeps
from ddtrace_manual.sampling import _span_sampler as module

_MECHANISM = "_dd.span_sampling.mechanism"
_RATE = "_dd.span_sampling.rule_rate"
_MAX = "_dd.span_sampling.max_per_second"


def _span(service="webserver", name="web.request", span_id=1):
    return {"service": service, "name": name, "span_id": span_id, "meta": {}, "metrics": {}}


def _sampled(chunk):
    return [_MECHANISM in span["metrics"] for span in chunk]


@pytest.mark.parametrize(
    ("rules", "selected"),
    [
        ([SpanSamplingRule(service="webserver", name="web.request")], True),
        ([SpanSamplingRule(service="webse*", name="web.re?uest")], True),
        ([SpanSamplingRule(service="WEB*")], True),
        ([SpanSamplingRule(name="*")], True),
        ([SpanSamplingRule(service="webserver", name="other")], False),
        ([SpanSamplingRule(service="other", name="web.request")], False),
        ([SpanSamplingRule(name="*"), SpanSamplingRule(name="*", sample_rate=0)], True),
        ([SpanSamplingRule(name="*", sample_rate=0), SpanSamplingRule(name="*")], False),
        ([SpanSamplingRule(name="*", max_per_second=0)], False),
        ([], False),
    ],
)
def test_first_matching_rule_decides(clock, rules, selected):
    """Only the first rule that matches service and name counts, even when it then rejects."""
    span = _span()
    SpanSampler(rules, clock).sample([span], -1)
    assert span["metrics"] == ({_MECHANISM: 8, _RATE: 1.0} if selected else {})


@pytest.mark.parametrize("priority", [1, 2, 7, None])
def test_no_effect_on_kept_traces(clock, priority):
    """A kept or undecided trace gets no tags."""
    chunk = [_span()]
    SpanSampler([SpanSamplingRule(name="*")], clock).sample(chunk, priority)
    assert _sampled(chunk) == [False]


@pytest.mark.parametrize("priority", [0, -1])
def test_limit_serves_the_first_spans(clock, priority):
    """The limit is served in chunk order, is written on selected spans, and refills."""
    sampler = SpanSampler([SpanSamplingRule(name="*", max_per_second=2)], clock)
    chunk = [_span(span_id=i) for i in range(1, 7)]
    sampler.sample(chunk, priority)
    assert _sampled(chunk) == [True, True, False, False, False, False]
    assert chunk[0]["metrics"] == {_MECHANISM: 8, _RATE: 1.0, _MAX: 2}
    clock.advance(2)
    later = [_span()]
    sampler.sample(later, priority)
    assert _sampled(later) == [True]


def test_limits_are_independent(clock):
    """Each rule has a limiter of its own."""
    sampler = SpanSampler(
        [SpanSamplingRule(name="a", max_per_second=1), SpanSamplingRule(name="b", max_per_second=2)], clock
    )
    chunk = [_span(name=name, span_id=i) for i, name in enumerate("abababab", start=1)]
    sampler.sample(chunk, 0)
    assert [span["name"] for span in chunk if _MECHANISM in span["metrics"]] == ["a", "b", "b"]


def test_rate_goes_by_span_id_and_before_the_limit(clock):
    """Spans are chosen by the hash of their own id, and a rejected span takes no token."""
    sampler = SpanSampler([SpanSamplingRule(name="*", sample_rate=0.5, max_per_second=100)], clock)
    chunk = [_span(span_id=i) for i in range(1, 60)]
    sampler.sample(chunk, -1)
    assert _sampled(chunk) == [keeps(i, 0.5) for i in range(1, 60)]
    assert sampler._rules[0].limiter._total == sum(_sampled(chunk))


def test_remembered_matches_are_bounded(clock, monkeypatch):
    """Names without end do not grow the memory of matches without bound, nor change a result."""
    monkeypatch.setattr(module, "_MATCHES_MAX", 4)
    sampler = SpanSampler([SpanSamplingRule(name="op1*")], clock)
    chunk = [_span(name=f"op{i}") for i in range(30)] * 2
    sampler.sample(chunk, 0)
    assert [_MECHANISM in span["metrics"] for span in chunk[:30]] == [str(i).startswith("1") for i in range(30)]
    assert len(sampler._matches) <= 4
