"""Thousands of generated header sets through `ddtrace` and through us: every difference is a listed one.

Compared are the injected headers and the exported local root. What is random in both (new ids) is
replaced by names first. The list of differences is `KNOWN` below, and the table "Differences found by
comparison" in docs/explanation/propagation.md.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest

import ddtrace_manual as dd
from ddtrace_manual.testing import SpanRecorder

ROOT = Path(__file__).resolve().parents[2]

STYLES = (
    ["datadog", "tracecontext", "baggage"],
    ["tracecontext", "datadog", "baggage"],
    ["datadog"],
    ["tracecontext"],
    ["b3"],
    ["b3multi"],
    ["datadog", "b3multi", "tracecontext", "b3"],
    ["baggage"],
)

# -- cases -----------------------------------------------------------------------------------------------


def pick(rng, usual, odd, share=0.15):
    """Return one of the usual values, or an odd one now and then."""
    return rng.choice(odd if rng.random() < share else usual)


def hex_of(rng, digits):
    """Return random lower-case digits, not all zero."""
    return f"{rng.getrandbits(digits * 4) | 1:0{digits}x}"


class Ids:
    """Ids that the families of one request mostly agree about."""

    def __init__(self, rng):
        self.rng = rng
        self.high = hex_of(rng, 16)
        self.low = hex_of(rng, 16)
        self.span = hex_of(rng, 16)

    def trace(self):
        """Return high and low half."""
        high = pick(self.rng, [self.high], ["0" * 16, hex_of(self.rng, 16)], 0.2)
        return high, pick(self.rng, [self.low], [hex_of(self.rng, 16)], 0.1)

    def parent(self):
        """Return the span id."""
        return pick(self.rng, [self.span], [hex_of(self.rng, 16)], 0.3)


def tags_text(rng, high):
    """Return a value for `x-datadog-tags`."""
    members = []
    if rng.random() < 0.8:
        members.append(
            "_dd.p.dm=" + pick(rng, ["-0", "-1", "-3", "-4", "-8", "-12"], ["4", "-1a", "-256", "934086a6-4", ""])
        )
    if int(high, 16) and rng.random() < 0.95:
        members.append("_dd.p.tid=" + pick(rng, [high], [high.upper(), high[:-1], high + "0", "0" * 16, "x" * 16], 0.1))
    if rng.random() < 0.4:
        members.append(
            pick(
                rng,
                ["_dd.p.usr.id=baz64==", "_dd.p.url=http://localhost", "_dd.p.ksr=0.5", "_dd.p.x=a;b~c", "_dd.p.ts=02"],
                [
                    "other=1",
                    "_dd.p.upstream_services=abc",
                    "nope",
                    "=x",
                    "_dd.p.e=",
                    "_dd.p.sp ace=1",
                    "_dd.p.long=" + "x" * 600,
                    "_dd.p.é=1",
                ],
            )
        )
    rng.shuffle(members)
    return ",".join(members) + pick(rng, [""], [",", " "], 0.02)


def datadog(rng, ids):
    """Return `x-datadog-*` headers."""
    high, low = ids.trace()
    headers = {
        "x-datadog-trace-id": pick(
            rng, [str(int(low, 16))], ["0", "-1", "abc", "", "1e3", str(2**64), " 12 ", "1_0", "+5", low], 0.12
        ),
        "x-datadog-parent-id": pick(rng, [str(int(ids.parent(), 16))], ["0", "-1", "x", "", str(2**64), " 7 "], 0.12),
        "x-datadog-sampling-priority": pick(
            rng, ["-1", "0", "1", "2"], ["-2", "3", "42", "abc", "1.5", "", "+1", "128"], 0.15
        ),
        "x-datadog-origin": pick(rng, ["synthetics", "rum", "synthetics;=web,z", "lambda~x"], ["", "é", "a\tb"], 0.1),
        "x-datadog-tags": tags_text(rng, high),
    }
    return drop_some(rng, headers, 0.1, often=("x-datadog-origin", "x-datadog-tags"))


def tracestate(rng, ids, parent):
    """Return a value for `tracestate`."""
    items = []
    if rng.random() < 0.9:
        items.append("s:" + pick(rng, ["-1", "0", "1", "2"], ["-2", "x", "", "5"]))
    if rng.random() < 0.3:
        items.append("o:" + pick(rng, ["rum", "synthetics", "a~b"], [""]))
    if rng.random() < 0.6:
        items.append("p:" + pick(rng, [parent, hex_of(rng, 16)], ["XX!X", "1", "00"]))
    if rng.random() < 0.7:
        items.append("t.dm:" + pick(rng, ["-0", "-3", "-4"], ["4", "-256", "x"]))
    if rng.random() < 0.3:
        items.append(
            pick(
                rng,
                ["t.usr.id:12345~", "t.url:http://localhost", "t.ksr:0.1", "x:y"],
                ["bad", "t.:x", "t.e:", "t.a b:1"],
            )
        )
    if rng.random() < 0.1:
        items.append("t.tid:" + pick(rng, [ids.high], ["xx", hex_of(rng, 16)], 0.3))
    members = [] if rng.random() < 0.15 else ["dd=" + ";".join(items)]
    if rng.random() < 0.5:
        members += rng.sample(["foo=1", "bar=a b", "tenant@vendor=x", "congo=t61rcWkgMzE"], rng.randint(1, 3))
    if rng.random() < 0.2:
        members.append(
            pick(
                rng,
                ["ot=rv:65cd67504a538e;th:8", "ot=th:c", "ot=rv:65cd67504a538e", "ot=foo:bar"],
                ["ot=rv:XYZ;th:8", "ot=rv:1234567890abcd;th:zz", "ot=", "ot=rv:65CD67504A538E"],
            )
        )
    if rng.random() < 0.1:
        members.append(rng.choice(["", "novalue", "=x", "k=", "foo=2", "é=1", "v=a=b"]))
    if rng.random() < 0.03:
        members += [f"key{number}=value{number}" for number in range(rng.choice([29, 31, 40]))]
    if rng.random() < 0.3:
        rng.shuffle(members)
    return pick(rng, [","], [" , ", ",\t"], 0.1).join(members)


def tracecontext(rng, ids):
    """Return `traceparent` and `tracestate`."""
    high, low = ids.trace()
    parent = ids.parent()
    flags = pick(rng, ["00", "01"], ["02", "03", "ff", "1", "0g"], 0.1)
    version = pick(rng, ["00"], ["01", "cc", "ff", "0"], 0.06)
    text = f"{version}-{high}{low}-{parent}-{flags}"
    odd = [
        text.upper(),
        text + "-x",
        text + "-",
        f" {text}\t",
        f"00-{'0' * 32}-{parent}-01",
        f"00-{high}{low}-{'0' * 16}-01",
        text[:-4],
        "",
    ]
    headers = {"traceparent": pick(rng, [text], odd, 0.1), "tracestate": tracestate(rng, ids, parent)}
    return drop_some(rng, headers, 0.03, often=("tracestate",))


def b3_trace(rng, ids):
    """Return a trace id in hexadecimal."""
    high, low = ids.trace()
    return pick(
        rng, [high + low, low], ["0" * 32, "x" * 32, (high + low).upper(), low[:7], "1" * 33, "0x" + low, ""], 0.15
    )


def b3(rng, ids):
    """Return the `b3` header."""
    span = pick(rng, [ids.parent()], ["0" * 16, "x", "1" * 17, "abc", ""], 0.15)
    state = pick(rng, ["-0", "-1", "-d", ""], ["-x", "-1-" + hex_of(rng, 16), "-"], 0.15)
    return {"b3": pick(rng, [f"{b3_trace(rng, ids)}-{span}{state}"], ["0", "1", "d", "", "x"], 0.1)}


def b3multi(rng, ids):
    """Return `x-b3-*` headers."""
    headers = {
        "x-b3-traceid": b3_trace(rng, ids),
        "x-b3-spanid": pick(rng, [ids.parent()], ["0" * 16, "x", "1" * 17, "abc", ""], 0.15),
        "x-b3-sampled": pick(rng, ["0", "1"], ["d", "true", "x", ""], 0.15),
        "x-b3-flags": pick(rng, ["1"], ["0", "x", ""], 0.4),
    }
    return drop_some(rng, headers, 0.05, often=("x-b3-sampled", "x-b3-flags"))


def baggage(rng):
    """Return the `baggage` header."""
    usual = ["foo=bar", "user.id=Am%C3%A9lie", "session.id=1", "account.id=a=b", "key=a%20b", "k=v/(x):y", " a = b "]
    odd = ["novalue", "=x", "k=", "k=v;prop=1", "k=100%25", "k=a+b", "k=%zz", "", "clé=1", 'q="x"']
    return {"baggage": ",".join(pick(rng, usual, odd, 0.08) for _ in range(rng.randint(1, 4)))}


def drop_some(rng, headers, share, *, often=()):
    """Leave out headers now and then."""
    return {name: value for name, value in headers.items() if rng.random() >= (0.4 if name in often else share)}


def make_case(rng):
    """Return styles and headers."""
    ids = Ids(rng)
    styles = list(rng.choice(STYLES))
    headers = {}
    for style, make in (("datadog", datadog), ("tracecontext", tracecontext), ("b3", b3), ("b3multi", b3multi)):
        if style in styles and rng.random() < 0.8:
            headers.update(make(rng, ids))
    if rng.random() < 0.3:
        headers.update(baggage(rng))
    if rng.random() < 0.2:
        headers = {rng.choice([name.upper(), name.title()]): value for name, value in headers.items()}
    return {"styles": styles, "headers": headers}


# -- answers ---------------------------------------------------------------------------------------------

COMPARED_META = re.compile(
    r"_dd\.p\.|_dd\.origin$|_dd\.parent_id$|_dd\.propagation_error$|baggage\.|traceparent|tracestate"
)


def ask_us(cases):
    """Return our answers to cases, in the form of the oracle's."""
    answers = [None] * len(cases)
    by_styles = {}
    for index, case in enumerate(cases):
        by_styles.setdefault(tuple(case["styles"]), []).append(index)
    for styles, indexes in by_styles.items():
        settings = {f"trace_propagation_style_{way}": styles for way in ("extract", "inject")}
        with SpanRecorder(service="t", **settings) as recorder:
            for index in indexes:
                answers[index] = our_answer(cases[index]["headers"], recorder)
    return answers


