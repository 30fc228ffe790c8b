"""Regular expressions of the Agent, matched in bounded time (spec/trace-export.md §9.3)."""

from __future__ import annotations

import logging
import threading
import time
import types

import pytest

from ddtrace_manual._agent.info import AgentInfo
from ddtrace_manual._stats import TraceFilters, expressions
from ddtrace_manual._stats.expressions import UnsafeExpressionError, compile_search

SLOW = r"^GET /(\w+/?)+$"


@pytest.fixture
def without_re2(monkeypatch):
    """Match with `re`, whether google-re2 is installed or not."""
    monkeypatch.setattr(expressions, "_load_re2", lambda: None)


@pytest.mark.parametrize(
    "text",
    [
        SLOW,
        "(a+)+b",
        "(a|a)*b",
        "(a*)*",
        "(a?){30}b",
        "a?" * 30 + "a" * 30,
        "(a|a)" * 30,
        r"(\d{1,3})+x",
        r"\w*\w*\w*\w*x",
        r"([^a]|B)*c",
        "((b+)+)+",
        "(?=a)b",
        r"(a)\1",
        "[[:alpha:]]+",
    ],
)
@pytest.mark.usefixtures("without_re2")
def test_expressions_that_may_take_too_long_are_refused(text):
    """So is what RE2 does not know."""
    with pytest.raises(UnsafeExpressionError):
        compile_search(text)


@pytest.mark.parametrize(
    ("text", "found", "missed"),
    [
        ("^GET /health", "GET /healthz", "POST /health"),
        (r"^(GET|POST) /api/v\d+/users/[^/]+$", "GET /api/v12/users/x", "GET /api/v1/users/x/y"),
        (r"(\d{1,3}\.){3}\d{1,3}", "at 10.1.2.3", "10.1.2"),
        (".*foo.*", "a foo", "bar"),
        ("(ab|cd)+x", "abcdx", "abcd"),
        ("^a(b|)c$", "ac", "abb"),
        (r"\Aé[à-ü]|\W-", "éà", "x"),
        ("x{200}", "x" * 200, "x" * 199),
        ("(?i:HEALTH)", "health", "heal"),
        (r"[^\s\W]+!", "a!", "!"),
    ],
)
@pytest.mark.usefixtures("without_re2")
def test_other_expressions_are_matched(text, found, missed):
    """Usual expressions work without google-re2."""
    search = compile_search(text)
    assert (search(found), search(missed)) == (True, False)


@pytest.mark.usefixtures("without_re2")
def test_only_the_beginning_of_a_long_text_is_searched():
    """5,000 characters, fewer where an expression can match in several ways."""
    search = compile_search("x")
    assert search("a" * 4_999 + "x")
    assert not search("a" * 5_000 + "x")
    ambiguous = compile_search(r"^\w*\w*\w*x")
    assert ambiguous("a" * 100 + "x")
    assert not ambiguous("a" * 2_000 + "x")


@pytest.mark.parametrize(
    "text",
    [r"\w*x", r"\w*?\w*?x", r"(?i:A*A*x)", r"^\w*\w*x", "a{0,90}a{0,90}x", "a{0,90}?a{0,90}?x", "(a?)" * 10 + "x"],
)
@pytest.mark.usefixtures("without_re2")
def test_the_costliest_expressions_take_less_than_50_ms(text):
    """The best of three searches in a text as long as any: other work on the machine does not count."""
    search, searched, used = compile_search(text), "a" * 6_000, []
    for _ in range(3):
        begin = time.thread_time()
        assert not search(searched)
        used.append(time.thread_time() - begin)
    assert min(used) < 0.05


def test_deep_nesting_is_judged_quickly():
    """The time to judge an expression does not double with each level."""
    begin = time.perf_counter()
    expressions._limit("(" * 60 + "a" + ")?" * 60)
    assert time.perf_counter() - begin < 5


@pytest.mark.usefixtures("without_re2")
def test_a_hostile_expression_delays_no_thread(make_span, caplog):
    """The entry is refused with one warning that names it and the extra, however often the Agent sends it."""
    info = AgentInfo(ignore_resources=(SLOW,), filter_tags_regex_reject=(f"a:{SLOW}",))
    gaps, stop = [], threading.Event()

    def tick():
        before = time.perf_counter()
        while not stop.wait(0.001):
            now = time.perf_counter()
            gaps.append(now - before)
            before = now

    expected = {SLOW, f"a:{SLOW}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ddtrace_manual._stats.filters._refused", set())
        caplog.set_level(logging.WARNING, "ddtrace_manual")
        thread = threading.Thread(target=tick)
        thread.start()
        resource = "GET /" + "a" * 40 + "-"
        begin = time.process_time()
        for _ in range(2):
            assert not TraceFilters.from_info(info).rejects([make_span(resource=resource, meta={"a": resource})])
        used = time.process_time() - begin
        stop.set()
        thread.join()
    assert used < 0.05
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(expected)
    assert all(any(repr(entry) in message for message in messages) for entry in expected)
    assert all("ddtrace-manual[re2]" in message for message in messages)


def test_google_re2_matches_everything():
    """With the extra the same expression is matched, in linear time, and odd texts do no harm."""
    pytest.importorskip("re2")
    search = compile_search(SLOW)
    assert search("GET /a/b")
    assert not search("GET /" + "a" * 40 + "-")
    assert not search("\ud800")
    with pytest.raises(ValueError, match="missing"):
        compile_search("(")


def test_re2_is_given_what_it_needs(monkeypatch):
    """What the library hands to google-re2, tested with a substitute."""

    class Error(Exception):
        pass

    def compile_(pattern, options):
        assert options.log_errors is False
        if pattern == b"(":
            raise Error("missing )")
        return types.SimpleNamespace(search=lambda text: pattern if pattern in text else None)

    re2 = types.SimpleNamespace(Options=types.SimpleNamespace, compile=compile_, error=Error)
    monkeypatch.setattr(expressions, "_load_re2", lambda: re2)
    assert compile_search("é")("aé\ud800")
    with pytest.raises(ValueError, match="missing"):
        compile_search("(")


@pytest.mark.usefixtures("without_re2")
def test_what_is_no_expression_is_an_error():
    """A broken expression is told apart from an unsafe one."""
    with pytest.raises(ValueError, match="unterminated") as raised:
        compile_search("(")
    assert not isinstance(raised.value, UnsafeExpressionError)
