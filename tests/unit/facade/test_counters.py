"""What `counters()` says adds up, whatever happened before."""

import contextlib
import os
import random
import subprocess
import sys
import textwrap

import pytest

import ddtrace_manual as dd

NOWHERE = "http://127.0.0.1:9"


def check(expected_open=None):
    """Check that every span is in one place; return the counters."""
    counts = dd.counters()
    dropped = sum(counts.dropped_spans.values())
    assert counts.created_spans == counts.finished_spans + counts.open_spans
    assert counts.finished_spans == counts.queued_spans + counts.sent_spans + counts.filtered_spans + dropped
    if expected_open is not None:
        assert counts.open_spans == expected_open
    return counts


class Life:
    """Things an application does, in random order."""

    def __init__(self, seed, url):
        self.random = random.Random(seed)
        self.url = url
        self.created = 0
        self.open = []

    def configure(self):
        settings = {"trace_partial_flush_enabled": self.random.random() < 0.7}
        if self.random.random() < 0.3:
            settings["trace_writer_buffer_size_bytes"] = 2_000
        if self.random.random() < 0.3:
            settings["trace_filters"] = [lambda spans: spans if self.random.random() < 0.5 else spans[1:]]
        if self.random.random() < 0.3:
            settings["trace_sample_rate"] = 0.5
        dd.configure(service="s", agent_url=self.random.choice([self.url, NOWHERE]), **settings)

    def shutdown(self):
        dd.shutdown(0.2)

    def flush(self):
        dd.flush(0.2)

    def trace(self):
        with dd.span("root") as root:
            for _ in range(self.random.randrange(4)):
                with dd.span("child", resource="r" * self.random.choice([1, 3_000])):
                    pass
                self.created += root.is_recording()
        self.created += hasattr(root, "segment")

    def start(self):
        parent = self.random.choice([None, *self.open])
        span = dd.start_span("open", **({} if parent is None else {"parent": parent}))
        if span.is_recording():
            self.created += 1
            self.open.append(span)

    def end(self):
        if self.open:
            self.open.pop(self.random.randrange(len(self.open))).end()

    def refused(self):
        before = dd.counters()
        with contextlib.suppress(Refused):  # not raised while tracing is shut down
            dd.start_span("refused", tags=Hostile())
        self.created += dd.counters().created_spans - before.created_spans
        assert dd.counters().open_spans == before.open_spans


class Refused(BaseException):
    """What no guard against errors catches."""


class Hostile(dict):
    """A mapping that cannot be read."""

    def items(self):
        raise Refused


@pytest.mark.parametrize("seed", range(12))
def test_counters_add_up_over_the_whole_life_of_a_process(fresh_setup, fake_agent, seed):
    life = Life(seed, fake_agent.url)
    life.configure()
    steps = (life.configure, life.shutdown, life.flush, *(life.trace, life.start, life.end) * 4, life.refused)
    for _ in range(60):
        life.random.choice(steps)()
        assert dd.counters().created_spans == life.created
    while life.open:
        life.end()
    dd.flush(0.2)
    dd.shutdown(3.0)
    assert check(0).queued_spans == 0


def test_counters_go_on_after_shutdown(fresh_setup, fake_agent):
    for number in range(1, 4):
        dd.configure(service="s", agent_url=fake_agent.url)
        with dd.span("root"):
            pass
        assert dd.shutdown()
        counts = check(0)
        assert (counts.created_spans, counts.sent_spans) == (number, number)


def test_a_span_that_ends_after_shutdown_is_counted_once(fresh_setup, fake_agent):
    dd.configure(service="s", agent_url=fake_agent.url)
    before = dd.start_span("before")
    dd.shutdown()
    assert check(1).created_spans == 1
    dd.configure(service="s", agent_url=fake_agent.url)
    assert check(1).created_spans == 1
    before.end()
    dd.flush()
    assert check(0).created_spans == 1


PROGRAM = """
import os
import ddtrace_manual as dd
dd.configure(service="s", agent_url="http://127.0.0.1:9")
inherited = dd.start_span("inherited")
with dd.span("parent"):
    with dd.span("ended"):
        pass
    reading, writing = os.pipe()
    if not os.fork():
        assert dd.counters() == dd.counters().__class__(), dd.counters()
        with dd.span("child"):
            pass
        left = dd.start_span("left")
        inherited.end()
        counts = dd.counters()
        os.write(writing, repr((counts.created_spans, counts.open_spans, counts.finished_spans)).encode())
        os._exit(0)
    os.wait()
    counts = dd.counters()
    print(os.read(reading, 100).decode(), (counts.created_spans, counts.open_spans, counts.finished_spans))
dd.shutdown(0.1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_counts_its_own_spans(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run([sys.executable, "-W", "ignore", str(program)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "(2, 1, 1) (3, 2, 1)", done.stderr
