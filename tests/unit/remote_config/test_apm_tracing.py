"""APM_TRACING: reading keys, choosing among files, and when something is put into effect."""

from __future__ import annotations

import json

import pytest

from ddtrace_manual._remote_config import ApmTracing, Overrides, RemoteFile
from ddtrace_manual.sampling import SamplingRule
from ddtrace_manual.sampling._parse import parse_remote_rate, parse_remote_rules

RULE = {"service": "s", "sample_rate": 0.5, "provenance": "customer"}
PARSED = SamplingRule(0.5, service="s", provenance="customer")


class Tracing:
    """The product, with what it had applied."""

    def __init__(self, **settings):
        self.applied = []
        self.accepts = True
        self.extra = []
        self.product = ApmTracing(
            service="Checkout",
            env="Prod",
            extra_services=lambda: self.extra,
            parse_rate=parse_remote_rate,
            parse_rules=parse_remote_rules,
            apply=self._apply,
            **settings,
        )

    def _apply(self, overrides):
        if self.accepts:
            self.applied.append(overrides)
        return self.accepts

    def take(self, removed=(), **files):
        """Deliver contents by config id; return the errors by id."""
        gone = [file_of(config_id, b"") for config_id in removed]
        errors = self.product.update(gone, [file_of(config_id, content) for config_id, content in files.items()])
        self.product.complete()
        return {path.split("/")[3]: error for path, error in errors.items()}

    @property
    def overrides(self):
        return self.product.overrides


def file_of(config_id, content):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return RemoteFile(
        f"datadog/2/APM_TRACING/{config_id}/config", "APM_TRACING", config_id, 1, "sha256", "0" * 64, content
    )


def content(config_id="x", service=None, env=None, **lib_config):
    target = {"service": service, "env": env} if service or env else None
    return {"id": config_id, "action": "enable", "service_target": target, "lib_config": lib_config}


@pytest.fixture
def tracing():
    return Tracing()


KEYS = [
    ("tracing_sampling_rate", 0.25, "sampling_rate", 0.25),
    ("tracing_sampling_rate", 0, "sampling_rate", 0.0),
    ("tracing_sampling_rules", [RULE], "sampling_rules", (PARSED,)),
    ("tracing_sampling_rules", [], "sampling_rules", ()),
    ("tracing_sampling_rules", [{"sample_rate": 1}, 5, RULE], "sampling_rules", (PARSED,)),
    ("tracing_tags", ["a:b", "c:d:e", "odd", 5, ":x", " f : g "], "tags", {"a": "b", "c": "d:e", "f": "g"}),
    ("tracing_enabled", False, "enabled", False),
    ("log_injection_enabled", True, "log_injection", True),
    ("log_injection_enabled", "1", "log_injection", True),
    ("log_injection_enabled", "False", "log_injection", False),
    (
        "tracing_header_tags",
        [{"header": "X-Id", "tag_name": "x.id"}, {"header": "Y"}, {"tag_name": "t"}, "odd", {"header": 5}],
        "header_tags",
        {"X-Id": "x.id", "Y": ""},
    ),
]


@pytest.mark.parametrize(("key", "value", "field", "expected"), KEYS)
def test_a_key_is_set_and_unset(tracing, key, value, field, expected):
    assert tracing.take(one=content(**{key: value})) == {}
    assert tracing.overrides == Overrides(**{field: expected})
    assert tracing.overrides.config_id == "x"
    assert tracing.take(one=content(**{key: None})) == {}
    assert tracing.overrides == Overrides()
    tracing.take(one=content(**{key: value}))
    tracing.take(removed=["one"])
    assert tracing.overrides == Overrides()
    assert len(tracing.applied) == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tracing_sampling_rate", "0.5"),
        ("tracing_sampling_rate", True),
        ("tracing_sampling_rate", 1.5),
        ("tracing_sampling_rate", float("nan")),
        ("tracing_sampling_rules", {}),
        ("tracing_sampling_rules", [{**RULE, "sample_rate": 2}]),
        ("tracing_sampling_rules", [RULE] * 1001),
        ("tracing_tags", "a:b"),
        ("tracing_tags", {"a": "b"}),
        ("tracing_tags", ["a:b"] * 1001),
        ("tracing_enabled", "false"),
        ("tracing_enabled", 0),
        ("log_injection_enabled", "maybe"),
        ("log_injection_enabled", 1),
        ("tracing_header_tags", "x"),
    ],
)
def test_a_wrong_value_costs_its_file_which_keeps_what_it_said(tracing, key, value):
    tracing.take(one=content(tracing_sampling_rate=0.5, tracing_tags=["a:b"]), two=content(log_injection_enabled=False))
    before = tracing.overrides
    errors = tracing.take(one=content(**{"tracing_tags": ["c:d"], key: value}), two=content(log_injection_enabled=True))
    assert errors["one"].startswith(f"{key}: ")
    assert errors.keys() == {"one"}
    assert tracing.overrides == Overrides(before.sampling_rate, tags=before.tags, log_injection=True)


