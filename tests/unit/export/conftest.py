"""A pipeline without thread, socket or waiting: time passes only when somebody waits."""

from __future__ import annotations

from collections import deque

import pytest

from ddtrace_manual._agent import AgentInfo, Features, SendResult
from ddtrace_manual._encoding import decode_v04, decode_v05, decode_v1
from ddtrace_manual._export import (
    AgentWatch,
    Backoff,
    ChunkPacker,
    ChunkQueue,
    ChunkSteps,
    Counters,
    Delivery,
    ExportWorker,
    Pipeline,
    delivery,
    payloads,
    pipeline,
    rounds,
    worker,
)
from ddtrace_manual._model import SegmentRecord, SpanRecord
from ddtrace_manual.exceptions import AgentConnectionError

DECODERS = {"v0.4": decode_v04, "v0.5": decode_v05, "v1.0": decode_v1}


class ManualClock:
    """Stands still until told."""

    def __init__(self):
        self.now_ns = 1_000_000_000_000

    def wall_ns(self):
        return self.now_ns

    def monotonic_ns(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += round(seconds * 1e9)


class Idle(Exception):
    """The worker would wait for ever."""


def make_spans(count=1, *, segment=None, values=None, **fields):
    """Return finished spans of one segment."""
    segment = segment or SegmentRecord()
    segment.decided = True
    spans = []
    for index in range(count):
        span = SpanRecord()
        span.segment = segment
        span.span_id = fields.get("span_id", 1) + index
        span.end_ns = 2
        span.values = values
        spans.append(span)
    return spans


def dd_span(span_id, *, priority=1, **fields):
    """Return a Datadog span."""
    return {
        "service": "s",
        "name": "n",
        "resource": "r",
        "trace_id": 7,
        "span_id": span_id,
        "start": 1,
        "duration": 1,
        "meta": {},
        "metrics": {"_sampling_priority_v1": float(priority)},
        **fields,
    }


class FakeClient:
    """An Agent client that answers as scripted; afterwards it delivers."""

    def __init__(self, clock):
        self.clock = clock
        self.timeout_s = 2.0
        self.script = deque()
        self.info_script = deque()
        self.info = AgentInfo()
        self.posts = []
        self.info_requests = 0
        self.interrupted = []
        self.wait = None
        self.took_s = 0.0

    def send_traces(self, body, *, chunks, version, extra_headers):
        answer = self.script.popleft() if self.script else "delivered"
        attempts = 0
        while True:
            attempts += 1
            self.clock.advance(self.timeout_s if answer == "timeout" else self.took_s)
            final = answer not in ("network", "timeout", "failed", "overloaded") or attempts >= 6
            if final or self.wait is None or self.wait(0.1):
                break
            answer = self.script.popleft() if self.script else "delivered"
        result = answer if isinstance(answer, SendResult) else make_result(answer, attempts)
        self.posts.append((version, body, chunks, dict(extra_headers), result))
        return result

    def interrupt(self, thread_id):
        self.interrupted.append(thread_id)

    def fetch_info(self):
        self.info_requests += 1
        answer = self.info_script.popleft() if self.info_script else self.info
        if answer == "timeout":
            self.clock.advance(self.timeout_s)
            raise AgentConnectionError("no answer")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def delivered(self):
        """Return the span ids of each delivered payload's chunks."""
        return [ids_of(version, body) for version, body, _, _, result in self.posts if result.delivered]


def ids_of(version, body):
    return [[span["span_id"] for span in chunk] for chunk in DECODERS[version](body)]


STATUS = {"delivered": 200, "failed": 500, "overloaded": 429, "too_large": 413, "unsupported": 404, "rejected": 400}


def make_result(outcome, attempts=1, **fields):
    """Return what a client says about a payload."""
    status = STATUS.get(outcome, 0)
    error = "" if outcome == "delivered" else outcome
    return SendResult(outcome, status=status, attempts=attempts, error=error, **fields)


class FakeStats:
    """Statistics that note when they are flushed."""

    def __init__(self, counters):
        self.counters = counters
        self.flushes = []
        self.due_ns = None
        self.fails = False

    def flush(self, *, force=False):
        self.flushes.append(force)
        if self.fails:
            self.counters.lost_stats_payloads += 1
        return not self.fails

    def flush_if_due(self):
        self.flushes.append("due")
        self.due_ns = None
        return True

    def next_due_ns(self):
        return self.due_ns


class FakeThread:
    """A thread that runs when it is joined."""

    def __init__(self, *, target, name, daemon):
        assert daemon
        self.ident = 1
        self.target, self.name = target, name
        self.started = self.finished = False

    def start(self):
        self.started = True

    def is_alive(self):
        return self.started and not self.finished

    def join(self, timeout=None):
        if not self.finished:
            self.finished = True
            self.target()


class Rig:
    """All parts of the pipeline around a worker that is driven by whoever waits for it."""

    def __init__(self, *, max_bytes=1_000_000, max_payload_bytes=1_000_000, filters=(), start_fails=None):
        self.clock = ManualClock()
        self.counters = Counters()
        self.client = FakeClient(self.clock)
        self.start_fails = start_fails
        self.threads = []
        self.applied = 0
        self.features = Features()
        self.told = []
        self.mapped = lambda segment, spans, *, partial: [dd_span(span.span_id) for span in spans]
        self.queue = ChunkQueue(
            max_bytes=max_bytes,
            wake_bytes=max_bytes // 2,
            wake=lambda early: self.worker.wake(early),  # noqa: PLW0108 - made later
            counters=self.counters,
        )
        self.backoff = Backoff(timeout_s=2.0, clock=self.clock, uniform=lambda: 0.5)
        self.agent = AgentWatch(self.client, clock=self.clock, choose=lambda info: self.features)
        self.pipeline = Pipeline(
            ChunkSteps(
                decide=lambda segment: None,
                map_chunk=lambda segment, spans, *, partial: self.mapped(segment, spans, partial=partial),
                apply_chunk_tags=lambda span, segment: None,
                trace_filters=filters,
            ),
            self.counters,
        )
        self.packer = ChunkPacker(release=self.queue.release, counters=self.counters)
        self.delivery = Delivery(
            self.client,
            backoff=self.backoff,
            packer=self.packer,
            release=self.queue.release,
            counters=self.counters,
            max_payload_bytes=max_payload_bytes,
            headers=lambda counted: {"counted": str(counted)},
            on_rates=lambda rates: self.told.append(("rates", rates)),
            on_state=lambda state: self.told.append(("state", state)),
            on_unsupported=lambda: self.told.append("unsupported"),
            on_sent=lambda *args: self.told.append("sent"),
        )
        self.stats = FakeStats(self.counters)
        self.worker = ExportWorker(
            queue=self.queue,
            pipeline=self.pipeline,
            delivery=self.delivery,
            agent=self.agent,
            client=self.client,
            backoff=self.backoff,
            apply_features=self._apply,
            stats=self.stats,
            counters=self.counters,
            interval_s=1.0,
            clock=self.clock,
            make_wakeup=lambda: DrivenBell(self),
            make_thread=self._make_thread,
        )
        self.client.wait = self.worker.wait_to_retry

    def _make_thread(self, **kwargs):
        if self.start_fails:
            raise (RuntimeError if self.start_fails is True else self.start_fails)("can't start new thread")
        self.threads.append(FakeThread(**kwargs))
        return self.threads[-1]

    def _apply(self):
        self.applied += 1
        self.delivery.use_format(self.features.trace_version, native_events=False)

    def put(self, *span_ids, partial=False, values=None):
        """Hand over a chunk of these spans."""
        spans = [make_spans(1, span_id=span_id, values=values)[0] for span_id in span_ids]
        return self.queue.put(spans[0].segment, spans, partial=partial)

    def turn(self):
        """Let the worker wait for its next round and do it."""
        self.worker._wait()
        self.worker._turn()

    def run_for(self, seconds):
        """Let the worker do all rounds of so many seconds."""
        end_ns = self.clock.now_ns + round(seconds * 1e9)
        while self.clock.now_ns < end_ns:
            try:
                self.turn()
            except Idle:
                return


class DrivenBell:
    """Lets time pass, and the worker work, while somebody waits for it."""

    def __init__(self, rig):
        self.rig = rig
        self.rung = False

    def set(self):
        self.rung = True

    def wait(self, timeout_s=None):
        rig = self.rig
        if self is rig.worker._wakeup or rig.worker._thread is None:
            return self._pass(timeout_s)
        end_ns = rig.clock.now_ns + round(timeout_s * 1e9)
        while not self.rung and rig.clock.now_ns < end_ns:
            rig.turn()
        return self.rung

    def _pass(self, timeout_s):
        if self.rung:
            self.rung = False
            return True
        if timeout_s is None:
            raise Idle
        self.rig.clock.advance(timeout_s)
        return False


@pytest.fixture(autouse=True)
def unlimited_log():
    """Let every test see its log lines, whatever others logged within the minute."""
    for module in (delivery, payloads, pipeline, rounds, worker):
        module._log._last.clear()


@pytest.fixture
def make_rig():
    """Return what makes a whole pipeline to drive."""
    return Rig


@pytest.fixture
def rig():
    """Return a whole pipeline to drive."""
    return Rig()


@pytest.fixture
def clock():
    """Return a clock that stands still."""
    return ManualClock()


@pytest.fixture
def client(clock):
    """Return an Agent client that answers as scripted."""
    return FakeClient(clock)


@pytest.fixture
def result():
    """Return what makes a `SendResult` from an outcome."""
    return make_result


@pytest.fixture
def spans():
    """Return what makes finished spans."""
    return make_spans


@pytest.fixture
def datadog_span():
    """Return what makes a Datadog span."""
    return dd_span


@pytest.fixture
def span_ids():
    """Return what reads the span ids out of a payload."""
    return ids_of
