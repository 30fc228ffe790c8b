"""The same spans through `ddtrace` and through us to the real test agent: what it decoded, on v0.4 and v0.5.

Wanted differences are applied to the spans of `ddtrace` in `as_wanted`, with the section of `spec/span-mapping.md` that
asks for them; they are explained in docs/explanation/delivery.md.
"""

import json
import os
import random
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ACTOR = Path(__file__).with_name("sampling") / "actor.py"
ENVIRONMENT = Path(__file__).parents[2] / ".venv-bench-ddtrace"
ORACLE = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

NAMES = ("web.request", "job", "Größe", "a b")
SERVICES = (None, "web", "Web-API", "größe")
RESOURCES = (None, "GET /users", "SELECT 1", "💥")
TYPES = (None, "web", "sql", "custom")
TEXTS = ("text", "", "héllo 💥", "a\0b", '"quoted"\n', "1", "true", "x" * 25_001)
NUMBERS = (0, 5, -3, 2.5, 1e300, 2**53 + 1, float("inf"))
TAGS = {
    "text": TEXTS,
    "number": NUMBERS,
    "either": (*TEXTS[:3], *NUMBERS[:4]),
    "flag": (True, False),
    "huge": (2**70, -(2**70)),
    "list": ([1, 2], ["a", True], []),
    "mapping": ({"a": 1, "b": "x"}, {}),
    "none": (None,),
    "env": ("other",),
    "version": ("9",),
    "component": ("flask",),
    "span.kind": ("server", "client", "producer"),
    "http.status_code": (200, "404"),
    "http.url": ("http://localhost/?q=1",),
}
OURS_ONLY = {
    "otel.trace_id",
    "otel.status_code",
    "otel.status_description",
    "deployment.environment.name",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
    "_dd.span_events.has_exception",
}
EVENT_VALUES = {"a": 1, "b": "x", "c": [1.5, 2.5], "d": True, "e": 0.0, "f": ["é"]}


def generate_trace(chance):
    """Return one trace; ids come in by headers, so that they are known."""
    headers = {
        "x-datadog-trace-id": str(chance.getrandbits(64) | 1),
        "x-datadog-parent-id": str(chance.getrandbits(63)),
    }
    if chance.random() < 0.7:
        headers["x-datadog-tags"] = f"_dd.p.tid={chance.getrandbits(64) | 1 << 63:016x}"
    if chance.random() < 0.3:
        headers["x-datadog-origin"] = "rum"
    steps, is_open = [], 0
    for _ in range(chance.randint(1, 5)):
        if is_open > 1 and chance.random() < 0.4:
            steps.append(["end"])
            is_open -= 1
        steps.append(["start", *(chance.choice(values) for values in (NAMES, SERVICES, RESOURCES, TYPES))])
        is_open += 1
        steps += [["tag", key, chance.choice(values)] for key, values in TAGS.items() if chance.random() < 0.3]
        if chance.random() < 0.3:
            names = chance.sample(sorted(EVENT_VALUES), chance.randint(0, 3))
            steps.append(["event", chance.choice(TEXTS[:5]), 10**18 + 1, {name: EVENT_VALUES[name] for name in names}])
        if chance.random() < 0.3:
            trace_id = chance.choice((7, chance.getrandbits(128) | 1))
            attributes = chance.choice(({}, {"k": "v", "n": 1}))
            steps.append(["link", trace_id, chance.getrandbits(64) | 1, "a=b,c=d", chance.choice((0, 1)), attributes])
        if chance.random() < 0.2:
            steps.append(["error", chance.choice(("ValueError", "OSError")), chance.choice(("bad", "ü", "a\nb"))])
    return {"headers": headers, "steps": steps + [["end"]] * is_open}


def recorded_steps(trace):
    """Return what was done to each span of a trace, in order of their start."""
    spans, stack = [], []
    for step in trace["steps"]:
        if step[0] == "start":
            stack.append([])
            spans.append(stack[-1])
        elif step[0] == "end":
            stack.pop()
        else:
            stack[-1].append(step)
    return spans


