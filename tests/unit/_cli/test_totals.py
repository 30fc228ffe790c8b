"""Self time and sums over all traces."""

import pytest

from ddtrace_manual._cli.totals import Totals, self_times


def span(span_id, parent_id, start, duration, name="n", **fields):
    return {"span_id": span_id, "parent_id": parent_id, "start": start, "duration": duration, "name": name,
            "resource": "r", "error": 0, **fields}  # fmt: skip


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ([], 100),
        ([(10, 20), (40, 20)], 60),
        ([(10, 50), (20, 10)], 50),  # one within the other
        ([(10, 30), (30, 30)], 50),  # overlapping
        ([(-50, 100), (90, 500)], 40),  # beyond the parent
        ([(200, 50), (-30, 10)], 100),  # outside
        ([(0, 100), (0, 100)], 0),
    ],
)
def test_self_time_is_what_no_child_covers(children, expected):
    spans = [span(1, 0, 0, 100), *(span(index, 1, *times) for index, times in enumerate(children, 2))]
    assert self_times(spans)[0] == expected


def test_a_span_that_names_itself_as_parent():
    assert self_times([span(1, 1, 0, 100)]) == [100]


def test_sums():
    totals = Totals()
    totals.add("aa", [span(1, 0, 0, 100, "root"), span(2, 1, 10, 70, "query", error=1)])
    totals.add("bb", [span(1, 0, 0, 50, "root")])
    totals.add("cc", [])
    assert (totals.traces, totals.failed_traces, totals.spans) == (2, 1, 3)
    assert totals.slowest == (100, "root", "r", "aa")
    rows, left = totals.costliest(1)
    assert [(name, row.spans, row.self_ns, round(share, 2)) for name, row, share in rows] == [("root", 2, 80, 0.53)]
    assert left == 1


def test_names_made_from_data_are_bounded():
    totals = Totals()
    for number in range(1500):
        totals.add("aa", [span(1, 0, 0, 1, f"name {number}")])
    assert len(totals.names) == 1001
    assert totals.names["(other names)"].spans == 500
