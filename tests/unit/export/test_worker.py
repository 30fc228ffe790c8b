"""The worker: when it acts, what `flush` and `shutdown` promise, and how it ends."""

from dataclasses import replace

import pytest

from ddtrace_manual._export import DropReason
from ddtrace_manual._export.flush_requests import FlushRequest
from ddtrace_manual.exceptions import AgentConnectionError

REFUSED = AgentConnectionError("refused")


def refuse(rig, times=10_000):
    """Let nothing answer any more."""
    rig.client.script.extend(["network"] * times)
    rig.client.info_script.extend([REFUSED] * times)


def come_back(rig):
    rig.client.script.clear()
    rig.client.info_script.clear()


def test_no_thread_runs_before_the_first_chunk(rig):
    """The thread starts with the first chunk, once."""
    assert rig.threads == []
    rig.put(1)
    rig.put(2)
    assert [thread.started for thread in rig.threads] == [True]
    assert rig.threads[0].name == "ddtrace-manual-export"


def test_the_first_request_asks_what_the_agent_can(rig):
    """`/info` is asked before anything is mapped or sent."""
    rig.client.took_s = 0.5
    rig.put(1)
    rig.turn()
    assert rig.client.info_requests == 1
    assert rig.applied == 1
    assert rig.client.delivered() == [[[1]]]


def test_chunks_wait_for_the_interval(rig):
    """What comes within the interval goes out together at its end."""
    start_ns = rig.clock.now_ns
    rig.put(1)
    rig.worker._wakeup.set()
    rig.put(2)
    rig.turn()
    assert rig.clock.now_ns - start_ns == 1_000_000_000
    assert rig.client.delivered() == [[[1], [2]]]


def test_many_bytes_go_out_early(make_rig):
    """Half a buffer of waiting chunks does not wait for the interval."""
    rig = make_rig(max_bytes=2000)
    rig.put(1)
    rig.put(2)
    start_ns = rig.clock.now_ns
    rig.turn()
    assert rig.clock.now_ns == start_ns
    assert rig.client.delivered() == [[[1], [2]]]


def test_chunks_that_are_not_sent_give_their_budget_back(rig):
    """A chunk of which nothing is to be sent is released, and costs no request."""
    rig.mapped = lambda segment, spans, *, partial: []
    rig.put(1)
    rig.turn()
    assert rig.client.posts == []
    assert rig.queue.used_bytes == 0


# -- flush ---------------------------------------------------------------------------------------------


def test_flush_delivers_traces_then_statistics(rig):
    """A flush sends at once, forces the open bucket of statistics out afterwards, and says so."""
    rig.pipeline.concentrator = object()
    rig.pipeline._count_and_select = lambda segment, spans, concentrator: spans
    start_ns = rig.clock.now_ns
    rig.put(1)
    assert rig.worker.flush(5.0)
    assert rig.client.delivered() == [[[1]]]
    assert rig.stats.flushes == [True]
    assert rig.clock.now_ns == start_ns


def test_flush_with_nothing_to_send_asks_for_info(rig):
    """A flush before any span starts the thread and waits for the first answer of the Agent."""
    assert rig.worker.flush(5.0)
    assert rig.client.info_requests == 1
    assert rig.client.posts == []


def test_flush_waits_for_an_agent_that_comes_back(rig):
    """While the Agent is away a flush tries again and again, within its timeout."""
    rig.client.script.extend(["network"] * 8)
    rig.put(1)
    assert rig.worker.flush(5.0)
    assert rig.client.delivered() == [[[1]]]


def test_flush_gives_up_in_time(rig):
    """A flush that cannot deliver returns `False` at its timeout, and what it waited for is still delivered later."""
    refuse(rig)
    rig.put(1)
    start_ns = rig.clock.now_ns
    assert not rig.worker.flush(5.0)
    assert 5.0 <= (rig.clock.now_ns - start_ns) / 1e9 < 6.0
    come_back(rig)
    rig.run_for(60)
    assert rig.client.delivered() == [[[1]]]


def test_a_flush_that_fails_leaves_the_pace_alone(rig):
    """The attempts of a flush do not lengthen the pause that the outage has reached."""
    refuse(rig)
    rig.put(1)
    rig.turn()
    assert rig.worker.is_away
    resume_ns = rig.backoff.resume_ns
    rig.worker.flush(0.4)
    assert rig.backoff.resume_ns == resume_ns


