"""What the benchmarks do with their measurements: ratios, growth, goals, tables and pages."""

import importlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SCRIPTS = ("compare", "dependencies", "features", "instructions", "runs", "worker", "workloads")
OURS, DDTRACE, OTEL = "ours", "ddtrace_peer", "otel_peer"


@pytest.fixture
def scripts(monkeypatch):
    """The scripts as modules, forgotten again afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    modules = {name: importlib.import_module(name) for name in SCRIPTS}
    yield type("Scripts", (), modules)
    for name in SCRIPTS:
        sys.modules.pop(name, None)


def runs_of(scripts, **medians):
    """Return runs of two workloads, `app_us` for ours, ddtrace and OpenTelemetry."""
    return {
        name: {library: [{"app_us": value}] for library, value in zip((OURS, DDTRACE, OTEL), values, strict=True)}
        for name, values in medians.items()
    }


def test_growth_is_taken_from_the_workload_compared_with(scripts):
    """The report says by what cost and ratios are multiplied, and misses a goal when that is too much."""
    runs = runs_of(scripts, trace=(2.0, 8.0, 20.0))
    report = scripts.compare.summarise({"trace-10": runs["trace"], "trace-1000": runs["trace"]})["trace-1000"]
    assert report["growth"] == {"app_us": {OURS: 1.0, DDTRACE: 1.0, OTEL: 1.0}}
    assert report["ratios"] == {"app_us": {DDTRACE: 0.25, OTEL: 0.1}}


@pytest.mark.parametrize(
    ("names", "after", "is_met"),
    [
        (("trace-10", "trace-1000"), (2.2, 8.0, 20.0), True),
        (("trace-10", "trace-1000"), (2.4, 8.0, 20.0), False),  # not flat
        (("threads-1", "threads-64"), (4.0, 16.0, 40.0), True),  # everybody is dearer
        (("threads-1", "threads-64"), (4.0, 16.0, 20.0), False),  # worse in ratio to one peer
    ],
)
def test_goals_about_growth(scripts, names, after, is_met):
    """Cost must be flat over the size of traces, and ratios steady over the number of threads."""
    runs = runs_of(scripts, before=(2.0, 8.0, 20.0), after=after)
    workloads = scripts.compare.summarise(dict(zip(names, (runs["before"], runs["after"]), strict=True)))
    assert scripts.compare.goals_met({"workloads": workloads}) is is_met


def test_the_table_for_the_page_has_ratios_and_growth(scripts):
    """One line a ratio, with its goal, and one line a comparison."""
    runs = runs_of(scripts, before=(2.0, 8.0, 20.0), after=(3.0, 8.0, 30.0))
    names = ("ten-span", "trace-10", "trace-1000")
    workloads = scripts.compare.summarise(
        dict(zip(names, (runs["before"], runs["before"], runs["after"]), strict=True))
    )
    text = scripts.compare.markdown({"machine": "m", "versions": {DDTRACE: "1", OTEL: "2"}, "workloads": workloads})
    assert "| ten spans, two attributes each: application thread | 0.25 (goal 0.25) | 0.10 (goal 0.10) |" in text
    assert "| `trace-1000` / `trace-10` | application thread | 1.50 | 1.00 | 1.50 |" in text


def test_the_table_for_the_page_says_what_arrived(scripts):
    """Where spans may be lost, the shares that arrived stand below the ratio."""
    runs = {
        library: [{"peak_mib": 50.0, "delivered": share}] for library, share in ((OURS, 0.6), (DDTRACE, 1), (OTEL, 0.5))
    }
    workloads = scripts.compare.summarise({"memory": runs})
    text = scripts.compare.markdown({"machine": "m", "versions": {DDTRACE: "1", OTEL: "2"}, "workloads": workloads})
    assert text.endswith("| the same: 60% of ours arrived | 100% arrived | 50% arrived |")


def test_earlier_measurements_stay_unless_they_are_of_another_machine(scripts, tmp_path):
    """Workloads measured before are kept with those of now, in the table's order."""
    earlier = tmp_path / "latest.json"
    earlier.write_text('{"machine": "m", "versions": {}, "workloads": {"inject": 1, "ten-span": 2}}')
    report = {"machine": "m", "versions": {}, "workloads": {"inject": 3, "traced": 4}}
    assert list(scripts.compare.with_earlier(report, earlier)["workloads"].items()) == [
        ("ten-span", 2),
        ("traced", 4),
        ("inject", 3),
    ]
    assert scripts.compare.with_earlier({**report, "machine": "n"}, earlier)["workloads"] == {"inject": 3, "traced": 4}


