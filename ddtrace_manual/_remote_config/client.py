"""The client: polls the Agent, keeps the files, hands them to products and reports what became of them.

Source: spec/telemetry-remote-config.md §9.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from ddtrace_manual._base.log import get_logger
from ddtrace_manual.exceptions import AgentError, AgentResponseError, RemoteConfigError

from .files import ACKNOWLEDGED, ERROR, MAX_ERROR_LENGTH, RemoteFile, Targets, read_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ddtrace_manual._agent import AgentClient, Response

    from .files import Answer

__all__ = ["REMOTE_CONFIG_PATH", "Identity", "Product", "RemoteConfigClient"]

REMOTE_CONFIG_PATH: Final = "/v0.7/config"
MAX_EXTRA_SERVICES: Final = 64
_RECHECK_S: Final = 60.0
"""How often an Agent that does not offer remote configuration is asked again."""
_FAILURES_TO_CHECK: Final = 3
_PRERELEASE: Final = re.compile(r"(\d+\.\d+\.\d+)(a|b|rc|\.dev)")

_log = get_logger("remote_config")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    runtime_id: str
    tracer_version: str
    service: str
    env: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()
    process_tags: tuple[str, ...] = ()


class Product(Protocol):
    """A consumer of files."""

    @property
    def name(self) -> str:
        """As in paths."""
        ...

    @property
    def capabilities(self) -> Sequence[int]:
        """Bits to advertise."""
        ...

    def update(self, removed: Sequence[RemoteFile], changed: Sequence[RemoteFile]) -> Mapping[str, str]:
        """Take files that are gone, and new or changed ones; return the errors by path."""
        ...

    def complete(self) -> None:
        """Called after every good answer, also one without changes."""
        ...


class RemoteConfigClient:
    """Polls one Agent for one process. Not thread-safe: the caller serialises `poll`.

    Args:
        client: Makes the requests.
        identity: Says who asks.
        extra_services: Names of other services of this process, most important first.
        products: Consumers.
        timeout_s: For one request, in seconds.
        monotonic: Source of time, in seconds.

    Attributes:
        is_offered: Whether the Agent offers remote configuration; `None` as long as that is not known.
        error: Why the last answer could not be used; "" when it could.
        files: Active files by path.
    """

    def __init__(
        self,
        client: AgentClient,
        *,
        identity: Callable[[], Identity],
        products: Iterable[Product],
        extra_services: Callable[[], Sequence[str]] = tuple,
        timeout_s: float = 3.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._identity = identity
        self._extra_services = extra_services
        self._products = {product.name: product for product in products}
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._capabilities = _encode_bits(bit for each in self._products.values() for bit in each.capabilities)
        self.is_offered: bool | None = None
        self.error = ""
        self.files: Mapping[str, RemoteFile] = {}
        self._id = str(uuid.uuid4())
        self._targets = Targets(0, "", 1)
        self._checked_at = 0.0
        self._failures = 0

    def poll(self) -> bool:
        """Ask once and put what comes into effect; return whether the answer could be used. Never raises for the Agent.

        An Agent that does not list the endpoint in `/info` is not asked; `/info` is read again after a while.
        """
        try:
            if not self._is_reachable():
                return False
            body = json.dumps(self.request()).encode()
            response = self._client.request(
                "POST",
                REMOTE_CONFIG_PATH,
                body,
                headers={"Content-Type": "application/json"},
                timeout_s=self._timeout_s,
            )
            if response.status == HTTPStatus.NOT_FOUND:
                self._end()
                return True
            answer = self._read(response)
        except (AgentError, RemoteConfigError) as exc:
            self._fail(exc)
            return False
        self._failures = 0
        self.error = ""
        if answer.targets is not None:
            self._targets = answer.targets
        self._deliver(self.files if answer.files is None else answer.files)
        return True

    def request(self) -> dict[str, object]:
        """Return the body of the next request."""
        identity, targets = self._identity(), self._targets
        return {
            "client": {
                "id": self._id,
                "products": list(self._products),
                "is_tracer": True,
                "client_tracer": {
                    "runtime_id": identity.runtime_id,
                    "language": "python",
                    "tracer_version": _semantic_version(identity.tracer_version),
                    "service": identity.service,
                    "extra_services": list(self._extra_services())[:MAX_EXTRA_SERVICES],
                    "env": identity.env,
                    "app_version": identity.version,
                    "tags": list(identity.tags),
                    "process_tags": list(identity.process_tags),
                },
                "state": {
                    "root_version": targets.root_version,
                    "targets_version": targets.version,
                    "config_states": [file.state() for file in self.files.values()],
                    "has_error": bool(self.error),
                    "error": self.error,
                    "backend_client_state": targets.backend_state,
                },
                "capabilities": self._capabilities,
            },
            "cached_target_files": [file.cached() for file in self.files.values()],
        }

    def _is_reachable(self) -> bool:
        """Say whether the Agent offers the endpoint, asking it when that is not known or may have changed."""
        now = self._monotonic()
        is_due = self.is_offered is None or self._failures >= _FAILURES_TO_CHECK
        if is_due or (not self.is_offered and now - self._checked_at >= _RECHECK_S):
            self._checked_at = now
            endpoints = self._client.fetch_info().endpoints
            self.is_offered = not {REMOTE_CONFIG_PATH, REMOTE_CONFIG_PATH[1:]}.isdisjoint(endpoints)
            self._failures = 0
            if not self.is_offered:
                _log.debug("The Agent does not offer remote configuration")
                self._deliver({})
        return bool(self.is_offered)

    def _read(self, response: Response) -> Answer:
        if response.status != HTTPStatus.OK:
            raise RemoteConfigError(f"the Agent answered with status {response.status}")
        targets = self._targets
        return read_answer(
            response.body,
            self.files,
            self._products,
            last_version=targets.version,
            root_version=targets.root_version,
        )

    def _fail(self, exc: Exception) -> None:
        """Note a failed poll; only an answer that cannot be used is reported to the Agent."""
        self._failures += 1
        if isinstance(exc, (RemoteConfigError, AgentResponseError)):
            self.error = str(exc)[:MAX_ERROR_LENGTH]
        if self._failures <= _FAILURES_TO_CHECK:
            _log.debug("Remote configuration could not be polled: %s", exc)

    def _end(self) -> None:
        """Drop everything: remote configuration is switched off in the Agent."""
        self._failures = 0
        self.error = ""
        self.is_offered = False
        self._checked_at = self._monotonic()
        self._targets = Targets(0, "", self._targets.root_version)
        self._deliver({})

    def _deliver(self, files: Mapping[str, RemoteFile]) -> None:
        """Make these files the active ones, and have the products take what has changed."""
        held, self.files = self.files, files
        removed = [file for path, file in held.items() if path not in files]
        changed = [file for path, file in files.items() if held.get(path) is not file]
        for name, product in self._products.items():
            gone = [file for file in removed if file.product == name]
            new = [file for file in changed if file.product == name]
            errors: Mapping[str, str] = {}
            try:
                if gone or new:
                    errors = product.update(gone, new)
                product.complete()
            except Exception as exc:  # a product that fails must not cost the others
                _log.debug("Remote configuration for %s failed", name, exc_info=True)
                errors = dict.fromkeys((file.path for file in new), f"{type(exc).__name__}: {exc}")
            for file in new:
                file.apply_error = errors.get(file.path, "")[:MAX_ERROR_LENGTH]
                file.apply_state = ERROR if file.path in errors else ACKNOWLEDGED


def _encode_bits(bits: Iterable[int]) -> str:
    """Return a set of bits as base64 of a big-endian number of minimal length."""
    number = sum(1 << bit for bit in set(bits))
    return base64.b64encode(number.to_bytes(max((number.bit_length() + 7) // 8, 1), "big")).decode()


def _semantic_version(version: str) -> str:
    """Return a Python version in the form of SemVer: `1.0.0rc2.dev3+g1` → `1.0.0-rc2.dev3+g1`."""
    return _PRERELEASE.sub(lambda match: f"{match[1]}-{match[2].removeprefix('.')}", version, count=1)
