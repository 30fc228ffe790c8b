"""A receiver for looking at traces: Agent endpoints for any Datadog tracer, and a page for the browser.

The page is one file that loads nothing else. Its data come from `/api/…` at the same address.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from ddtrace_manual._encoding import decode_v04, decode_v05, decode_v1
from ddtrace_manual.exceptions import ConfigurationError
from ddtrace_manual.sampling import SamplingRule, parse_sampling_rules
from ddtrace_manual.sampling._rules import CompiledRule

from .decisions import explain_decision
from .forward import Forwarder
from .http_server import LoopbackReceiver, Reply, Request
from .server import DEFAULT_INFO
from .simulation import simulate
from .spans import CleanSpan, clean_span
from .store import REMOTE_CONFIG_PATH, STATS_PATH, TELEMETRY_PATH
from .trace_store import TraceStore

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TraceViewer"]

_NOT_FOUND: Final = Reply(404, b"404 page not found\n", {"Content-Type": "text/plain"})
_BAD_REQUEST: Final = 400
_LONGEST_WAIT_S: Final = 25.0
_LONGEST_QUERY: Final = 1000

# Any: JSON. With `client_drop_p0s` tracers would keep back the traces that they do not sample.
_INFO: Final[dict[str, Any]] = {
    **DEFAULT_INFO,
    "endpoints": ["/info", "/v0.3/traces", "/v0.4/traces", "/v0.5/traces", STATS_PATH, TELEMETRY_PATH],
    "client_drop_p0s": False,
}
_INFO_BODY: Final = json.dumps(_INFO).encode()
_AGENT_HEADERS: Final[Mapping[str, str]] = {
    "Datadog-Agent-Version": _INFO["version"],
    "Datadog-Agent-State": hashlib.sha256(_INFO_BODY).hexdigest(),
}
_DECODERS: Final[Mapping[str, Callable[[bytes], Any]]] = {  # Any: untrusted
    "/v0.3/traces": decode_v04,  # the same layout
    "/v0.4/traces": decode_v04,
    "/v0.5/traces": decode_v05,
    "/v1.0/traces": decode_v1,
}
_ACCEPTED: Final[Mapping[str, Reply]] = {
    "/info": Reply(200, _INFO_BODY, _AGENT_HEADERS),
    STATS_PATH: Reply(200, b"{}", _AGENT_HEADERS),
    TELEMETRY_PATH: Reply(202, b"{}", _AGENT_HEADERS),
    REMOTE_CONFIG_PATH: Reply(200, b"{}", _AGENT_HEADERS),
}
_ACCEPTED_TRACES: Final = Reply(200, b'{"rate_by_service":{}}', _AGENT_HEADERS)


class TraceViewer(LoopbackReceiver):
    """Keeps the traces that arrive and shows them on a page. A context manager.

    Args:
        port: Port to listen on; 0 lets the system choose.
        store: Where traces are kept; default: the last 500 traces within 64 MiB.
        web: Serve the page and its data.
        forward_url: Address of a real Agent that gets everything too; its answers are returned when it gives one.
        rules: Sampling rules that the programs probably have, to say which one decided.

    Attributes:
        store: The traces.
        forwarder: What passes requests on, or `None`.

    Raises:
        ConfigurationError: `forward_url` is not an Agent's address.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        store: TraceStore | None = None,
        web: bool = True,
        forward_url: str | None = None,
        rules: Iterable[SamplingRule] = (),
    ) -> None:
        super().__init__(port)
        self.store = store if store is not None else TraceStore()
        self.forwarder = Forwarder(forward_url) if forward_url is not None else None
        self._rules = [CompiledRule(rule) for rule in rules]
        self._pages: Mapping[tuple[str, str], Callable[[Request], Reply]] = (
            {
                ("GET", "/"): _page,
                ("GET", "/api/traces"): self._list,
                ("GET", "/api/trace"): self._trace,
                ("GET", "/api/search"): self._search,
                ("GET", "/api/export"): self._export,
                ("POST", "/api/sample"): self._sample,
                ("POST", "/api/clear"): self._clear,
            }
            if web
            else {}
        )

    def stop(self) -> None:
        """See `LoopbackReceiver.stop`."""
        self.store.close()
        super().stop()

    def reply(self, request: Request) -> Reply:
        """See `LoopbackReceiver.reply`."""
        page = self._pages.get((request.method, request.path))
        if page is not None:
            return page(request)
        ours = self._accept(request)
        forwarded = self.forwarder.pass_on(request) if self.forwarder is not None else None
        return ours if forwarded is None else forwarded

    def _accept(self, request: Request) -> Reply:
        """Answer as an Agent does."""
        if request.path not in _DECODERS:
            return _ACCEPTED.get(request.path, _NOT_FOUND)
        if request.method == "GET":
            return _NOT_FOUND
        try:
            chunks = _chunks(request)
        except Exception as exc:  # decoders of anything a client may send
            return Reply(_BAD_REQUEST, f"{type(exc).__name__}: {exc}\n".encode(), {"Content-Type": "text/plain"})
        if chunks:
            self.store.add(chunks)
        return _ACCEPTED_TRACES

    # -- what the page asks for ----------------------------------------------------------------------

    def _list(self, request: Request) -> Reply:
        after = _number(_parameter(request, "after"), -1)
        if _parameter(request, "instance") != self.store.instance:
            after = -1
        self.store.wait(after, min(_number(_parameter(request, "wait"), 0), _LONGEST_WAIT_S))
        version, keys, summaries = self.store.changes(after)
        return _json_reply(
            {
                "instance": self.store.instance,
                "version": version,
                "total": self.store.total,
                "keys": list(map(str, keys)),
                "traces": summaries,
                "forward": self._forward_state(),
            }
        )

    def _forward_state(self) -> dict[str, Any] | None:
        if self.forwarder is None:
            return None
        return {"address": self.forwarder.address, "error": self.forwarder.error}

    def _trace(self, request: Request) -> Reply:
        found = self.store.find(_parameter(request, "id"))
        return _NOT_FOUND if found is None else _json_reply(_trace_document(*found, self._rules))

    def _search(self, request: Request) -> Reply:
        keys = self.store.search(_parameter(request, "q")[:_LONGEST_QUERY])
        return _json_reply({"keys": list(map(str, keys))})

    def _export(self, _: Request) -> Reply:
        return _json_reply([spans for _, spans in self.store.traces()])

    def _sample(self, request: Request) -> Reply:
        try:
            document = json.loads(request.body)
            if not isinstance(document, dict):
                raise ConfigurationError("not an object")
            rules = parse_sampling_rules(document.get("rules"), strict=True, source="rules")
            limit = document.get("rate_limit", 100)
            if isinstance(limit, bool) or not isinstance(limit, (int, float)):
                raise ConfigurationError("rate_limit is not a number")
        except (ValueError, RecursionError) as exc:
            return _json_reply({"error": str(exc)}, _BAD_REQUEST)
        traces = [spans for _, spans in self.store.traces()]
        return _json_reply(simulate(traces, rules, rate_limit=limit))

    def _clear(self, _: Request) -> Reply:
        self.store.clear()
        return _json_reply({})


