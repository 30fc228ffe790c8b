"""What happens to a chunk before it is sent."""

import sys

import pytest

from ddtrace_manual._agent import AgentInfo
from ddtrace_manual._encoding.encoded_chunk import EncodedChunk
from ddtrace_manual._export import ChunkSteps, Counters, Pipeline
from ddtrace_manual._model import SegmentRecord, SpanRecord
from ddtrace_manual._stats import AggregationRules, TraceFilters


class Counting:
    """A concentrator that notes what it was given."""

    rules = AggregationRules()

    def __init__(self):
        self.counted = []

    def add_chunk(self, chunk):
        self.counted.append([span["span_id"] for span in chunk])

    def add_counted(self, counted):
        self.counted.append(("shapes", *counted))


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def make(counters, datadog_span):
    def make(priority=1, **steps):
        def map_chunk(segment, spans, *, partial):
            return [datadog_span(span.span_id, priority=priority) for span in spans]

        steps = {"decide": lambda segment: None, "map_chunk": map_chunk, "apply_chunk_tags": lambda *_: None, **steps}
        return Pipeline(ChunkSteps(**steps), counters)

    return make


@pytest.fixture
def chunk(spans, counters):
    made = spans(3)
    counters.accepted_spans = 3
    return made[0].segment, made, False, 1


def ids(dd_spans):
    return [span["span_id"] for span in dd_spans]


def test_a_chunk_is_mapped_and_its_spans_let_go(make, chunk, counters):
    """Without filters and statistics all spans are sent, and references that keep spans alive are broken."""
    root, child, _ = chunk[1]
    child.local_parent = root
    chunk[0].local_root = root
    assert ids(make().process(chunk)) == [1, 2, 3]
    assert child.local_parent is None
    assert chunk[0].local_root is None
    assert counters.accounted_spans == 0


def test_an_open_root_keeps_its_place(make, chunk):
    """The local root of a partially flushed trace is still known to the segment."""
    root = chunk[1][0]
    root.end_ns = None
    chunk[0].local_root = root
    make().process(chunk)
    assert chunk[0].local_root is root


def test_the_decision_is_made_unless_it_was(make, chunk):
    """An undecided segment is decided before it is mapped, a decided one is left alone."""
    decided = []

    def decide(segment):
        decided.append(segment)
        segment.decided = True

    pipeline = make(decide=decide)
    chunk[0].decided = False
    pipeline.process(chunk)
    pipeline.process(chunk)
    assert decided == [chunk[0]]


def test_filters_run_in_order_and_may_drop(make, chunk, counters):
    """Each filter sees what the one before it kept; what is removed is counted; nothing left drops the chunk."""
    pipeline = make(trace_filters=(lambda spans: spans[1:], lambda spans: tuple(spans[:1])))
    assert ids(pipeline.process(chunk)) == [2]
    assert counters.dropped_spans == {"trace_processor": 2}
    assert counters.dropped_chunks == {"trace_processor": 0}
    pipeline = make(trace_filters=(lambda spans: None, lambda spans: 1 / 0))
    assert pipeline.process(chunk) == ()
    assert counters.dropped_spans == {"trace_processor": 5}
    assert counters.dropped_chunks == {"trace_processor": 1}
    assert counters.accounted_spans == 5


@pytest.mark.parametrize(
    "bad",
    [
        lambda spans: 1 / 0,
        lambda spans: True,
        lambda spans: [None],
        lambda spans: sys.exit(),
        lambda spans: spans * 2,
        lambda spans: [SpanRecord()],
        lambda spans: spans.clear() or 1 / 0,
    ],
)
def test_a_bad_filter_changes_nothing(make, chunk, counters, bad, caplog):
    """A filter that raises, exits or returns something else than spans is logged, counted and skipped."""
    pipeline = make(trace_filters=(bad, lambda spans: spans[:2]))
    assert ids(pipeline.process(chunk)) == [1, 2]
    assert counters.events == {"trace_filter_failed": 1}


def test_spans_that_cannot_be_mapped_are_counted(make, chunk, counters, datadog_span):
    """What the mapping leaves out is lost and counted; the rest goes on."""
    pipeline = make(map_chunk=lambda segment, spans, *, partial: [datadog_span(1)])
    assert ids(pipeline.process(chunk)) == [1]
    assert counters.dropped_spans == {"serialization_error": 2}
    assert counters.accounted_spans == 2


def test_a_failing_step_loses_one_chunk(make, chunk, counters):
    """An error in a step loses the chunk, counts each of its spans once, and does not raise."""
    pipeline = make(map_chunk=lambda *args, **kwargs: 1 / 0, trace_filters=(lambda spans: spans[1:],))
    assert pipeline.process(chunk) == ()
    assert counters.dropped_spans == {"trace_processor": 1, "serialization_error": 2}
    assert counters.queued_spans == 0


def test_statistics_see_spans_before_they_are_dropped(make, chunk, counters):
    """With statistics on an unsampled chunk is counted, then dropped and reported with the next payload."""
    pipeline = make(priority=0)
    pipeline.concentrator = Counting()
    assert pipeline.process(chunk) == ()
    assert pipeline.concentrator.counted == [[1, 2, 3]]
    assert (pipeline.dropped_p0_traces, pipeline.dropped_p0_spans) == (1, 3)
    assert (counters.filtered_spans, counters.filtered_chunks, counters.queued_spans) == (3, 1, 0)


