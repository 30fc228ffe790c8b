"""What is known about the Agent: `/info`, asked for at the right times, and the features chosen from it.

The first request is the worker's first act, before anything is sent. Until one attempt was answered
it is repeated before a send, at most once a second; then every five minutes, and early when an
answer carries another state hash or the Agent comes back after it was away.

Source: spec/trace-export.md §9.
Deviation: an Agent that says it cannot answer now (408, 429, 5xx) has not answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ddtrace_manual._agent import AgentClient, AgentInfo, Features, choose_features
from ddtrace_manual._agent.retry import is_retryable
from ddtrace_manual._base.log import get_logger
from ddtrace_manual.exceptions import AgentError, AgentResponseError

if TYPE_CHECKING:
    from ddtrace_manual._base.clock import Clock

__all__ = ["AgentWatch"]

_log = get_logger("export")

_REFRESH_NS = 300_000_000_000
_RETRY_NS = 1_000_000_000


class AgentWatch:
    """Keeps `/info` fresh. Used by the worker thread only.

    Args:
        client: Asks the Agent.
        clock: Source of monotonic time.
        choose: Chooses features from what is known; see `choose_features`.
        on_info: Told about every answer that differs from the one before.

    Attributes:
        info: The last answer, or `None` as long as nothing is known.
        features: What to do with this Agent.
        was_attempted: A first attempt has ended, with whatever result.
        was_answered: An attempt was answered.
        on_first_attempt: Told once how the first attempt ended: the error, or `None` for a usable answer.
    """

    def __init__(
        self,
        client: AgentClient,
        *,
        clock: Clock,
        choose: Callable[[AgentInfo | None], Features] = choose_features,
        on_info: Callable[[AgentInfo], None] | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._choose = choose
        self._on_info = on_info
        self.info: AgentInfo | None = None
        self.features = choose(None)
        self.was_attempted = False
        self.was_answered = False
        self.on_first_attempt: Callable[[AgentError | None], None] | None = None
        self._due_ns = 0
        self._has_changed = True

    def refresh(self, *, force: bool = False) -> None:
        """Ask the Agent when it is time.

        Args:
            force: Ask again if no attempt was answered yet, whatever the time.
        """
        now = self._clock.monotonic_ns()
        if self.was_attempted and now < self._due_ns and (self.was_answered or not force):
            return
        is_first, self.was_attempted = not self.was_attempted, True
        self._due_ns = now + _RETRY_NS
        try:
            info = self._client.fetch_info()
        except AgentError as exc:
            # An answer that makes no sense is an answer: this Agent has no optional feature.
            said_no = isinstance(exc, AgentResponseError) and exc.status > 0 and not is_retryable(exc.status)
            self.was_answered = self.was_answered or said_no
            if self.was_answered:
                self._due_ns = now + _REFRESH_NS
            _log.debug("No usable /info from the Agent: %s", exc)
            if is_first:
                self._report_first(exc)
            return
        self.was_answered = True
        self._due_ns = now + _REFRESH_NS
        if is_first:
            self._report_first(None)
        if info != self.info:
            self.info = info
            self._set_features(self._choose(info))
            if self._on_info is not None:
                self._on_info(info)

    def _report_first(self, error: AgentError | None) -> None:
        if self.on_first_attempt is not None:
            self.on_first_attempt(error)

    def take_change(self) -> bool:
        """Return whether features have changed since the last call; `True` the first time."""
        changed, self._has_changed = self._has_changed, False
        return changed

    def saw_state(self, state_hash: str) -> None:
        """Take the state hash of an answer; another one than that of `/info` makes it due at once."""
        if self.info is not None and state_hash != self.info.state_hash:
            self._due_ns = 0

    def expire(self) -> None:
        """Make `/info` due at once: the Agent may be another one now."""
        self._due_ns = 0

    def stats_refused(self) -> None:
        """Stop statistics until `/info` changes: the Agent answered 404 to them."""
        self._set_features(replace(self.features, stats=False))

    def _set_features(self, features: Features) -> None:
        self.features = features
        self._has_changed = True
