"""The code of the pages about sampling runs, and does what the pages say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import ddtrace_manual as dd
from ddtrace_manual.sampling import keeps

pytestmark = pytest.mark.integration

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


def blocks(page, language):
    """Return the code blocks of a page in one language, doctests excepted."""
    found = re.findall(rf"```{language}\n(.*?)```", (HOW_TO / page).read_text(encoding="utf-8"), re.DOTALL)
    return [code for code in found if not code.startswith(">>>")]


def variables(page):
    """Return the variables that a page sets in its shell blocks."""
    text = "\n".join(blocks(page, "sh"))
    return {name: value.strip("'") for name, value in re.findall(r"^(DD_\w+)=(.*)$", text, re.MULTILINE)}


@pytest.fixture
def run(configure, fake_agent, monkeypatch):
    """Run the Python blocks of a page as one program; return its names."""
    configure()  # the environment of a test; the page configures anew
    monkeypatch.setenv("DD_TRACE_AGENT_URL", fake_agent.url)
    monkeypatch.setenv("DD_TRACE_STATS_COMPUTATION_ENABLED", "false")

    def run_page(page, **names):
        names = {"dd": dd, **names}
        for code in blocks(page, "python"):
            exec(code.replace("dd.configure(...)", "dd.configure()"), names)
        return names

    return run_page


def decide(resource, **options):
    """Run a trace; return its id, and the priority it was given."""
    with dd.span("http.server.request", resource=resource, **options) as span:
        headers = dd.inject({})
    return span.trace_id, int(headers["x-datadog-sampling-priority"])


def test_a_share_of_health_checks(run, configure):
    """One in a hundred health checks is kept by the hash; the narrow rule before it keeps all of its own."""
    names = run("keep-a-share-of-health-checks.md")
    by_code = [decide("GET /healthz") for _ in range(50)]
    assert all((priority == 2) == keeps(trace_id, 0.01) for trace_id, priority in by_code)
    assert decide("GET /orders")[1] == 1
    configure(sampling_rules=names["sampling_rules"])
    assert decide("GET /health/deep")[1] == 2
    configure(**variables("keep-a-share-of-health-checks.md"))
    assert all(
        (priority == 2) == keeps(trace_id, 0.01) for trace_id, priority in (decide("get /HEALTH") for _ in range(20))
    )


def test_all_errors(run, delivered):
    """`keep()` where the error is handled keeps the trace whatever the caller decided; the service's rule keeps the rest."""

    class PaymentError(Exception):
        pass

    def charge(_order_id):
        raise PaymentError

    names = run("keep-all-errors-of-a-service.md", PaymentError=PaymentError, charge=charge, Receipt=object)
    delivered()
    caller = {"x-datadog-trace-id": "7", "x-datadog-parent-id": "8", "x-datadog-sampling-priority": "-1"}
    with pytest.raises(PaymentError), dd.continue_trace(caller):
        names["pay"](3)
    (span,) = delivered().values()
    assert (span["metrics"]["_sampling_priority_v1"], span["meta"]["_dd.p.dm"]) == (2, "-4")
    assert {decide("x", service="payments")[1] for _ in range(150)} == {2}  # more than the usual limit of 100


def test_single_spans(run, delivered, configure, tmp_path):
    """The payment's span is marked in a trace that is dropped; variable and file do the same."""
    page = "keep-single-spans.md"
    run(page)
    given = variables(page)
    file = tmp_path / "rules.json"
    file.write_text(given["DD_SPAN_SAMPLING_RULES"])
    for settings in (
        None,
        {"DD_SPAN_SAMPLING_RULES": given["DD_SPAN_SAMPLING_RULES"]},
        {"DD_SPAN_SAMPLING_RULES": "", "DD_SPAN_SAMPLING_RULES_FILE": str(file)},
    ):
        if settings is not None:
            configure(service="checkout", sample_rate=0.0, **settings)
        with dd.span("web.request", tags={"manual.drop": True}), dd.span("payment.charge"):
            pass
        found = delivered()
        assert found["payment.charge"]["metrics"]["_dd.span_sampling.max_per_second"] == 50
        assert "_dd.span_sampling.mechanism" not in found["web.request"]["metrics"]
    assert json.loads(given["DD_SPAN_SAMPLING_RULES"])


def test_why_a_trace_was_kept(run, configure, capsys):
    """The page's program shows the rate in effect where no narrower rule matches."""
    run("see-why-a-trace-was-kept.md")
    assert capsys.readouterr().out == "1.0\n"
    configure(DD_TRACE_SAMPLE_RATE="0.25")
    run("see-why-a-trace-was-kept.md")
    assert capsys.readouterr().out == "0.25\n"
