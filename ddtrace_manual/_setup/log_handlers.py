"""Level, handlers and rate of the library's loggers, as configured; everything can be taken back.

Without a setting that asks for it the library adds no handler: its records go to the application's.

Source: spec/configuration.md §8.7.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from ddtrace_manual._base.log import LOGGER_NAME, get_logger, set_logging_interval
from ddtrace_manual._version import __version__

if TYPE_CHECKING:
    from ddtrace_manual.config import Config

    _TextHandler = logging.StreamHandler[TextIO]
else:
    _TextHandler = logging.StreamHandler  # cannot be subscripted before Python 3.11

__all__ = ["apply_log_settings", "handle_directly", "renew_log_file", "undo_log_settings", "wants_stderr"]

_log = get_logger("setup")

_FORMAT: Final = "%(asctime)s %(levelname)s [%(name)s] [%(filename)s:%(lineno)d] - %(message)s"
_LEVELS: Final = {
    "notset": logging.NOTSET,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}
_DEFAULT_INTERVAL_S: Final = 60.0
_BACKUPS: Final = 1


@dataclass(slots=True)
class _Applied:
    """What was changed, so that it can be taken back."""

    handlers: list[logging.Handler] = field(default_factory=list)
    former_level: int | None = None


_applied = _Applied()


class _StderrHandler(_TextHandler):
    """Writes to what `sys.stderr` is now, unless a handler of the application writes the same record there."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, once."""
        self.stream = sys.stderr  # replaced by test runners, notebooks and daemons; `None` under pythonw
        if self.stream is not None and not _root_writes(record, self.stream):
            super().emit(record)


def wants_stderr(config: Config) -> bool:
    """Return whether records are to reach stderr even if the application configured no logging."""
    return config.trace_log_stream_handler and (
        config.library_log_level is not None or (config.trace_startup_logs and config.is_set("trace_startup_logs"))
    )


def apply_log_settings(config: Config) -> None:
    """Set level, handlers and rate as configured, in place of what an earlier call did. Never raises.

    The level decides first: the file gets nothing that the loggers do not let through.
    """
    undo_log_settings()
    set_logging_interval(config.trace_logging_rate)
    logger = logging.getLogger(LOGGER_NAME)
    if config.library_log_level is not None:
        _applied.former_level = logger.level
        logger.setLevel(config.library_log_level)
    if wants_stderr(config):
        _add(_StderrHandler())
    _add_file(config)


def undo_log_settings() -> None:
    """Remove and close the handlers, and restore the level there was before."""
    logger = logging.getLogger(LOGGER_NAME)
    handlers, _applied.handlers = _applied.handlers, []
    for handler in handlers:
        logger.removeHandler(handler)
        handler.close()
    if _applied.former_level is not None:
        logger.setLevel(_applied.former_level)
        _applied.former_level = None
    set_logging_interval(_DEFAULT_INTERVAL_S)


def renew_log_file(config: Config) -> None:
    """Give a forked child a file of its own where the name carries the process id. Never raises."""
    if config.trace_log_directory is not None and config.trace_log_file is None:
        apply_log_settings(config)


def handle_directly(record: logging.LogRecord) -> None:
    """Give a record to the handlers added here, whatever the level of the loggers."""
    for handler in _applied.handlers:
        if record.levelno >= handler.level:
            handler.handle(record)


def _add(handler: logging.Handler) -> None:
    _applied.handlers.append(handler)
    logging.getLogger(LOGGER_NAME).addHandler(handler)


def _add_file(config: Config) -> None:
    """Add the file handler, if one is configured; a file that cannot be written is reported."""
    path = config.trace_log_file
    is_in_directory = path is None and config.trace_log_directory is not None
    if is_in_directory:
        path = str(Path(str(config.trace_log_directory)) / f"{LOGGER_NAME}-{os.getpid()}.log")
    if path is None:
        return
    variable = "DD_TRACE_LOG_DIRECTORY" if is_in_directory else "DD_TRACE_LOG_FILE"
    try:
        from .log_file import PrivateLogFile  # rarely needed

        if is_in_directory:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        handler = PrivateLogFile(
            path,
            maxBytes=config.trace_log_file_size_bytes,
            backupCount=_BACKUPS,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except (OSError, ValueError) as exc:  # ValueError: a null character in the path
        _log.warning("Cannot write the log file %s (%s): %s", path, variable, exc)
        return
    handler.setFormatter(logging.Formatter(_FORMAT))
    if is_in_directory:
        handler.emit(_first_record())
    handler.setLevel(_LEVELS[config.trace_log_file_level])
    _add(handler)


def _first_record() -> logging.LogRecord:
    message = "Log of ddtrace_manual %s, process %d"
    args = (__version__, os.getpid())
    return _log.makeRecord(_log.name, logging.INFO, __file__, 0, message, args, None, "_first_record")


def _root_writes(record: logging.LogRecord, stream: TextIO) -> bool:
    """Return whether a handler of the root logger writes this record to the stream."""
    if not logging.getLogger(LOGGER_NAME).propagate or not logging.getLogger(record.name).isEnabledFor(record.levelno):
        return False
    return any(
        isinstance(handler, logging.StreamHandler) and handler.stream is stream and handler.level <= record.levelno
        for handler in logging.getLogger().handlers
    )