def our_answer(given, recorder):
    """Continue the trace of some headers, inject, and look at the exported span."""
    recorder.clear()
    with dd.continue_trace(given), dd.span("op") as span:
        headers = dd.inject({})
    ((root,),) = recorder.payload()
    links = [
        {
            "trace_id": link.trace_id,
            "span_id": link.span_id,
            "flags": link.flags,
            "tracestate": link.tracestate,
            "attributes": dict(link.attributes),
        }
        for link in span.link_records or ()
    ]
    ids = {"trace_id": span.trace_id, "span_id": span.span_id, "parent_id": root.get("parent_id", 0)}
    return {"headers": headers, "root": {**ids, "meta": root["meta"], "metrics": root["metrics"], "links": links}}


def outcome(answer):
    """Return an answer as fields that can be compared, with names for what is random."""
    if "raised" in answer:
        return {"raised": answer["raised"]}
    root, headers = answer["root"], dict(answer["headers"])
    trace_id, span_id = root["trace_id"], root["span_id"]
    is_new = trace_id >> 64 & 0xFFFFFFFF == 0 and abs((trace_id >> 96) - time.time()) < 3600
    named = {f"{span_id:016x}": "SPAN", str(span_id): "SPAN"}
    if is_new:
        high, low = f"{trace_id >> 64:016x}", trace_id & (1 << 64) - 1
        named |= {f"{trace_id:032x}": "TRACE", f"{low:016x}": "LOW", str(low): "LOW", high: "HIGH"}

    def name(text):
        for value, word in named.items():
            text = text.replace(value, word)
        return text

    fields = {"trace": "new" if is_new else f"{trace_id:032x}", "parent": root["parent_id"]}
    fields["priority"] = int(root["metrics"].get("_sampling_priority_v1", -99))
    fields |= {f"meta {key}": name(value) for key, value in root["meta"].items() if COMPARED_META.match(key)}
    for key in ("rule_psr", "agent_psr"):
        fields.pop(f"meta _dd.{key}", None)
    if root["links"]:
        fields["links"] = sorted(
            json.dumps({**link, "tracestate": sorted(link["tracestate"].split(","))}, sort_keys=True)
            for link in root["links"]
        )
    tags = dict(pair.partition("=")[::2] for pair in headers.pop("x-datadog-tags", "").split(",") if pair)
    fields |= {"header tid": name(tags.pop("_dd.p.tid", "")), "header tags": list(tags.items())}
    members = [member.partition("=")[::2] for member in headers.pop("tracestate", "").split(",") if member]
    for key, value in members:
        if key == "dd":
            items = dict(item.partition(":")[::2] for item in value.split(";"))
            items.pop("t.tid", None)
            fields |= {f"dd {item}": name(text) for item, text in items.items()}
        elif key == "ot":
            fields["ot"] = re.sub("rv:[0-9a-f]{14}", "rv:RANDOM", value) if is_new else value
    fields["others"] = [member for member in members if member[0] not in ("dd", "ot")]
    fields |= {f"header {key}": name(value) for key, value in headers.items()}
    return fields


