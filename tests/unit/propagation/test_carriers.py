"""Headers are found in every form of carrier, and written into it."""

from __future__ import annotations

import http.client
import io
from collections import OrderedDict, UserDict

import pytest
from opentelemetry.propagators.textmap import Getter, Setter, default_getter, default_setter
from requests.structures import CaseInsensitiveDict

from ddtrace_manual.propagation._carriers import CarrierReader, write_headers

NAMES = ("x-datadog-trace-id", "traceparent", "tracestate", "baggage")
READER = CarrierReader(NAMES)


def message(*pairs):
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs) + "\r\n"
    return http.client.parse_headers(io.BytesIO(lines.encode("latin-1")))


class Pairs:
    """A carrier that only has `items`, with repeated names."""

    def __init__(self, *pairs):
        self._pairs = pairs

    def items(self):
        return iter(self._pairs)


PAIRS = (("Host", "h"), ("X-Datadog-Trace-Id", "1"), ("TraceState", "a=1"), ("tracestate", "b=2"))
JOINED = {"x-datadog-trace-id": "1", "tracestate": "a=1,b=2"}


@pytest.mark.parametrize(
    "carrier",
    [
        list(PAIRS),
        PAIRS,
        iter(PAIRS),
        Pairs(*PAIRS),
        message(*PAIRS),
        [(name.encode(), value.encode()) for name, value in PAIRS],
        [[name, value] for name, value in PAIRS],
        {"type": "http", "headers": [(name.lower().encode(), value.encode()) for name, value in PAIRS]},
        {"x-datadog-trace-id": "1", "TRACESTATE": ["a=1", b"b=2"]},
        OrderedDict({"X-DATADOG-TRACE-ID": b"1", "tracestate": ("a=1", "", "b=2")}),
        UserDict({b"x-datadog-trace-id": "1", "tracestate": "a=1", "Tracestate": "b=2"}),
        CaseInsensitiveDict({"X-Datadog-Trace-ID": "1", "tracestate": "a=1,b=2"}),
        {"REQUEST_METHOD": "GET", "HTTP_X_DATADOG_TRACE_ID": "1", "HTTP_TRACESTATE": "a=1,b=2", "TRACESTATE": "own"},
        {"HTTP_X_DATADOG_TRACE_ID": "1", "HTTP_TRACESTATE": ["a=1", "b=2"]},
        {"HTTP_X_DATADOG_TRACE_ID": "9", "x-datadog-trace-id": "1", "HTTP_TRACESTATE": "a=1,b=2"},
    ],
    ids=lambda carrier: type(carrier).__name__,
)
def test_reads_every_form(carrier):
    """Names in any case, repeated, as bytes, in lists, in WSGI or ASGI form give the same headers."""
    found = READER.read(carrier)
    assert {name: value for name, value in found.items() if name in NAMES} == JOINED


@pytest.mark.parametrize(
    "carrier",
    [
        None, "traceparent", b"traceparent", [], {}, (), [1, None, ("traceparent",), ("a", "b", "c")], [(1, 2)],
        {"traceparent": None, "tracestate": 1, "baggage": object(), "x-datadog-trace-id": b"\xff"},
        {"traceparent": [], "tracestate": {}, "x-datadog-trace-id": [None, "1"]}, {1: "x", None: "y"},
        {"trace-parent": "x", "trace.parent": "x", "trace_state": "x", "trace-state": "x"},
        {"type": "http", "headers": "traceparent"}, {"headers": [(b"traceparent", b"x")]},
        [([], "1"), ({}, "2")], {"REQUEST_METHOD": "GET", "HTTP_TRACEPARENT": 7},
    ],
)  # fmt: skip
def test_reads_nothing_from_what_is_no_header(carrier):
    """Values that are no text, undecodable bytes, other names and malformed carriers are absent headers."""
    assert "".join(READER.read(carrier).values()) == ""


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        ([("x-datadog-trace-id", "1"), ("X-Datadog-Trace-Id", "2")], {"x-datadog-trace-id": "1"}),
        ([("traceparent", "a"), ("traceparent", "a")], {"traceparent": "a,a"}),
        ([("traceparent", "a"), ("traceparent", b"\xff")], {"traceparent": "a,"}),
        ([("baggage", "a=1"), ("baggage", ""), ("baggage", "b=2")], {"baggage": "a=1,b=2"}),
        ([("traceparent", ["a", "b"])], {"traceparent": "a,b"}),
        ([("traceparent", ["a"])], {"traceparent": "a"}),
    ],
)
def test_several_values(values, joined):
    """Lists are joined, other names take the first value, and a second traceparent spoils the first."""
    assert READER.read(values) == joined


