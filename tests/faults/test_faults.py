"""What a program under load notices, and what arrives, while the Agent misbehaves."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from fault_runs import FAULTS, run
from soak import LOADS, soak

pytestmark = [pytest.mark.integration]

SHORT = ("none", "restarts on the same port", "accepts and never answers", "500", "never there")


def check(row):
    """Assert what the delivery promises."""
    counters = row.report["counters"]
    assert counters["finished"] == row.sent, "no span may vanish uncounted"
    assert counters["queued"] == 0
    assert counters["sent"] + sum(counters["dropped"].values()) == row.sent
    assert row.exit_s < 6
    assert len(row.log_lines) <= 1, "at most one line a minute"
    assert "Traceback" not in "\n".join(row.log_lines)
    assert row.p50_us < 20_000, "the application waits for nothing"
    if row.fault.is_for_ever:
        return
    assert row.lost == 0
    if not row.fault.may_double:
        assert row.doubled == 0


def run_all(faults, seconds):
    """Run several faults at a time: they mostly wait."""
    with ThreadPoolExecutor(5) as pool:
        return list(pool.map(lambda fault: run(fault, seconds=seconds, rate=50), faults))


def test_the_usual_faults_lose_nothing():
    """A restart, a hang and errors of the Agent lose and double nothing; an absent one delays the exit by a second."""
    for row in run_all([fault for fault in FAULTS if fault.text in SHORT], 3):
        check(row)
        if row.fault.text == "never there":
            assert row.exit_s < 2


@pytest.mark.slow
def test_every_fault():
    """No fault that ends loses a span or doubles one that was answered in time."""
    for row in run_all(FAULTS, 5):
        check(row)


@pytest.mark.slow
@pytest.mark.parametrize("load", LOADS)
def test_soak(load):
    """At full speed, with faults coming and going, nothing grows, vanishes or comes twice."""
    assert soak(load, 10).problems() == []
