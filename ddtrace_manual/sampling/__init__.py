"""Which traces and which single spans to keep."""

from ._limiter import RateLimiter
from ._manual import manual_request
from ._parse import parse_remote_rate, parse_remote_rules, parse_sampling_rules, parse_span_sampling_rules
from ._rates import ServiceRates, format_ksr, keeps, knuth_hash
from ._rules import SamplingRule, SpanSamplingRule, SpanView
from ._sampler import TraceSampler
from ._span_sampler import SpanSampler

__all__ = [
    "RateLimiter",
    "SamplingRule",
    "ServiceRates",
    "SpanSampler",
    "SpanSamplingRule",
    "SpanView",
    "TraceSampler",
    "format_ksr",
    "keeps",
    "knuth_hash",
    "manual_request",
    "parse_remote_rate",
    "parse_remote_rules",
    "parse_sampling_rules",
    "parse_span_sampling_rules",
]
