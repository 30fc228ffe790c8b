"""Traces put together from their parts, and the bounds of the store."""

import threading
import time

import pytest

from ddtrace_manual._receiver import TraceStore


def test_parts_are_put_together(make_span):
    """Parts that name the upper half of the id and parts that do not are one trace; another upper half is another."""
    store = TraceStore()
    store.add([[make_span(1, 10)]])
    store.add([[make_span(1, 11, 10, service="other", meta={"_dd.p.tid": "00000000000000aa"})]])
    store.add([[make_span(1, 12, 10)], [make_span(1, 13, meta={"_dd.p.tid": "00000000000000bb"})]])
    first, second = (trace for trace, _ in store.traces())
    assert (first.trace_id_hex, first.summary()["spans"], list(first.services)) == (
        f"{0xAA:016x}{1:016x}",
        3,
        ["s", "other"],
    )
    assert second.trace_id_hex == f"{0xBB:016x}{1:016x}"
    assert store.total == 2


def test_the_root_stands_for_the_trace(make_span):
    """Until the root arrives, the earliest span does."""
    store = TraceStore()
    store.add([[make_span(1, 12, 11, name="late", start=50), make_span(1, 11, 10, name="early", start=20)]])
    assert store.changes()[2][0]["name"] == "early"
    store.add([[make_span(1, 10, name="root", start=30, duration=500, error=1)]])
    summary = store.changes()[2][0]
    assert (summary["name"], summary["duration"], summary["errors"]) == ("root", 510, 1)


def test_spans_that_are_sent_again_count_once(make_span):
    store = TraceStore()
    store.add([[make_span()]])
    store.add([[make_span()]])
    assert store.changes()[2][0]["spans"] == 1


def test_running_spans_are_replaced_by_their_later_states(make_span):
    store = TraceStore()
    store.add([[make_span(duration=5, metrics={"_dd.partial_version": 1}), make_span(1, 3, 2, duration=1)]])
    store.add([[make_span(duration=9, metrics={"_dd.partial_version": 2})]])
    store.add([[make_span(duration=20)]])
    (summary,) = store.changes()[2]
    assert (summary["spans"], summary["duration"]) == (2, 20)
    size = store.size_bytes
    store.clear()
    assert (store.size_bytes, size > 0) == (0, True)


def test_the_traces_that_changed_longest_ago_go(make_span):
    gone = []
    store = TraceStore(max_traces=2, on_removed=lambda trace: gone.append(trace.low))
    for trace_id in (1, 2):
        store.add([[make_span(trace_id)]])
    store.add([[make_span(1, 99)]])
    store.add([[make_span(3)]])
    assert gone == [2]
    assert [trace.low for trace, _ in store.traces()] == [1, 3]
    assert store.find("2") is None


def test_bytes_are_bounded(make_span):
    """Old traces go first; a trace that is too large by itself keeps what fits and says how much is missing."""
    store = TraceStore(max_bytes=5000)
    for trace_id in range(1, 20):
        store.add([[make_span(trace_id, meta={"k": "v" * 1000})]])
        assert store.size_bytes <= 5000
    store.add([[make_span(77, number, meta={"k": "v" * 1000}) for number in range(1, 50)]])
    ((trace, spans),) = store.traces()
    assert store.size_bytes <= 5000
    assert trace.omitted == 49 - len(spans)
    assert len(spans) > 1


@pytest.mark.parametrize("count", [600])
def test_default_bounds(make_span, count):
    store = TraceStore()
    store.add([[make_span(trace_id)] for trace_id in range(1, count + 1)])
    assert len(store.traces()) == 500
    assert store.max_bytes == 64 * 1024 * 1024


def test_changes_since_a_version(make_span):
    store = TraceStore()
    store.add([[make_span(1)]])
    version, keys, changed = store.changes()
    assert (keys, len(changed)) == ([1], 1)
    store.add([[make_span(2)]])
    later, keys, changed = store.changes(version)
    assert (later > version, keys, [each["key"] for each in changed]) == (True, [2, 1], ["2"])


IDS = (0x6B0E3A1300000000 << 64) | 0x0BCDEF0123456789


@pytest.mark.parametrize(
    "text",
    [
        f"{IDS:032x}", f"{IDS:032X}", f"0x{IDS:032x}", str(IDS), f"{IDS & (1 << 64) - 1:016x}", str(IDS & (1 << 64) - 1),
        "abcdef0123456790", "0xABCDEF0123456790", str(0xABCDEF0123456790), "bcdef012345",
        f'{{"dd.trace_id": "{IDS:032x}", "message": "x"}}', f"[dd.trace_id={IDS & (1 << 64) - 1} dd.span_id=7] hello",
        f"trace={IDS:032x},", "FINDME", "key:find", "card", "2.5", "boom", "Grüße",
    ],
)  # fmt: skip
def test_search_finds(make_span, text):
    """By ids in every form, alone or in a line of a log, and by any text of a span."""
    store = TraceStore()
    store.add([[make_span(5, 6)]])
    span = make_span(
        IDS & (1 << 64) - 1, 0xABCDEF0123456790, resource="card", metrics={"amount": 2.5},
        meta={"_dd.p.tid": "6b0e3a1300000000", "key": "findme", "greeting": "GRÜSSE"},
        span_events=[{"name": "boom", "time_unix_nano": 1}],
    )  # fmt: skip
    store.add([[span]])
    assert store.search(text) == [2]


@pytest.mark.parametrize("text", ["absent", "service", "meta", "0000000000000000", "1234567890123", "'", "\\"])
def test_search_does_not_find(make_span, text):
    """Field names of the storage are no content."""
    store = TraceStore()
    store.add([[make_span(5, 6)]])
    assert store.search(text) == []


def test_empty_search_finds_all(make_span):
    store = TraceStore()
    store.add([[make_span(5, 6)], [make_span(7, 8)]])
    assert store.search(" ") == [1, 2]
    assert store.find("#1")[0]["trace_id"] == "5"
    assert store.find("#9") is None
    assert store.find("#x") is None


def test_due_traces_are_returned_once_they_are_quiet(make_span):
    store, drawn = TraceStore(), {}
    store.add([[make_span(1)]])
    assert store.due(drawn, 60.0) == []
    assert [trace.low for trace, _ in store.due(drawn, 0.0)] == [1]
    assert store.due(drawn, 0.0) == []
    store.add([[make_span(1, 3)]])
    assert len(store.due(drawn, 0.0)) == 1
    store.clear()
    assert (store.due(drawn, 0.0), drawn) == ([], {})


def test_waiting_ends_with_a_change_a_wake_up_or_the_end(make_span):
    store = TraceStore()
    woken = threading.Event()

    def wait(**options):
        store.wait(0, 60.0, **options)
        woken.set()

    for options, act in (({}, lambda: store.add([[make_span()]])), ({}, store.close)):
        waiter = threading.Thread(target=wait, kwargs=options)
        waiter.start()
        act()
        assert woken.wait(10)
        waiter.join()
        woken.clear()
    store = TraceStore()
    waiter = threading.Thread(target=wait, kwargs={"until_woken": True})
    waiter.start()
    while not woken.is_set():
        store.wake()
        time.sleep(0.001)
    waiter.join()
    store.wait(5, 60.0, until_woken=True)  # another version already