def differences(ours, theirs):
    """Return the fields in which two outcomes differ, with both values."""
    return {
        field: (ours.get(field), theirs.get(field))
        for field in sorted(ours.keys() | theirs.keys())
        if ours.get(field) != theirs.get(field)
    }


# -- known differences -----------------------------------------------------------------------------------

ANY = ".*"
DM = r"meta _dd\.p\.dm|header tags|dd t\.dm"
TAGS = rf"{DM}|header tid|meta _dd\.p\..*|meta _dd\.propagation_error|dd t\..*"


class Given:
    """The headers of a case by lower-case name, and questions about them."""

    def __init__(self, case):
        self.headers = {name.lower(): value for name, value in case["headers"].items()}
        self.styles = case["styles"]

    def has(self, name, pattern, style):
        """Whether a style is read and its header is there and matches as a whole."""
        value = self.headers.get(name)
        return style in self.styles and value is not None and re.fullmatch(pattern, value, re.DOTALL) is not None

    def lacks(self, name, pattern, style):
        """Whether a style is read and its header is there and does not match."""
        value = self.headers.get(name)
        return style in self.styles and value is not None and re.fullmatch(pattern, value, re.DOTALL) is None

    def dd_items(self):
        """Return the items of all `dd` members."""
        if "tracecontext" not in self.styles:
            return []
        members = [member.strip(" \t") for member in self.headers.get("tracestate", "").split(",")]
        return [item for member in members if member.startswith("dd=") for item in member[3:].split(";")]

    def members(self):
        """Return the members of the tracestate."""
        if "tracecontext" not in self.styles:
            return []
        return [member.strip(" \t") for member in self.headers.get("tracestate", "").split(",")]

    def bad_tags(self):
        """Whether something in `x-datadog-tags` is refused."""
        text = self.headers.get("x-datadog-tags", "")
        if "datadog" not in self.styles or not text:
            return False
        pairs = [pair.strip(" ").partition("=") for pair in text.split(",")]
        values = {name: value for name, _, value in pairs}
        return (
            len(text) > 512
            or any(not (name and value) for name, _, value in pairs)
            or re.fullmatch("[ -~]*", text) is None
            or any(" " in name for name, _, _ in pairs)
            or re.fullmatch("-[0-9]{1,3}", values.get("_dd.p.dm", "-0")) is None
            or int(values.get("_dd.p.dm", "-0")) < -255
            or re.fullmatch("(?!0{16})[0-9a-f]{16}", values.get("_dd.p.tid", "1" * 16)) is None
        )

    def flag_conflict(self):
        """Whether the sampled flag and `s` disagree, or there is no `s`, in a tracestate."""
        match = re.match("[ \t]*[^-]*-[^-]*-[^-]*-([0-9a-f]{2})", self.headers.get("traceparent", ""))
        if match is None or "tracestate" not in self.headers:
            return False
        found = [item[2:] for item in self.dd_items() if re.fullmatch("s:-?[0-9]+", item)]
        return not found or (int(found[-1]) > 0) != bool(int(match[1], 16) & 1)

    def bad_b3(self):
        """Whether an id of a B3 header is refused, or of a form that only one of us reads."""
        one = self.headers.get("b3", "") if "b3" in self.styles else ""
        ids = one.split("-")[:2] if "-" in one else []
        if "b3multi" in self.styles:
            ids += [self.headers[name] for name in ("x-b3-traceid", "x-b3-spanid") if name in self.headers]
            if ("x-b3-traceid" in self.headers) != ("x-b3-spanid" in self.headers):
                return True
        return any(re.fullmatch("(?!0+$)([0-9a-f]{16}|[0-9a-f]{32})", each) is None for each in ids)


