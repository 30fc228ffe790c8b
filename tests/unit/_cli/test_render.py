"""The waterfall: what a person sees, and that nothing a span says can break it."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ddtrace_manual._cli.render import format_duration, render_trace

MS = 1_000_000


def span(span_id, parent_id=0, *, name="op", resource="", service="web", start=0, duration=10, error=0, **meta):
    """Make a span in the v0.4 layout; times in milliseconds."""
    made = {"trace_id": 0xABC, "span_id": span_id, "name": name, "resource": resource, "service": service}
    made |= {"start": start * MS, "duration": duration * MS, "meta": meta}
    return made | ({"parent_id": parent_id} if parent_id else {}) | ({"error": 1} if error else {})


GOOD = [
    span(3, 2, name="web.request", resource="POST /charge", service="payments", start=10, duration=20),
    span(1, name="web.request", resource="POST /orders", duration=40, **{"_dd.p.tid": "67f2a1b300000000"}),
    span(2, 1, name="http.request", resource="POST /charge", start=8, duration=24),
    span(4, 1, name="sql", resource="INSERT", start=34, duration=4),
]


def test_tree_with_service_resource_duration_and_bar():
    """Children hang below their parents in order of start, on one time scale."""
    assert render_trace(GOOD, width=90).splitlines() == [
        "trace 67f2a1b3000000000000000000000abc · 4 spans · 2 services · 40.0 ms · no errors",
        "web.request  POST /orders                    web         40.0 ms  ██████████████████████",
        "├─ http.request  POST /charge                web         24.0 ms      █████████████",
        "│  └─ web.request  POST /charge              payments    20.0 ms       ███████████",
        "└─ sql  INSERT                               web          4.0 ms                    ██",
    ]


def test_errors_are_marked_and_explained():
    """A failed span has a cross and a line with type and message below it."""
    spans = [
        span(1, error=1, resource="op"),
        span(2, 1, error=1, **{"error.type": "ValueError", "error.message": "no\nway"}),
        span(3, 1),
    ]
    lines = render_trace(spans, width=80).splitlines()
    assert lines[0].endswith("2 errors")
    assert [line for line in lines if line.endswith("✗")] == [lines[1], lines[2]]
    assert lines[3] == "│  " + "   " + "✗ ValueError: no way"
    assert not lines[4].endswith("✗")
    refused = span(1, error=1, **{"error.type": "402", "error.message": "402 Payment Required"})
    assert render_trace([refused], width=80).splitlines()[2].strip() == "✗ 402 Payment Required"


def test_unknown_parents_cycles_and_repeated_ids_are_drawn_once():
    """Every span is drawn exactly once, whatever the parent ids say."""
    spans = [
        span(1, 99, name="orphan"),
        span(2, 3, name="cycle-a"),
        span(3, 2, name="cycle-b"),
        span(4, 4, name="own-parent"),
        span(1, name="twin"),
    ]
    text = render_trace(spans)
    assert all(text.count(made["name"]) == 1 for made in spans)
    assert "↖ orphan" in text


def test_colour_changes_nothing_but_colour():
    """Without its escape sequences the coloured form is the plain one."""
    import re

    spans = [*GOOD, span(5, 1, error=1, **{"error.type": "E"})]
    coloured = render_trace(spans, color=True)
    assert "\x1b[31m" in coloured
    stripped = [line.rstrip() for line in re.sub(r"\x1b\[\d+m", "", coloured).splitlines()]
    assert stripped == render_trace(spans).splitlines()


def test_empty_and_bare_spans():
    """No spans, and spans without any field, are still something to print."""
    assert render_trace([]) == "no spans"
    assert "?" in render_trace([{}])
    assert render_trace([{"error": 1, "meta": None}]).endswith("✗")


def test_very_deep_trace():
    """A trace deeper than Python's recursion limit and any terminal is drawn within the width."""
    lines = render_trace([span(n + 1, n, name=f"level-{n}") for n in range(3000)], width=80).splitlines()
    assert len(lines) == 3001
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_500, "1.5 µs"),
        (12_400_000, "12.4 ms"),
        (1_250_000_000, "1.25 s"),
        (180_000_000_000, "3.0 min"),
        (-2_000_000, "-2.0 ms"),
    ],
)
def test_durations(duration_ns, text):
    """A duration has the unit that keeps it short."""
    assert format_duration(duration_ns) == text


anything = st.none() | st.integers() | st.text() | st.floats() | st.booleans()
span_like = st.dictionaries(
    st.sampled_from(["name", "resource", "service", "start", "duration", "span_id", "parent_id", "error", "trace_id"]),
    anything | st.integers(0, 4),
).map(lambda fields: {**fields, "meta": {"error.message": "\x1b[2J\u202e", "error.type": "E"}})


@given(st.lists(span_like, max_size=8), st.integers(0, 200), st.booleans())
@example([{"duration": -1e307, "start": 1e308}, {"start": float("nan"), "duration": float("inf")}], 0, False)
def test_hostile_spans_give_harmless_text(spans, width, color):
    """Whatever spans contain, the result has no control characters of theirs and every span has a line."""
    text = render_trace(spans, width=width, color=color)
    for code in ("1m", "2m", "31m", "32m", "33m", "34m", "35m", "36m", "0m"):
        text = text.replace(f"\x1b[{code}", "")
    assert not [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf")]
    assert len(text.splitlines()) >= len(spans) + bool(spans)
