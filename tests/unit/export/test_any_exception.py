"""Whatever raises, and whenever: nothing leaves the books, and `flush` says the truth."""

import pytest

ERRORS = (MemoryError, ValueError, SystemExit)


class Trap:
    """Raises at the n-th call of what it wraps, before or after the real one, and notes that it did."""

    def __init__(self, call, number, error, *, after):
        self.call, self.left, self.error, self.after, self.sprung = call, number, error, after, False

    def __call__(self, *args, **kwargs):
        self.left -= 1
        fails = self.left == 0
        if fails and not self.after:
            self.sprung = True
            raise self.error("trap")
        result = self.call(*args, **kwargs)
        if fails:
            self.sprung = True
            raise self.error("trap")
        return result


COLLABORATORS = [
    "client.send_traces", "client.fetch_info", "delivery._headers", "delivery._on_rates", "delivery._on_state",
    "delivery._on_unsupported", "delivery._on_sent", "delivery._release", "delivery.add", "delivery.close_batch", "delivery.send",
    "delivery.use_format", "packer.add", "packer.close_batch", "packer.join", "packer.halve", "packer.as_v04", "packer._release",
    "packer.use_format", "packer.give_up", "packer._encode", "packer._pack", "pipeline.process", "pipeline.record_statistics",
    "pipeline._check", "backoff.start_request", "backoff.delivered", "backoff.failed", "backoff.end_probe", "backoff.may_send",
    "agent.refresh", "agent.take_change", "agent.expire", "queue.next", "queue.release", "worker._apply_features",
    "worker._take_over", "worker._process_waiting", "worker._send", "worker._prepare", "stats.flush", "stats.flush_if_due",
    "rig.mapped", "steps.decide", "steps.map_chunk",
]  # fmt: skip


@pytest.mark.parametrize("version", ["v0.4", "v0.5"])
@pytest.mark.parametrize("name", COLLABORATORS)
def test_the_books_are_right_whatever_raises(make_rig, result, name, version):
    """Each call of each collaborator fails once; then finished = queued + sent + filtered + dropped, and no byte is kept."""
    for error in ERRORS:
        for after in (False, True):
            for number in range(1, 4):
                rig = make_rig(max_payload_bytes=600)
                rig.features = type(rig.features)(trace_version=version)
                rig.rig, rig.steps = rig, rig.pipeline._steps
                owner, attribute = name.split(".")
                owner = getattr(rig, owner)
                call = getattr(owner, attribute, None) or (lambda: None)
                trap = Trap(call, number, error, after=after)
                try:
                    setattr(owner, attribute, trap)
                except AttributeError:  # slots
                    pytest.fail(f"{name} cannot be replaced")
                rig.client.script.extend(
                    [result("delivered", rates={"a": 1.0}, agent_state="s"), "too_large", "unsupported", "rejected"]
                )
                for span_id in range(1, 13):
                    rig.put(span_id, span_id + 100)
                arrived = rig.worker.flush(30.0)
                lost_then = sum(rig.counters.dropped_spans.values())
                rig.put(50)
                rig.worker.flush(30.0)
                counters = rig.counters
                lost = sum(counters.dropped_spans.values())
                case = (name, version, error, after, number, counters)
                assert counters.accepted_spans == 25, case
                assert counters.queued_spans == 0, case
                assert counters.sent_spans + counters.filtered_spans + lost == 25, case
                assert rig.queue.used_bytes == 0, case
                assert not (arrived and lost_then), case


@pytest.mark.parametrize("error", ERRORS)
def test_a_worker_whose_rounds_always_fail_gives_up(make_rig, error):
    """What fails again and again is counted as lost, and neither `flush` nor `shutdown` waits for ever."""
    rig = make_rig()

    def fail(*_):
        raise error("always")

    rig.packer.join = fail
    rig.put(1)
    assert not rig.worker.flush(60.0)
    assert rig.counters.dropped_spans == {"serialization_error": 1}
    assert rig.queue.used_bytes == 0
    rig.worker.shutdown(5.0)