UNSIGNED = "[0-9]{1,20}"

KNOWN = {
    # name in the documentation: (section, what it may change, when)
    "parent id": (
        "4.2",
        ANY,
        lambda g: (
            g.lacks("x-datadog-parent-id", UNSIGNED, "datadog")
            or int(g.headers.get("x-datadog-parent-id", "0").strip(" ") or 0) >= 2**64
        ),
    ),
    "priority": ("4.2", ANY, lambda g: g.lacks("x-datadog-sampling-priority", r"-?[0-9]{1,2}", "datadog")),
    "trace id": ("4.2", ANY, lambda g: g.lacks("x-datadog-trace-id", UNSIGNED, "datadog")),
    "origin": (
        "4.1",
        r"header x-datadog-origin|meta _dd\.origin|dd o",
        lambda g: g.lacks("x-datadog-origin", "[ -~]+", "datadog") or "o:" in g.dd_items(),
    ),
    "decision made anew": (
        "4.3",
        rf"{DM}|meta _dd\.p\.ksr|dd t\.ksr",
        lambda g: "x-datadog-sampling-priority" not in g.headers and "x-datadog-tags" in g.headers,
    ),
    "tags after an error": ("4.3", TAGS, lambda g: g.bad_tags()),
    "empty tag": (
        "4.3",
        ANY,
        lambda g: (
            "datadog" in g.styles
            and "" in [pair.strip(" ") for pair in g.headers.get("x-datadog-tags", "x").split(",")]
        ),
    ),
    "flag against s": ("5.4", DM, lambda g: g.flag_conflict()),
    "rum": ("5.4", rf"{DM}|priority|header .*|dd s|links", lambda g: g.flag_conflict() and "o:rum" in g.dd_items()),
    "item of dd": (
        "5.3",
        ANY,
        lambda g: any(":" not in item or re.fullmatch("s:(?!-?[0-9]+$).*", item) for item in g.dd_items()),
    ),
    "tag in dd": (
        "5.3",
        TAGS,
        lambda g: any(re.fullmatch("t.dm:(?!-[0-9]+$).*|t.dm:-256|t.:.*|t.e:|t.a b:1", item) for item in g.dd_items()),
    ),
    "t.tid": (
        "5.5",
        r"header tid|meta _dd\.p\.tid|meta _dd\.propagation_error|links",
        lambda g: any(item.startswith("t.tid:") for item in g.dd_items()),
    ),
    "member of tracestate": (
        "5.2",
        ANY,
        lambda g: (
            len(g.members()) > 32
            or any(
                re.fullmatch("(dd|ot)=.+|[a-z0-9][-a-z0-9_*/@]{0,255}=[^=]{1,256}", member) is None
                for member in g.members()
                if member
            )
        ),
    ),
    "repeated member": (
        "5.2",
        "others|links",
        lambda g: len({member.partition("=")[0] for member in g.members()}) < len(g.members()),
    ),
    "other flags": ("5.1", "header traceparent", lambda g: g.lacks("traceparent", ".*-0[01][ \\t]*", "tracecontext")),
    "bare sampling state": ("7", ANY, lambda g: g.lacks("b3", ".*-.*", "b3")),
    "x-b3-sampled": ("8", rf"{DM}|priority|header .*|dd s|ot", lambda g: g.lacks("x-b3-sampled", "[01]", "b3multi")),
    "baggage": ("9", r"header baggage|meta baggage\..*", lambda g: g.has("baggage", ".*[;%].*", "baggage")),
    "parent id 0": (
        "4.5",
        ANY,
        lambda g: (
            g.has("x-datadog-parent-id", "0", "datadog")
            or ("datadog" in g.styles and "x-datadog-parent-id" not in g.headers)
        ),
    ),
    "links of one span id": ("11.2", "links", lambda g: "b3" in g.styles and len(g.styles) > 1),
    "b3 ids": ("7", ANY, lambda g: g.bad_b3()),
}