def test_a_message_with_undecodable_values():
    """What a message gives as an object of its own is an absent header; the others are read."""
    found = READER.read(message(("tracestate", "é"), ("baggage", "a=1")))
    assert found["baggage"] == "a=1"


def test_many_spellings_are_not_remembered_forever():
    """The memory of spellings is bounded and reading stays right beyond it."""
    reader = CarrierReader(NAMES, "ot-baggage-")
    reader.read({f"x-{number}": "y" for number in range(2000)} | {"y" * 5000: "z"})
    assert len(reader._spellings) <= 512
    assert reader.read({"tRaCePaReNt": "a", "OT-Baggage-Key": "b"}) == {"traceparent": "a", "ot-baggage-key": "b"}


class ListGetter(Getter):
    """A getter over lists of pairs, case-sensitive like OpenTelemetry's default one."""

    def __init__(self, known=None, fail=()):
        self._known = known
        self._fail = fail

    def get(self, carrier, key):
        if key in self._fail:
            raise KeyError(key)
        return [value for name, value in carrier if name == key] or None

    def keys(self, carrier):
        if self._known == "raise":
            raise RuntimeError
        return self._known if self._known is not None else [name for name, _ in carrier]


@pytest.mark.parametrize(
    ("carrier", "getter", "found"),
    [
        ([("Traceparent", "a"), ("x", "y")], ListGetter(), {"traceparent": "a"}),
        ([("tracestate", "a=1"), ("tracestate", "b=2")], ListGetter(), {"tracestate": "a=1,b=2"}),
        ([("traceparent", "a")], ListGetter([]), {"traceparent": "a"}),
        ([("traceparent", "a")], ListGetter("raise"), {"traceparent": "a"}),
        ([("traceparent", "a"), ("baggage", "b")], ListGetter(None, ("traceparent",)), {"baggage": "b"}),
        ([("HTTP_TRACEPARENT", "a")], ListGetter(), {"http_traceparent": "a", "traceparent": "a"}),
        ([("OT-BAGGAGE-K", "v")], ListGetter([1, "OT-BAGGAGE-K"]), {"ot-baggage-k": "v"}),
        ({"Traceparent": "a"}, default_getter, {"traceparent": "a"}),
    ],
)
def test_reads_through_a_getter(carrier, getter, found):
    """Keys of a getter are compared without case; what it does not list or refuses is asked for or absent."""
    assert CarrierReader(NAMES, "ot-baggage-").read(carrier, getter) == found


def test_plain_functions_stand_in_for_getters_and_setters():
    """A function of carrier and name reads, one of carrier, name and value writes."""
    carrier = {"META traceparent": b"a", "META tracestate": ["x=1", "y=2"]}
    assert READER.read(carrier, lambda where, name: where.get("META " + name)) == {
        "traceparent": "a",
        "tracestate": "x=1,y=2",
    }
    written: list[tuple[str, str]] = []
    write_headers(written, {"b3": "1"}, (), lambda where, name, value: where.append((name, value)))
    assert written == [("b3", "1")]


HEADERS = {"traceparent": "new", "baggage": "a=b"}
FIELDS = {"traceparent", "tracestate", "baggage"}


