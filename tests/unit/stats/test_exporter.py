"""Statistics requests (spec/client-stats.md §9)."""

from __future__ import annotations

import logging

import pytest

from ddtrace_manual._encoding.sketch import LatencySketch
from ddtrace_manual._encoding.stats import decode_stats
from ddtrace_manual._stats import CardinalityLimits, Concentrator, StatsExporter, StatsIdentity

_IDENTITY = StatsIdentity(
    service="some-service", env="some-env", version="1.2.3", hostname="h", git_commit_sha="c0ffee", process_tags="a:b"
)


@pytest.fixture
def sent():
    return []


@pytest.fixture
def make_exporter(clock, sent):
    def make(send=None, limits=None, **settings):
        concentrator = Concentrator(limits=limits, clock=clock)

        def accept(body):
            sent.append(decode_stats(body))
            return True

        return concentrator, StatsExporter(
            concentrator,
            send or accept,
            identity=lambda: _IDENTITY,
            runtime_id=lambda: "6f1e",
            clock=clock,
            **settings,
        )

    return make


def test_payload(make_exporter, make_span, sent):
    """The body has exactly the documented keys and values, and both summaries are present."""
    concentrator, exporter = make_exporter()
    concentrator.add_chunk(
        [
            make_span(service="webserver", resource="/users", meta={"_dd.svc_src": "m"}),
            make_span(service="postgres", resource="SELECT 1", parent_id=1, error=1, duration=2, type="sql"),
        ]
    )
    assert exporter.flush(force=True)
    second = LatencySketch()
    second.add(1_000_000_000)
    short = LatencySketch()
    short.add(2)
    empty = LatencySketch().to_bytes()
    common = {
        "Name": "web.request",
        "HTTPStatusCode": 0,
        "DBType": "",
        "Hits": 1,
        "Synthetics": False,
        "TopLevelHits": 1,
        "SpanKind": "",
        "PeerTags": [],
        "GRPCStatusCode": "",
        "HTTPMethod": "",
        "HTTPEndpoint": "",
        "SpanDerivedPrimaryTags": [],
        "AdditionalMetricTags": [],
    }
    assert sent == [
        {
            "Hostname": "h",
            "Env": "some-env",
            "Version": "1.2.3",
            "Lang": "",
            "TracerVersion": "",
            "RuntimeID": "6f1e",
            "Sequence": 0,
            "AgentAggregation": "",
            "Service": "some-service",
            "ContainerID": "",
            "Tags": [],
            "GitCommitSha": "c0ffee",
            "ImageTag": "",
            "ProcessTagsHash": 0,
            "ProcessTags": "a:b",
            "Stats": [
                {
                    "Start": 1_700_000_000_000_000_000,
                    "Duration": 10_000_000_000,
                    "AgentTimeShift": 0,
                    "Stats": [
                        common
                        | {
                            "Service": "webserver",
                            "Resource": "/users",
                            "Type": "",
                            "Errors": 0,
                            "Duration": 1_000_000_000,
                            "OkSummary": second.to_bytes(),
                            "ErrorSummary": empty,
                            "IsTraceRoot": 1,
                            "srv_src": "m",
                        },
                        common
                        | {
                            "Service": "postgres",
                            "Resource": "SELECT 1",
                            "Type": "sql",
                            "Errors": 1,
                            "Duration": 2,
                            "OkSummary": empty,
                            "ErrorSummary": short.to_bytes(),
                            "IsTraceRoot": 2,
                            "srv_src": "",
                        },
                    ],
                }
            ],
        }
    ]


def test_nothing_to_say_sends_nothing(make_exporter, make_span, sent):
    """A flush without buckets makes no request, and a second forced flush sends nothing again."""
    concentrator, exporter = make_exporter()
    assert exporter.flush(force=True)
    concentrator.add_chunk([make_span()])
    assert exporter.flush(force=True)
    assert exporter.flush(force=True)
    assert len(sent) == 1


