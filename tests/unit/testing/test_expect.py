"""Trees of spans as text: what is accepted, what is refused, and how a difference reads."""

import threading

import pytest

import ddtrace_manual as dd
from ddtrace_manual.testing import _expect


@pytest.fixture
def shop(spans):
    """Two traces with errors, tags of several types, and a span of the OpenTelemetry API."""
    tracer = spans.provider.get_tracer("library")
    with dd.span("http.request", resource="GET /users", service="shop", span_type="web", kind="server") as root:
        root.set_tags({"http.status_code": 200, "list": ["a", 1], "rate": 0.5, "flag": True, "text": 'say "x, y]"'})
        with dd.span("db.query", tags={"db.system": "postgresql"}):
            pass
        with tracer.start_as_current_span("GET cache"):
            pass
    try:
        with dd.span("job"), dd.span("step"):
            raise ValueError("broken")
    except ValueError:
        pass
    return spans


@pytest.mark.parametrize(
    "text",
    [
        "http.request\n  db.query\n  GET cache\njob\n  step",
        "\n\n      http.request\n          db.query\n\n          GET cache\n      job\n       step\n   ",
        "http.request\n\tdb.query\n\tGET cache\njob\n\tstep",
        "http.*\n  *\n  GET ?ache\n*\n  step",
        "http.request\n  db.query\n  internal\njob\n  step",
        (
            'http.request [resource="GET /users", service=shop, type=web, kind=server, error=false]\n'
            "  db.query [db.system=postgresql, service=shop]\n  GET cache [kind=internal]\n"
            "job [error=true]\n  step [error=ValueError, error_type=ValueError, error.message=broken]"
        ),
        (
            'http.request [http.status_code=200, list="[\'a\', 1]", rate=0.5, flag=true, text="say \\"x, y]\\""]\n'
            "  db.query\n  GET cache\njob\n  step"
        ),
        (
            "http.request [http.status_code=200.0, rate=0.50, list.1=1, text=*, missing=None, resource=GET *]\n"
            "  db.query [db.system=post*,]\n  GET cache\njob\n  step [error=Value*]"
        ),
    ],
)
def test_a_fitting_tree_is_accepted(shop, text):
    """Indentation, patterns, properties, tags and mapped tags all compare as described."""
    shop.assert_tree(text)
    shop.assert_tree(text, ordered=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http.request",
        "http.request\n  GET cache\n  db.query\njob\n  step",
        "http.request\n  db.query\n    GET cache\njob\n  step",
        "http.request\n  db.query\n  GET cache\njob\nstep",
        "http.request\n  db.query\n  GET cache\njob\n  step\n  step",
        "http.request\n  db.query [db.system=mysql]\n  GET cache\njob\n  step",
        "http.request\n  db.query [absent=*]\n  GET cache\njob\n  step",
        "http.request\n  db.query\n  GET cache\njob\n  step [error=KeyError]",
        "http.request [http.status_code=201]\n  db.query\n  GET cache\njob\n  step",
        "http.request [flag=1]\n  db.query\n  GET cache\njob\n  step",
        "http.request [http.status_code=ok]\n  db.query\n  GET cache\njob [error=false]\n  step",
    ],
)
def test_another_tree_is_refused(shop, text):
    """Order, nesting, number, names and details all count."""
    with pytest.raises(AssertionError, match="the recorded spans differ"):
        shop.assert_tree(text)


def test_the_difference_shows_only_what_differs(shop):
    """Lines that fit read the same on both sides; the others show what was recorded of what was asked for."""
    with pytest.raises(AssertionError) as caught:
        shop.assert_tree("""
            http.request [service=shop]
              db.query [db.system=mysql, service=shop]
              GET cache [absent=1]
            job
              step
              more
        """)
    assert str(caught.value).splitlines() == [
        "the recorded spans differ (- expected, + recorded):",
        "  http.request [service=shop]",
        "-   db.query [db.system=mysql, service=shop]",
        "+   db.query [db.system=postgresql, service=shop]",
        "-   GET cache [absent=1]",
        "+   GET cache",
        "  job",
        "    step",
        "-   more",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\n    b\n  c", "indented"),
        ("a [b=1, nothing]", "key=value"),
        ('a [b="open]', "key=value"),
    ],
)
def test_unreadable_text_is_reported(spans, text, reason):
    """A text with a mistake in it is a mistake of the test, and no difference."""
    with pytest.raises(ValueError, match=reason):
        spans.assert_tree(text)


@pytest.mark.parametrize("text", ["list[int]", "GET [id]", "a [b]"])
def test_names_may_have_brackets(spans, text):
    """Brackets without `key=` belong to the name."""
    with dd.span(text):
        pass
    spans.assert_tree(text)


def test_concurrent_siblings_compare_in_any_order(spans):
    """Each expected span is paired with one that fits, whatever the order and however greedy a pattern is."""
    with dd.span("root"):
        for name, child in [("c", "x"), ("a", "y"), ("b", "z"), ("a", "x")]:
            with dd.span(name), dd.span(child):
                pass
    spans.assert_tree("root\n  *\n    *\n  a\n    x\n  a\n    y\n  b\n    *", ordered=False)
    with pytest.raises(AssertionError) as caught:
        spans.assert_tree("root\n  a\n    y\n  b\n  c\n    x\n  d\n  a\n    x", ordered=False)
    assert str(caught.value).splitlines()[1:] == [
        "  root",
        "    a",
        "      y",
        "    b",
        "+     z",
        "    c",
        "      x",
        "-   d",
        "    a",
        "      x",
    ]


def test_rendering_reads_back(shop):
    """What `tree` shows is a text that `assert_tree` accepts."""
    text = shop.tree("resource", "text", "list", "rate", "flag", "error_type")
    assert text.splitlines()[0].startswith('http.request [resource=GET /users, text="say \\"x, y]\\""')
    shop.assert_tree(text)


def test_deep_traces_are_compared(spans):
    """Nesting is not bounded by the interpreter's recursion limit."""
    stack = []
    for _ in range(1500):
        scope = dd.span("level")
        stack.append(scope)
        scope.__enter__()
    for scope in reversed(stack):
        scope.__exit__(None, None, None)
    expected = "\n".join("  " * depth + "level" for depth in range(1500))
    spans.assert_tree(expected)
    assert spans.tree() == expected


def test_threads_make_one_tree(spans):
    """Spans that ended in several threads nest by their parents."""
    with dd.span("root") as root:
        threads = [
            threading.Thread(target=lambda: dd.start_span("work", parent=root).end(), name=str(each))
            for each in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    spans.assert_tree("root\n" + "  work\n" * 4)


def test_an_empty_text_stands_for_nothing(spans):
    """Without spans the empty tree fits."""
    spans.assert_tree("")
    assert spans.tree() == ""
    assert _expect.parse("  \n") == []