def test_text_between_markers_is_replaced(scripts, tmp_path, monkeypatch):
    """Only what stands between the two markers changes; a page without them is an error."""
    monkeypatch.setattr(scripts.runs, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- t: begin -->\nold\n<!-- t: end -->\nafter\n")
    scripts.runs.write_between_markers(page, "t", "new")
    scripts.runs.write_between_markers(page, "t", "newer\n")
    assert page.read_text() == "before\n<!-- t: begin -->\n\nnewer\n\n<!-- t: end -->\nafter\n"
    with pytest.raises(RuntimeError, match="no markers"):
        scripts.runs.write_between_markers(page, "u", "new")


def test_pages_have_the_markers(scripts):
    """The pages that the tools write into have the places for it."""
    costs, dependencies = scripts.compare.PAGE, scripts.dependencies.PAGE
    pages = {costs: ("bench", "features"), dependencies: ("imports", "encoders", "exchanges", "sketches")}
    for page, names in pages.items():
        text = page.read_text(encoding="utf-8")
        for name in names:
            assert f"<!-- {name}: begin -->" in text
            assert f"<!-- {name}: end -->" in text


def test_a_crew_shares_batches_among_live_threads(scripts):
    """Every thread runs its share of every batch at the same time, and their times are summed."""
    together = threading.Barrier(3, timeout=30)
    seen = []

    def run(count):
        together.wait()
        seen.append((threading.get_ident(), count))
        return 0.25

    interval = sys.getswitchinterval()
    try:
        crew = scripts.worker.Crew(run, 3)
        assert [crew(6), crew(9)] == [0.75, 0.75]
    finally:
        sys.setswitchinterval(interval)
    assert sorted(count for _, count in seen) == [2, 2, 2, 3, 3, 3]
    assert len({ident for ident, _ in seen}) == 3


def test_a_timed_run_counts_the_thread_that_works(scripts):
    """The CPU time of the workload is returned, waiting not included."""

    class Adapter:
        @staticmethod
        def work(count, size):
            time.sleep(0.05)
            assert (count, size) == (4, 7)

    args = type("Args", (), {"workload": "work", "size": 7, "threads": 0})
    assert 0 <= scripts.worker.timed(Adapter, args)(4) < 0.05


def test_every_workload_can_run(scripts):
    """Each workload names a mode of the worker, and shares its batch evenly."""
    for name, workload in scripts.workloads.WORKLOADS.items():
        assert workload.mode in scripts.worker.MODES, name
        assert not workload.batch % (workload.threads or 1), name
        assert workload.compared_with in {"", *scripts.workloads.WORKLOADS}, name


def test_a_feature_changes_only_what_it_says(scripts):
    """A row of the table of features runs the workload of its group with its own settings."""
    workload = replace(scripts.workloads.WORKLOADS["ten-span"], environ={"DD_A": "1"})
    changed = scripts.features.setting("b on", DD_B="2").applied_to(workload)
    assert changed.environ == {"DD_A": "1", "DD_B": "2"}
    assert replace(changed, environ=workload.environ, title=workload.title) == workload
    assert len(scripts.features.names()) == len(set(scripts.features.names()))


def test_the_time_of_an_import_counts_for_who_needs_it(scripts):
    """A module counts for its dependency, one of the standard library for the dependency that imports it first."""
    report = """import time: self [us] | cumulative | imported package
import time:        10 |         10 | site
import time:         1 |          1 |     json
import time:         2 |          3 |   msgpack
import time:         4 |          4 |   opentelemetry.context
import time:         8 |          8 |   opentelemetry.sdk.trace
import time:        16 |         16 |   struct
import time:        32 |         65 | ddtrace_manual
import time:        64 |         64 | late
"""
    assert scripts.dependencies.shares_of(report) == {
        "msgpack": 3,
        "opentelemetry-api": 4,
        "opentelemetry-sdk": 8,
        "ourselves": 48,
    }


def test_instructions_of_start_and_end_cancel_out(scripts, monkeypatch):
    """What a span takes is the difference of two runs, divided by the spans that only the longer one made."""
    monkeypatch.setattr(
        scripts.instructions,
        "instructions",
        lambda _url, _workload, command: {
            "application thread": 3_000_000 + int(command[-1]) * 1_000_000,
            "whole process": 5_000_000 + int(command[-1]) * 2_000_000,
        },
    )
    workload = replace(scripts.workloads.WORKLOADS["ten-span"], batch=100)
    counts = scripts.instructions.per_span("", workload, [])
    assert counts == {"application thread": 1_000.0, "whole process": 2_000.0}


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        ("ten-span", {"application thread": 700, "whole process": 1_000}),
        ("threads-8", {"whole process": 1_000}),  # its spans are not made by the main thread
    ],
)
def test_instructions_are_counted_by_thread(scripts, monkeypatch, workload, expected):
    """Valgrind writes a file for each thread; one in which nothing was counted is no error."""

    def run(command, **_):
        folder = Path(next(part for part in command if part.startswith("--callgrind-out")).partition("=")[2]).parent
        for thread, text in {"01": "events: Ir\ntotals: 700\n", "02": "summary: 300\n", "03": "events: Ir\n"}.items():
            (folder / f"thread-{thread}").write_text(text)
        return subprocess.CompletedProcess(command, 0, stdout='{"spans": 10}\n', stderr="")

    monkeypatch.setattr(scripts.instructions.subprocess, "run", run)
    monkeypatch.setattr(scripts.instructions, "received_spans", lambda _url: 10)
    assert scripts.instructions.instructions("", scripts.workloads.WORKLOADS[workload], ["python"]) == expected


