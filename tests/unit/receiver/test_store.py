"""The bounded store of what was received."""

import threading

import pytest

from ddtrace_manual._receiver import Received, Store


def received(path="/info", body=b"", payload=None, status=200):
    """Return a request."""
    return Received("POST", path, {}, body, payload, status=status)


def test_the_oldest_requests_go_beyond_the_number():
    """The count of everything received goes on."""
    store = Store(max_requests=2)
    for number in range(5):
        store.add(received(str(number)))
    assert [each.path for each in store.requests()] == ["3", "4"]
    assert store.received == 5


def test_the_oldest_requests_go_beyond_the_bytes():
    """The newest one stays even if it alone is too big."""
    store = Store(max_bytes=10)
    for size in (4, 4, 4, 2, 30):
        store.add(received(body=bytes(size)))
        assert sum(len(each.body) for each in store.requests()) <= 10 or len(store.requests()) == 1
    assert [len(each.body) for each in store.requests()] == [30]
    store.clear()
    assert store.requests() == []
    store.add(received(body=bytes(10)))
    assert len(store.requests()) == 1


def test_views_show_what_was_accepted():
    """Refused payloads are kept as requests and are no traces."""
    store = Store()
    store.add(received("/v0.4/traces", payload=[[{"name": "a"}, {"name": "b"}]]))
    store.add(received("/v0.5/traces", payload=[[{"name": "c"}]], status=503))
    store.add(received("/v1.0/traces", payload=[[{"name": "d"}]]))
    store.add(received("/v0.4/traces"))
    store.add(received("/v0.6/stats", payload={"Stats": []}))
    store.add(received("/v0.6/stats"))
    store.add(received("/telemetry/proxy/api/v2/apmtelemetry", payload={"request_type": "x"}))
    assert [span["name"] for span in store.spans()] == ["a", "b", "d"]
    assert len(store.traces()) == 2
    assert store.stats() == [{"Stats": []}]
    assert store.telemetry() == [{"request_type": "x"}]
    assert len(store.requests("/v0.4/traces")) == 2


@pytest.mark.parametrize(("count", "result"), [(1, True), (2, False)])
def test_waiting_ends_with_the_condition_or_the_time(count, result):
    """A request that arrives while waiting is noticed; time is bounded."""
    store = Store()
    asked = threading.Event()

    def condition():
        asked.set()
        return store.received == count

    thread = threading.Thread(target=lambda: asked.wait() and store.add(received()))
    thread.start()
    assert store.wait_for(condition, 5.0 if result else 0.05) is result
    thread.join()