@pytest.mark.parametrize("outcome", ["rejected", "too_large"])
def test_flush_tells_about_a_loss(rig, outcome):
    """A flush whose spans the Agent refused for good returns `False` at once, and the next one `True`."""
    rig.client.script.append(outcome)
    rig.put(1)
    start_ns = rig.clock.now_ns
    assert not rig.worker.flush(5.0)
    assert rig.clock.now_ns == start_ns
    assert rig.worker.flush(5.0)


@pytest.mark.parametrize("reason", DropReason)
def test_flush_returns_false_for_the_reasons_that_are_failures(rig, reason):
    def lose_another_span(segment, spans, *, partial):
        rig.counters.accepted_spans += reason.was_accepted
        rig.counters.taken_spans += reason.was_accepted
        rig.counters.drop(reason, spans=1)
        return [{"span_id": spans[0].span_id, "meta": {}, "metrics": {}}]

    rig.mapped = lose_another_span
    rig.put(1)
    assert rig.worker.flush(5.0) is not reason.is_failure
    assert rig.client.delivered() == [[[1]]]


def test_flush_remembers_a_loss_of_an_earlier_round(rig):
    """A flush that needs several rounds returns `False` when any of them lost something."""
    bad = {1}
    rig.mapped = lambda segment, spans, *, partial: (
        1 / 0 if spans[0].span_id in bad else [{"span_id": spans[0].span_id, "meta": {}, "metrics": {}}]
    )
    rig.client.script.extend(["network"] * 6)
    rig.put(1)
    rig.put(2)
    assert not rig.worker.flush(5.0)
    assert rig.client.delivered() == [[[2]]]


def test_flush_tells_about_lost_statistics(rig):
    """A flush whose statistics did not arrive returns `False`."""
    rig.pipeline.concentrator = object()
    rig.stats.fails = True
    assert not rig.worker.flush(5.0)


def test_flush_does_not_wait_on_the_worker_itself(rig, monkeypatch):
    """A trace filter that flushes does not wait for itself."""
    rig.put(1)
    monkeypatch.setattr("threading.current_thread", lambda: rig.threads[0])
    assert not rig.worker.flush(5.0)


def test_a_flush_that_interrupts_the_start_of_the_thread_does_no_round(make_rig):
    """In a signal handler: the thread runs already, though the interrupted frame has not noted it."""
    rig = make_rig()
    flushed = []

    class Interrupted:
        def start(self):
            flushed.append(rig.worker.flush(5.0))

    rig.worker._make_thread = lambda **_: Interrupted()
    rig.put(1)
    assert flushed == [False]
    assert rig.worker._queue


def test_flush_delivers_on_the_calling_thread_where_none_can_be_started(make_rig):
    """Where no thread can be started, for whatever reason, a flush does the work itself, and says when it cannot."""
    for reason in (RuntimeError, MemoryError, SystemError):
        rig = make_rig(start_fails=reason)
        assert rig.worker.flush(5.0)
        rig.put(1)
        assert rig.worker.flush(5.0)
        assert rig.client.delivered() == [[[1]]]
        rig.client.script.extend(["network"] * 1000)
        rig.put(2)
        begin = rig.clock.now_ns
        assert not rig.worker.flush(5.0)
        assert rig.clock.now_ns - begin < 8e9
        rig.client.script.clear()
        assert rig.worker.shutdown(5.0)
        assert rig.counters.sent_spans == 2
        assert rig.queue.used_bytes == 0


def test_a_shutdown_inside_of_a_flush_that_does_the_work(make_rig):
    """A signal handler that shuts down in the middle of such a flush does not wait; the flush ends the work."""
    rig = make_rig(start_fails=RuntimeError)
    rig.put(1)
    mapped = rig.mapped

    def shut_down_first(segment, spans, *, partial):
        rig.worker.shutdown(5.0)
        rig.worker.flush(1.0)
        return mapped(segment, spans, partial=partial)

    rig.mapped = shut_down_first
    rig.worker.flush(5.0)
    assert rig.client.delivered() == [[[1]]]
    assert rig.worker._is_done
    assert rig.worker.shutdown(1.0)


