"""Traces as lines of the log."""

import json

import pytest

from ddtrace_manual._encoding import V04Encoder
from ddtrace_manual._export import LogTransport, wants_log_transport


@pytest.fixture
def lines():
    return []


def post(transport, chunks, path="/v0.4/traces"):
    return transport.request("POST", path, V04Encoder().encode(chunks), {}, 2.0).status


def test_each_chunk_is_a_line(lines, datadog_span):
    """A payload becomes one line of JSON for each chunk, ids in hexadecimal digits."""
    transport = LogTransport(lines.append)
    spans = [datadog_span(255, parent_id=1, meta={"k": "é"}, meta_struct={"x": b"1"}), datadog_span(2)]
    assert post(transport, [spans, [datadog_span(3)]]) == 200
    [text] = lines
    first, second = [json.loads(line)["traces"] for line in text.splitlines()]
    assert [span["span_id"] for [chunk] in (first, second) for span in chunk] == [
        "00000000000000FF",
        "0000000000000002",
        "0000000000000003",
    ]
    [[span, _]] = first
    assert (span["trace_id"], span["parent_id"]) == ("0000000000000007", "0000000000000001")
    assert (span["meta"], span["service"], "meta_struct" in span) == ({"k": "é"}, "s", False)
    assert first[0][1]["parent_id"] == "0000000000000000"


def test_long_chunks_are_divided(lines, datadog_span):
    """No line is longer than allowed, and no span is lost by that."""
    transport = LogTransport(lines.append, max_line_bytes=600)
    assert post(transport, [[datadog_span(number) for number in range(10)]]) == 200
    written = lines[0].splitlines(keepends=True)
    assert max(map(len, written)) <= 600
    assert sum(len(json.loads(line)["traces"][0]) for line in written) == 10


def test_a_span_too_long_for_a_line_is_refused(lines, datadog_span):
    """A span that fits into no line is refused as too large, before anything is written."""
    transport = LogTransport(lines.append, max_line_bytes=600)
    assert post(transport, [[datadog_span(1), datadog_span(2, meta={"k": "x" * 600})]]) == 413
    assert lines == []


def test_nothing_but_traces_is_known(lines):
    """`/info` and statistics do not exist."""
    transport = LogTransport(lines.append)
    assert transport.request("GET", "/info", None, {}, 2.0).status == 404
    assert post(transport, [], "/v0.6/stats") == 404


def test_standard_output_is_the_default(capsys, datadog_span):
    """Without another receiver lines go to standard output."""
    assert post(LogTransport(), [[datadog_span(1)]]) == 200
    assert json.loads(capsys.readouterr().out)["traces"]


@pytest.mark.parametrize(
    ("environ", "extension", "has_address", "wanted"),
    [
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, False, False, True),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, True, False, False),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, False, True, False),
        ({}, False, False, False),
    ],
)
def test_when_traces_go_to_the_log(environ, extension, has_address, wanted):
    """Only Lambda without extension and without an Agent's address logs traces."""
    assert wants_log_transport(environ, lambda path: extension, has_address=has_address) is wanted
