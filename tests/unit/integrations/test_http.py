"""The rules for HTTP spans by themselves, and with hostile input."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ddtrace_manual as dd
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual.config import Config
from ddtrace_manual.integrations._http import HttpRules, current_rules, known_method, quoted_path
from ddtrace_manual.testing import SpanRecorder

RULES = HttpRules.of(Config.load({}, environ={}, argv=["test"]))

URLS = [
    ("http://shop.example/a?b=1#c", "http://shop.example/a?b=1", "shop.example", None),
    ("https://u:p@shop.example:8443/a", "https://shop.example:8443/a", "shop.example", 8443),
    ("http://a@b:c@shop.example/", "http://shop.example/", "shop.example", None),
    ("http://[::1]:80/a", "http://[::1]:80/a", "::1", 80),
    ("http://[::1]/a", "http://[::1]/a", "::1", None),
    ("http://u:p@h\\@x/", "http://h\\@x/", "h", None),
    ("http://shop.example?token=1", "http://shop.example?<redacted>", "shop.example", None),
    ("http://shop.example:99999999/", "http://shop.example:99999999/", "shop.example:99999999", None),
    ("/relative?a=1", None, None, None),
    ("user:pw@host/x", None, None, None),
    ("http://h/" + "a" * 5000, "http://h/" + "a" * 2039, "h", None),
]


@pytest.mark.parametrize(("url", "full", "host", "port"), URLS)
def test_urls_of_clients_are_recorded_without_secrets(url, full, host, port):
    """Credentials and fragment vanish, queries are redacted, address and port are told apart."""
    values = RULES.client_values("GET", url)
    assert (values.get("url.full"), values.get("server.address"), values.get("server.port")) == (full, host, port)


def rules(**settings):
    """Return the rules of a configuration given by its settings."""
    return HttpRules.of(Config.load(settings, environ={}, argv=["test"]))


def test_queries_can_be_left_out():
    """Each side has its switch; without an expression nothing is redacted."""
    no_server, no_client = rules(http_server_tag_query_string=False), rules(trace_http_client_tag_query_string=False)
    assert "url.query" not in no_server.server_values("GET", "http", "h", "/", "a=1")
    assert no_server.client_values("GET", "http://h/?a=1")["url.full"] == "http://h/?a=1"
    assert no_client.client_values("GET", "http://h/?a=1")["url.full"] == "http://h/"
    assert no_client.server_values("GET", "http", "h", "/", "a=1")["url.full"] == "http://h/?a=1"
    open_rules = rules(trace_obfuscation_query_string_regexp="")
    assert open_rules.client_values("GET", "http://h/?token=1")["url.full"] == "http://h/?token=1"


def test_an_unusable_expression_records_no_query(caplog):
    """What must not be seen is unknown then."""
    broken = HttpRules.of(Config.load({}, environ={"DD_TRACE_OBFUSCATION_QUERY_STRING_REGEXP": "("}, argv=["test"]))
    assert broken.client_values("GET", "http://h/?a=1")["url.full"] == "http://h/"


def test_long_queries_are_cut_behind_a_whole_parameter():
    """A cut in the middle of a secret could leave its beginning unrecognised."""
    query = "a=1&" * 511 + "token=" + "x" * 5000
    recorded = RULES.client_values("GET", f"http://h/?{query}")["url.full"]
    assert recorded.endswith("a=1")
    assert "token" not in recorded


HOSTILE = ["a" * 1_000_000, "-eyj" * 250_000, "pass" * 250_000, "a=1&" * 250_000, "?" * 1_000_000, "bearer+" * 100_000]


@pytest.mark.parametrize("query", HOSTILE, ids=lambda query: query[:8])
def test_hostile_queries_take_little_time(query):
    """A megabyte made to be slow takes no longer than any other."""
    begin = time.process_time()
    RULES.client_values("GET", f"http://h/?{query}")
    RULES.server_values("GET", "http", "h", "/", query)
    assert time.process_time() - begin < 0.25


@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_nothing_raises(method, scheme, host, path, query):
    """Whatever a server or an application calls a request, attributes come out and hold no user name."""
    RULES.server_values(method, scheme, host, quoted_path(path), query)
    values = RULES.client_values(method, f"{scheme}://user:secret@{host}/{path}?{query}")
    if "user" not in scheme + host + path + query and "://" not in scheme:
        assert "user:secret@" not in values["url.full"]


@pytest.mark.parametrize(
    ("method", "name"), [("GET", "GET"), ("get", "GET"), ("QUERY", "QUERY"), ("BREW", "HTTP"), ("", "HTTP")]
)
def test_unknown_methods_make_no_names(method, name):
    """Strangers cannot make resource names up."""
    assert known_method(method) == name


def test_rules_follow_the_configuration(monkeypatch):
    """They are made once for each configuration; before one there is nothing to go by, and no query is recorded."""
    with SpanRecorder(service="t", trace_http_client_error_statuses="418"):
        first = current_rules()
        assert first.client_errors == {418}
        assert current_rules() is first
        dd.configure(service="t", trace_http_client_error_statuses="500-599")
        assert 500 in current_rules().client_errors
    monkeypatch.setattr(RUNTIME, "config", None, raising=False)
    assert current_rules().client_values("GET", "http://h/?a=1")["url.full"] == "http://h/"