class TestDroppedWithoutMapping:
    """Spans of unsampled traces that nothing looks at are counted and dropped without being mapped."""

    @pytest.fixture
    def look_at(self, make, chunk, datadog_span):
        def look_at(*, slow_path_spans=(), priority=0, **steps):
            asked = []

            def map_for_stats(segment, spans, stats_keys):
                asked.append(len(spans))
                return ["counted"], list(slow_path_spans)

            pipeline = make(priority=priority, map_for_stats=map_for_stats, **steps)
            pipeline.concentrator = Counting()
            chunk[0].priority = priority
            return pipeline, asked

        return look_at

    def test_counted_and_dropped(self, look_at, chunk, counters, datadog_span):
        pipeline, _ = look_at(slow_path_spans=[datadog_span(2)], map_chunk=lambda *args, **kwargs: 1 / 0)
        assert pipeline.process(chunk) == ()
        pipeline.record_statistics()
        assert pipeline.concentrator.counted == [[2], ("shapes", "counted")]
        assert (pipeline.dropped_p0_traces, pipeline.dropped_p0_spans) == (1, 3)
        assert (counters.filtered_spans, counters.filtered_chunks, counters.queued_spans) == (3, 1, 0)

    @pytest.mark.parametrize("tag", [("error", 1), ("_dd1.sr.eausr", 1.0), ("_dd.span_sampling.mechanism", 8.0)])
    def test_a_span_that_must_be_sent_is_found(self, look_at, chunk, datadog_span, tag):
        key, value = tag
        span = datadog_span(2)
        (span if key == "error" else span["metrics"])[key] = value
        pipeline, _ = look_at(
            slow_path_spans=[span], map_chunk=lambda *args, **kwargs: [datadog_span(1, priority=0), span]
        )
        assert span in pipeline.process(chunk)
        assert pipeline.concentrator.counted == [[1, 2]]

    @pytest.mark.parametrize("why", ["statistics are off", "kept", "undecided", "span rules", "filters"])
    def test_whatever_looks_at_the_spans_gets_them(self, look_at, chunk, why):
        pipeline, asked = look_at(
            priority=int(why in {"kept", "undecided"}),
            sample_spans=(lambda spans, priority: None) if why == "span rules" else None,
        )
        if why == "undecided":
            chunk[0].priority = None
        if why == "statistics are off":
            pipeline.concentrator = None
        if why == "filters":
            pipeline.filters = TraceFilters.from_info(AgentInfo(ignore_resources=("other",)))
        sent = pipeline.process(chunk)
        assert asked == []
        assert len(sent) == (0 if why in {"span rules", "filters"} else 3)

    def test_a_trace_that_must_be_mapped_as_a_whole(self, look_at, chunk):
        pipeline, _ = look_at()
        pipeline._steps.map_for_stats = lambda *args: None
        assert pipeline.process(chunk) == ()
        assert pipeline.concentrator.counted == [[1, 2, 3]]


def test_kept_traces_pass_with_statistics_on(make, chunk):
    """With statistics on a kept chunk is counted and sent whole."""
    pipeline = make()
    pipeline.concentrator = Counting()
    assert ids(pipeline.process(chunk)) == [1, 2, 3]
    assert pipeline.concentrator.counted == [[1, 2, 3]]


def test_spans_that_are_bytes_are_counted_together(make, chunk, datadog_span):
    """Statistics get the spans of chunks that are all bytes when asked to, once; the other spans of a chunk at once."""
    encoded = iter([(3, []), (2, [datadog_span(3)]), (3, [])])

    def map_directly(segment, spans, *, partial, telling_keys):
        count, others = next(encoded)
        return EncodedChunk([b""], count, others, True, [count])

    pipeline = make(map_directly=map_directly)
    pipeline.takes_bytes = True
    pipeline.concentrator = Counting()
    chunk[0].priority = 1
    for expected in ([], [[3]], [[3]]):
        assert isinstance(pipeline.process(chunk), EncodedChunk)
        assert pipeline.concentrator.counted == expected
    for _ in range(2):
        pipeline.record_statistics()
        assert pipeline.concentrator.counted == [[3], ("shapes", 3, 2, 3)]


def test_a_reduced_chunk_keeps_its_trace_tags(make, chunk):
    """When single-span sampling leaves only later spans, the first of these gets the trace-level tags."""
    tagged = []

    def sample(dd_spans, priority):
        dd_spans[1]["metrics"]["_dd.span_sampling.mechanism"] = 8.0

    pipeline = make(priority=0, sample_spans=sample, apply_chunk_tags=lambda span, segment: tagged.append(span))
    pipeline.concentrator = Counting()
    assert ids(pipeline.process(chunk)) == [2]
    assert ids(tagged) == [2]
    assert pipeline.dropped_p0_traces == 0


def test_the_agents_filters_drop_without_counting_as_unsampled(make, chunk, counters):
    """What the Agent's own filters reject is neither counted in statistics nor reported as dropped."""
    pipeline = make()
    pipeline.concentrator = Counting()
    pipeline.filters = TraceFilters.from_info(AgentInfo(ignore_resources=("r",)))
    assert pipeline.process(chunk) == ()
    assert pipeline.concentrator.counted == []
    assert pipeline.dropped_p0_traces == 0
    assert counters.filtered_spans == 3


def test_a_segment_without_root_is_fine(make, counters, spans):
    """A chunk of a segment that was exported before is processed as any other."""
    made = spans(1, segment=SegmentRecord())
    assert len(make().process((made[0].segment, made, True, 1))) == 1


def test_statistics_that_cannot_be_counted_are_lost_and_counted(make, counters):
    """The traces go on; the loss is among the lost payloads of statistics."""
    pipeline = make()
    pipeline.concentrator = Counting()
    pipeline.concentrator.add_counted = lambda counted: 1 / 0
    pipeline._counted = [1]
    pipeline.record_statistics()
    assert counters.lost_stats_payloads == 1
