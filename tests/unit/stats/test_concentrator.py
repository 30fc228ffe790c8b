"""Time buckets and their bounds (spec/client-stats.md §4, §5)."""

from __future__ import annotations

import math
import threading
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddtrace_manual._encoding.encoded_chunk import StatsShape
from ddtrace_manual._encoding.sketch import LatencySketch
from ddtrace_manual._stats import concentrator as concentrator_module
from ddtrace_manual._stats.aggregation import AggregationKey, AggregationRules
from ddtrace_manual._stats.concentrator import BUCKET_NS, CardinalityLimits, Concentrator

_BASE = 1_700_000_000_000_000_000  # the fixture clock's first moment, a multiple of ten seconds
_BLOCKED = "tracer_blocked_value"


def _totals(buckets):
    groups = [group for bucket in buckets for group in bucket.groups.values()]
    return sum(group.hits for group in groups), sum(group.duration_ns for group in groups)


def test_counters(clock, make_span):
    """Hits, errors, top-level hits, durations and both sketches of one key."""
    concentrator = Concentrator(clock=clock)
    concentrator.add_chunk(
        [
            make_span(),
            make_span(error=1, duration=5, metrics={"_dd.measured": 1}),
            make_span(metrics={}),
        ]
    )
    (bucket,) = concentrator.flush(force=True)
    (group,) = bucket.groups.values()
    assert (group.hits, group.errors, group.top_level_hits, group.duration_ns) == (2, 1, 1, 1_000_000_005)
    assert (group.ok.count, group.error.count) == (1, 1)


def test_buckets_close_after_two_lengths(clock, make_span):
    """The current and the previous bucket are kept, older ones leave in order, each once."""
    concentrator = Concentrator(clock=clock)
    concentrator.add_chunk(
        [make_span(end=_BASE), make_span(end=_BASE + BUCKET_NS), make_span(end=_BASE + BUCKET_NS - 1)]
    )
    clock.advance(19.999)
    assert concentrator.flush() == []
    clock.advance(0.001)
    (bucket,) = concentrator.flush()
    assert (bucket.start_ns, _totals([bucket])[0]) == (_BASE, 2)
    clock.advance(10)
    assert [bucket.start_ns for bucket in concentrator.flush()] == [_BASE + BUCKET_NS]
    assert concentrator.flush(force=True) == []


def test_late_spans_go_to_the_oldest_bucket(clock, make_span):
    """A span that ended before the oldest open bucket is counted in that."""
    concentrator = Concentrator(clock=clock)
    concentrator.add_chunk([make_span(end=_BASE - 5 * BUCKET_NS)])
    clock.advance(35)
    assert [bucket.start_ns for bucket in concentrator.flush()] == [_BASE]
    concentrator.add_chunk([make_span(end=_BASE)])
    assert [bucket.start_ns for bucket in concentrator.flush(force=True)] == [_BASE + 2 * BUCKET_NS]


def test_forced_flush_takes_the_open_bucket(clock, make_span):
    """A forced flush empties everything; later spans of the same ten seconds make a bucket with the same start."""
    concentrator = Concentrator(clock=clock)
    for _ in range(2):
        concentrator.add_chunk([make_span()])
        assert [bucket.start_ns for bucket in concentrator.flush(force=True)] == [_BASE]


def test_spans_from_the_future_are_bounded(clock, make_span):
    """Ends scattered over the future do not make buckets without bound, and lose nothing."""
    concentrator = Concentrator(clock=clock)
    concentrator.add_chunk([make_span(end=_BASE + i * BUCKET_NS) for i in range(500)])
    buckets = concentrator.flush(force=True)
    assert len(buckets) <= 65
    assert _totals(buckets)[0] == 500


