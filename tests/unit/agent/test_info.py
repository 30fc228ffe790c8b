from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtrace_manual._agent import AgentInfo, Features, choose_features, parse_info, stats_supported
from ddtrace_manual.exceptions import AgentResponseError

DOCUMENT = {
    "version": "7.70.1",
    "git_commit": "abc",
    "endpoints": ["/v0.4/traces", "/v0.6/stats", "/v1.0/traces"],
    "feature_flags": ["big_resource"],
    "client_drop_p0s": True,
    "span_events": True,
    "span_meta_structs": True,
    "long_running_spans": True,
    "peer_tags": ["db.hostname", "peer.service"],
    "span_kinds_stats_computed": ["Server", "client"],
    "obfuscation_version": 1,
    "evp_proxy_allowed_headers": ["Content-Type"],
    "filter_tags": {"require": ["a:b"], "reject": ["c"]},
    "filter_tags_regex": {"require": ["d:e.*"], "reject": ["f"]},
    "ignore_resources": ["GET /health"],
    "org_prop_marker": "m",
    "config": {"default_env": "none", "statsd_port": 8125, "obfuscation": {"redis": {"enabled": True}}},
    "later": {"field": 1},
}
SUITABLE = AgentInfo(version="7.65.0", client_drop_p0s=True, endpoints=frozenset({"/v0.6/stats"}))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_parse():
    """All fields are read; unknown ones are ignored; the state is the hash of the body."""
    body = json.dumps(DOCUMENT).encode()

    assert parse_info(body, {"Datadog-Container-Tags-Hash": "h"}) == AgentInfo(
        version="7.70.1",
        endpoints=frozenset(DOCUMENT["endpoints"]),
        client_drop_p0s=True,
        span_events=True,
        peer_tags=("db.hostname", "peer.service"),
        span_kinds_stats_computed=("Server", "client"),
        filter_tags_require=("a:b",),
        filter_tags_reject=("c",),
        filter_tags_regex_require=("d:e.*",),
        filter_tags_regex_reject=("f",),
        ignore_resources=("GET /health",),
        statsd_port=8125,
        org_prop_marker="m",
        container_tags_hash="h",
        state_hash=hashlib.sha256(body).hexdigest(),
    )


@given(st.dictionaries(st.sampled_from(sorted(DOCUMENT)), json_values))
def test_rubbish(document):
    """A field of the wrong type counts as absent; features can always be chosen."""
    body = json.dumps(document).encode()

    info = parse_info(body)

    assert type(info.version) is str
    assert all(type(tag) is str for tag in info.peer_tags)
    assert isinstance(choose_features(info), Features)
    assert parse_info(b"{}").state_hash != ""


@pytest.mark.parametrize("body", [b"", b"OK", b"[]", b"null", b"\xff\xfe\xfd", b"[" * 100_000])
def test_not_an_object(body):
    """What is no JSON object is refused."""
    with pytest.raises(AgentResponseError) as caught:
        parse_info(body)

    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("7.65.0", True),
        ("7.65.0-devel+git.1", True),
        ("7.100.0", True),
        ("8.0.0", True),
        ("7.64.9", False),
        ("6.99.99", False),
        ("7.65", False),
        ("test", False),
        ("v7.65.0", False),
        ("", False),
        ("7.٦٦.0", False),
    ],
)
def test_version_gate(version, expected):
    """Statistics need an Agent that attaches the right container tags to them, unless the gate is open."""
    info = AgentInfo(version=version, client_drop_p0s=True, endpoints=frozenset({"/v0.6/stats"}))

    assert stats_supported(info) is expected
    assert stats_supported(info, ignore_agent_version=True)


@pytest.mark.parametrize(
    "info",
    [
        AgentInfo(version="7.65.0", endpoints=frozenset({"/v0.6/stats"})),
        AgentInfo(version="7.65.0", client_drop_p0s=True),
    ],
    ids=["may not drop", "no endpoint"],
)
def test_unsuitable_agent(info):
    """Statistics need the permission to drop and the endpoint, whatever the version."""
    assert not stats_supported(info, ignore_agent_version=True)


def test_nothing_known():
    """As long as nothing is known about the Agent nothing optional is done."""
    assert choose_features(None, trace_version="v1.0") == Features()
    assert Features().span_kinds == ("client", "server", "producer", "consumer")


def test_capable_agent():
    """An Agent that can do everything gets everything."""
    info = parse_info(json.dumps(DOCUMENT).encode())

    assert choose_features(info, trace_version="v1.0") == Features(
        trace_version="v1.0",
        native_events=True,
        stats=True,
        peer_tags=("db.hostname", "peer.service"),
        span_kinds=("server", "client"),
    )
    assert choose_features(info).trace_version == "v0.4"
    assert not choose_features(info, stats_enabled=False).stats


@pytest.mark.parametrize(
    ("configured", "agent_can", "version", "expected"),
    [
        (None, False, "v0.4", False),
        (None, True, "v0.4", True),
        (True, False, "v0.4", True),
        (False, True, "v0.4", False),
        (True, True, "v0.5", False),
    ],
)
def test_native_events(configured, agent_can, version, expected):
    """Events are native when configured, or unset and the Agent takes them; never in v0.5."""
    info = AgentInfo(span_events=agent_can)

    assert choose_features(info, native_events=configured, trace_version=version).native_events is expected


def test_ignored_version():
    """The version gate can be opened."""
    info = AgentInfo(version="test", client_drop_p0s=True, endpoints=SUITABLE.endpoints)

    assert not choose_features(info).stats
    assert choose_features(info, ignore_agent_version=True).stats
    assert choose_features(SUITABLE).stats
