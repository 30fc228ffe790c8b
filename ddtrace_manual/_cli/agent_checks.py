"""Asks the Agent itself: is it there, is it one, what can it do, whose clock is right, does it take a trace.

Source: spec/trace-export.md §4, §5, §7, §9.
"""

from __future__ import annotations

import email.utils
import json
import logging
import random
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._agent import (
    AgentClient,
    AgentInfo,
    RequestsTransport,
    RetryPolicy,
    find_entity,
    parse_info,
    stats_supported,
)
from ddtrace_manual._base import tags
from ddtrace_manual._base.log import RateLimitedLogger
from ddtrace_manual._encoding import V04Encoder
from ddtrace_manual._setup.pipeline import agent_headers, make_resource
from ddtrace_manual._version import __version__
from ddtrace_manual.config import without_user_info
from ddtrace_manual.exceptions import AgentError, AgentResponseError, ConfigurationError

from .connection import explain_no_answer
from .findings import Finding, note, ok, problem, warning

if TYPE_CHECKING:
    from ddtrace_manual._agent import Response, SendResult, Transport
    from ddtrace_manual._base.clock import Clock
    from ddtrace_manual._model import DDSpan
    from ddtrace_manual.config import Config

__all__ = ["check_agent"]

_CLOCK_TOLERANCE_S: Final = 10.0
_NO_ENDPOINT: Final = frozenset({HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
_SHOWN_ANSWER: Final = 120
_ORIGINS: Final = {
    "default": "the default: no setting names another",
    "calculated": "from host, port or the default socket",
    "env_var": "from the environment",
    "otel_env_var": "from the environment",
    "fleet_stable_config": "from the fleet file",
    "local_stable_config": "from the local file",
    "code": "from code",
}


class _Remembering:
    """A transport that keeps the last answer, to show it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.last: Response | None = None

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Response:
        """See `Transport.request`."""
        self.last = None
        self.last = self._transport.request(method, path, body, headers, timeout_s)
        return self.last


def check_agent(config: Config, clock: Clock, *, send_trace: bool) -> Iterator[Finding]:
    """Yield what the way to the Agent, and the Agent itself, look like.

    Args:
        config: The effective configuration; its address, timeout, headers and format are used.
        clock: Says what time it is.
        send_trace: Send a trace of one span.
    """
    url = without_user_info(config.trace_agent_url)
    yield ok(f"Address of the Agent: {url} ({_ORIGINS.get(config.origin('trace_agent_url'), 'configured')})")
    try:
        transport = _Remembering(RequestsTransport(config.trace_agent_url))
    except ConfigurationError as exc:
        yield problem(f"The address cannot be used: {exc}", "Correct DD_TRACE_AGENT_URL.")
        return
    client = AgentClient(
        transport,
        headers=agent_headers(config, find_entity()),
        timeout_s=config.trace_agent_timeout_seconds,
        retry=RetryPolicy(max_retries=0),
        log=_silent_log(),
    )
    asked_ns = clock.wall_ns()
    try:
        answer = client.request("GET", "/info")
    except AgentError as exc:
        yield explain_no_answer(exc, url, config.trace_agent_timeout_seconds)
        yield note("No test trace was sent: there is nobody to take it.")
        return
    answered_ns = clock.wall_ns()
    info = _read_info(answer)
    yield from _check_info(answer, info, config, url)
    yield from _check_clock(answer, asked_ns, answered_ns)
    if send_trace:
        yield from _check_trace(client, transport, config, clock, is_agent=info is not None)
    else:
        yield note("No test trace was sent: not asked for.")


# -- what answers ----------------------------------------------------------------------------------


def _read_info(answer: Response) -> AgentInfo | None:
    """Return what an Agent says about itself; `None` for what no Agent says."""
    if answer.status != HTTPStatus.OK:
        return None
    try:
        info = parse_info(answer.body, answer.headers)
    except AgentResponseError:
        return None
    return info if info.endpoints else None


def _check_info(answer: Response, info: AgentInfo | None, config: Config, url: str) -> Iterator[Finding]:
    if info is None:
        yield _no_info(answer, url)
        return
    yield ok(f"The Agent answers: version {info.version or 'unknown'}, {len(info.endpoints)} endpoints")
    path = f"/{config.trace_api_version}/traces"
    if path not in info.endpoints:
        others = ", ".join(sorted(each for each in info.endpoints if each.endswith("/traces"))) or "none"
        yield warning(
            f"The Agent does not list the endpoint {path}; for traces it lists: {others}",
            "Traces go out as v0.4 instead where that is possible. Update the Agent, or leave DD_TRACE_API_VERSION"
            " unset.",
        )
    else:
        yield ok(f"It takes traces at {path}")
    yield _statistics(info, config)
    yield _remote_configuration(info, config)


def _no_info(answer: Response, url: str) -> Finding:
    server = answer.headers.get("Server", "")
    who = f" (Server: {server})" if server else ""
    status = _status(answer.status)
    if answer.status == HTTPStatus.NOT_FOUND:
        return warning(
            f"{url}/info answers {status}{who}: a very old Agent, or none",
            "The test trace decides. Agents before 7.27 have no /info; statistics and other features need it.",
        )
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return warning(
            f"{url}/info answers {status}{who}: the Agent is starting or overloaded, or a proxy does not reach it",
            "Look at the Agent's log, and at what stands between.",
        )
    return warning(
        f"{url}/info answers {status}{who}, but not as an Agent does: {_quoted(answer.body)}",
        "Probably another server listens there. Correct DD_TRACE_AGENT_URL, DD_AGENT_HOST or DD_TRACE_AGENT_PORT.",
    )


def _statistics(info: AgentInfo, config: Config) -> Finding:
    if not (config.trace_stats_computation_enabled and config.apm_tracing_enabled):
        return note("Trace statistics are left to the Agent: they are switched off here.")
    if stats_supported(info, ignore_agent_version=config.trace_stats_computation_ignore_agent_version):
        return ok("It takes trace statistics, so unsampled traces need not be sent")
    return note(
        "The Agent computes trace statistics itself: it cannot take them from here.",
        "Nothing is lost, but all traces are sent to it. Agents from 7.65 on can.",
    )


def _remote_configuration(info: AgentInfo, config: Config) -> Finding:
    if not config.remote_configuration_enabled:
        return note("Remote configuration is switched off here: settings cannot be changed from Datadog.")
    if {"/v0.7/config", "v0.7/config"}.isdisjoint(info.endpoints):
        return note(
            "The Agent does not offer remote configuration: settings cannot be changed from Datadog.",
            "Set `remote_configuration.enabled: true` in the Agent, or DD_REMOTE_CONFIGURATION_ENABLED=false here.",
        )
    return ok(f"It offers remote configuration, asked for every {config.remote_config_poll_interval_seconds:g} s")


def _check_clock(answer: Response, asked_ns: int, answered_ns: int) -> Iterator[Finding]:
    """Compare the clocks, if the answer has a date."""
    try:
        theirs_s = email.utils.parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return
    # A date has whole seconds: any moment of that second agrees.
    ahead_s = max(asked_ns / 1e9 - (theirs_s + 1), theirs_s - answered_ns / 1e9, 0.0)
    if ahead_s <= _CLOCK_TOLERANCE_S:
        yield ok("The clock agrees with that of the Agent's host")
        return
    direction = "ahead of" if asked_ns / 1e9 > theirs_s else "behind"
    yield warning(
        f"The clock is {ahead_s:.0f} s {direction} that of the Agent's host",
        "Spans of different hosts will not fit together, and Datadog drops traces too far from its own time."
        " Synchronize both hosts (chrony, ntpd).",
    )


# -- a test trace ----------------------------------------------------------------------------------


def _check_trace(
    client: AgentClient, transport: _Remembering, config: Config, clock: Clock, *, is_agent: bool
) -> Iterator[Finding]:
    span = _test_span(config, clock)
    body = V04Encoder().encode([[span]])
    result = client.send_traces(body, chunks=1)
    answer = transport.last
    if not result.delivered:
        yield _not_taken(result, answer)
        return
    if not is_agent and not _has_rates(answer):
        yield problem(
            f"A test trace was answered with {_status(result.status)}, but not as an Agent does:"
            f" {_quoted(answer.body if answer is not None else b'')}",
            "A server that is no Agent takes everything and keeps nothing. Correct the address of the Agent.",
        )
        return
    rates = f"; sampling rates: {_rates_text(result.rates)}" if result.rates else ""
    trace_id = f"{span['meta'][tags.TRACE_ID_HIGH]}{span['trace_id']:016x}"
    yield ok(f"It took a test trace of service {span['service']}: {_status(result.status)}{rates}")
    yield note(
        f"Trace id of the test: {trace_id}",
        "Not in Datadog within minutes? Then the Agent cannot deliver: look at `datadog-agent status` (API key, site,"
        " APM Agent).",
    )


def _not_taken(result: SendResult, answer: Response | None) -> Finding:
    said = f": {_quoted(answer.body)}" if answer is not None and answer.body else ""
    what = f"A test trace was not taken: {_status(result.status) if result.status else result.error}{said}"
    if result.outcome == "unsupported" or result.status in _NO_ENDPOINT:
        return problem(
            what,
            "There is no endpoint for traces: another server than the Agent, or an Agent with"
            " `apm_config.enabled: false`.",
        )
    if result.outcome == "overloaded":
        return problem(
            what, "The Agent refuses traffic: see `apm_config.max_connections` and its CPU and memory limits."
        )
    if result.outcome in ("failed", "timeout", "network"):
        return problem(what, "The Agent, or a proxy in front of it, failed: look at its log, and try again.")
    return problem(
        what,
        "The payload was refused. Behind a proxy or gateway, check that it passes the request on unchanged; otherwise"
        " look at the Agent's log.",
    )


def _test_span(config: Config, clock: Clock) -> DDSpan:
    """Return a span that Datadog keeps and that is easy to find."""
    service = make_resource(config)[1]
    now_ns = clock.wall_ns()
    chance = random.SystemRandom()
    meta = {
        "language": "python",
        tags.TRACE_ID_HIGH: f"{now_ns // 1_000_000_000:08x}00000000",
        "_dd.p.dm": "-4",
        "ddtrace_manual.version": __version__,
    }
    meta.update({key: value for key, value in (("env", config.env), ("version", config.version)) if value})
    return {
        "service": service,
        "name": "ddtrace_manual.doctor",
        "resource": "test trace",
        "type": "custom",
        "trace_id": chance.getrandbits(63) or 1,
        "span_id": chance.getrandbits(63) or 1,
        "start": now_ns,
        "duration": 1_000_000,
        "meta": meta,
        "metrics": {"_sampling_priority_v1": 2.0, "_dd.top_level": 1.0},
    }


def _has_rates(answer: Response | None) -> bool:
    """Say whether an answer to traces is an Agent's: sampling rates, or the `OK` of old Agents."""
    if answer is None:
        return False
    try:
        document: Any = json.loads(answer.body)  # Any: JSON
    except (ValueError, RecursionError):
        return answer.body.strip() == b"OK"
    return isinstance(document, dict) and "rate_by_service" in document


def _rates_text(rates: Mapping[str, float]) -> str:
    shown = [f"{key or 'default'} {rate:g}" for key, rate in list(rates.items())[:3]]
    return ", ".join(shown) + (" …" if len(rates) > len(shown) else "")


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _quoted(body: bytes) -> str:
    """Return the beginning of a body as one harmless line."""
    text = " ".join(body[: 4 * _SHOWN_ANSWER].decode("utf-8", "replace").split())
    text = "".join(char if char.isprintable() else "�" for char in text)
    if not text:
        return "an empty body"
    return repr(text if len(text) <= _SHOWN_ANSWER else f"{text[:_SHOWN_ANSWER]}…")


def _silent_log() -> RateLimitedLogger:
    """Return a logger that writes nothing: the report says what failed."""
    logger = logging.getLogger("ddtrace_manual.doctor")
    logger.setLevel(logging.CRITICAL + 1)
    return RateLimitedLogger(logger)
