"""Trace filters of the application change spans with their public methods."""

import threading

import pytest

import ddtrace_manual as dd
from ddtrace_manual.testing import FakeAgent


@pytest.fixture
def agent():
    with FakeAgent() as agent:
        yield agent


def configure(agent, *filters, **settings):
    dd.configure(agent_url=agent.url, trace_startup_logs=False, trace_filters=filters, **settings)


CHANGES = {
    "set_tag": (lambda s: s.set_tag("password", "<redacted>"), lambda d: d["meta"]["password"], "<redacted>"),
    "set_tags": (lambda s: s.set_tags({"password": "x"}), lambda d: d["meta"]["password"], "x"),
    "set_attribute": (lambda s: s.set_attribute("password", "x"), lambda d: d["meta"]["password"], "x"),
    "set_attributes": (lambda s: s.set_attributes({"password": "x"}), lambda d: d["meta"]["password"], "x"),
    "remove": (lambda s: s.set_tag("password", None), lambda d: d["meta"].get("password"), None),
    "set_metric": (lambda s: s.set_metric("m", 2.5), lambda d: d["metrics"]["m"], 2.5),
    "resource": (lambda s: setattr(s, "resource", "GET /?"), lambda d: d["resource"], "GET /?"),
    "service": (lambda s: setattr(s, "service", "other"), lambda d: d["service"], "other"),
    "span_type": (lambda s: setattr(s, "span_type", "web"), lambda d: d["type"], "web"),
    "set_error": (lambda s: s.set_error(message="m"), lambda d: (d["error"], d["meta"]["error.message"]), (1, "m")),
    "record_exception": (lambda s: s.record_exception(ValueError("v")), lambda d: "ValueError" in str(d), True),
    "add_event": (lambda s: s.add_event("happened"), lambda d: "happened" in str(d), True),
    "add_link": (lambda s: s.add_link(s), lambda d: len(str(d.get("span_links", ""))) > 0, True),
    "update_name": (lambda s: s.update_name("renamed"), lambda d: "renamed" in str(d), True),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("limits", [False, True], ids=["usual", "limited"])
def test_what_a_filter_sets_arrives(fresh_setup, agent, change, limits):
    """Every public method works on the ended spans of the chunk, root and child."""
    from opentelemetry.sdk.trace import SpanLimits

    act, read, expected = CHANGES[change]

    def each(spans):
        for span in spans:
            act(span)
        return spans

    configure(agent, each, **({"span_limits": SpanLimits(max_span_attributes=50)} if limits else {}))
    with dd.span("root", tags={"password": "secret"}), dd.span("child", tags={"password": "secret"}):
        pass
    assert dd.flush(10)
    (chunk,) = agent.traces()
    assert [read(span) for span in chunk] == [expected, expected]


def test_filters_change_spans_that_ended_before_they_were_configured(fresh_setup, agent):
    """Spans that wait in their compact form become spans with all methods."""
    configure(agent)
    root = dd.start_span("root")
    dd.start_span("child", parent=root, tags={"password": "secret"}).end()
    configure(agent, lambda spans: [span.set_tag("password", "x") for span in spans] and spans)
    root.end()
    assert dd.flush(10)
    assert {span["meta"]["password"] for chunk in agent.traces() for span in chunk} == {"x"}


def test_after_the_filters_an_ended_span_is_final(fresh_setup, agent):
    """The spans can be changed while the filters run, on their thread only."""
    kept = []

    def keep(spans):
        kept.extend(spans)
        other = threading.Thread(target=lambda: spans[0].set_tag("other", "x"))
        other.start()
        other.join()
        spans[0].set_tag("first", "x")
        raise ValueError

    configure(agent, keep, lambda spans: spans[0].set_tag("second", "x") or spans)
    with dd.span("root"):
        pass
    assert dd.flush(10)
    kept[0].set_tag("late", "x")
    kept[0].resource = "late"
    tags = {key: kept[0].get_tag(key) for key in ("other", "first", "second", "late")}
    assert tags == {"other": None, "first": "x", "second": "x", "late": None}
    assert kept[0].resource == "root"


def test_statistics_count_what_the_filters_made(fresh_setup, agent):
    """A changed resource is the one that statistics show."""
    configure(
        agent,
        lambda spans: [setattr(span, "resource", "clean") for span in spans] and spans,
        trace_stats_computation_ignore_agent_version=True,
    )
    with dd.span("root", resource="secret"):
        pass
    assert dd.flush(10)
    groups = [group for payload in agent.stats() for bucket in payload["Stats"] for group in bucket["Stats"]]
    assert [group["Resource"] for group in groups] == ["clean"]
