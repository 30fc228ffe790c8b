"""Polling: what is said to the Agent, what its answers lead to, and what hostile ones do not."""

from __future__ import annotations

import base64
import copy
import hashlib
import json

import pytest

from ddtrace_manual._receiver.remote_config import remote_config_answer
from ddtrace_manual._remote_config.client import _encode_bits, _semantic_version
from ddtrace_manual.exceptions import AgentConnectionError

GOOD = "datadog/2/APM_TRACING/1/config"
OTHER = "employee/APM_TRACING/2/config"


def decoded_targets(answer):
    return json.loads(base64.b64decode(answer["targets"]))


def encoded(document):
    return base64.b64encode(json.dumps(document).encode()).decode()


def state(agent):
    return agent.polls[-1]["client"]["state"]


def test_request_says_who_asks(client, agent):
    assert client.poll()
    request = agent.polls[0]
    tracer = request["client"]["client_tracer"]
    assert tracer == {
        "runtime_id": "rid",
        "language": "python",
        "tracer_version": "1.0.0-rc2.dev3+g1",
        "service": "checkout",
        "extra_services": ["other"],
        "env": "prod",
        "app_version": "1.4.0",
        "tags": ["team:apm"],
        "process_tags": ["a:b"],
    }
    assert request["client"]["products"] == ["APM_TRACING"]
    assert request["client"]["is_tracer"] is True
    assert base64.b64decode(request["client"]["capabilities"]) == bytes([0x20, 0, 0x10, 0])
    assert state(agent) == {
        "root_version": 1,
        "targets_version": 0,
        "config_states": [],
        "has_error": False,
        "error": "",
        "backend_client_state": "",
    }
    assert request["cached_target_files"] == []


@pytest.mark.parametrize(
    ("bits", "text"),
    [([12, 29], "IAAQAA=="), ([12, 13, 14, 15, 19, 29], "IAjwAA=="), ([12, 13, 14, 15, 19, 29, 45], "IAAgCPAA")],
)
def test_capabilities_are_a_big_endian_bit_set(bits, text):
    assert _encode_bits(bits) == text


@pytest.mark.parametrize(
    ("version", "semantic"),
    [
        ("1.2.3", "1.2.3"),
        ("1.0.0rc2.dev3+g1", "1.0.0-rc2.dev3+g1"),
        ("1.0.0.dev3", "1.0.0-dev3"),
        ("2.0.0b1", "2.0.0-b1"),
    ],
)
def test_versions_take_the_form_of_semver(version, semantic):
    assert _semantic_version(version) == semantic


def test_files_are_delivered_acknowledged_and_cached(client, agent, product):
    agent.offer({GOOD: b"one", OTHER: b"two"}, version=7)
    assert client.poll()
    assert product.held == {GOOD: b"one", OTHER: b"two"}
    agent.answer = {}
    assert client.poll()
    assert state(agent)["targets_version"] == 7
    assert state(agent)["backend_client_state"] == base64.b64encode(b"state 7").decode()
    assert state(agent)["config_states"] == [
        {"id": "1", "version": 7, "product": "APM_TRACING", "apply_state": 2, "apply_error": ""},
        {"id": "2", "version": 7, "product": "APM_TRACING", "apply_state": 2, "apply_error": ""},
    ]
    assert agent.polls[-1]["cached_target_files"][0] == {
        "path": GOOD,
        "length": 3,
        "hashes": [{"algorithm": "sha256", "hash": hashlib.sha256(b"one").hexdigest()}],
    }
    assert product.held == {GOOD: b"one", OTHER: b"two"}
    assert product.completed == 2


def test_changes_are_found_by_hash_alone(client, agent, product):
    agent.offer({GOOD: b"one", OTHER: b"two"}, version=0)
    client.poll()
    agent.offer({GOOD: b"one", OTHER: b"three"}, version=0)
    client.poll()
    agent.offer({OTHER: b"three"}, version=0)
    client.poll()
    assert product.calls == [([], [GOOD, OTHER]), ([], [OTHER]), ([GOOD], [])]


def test_content_of_a_cached_file_need_not_be_sent_again(client, agent, product):
    agent.offer({GOOD: b"one"}, version=1)
    client.poll()
    agent.offer({GOOD: b"one", OTHER: b"two"}, version=2)
    agent.answer["target_files"] = agent.answer["target_files"][1:]
    assert client.poll()
    assert product.held == {GOOD: b"one", OTHER: b"two"}