def unexplained(case, found):
    """Return the differences that no entry of `KNOWN` covers, and the names of the entries that cover any."""
    given = Given(case)
    entries = {name: re.compile(fields) for name, (_, fields, applies) in KNOWN.items() if applies(given)}
    left = {field: values for field, values in found.items() if not any(map(matches(field), entries.values()))}
    return left, {name for name, fields in entries.items() if any(fields.fullmatch(field) for field in found)}


def matches(field):
    """Return a test of a pattern against a field."""
    return lambda pattern: pattern.fullmatch(field)


def compare(ask_ddtrace, seed, count):
    """Compare both for generated cases; return how many agree and how often each entry of `KNOWN` was needed."""
    rng = random.Random(seed)
    cases = [make_case(rng) for _ in range(count)]
    used, equal, problems = Counter(), 0, []
    for case, ours, theirs in zip(cases, ask_us(cases), ask_ddtrace(cases), strict=True):
        found = differences(outcome(ours), outcome(theirs))
        left, names = unexplained(case, found)
        used.update(names)
        equal += not found
        if left:
            problems.append((case, left))
    assert not problems, f"{len(problems)} of {count}, the first: {problems[0]}"
    return equal, used


@pytest.mark.integration
def test_a_few_hundred_header_sets_agree(ask_ddtrace):
    """In every run of the tests: all differences are known ones, and most sets give no difference at all."""
    equal, used = compare(ask_ddtrace, 1, 600)
    assert equal > 300
    assert used


@pytest.mark.slow
@pytest.mark.integration
def test_thousands_of_header_sets_agree(ask_ddtrace):
    """All differences are known ones, and each known one occurs: the list holds nothing that is out of date."""
    equal, used = compare(ask_ddtrace, 2, 20_000)
    assert equal > 10_000
    assert used.keys() == KNOWN.keys()


def test_every_known_difference_is_documented():
    """The page on propagation has a row for each entry, with the same section of the specification."""
    page = (ROOT / "docs" / "explanation" / "propagation.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+?) \| §([0-9.]+) \|", page, re.MULTILINE))
    assert {name: section for name, (section, _, _) in KNOWN.items()}.items() <= rows.items()