def test_flush_if_due(make_exporter, make_span, sent, clock):
    """Closed buckets leave every ten seconds, open ones stay."""
    concentrator, exporter = make_exporter()
    concentrator.add_chunk([make_span()])
    for seconds, payloads in ((9, 0), (1, 0), (9, 0), (1, 1), (10, 1)):
        clock.advance(seconds)
        assert exporter.flush_if_due()
        assert len(sent) == payloads


def test_payloads_are_numbered_from_zero(make_exporter, make_span, sent):
    concentrator, exporter = make_exporter()
    for _ in range(2):
        concentrator.add_chunk([make_span()])
        exporter.flush(force=True)
    assert [payload["Sequence"] for payload in sent] == [0, 1]


def test_failures_lose_the_payload(make_exporter, make_span, caplog, monkeypatch):
    """A refused or failing send is reported, not retried, and never raises."""
    monkeypatch.setattr("ddtrace_manual._stats.exporter._log.interval_s", 0.0)
    caplog.set_level(logging.ERROR, "ddtrace_manual")
    outcomes = [False, OSError("gone"), True]

    def send(_body):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    concentrator, exporter = make_exporter(send)
    results = []
    for _ in range(3):
        concentrator.add_chunk([make_span()])
        results.append(exporter.flush(force=True))
    assert results == [False, False, True]
    assert len(caplog.records) == 1


def test_collapses_are_reported(make_exporter, make_span):
    """Whoever listens hears how many spans a limit collapsed; without a listener nothing happens."""
    heard = []
    limits = CardinalityLimits(resources=1)
    for listener in (lambda *report: heard.append(report), None):
        concentrator, exporter = make_exporter(limits=limits, on_collapsed=listener)
        concentrator.add_chunk([make_span(resource=str(i)) for i in range(4)])
        exporter.flush(force=True)
    assert heard == [("resource", 3)]


def test_next_due(make_exporter, make_span, clock):
    """There is nothing to wait for without spans; with some, the next flush is an interval after the last."""
    concentrator, exporter = make_exporter(interval_s=2.0)
    assert exporter.next_due_ns() is None
    concentrator.add_chunk([make_span()])
    assert exporter.next_due_ns() == clock.monotonic_ns() + 2_000_000_000
    exporter.flush(force=True)
    assert exporter.next_due_ns() is None


@pytest.mark.parametrize("error", [MemoryError, ValueError, SystemExit])
@pytest.mark.parametrize("place", ["identity", "send"])
def test_a_payload_that_an_exception_interrupts_is_counted(make_exporter, make_span, error, place):
    """Whatever raises between taking buckets and their delivery, the payload is counted as lost, once."""
    told = []

    def fail(*_):
        raise error("trap")

    concentrator, exporter = make_exporter(send=fail, on_payload=told.append)
    if place == "identity":
        exporter._encode = fail
    concentrator.add_chunk([make_span()])
    assert not exporter.flush(force=True)
    assert told == [False]
    assert exporter.flush(force=True)
    assert told == [False]


def test_buckets_that_cannot_be_taken_out_stay(make_exporter, make_span, monkeypatch, sent):
    """An exception while buckets are taken out reaches the worker, and the next flush sends them."""
    concentrator, exporter = make_exporter()
    concentrator.add_chunk([make_span()])
    monkeypatch.setattr(concentrator, "_align", lambda _time: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exporter.flush(force=True)
    monkeypatch.undo()
    assert exporter.flush(force=True)
    assert len(sent) == 1


def test_a_failing_report_of_collapsed_spans_costs_nothing(make_exporter, make_span, sent):
    """Statistics are sent although nobody can be told how many spans collapsed."""
    concentrator, exporter = make_exporter(limits=CardinalityLimits(keys=1), on_collapsed=lambda *_: 1 / 0)
    concentrator.add_chunk([make_span(resource="a"), make_span(resource="b")])
    assert exporter.flush(force=True)
    assert len(sent) == 1
