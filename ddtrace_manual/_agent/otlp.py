"""Posting to an OTLP/HTTP receiver, which need not be a Datadog Agent.

Source: spec/client-stats.md §10 (retries), spec/configuration.md §9.2 (address).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ddtrace_manual._base.log import DELIVERY, RateLimitedLogger, get_logger
from ddtrace_manual.exceptions import AgentError, ConfigurationError

from .headers import valid_headers
from .retry import RetryPolicy
from .transport import RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .transport import Transport

__all__ = ["OtlpClient"]

_RETRY: Final = RetryPolicy(max_retries=4)
_FIRST_SUCCESS: Final = 200
_FIRST_REDIRECT: Final = 300


class OtlpClient:
    """Posts JSON bodies of one signal. `send` never raises; it is called from one thread at a time.

    Args:
        endpoint: Whole address of the signal, for example `http://localhost:4318/v1/metrics`.
        headers: Further fields; may hold secrets and are never logged.
        wait: Waits so many seconds before a retry; returns `True` to give up at once, as at shutdown.
        transport: Carries the requests; `None` makes the real one.
        retry: When to try again.
        log: Reports failures.

    Raises:
        ConfigurationError: `endpoint` is no `http://` or `https://` address.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        wait: Callable[[float], bool],
        transport: Transport | None = None,
        retry: RetryPolicy = _RETRY,
        log: RateLimitedLogger | None = None,
    ) -> None:
        self._path, base = _split(endpoint)
        real = RequestsTransport(base)
        self._where = real.address + self._path.partition("?")[0]
        self._transport: Transport = transport if transport is not None else real
        self._headers = valid_headers({"Content-Type": "application/json", **headers})
        self._wait = wait
        self._retry = retry
        self._log = log if log is not None else RateLimitedLogger(get_logger("otlp"))

    def send(self, body: bytes, timeout_s: float) -> bool:
        """Post one body, with retries; return whether it was taken.

        Args:
            body: JSON text.
            timeout_s: For one attempt, in seconds.
        """
        retries = 0
        while True:
            status, asked, why = self._attempt(body, timeout_s)
            if _FIRST_SUCCESS <= status < _FIRST_REDIRECT:
                return True
            delay_s = self._retry.delay_s(retries, status, asked)
            if delay_s is None or self._wait(delay_s):
                break
            retries += 1
        self._log.log(
            logging.ERROR,
            DELIVERY,
            "Could not send %d bytes to %s after %d attempt(s): %s",
            len(body),
            self._where,
            retries + 1,
            why,
        )
        return False

    def _attempt(self, body: bytes, timeout_s: float) -> tuple[int, str | None, str]:
        """Return the status, 0 for none, the answer's `Retry-After`, and what went wrong if it did."""
        try:
            response = self._transport.request("POST", self._path, body, self._headers, timeout_s)
        except AgentError as exc:
            return exc.status, None, str(exc)
        return response.status, response.headers.get("Retry-After"), f"status {response.status}"


def _split(endpoint: str) -> tuple[str, str]:
    """Return the path with its query, and the address without them."""
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        raise ConfigurationError("the OTLP endpoint is not an address") from None
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return path or "/", f"{parts.scheme}://{parts.netloc}"