class Vendor(dict):
    """A dictionary of a framework."""


@pytest.mark.parametrize(
    ("carrier", "expected"),
    [
        ({}, HEADERS),
        ({"Host": "h", "TraceParent": "old", "TRACESTATE": "old"}, {"Host": "h", **HEADERS}),
        (Vendor(Baggage="old"), HEADERS),
        (UserDict({"TraceState": "old", 1: 2}), {1: 2, **HEADERS}),
        (CaseInsensitiveDict({"Traceparent": "old", "Tracestate": "old"}), HEADERS),
        ([], list(HEADERS.items())),
        ([("Traceparent", "old"), ("Host", "h"), 5], [("Host", "h"), 5, *HEADERS.items()]),
        ([(b"traceparent", b"old"), (b"host", b"h")],
         [(b"host", b"h"), (b"traceparent", b"new"), (b"baggage", b"a=b")]),
        ({b"Traceparent": b"old", b"tracestate": b"old", b"host": b"h", b"\xff": b"x"},
         {b"host": b"h", b"\xff": b"x", b"traceparent": b"new", b"baggage": b"a=b"}),
        ({b"traceparent": "old", "TRACESTATE": "old"}, {b"traceparent": b"new", b"baggage": b"a=b"}),
    ],
)  # fmt: skip
def test_writes_into_every_form(carrier, expected):
    """Old headers of the same names vanish whatever their case; names are of the kind that the carrier holds."""
    write_headers(carrier, HEADERS, FIELDS)
    assert (carrier if isinstance(carrier, list) else dict(carrier)) == expected


def test_writes_into_a_message():
    """A message, which appends on assignment, holds each header once."""
    carrier = message(("Traceparent", "old"), ("tracestate", "old"), ("Host", "h"))
    write_headers(carrier, HEADERS, FIELDS)
    assert carrier.items() == [("Host", "h"), *HEADERS.items()]


@pytest.mark.parametrize("make", [dict, UserDict, list, message], ids=lambda make: make.__name__)
def test_names_with_a_prefix_vanish_too(make):
    """Old headers whose names begin with a prefix are removed from every form of carrier."""
    pairs = [("OT-Baggage-User", "old"), ("ot-baggage-plan", "old"), ("Host", "h")]
    carrier = make(*pairs) if make is message else make(pairs)
    write_headers(carrier, {"baggage": "a=b"}, FIELDS, prefix="ot-baggage-")
    left = carrier if isinstance(carrier, list) else carrier.items()
    assert list(left) == [("Host", "h"), ("baggage", "a=b")]


class OnlyAssignment:
    """An object that only knows how to set an item."""

    def __init__(self):
        self.seen = {}

    def __setitem__(self, key, value):
        self.seen[key] = value


def test_writes_into_anything_that_takes_items():
    """Item assignment is enough."""
    carrier = OnlyAssignment()
    write_headers(carrier, HEADERS, FIELDS)
    assert carrier.seen == HEADERS


@pytest.mark.parametrize("carrier", [None, (), "text", 5, object()])
def test_a_carrier_that_cannot_be_written_is_left_alone(carrier):
    """Writing never raises."""
    write_headers(carrier, HEADERS, FIELDS)


class PickySetter(Setter):
    """Refuses one name."""

    def set(self, carrier, key, value):
        if key == "traceparent":
            raise ValueError(key)
        carrier.append((key, value))


def test_a_refused_header_takes_its_family_along():
    """After a refused `traceparent` no `tracestate` is written, other families are."""
    carrier: list[tuple[str, str]] = []
    write_headers(carrier, {"traceparent": "a", "tracestate": "b", "baggage": "c"}, FIELDS, PickySetter())
    assert carrier == [("baggage", "c")]
    plain: dict[str, str] = {"TRACESTATE": "old"}
    write_headers(plain, HEADERS, FIELDS, default_setter)
    assert plain == HEADERS
