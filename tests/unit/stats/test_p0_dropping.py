"""What is still sent of an unsampled chunk (spec/client-stats.md §8)."""

from __future__ import annotations

import pytest

from ddtrace_manual._stats import Selection, select_spans


def _chunk(make_span, *metrics, errors=()):
    return [make_span(span_id=i, metrics=m, error=int(i in errors)) for i, m in enumerate(metrics)]


@pytest.mark.parametrize(
    ("metrics", "errors", "kept", "dropped_traces", "dropped_spans"),
    [
        (({"_sampling_priority_v1": 1}, {}), (), [0, 1], 0, 0),
        (({"_sampling_priority_v1": 2}, {}), (), [0, 1], 0, 0),
        (({}, {}), (), [0, 1], 0, 0),
        (({"_sampling_priority_v1": 0}, {}), (), [], 1, 2),
        (({"_sampling_priority_v1": -1}, {}), (1,), [0, 1], 0, 0),
        (({}, {"_sampling_priority_v1": -1}, {"_sampling_priority_v1": 1}), (), [], 1, 3),
        (({"_sampling_priority_v1": -1}, {"_dd.span_sampling.mechanism": 8}, {}), (), [1], 0, 2),
        (({"_sampling_priority_v1": 0}, {"_dd1.sr.eausr": 0.0}, {}), (), [1], 0, 2),
        (({"_sampling_priority_v1": 0}, {"_dd.span_sampling.mechanism": 7}), (), [], 1, 2),
    ],
)
def test_selection(make_span, metrics, errors, kept, dropped_traces, dropped_spans):
    """Kept, undecided and erroneous chunks go whole; of others only the chosen spans."""
    chunk = _chunk(make_span, *metrics, errors=errors)
    selection = select_spans(chunk)
    assert [span["span_id"] for span in selection.spans] == kept
    assert (selection.dropped_traces, selection.dropped_spans) == (dropped_traces, dropped_spans)
    if len(kept) == len(chunk):
        assert selection.spans is chunk


def test_empty_chunk():
    """An empty chunk is sent as it is."""
    assert select_spans([]) == Selection([])
