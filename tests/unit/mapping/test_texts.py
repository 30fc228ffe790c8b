"""Texts made once per process, and strings too long for the wire."""

import pytest

import ddtrace_manual._mapping as mapping
from ddtrace_manual._mapping import format_process_tags, strip_credentials, truncate_long_strings
from ddtrace_manual._model import EventRecord, LinkRecord


def test_exported_names():
    """The package exports what it says, in order."""
    assert mapping.__all__ == sorted(mapping.__all__)
    assert all(hasattr(mapping, name) for name in mapping.__all__)


@pytest.mark.parametrize(
    ("url", "stripped"),
    [
        ("https://token:x@gitlab.com/a/b.git", "https://gitlab.com/a/b.git"),
        ("http://token@gitlab.com/a/b.git", "http://gitlab.com/a/b.git"),
        ("ssh://token@gitlab.com/a/b.git", "ssh://gitlab.com/a/b.git"),
        ("HTTPS://a@b@host", "HTTPS://host"),
        ("https://host/path@1", "https://host/path@1"),
        ("git@github.com:user/p.git", "git@github.com:user/p.git"),
        ("gitlab.com/a/b.git", "gitlab.com/a/b.git"),
        ("", ""),
    ],
)
def test_strip_credentials(url, stripped):
    """Credentials leave http and ssh URLs; everything else stays."""
    assert strip_credentials(url) == stripped


def test_process_tags():
    """Process tags are sorted pairs of normalised values."""
    values = {
        "svc.user": "true",
        "entrypoint.workdir": "srv",
        "entrypoint.type": "script",
        "entrypoint.name": "main",
        "entrypoint.basedir": "app",
    }
    assert format_process_tags(values) == (
        "entrypoint.basedir:app,entrypoint.name:main,entrypoint.type:script,entrypoint.workdir:srv,svc.user:true"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("My App!!v2", "k:my_app_v2"),
        ("__a__b__", "k:a_b"),
        ("Ünï/1.2-x", "k:ünï/1.2-x"),
        ("x" * 150, "k:" + "x" * 100),
        ("", ""),
        ("/", ""),
        ("\\", ""),
        ("bin", ""),
        ("BIN", ""),
        ("!!", ""),
    ],
)
def test_process_tag_value(value, text):
    """A value is cut, lower-cased and cleaned; one that says nothing is left out."""
    assert format_process_tags({"k": value}) == text


LONG, CUT = "x" * 25_001, "x" * 2_486 + "<truncated>..."


def test_truncate_long_strings(map_one):
    """Every over-long string is cut to 2,500 characters, wherever it is."""
    dd_span = map_one(
        {
            "k": LONG,
            LONG: "v",
            LONG + "n": 1,
            "service.name": LONG,
            "operation.name": LONG,
            "resource.name": LONG,
            "span.type": LONG,
        },
        link_records=[LinkRecord(1, 2, {LONG: LONG}, LONG, 1)],
        event_records=[EventRecord(LONG, 1, {LONG: [LONG], "n": 1})],
    )
    truncate_long_strings(dd_span)
    assert [dd_span[field] for field in ("service", "name", "resource", "type")] == [CUT] * 4
    assert dd_span["meta"]["k"] == CUT
    assert dd_span["meta"][CUT] == "v"
    assert dd_span["metrics"][CUT] == 1.0
    assert dd_span["span_links"][0] == {
        "trace_id": 1,
        "trace_id_high": 0,
        "span_id": 2,
        "attributes": {CUT: CUT},
        "tracestate": CUT,
        "flags": 0x80000001,
    }
    (event,) = dd_span["span_events"]
    assert event["name"] == CUT
    assert event["attributes"][CUT]["array_value"]["values"] == [{"type": 0, "string_value": CUT}]
    assert len(CUT) == 2_500


def test_short_strings_stay(map_one):
    """Strings of 25,000 characters are sent as they are."""
    dd_span = map_one({"k": "x" * 25_000})
    before = {**dd_span, "meta": dict(dd_span["meta"]), "metrics": dict(dd_span["metrics"])}
    truncate_long_strings(dd_span)
    assert dd_span == before
