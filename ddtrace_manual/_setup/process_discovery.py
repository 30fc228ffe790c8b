"""Tells other processes of the machine that this one is traced: a sealed file in memory, and a named mapping.

The Agent and profilers find the file in `/proc/<pid>/fd` and the mapping in `/proc/<pid>/maps`. Linux only; elsewhere,
and where the kernel refuses, nothing is published.

Source: spec/telemetry-remote-config.md §13.
"""

from __future__ import annotations

import os
import platform
import secrets
import string
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ddtrace_manual._base.log import get_logger
from ddtrace_manual._encoding import new_packer
from ddtrace_manual._version import __version__

from .process_context import ProcessContext, encode_context

if TYPE_CHECKING:
    from .pipeline import PipelineComponents

__all__ = ["FILE_NAME", "ProcessFacts", "PublishedProcess", "encode_facts"]

FILE_NAME: Final = "datadog-tracer-info-"
"""Beginning of the name of the file; eight random characters follow."""
_SCHEMA_VERSION: Final = 2
_RANDOM_CHARS: Final = 8
_F_ADD_SEALS: Final = 1033
_SEALS: Final = 2 | 4 | 1  # no shrinking, no growing, no other seals

_log = get_logger("process_discovery")


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What is published about this process; empty text means unknown."""

    runtime_id: str
    hostname: str
    service: str
    env: str
    version: str
    process_tags: str
    container_id: str
    tracer_version: str = __version__

    @classmethod
    def of(cls, parts: PipelineComponents) -> ProcessFacts:
        """Return what is published about a pipeline's process."""
        config = parts.config
        return cls(
            runtime_id=parts.runtime_id,
            hostname=config.hostname or platform.node(),
            service=parts.service,
            env=config.env or "",
            version=config.version or "",
            process_tags=config.process_tags,
            container_id=parts.entity.container_id or "",
        )


def encode_facts(facts: ProcessFacts) -> bytes:
    """Return the content of the file: one msgpack map."""
    optional = {
        "service_name": facts.service,
        "service_env": facts.env,
        "service_version": facts.version,
        "process_tags": facts.process_tags,
        "container_id": facts.container_id,
    }
    fields: dict[str, object] = {
        "schema_version": _SCHEMA_VERSION,
        **({"runtime_id": facts.runtime_id} if facts.runtime_id else {}),
        "tracer_language": "python",
        "tracer_version": facts.tracer_version,
        "hostname": facts.hostname,
        **{key: value for key, value in optional.items() if value},
    }
    return bytes(new_packer()(fields))


class PublishedProcess:
    """Keeps the file and the mapping of this process up to date. Never raises."""

    def __init__(self) -> None:
        self._facts: ProcessFacts | None = None
        self._fd: int | None = None
        self._context = ProcessContext()

    def publish(self, facts: ProcessFacts) -> None:
        """Publish facts in place of those before."""
        if sys.platform != "linux" or facts == self._facts:
            return
        self._facts = facts
        self._close()
        try:
            self._fd = _write_sealed(encode_facts(facts))
        except (AttributeError, OSError) as exc:
            _log.debug("Could not publish the process discovery file: %s", exc)
        try:
            self._context.publish(encode_context(_resource(facts), facts.process_tags))
        except Exception:
            _log.warning("Could not publish the OpenTelemetry process context", exc_info=True)

    def forget_after_fork(self) -> None:
        """Drop, in a forked child, what describes the parent."""
        self._facts = None
        self._context = ProcessContext()  # the mapping of the parent does not exist here
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        try:
            # The application may have closed all descriptors, as daemons do: the number may be somebody else's by now.
            if fd is not None and FILE_NAME in os.readlink(f"/proc/self/fd/{fd}"):  # noqa: PTH115 - no path of the file system
                os.close(fd)
        except OSError:  # closed already, or no /proc
            return


def _resource(facts: ProcessFacts) -> dict[str, str]:
    found = {
        "service.name": facts.service,
        "service.version": facts.version,
        "deployment.environment.name": facts.env,
        "service.instance.id": facts.runtime_id,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": facts.tracer_version,
        "telemetry.sdk.name": "datadog",
        "container.id": facts.container_id,
    }
    return {**{key: value for key, value in found.items() if value}, "host.name": facts.hostname}


def _write_sealed(content: bytes) -> int:
    """Return the descriptor of a new sealed file in memory.

    Raises:
        AttributeError: The C library does not offer such files.
        OSError: The kernel does not.
    """
    import fcntl

    name = FILE_NAME + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_RANDOM_CHARS))
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, content)
        fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd
