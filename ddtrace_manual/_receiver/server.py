"""A small Datadog Agent double on loopback, for tests.

It speaks the Agent's endpoints, keeps what it gets in a bounded `Store`, and fails on request.
It listens on 127.0.0.1 only and keeps nothing on disk.

Source: spec/trace-export.md §5, §9; spec/client-stats.md §8; spec/telemetry-remote-config.md.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from .faults import Fault, Script
from .http_server import LoopbackReceiver, Reply, Request
from .remote_config import remote_config_answer
from .store import FLARE_PATH, REMOTE_CONFIG_PATH, STATS_PATH, TELEMETRY_PATH, TRACE_PATHS, Received, Store, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DEFAULT_INFO", "FakeAgent"]

DEFAULT_INFO: Final[dict[str, Any]] = {  # Any: JSON
    "version": "7.65.0",
    "endpoints": ["/info", *TRACE_PATHS, STATS_PATH, TELEMETRY_PATH, REMOTE_CONFIG_PATH, FLARE_PATH],
    "client_drop_p0s": True,
    "span_events": True,
    "span_meta_structs": True,
    "long_running_spans": True,
    "peer_tags": ["db.instance", "db.name", "out.host", "peer.hostname", "peer.service"],
    "span_kinds_stats_computed": ["client", "consumer", "producer", "server"],
    "config": {"default_env": "none"},
}
"""What `/info` answers by default."""

_TAKEN = 200
_TELEMETRY_TAKEN = 202
_MALFORMED = 400
_UNKNOWN = 404


class FakeAgent(LoopbackReceiver):
    """Datadog's Agent, as far as a tracer can tell. A context manager, and the `fake_agent` fixture.

    Change `info`, `rates` and `remote_config` at any time; the next answer has them.

    Args:
        port: Port to listen on; 0 lets the system choose.
        store: Where requests are kept; default: the last 1000 requests, at most 64 MiB.

    Attributes:
        store: What was received; see also `traces()`, `spans()`, `stats()`, `telemetry()` and `requests()`.
        info: JSON document that `/info` answers; its hash is the `Datadog-Agent-State` of every answer.
        rates: Sampling rates by `service:…,env:…`, in every answer to traces.
        remote_config: JSON document that `/v0.7/config` answers; see `set_remote_config`.
    """

    def __init__(self, *, port: int = 0, store: Store | None = None) -> None:
        super().__init__(port)
        self.store = store if store is not None else Store()
        self.info: dict[str, Any] = dict(DEFAULT_INFO)  # Any: JSON, here and below
        self.rates: dict[str, float] = {}
        self.remote_config: dict[str, Any] = {}
        self._remote_version = 0
        self._script = Script()
        # What the store offers is offered here too: one object is enough in a test.
        self.requests = self.store.requests
        self.traces = self.store.traces
        self.spans = self.store.spans
        self.stats = self.store.stats
        self.telemetry = self.store.telemetry

    # -- script --------------------------------------------------------------------------------------

    def fail(
        self,
        path: str | None = None,
        *,
        times: int | None = None,
        status: int | None = None,
        body: bytes | None = None,
        delay_s: float = 0.0,
        reset: bool = False,
        garbage: bool = False,
        truncate: bool = False,
    ) -> None:
        """Fail from now on; several calls follow one another. Without any way to fail: status 503.

        Args:
            path: Only requests to this path, for example `/v0.4/traces`; default: all.
            times: For so many requests; default: until `recover()`.
            status: Answer with this HTTP status.
            body: Answer with this body.
            delay_s: Wait before the answer, in seconds.
            reset: Cut the connection instead of answering.
            garbage: Answer with something that is not HTTP.
            truncate: Cut the connection in the middle of the answer.
        """
        is_plain = status is None and body is None and not (delay_s or reset or garbage or truncate)
        fault = Fault(503 if is_plain else status, body, delay_s, reset, garbage, truncate)
        self._script.add(fault, path, times)

    def recover(self) -> None:
        """Answer well again."""
        self._script.clear()

    # -- what was received ---------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[FakeAgent], bool], timeout_s: float = 5.0) -> bool:
        """Wait until the condition, asked again after each request, holds; return whether it does.

        Args:
            condition: For example `lambda agent: len(agent.spans()) == 3`.
            timeout_s: Longest time to wait, in seconds.
        """
        return self.store.wait_for(lambda: condition(self), timeout_s)

    def clear(self) -> None:
        """Forget what was received."""
        self.store.clear()

    # -- answering -----------------------------------------------------------------------------------

    def reply(self, request: Request) -> Reply:
        """See `LoopbackReceiver.reply`."""
        path = request.path
        fault = self._script.next(path)
        if fault is not None and fault.delay_s:
            self._stopping.wait(fault.delay_s)
        payload, error = None, ""
        try:
            payload = decode(path, request.body)
        except Exception as exc:  # decoders of anything a client may send
            error = f"{type(exc).__name__}: {exc}"
        status, answer = self._good_answer(path, error)
        if fault is not None:
            status = fault.status if fault.status is not None else status
            answer = fault.body if fault.body is not None else answer
        seen = 0 if fault is not None and (fault.reset or fault.garbage) else status
        self.store.add(Received(request.method, path, request.headers, request.body, payload, error, seen))
        headers = {
            "Datadog-Agent-Version": str(self.info.get("version", "")),
            "Datadog-Agent-State": hashlib.sha256(self.info_body()).hexdigest(),
        }
        return Reply(status, answer, headers, fault)

    def _good_answer(self, path: str, error: str) -> tuple[int, bytes]:
        if error:
            return _MALFORMED, error.encode()
        if path == "/info":
            return _TAKEN, self.info_body()
        if path in TRACE_PATHS:
            return _TAKEN, json.dumps({"rate_by_service": self.rates}).encode()
        if path == REMOTE_CONFIG_PATH:
            return _TAKEN, json.dumps(self.remote_config).encode()
        if path == TELEMETRY_PATH:
            return _TELEMETRY_TAKEN, b"{}"
        return (_TAKEN, b"{}") if path in (STATS_PATH, FLARE_PATH) else (_UNKNOWN, b"404 page not found\n")

    def set_remote_config(self, files: Mapping[str, object]) -> None:
        """Offer these files by remote configuration from now on, and no others.

        Args:
            files: Path, for example `datadog/2/APM_TRACING/1/config`, to content: what becomes JSON, or bytes.
        """
        self._remote_version += 1
        self.remote_config = remote_config_answer(files, self._remote_version)

    def info_body(self) -> bytes:
        """Return the answer to `/info`."""
        return json.dumps(self.info).encode()
