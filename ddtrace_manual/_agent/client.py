"""Requests to the Agent and what their answers mean.

Source: spec/trace-export.md §5-§7, §9; spec/client-stats.md §9.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

from ddtrace_manual._base.log import DELIVERY, RateLimitedLogger, get_logger
from ddtrace_manual.exceptions import AgentConnectionError, AgentError, AgentResponseError, AgentTimeoutError

from .headers import valid_headers
from .info import AgentInfo, parse_info
from .retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .transport import Response, Transport

__all__ = ["AgentClient", "Outcome", "SendResult"]

Outcome = Literal["delivered", "unsupported", "too_large", "rejected", "overloaded", "failed", "timeout", "network"]
"""What became of a payload.

`delivered` 2xx. `unsupported` 404 or 415: the Agent does not know the endpoint or format. `too_large` 413.
`rejected` any other answer that trying again does not change. `overloaded` 429 to the last attempt.
`failed` 408 or 5xx to the last attempt, or an answer that was not HTTP. `timeout`, `network` no answer.
"""

_MSGPACK: Final = "application/msgpack"
_RATES_VERSION: Final = "Datadog-Rates-Payload-Version"
_LOGGED_PAYLOAD_BYTES: Final = 1 << 16

_OUTCOMES: Final[Mapping[int, Outcome]] = {
    HTTPStatus.NOT_FOUND: "unsupported",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported",
    HTTPStatus.REQUEST_TIMEOUT: "failed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "overloaded",
}
_NO_RETRIES: Final = RetryPolicy(max_retries=0)


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one payload."""

    outcome: Outcome
    status: int = 0
    """HTTP status of the last answer; 0 = there was none."""
    attempts: int = 1
    """Requests made."""
    statuses: tuple[int, ...] = ()
    """Status of each attempt in order, 0 for those without answer."""
    error: str = ""
    """Why it was not delivered, for messages."""
    rates: Mapping[str, float] | None = None
    """New sampling rates by `service:…,env:…`; `None` = unchanged."""
    agent_state: str = ""
    """`Datadog-Agent-State`: differs from `AgentInfo.state_hash` when `/info` must be fetched anew; "" = not told."""

    @property
    def delivered(self) -> bool:
        """Whether the Agent has accepted the payload."""
        return self.outcome == "delivered"


@dataclass(slots=True)
class _Attempts:
    """What happened so far to one payload."""

    statuses: list[int] = field(default_factory=list)
    response: Response | None = None
    error: AgentError | None = None