@pytest.mark.parametrize("content", [b"bad", b"raise"])
def test_errors_of_a_product_are_reported(client, agent, content):
    agent.offer({GOOD: content})
    assert client.poll()
    client.poll()
    (entry,) = state(agent)["config_states"]
    assert entry["apply_state"] == 3
    assert entry["apply_error"]
    assert state(agent)["has_error"] is False


def test_not_found_and_expiry_drop_all_files(client, agent, product, time):
    agent.offer({GOOD: b"one"}, version=3)
    client.poll()
    agent.answer = {"config_status": 1}
    client.poll()
    assert product.held == {}
    agent.offer({GOOD: b"one"}, version=4)
    client.poll()
    assert product.held
    agent.status = 404
    assert client.poll()
    assert product.held == {}
    assert client.is_offered is False
    agent.status, time.now = 200, time.now + 61
    agent.offer({GOOD: b"new"}, version=1)
    assert client.poll()
    assert (state(agent)["targets_version"], state(agent)["backend_client_state"]) == (0, "")
    assert product.held == {GOOD: b"new"}


def test_an_agent_that_does_not_offer_the_endpoint_is_not_polled(client, agent, time):
    agent.offers = ["/v0.4/traces"]
    for _ in range(3):
        assert not client.poll()
    assert (agent.infos, agent.polls) == (1, [])
    agent.offers, time.now = ["v0.7/config"], 61.0
    assert client.poll()
    assert agent.infos == 2


def test_an_agent_that_is_not_there_is_asked_again_each_time(client, agent):
    agent.offers = None
    for _ in range(5):
        assert not client.poll()
    assert (agent.infos, agent.polls, client.error) == (5, [], "")


def test_after_three_failures_info_is_read_again(client, agent, product):
    agent.offer({GOOD: b"one"})
    client.poll()
    agent.answer = AgentConnectionError("gone")
    for _ in range(3):
        assert not client.poll()
    assert product.held == {GOOD: b"one"}
    agent.offers = []
    assert not client.poll()
    assert (agent.infos, len(agent.polls)) == (2, 4)
    assert product.held == {}


def test_status_is_reported_and_cleared(client, agent):
    agent.status = 500
    assert not client.poll()
    agent.status = 200
    assert client.poll()
    assert state(agent)["has_error"] is True
    assert "500" in state(agent)["error"]
    client.poll()
    assert state(agent)["has_error"] is False


def _with(change):
    """Return an answer for a new content of the file, changed by `change(answer, targets)`."""
    answer = remote_config_answer({GOOD: b"evil"}, 9)
    targets = decoded_targets(answer)
    changed = change(answer, targets)
    if changed is not None:
        return changed
    answer["targets"] = encoded(targets)
    return answer


def _set(container, key, value):
    container[key] = value


