"""Ids, times and the tags that belong to the trace: spec/span-mapping.md §2, §11, §12, §14; sampling.md §12, §15."""

import json
from pathlib import Path

import pytest
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ddtrace_manual._mapping import Mapper, MappingSettings
from ddtrace_manual._model import STATUS_ERROR, EventRecord, SegmentRecord

WORKED_EXAMPLE = json.loads((Path(__file__).parent / "worked_example.json").read_text())
TRACE_ID = 0x72DF520AF2BDE7A5240031EAD750E5F3


@pytest.fixture
def segment():
    """A segment decided by a rule."""
    segment = SegmentRecord()
    segment.trace_id = TRACE_ID
    segment.priority = 2
    segment.tags = {"_dd.p.dm": "-3", "_dd.p.ksr": "1"}
    segment.rule_rate = 1.0
    return segment


@pytest.fixture
def make_tree(make_span, segment):
    """A root, its child and the child's child, in the order in which they end."""

    def run(**of_root):
        root = make_span(segment=segment, span_id=10, **of_root)
        child = make_span(segment=segment, span_id=11, parent_id=10, local_parent=root, is_local_root=False)
        leaf = make_span(segment=segment, span_id=12, parent_id=11, local_parent=child, is_local_root=False)
        return [leaf, child, root]

    return run


def test_worked_example(make_span, segment):
    """The worked example of the specification comes out as written there."""
    sdk = {"telemetry.sdk.language": "python", "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.version": "1.30.0"}
    settings = MappingSettings(
        env="prod",
        tags={"team": "core"},
        resource_attributes={"service.name": "myservice", "service.version": "v1.2.3"} | sdk,
        tracer_version="0.1.0",
        runtime_id="6f1e",
        process_id=4242,
    )
    event = {"exception.type": "mem", "exception.message": "Out of memory", "exception.stacktrace": "1/2/3"}
    span = make_span(
        {
            "http.request.method": "GET",
            "http.route": "/path",
            "http.response.status_code": 500,
            "approx": 1.2,
            "count": 2,
            "ids": [1, 2],
            "analytics.event": "false",
        },
        kind="SERVER",
        segment=segment,
        otel_name="/path",
        span_id=0x240031EAD750E5F3,
        start_ns=1700000000000000000,
        end_ns=1700000000200000000,
        scope=InstrumentationScope("ddtracer", "v2"),
        status_code=STATUS_ERROR,
        status_description="Error",
        event_records=[EventRecord("exception", 1700000000000000400, event)],
    )
    (dd_span,) = Mapper(settings).map_chunk(segment, [span], partial=False)
    assert dd_span == WORKED_EXAMPLE


def test_local_root_comes_first(segment, make_tree):
    """The local root leads its chunk, the others keep the order in which they ended."""
    chunk = Mapper(MappingSettings()).map_chunk(segment, make_tree(), partial=False)
    assert [span["span_id"] for span in chunk] == [10, 12, 11]


SETTINGS = MappingSettings(
    service="svc",
    tracer_version="0.1.0",
    runtime_id="uuid",
    process_id=42,
    hostname="host",
    git_repository_url="https://gitlab.com/a/b.git",
    git_commit_sha="abc",
    main_package="pkg",
    process_tags="entrypoint.name:main",
)
FIRST_META = {
    "_dd.p.dm": "-3",
    "_dd.p.ksr": "1",
    "_dd.p.tid": "72df520af2bde7a5",
    "language": "python",
    "_dd.git.repository_url": "https://gitlab.com/a/b.git",
    "_dd.git.commit.sha": "abc",
    "_dd.python_main_package": "pkg",
    "_dd.tags.process": "entrypoint.name:main",
}
ROOT_META = {"runtime-id": "uuid", "_dd.parent_id": "00f067aa0ba902b7", "_dd.propagation_error": "disabled"}
ROOT_METRICS = {
    "process_id": 42.0,
    "_dd.top_level": 1.0,
    "_dd.rule_psr": 1.0,
    "_dd.agent_psr": 0.5,
    "_dd.limit_psr": 0.25,
}
COMMON_META = {
    "span.kind": "internal",
    "otel.trace_id": "72df520af2bde7a5240031ead750e5f3",
    "otel.status_code": "Unset",
    "telemetry.sdk.name": "datadog",
    "telemetry.sdk.version": "0.1.0",
    "_dd.origin": "synthetics",
    "w3c.tracestate": "foo=1,bar=2",
}


@pytest.fixture
def rich_segment(segment):
    """A segment that carries everything a trace can carry."""
    segment.agent_rate = 0.5
    segment.limit_rate = 0.25
    segment.origin = "synthetics"
    segment.parent_tag = "00f067aa0ba902b7"
    segment.propagation_error = "disabled"
    segment.members = (("foo", "1"), ("bar", "2"))
    return segment