# -- outages -------------------------------------------------------------------------------------------


def test_an_outage_loses_nothing_and_keeps_the_order(rig):
    """While the Agent is away chunks are kept; when it is back they go out, oldest first, once."""
    refuse(rig)
    for span_id in range(1, 31):
        rig.put(span_id)
        rig.run_for(2)
    come_back(rig)
    rig.run_for(60)
    assert [chunk for payload in rig.client.delivered() for chunk in payload] == [[span_id] for span_id in range(1, 31)]
    assert rig.counters.dropped_spans == {}
    assert rig.queue.used_bytes == 0
    assert not rig.worker.is_away


def test_what_exceeds_the_budget_is_dropped_newest_first(make_rig, caplog):
    """In a long outage the oldest chunks are kept; one warning a minute tells how many were dropped."""
    rig = make_rig(max_bytes=20_000)
    refuse(rig)
    for span_id in range(1, 301):
        rig.put(span_id)
        rig.run_for(0.5)
    come_back(rig)
    rig.run_for(120)
    sent = [span_id for payload in rig.client.delivered() for [span_id] in payload]
    assert sent == list(range(1, len(sent) + 1))
    assert len(sent) + rig.counters.dropped_spans["overfull_buffer"] == 300
    assert rig.counters.queued_spans == 0
    warnings = [record for record in caplog.records if "buffer" in record.message]
    assert len(warnings) == 1
    assert "DD_TRACE_WRITER_BUFFER_SIZE_BYTES" in warnings[0].message
    assert warnings[0].message.endswith("the Agent takes nothing: network")


def test_memory_holds_bytes_in_an_outage(rig):
    """Chunks that cannot be sent are encoded all the same: none stays behind in the queue."""
    refuse(rig)
    rig.put(1)
    rig.turn()
    for span_id in range(2, 6):
        rig.put(span_id)
        rig.turn()
    assert len(rig.queue) == 0
    assert len(rig.delivery) == 5


def test_statistics_stay_in_their_buckets_while_the_agent_is_away(rig):
    """Nobody tries to send statistics, which are never sent twice, while traces are refused."""
    rig.pipeline.concentrator = object()
    rig.pipeline._count_and_select = lambda segment, spans, concentrator: spans
    rig.stats.due_ns = 0
    refuse(rig)
    rig.put(1)
    rig.run_for(20)
    assert rig.stats.flushes == []
    come_back(rig)
    rig.run_for(40)
    assert rig.stats.flushes[:1] == ["due"]


def test_statistics_are_flushed_when_due_without_traces(rig):
    """Statistics that are due wake the worker although no chunk waits."""
    rig.pipeline.concentrator = object()
    rig.put(1)
    rig.pipeline._count_and_select = lambda segment, spans, concentrator: ()
    rig.turn()
    rig.stats.due_ns = rig.clock.now_ns + 10_000_000_000
    rig.turn()
    assert rig.stats.flushes == ["due", "due"]


def test_info_is_asked_again_after_an_outage(rig):
    """An Agent that comes back may be another one: `/info` is due again."""
    rig.put(1)
    rig.turn()
    refuse(rig)
    rig.put(2)
    rig.run_for(10)
    come_back(rig)
    rig.run_for(40)
    rig.put(3)
    rig.turn()
    assert rig.client.info_requests == 2


def test_retries_end_when_an_outage_is_known(rig):
    """The first failure is retried by the client, later ones wait for the backoff."""
    refuse(rig)
    rig.put(1)
    rig.turn()
    rig.run_for(30)
    assert [post[4].attempts for post in rig.client.posts] == [6, 1, 1, 1, 1, 1]


def test_slow_requests_get_more_time(rig):
    """Retries after a timeout may take longer, so that a slow Agent is not sent the same chunk for ever."""
    rig.client.script.extend(["timeout", "timeout"])
    rig.put(1)
    start_ns = rig.clock.now_ns
    rig.turn()
    assert rig.client.delivered() == [[[1]]]
    assert rig.client.timeout_s == 8
    assert (rig.clock.now_ns - start_ns) / 1e9 == pytest.approx(1 + 2 + 0.1 + 4 + 0.1)


# -- what may go wrong inside ----------------------------------------------------------------------------