HOSTILE = {
    "not JSON": lambda _a, _t: b"<html></html>",
    "invalid UTF-8": lambda _a, _t: b"\xff\xfe\xfd\xfc\xfb",
    "nested without end": lambda _a, _t: b"[" * 100_000,
    "an array": lambda _a, _t: b"[1, 2, 3]",
    "targets as a number": lambda a, _t: {**a, "targets": 7},
    "targets not base64": lambda a, _t: {**a, "targets": "*" * 20},
    "targets base64 of garbage": lambda a, _t: {**a, "targets": base64.b64encode(b"garbage").decode()},
    "targets not ASCII": lambda a, _t: {**a, "targets": "é" * 20},
    "targets missing": lambda a, _t: {**a, "targets": None},
    "targets an array": lambda a, _t: {**a, "targets": encoded([])},
    "signed missing": lambda a, _t: {**a, "targets": encoded({})},
    "signed as a text": lambda _a, t: _set(t, "signed", "text"),
    "version as a text": lambda _a, t: _set(t["signed"], "version", "9"),
    "version a boolean": lambda _a, t: _set(t["signed"], "version", True),
    "version enormous": lambda _a, t: _set(t["signed"], "version", 1 << 70),
    "version negative": lambda _a, t: _set(t["signed"], "version", -1),
    "version going back": lambda _a, t: _set(t["signed"], "version", 3),
    "targets of targets an array": lambda _a, t: _set(t["signed"], "targets", [1]),
    "an entry as a text": lambda _a, t: _set(t["signed"]["targets"], GOOD, "text"),
    "hashes missing": lambda _a, t: t["signed"]["targets"][GOOD].pop("hashes") and None,
    "hash of nothing known": lambda _a, t: _set(t["signed"]["targets"][GOOD], "hashes", {"md5": "0" * 32}),
    "hash as a number": lambda _a, t: _set(t["signed"]["targets"][GOOD], "hashes", {"sha256": 5}),
    "hash malformed": lambda _a, t: _set(t["signed"]["targets"][GOOD], "hashes", {"sha256": "x"}),
    "hash wrong": lambda _a, t: _set(t["signed"]["targets"][GOOD], "hashes", {"sha256": "0" * 64}),
    "long hash wrong": lambda _a, t: _set(t["signed"]["targets"][GOOD], "hashes", {"sha512": "0" * 128}),
    "file version missing": lambda _a, t: _set(t["signed"]["targets"][GOOD], "custom", {}),
    "custom missing": lambda _a, t: t["signed"]["targets"][GOOD].pop("custom") and None,
    "file not described": lambda _a, t: t["signed"]["targets"].clear(),
    "content missing": lambda a, _t: {**a, "target_files": []},
    "content not base64": lambda a, _t: {**a, "target_files": [{"path": GOOD, "raw": "*"}]},
    "content as a number": lambda a, _t: {**a, "target_files": [{"path": GOOD, "raw": 5}]},
    "files as an object": lambda a, _t: {**a, "target_files": {"path": GOOD}},
    "file as a text": lambda a, _t: {**a, "target_files": [GOOD]},
    "client_configs as a text": lambda a, _t: {**a, "client_configs": GOOD},
    "roots as a text": lambda a, _t: {**a, "roots": "root"},
    "a root not base64": lambda a, _t: {**a, "roots": ["*"]},
    "a root without version": lambda a, _t: {**a, "roots": [encoded({"signed": {}})]},
    "a thousand roots": lambda a, _t: {**a, "roots": a["roots"] * 1000},
    "a thousand files": lambda _a, _t: remote_config_answer(
        {f"datadog/2/APM_TRACING/{number}/config": b"x" for number in range(1000)}, 9
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_answers_change_nothing_and_are_reported(client, agent, product, hostile):
    agent.offer({GOOD: b"one"}, version=5)
    assert client.poll()
    before = copy.deepcopy(client.request())
    agent.answer = _with(HOSTILE[hostile])
    assert not client.poll()
    after = client.request()
    assert after["client"]["state"].pop("has_error") is True
    assert 0 < len(after["client"]["state"].pop("error")) <= 400
    del before["client"]["state"]["has_error"], before["client"]["state"]["error"]
    assert after == before
    assert product.held == {GOOD: b"one"}
    agent.offer({GOOD: b"two"}, version=6)
    assert client.poll()
    assert product.held == {GOOD: b"two"}
    assert client.error == ""


@pytest.mark.parametrize(
    "odd",
    [
        "datadog/2/APM_TRACING/../config",
        "datadog/2/APM_TRACING/1/..",
        "datadog/2/APM_TRACING/1/../../x",
        "/etc/passwd",
        "datadog/x/APM_TRACING/1/config",
        "datadog/9223372036854775808/APM_TRACING/1/config",
        "datadog/2/APM_TRACING//config",
        "datadog/2/APM_TRACING/1/config\n",
        "employee/2/APM_TRACING/1/config",
        "datadog/2/ASM_DD/1/config",
        "",
    ],
)
def test_unusable_paths_and_unknown_products_are_skipped(client, agent, product, odd):
    agent.offer({GOOD: b"one", odd: b"x"})
    assert client.poll()
    assert product.held == {GOOD: b"one"}


def test_paths_that_are_not_texts_are_skipped(client, agent, product):
    agent.offer({GOOD: b"one"})
    agent.answer["client_configs"] += [None, 5, [], {}]
    assert client.poll()
    assert product.held == {GOOD: b"one"}


def test_an_answer_without_targets_and_configs_removes_everything(client, agent, product):
    agent.answer = {"roots": []}
    assert client.poll()
    agent.offer({GOOD: b"one"})
    client.poll()
    agent.answer = {"roots": [], "client_configs": []}
    assert client.poll()
    assert product.held == {}


def test_the_highest_root_is_reported(client, agent):
    agent.offer({GOOD: b"one"})
    agent.answer["roots"] = [encoded({"signed": {"version": number}}) for number in (3, 5, 2)]
    client.poll()
    client.poll()
    assert state(agent)["root_version"] == 5


def test_sha512_serves_where_there_is_no_sha256(client, agent, product):
    agent.offer({GOOD: b"one"})
    targets = decoded_targets(agent.answer)
    targets["signed"]["targets"][GOOD]["hashes"] = {"sha512": hashlib.sha512(b"one").hexdigest().upper()}
    agent.answer["targets"] = encoded(targets)
    assert client.poll()
    assert product.held == {GOOD: b"one"}
    assert json.dumps(client.request()).count("sha512") == 1
