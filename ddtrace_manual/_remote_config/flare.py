"""The tracer flare: log lines and facts about this process, collected and uploaded on request of Datadog's support.

Secrets are taken out of every file before it leaves; spans are never part of it.

Source: spec/telemetry-remote-config.md §11.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import os
import re
import shutil
import tempfile
import threading
import uuid
import zipfile
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._base.clock import SYSTEM_CLOCK, Clock
from ddtrace_manual._base.log import LOGGER_NAME, get_logger
from ddtrace_manual.exceptions import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ddtrace_manual._agent import AgentClient

__all__ = ["FLARE_PATH", "FlareTask", "TracerFlare"]

FLARE_PATH: Final = "/tracer_flare/v1"
_MAX_LOG_BYTES: Final = 15_000_000
_MAX_AGE_NS: Final = 20 * 60 * 1_000_000_000
_UPLOAD_TIMEOUT_S: Final = 5.0
_LOCK_FILE: Final = "tracer_flare.lock"
_MIN_SECRET_LENGTH: Final = 4
"""Shorter texts are everywhere by chance."""
_PAYLOAD: Final = re.compile(r", payload [0-9a-f]*")
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_log = get_logger("flare")


@dataclass(frozen=True, slots=True)
class FlareTask:
    """Who asked for a flare, and for what."""

    uuid: str
    case_id: str
    hostname: str
    email: str


@dataclass(slots=True)
class _Preparation:
    directory: Path
    level: str
    handler: logging.Handler
    former_level: int
    raised_level: int
    began_ns: int
    pid: int


class TracerFlare:
    """Prepares, sends and cancels flares, one at a time. Nothing of it raises.

    Args:
        client: Uploads.
        collect: Returns what to add, as JSON documents or texts by file name.
        secrets: Returns texts that must not leave the process.
        clock: Source of time.
    """

    def __init__(
        self,
        client: AgentClient,
        *,
        collect: Callable[[], Mapping[str, object]],
        secrets: Callable[[], Iterable[str]] = tuple,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._collect = collect
        self._secrets = secrets
        self._clock = clock
        self._current: _Preparation | None = None
        self.sender: threading.Thread | None = None
        """The thread that sends the last flare."""

    @property
    def is_preparing(self) -> bool:
        """Whether log lines are being collected."""
        return self._current is not None

    def prepare(self, level: str, number: int) -> None:
        """Collect log lines of the library from `level` on, unless a flare is being prepared."""
        if self._current is not None:
            return
        try:
            directory = Path(tempfile.mkdtemp(prefix="ddtrace-manual-flare-"))  # private to the user
        except OSError as exc:
            _log.debug("No directory for a flare: %s", exc)
            return
        try:
            logger = logging.getLogger(LOGGER_NAME)
            handler = RotatingFileHandler(
                directory / f"tracer_python_{os.getpid()}.log", maxBytes=_MAX_LOG_BYTES, backupCount=1, encoding="utf-8"
            )
            handler.setFormatter(_JsonLines())
            former = logger.level
            clock_ns = self._clock.monotonic_ns()
            raised = min(number, logger.getEffectiveLevel())
            self._current = _Preparation(directory, level, handler, former, raised, clock_ns, os.getpid())
            logger.setLevel(raised)
            logger.addHandler(handler)
            for name, content in self._collect().items():
                text = content if isinstance(content, str) else json.dumps(content, indent=2, default=str)
                (directory / name).write_text(text, encoding="utf-8")
        except Exception:  # what was collected so far is better than nothing
            _log.debug("A flare could not be prepared completely", exc_info=True)
            if self._current is None:
                shutil.rmtree(directory, ignore_errors=True)

    def cancel(self) -> None:
        """Stop collecting, and delete what was collected."""
        if (preparation := self._finish()) is not None:
            shutil.rmtree(preparation.directory, ignore_errors=True)

    def expire(self) -> None:
        """Cancel a preparation that was never sent."""
        if self._current is not None and self._clock.monotonic_ns() - self._current.began_ns > _MAX_AGE_NS:
            self.cancel()

    def send(self, task: FlareTask) -> None:
        """Upload what was collected, on a thread of its own, and delete it."""
        preparation = self._finish()
        if preparation is None:
            return
        self.sender = threading.Thread(
            target=self._send, args=(preparation, task), name="ddtrace-manual-flare", daemon=True
        )
        try:
            self.sender.start()
        except Exception:  # no thread is left, or the interpreter ends
            shutil.rmtree(preparation.directory, ignore_errors=True)

    def forget_after_fork(self) -> None:
        """Stop collecting in a forked child; the directory is the parent's."""
        self._finish()

    def _finish(self) -> _Preparation | None:
        """Restore logging; return what was being prepared."""
        preparation, self._current = self._current, None
        if preparation is None:
            return None
        logger = logging.getLogger(LOGGER_NAME)
        logger.removeHandler(preparation.handler)
        if logger.level == preparation.raised_level:
            logger.setLevel(preparation.former_level)
        if preparation.pid == os.getpid():
            preparation.handler.close()
        return preparation

    def _send(self, preparation: _Preparation, task: FlareTask) -> None:
        try:
            os.close(os.open(preparation.directory / _LOCK_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            archive = _zip(preparation.directory, tuple(self._secrets()))
            if archive is None:
                return
            name = f"tracer-python-{task.case_id}-{self._clock.wall_ns() // 1_000_000_000}-{preparation.level}.zip"
            boundary = uuid.uuid4().hex
            response = self._client.request(
                "POST",
                FLARE_PATH,
                _multipart(boundary, task, name, archive),
                headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
                timeout_s=_UPLOAD_TIMEOUT_S,
            )
            _log.info("Sent a flare for case %s: status %d", task.case_id, response.status)
        except FileExistsError:
            _log.debug("Another process sends this flare")
        except (AgentError, OSError) as exc:
            _log.warning("Could not send a flare: %s", exc)
        except Exception:  # nothing may escape from the thread
            _log.debug("Could not send a flare", exc_info=True)
        finally:
            shutil.rmtree(preparation.directory, ignore_errors=True)


def _zip(directory: Path, secrets: tuple[str, ...]) -> bytes | None:
    """Return the files of a directory as a ZIP, without secrets; `None` when there are none."""
    hidden = [secret.encode() for secret in sorted(set(secrets), key=len, reverse=True)]
    # In JSON a secret may be written with escapes.
    hidden += [json.dumps(secret)[1:-1].encode() for secret in secrets]
    hidden = [secret for secret in hidden if len(secret) >= _MIN_SECRET_LENGTH]
    buffer = io.BytesIO()
    count = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(directory.iterdir()):
            if file.name == _LOCK_FILE or not file.is_file():
                continue
            data = file.read_bytes()
            for secret in hidden:
                data = data.replace(secret, b"<hidden>")
            archive.writestr(f"tracer_flare/{file.name}", data)
            count += 1
    return buffer.getvalue() if count else None


def _multipart(boundary: str, task: FlareTask, name: str, archive: bytes) -> bytes:
    """Return the form that the Agent expects."""
    fields = {
        "source": "tracer_python",
        "case_id": task.case_id,
        "hostname": task.hostname,
        "email": task.email,
        "uuid": task.uuid,
    }
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n'
        for key, text in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="flare_file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join([*parts, head]).encode() + archive + f"\r\n--{boundary}--\r\n".encode()


class _JsonLines(logging.Formatter):
    """Formats each record as one JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = dt.datetime.fromtimestamp(record.created, dt.timezone.utc)
        fields: dict[str, Any] = {  # Any: JSON
            "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "filename": record.filename if hasattr(record, "filename") else "",
            "module": record.module,
            "funcName": record.funcName,
            "lineno": record.lineno,
            "message": _PAYLOAD.sub(", payload <left out>", record.getMessage()),
            "thread": record.thread,
            "threadName": record.threadName,
            "process": record.process,
            "processName": record.processName,
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack_info"] = self.formatStack(record.stack_info)
        for name, value in vars(record).items():
            if name not in _STANDARD_FIELDS:
                fields.setdefault(name, value if isinstance(value, (str, int, float, bool)) else repr(value))
        return json.dumps(fields, default=str)
