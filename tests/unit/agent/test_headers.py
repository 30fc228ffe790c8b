from __future__ import annotations

import pytest

from ddtrace_manual._agent import common_headers
from ddtrace_manual._agent.headers import valid_headers

MINIMUM = {
    "Datadog-Meta-Lang": "python",
    "Datadog-Meta-Lang-Version": "3.12.4",
    "Datadog-Meta-Lang-Interpreter": "CPython",
    "Datadog-Meta-Tracer-Version": "0.1.0",
    "User-Agent": "Tracer/0.1.0",
}


def make(**options):
    return common_headers(tracer_version="0.1.0", language_version="3.12.4", interpreter="CPython", **options)


def test_minimum():
    """What is not known is left out."""
    assert make() == MINIMUM
    assert make(container_id="", entity_id="", external_env="", additional={}) == MINIMUM


def test_everything():
    """Container, entity, external environment and the user's own fields are added; the latter win."""
    additional = {"X-Datadog-Test-Session-Token": "t", "User-Agent": "mine"}

    headers = make(container_id="c", entity_id="ci-c", external_env="it-false", additional=additional)

    assert headers == {
        **MINIMUM,
        "Datadog-Container-ID": "c",
        "Datadog-Entity-ID": "ci-c",
        "Datadog-External-Env": "it-false",
        **additional,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "v"),
        ("a b", "v"),
        ("a:b", "v"),
        ("é", "v"),
        ("a", ""),
        ("a", " "),
        ("a", "v\r\nb: c"),
        ("a", "\x7f"),
        ("a", "€"),
    ],
)
def test_invalid_field(name, value):
    """A field that HTTP cannot carry is left out instead of spoiling every request."""
    assert valid_headers({name: value, "ok": " é "}) == {"ok": "é"}