def test_the_thread_survives_errors(rig, caplog):
    """An error in a round is logged, makes flushes fail, does not spin, and the next round works."""
    rig.agent.refresh = lambda *, force: 1 / 0
    rig.put(1)
    rig.turn()
    start_ns = rig.clock.now_ns
    rig.turn()
    assert rig.clock.now_ns - start_ns >= 1_000_000_000
    del rig.agent.refresh
    assert not rig.worker.is_away or rig.worker.flush(5.0)
    assert rig.client.delivered() == [[[1]]]
    assert "An export round failed" in caplog.text


def test_a_flush_during_an_error_is_told(rig):
    """A flush that ran into an internal error tries again; it is true if everything arrives then."""
    apply, failures = rig.worker._apply_features, [0, 1]

    def fail_once():
        if failures.pop():
            raise ValueError("internal")

    rig.worker._apply_features = fail_once
    assert rig.worker.flush(2.0)
    rig.worker._apply_features = apply
    assert rig.worker.flush(2.0)


def test_a_system_without_threads_is_reported(make_rig, caplog):
    """When no thread can be started a warning says so, and shutdown delivers what waits."""
    rig = make_rig(start_fails=True)
    rig.put(1)
    assert "Could not start the export thread" in caplog.text
    assert rig.worker.shutdown(5.0)
    assert rig.client.delivered() == [[[1]]]


def test_preparation_that_fails_is_reported(rig, caplog):
    """An error in the preparation of the thread does not keep it from working."""
    rig.worker._prepare = lambda: 1 / 0
    rig.put(1)
    assert rig.worker.shutdown(5.0)
    assert "Could not prepare" in caplog.text
    assert rig.client.delivered() == [[[1]]]


def test_real_threads_are_used_by_default(rig):
    """Without a factory of threads the worker runs on a daemon thread, which ends with shutdown."""
    from ddtrace_manual._export import Wakeup

    rig.worker._make_thread = None
    rig.worker._make_wakeup = Wakeup
    prepared = []
    rig.worker._prepare = lambda: prepared.append(1)
    rig.put(1)
    thread = rig.worker._thread
    assert thread.daemon
    assert rig.worker.flush(5.0)
    assert rig.worker.shutdown(5.0)
    assert not thread.is_alive()
    assert prepared == [1]


# -- shutdown ------------------------------------------------------------------------------------------


def test_shutdown_delivers_what_waits(rig):
    """Shutdown sends what waits and statistics, once, and refuses what comes later."""
    rig.pipeline.concentrator = object()
    rig.pipeline._count_and_select = lambda segment, spans, concentrator: spans
    rig.put(1)
    start_ns = rig.clock.now_ns
    assert rig.worker.shutdown(5.0)
    assert rig.client.delivered() == [[[1]]]
    assert rig.stats.flushes == [True]
    assert rig.clock.now_ns == start_ns
    assert not rig.put(2)
    assert rig.counters.dropped_spans == {"after_shutdown": 1}
    assert rig.worker.shutdown(5.0)
    assert rig.worker.flush(5.0)
    assert len(rig.client.posts) == 1


def test_shutdown_without_spans_is_silent(rig):
    """A process that finished no span starts no thread and makes no request at its end."""
    assert rig.worker.shutdown(5.0)
    assert rig.threads == []
    assert rig.client.info_requests == 0


def test_an_agent_never_reached_delays_the_end_by_a_second(rig, caplog):
    """When nothing ever answered, shutdown gives up after about a second, and counts and reports the loss."""
    refuse(rig)
    rig.put(1)
    start_ns = rig.clock.now_ns
    assert not rig.worker.shutdown(5.0)
    assert (rig.clock.now_ns - start_ns) / 1e9 <= 1.2
    assert rig.counters.dropped_spans == {"shutdown": 1}
    assert "Lost 1 spans at shutdown" in caplog.text
    assert not rig.worker.shutdown(5.0)
    assert not rig.worker.flush(5.0)


def test_an_agent_known_never_to_answer_gets_one_more_second(rig):
    """When requests timed out before, and nothing ever answered, the end takes a second."""
    rig.client.info_script.append("timeout")
    rig.client.script.extend(["timeout"] * 3)
    rig.put(1)
    rig.turn()
    rig.client.info_script.extend(["timeout"] * 10)
    rig.client.script.extend(["timeout"] * 10)
    start_ns = rig.clock.now_ns
    assert not rig.worker.shutdown(5.0)
    assert (rig.clock.now_ns - start_ns) / 1e9 <= 1.2


