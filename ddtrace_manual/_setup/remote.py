"""Connects remote configuration with a pipeline: who polls, and how what it asks for is put into effect.

Imported only when remote configuration is on.

Source: spec/telemetry-remote-config.md §9-§11.
"""

from __future__ import annotations

import os
import platform
import threading
import uuid
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ddtrace_manual._agent import AgentClient
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.gevent_patch import gevent_may_still_patch
from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._base.periodic import PeriodicThread
from ddtrace_manual._remote_config import (
    AgentConfig,
    AgentTask,
    ApmTracing,
    Identity,
    Overrides,
    RemoteConfigClient,
    TracerFlare,
)
from ddtrace_manual._version import __version__
from ddtrace_manual.config import SETTINGS, process_environ, without_user_info
from ddtrace_manual.sampling import SamplingRule, parse_remote_rate, parse_remote_rules

from .pipeline import agent_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ddtrace_manual.config import Config

    from .pipeline import PipelineComponents

__all__ = ["RemoteControl", "config_with"]

_THREAD_NAME: Final = "ddtrace-manual-remote-config"
_STOP_S: Final = 0.05
_MAX_EXTRA_SERVICES: Final = 64
_SHOWN_KEY: Final = 4


class RemoteControl:
    """Polls the Agent of one pipeline, and puts the answers into effect.

    Args:
        parts: The pipeline.
        is_current: Says whether this control and its pipeline are those in use.
        lock: Returns what is held while settings are changed.
        renew_lock: Replaces it in a forked child.
        stop_recording: Switches tracing off.
        publish: Told about the configuration that has come into effect.
        startup_fields: Returns what the start-up line shows, for a flare.
        counters: Returns the counters of the process, for a flare.
        former: Of the pipeline before, or of the parent process; what it has put into effect stays until the first
            answer.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by name
        self,
        parts: PipelineComponents,
        *,
        is_current: Callable[[RemoteControl], bool],
        lock: Callable[[], AbstractContextManager[object]],
        renew_lock: Callable[[], None],
        stop_recording: Callable[[PipelineComponents], None],
        publish: Callable[[Config], None],
        startup_fields: Callable[[], Mapping[str, object]],
        counters: Callable[[], object],
        former: RemoteControl | None = None,
    ) -> None:
        self.parts = parts
        self.has_disabled_tracing: bool = former is not None and former.has_disabled_tracing
        """Once tracing was switched off from afar it stays off in this process."""
        self._is_current = is_current
        self._settings_lock = lock
        self._renew_lock = renew_lock
        self._stop_recording = stop_recording
        self._publish = publish
        self._startup_fields = startup_fields
        self._counters = counters
        self._extra: dict[str, None] = {}
        self._thread: PeriodicThread | None = None
        self._renew(parts.runtime_id, None if former is None else former.overrides)

    def _renew(self, runtime_id: str, inherited: Overrides | None) -> None:
        """Make a client with an identity of its own, and without files."""
        parts, config = self.parts, self.parts.config
        self._lock = threading.Lock()  # guards polling: the thread and `poll`
        self._runtime_id = runtime_id
        client = AgentClient(
            parts.client.transport,
            headers=agent_headers(config, parts.entity),
            timeout_s=config.trace_agent_timeout_seconds,
            log=RateLimitedLogger(get_logger("remote_config")),
        )
        self.flare = TracerFlare(client, collect=self._facts, secrets=self._secrets)
        self.tracing = ApmTracing(
            service=parts.service,
            env=config.env or "",
            extra_services=self._extra_services,
            parse_rate=parse_remote_rate,
            parse_rules=parse_remote_rules,
            apply=self._apply,
            inherited=inherited,
        )
        self.client = RemoteConfigClient(
            client,
            identity=self._identity,
            products=(self.tracing, AgentConfig(self.flare), AgentTask(self.flare)),
            extra_services=self._extra_services,
            timeout_s=config.trace_agent_timeout_seconds,
        )

    @property
    def overrides(self) -> Overrides:
        """The values in effect from afar."""
        return self.tracing.overrides

    def settings(self) -> dict[str, object]:
        """Return the values in effect from afar, by the name of the setting in code."""
        config = config_with(self.parts.config, self.overrides, self.parts.sampler.rules)
        return {row.name: getattr(config, row.name) for row in SETTINGS if config.origin(row.name) == "remote_config"}

    def start(self) -> None:
        """Poll now and at every interval, on a thread."""
        self._thread = PeriodicThread(
            self._poll_on_thread,
            name=_THREAD_NAME,
            interval_s=self.parts.config.remote_config_poll_interval_seconds,
            after_fork=self._renew_after_fork,
        )
        self._thread.start()

    def poll(self) -> bool:
        """Poll now, on the calling thread; return whether the Agent's answer could be used."""
        with self._lock:
            return self.client.poll()

    def stop(self) -> None:
        """Stop polling; breaks a poll under way off. What is in effect stays."""
        thread, self._thread = self._thread, None
        self.flare.cancel()
        if thread is not None and not thread.stop(0.0):
            self.parts.client.interrupt(thread.ident)
            thread.stop(_STOP_S)

    def succeed_after_fork(self) -> None:
        """Make room in a forked child for the successor; the parent goes on."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop(0.0)
        self.flare.forget_after_fork()

    def _renew_after_fork(self) -> bool:
        """Poll for the child with the same pipeline: tracing is off, and no other one was made."""
        self.flare.forget_after_fork()
        self._renew_lock()  # the thread of the parent may have held it
        self._renew(str(uuid.uuid4()), self.overrides)
        return True

    def _poll_on_thread(self) -> None:
        if gevent_may_still_patch():
            return  # the next tick looks again
        self.parts.prepare_thread()
        self.poll()

    # -- what is put into effect ---------------------------------------------------------------------

    def apply_inherited(self) -> None:
        """Put what was in effect before into effect for this pipeline."""
        if self.overrides != Overrides() or self.has_disabled_tracing:
            self._apply(self.overrides)

    def _apply(self, overrides: Overrides) -> bool:
        """Put values into effect for the next spans and decisions, in place of those before.

        Returns:
            Whether that was done: not while a test records, nor for a pipeline that was replaced.
        """
        parts = self.parts
        with self._settings_lock():
            if not self._is_current(self):
                return False
            sampler = parts.sampler
            sampler.update(remote_rate=overrides.sampling_rate, remote_rules=overrides.sampling_rules)
            config = config_with(parts.config, overrides, sampler.rules)
            if dict(config.tags) != dict(parts.mapper.settings.tags):
                parts.change_mapping(tags=config.tags)
            RUNTIME.logs_injection = config.logs_injection
            RUNTIME.config = config
            self._publish(config)
            if overrides.enabled is False:
                self.has_disabled_tracing = True
            if self.has_disabled_tracing:
                self._stop_recording(parts)
        return True

    # -- what the client says ------------------------------------------------------------------------

    def _identity(self) -> Identity:
        config = self.parts.config
        env, version = config.env or "", config.version or ""
        own = {
            "env": env,
            "version": version,
            "tracer_version": __version__,
            "host_name": config.hostname or platform.node(),
        }
        tags = {**config.tags, **{key: value for key, value in own.items() if value}}
        return Identity(
            runtime_id=self._runtime_id,
            tracer_version=__version__,
            service=self.parts.service,
            env=env,
            version=version,
            tags=tuple(f"{key}:{value}" for key, value in tags.items()),
            process_tags=tuple(filter(None, config.process_tags.split(","))),
        )

    def _extra_services(self) -> Sequence[str]:
        """Return the services of exported spans, without the main one; those seen first."""
        for service in self.parts.mapper.named_services():
            if len(self._extra) >= _MAX_EXTRA_SERVICES:
                break
            if service != self.parts.service:
                self._extra[service] = None
        return tuple(self._extra)

    # -- what a flare contains -----------------------------------------------------------------------

    def _facts(self) -> dict[str, object]:
        """Return the files of a flare besides the log."""
        info = self.parts.agent.info
        distributions = {each.metadata["Name"]: each.version for each in metadata.distributions()}
        return {
            f"tracer_config_{os.getpid()}.json": {"configs": _shown_settings(self.parts.config)},
            "startup.json": dict(self._startup_fields()),
            "agent_info.json": None if info is None else {key: _plain(value) for key, value in asdict(info).items()},
            "counters.json": self._counters(),
            "distributions.json": dict(sorted(distributions.items(), key=str)),
        }

    def _secrets(self) -> list[str]:
        """Return texts that no file of a flare may contain."""
        config = self.parts.config
        found: list[str] = []
        for row in SETTINGS:
            value = getattr(config, row.name)
            if row.secret:
                found += value.values() if isinstance(value, dict) else [value] if value else []
            elif row.is_url and isinstance(value, str):
                try:
                    parts = urlsplit(value)
                    found += [text for text in (parts.username, parts.password) if text]
                except ValueError:  # not an address after all
                    continue
        environ = process_environ()
        found += [environ.get(name, "") for name in ("DD_APP_KEY", "DD_API_KEY")]
        return [str(text) for text in found if text]


def config_with(config: Config, overrides: Overrides, effective_rules: Sequence[SamplingRule]) -> Config:
    """Return the configuration with overrides, as it is reported.

    Args:
        config: The local one.
        overrides: From afar.
        effective_rules: The sampling rules now in effect, a catch-all rate last.
    """
    samples = overrides.sampling_rate is not None or bool(overrides.sampling_rules)
    return config.with_remote(
        {
            "trace_sample_rate": overrides.sampling_rate,
            "trace_sampling_rules": tuple(rule.to_dict() for rule in effective_rules) if samples else None,
            "tags": overrides.tags,
            "trace_enabled": overrides.enabled,
            "logs_injection": overrides.log_injection,
            "trace_header_tags": overrides.header_tags,
        },
        overrides.config_id,
    )


def _shown_settings(config: Config) -> dict[str, object]:
    """Return all settings by variable; secrets are left out, of the API key the last characters are shown."""
    shown: dict[str, object] = {}
    for row in SETTINGS:
        value = getattr(config, row.name)
        if row.name == "api_key":
            value = None if not value else f"*{value[-_SHOWN_KEY:]}" if len(value) > 2 * _SHOWN_KEY else "*"
        elif row.secret:
            value = "<hidden>" if value else None
        elif row.is_url and isinstance(value, str):
            value = without_user_info(value)
        shown[row.env or row.name] = _plain(value)
    shown.update({name: found.value for name, found in config.without_effect.items()})
    return shown


def _plain(value: Any) -> object:  # Any: whatever a setting holds
    """Return a value as JSON; objects of the application by their type alone."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, SamplingRule):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return f"<{type(value).__module__}.{type(value).__qualname__}>"