@pytest.mark.parametrize(
    "odd", [b"", b"garbage", b"[]", b"5", {"lib_config": []}, {"service_target": "x"}, {"service_target": {"env": 5}}]
)
def test_a_malformed_file_is_an_error(tracing, odd):
    assert tracing.take(one=odd).keys() == {"one"}
    assert tracing.applied == []


@pytest.mark.parametrize("idle", [{}, {"action": "unheard_of", "lib_config": {"tracing_sampling_rate": 0}}])
def test_a_file_that_says_nothing_is_acknowledged(tracing, idle):
    assert tracing.take(one=idle) == {}
    assert tracing.applied == []


@pytest.mark.parametrize(
    ("service", "env", "concerns"),
    [
        (None, None, True),
        ("*", "*", True),
        ("CHECKOUT", "prod", True),
        ("checkout", "PROD", True),
        ("checkout-DB", None, True),
        ("billing", None, False),
        ("checkout", "staging", False),
        (None, "", False),
    ],
)
def test_files_for_others_are_acknowledged_and_ignored(tracing, service, env, concerns):
    tracing.extra = ["Checkout-db"]
    given = {"service_target": {"service": service, "env": env}, "lib_config": {"tracing_sampling_rate": 0.5}}
    assert tracing.take(one=given) == {}
    assert (tracing.overrides.sampling_rate == 0.5) is concerns


def test_a_service_that_is_seen_later_counts_with_the_next_poll(tracing):
    tracing.take(one=content(service="late", tracing_sampling_rate=0.5))
    assert tracing.applied == []
    tracing.extra = ["late"]
    tracing.product.complete()
    assert tracing.overrides.sampling_rate == 0.5


def test_the_most_specific_file_wins_key_by_key(tracing):
    tracing.take(
        everyone=content("e", tracing_sampling_rate=0.1, tracing_tags=["e:e"], log_injection_enabled=False),
        env=content("v", env="prod", tracing_sampling_rate=0.2, tracing_tags=["v:v"]),
        service=content("s", service="checkout", tracing_sampling_rate=0.4, tracing_tags=None),
    )
    assert tracing.overrides == Overrides(0.4, tags={"v": "v"}, log_injection=False)
    assert tracing.overrides.config_id == "s"
    tracing.take(both=content("b", service="checkout", env="prod", tracing_sampling_rate=0.6))
    assert tracing.overrides.sampling_rate == 0.6
    tracing.take(removed=["both", "service"])
    assert tracing.overrides.sampling_rate == 0.2
    tracing.take(k8s={"k8s_target_v2": {}, "lib_config": {"log_injection_enabled": True}})
    assert tracing.overrides.log_injection is True


def test_among_equals_the_last_received_wins(tracing):
    tracing.take(one=content(tracing_sampling_rate=0.1))
    tracing.take(two=content(tracing_sampling_rate=0.2))
    assert tracing.overrides.sampling_rate == 0.2
    tracing.take(one=content(tracing_sampling_rate=0.3))
    assert tracing.overrides.sampling_rate == 0.3


def test_nothing_is_applied_when_nothing_changes(tracing):
    for _ in range(3):
        tracing.take(one=content(tracing_sampling_rate=0.1))
    assert len(tracing.applied) == 1


def test_what_could_not_be_applied_is_tried_with_the_next_answer(tracing):
    tracing.accepts = False
    tracing.take(one=content(tracing_sampling_rate=0.1))
    assert tracing.overrides == Overrides()
    tracing.accepts = True
    tracing.take()
    assert tracing.overrides == Overrides(0.1)


def test_inherited_overrides_stay_until_the_first_answer():
    tracing = Tracing(inherited=Overrides(0.5))
    assert tracing.overrides == Overrides(0.5)
    tracing.take()
    assert tracing.applied == [Overrides()]