@pytest.mark.parametrize(
    ("field", "limits", "reason"),
    [
        ("resource", {"resources": 3}, "resource"),
        ("http.endpoint", {"http_endpoints": 3}, "http_endpoint"),
        ("out.host", {"peer_tags": 3}, "peer_tags"),
        ("extra", {"additional_tags": 3}, "additional_metric_tags"),
    ],
)
def test_limit_of_one_field(clock, make_span, field, limits, reason):
    """After a field's limit new values are blocked, known ones keep counting, and no hit is lost."""
    rules = AggregationRules(peer_tags=["out.host"], additional_tags=["extra"])
    concentrator = Concentrator(rules, CardinalityLimits(**limits), clock)
    values = [f"v{i % 6}" for i in range(60)]
    concentrator.add_chunk(
        [
            make_span(resource=value) if field == "resource" else make_span(meta={field: value, "span.kind": "client"})
            for value in values
        ]
    )
    (bucket,) = concentrator.flush(force=True)
    hits = {AggregationKey(*key): group.hits for key, group in bucket.groups.items()}
    assert sorted(hits.values()) == [10, 10, 10, 30]
    blocked = next(key for key, count in hits.items() if count == 30)
    assert _BLOCKED in str(blocked)
    assert concentrator.take_collapsed() == {reason: 30}
    assert concentrator.take_collapsed() == {}


def test_an_absent_value_is_never_blocked(clock, make_span):
    """Spans without the limited field stay themselves, even with a limit of 0."""
    concentrator = Concentrator(limits=CardinalityLimits(http_endpoints=0, peer_tags=0, additional_tags=0), clock=clock)
    concentrator.add_chunk([make_span()])
    assert concentrator.take_collapsed() == {}


def test_limit_of_whole_keys(clock, make_span):
    """After the limit new keys share one overflow row, known keys keep counting."""
    concentrator = Concentrator(limits=CardinalityLimits(keys=4), clock=clock)
    concentrator.add_chunk([make_span(service=f"s{i % 8}") for i in range(80)])
    (bucket,) = concentrator.flush(force=True)
    hits = {key[0]: group.hits for key, group in bucket.groups.items()}
    assert hits == {"s0": 10, "s1": 10, "s2": 10, "s3": 10, _BLOCKED: 40}
    assert concentrator.take_collapsed() == {"whole_key": 40}


_SPANS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),  # service
        st.sampled_from(["r1", "r2", "r3", "r4"]),  # resource
        st.integers(1, 10**12),  # duration
        st.booleans(),  # error
        st.booleans(),  # top level
        st.integers(-3, 3),  # bucket offset
    ),
    max_size=60,
)


@given(_SPANS, st.integers(0, 6), st.integers(0, 4))
def test_limits_never_lose_hits(spans, keys, resources):
    """Whatever the limits, hits, errors and durations add up."""
    concentrator = Concentrator(limits=CardinalityLimits(keys=keys, resources=resources))
    concentrator.add_chunk([_dd_span(*span) for span in spans])
    buckets = concentrator.flush(force=True)
    counted = [span for span in spans if span[4]]
    assert _totals(buckets) == (len(counted), sum(span[2] for span in counted))
    for bucket in buckets:
        assert len(bucket.groups) <= keys + 1


@settings(max_examples=50)
@given(_SPANS)
def test_equals_a_brute_force_count(spans):
    """Groups, counters and quantiles are those of a plain list of spans, quantiles within the sketch's accuracy."""
    clock = _FixedClock()
    concentrator = Concentrator(clock=clock)
    concentrator.add_chunk([_dd_span(*span) for span in spans])
    expected = defaultdict(list)
    for service, resource, duration, error, top_level, offset in spans:
        if top_level:
            start = max(_BASE, _BASE + offset * BUCKET_NS)
            expected[start, service, resource].append((duration, error))
    found = {
        (bucket.start_ns, key[0], key[2]): group
        for bucket in concentrator.flush(force=True)
        for key, group in bucket.groups.items()
    }
    assert found.keys() == expected.keys()
    for key, group in found.items():
        listed = expected[key]
        assert group.hits == group.top_level_hits == len(listed)
        assert group.errors == sum(error for _, error in listed)
        assert group.duration_ns == sum(duration for duration, _ in listed)
        for sketch, wanted in ((group.ok, False), (group.error, True)):
            durations = sorted(duration for duration, error in listed if error is wanted)
            if not durations:
                assert sketch is None
                continue
            for fraction in (0, 0.5, 0.99, 1):
                exact = durations[math.floor(fraction * (len(durations) - 1))]
                assert abs(sketch.quantile(fraction) - exact) <= exact * 0.0078 + 1e-6