def _chunks(request: Request) -> list[list[CleanSpan]]:
    """Return the spans of a payload.

    Raises:
        Exception: Whatever a decoder raises for a malformed payload.
    """
    if not request.body:
        return []
    if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
        payload = json.loads(request.body)
        if not isinstance(payload, list) or not all(isinstance(chunk, list) for chunk in payload):
            raise ConfigurationError("the payload is not an array of chunks")
    else:
        payload = _DECODERS[request.path](request.body)
    found = [[clean_span(span) for span in chunk if isinstance(span, dict)] for chunk in payload]
    return [chunk for chunk in found if chunk]


def _trace_document(summary: dict[str, Any], spans: list[CleanSpan], rules: list[CompiledRule]) -> dict[str, Any]:
    """Return a trace for the page: ids and times as text, because they exceed the numbers of JavaScript."""
    begin = min((span["start"] for span in spans), default=0)
    return {
        **summary,
        "decision": explain_decision(spans, rules),
        "tree": [_span_document(span, begin) for span in sorted(spans, key=lambda each: each["start"])],
    }


def _span_document(span: CleanSpan, begin: int) -> dict[str, Any]:
    return {
        **span,
        "trace_id": str(span["trace_id"]),
        "span_id": str(span["span_id"]),
        "span_id_hex": f"{span['span_id']:016x}",
        "parent_id": str(span["parent_id"]) if span["parent_id"] else "",
        "start": str(span["start"]),
        "offset": span["start"] - begin,
        "events": [
            {**event, "time": str(event["time"]), "offset": event["time"] - begin if event["time"] else 0}
            for event in span["events"]
        ],
        "links": [
            {**link, "span_id": str(link["span_id"]), "span_id_hex": f"{link['span_id']:016x}"}
            for link in span["links"]
        ],
    }


def _parameter(request: Request, name: str) -> str:
    return parse_qs(request.query).get(name, [""])[0]


def _number(text: str, default: int) -> int:
    return int(text) if re.match(r"[0-9]{1,15}\Z", text) else default


def _json_reply(document: Any, status: int = 200) -> Reply:
    body = json.dumps(document).encode()
    return Reply(status, body, {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"})


def _page(_: Request) -> Reply:
    return _page_reply()


@lru_cache(maxsize=1)
def _page_reply() -> Reply:
    """Return the page; its policy admits its own style and script, and requests to this address only."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    style, script = (_hash(text, tag) for tag in ("style", "script"))
    policy = (
        f"default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return Reply(
        200,
        text.encode(),
        {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        },
    )


def _hash(page: str, tag: str) -> str:
    content = page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
