"""Vectors of W3C Baggage and the older headers (spec/propagation.md §9)."""

from __future__ import annotations

import pytest

from ddtrace_manual.propagation import _baggage


def write(items, metadata=None, **limits):
    headers: dict[str, str] = {}
    counted: list[str] = []
    _baggage.inject(items, metadata or {}, headers, count=lambda _, tag: counted.append(tag), **limits)
    return headers.get("baggage"), counted


def ignore(_name, _tag):
    """Count nothing."""


def read(text, **limits):
    counted: list[str] = []
    items = _baggage.extract({"baggage": text}, count=lambda _, tag: counted.append(tag), **limits)
    return items, counted


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("foo", "bar", "foo=bar"),
        ("userId", "Amélie", "userId=Am%C3%A9lie"),
        ("serverNode", "DF 28", "serverNode=DF%2028"),
        ('",;\\()/:<=>?@[]{}', '",;\\',
         "%22%2C%3B%5C%28%29%2F%3A%3C%3D%3E%3F%40%5B%5D%7B%7D=%22%2C%3B%5C"),
        ("!#$&'*+-.^_`|~", "!#$&'*+-.^_`|~()/:<>?@[]{}", "!#$&'*+-.^_`|~=!#$&'*+-.^_`|~()/:<>?@[]{}"),
        ("rate", "100%", "rate=100%25"),
        ("a", "x=y", "a=x%3Dy"),
        (" foo ", " bar ", "foo=bar"),
        ("n", 1, "n=1"),
        ("crlf", "a\r\nb", "crlf=a%0D%0Ab"),
        ("lone", "\ud800", "lone=?"),
    ],
)  # fmt: skip
def test_encodes_items(key, value, text):
    """Everything outside the safe characters is percent-encoded, `%` included."""
    assert write({key: value}) == (text, [])