class AgentClient:
    """Talks to one Agent. `send_*` never raise; they are called from one thread at a time.

    Args:
        transport: Carries the requests.
        headers: Common fields, see `common_headers`.
        timeout_s: For one attempt, in seconds.
        wait: Waits so many seconds before a retry; returns `True` to give up at once, as at shutdown.
        retry: When to try traces again.
        log: Reports failures.
        log_payloads: Whether failures show the beginning of the payload, in hexadecimal.
        setting: What named the address, for messages.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        headers: Mapping[str, str],
        timeout_s: float = 2.0,
        wait: Callable[[float], bool] | None = None,
        retry: RetryPolicy | None = None,
        log: RateLimitedLogger | None = None,
        log_payloads: bool = False,
        setting: str = "DD_TRACE_AGENT_URL",
    ) -> None:
        self.transport = transport
        self.setting = setting
        self.timeout_s = timeout_s
        self._headers = valid_headers(headers)
        self._wait = wait if wait is not None else _sleep
        self._retry = retry if retry is not None else RetryPolicy()
        self._log = log if log is not None else RateLimitedLogger(get_logger("agent"))
        self._log_payloads = log_payloads
        self._rates_version = "0"
        self._failing: set[str] = set()
        self._returned: set[str] = set()
        """What the Agent takes again, which the log could not tell yet."""

    def send_traces(
        self,
        body: bytes,
        *,
        chunks: int,
        version: str = "v0.4",
        extra_headers: Mapping[str, str] | None = None,
    ) -> SendResult:
        """Post one trace payload, with retries.

        Args:
            body: The encoded payload.
            chunks: Exact number of chunks in it.
            version: Its format, which is also the endpoint: `v0.4`, `v0.5`, `v1.0`.
            extra_headers: More fields, for example the number of dropped spans.
        """
        headers = {
            **self._headers,
            "Content-Type": _MSGPACK,
            "X-Datadog-Trace-Count": str(chunks),
            "Datadog-Send-Real-Http-Status": "1",
            "Datadog-Client-Computed-Top-Level": "true",
            _RATES_VERSION: self._rates_version,
            **valid_headers(extra_headers or {}),
        }
        return self._send("traces", f"/{version}/traces", body, headers, self._retry)

    def send_stats(self, body: bytes, *, extra_headers: Mapping[str, str] | None = None) -> SendResult:
        """Post one statistics payload, once: a second attempt might count it twice."""
        headers = {**self._headers, "Content-Type": _MSGPACK, **valid_headers(extra_headers or {})}
        return self._send("stats", "/v0.6/stats", body, headers, _NO_RETRIES)

    def fetch_info(self) -> AgentInfo:
        """Ask the Agent what it can do. An Agent without `/info` (404) can do nothing optional.

        Raises:
            AgentError: No answer, or not a usable one.
        """
        response = self.request("GET", "/info")
        if response.status == HTTPStatus.NOT_FOUND:
            return AgentInfo()
        if response.status != HTTPStatus.OK:
            raise AgentResponseError(f"/info answered with status {response.status}", response.status)
        return parse_info(response.body, response.headers)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """Make one request with the common headers, without retries; the answer may have any status.

        Raises:
            AgentError: There was no complete answer.
        """
        fields = {**self._headers, **valid_headers(headers or {})}
        return self.transport.request(
            method, path, body, fields, timeout_s if timeout_s is not None else self.timeout_s
        )

    def interrupt(self, thread_id: int | None) -> None:
        """Break off the request that a thread waits for: it fails as if the connection had ended."""
        interrupt = getattr(self.transport, "interrupt", None)
        if interrupt is not None and thread_id is not None:
            interrupt(thread_id)

    def _send(self, kind: str, path: str, body: bytes, headers: Mapping[str, str], retry: RetryPolicy) -> SendResult:
        attempts = _Attempts()
        while True:
            self._attempt(attempts, path, body, headers)
            response = attempts.response
            asked = response.headers.get("Retry-After") if response is not None else None
            delay_s = retry.delay_s(len(attempts.statuses) - 1, attempts.statuses[-1], asked)
            if delay_s is None or _is_success(attempts.statuses[-1]) or self._wait(delay_s):
                break
        result = self._result(attempts)
        self._report(kind, path, body, result)
        return result

    def _attempt(self, attempts: _Attempts, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            attempts.response = self.transport.request("POST", path, body, headers, self.timeout_s)
            attempts.error = None
        except AgentError as exc:
            attempts.response = None
            attempts.error = exc
            attempts.statuses.append(exc.status)
        except Exception as exc:  # no memory, or a transport that is not ours: there was no answer
            attempts.response = None
            attempts.error = AgentConnectionError(f"{type(exc).__name__}: {exc}")
            attempts.statuses.append(0)
        else:
            attempts.statuses.append(attempts.response.status)

    def _result(self, attempts: _Attempts) -> SendResult:
        response, status = attempts.response, attempts.statuses[-1]
        rates = self._new_rates(response) if response is not None and _is_success(status) else None
        return SendResult(
            outcome=_outcome(status, attempts.error),
            status=status,
            attempts=len(attempts.statuses),
            statuses=tuple(attempts.statuses),
            error=_error_text(status, attempts.error),
            rates=rates,
            agent_state=response.headers.get("Datadog-Agent-State", "") if response is not None else "",
        )

    def _new_rates(self, response: Response) -> dict[str, float] | None:
        """Return the rates of an answer unless they are those already known.

        Source: spec/trace-export.md §7, "Rates version".
        """
        version = response.headers.get(_RATES_VERSION, "")
        if version and version == self._rates_version:
            return None
        try:
            rates = _parse_rates(response.body)
        except Exception:  # the payload was taken, whatever the rest of the answer is
            return None
        if rates is not None and version and valid_headers({_RATES_VERSION: version}):
            self._rates_version = version
        return rates

    def _report(self, kind: str, path: str, body: bytes, result: SendResult) -> None:
        if result.delivered:
            self._report_return(kind)
            return
        self._failing.add(kind)
        self._returned.discard(kind)
        where = getattr(self.transport, "address", "")
        if where.startswith("http"):  # behind the name of a file the path of the request would look like a part of it
            where += path
        shown = f", payload {body[:_LOGGED_PAYLOAD_BYTES].hex()}" if self._log_payloads else ""
        self._log.error(
            DELIVERY,
            "Could not send %d bytes of %s to the Agent at %s (%s) after %d attempt(s): %s%s",
            len(body),
            kind,
            where,
            self.setting,
            result.attempts,
            result.error,
            shown,
        )

    def _report_return(self, kind: str) -> None:
        """Say what the Agent takes again: with the first delivery for which the log has room."""
        if kind in self._failing:
            self._failing.discard(kind)
            self._returned.add(kind)
        if self._returned and self._log.is_free(DELIVERY):
            what = " and ".join(sorted(self._returned))
            self._returned.clear()
            self._log.log(logging.INFO, DELIVERY, "The Agent takes %s again", what)


def _sleep(delay_s: float) -> bool:
    time.sleep(delay_s)
    return False


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _outcome(status: int, error: AgentError | None) -> Outcome:
    if _is_success(status):  # also when the rest of the answer was lost: the Agent has the payload
        return "delivered"
    if status in _OUTCOMES:
        return _OUTCOMES[status]
    if status:
        return "failed" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "rejected"
    if isinstance(error, AgentTimeoutError):
        return "timeout"
    return "failed" if isinstance(error, AgentResponseError) else "network"


def _error_text(status: int, error: AgentError | None) -> str:
    if _is_success(status):
        return ""
    return str(error) if error is not None else f"status {status}"


def _parse_rates(body: bytes) -> dict[str, float] | None:
    """Return the valid rates of `rate_by_service` in an answer; `None` if it has none."""
    try:
        document: Any = json.loads(body)  # Any: nothing is known about the answer yet
    except ValueError:
        return None
    except RecursionError:
        return None
    rates = document.get("rate_by_service") if isinstance(document, dict) else None
    if not isinstance(rates, dict):
        return None
    return {key: float(rate) for key, rate in rates.items() if _is_rate(rate)}


def _is_rate(value: Any) -> bool:  # Any: a JSON value
    return type(value) in {int, float} and abs(value) <= sys.float_info.max
