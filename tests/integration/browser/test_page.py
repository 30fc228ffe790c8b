"""The page of `ddtrace-manual view` in a real browser."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from ddtrace_manual._encoding import V04Encoder

pytestmark = pytest.mark.integration

START = 1_796_094_484_000_000_000
HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>\u202e\x00\"'`${1}"


def span(trace_id, span_id, parent_id=0, *, at_ms=0, ms=5, **fields):
    """Return a span in the form of v0.4."""
    return {
        "service": "shop",
        "name": "work",
        "resource": "GET /",
        "trace_id": trace_id,
        "span_id": span_id,
        "parent_id": parent_id,
        "start": START + at_ms * 1_000_000,
        "duration": ms * 1_000_000,
        "meta": {},
        "metrics": {},
        **fields,
    }


def send(viewer, *chunks):
    """Send traces as a tracer does."""
    answer = requests.put(
        f"{viewer.url}/v0.4/traces", V04Encoder().encode([list(chunk) for chunk in chunks]), timeout=10
    )
    assert answer.status_code == 200


def names(browser):
    """Return the first lines of the list."""
    return browser.js("return [...document.querySelectorAll('#list li .row1 .what')].map(e => e.textContent)")


def set_value(browser, selector, value):
    """Type a value."""
    browser.js(
        "const e = document.querySelector(arguments[0]); if (e.type === 'checkbox') e.checked = arguments[1];"
        " else e.value = arguments[1]; e.dispatchEvent(new Event('input', {bubbles: true}))",
        selector,
        value,
    )


SHOP = [
    span(
        0xABCDEF0123456789,
        11,
        ms=20,
        service="gateway",
        name="http.server.request",
        resource="POST /orders",
        error=1,
        meta={
            "_dd.p.dm": "-3",
            "_dd.p.tid": "6b0e3a1300000000",
            "error.type": "CardDeclined",
            "error.message": "no money",
            "error.stack": "Traceback: line 1",
            "http.request.headers.user-agent": "curl/8",
        },
        metrics={"_sampling_priority_v1": 2.0, "_dd.rule_psr": 1.0, "items": 3.0},
    ),
    span(0xABCDEF0123456789, 12, 11, at_ms=2, ms=10, service="payments", name="charge", resource="card",
         span_events=[{"name": "score", "time_unix_nano": START + 4_000_000, "attributes": {"risk": {"type": 3, "double_value": 0.5}}}],
         span_links=[{"trace_id": 77, "span_id": 78, "attributes": {"why": "retry"}}]),
]  # fmt: skip


def test_traces_appear_and_open(browser, viewer):
    """A trace that arrives is listed without reloading; opened it shows spans of all services, tags, events, links."""
    browser.open(viewer.url)
    browser.until("return document.body.innerText.includes('No traces yet')")
    assert f"DD_TRACE_AGENT_URL={viewer.url}" in browser.text()
    send(viewer, SHOP, [span(77, 78, name="other")])
    browser.until("return document.querySelectorAll('#list li').length === 2")
    assert names(browser) == ["other GET /", "http.server.request POST /orders"]
    browser.js("document.querySelectorAll('#list li')[1].click()")
    browser.until("return document.querySelectorAll('.span').length === 2")
    head = browser.text("#trace")
    assert "6b0e3a1300000000abcdef0123456789" in head
    assert str(0xABCDEF0123456789) in head
    browser.js("document.querySelector('.decision').open = true")
    assert "The rule that matched has the rate 100 %" in browser.text(".decision")
    assert "Mechanism 3" in browser.text(".decision")
    browser.js("document.querySelectorAll('.span')[0].click()")
    info = browser.text(".info")
    for text in ("CardDeclined: no money", "Traceback: line 1", "request: user-agent", "curl/8", "items", "HEADERS"):
        assert text in info, text
    browser.js("document.querySelectorAll('.span')[1].click()")
    info = browser.text(".info")
    for text in ("score", "+4.0 ms", "risk", "0.5", "why", "retry"):
        assert text in info, text
    browser.js("document.querySelector('.info button').click()")  # the link leads to the other trace
    browser.until("return document.querySelector('#trace h2').textContent.startsWith('other')")
    assert browser.console() == []


def test_parts_of_an_open_trace_are_added(browser, viewer):
    """A part that another process sends later joins the trace on the screen."""
    send(viewer, SHOP[:1])
    browser.open(f"{viewer.url}/#trace=6b0e3a1300000000abcdef0123456789")
    browser.until("return document.querySelectorAll('.span').length === 1")
    send(viewer, SHOP[1:])
    browser.until("return document.querySelectorAll('.span').length === 2")
    assert len(names(browser)) == 1


def test_filters_and_search(browser, viewer):
    """Service, resource, errors, duration and text narrow the list; a line of a log finds its trace."""
    send(
        viewer,
        SHOP,
        [span(77, 780000001, name="quick", meta={"customer": "Ada Lovelace"})],
        [span(78, 79, name="slow", resource="GET /big", ms=900)],
    )
    browser.open(viewer.url)
    browser.until("return document.querySelectorAll('#list li').length === 3")
    for selector, value, expected in [
        ("#service", "payments", ["http.server.request"]),
        ("#service", "", ["slow", "quick", "http.server.request"]),
        ("#resource", "big", ["slow"]),
        ("#resource", "", ["slow", "quick", "http.server.request"]),
        ("#errors", True, ["http.server.request"]),
        ("#errors", False, ["slow", "quick", "http.server.request"]),
        ("#slower", "15.5", ["slow", "http.server.request"]),
        ("#slower", "", ["slow", "quick", "http.server.request"]),
    ]:  # fmt: skip
        set_value(browser, selector, value)
        assert [name.split()[0] for name in names(browser)] == expected, (selector, value)
    log_line = f"INFO dd.trace_id={0xABCDEF0123456789} dd.span_id=12 declined"
    for text, expected in [
        ("lovelace", "quick"),
        ("customer:Ada", "quick"),
        ("780000001", "quick"),
        (log_line, "http.server.request"),
        ("abcdef0123456789", "http.server.request"),
        ("6b0e3a1300000000abcdef0123456789", "http.server.request"),
        ("0xABCDEF0123456789", "http.server.request"),
        ("nothing has this", None),
    ]:
        set_value(browser, "#query", text)
        browser.until(
            "const found = [...document.querySelectorAll('#list li b')].map(e => e.textContent);"
            " return arguments[0] === null ? found.length === 0 : found.length === 1 && found[0] === arguments[0]",
            expected,
        )


def test_hostile_spans_are_shown_as_text(browser, viewer):
    """Nothing that spans contain is run, loaded or taken as markup."""
    fields = {"service": HOSTILE, "name": HOSTILE, "resource": HOSTILE, "type": HOSTILE, "error": 1}
    meta = {HOSTILE: HOSTILE, "error.type": HOSTILE, "error.message": HOSTILE, "error.stack": HOSTILE,
            "http.url": "javascript:alert(1)", f"http.request.headers.{HOSTILE}": HOSTILE, "__proto__": HOSTILE,
            "_dd.p.dm": HOSTILE}  # fmt: skip
    event = {"name": HOSTILE, "time_unix_nano": START, "attributes": {HOSTILE: {"type": 0, "string_value": HOSTILE}}}
    link = {"trace_id": 5, "span_id": 6, "attributes": {HOSTILE: HOSTILE}}
    send(viewer, [span(5, 6, meta=meta, metrics={HOSTILE: 1.0}, span_events=[event], span_links=[link], **fields)])
    browser.open(viewer.url)
    browser.until("return document.querySelectorAll('#list li').length === 1")
    browser.js("document.querySelector('#list li').click()")
    browser.until("return document.querySelectorAll('.span').length === 1")
    browser.js("document.querySelector('.span').click()")
    browser.js("document.querySelector('.decision').open = true; document.getElementById('evaluate').click()")
    browser.until("return document.querySelectorAll('#result table').length === 2")
    browser.until("return document.querySelectorAll('.info table').length > 3")
    found = browser.js("return [document.title, document.querySelectorAll('img, script, a, iframe').length]")
    assert found == ["Traces", 1]  # the page's own script
    assert "onerror" in browser.text(".info")
    assert "Structured" not in browser.text(".info")
    requested = browser.js("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(address.startswith(f"{viewer.url}/api/") for address in requested), requested
    assert browser.console() == []


def test_odd_traces_are_drawn(browser, viewer):
    """Cycles, repeated ids, unknown parents, clocks that went back and huge numbers do not break the page."""
    big = (1 << 64) - 1
    send(
        viewer,
        [span(1, 2, 3), span(1, 3, 2), span(1, 4, 4), span(1, 4, 99), span(1, big, big - 1, at_ms=-5, ms=0)],
        [span(big, 7, start=0, duration=(1 << 63) - 1)],
        [span(6, 1000 + n, 999 + n) for n in range(1200)],
    )
    browser.open(f"{viewer.url}/#trace=1")
    browser.until("return document.querySelectorAll('.span').length === 5")
    browser.js("location.hash = 'trace=6'")
    browser.until("return document.querySelectorAll('.span').length === 1000")
    browser.js("document.querySelector('.more').click()")
    browser.until("return document.querySelectorAll('.span').length === 1200")
    browser.js("location.hash = `trace=${arguments[0]}`", f"{big:x}")
    browser.until("return document.querySelectorAll('.span').length === 1")
    browser.js("document.querySelector('.span').click()")
    assert "1970-01-01" in browser.text(".info")
    assert browser.console() == []


def test_keyboard(browser, viewer):
    """The list and the tree can be used without a mouse."""
    send(viewer, [span(1, 2, name="first")], SHOP)
    browser.open(viewer.url)
    browser.until("return document.querySelectorAll('#list li').length === 2")
    browser.press("j")
    browser.js("document.querySelector('#list li').focus()")
    browser.press("ArrowDown", "Enter")
    browser.until("return document.activeElement.className.startsWith('span')")
    assert "first" in browser.text("#trace h2")
    browser.press("Enter")
    browser.until("return document.querySelector('.info')")
    browser.press("Escape")
    browser.until("return !document.body.classList.contains('open') && document.activeElement.tagName === 'LI'")
    browser.press("k", "Enter")
    browser.until("return document.querySelectorAll('.span').length === 2")
    browser.press("ArrowLeft")
    browser.until("return document.querySelectorAll('.span').length === 1")
    browser.press("ArrowRight", "j")
    browser.until("return document.activeElement.dataset.index === '1'")
    browser.press("/")
    browser.until("return document.activeElement.id === 'query'")
    browser.press("c", "a", "r", "d")
    browser.until("return document.querySelectorAll('#list li').length === 1")
    browser.press("Escape", "e")
    browser.until("return document.getElementById('errors').checked")
    browser.press("?")
    browser.until("return document.querySelector('#help-dialog[open]')")


def test_sampling_rules_are_tried(browser, viewer):
    """The sampling dialogue says what rules keep, and what is wrong with them."""
    send(viewer, SHOP, [span(5, 6, service="cron", resource="nightly")])
    browser.open(viewer.url)
    browser.js("document.getElementById('sampling').click()")
    browser.js(
        "document.getElementById('rules').value = arguments[0]", json.dumps([{"service": "cr*", "sample_rate": 0}])
    )
    browser.js("document.getElementById('evaluate').click()")
    browser.until("return document.getElementById('result').innerText.includes('1 of 2 traces kept')")
    assert "no rule: kept" in browser.text("#result")
    browser.js(
        "document.getElementById('rules').value = '[{\"sample_rate\": 7}]'; document.getElementById('evaluate').click()"
    )
    browser.until("return document.getElementById('result').innerText.includes('7 is not from 0 to 1')")


def test_clear_and_lost_connection(browser, viewer):
    """Clear empties the list; a receiver that stops is shown as such, one that starts again is found again."""
    send(viewer, SHOP)
    browser.open(viewer.url)
    browser.until("return document.querySelectorAll('#list li').length === 1")
    browser.js("document.getElementById('clear').click()")
    browser.until("return document.querySelectorAll('#list li').length === 0")
    viewer.stop()
    browser.until("return document.getElementById('state').textContent === 'not connected'")
    viewer.start()
    browser.until("return document.getElementById('state').textContent === '1 trace received'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_layout_fits(browser, viewer, scheme, width):
    """At phone and desktop width, dark and light, nothing is wider than the screen and text stands out."""
    long = "x" * 400
    send(
        viewer,
        SHOP,
        [span(5, 6, service=long, name=long, resource=long, meta={long: long, "error.stack": long}, error=1)],
    )
    browser.size(width, 844, mobile=width < 500)
    browser.colours(scheme)
    browser.open(viewer.url)
    browser.until("return document.querySelectorAll('#list li').length === 2")
    for step in ("'#list li'", "'.span'", "'#sampling'", "'#evaluate'"):
        browser.js(f"document.querySelector({step}).click()")
        browser.until("return !document.querySelector('dialog[open]') || document.querySelector('dialog[open]')")
        browser.until("return document.querySelectorAll('.span').length === 1")
        assert browser.js("return document.documentElement.scrollWidth <= innerWidth"), step
        assert browser.js("const d = document.querySelector('#detail'); return d.scrollWidth <= d.clientWidth"), step
    browser.until("return document.querySelectorAll('#result table').length === 2")
    assert browser.js("const d = document.querySelector('dialog[open]'); return d.scrollWidth <= d.clientWidth")
    colours = browser.js("const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]")
    text, background = (sum(map(int, colour[4:-1].split(", "))) for colour in colours)
    assert (text > background) == (scheme == "dark")
    assert abs(text - background) > 400
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        browser.screenshot(Path(folder) / f"layout-{width}-{scheme}.png")


def test_theme_button_overrides_the_system(browser, viewer):
    """The choice of colours stays over a reload."""
    browser.open(viewer.url)
    browser.js("document.getElementById('theme').click(); document.getElementById('theme').click()")
    browser.open(viewer.url)
    browser.until("return document.documentElement.dataset.theme === 'dark'")
    assert browser.js("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 27)"


def test_spans_of_this_library(browser, viewer):
    """A program's trace arrives over the wire, and the trace id that its log has finds it."""
    program = (
        "import ddtrace_manual as dd\n"
        "dd.configure(service='bakery')\n"
        "with dd.span('bake') as bake, dd.span('knead'): print(f'dd.trace_id={bake.trace_id:032x}')\n"
    )
    environ = {**os.environ, "DD_TRACE_AGENT_URL": viewer.url}
    command = [sys.executable, "-c", program]
    log = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stdout
    browser.open(viewer.url)
    browser.until("return document.querySelectorAll('#list li').length === 1")
    set_value(browser, "#query", "dd.trace_id=00000000000000000000000000000001")
    browser.until("return document.querySelectorAll('#list li').length === 0")
    set_value(browser, "#query", log)
    browser.until("return document.querySelectorAll('#list li').length === 1")
    assert names(browser)[0].startswith("bake")