def test_the_table_of_instructions_has_no_ratio_to_what_was_not_counted(scripts):
    """With --only there is nothing to compare with."""
    cells = partial(scripts.instructions.cells, "whole process")
    ours, otel = {"whole process": 1_200.0}, {"whole process": 12_000.0}
    assert cells({"ours": ours}) == ["1,200", "-", "-", "-", "-"]
    assert cells({"ours": ours, "otel_peer": otel}) == ["1,200", "-", "12,000", "-", "0.100"]


def test_the_table_of_features(scripts, tmp_path, monkeypatch):
    """Features measured earlier stay in the table, in its order, each with median and half its range."""
    monkeypatch.setattr(scripts.features, "OUTPUT", tmp_path / "features.json")
    found = {"statistics": {"app_us": [1.0, 1.2, 1.1], "cpu_us": [0.9, 0.9, 0.9]}}
    features = scripts.features.with_earlier(scripts.features.summarise(found), "m")
    scripts.features.OUTPUT.write_text(json.dumps({"machine": "m", "features": features}))
    found = {"otel-api": {"app_us": [1.0], "cpu_us": [2.0]}}
    features = scripts.features.with_earlier(scripts.features.summarise(found), "m")
    assert scripts.features.markdown({"machine": "m", "features": features}).splitlines() == [
        "m; medians of 1 to 3 rounds.",
        "",
        "| compared with | | application thread | whole process |",
        "|---|---|---|---|",
        "| a trace of ten spans, two tags each | through the OpenTelemetry API | 1.00 ±0.00 | 2.00 ±0.00 |",
        "|  | statistics off | 1.10 ±0.10 | 0.90 ±0.00 |",
    ]
    assert set(scripts.features.with_earlier({}, "another machine")) == set()
