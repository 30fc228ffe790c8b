"""Vectors of the `ot` member (spec/propagation.md §6)."""

from __future__ import annotations

import pytest

from ddtrace_manual.propagation import _probability

SPAN = "1234567890123456"


def traceparent(flag, trace_id=10):
    return f"00-{trace_id:032x}-{SPAN}-{flag}"


@pytest.mark.parametrize(
    ("rate", "threshold"),
    [
        (1e-17, "ffffffffffffff"), (1e-6, "ffffef39085f48"), (0.01, "fd70a3d70a3d7"), (0.05, "f333333333333"),
        (0.1, "e6666666666668"), (0.2, "ccccccccccccd"), (0.25, "c"), (0.5, "8"), (0.75, "4"), (0.99, "028f5c28f5c29"),
        (1, "0"), (1 / 3, "aaaaaaaaaaaab"),
    ],
)  # fmt: skip
def test_threshold_of_a_rate(rate, threshold):
    """The threshold is the rejected share of 2^56, without trailing zeros."""
    assert dict(_probability.compute(1, rate, kept=False))["th"] == threshold


@pytest.mark.parametrize(
    ("trace_id", "randomness"),
    [
        (1, "f0948a54d43b8e"), (10, "65cd67504a538e"), (100, "fa060922e7438e"), (1000, "c43c5b5d08a38e"),
        (18444899399302180860, "1d6aabcffddf37"), (18444899399302180862, "fe93c079a65653"),
        (18444899399302180863, "ef284ace7a91e1"), (9223372036854775807, "8f6b75ab2bc471"),
        (9223372036854775809, "70948a54d43b8e"), (18446744073709551615, "0f6b75ab2bc471"),
        (0xFFFF << 64 | 10, "65cd67504a538e"),
    ],
)  # fmt: skip
def test_randomness_of_a_trace_id(trace_id, randomness):
    """The randomness is the upper 56 bits of the inverted hash of the low half."""
    assert dict(_probability.compute(trace_id, 1.0, kept=True))["rv"] == randomness


@pytest.mark.parametrize(
    ("trace_id", "rate", "kept", "text"),
    [
        (0x03A93EE8B1999F00, 0.1, True, "rv:e6666666666668;th:e6666666666668"),
        (5401449561355763072, 0.05, False, "rv:f333333333332f;th:f333333333333"),
        (1, 1, False, "rv:00000000000000;th:0"),
    ],
)
def test_randomness_agrees_with_the_decision(trace_id, rate, kept, text):
    """Where cutting to 56 bits would contradict the decision, the randomness yields and the threshold stays."""
    assert _probability.format_items(_probability.compute(trace_id, rate, kept=kept)) == text


PAIR = "rv:65cd67504a538e;th:e6666666666668"


@pytest.mark.parametrize(
    ("flag", "tracestate", "out"),
    [
        ("01", f"ot={PAIR}", PAIR),
        ("01", f"ot={PAIR};foo:bar", f"{PAIR};foo:bar"),
        ("00", f"dd=s:0,ot={PAIR}", PAIR),
        ("00", "ot=th:8", "th:8"),
        ("01", "ot=rv:65cd67504a538e", "rv:65cd67504a538e"),
        ("01", "ot=foo:bar", "foo:bar"),
        ("01", "ot=th:8;rv:65cd67504a538e", "rv:65cd67504a538e;th:8"),
        ("01", "dd=s:1,ot=rv:not-hex;th:not-hex,congo=xyz123", None),
        ("01", "ot=rv:1234567890abcd;th:not-hex-either", "rv:1234567890abcd"),
        ("01", "ot=rv:1234567890ABCD;th:8", "th:8"),
        ("01", "ot=rv:1234567890abc;foo", "foo"),
        ("01", "ot=th:8000", "th:8000"),
        ("01", "ot=th:4;th:8", "th:8"),
        ("01", "ot=th:8;th:x", None),
        ("01", "ot=;;th:8;;", "th:8"),
        ("01", "ot=th", None),
        ("01", "ot=th:4,foo=1,ot=th:8", "th:8"),
        ("01", "dd=s:1", None),
        ("01", "ot=" + "a:" + "x" * 250 + ";th:8;b:" + "y" * 20, "th:8;b:" + "y" * 20),
    ],
)  # fmt: skip
def test_an_inherited_member_passes_sanitised(hop, flag, tracestate, out):
    """With an inherited decision nothing is derived: the member goes on, less what is malformed."""
    made = hop({"traceparent": traceparent(flag), "tracestate": tracestate})
    assert made.member("ot") == out
    assert made.headers["traceparent"].endswith(flag)
    assert made.member("congo") == ("xyz123" if "congo" in tracestate else None)


@pytest.mark.parametrize(
    ("incoming", "rate", "out"),
    [
        (None, 0.1, PAIR),
        ("foo:bar", 0.1, f"{PAIR};foo:bar"),
        ("rv:11111111111111;th:8", 0.1, "rv:11111111111111;th:8"),
        ("foo:bar;th:8", 0.1, "th:8;foo:bar"),
        ("rv:11111111111111;th:8", 0, "rv:11111111111111"),
        (None, 0, None),
    ],
)
def test_a_local_decision_leaves_what_was_received(hop, decide, incoming, rate, out):
    """On an undecided context, `rv` and `th` are only computed when neither came in; rate 0 writes none."""
    headers = {"traceparent": traceparent("00"), "tracestate": "dd=o:rum" + (f",ot={incoming}" if incoming else "")}
    assert hop(headers, decide(-1, 3, rate)).member("ot") == out


def test_rate_zero_is_no_threshold_even_if_recorded(hop, decide):
    """A probability of zero never becomes a threshold."""
    made = hop({}, decide(1, 0, 1.0))
    made.segment.ot, made.segment.probability = (("rv", "11111111111111"), ("th", "8")), (0.0, False)
    assert "ot=rv:11111111111111" in made.inject_again()["tracestate"].split(",")


def test_a_manual_decision_before_injecting_has_no_member(decide, hop, manually):
    """On a trace begun here, a manual keep leaves no `ot` unless one had been sent before."""
    made = hop({}, decide(1, 0, 1.0), inject_styles=("datadog",))
    manually(made.segment, 2)
    fresh = hop({}, inject_styles=("tracecontext",)).propagator
    headers: dict[str, str] = {}
    fresh.inject_state(made.segment.trace_id, 1, made.segment, headers)
    assert "ot=" not in headers["tracestate"]


def test_a_manual_decision_after_injecting_keeps_the_randomness(hop, manually):
    """Once sent, `rv` stays and only `th` is removed."""
    made = hop({"x-datadog-trace-id": "10", "x-datadog-parent-id": "10"})
    assert made.member("ot") == "rv:65cd67504a538e;th:0"
    manually(made.segment, 2)
    made.headers = made.inject_again()
    assert made.member("ot") == "rv:65cd67504a538e"


def test_an_inherited_member_loses_its_threshold_by_hand(hop, manually):
    """Manual keep on an inherited member: `rv` and unknown sub-keys stay."""
    made = hop({"traceparent": traceparent("00"), "tracestate": f"ot={PAIR};x:y"})
    manually(made.segment, 2)
    made.headers = made.inject_again()
    assert made.member("ot") == "rv:65cd67504a538e;x:y"


def test_the_member_follows_dd(hop):
    """`ot` goes directly after `dd`."""
    made = hop({"traceparent": traceparent("01"), "tracestate": f"foo=1,ot={PAIR},bar=2"})
    assert [each.partition("=")[0] for each in made.headers["tracestate"].split(",")] == ["dd", "ot", "foo", "bar"]
