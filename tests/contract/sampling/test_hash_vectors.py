"""The hash and its text, vector by vector (spec/sampling.md §4, §12)."""

from __future__ import annotations

import pytest

from ddtrace_manual.sampling import format_ksr, keeps, knuth_hash

_RATES = (0.01, 0.1, 0.2, 0.5, 0.99)

# (low 64 bits of the trace id, kept at each of _RATES)
_VECTORS = [
    (1, "-kkkk"),
    (10, "----k"),
    (100, "-kkkk"),
    (1000, "---kk"),
    (18444899399302180860, "----k"),
    (18444899399302180861, "----k"),
    (18444899399302180862, "kkkkk"),
    (18444899399302180863, "-kkkk"),
    (18446744073709551615, "----k"),
    (9223372036854775809, "----k"),
    (9223372036854775807, "---kk"),
    (4611686018427387905, "----k"),
    (4611686018427387903, "----k"),
    (646771306295669658, "---kk"),
    (1882305164521835798, "---kk"),
    (5198373796167680436, "----k"),
    (6272545487220484606, "---kk"),
    (8696342848850656916, "---kk"),
    (10197320802478874805, "--kkk"),
    (10350218024687037124, "--kkk"),
    (12078589664685934330, "----k"),
    (13794769880582338323, "---kk"),
    (14629469446186818297, "----k"),
    (6645412625895797507, "----k"),
]


@pytest.mark.parametrize("high", [0, 0x640CFD8D00000000, (1 << 64) - 1])
@pytest.mark.parametrize(("trace_id", "kept"), _VECTORS)
def test_keep_or_drop(trace_id, kept, high):
    """Every id is kept at exactly the listed rates, whatever the high half of a 128-bit id."""
    assert "".join("k" if keeps(high << 64 | trace_id, rate) else "-" for rate in _RATES) == kept


@pytest.mark.parametrize("trace_id", [trace_id for trace_id, _ in _VECTORS])
def test_ends(trace_id):
    """Rates of 1 and more keep all, rates of 0 and less keep nothing."""
    assert [keeps(trace_id, rate) for rate in (1, 1.5, 0, -1)] == [True, True, False, False]


def test_hash_values():
    """The hash itself has the published values."""
    assert knuth_hash(1) == 1111111111111111111
    assert knuth_hash(100) == 430646668853801404
    assert knuth_hash(18444899399302180862) == 102526737785138290


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (1, "1"),
        (0.5, "0.5"),
        (0.1, "0.1"),
        (0, "0"),
        (0.7654321, "0.765432"),
        (0.123456789, "0.123457"),
        (0.000001, "0.000001"),
        (0.00000051, "0.000001"),
        (0.0000001, "0"),
        (1 / 3, "0.333333"),
        (0.25, "0.25"),
        (0.9999999, "1"),
        (0.0000025, "0.000003"),
    ],
)
def test_ksr_text(rate, text):
    """The propagated rate has at most six decimals, halves up, no exponent and no trailing zeros."""
    assert format_ksr(rate) == text