class _FixedClock:
    def wall_ns(self):
        return _BASE

    monotonic_ns = wall_ns


def _dd_span(service, resource, duration, error, top_level, offset):
    return {
        "service": service,
        "name": "op",
        "resource": resource,
        "trace_id": 1,
        "span_id": 1,
        "start": _BASE + offset * BUCKET_NS - duration,
        "duration": duration,
        "error": int(error),
        "meta": {},
        "metrics": {"_dd.top_level": 1} if top_level else {},
    }


def test_threads_lose_nothing(clock, make_span):
    """Chunks added while another thread flushes are counted exactly once."""
    concentrator = Concentrator(clock=clock)
    taken = []
    done = threading.Event()

    def flush():
        while not done.is_set():
            taken.extend(concentrator.flush(force=True))

    flusher = threading.Thread(target=flush)
    flusher.start()
    adders = [
        threading.Thread(target=lambda: [concentrator.add_chunk([make_span()] * 5) for _ in range(50)])
        for _ in range(3)
    ]
    for thread in adders:
        thread.start()
    for thread in adders:
        thread.join()
    done.set()
    flusher.join()
    taken.extend(concentrator.flush(force=True))
    assert _totals(taken)[0] == 750


def test_rules_can_be_replaced(clock, make_span):
    """A changed /info takes effect with the next chunk."""
    concentrator = Concentrator(clock=clock)
    span = make_span(meta={"span.kind": "batch"}, metrics={})
    concentrator.add_chunk([span])
    concentrator.rules = AggregationRules(span_kinds=["batch"])
    concentrator.add_chunk([span])
    assert _totals(concentrator.flush(force=True))[0] == 1


def test_default_sketch_is_ours():
    """Durations go into the project's own sketch unless another is handed in."""
    concentrator = Concentrator()
    assert concentrator._new_sketch is LatencySketch


def test_spans_of_a_shape_count_as_the_spans_themselves(clock, make_span):
    """Over buckets, changed rules and a full bucket, shapes are counted where their spans would be."""
    first, second = AggregationRules(), AggregationRules(additional_tags=["team"], span_kinds=["server"])
    concentrators = [Concentrator(first, CardinalityLimits(resources=2), clock) for _ in range(2)]
    shapes = [
        StatsShape(make_span(resource=f"r{number}", meta={"team": "a", "span.kind": "server"}), recurs=number != 1)
        for number in range(4)
    ]
    counted = []
    for rules in (first, second, first):
        for concentrator in concentrators:
            concentrator.rules = rules
        batch = []
        for number in range(60):
            shape, end = shapes[number % 4], _BASE + number * BUCKET_NS // 20
            duration = 1_000 + number
            batch.append((shape, end, duration))
            concentrators[1].add_chunk([{**shape.span, "start": end - duration, "duration": duration}])
            if len(batch) > number % 17:  # one, and several at once
                concentrators[0].add_counted(batch)
                batch = []
        concentrators[0].add_counted(batch)
    for concentrator in concentrators:
        buckets = concentrator.flush(force=True)
        counted.append(
            [
                (bucket.start_ns, key, group.hits, group.top_level_hits, group.duration_ns, group.ok.to_bytes())
                for bucket in buckets
                for key, group in bucket.groups.items()
            ]
        )
    assert counted[0] == counted[1]
    assert concentrators[0].take_collapsed() == concentrators[1].take_collapsed() != {}


def test_a_bucket_remembers_so_many_shapes(clock, make_span, monkeypatch):
    """Shapes beyond the bound are counted all the same."""
    monkeypatch.setattr(concentrator_module, "_SHAPES_MAX", 3)
    concentrator = Concentrator(clock=clock)
    concentrator.add_counted((StatsShape(make_span(), recurs=True), _BASE, 1) for _ in range(10))
    (bucket,) = concentrator.flush(force=True)
    assert _totals([bucket]) == (10, 10)
    assert len(bucket.by_shape) == 3