def test_an_agent_that_was_there_is_waited_for(rig):
    """An Agent that restarts at the end of the process is waited for, up to the timeout."""
    rig.put(1)
    rig.turn()
    refuse(rig, 8)
    rig.put(2)
    assert rig.worker.shutdown(5.0)
    assert rig.client.delivered() == [[[1]], [[2]]]


def test_shutdown_ends_in_time(rig):
    """An Agent that was there and does not come back ends shutdown at its timeout."""
    rig.put(1)
    rig.turn()
    refuse(rig)
    rig.put(2)
    start_ns = rig.clock.now_ns
    assert not rig.worker.shutdown(3.0)
    assert 2.8 <= (rig.clock.now_ns - start_ns) / 1e9 <= 3.0
    assert rig.counters.dropped_spans == {"shutdown": 1}


def test_a_hanging_agent_does_not_hold_the_end(rig):
    """Requests at the end get only the time that is left."""
    rig.put(1)
    rig.turn()
    rig.client.script.extend(["timeout"] * 100)
    rig.put(2)
    start_ns = rig.clock.now_ns
    assert not rig.worker.shutdown(3.0)
    assert (rig.clock.now_ns - start_ns) / 1e9 <= 3.2


def test_shutdown_interrupts_retries(rig):
    """A shutdown while the client waits for its next attempt goes on at once."""
    rig.put(1)
    rig.turn()

    def shut(delay_s, original=rig.worker.wait_to_retry):
        rig.worker._deadline_ns = rig.backoff.deadline_ns = rig.clock.now_ns + 5_000_000_000
        return original(delay_s)

    rig.client.wait = shut
    rig.client.script.append("network")
    rig.put(2)
    rig.turn()
    assert [post[4].attempts for post in rig.client.posts] == [1, 1]
    rig.worker._run_last_round()
    assert rig.client.delivered() == [[[1]], [[2]]]


def test_those_who_wait_are_told_at_the_end(rig):
    """A flush that waits when the process ends gets the result of the end."""
    rig.put(1)
    requests = [FlushRequest(rig.worker._make_wakeup()) for _ in range(2)]
    rig.worker._flushes.put_back(requests)
    assert rig.worker.shutdown(5.0)
    assert [request.arrived for request in requests] == [True, True]


def test_a_flush_that_comes_too_late_does_not_wait(rig):
    """A flush whose request the ended worker has not seen returns the result of the end."""
    rig.put(1)
    rig.worker._is_done = rig.worker._all_arrived = True
    start_ns = rig.clock.now_ns
    assert rig.worker.flush(5.0)
    assert rig.clock.now_ns == start_ns


def test_errors_at_the_end_stay_inside(rig, caplog):
    """Whatever fails in the last round is logged and not raised."""
    rig.put(1)
    rig.delivery.abandon = lambda: 1 / 0
    assert rig.worker.shutdown(5.0)
    assert "The last export round failed" in caplog.text


def test_shutdown_on_the_worker_thread_does_not_wait(rig, monkeypatch):
    """A trace filter that shuts down does not wait for itself; the thread ends afterwards."""
    rig.put(1)
    [thread] = rig.threads
    monkeypatch.setattr("threading.current_thread", lambda: thread)
    assert not rig.worker.shutdown(5.0)
    thread.join()
    assert rig.client.delivered() == [[[1]]]


# -- another configuration -----------------------------------------------------------------------------


def replace_with(rig, successor):
    rig.queue.forward_to(successor.queue)
    rig.worker.replace_with(successor.worker)


def test_a_successor_delivers_what_is_left(rig, make_rig):
    """What queue and delivery hold goes to the successor, in order, and later chunks follow."""
    refuse(rig)
    rig.put(1)
    rig.turn()
    rig.put(2)
    successor = make_rig()
    replace_with(rig, successor)
    rig.put(3)
    assert successor.worker.flush(5.0)
    assert successor.client.delivered() == [[[1], [2], [3]]]
    assert rig.threads[0].finished
    assert (rig.queue.used_bytes, successor.queue.used_bytes) == (0, 0)
    assert not rig.worker.flush(1.0)