def test_trace_level_tags(rich_segment, make_tree):
    """Each tag of the trace is on the spans it belongs to and nowhere else."""
    root, leaf, child = Mapper(SETTINGS).map_chunk(rich_segment, make_tree(parent_id=7), partial=False)
    assert root["meta"] == COMMON_META | FIRST_META | ROOT_META
    assert root["metrics"] == ROOT_METRICS | {"_sampling_priority_v1": 2.0}
    for span in (leaf, child):
        assert span["meta"] == COMMON_META
        assert span["metrics"] == {}


def test_partial_chunk_without_the_root(rich_segment, make_tree):
    """The first span of a partial chunk carries the tags of the trace and the size of the flush."""
    leaf, child = Mapper(SETTINGS).map_chunk(rich_segment, make_tree()[:2], partial=True)
    assert leaf["meta"] == COMMON_META | FIRST_META
    assert leaf["metrics"] == {"_sampling_priority_v1": 2.0, "_dd.py.partial_flush": 2.0}
    assert (child["meta"], child["metrics"]) == (COMMON_META, {})


def test_root_without_segment_reference(rich_segment, make_tree):
    """A local root is recognised when the segment no longer refers to it."""
    tree = make_tree()
    rich_segment.local_root = None
    root = Mapper(SETTINGS).map_chunk(rich_segment, tree, partial=False)[0]
    assert root["span_id"] == 10
    assert root["metrics"]["_dd.rule_psr"] == 1.0


def test_second_local_root(rich_segment, make_span, make_tree):
    """A second entry span of the segment is a local root, but the sampling tags stay with the first."""
    tree = make_tree()
    second = make_span(segment=rich_segment, span_id=20, parent_id=7)
    chunk = Mapper(SETTINGS).map_chunk(rich_segment, [second, *tree], partial=False)
    mapped = next(span for span in chunk if span["span_id"] == 20)
    assert mapped["meta"]["runtime-id"] == "uuid"
    assert mapped["metrics"] == {"process_id": 42.0, "_dd.top_level": 1.0}


def test_tags_of_the_first_span_left(rich_segment, make_tree):
    """When only selected spans are sent, the tags of the trace can be put on the first of them."""
    mapper = Mapper(SETTINGS)
    rich_segment.priority = -1
    leaf = mapper.map_chunk(rich_segment, make_tree(), partial=False)[1]
    mapper.apply_chunk_tags(leaf, rich_segment)
    assert leaf["meta"] == COMMON_META | FIRST_META
    assert leaf["metrics"] == {"_sampling_priority_v1": -1.0}


@pytest.mark.parametrize(
    ("trace_id", "tid"), [(5, None), (1 << 64 | 5, "0000000000000001"), ((1 << 128) - 1, "f" * 16)]
)
def test_trace_id_high(make_span, trace_id, tid):
    """The high half of the trace id is written when there is one, never a received one."""
    segment = SegmentRecord()
    segment.trace_id = trace_id
    segment.tags = {"_dd.p.tid": "1234567812345678"}
    (dd_span,) = Mapper(MappingSettings()).map_chunk(segment, [make_span(segment=segment)], partial=False)
    assert dd_span["meta"].get("_dd.p.tid") == tid
    assert dd_span["meta"]["otel.trace_id"] == f"{trace_id:032x}"
    assert dd_span["trace_id"] == trace_id & (1 << 64) - 1


@pytest.mark.parametrize(
    ("priority", "metric"), [(None, 1.0), (2, 2.0), (0, 0.0), (-1, -1.0), (7, 7.0), (10**400, 2.0), (-(10**400), -1.0)]
)
def test_priority(make_span, priority, metric):
    """Any priority is preserved; an undecided trace counts as kept."""
    segment = SegmentRecord()
    segment.priority = priority
    (dd_span,) = Mapper(MappingSettings()).map_chunk(segment, [make_span(segment=segment)], partial=False)
    assert dd_span["metrics"]["_sampling_priority_v1"] == metric


@pytest.mark.parametrize(
    ("parent_id", "is_local_root", "hostname"), [(0, True, "host"), (7, True, None), (7, False, None)]
)
def test_hostname(map_one, parent_id, is_local_root, hostname):
    """The host name is on spans that start a trace."""
    dd_span = map_one(parent_id=parent_id, is_local_root=is_local_root, settings={"hostname": "host"})
    assert dd_span["meta"].get("_dd.hostname") == hostname
    assert dd_span.get("parent_id", 0) == parent_id


