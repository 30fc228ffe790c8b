"""What is known about the Agent: `/info`, asked for at the right times, and the features chosen from it.

The first request is the worker's first act, before anything is sent. Until one attempt was answered
it is repeated before a send, at most once a second; then every five minutes, and early when an
answer carries another state hash.

Source: spec/trace-export.md §9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ddtrace_manual._agent import AgentClient, AgentInfo, Features, choose_features
from ddtrace_manual._log import get_logger
from ddtrace_manual.exceptions import AgentError, AgentResponseError

if TYPE_CHECKING:
    from ddtrace_manual._clock import Clock

__all__ = ["AgentWatch"]

_log = get_logger("export")

_REFRESH_NS = 300_000_000_000
_RETRY_NS = 1_000_000_000


class AgentWatch:
    """Keeps `/info` fresh. Used by the worker thread only.

    Args:
        client: Asks the Agent.
        choose: Chooses features from what is known; see `choose_features`.
        on_info: Told about every answer.
        clock: Source of monotonic time.

    Attributes:
        info: The last answer, or `None` as long as nothing is known.
        features: What to do with this Agent.
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
        self._attempted = False
        self._was_answered = False
        self._due_ns = 0

    @property
    def was_attempted(self) -> bool:
        """Whether a first attempt has ended, with whatever result."""
        return self._attempted

    def refresh(self, *, force: bool = False) -> bool:
        """Ask the Agent when it is time; return whether features may have changed.

        Args:
            force: Ask again if no attempt was answered yet, whatever the time.
        """
        now = self._clock.monotonic_ns()
        if self._attempted and now < self._due_ns and not (force and not self._was_answered):
            return False
        self._attempted = True
        try:
            info = self._client.fetch_info()
        except AgentError as exc:
            # An answer that makes no sense is an answer: this Agent has no optional feature.
            self._was_answered = self._was_answered or (isinstance(exc, AgentResponseError) and exc.status > 0)
            self._due_ns = now + (_REFRESH_NS if self._was_answered else _RETRY_NS)
            _log.debug("No usable /info from the Agent: %s", exc)
            return False
        self._was_answered = True
        self._due_ns = now + _REFRESH_NS
        is_new = self.info is None or info != self.info
        self.info = info
        if is_new:
            self.features = self._choose(info)
            if self._on_info is not None:
                self._on_info(info)
        return is_new

    def saw_state(self, state_hash: str) -> None:
        """Take the state hash of an answer; another one than that of `/info` makes it due at once."""
        if self.info is not None and state_hash != self.info.state_hash:
            self._due_ns = 0

    def stats_refused(self) -> None:
        """Stop statistics until `/info` changes: the Agent answered 404 to them."""
        self.features = self._choose(None)

    def next_due_ns(self) -> int:
        """Return when `/info` is due again, in monotonic nanoseconds."""
        return self._due_ns
