"""Modes of delivery, with a real Agent double on a real socket."""

import json
import socket

import pytest

pytestmark = [pytest.mark.integration]


def test_synchronous_mode_waits_for_each_trace(program, agent):
    """With synchronous writes a trace has arrived when its root span has ended."""
    ended = program("""
configure(trace_writer_synchronous_write=True)
for number in range(3):
    trace(str(number))
    print(dd.counters().sent_spans, flush=True)
os._exit(0)
""")
    assert (ended.returncode, ended.out) == (0, "1\n2\n3\n"), ended.err
    assert sorted(agent.accepted) == ["0", "1", "2"]


def test_synchronous_mode_waits_once_for_an_agent_that_is_away(program, agent):
    """While the Agent is away the first trace waits for its timeout, the next ones not at all; none is lost."""
    agent.set_mode("absent")
    ended = program("""
configure(trace_writer_synchronous_write=True, trace_writer_synchronous_timeout=5.0)
times = []
for number in range(3):
    begin = time.monotonic()
    trace(str(number))
    times.append(time.monotonic() - begin)
print(times[0] < 5.5, times[1] < 0.1, times[2] < 0.1, dd.counters().queued_spans, flush=True)
os._exit(0)
""")
    assert (ended.returncode, ended.out) == (0, "True True True 3\n"), ended.err


def test_partial_flush_sends_a_large_trace_in_parts(program, agent):
    """The finished spans of an unfinished trace go out in chunks, each with the tags of the trace on its first span."""
    ended = program("""
configure(trace_partial_flush_min_spans=10)
with dd.span("root", tags={"seq": "root"}):
    for number in range(20): trace(str(number))
    assert dd.flush()
    print(dd.counters().sent_spans, dd.counters().sent_traces)
    for number in range(20, 25): trace(str(number))
""")
    assert (ended.returncode, ended.out) == (0, "20 2\n"), ended.err
    assert len(agent.accepted) == 26
    assert len({span["trace_id"] for span in agent.spans.values()}) == 1
    firsts = [span for span in agent.spans.values() if "_sampling_priority_v1" in span["metrics"]]
    assert len(firsts) == 3


def test_without_partial_flush_a_trace_goes_out_whole(program, agent):
    """With partial flushing off nothing of an unfinished trace is sent without a flush."""
    ended = program("""
configure(trace_partial_flush_enabled=False)
with dd.span("root", tags={"seq": "root"}):
    for number in range(400): trace(str(number))
    print(dd.counters().sent_spans)
""")
    assert (ended.returncode, ended.out) == (0, "0\n"), ended.err
    assert len(agent.accepted) == 401
    assert [span["metrics"].get("_sampling_priority_v1") for span in agent.spans.values()].count(1) == 1


def test_trace_filters_may_change_and_drop(program, agent):
    """Filters of the application see finished spans, and decide what is sent."""
    ended = program("""
def without_noise(spans):
    return [span for span in spans if span.get_tag("seq") != "noise"]
def of_another_service(spans):
    for span in spans: span.values["service.name"] = "other"
    return spans
configure(trace_filters=[without_noise, of_another_service])
trace("a"); trace("noise"); trace("b")
assert dd.flush()
print(dict(dd.counters().dropped_spans))
""")
    assert (ended.returncode, ended.out) == (0, "{'trace_processor': 1}\n"), ended.err
    assert sorted(agent.accepted) == ["a", "b"]


def test_an_agent_without_the_format_gets_another(program, agent):
    """An Agent that answers 404 to v0.5 gets the same traces as v0.4, and all later ones."""
    agent.set_mode("only_v04")
    ended = program("""
configure(trace_api_version="v0.5")
trace("a"); assert dd.flush()
trace("b"); assert dd.flush()
print(dd.counters().requests)
""")
    assert (ended.returncode, ended.out) == (0, "3\n"), ended.err
    assert dict(agent.accepted) == {"a": 1, "b": 1}


def test_health_metrics_report_what_was_sent(program, agent):
    """With health metrics on every payload is reported over DogStatsD."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        port = receiver.getsockname()[1]
        ended = program(f"""
configure(trace_health_metrics_enabled=True, dogstatsd_url="udp://127.0.0.1:{port}")
trace("a")
""")
        assert ended.returncode == 0, ended.err
        received = [receiver.recv(4096).decode() for _ in range(4)]
    values = dict(datagram.split("|", 1)[0].rsplit(":", 1) for datagram in received)
    assert values["datadog.tracer.exporter.transport.traces.successful"] == "1"
    assert all("lang:python" in datagram for datagram in received)


def test_configuring_again_loses_nothing(program, agent):
    """Traces that wait, or are being sent, when the configuration changes arrive once."""
    agent.set_mode("late")
    ended = program("""
for number in range(5):
    configure(env=f"env{number}")
    trace(f"{number}a")
    if number == 2: time.sleep(1.2)
    trace(f"{number}b")
assert dd.flush(15)
print(threading.active_count())
""")
    assert (ended.returncode, ended.out) == (0, "2\n"), ended.err
    assert dict(agent.accepted) == {f"{number}{letter}": 1 for number in range(5) for letter in "ab"}


def test_lambda_without_an_agent_logs_traces(program, agent, monkeypatch):
    """In Lambda without extension and without an Agent's address each trace is a line of the log at once."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    ended = program("""
dd.configure(instrumentation_telemetry_enabled=False, remote_configuration_enabled=False, trace_startup_logs=False)
span = trace("a")
os._exit(0)
""")
    [[span]] = json.loads(ended.out)["traces"]
    assert span["meta"]["seq"] == "a"
    assert agent.connections == 0


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://", "DD_TRACE_AGENT_URL"),
        ("ftp://localhost:1", "DD_TRACE_AGENT_URL"),
        ("http://nowhere.invalid:8126", "nowhere.invalid"),
        ("unix:///nowhere/apm.socket", "/nowhere/apm.socket"),
        ("unix:///etc/passwd", "/etc/passwd"),
    ],
)
def test_bad_addresses_are_reported_once(program, monkeypatch, url, text):
    """An address that cannot work gives a clear line naming it or its setting; tracing and the exit go on."""
    monkeypatch.setenv("DD_TRACE_AGENT_URL", url)
    ended = program("""
import logging; logging.basicConfig(format="LOG %(message)s")
dd.configure(instrumentation_telemetry_enabled=False, remote_configuration_enabled=False, trace_startup_logs=False)
trace("a"); trace("b")
""")
    assert ended.returncode == 0, ended.err
    assert text in ended.err
    assert len(ended.err.splitlines()) <= 3, ended.err
    assert "Traceback" not in ended.err
    assert ended.took_s < 8
