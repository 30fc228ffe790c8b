"""Traces on the terminal while they arrive."""

import io

import pytest

from ddtrace_manual._cli.live import Live
from ddtrace_manual._receiver import FakeAgent, TraceStore, TraceViewer, clean_span


def span(trace_id=1, span_id=2, parent_id=0, **fields):
    raw = {"service": "s", "name": "work", "resource": "r", "start": 1_000, "duration": 100}
    return clean_span({**raw, "trace_id": trace_id, "span_id": span_id, "parent_id": parent_id, **fields})


@pytest.fixture
def viewer():
    return TraceViewer()


def live_of(viewer, trees=20):
    stream = io.StringIO()
    return Live(viewer, trees=trees, stream=stream), stream


def test_a_trace_is_drawn_once_it_is_quiet(viewer):
    live, stream = live_of(viewer)
    viewer.store.add([[span()]])
    live.draw(60.0)
    assert stream.getvalue() == ""
    viewer.store.add([[span(1, 3, 2, service="other")]])  # from another process
    live.draw(0.0)
    assert "2 spans · 2 services" in stream.getvalue()
    live.draw(0.0)
    assert stream.getvalue().count("trace 0") == 1


def test_the_summary(viewer):
    live, stream = live_of(viewer, trees=0)
    viewer.store.add([[span(duration=3_000_000), span(1, 3, 2, name="query", duration=2_000_000, error=1)]])
    live.finish()
    lines = stream.getvalue().splitlines()
    assert lines[1] == "1 trace · 2 spans · 1 with errors"
    assert lines[2] == "slowest: 3.0 ms  work  r  trace 00000000000000000000000000000001"
    assert lines[4].split() == ["span", "name", "spans", "errors", "total", "self", "time", "share"]
    assert lines[5].split() == ["query", "1", "1", "2.0", "ms", "2.0", "ms", "67", "%"]
    assert lines[6].split() == ["work", "1", "0", "3.0", "ms", "1.0", "ms", "33", "%"]


def test_nothing_arrived(viewer):
    live, stream = live_of(viewer)
    live.finish()
    assert stream.getvalue() == "\nNo traces arrived.\n"


def test_traces_that_are_gone_count(viewer):
    """The store keeps some of the traces, the summary counts all of them."""
    viewer.store.max_traces = 3
    live, stream = live_of(viewer, trees=0)
    viewer.store.add([[span(number, name=f"n{number}", resource="")] for number in range(1, 21)])
    live.finish()
    assert "20 traces · 20 spans · no errors" in stream.getvalue()
    assert "… 5 more names" in stream.getvalue()


def test_floods_are_not_drawn(viewer):
    """So many a second; the others are counted."""
    live, stream = live_of(viewer, trees=2)
    viewer.store.add([[span(number)] for number in range(1, 11)])
    live.draw(0.0)
    live.finish()
    assert stream.getvalue().count("\ntrace ") == 2
    assert "… 8 traces not drawn (--trees 2)" in stream.getvalue()


def test_long_traces_are_cut():
    viewer = TraceViewer(store=TraceStore(max_bytes=150_000))
    live, stream = live_of(viewer)
    viewer.store.add([[span(1, number, number - 1) for number in range(1, 400)]])
    live.draw(0.0)
    assert "more lines" in stream.getvalue()
    assert "more spans of this trace were not kept" in stream.getvalue()


def test_hostile_names_do_not_reach_the_terminal(viewer):
    live, stream = live_of(viewer)
    viewer.store.add([[span(name="\x1b[31mred\r\n", resource="\x1b]0;title\x07" + "x" * 300, error=1)]])
    live.finish()
    assert "\x1b" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) < 150


def test_an_encoding_without_the_characters(viewer):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    live = Live(viewer, trees=1, stream=stream)
    viewer.store.add([[span(), span(1, 3, 2)]])
    live.finish()
    stream.seek(0)
    assert "\\u2514" in stream.read()


def test_colours_on_terminals_only(viewer, monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    viewer.store.add([[span()]])
    for variable, expected in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", variable)
        stream = Terminal()
        Live(viewer, trees=5, stream=stream).finish()
        assert ("\x1b[" in stream.getvalue()) == expected


def test_it_tells_when_the_other_agent_does_not_answer():
    with FakeAgent() as agent, TraceViewer(forward_url=agent.url) as viewer:
        live, stream = live_of(viewer)
        agent.stop()
        request = _request()
        for _ in range(2):
            assert viewer.reply(request).status == 200
            live.run_until(_after(1))
        agent.start()
        viewer.reply(request)
        live.run_until(_after(1))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{agent.url} does not answer: ")
    assert lines[1] == f"{agent.url} answers again"


def _request():
    from ddtrace_manual._receiver.http_server import Request

    return Request("GET", "/info", "", {}, b"", b"")


def _after(rounds):
    """Return a condition that holds after so many rounds of the loop."""
    answers = iter([False] * rounds)
    return lambda: next(answers, True)