def act(session, python, library, version, job):
    """Act the job out with one library; return what the agent decoded, by trace and span."""
    session.clear()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_", "_DD"))}
    variables = inherited | {
        "DD_TRACE_AGENT_URL": session.url,
        "_DD_TRACE_WRITER_ADDITIONAL_HEADERS": f"X-Datadog-Test-Session-Token:{session.token}",
        "DD_TRACE_API_VERSION": version,
        "DD_SERVICE": "main",
        "DD_ENV": "test",
        "DD_VERSION": "3",
        "DD_TAGS": "team:core",
        "DD_TRACE_RATE_LIMIT": "1000000",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "DD_TRACE_STARTUP_LOGS": "false",
    }
    done = subprocess.run(
        [str(python), str(ACTOR), library],
        input=json.dumps(job),
        env=variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    paths = {request["url"].rpartition(":")[2].partition("/")[2] for request in session.requests()}
    assert f"{version}/traces" in paths
    spans = [span for trace in session.traces() for span in trace]
    if library == "ours":  # §10: events are fields where the agent knows them
        assert all("events" not in span["meta"] for span in spans) == (version == "v0.4")
    ids = {span["span_id"]: int(span["metrics"]["case.span"]) for span in spans}
    return {
        (int(span["metrics"]["case.trace"]), int(span["metrics"]["case.span"])): comparable(span, ids) for span in spans
    }


def comparable(span, ids):
    """Return a span without what no two runs share; parents by their number, events and links in one form."""
    meta, metrics = dict(span["meta"]), dict(span["metrics"])
    assert span["duration"] >= 0
    form = {field: span.get(field) or "" for field in ("name", "service", "resource", "type")}
    form |= {"trace_id": span["trace_id"], "error": span.get("error", 0), "meta": meta, "metrics": metrics}
    parent_id = span.get("parent_id", 0)
    form["parent"] = ids.get(parent_id, f"remote {parent_id}")
    if "runtime-id" in meta:
        meta["runtime-id"] = bool(uuid.UUID(meta["runtime-id"]))
    if "process_id" in metrics:
        metrics["process_id"] = metrics["process_id"] > 0
    form["events"] = json.loads(meta.pop("events", "[]")) or [
        plain_event(event) for event in span.get("span_events", ())
    ]
    form["links"] = json.loads(meta.pop("_dd.span_links", "[]")) or [
        plain_link(link) for link in span.get("span_links", ())
    ]
    return form


def plain_event(event):
    """Return a native event in the form of JSON."""

    def plain(typed):
        if typed["type"] == 4:
            return [plain(item) for item in typed["array_value"]["values"]]
        return typed[("string_value", "bool_value", "int_value", "double_value")[typed["type"]]]

    values = {key: plain(typed) for key, typed in event.get("attributes", {}).items()}
    return {"name": event["name"], "time_unix_nano": event["time_unix_nano"]} | (
        {"attributes": values} if values else {}
    )


def plain_link(link):
    """Return a native link in the form of JSON."""
    form = {
        "trace_id": f"{link.get('trace_id_high', 0):016x}{link['trace_id']:016x}",
        "span_id": f"{link['span_id']:016x}",
    }
    form |= {key: link[key] for key in ("attributes", "tracestate") if link.get(key)}
    return form | ({"flags": link["flags"] & 1} if link.get("flags") else {})


def as_wanted(theirs, trace, steps, *, is_first):
    """Return what `ddtrace` sent for a span, with our wanted differences applied; the sections are of span-mapping.md."""
    wanted = {**theirs, "meta": dict(theirs["meta"]), "metrics": dict(theirs["metrics"]), "events": [*theirs["events"]]}
    meta, metrics = wanted["meta"], wanted["metrics"]
    high = dict(pair.split("=") for pair in trace["headers"].get("x-datadog-tags", "=").split(",")).get("_dd.p.tid", "")
    assert not meta.keys() & OURS_ONLY
    trace_id = f"{high:0>16}{int(trace['headers']['x-datadog-trace-id']):016x}"
    meta |= {
        "otel.trace_id": trace_id,  # §2
        "otel.status_code": "Unset",  # §5 step 12
        "deployment.environment.name": "test",  # §12
        "telemetry.sdk.language": "python",  # §12
        "telemetry.sdk.name": "datadog",
        "telemetry.sdk.version": "",
    }
    meta.setdefault("span.kind", "internal")  # §4.5
    if not is_first:
        meta.pop("_dd.p.tid", None)  # §2
    if meta.get("_dd.svc_src") in {"datadog", meta.get("component", "datadog")}:
        del meta["_dd.svc_src"]  # §11: only where the application chose the service
    assert metrics.pop("_dd.tracer_kr", 1.0) == 1.0  # `counters()` tells
    errors = [arguments for step, *arguments in steps if step == "error"]
    if errors:
        kind, message = errors[-1]
        assert meta["error.type"] == f"builtins.{kind}"
        meta |= {"error.type": kind, "_dd.span_events.has_exception": "true"}  # §8, §10
        meta |= {"otel.status_code": "Error", "otel.status_description": message}  # §5 step 12
    for step, *arguments in steps:
        if step == "tag":
            write_tag(meta, metrics, *arguments)
    return wanted


def write_tag(meta, metrics, key, value):
    """Write a tag of a type that `ddtrace` turns into text as `str()` does (§7)."""
    if value is None or isinstance(value, (bool, list, dict)) or abs(value if isinstance(value, int) else 0) >= 2**63:
        assert meta.pop(key) == str(value)
    if isinstance(value, bool):
        meta[key] = str(value).lower()
    elif isinstance(value, int) and abs(value) >= 2**63:
        metrics[key] = float(value)
    elif isinstance(value, (list, dict)):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            target, form = (metrics, item) if type(item) is int else (meta, str(item).lower())
            target[f"{key}.{name}"] = form


def run(session, version, seed, traces):
    """Compare both libraries over generated traces; return the differences."""
    chance = random.Random(seed)
    job = {"traces": [generate_trace(chance) for _ in range(traces)]}
    ours = act(session, sys.executable, "ours", version, job)
    theirs = act(session, ORACLE, "ddtrace", version, job)
    assert ours.keys() == theirs.keys()
    found = []
    for number, trace in enumerate(job["traces"]):
        for index, steps in enumerate(recorded_steps(trace)):
            mine = ours[number, index]
            wanted = as_wanted(theirs[number, index], trace, steps, is_first=index == 0)
            mine["meta"]["telemetry.sdk.version"] = ""
            errors = [step for step in steps if step[0] == "error"]
            if errors:  # §8: recorded as events as well
                recorded = [event for event in mine["events"] if event["name"] == "exception"]
                assert [event["attributes"]["exception.message"] for event in recorded] == [step[2] for step in errors]
                assert recorded[-1]["attributes"]["exception.stacktrace"] == mine["meta"]["error.stack"]
                mine["events"] = [event for event in mine["events"] if event["name"] != "exception"]
            found += [
                f"{field} of {number, index}: {left} / {right}" for field, left, right in differences(mine, wanted)
            ]
    return found


def differences(mine, wanted):
    """Return what differs: field or tag, ours, theirs."""
    flat_mine, flat_wanted = flat(mine), flat(wanted)
    for key in sorted(flat_mine.keys() | flat_wanted.keys()):
        left, right = flat_mine.get(key, "nothing"), flat_wanted.get(key, "nothing")
        if left != right:
            yield key, left, right


def flat(span):
    """Return a span as one level, its maps joined to their keys."""
    return {
        f"{field} {key}".strip(): item
        for field, value in span.items()
        for key, item in (value.items() if isinstance(value, dict) else [("", value)])
    }


@pytest.fixture(autouse=True)
def oracle():
    """Skip where `ddtrace` is not installed: it never shares an environment with us."""
    if not ORACLE.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run `make .venv-bench-ddtrace/.stamp`")


@pytest.mark.parametrize("version", ["v0.4", "v0.5"])
def test_payloads_agree_with_ddtrace(test_agent, version):
    """Fields, tags, numbers, errors, parents, events and links arrive as those of `ddtrace`, but for what is listed."""
    found = run(test_agent, version, 1, 40)
    assert not found, "\n".join(found[:30])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["v0.4", "v0.5"])
def test_many_payloads_agree_with_ddtrace(test_agent, version):
    """The same over four thousand traces."""
    for seed in range(100, 110):
        found = run(test_agent, version, seed, 400)
        assert not found, "\n".join([f"seed {seed}", *found[:30]])