class Mute:
    """An object that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("items", [{}, {"": "x"}, {" ": "x"}, {"x": ""}, {"x": " "}, {"x": Mute()}])
def test_writes_no_header_without_items(items):
    """Items that a receiver would take for malformed are left out; none left is no header."""
    assert write(items) == (None, [])


def test_item_limit():
    """Only the first 64 items are written."""
    text, counted = write({f"k{number}": "v" for number in range(65)})
    assert text == ",".join(f"k{number}=v" for number in range(64))
    assert counted == ["truncation_reason:baggage_item_count_exceeded"]


def test_byte_limit_stops_at_the_first_item_too_long():
    """Later, smaller items are not tried."""
    items = {"key1": "a" * 2730, "key2": "b" * 2730, "key3": "c" * 2730, "key4": "d"}
    text, counted = write(items)
    assert text == f"key1={'a' * 2730},key2={'b' * 2730}"
    assert counted == ["truncation_reason:baggage_byte_count_exceeded"]


@pytest.mark.parametrize("value", ["x" * 8189, "x" * 10_000_000, "é" * 2000])
def test_a_first_item_too_long_is_no_header(value):
    """Nothing is written rather than an empty header."""
    assert write({"key": value})[0] is None


def test_exactly_the_byte_limit_fits():
    """8192 bytes are allowed."""
    assert len(write({"key": "x" * 8188})[0]) == 8192


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("foo=bar", {"foo": "bar"}),
        (" foo = bar , a=b ", {"foo": "bar", "a": "b"}),
        ("userId=Am%C3%A9lie,node=DF%2028,plus=a+b", {"userId": "Amélie", "node": "DF 28", "plus": "a+b"}),
        ("a=x=y", {"a": "x=y"}),
        ("a=1,a=2", {"a": "2"}),
        ("rate=100%25", {"rate": "100%"}),
        ("a=%FF", {"a": "\ufffd"}),
        ("a=%zz", {"a": "%zz"}),
        ("a=é", {"a": "é"}),
        ("%61=b", {"a": "b"}),
    ],
)
def test_reads_items(text, items):
    """The first `=` splits; both sides are stripped and decoded; a duplicate key takes the last value."""
    assert ({key: value for key, (value, _) in read(text)[0].items()}) == items


@pytest.mark.parametrize(
    "text",
    ["no-equal-sign,foo=x", "=no-key", "no-value=", "foo=x,=", "user.id=,session.id=s", "foo=x,", "a=;p=1", ","],
)
def test_one_malformed_pair_discards_everything(text):
    """A header with a malformed pair carries nothing, and that is counted."""
    assert read(text) == ({}, ["header_style:baggage"])


def test_an_empty_header_is_nothing():
    """An empty header is neither items nor malformed."""
    assert read("") == ({}, [])


def test_reading_stops_at_the_limits():
    """What was read before the 65th item or the 8193rd byte is kept, and what follows is not looked at."""
    items, counted = read(",".join(f"k{number}=v" for number in range(64)) + ",malformed")
    assert len(items) == 64
    assert counted == ["truncation_reason:baggage_item_count_exceeded"]
    items, counted = read(f"a=1,b={'x' * 8190},malformed")
    assert list(items) == ["a"]
    assert counted == ["truncation_reason:baggage_byte_count_exceeded"]
    assert read(f"b={'é' * 4096}")[0] == {}
    assert read("a=1", max_items=0) == ({}, [])
    assert list(read("a=1,b=2,c=3", max_items=2)[0]) == ["a", "b"]


def test_metadata_travels_beside_the_value():
    """Properties are cut off the value, kept, and appended again unless the item was set anew or they are unfit."""
    items, _ = read("foo=bar;prop=x; other ,a=b")
    assert items == {"foo": ("bar", "prop=x; other"), "a": ("b", "")}
    same = {key: value for key, (value, _) in items.items()}
    assert write(same, items)[0] == "foo=bar;prop=x; other,a=b"
    assert write({**same, "foo": "new"}, items)[0] == "foo=new,a=b"
    value = same["foo"]
    for unfit in ("a\r\nb", "a,b", "é"):
        assert write({"foo": value}, {"foo": (value, unfit)})[0] == "foo=bar"


def test_older_headers():
    """`ot-baggage-` headers carry values as they are; illegal names and values are left out."""
    headers: dict[str, str] = {}
    _baggage.inject_legacy({"a": "b c", "bad key": "x", "crlf": "x\r\ny", "é": "x", "empty": ""}, headers, count=ignore)
    assert headers == {"ot-baggage-a": "b c"}
    assert _baggage.extract_legacy({**headers, "ot-baggage-": "x", "other": "y"}, count=ignore) == {"a": ("b c", "")}


@pytest.mark.parametrize(
    ("limits", "taken", "reason"),
    [
        ({}, 64, "truncation_reason:baggage_item_count_exceeded"),
        ({"max_items": 2}, 2, "truncation_reason:baggage_item_count_exceeded"),
        ({"max_items": 0}, 0, "truncation_reason:baggage_item_count_exceeded"),
        ({"max_bytes": len("k00=v,k01=v,k02=v")}, 3, "truncation_reason:baggage_byte_count_exceeded"),
        ({"max_bytes": len("k00=v,k01=v,k02=v") - 1}, 2, "truncation_reason:baggage_byte_count_exceeded"),
    ],
)
def test_older_headers_have_the_limits_of_baggage(limits, taken, reason):
    """Reading and writing stop at the first item that does not fit."""
    items = {f"k{index:02}": "v" for index in range(100)}
    headers: dict[str, str] = {}
    counted: list[str] = []
    _baggage.inject_legacy(items, headers, count=lambda _, tag: counted.append(tag), **limits)
    assert list(headers) == [f"ot-baggage-{key}" for key in list(items)[:taken]]
    incoming = {f"ot-baggage-{key}": value for key, value in items.items()}
    found = _baggage.extract_legacy(incoming, count=lambda _, tag: counted.append(tag), **limits)
    assert list(found) == list(items)[:taken]
    assert counted == [reason, reason]


def test_a_long_older_header_is_not_read():
    """Bytes are counted, not characters."""
    found = _baggage.extract_legacy({"ot-baggage-k": "é" * 4096, "ot-baggage-l": "v"}, count=ignore)
    assert found == {}


def test_older_headers_need_a_trace(hop):
    """With the setting on, any `ot-baggage-` header becomes an item when a trace was found."""
    found = hop({"OT-Baggage-User": "u", "x-datadog-trace-id": "1"}, http_baggage=True)
    assert found.propagator.extract({"OT-Baggage-User": "u", "x-datadog-trace-id": "1"}).baggage == {"user": ("u", "")}
    assert found.propagator.extract({"ot-baggage-user": "u"}).baggage == {}
    environ = {"REQUEST_METHOD": "GET", "HTTP_OT_BAGGAGE_USER_ID": "u", "HTTP_X_DATADOG_TRACE_ID": "1"}
    assert found.propagator.extract(environ).baggage == {"user-id": ("u", "")}
    headers: dict[str, str] = {}
    found.propagator.add_baggage({"user": "u"}, {}, headers)
    assert headers == {"baggage": "user=u", "ot-baggage-user": "u"}