def test_the_predecessor_flushes_its_statistics(rig, make_rig):
    """Statistics are not handed over: the predecessor sends them, unless the Agent is away."""
    rig.put(1)
    rig.turn()
    replace_with(rig, make_rig())
    rig.threads[0].join()
    assert rig.stats.flushes == [True]


def test_a_successor_of_nothing_starts_no_thread(rig, make_rig):
    """Configuring again before the first span starts nothing, and ends silently."""
    successor = make_rig()
    replace_with(rig, successor)
    assert successor.threads == []
    assert successor.worker.shutdown(5.0)
    assert successor.client.info_requests == 0


def test_a_chain_of_successors_keeps_everything(rig, make_rig):
    """Several configurations in quick succession lose nothing."""
    rig.put(1)
    second, third = make_rig(), make_rig()
    replace_with(rig, second)
    second.put(2)
    replace_with(second, third)
    third.put(3)
    assert third.worker.shutdown(5.0)
    assert [chunk for payload in third.client.delivered() for chunk in payload] == [[1], [2], [3]]


def test_the_end_does_not_wait_for_a_predecessor_for_ever(rig, make_rig):
    """A predecessor that hangs in its last request does not hold the successor beyond its deadline."""
    rig.put(1)
    rig.threads[0].join = lambda timeout: None
    successor = make_rig()
    replace_with(rig, successor)
    start_ns = successor.clock.now_ns
    successor.worker.shutdown(1.0)
    assert successor.clock.now_ns - start_ns <= 1.1e9


def test_the_successor_waits_for_the_request_under_way(rig, make_rig):
    """A predecessor that needs a while to end is waited for in steps, so that an end of the process is noticed."""
    rig.put(1)
    [thread] = rig.threads
    steps = []

    def join(timeout, original=thread.join):
        steps.append(timeout)
        if len(steps) == 3:
            original()

    thread.join = join
    successor = make_rig()
    replace_with(rig, successor)
    assert successor.worker.flush(5.0)
    assert steps[:3] == [0.2] * 3
    assert successor.client.delivered() == [[[1]]]


def test_a_thread_that_hangs_at_the_end_is_reported(rig, caplog):
    """When the thread does not end in time, shutdown says how much was not delivered."""
    rig.put(1)
    rig.threads[0].join = lambda timeout: None
    assert not rig.worker.shutdown(1.0)
    assert rig.client.interrupted == [rig.threads[0].ident]
    assert "with 1 spans not delivered" in caplog.text


def test_only_one_last_round(rig):
    """A last round that is interrupted by another one goes on alone."""
    rig.put(1)
    rig.worker._is_in_last_round = True
    rig.worker._run_last_round()
    assert rig.client.posts == []


def test_handing_over_after_the_end_changes_nothing(rig, make_rig):
    """A pipeline that was shut down has nothing to hand over."""
    rig.put(1)
    assert rig.worker.shutdown(5.0)
    replace_with(rig, make_rig())
    assert not rig.worker._is_replaced


def test_format_changes_take_effect_with_the_next_round(rig):
    """When the Agent's features change, the next round uses them."""
    rig.put(1)
    rig.turn()
    rig.features = replace(rig.features, trace_version="v0.5")
    rig.client.info = replace(rig.client.info, version="7.70.0")
    rig.agent.expire()
    rig.put(2)
    rig.turn()
    assert [post[0] for post in rig.client.posts] == ["v0.4", "v0.5"]
    assert rig.applied == 2


def test_the_parents_worker_is_left_alone(rig):
    """In a process forked without Python's hooks the parent's worker neither flushes nor holds the end."""
    rig.put(1)
    rig.worker._pid = -1
    assert rig.worker.flush(5.0)
    assert rig.worker.shutdown(5.0)
    assert rig.client.posts == []


def test_others_may_pause_on_the_thread(rig):
    """What else sends on the worker thread waits there, until the end comes."""
    rig.put(1)
    start_ns = rig.clock.now_ns
    assert not rig.worker.pause(0.5)
    assert rig.clock.now_ns - start_ns == 500_000_000
    assert rig.worker.shutdown(5.0)
    assert rig.worker.pause(0.5)