@pytest.mark.parametrize(
    ("of_parent", "of_child", "top_level"),
    [
        ({}, {}, None),
        ({}, {"service.name": "other"}, 1.0),
        ({"service.name": "other"}, {}, 1.0),
        ({"service.name": "other"}, {"service.name": "other"}, None),
        ({"service.name": "o" + str(2)}, {"service.name": "o" + str(2)}, None),
        ({"service.name": "a"}, {"service.name": "b"}, 1.0),
        ({"datadog.service": "other"}, {}, 1.0),
        ({"datadog.service": "other"}, {"service.name": "other"}, None),
        ({"service.name": "svc"}, {}, None),
        ({"service.name": "mapped"}, {"service.name": "from"}, None),
    ],
)
@pytest.mark.parametrize("operation_name", [None, "op"])
@pytest.mark.parametrize("same_scope", [True, False])
def test_top_level(make_span, segment, of_parent, of_child, top_level, operation_name, same_scope):
    """A span is top level when its service is not that of its local parent."""
    mapper = Mapper(MappingSettings(service="svc", service_mapping={"from": "mapped"}))
    parent = make_span(of_parent, segment=segment, operation_name=operation_name)
    child = make_span(of_child, segment=segment, local_parent=parent, parent_id=2, span_id=3, is_local_root=False)
    child.operation_name = operation_name
    if not same_scope:
        parent.scope = InstrumentationScope("other")
    (mapped,) = mapper.map_chunk(segment, [child], partial=True)
    assert mapped["metrics"].get("_dd.top_level") == top_level


@pytest.mark.parametrize("operation_name", [None, "op"])
@pytest.mark.parametrize(
    ("attributes", "settings", "base", "source"),
    [
        ({}, {}, None, None),
        ({"service.name": "other"}, {}, "svc", "m"),
        ({"service.name": "SVC"}, {}, None, "m"),
        ({"service.name": "other", "_dd.svc_src": "x"}, {}, "svc", "x"),
        ({"service.name": "other", "_dd.svc_src": None}, {}, "svc", "m"),
        ({"datadog.service": "other"}, {}, "svc", "m"),
        ({}, {"service_mapping": {"svc": "mapped"}}, "svc", None),
    ],
)
def test_base_service(map_one, operation_name, attributes, settings, base, source):
    """A span of another service names the configured one; a service set by hand says so."""
    meta = map_one(attributes, operation_name=operation_name, settings={"service": "svc"} | settings)["meta"]
    assert (meta.get("_dd.base_service"), meta.get("_dd.svc_src")) == (base, source)


def test_apm_tracing_disabled(segment, make_tree):
    """When another product owns the traces, every span says so."""
    chunk = Mapper(MappingSettings(apm_tracing_enabled=False)).map_chunk(segment, make_tree(), partial=False)
    assert [span["metrics"]["_dd.apm.enabled"] for span in chunk] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "start", "duration"),
    [
        (1_000, 1_500, 1_000, 500),
        (1_000, 1_000, 1_000, 0),
        (1_000, 900, 1_000, 0),
        (1_000, None, 1_000, 0),
        (0, None, 0, 0),
        (-5, 10, 0, 15),
        (5, 2**63, 5, 2**63 - 5),
        (0, 2**63, 0, 0),
        (2**63, 2**63 + 1, 0, 1),
    ],
)
@pytest.mark.parametrize("attributes", [{}, {"datadog.any": 1}])
def test_times(map_one, attributes, start_ns, end_ns, start, duration):
    """Times before 1970, turned round or beyond 63 bits become 0."""
    dd_span = map_one(attributes, start_ns=start_ns, end_ns=end_ns)
    assert (dd_span["start"], dd_span["duration"]) == (start, duration)


@pytest.mark.parametrize(
    "key",
    [
        "language",
        "_sampling_priority_v1",
        "_dd.top_level",
        "process_id",
        "_dd.parent_id",
        "_dd.p.dm",
        "otel.status_code",
        "runtime-id",
    ],
)
@pytest.mark.parametrize("value", ["text", 5])
def test_attributes_named_like_tags_of_the_mapping(rich_segment, make_tree, key, value):
    """What the mapping writes itself replaces an attribute of that name, in whichever map it was."""
    tree = make_tree()
    tree[-1].values = {key: value}
    root = Mapper(SETTINGS).map_chunk(rich_segment, tree, partial=False)[0]
    expected = ROOT_METRICS | ROOT_META | FIRST_META | COMMON_META | {"_sampling_priority_v1": 2.0}
    assert (root["meta"] | root["metrics"])[key] == expected[key]
    assert not root["meta"].keys() & root["metrics"].keys()
