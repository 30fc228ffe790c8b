"""Where the library logs, how much, and that all of it can be taken back."""

from __future__ import annotations

import logging
import os
import sys

import pytest

from ddtrace_manual._base import log
from ddtrace_manual._setup import log_handlers as _log_setup
from ddtrace_manual.config import Config

LIBRARY = logging.getLogger("ddtrace_manual")
READERS: list[int] = []


@pytest.fixture(autouse=True)
def clean_logging():
    """Leave the library's logger as it was."""
    before = (LIBRARY.level, list(LIBRARY.handlers))
    yield
    _log_setup.undo_log_settings()
    assert (LIBRARY.level, LIBRARY.handlers) == before


def apply(**environ):
    """Apply the settings of an environment."""
    config = Config.load(environ={name: str(value) for name, value in environ.items()})
    _log_setup.apply_log_settings(config)
    return config


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"DD_TRACE_DEBUG": "true"}, True),
        ({"DD_TRACE_LOG_LEVEL": "info"}, True),
        ({"DD_LOG_LEVEL": "warn"}, True),
        ({"OTEL_LOG_LEVEL": "error"}, True),
        ({"DD_TRACE_STARTUP_LOGS": "true"}, True),
        ({"DD_TRACE_STARTUP_LOGS": "false"}, False),
        ({"DD_TRACE_DEBUG": "true", "DD_TRACE_LOG_STREAM_HANDLER": "false"}, False),
    ],
)
def test_the_library_writes_to_stderr_only_when_asked(environ, wanted, capsys):
    """Nothing but debug mode, a level or explicit start-up logs lets the library write to stderr by itself."""
    assert _log_setup.wants_stderr(apply(**environ)) is wanted
    LIBRARY.critical("a line")
    assert (" CRITICAL [ddtrace_manual] [test_log_handlers.py:" in capsys.readouterr().err) is wanted


def test_stderr_gets_a_record_once_when_the_application_writes_there_too(capsys):
    """A handler of the root logger on stderr makes ours silent, unless its level or another stream keeps the record."""
    apply(DD_TRACE_DEBUG=True)
    root = logging.getLogger()
    theirs = logging.StreamHandler(sys.stderr)
    root.addHandler(theirs)
    try:
        LIBRARY.info("once")
        assert capsys.readouterr().err.count("once") == 1
        theirs.setLevel(logging.ERROR)
        LIBRARY.info("ours")
        assert capsys.readouterr().err.count("ours") == 1
        theirs.setLevel(logging.NOTSET)
        LIBRARY.propagate = False
        LIBRARY.info("unpropagated")
        assert capsys.readouterr().err.count("unpropagated") == 1
    finally:
        LIBRARY.propagate = True
        root.removeHandler(theirs)


def test_without_stderr_nothing_fails(monkeypatch):
    """Under pythonw and in some daemons there is no stderr."""
    apply(DD_TRACE_DEBUG=True)
    monkeypatch.setattr(sys, "stderr", None)
    LIBRARY.error("nowhere")


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, logging.NOTSET),
        ({"DD_TRACE_LOG_LEVEL": "error"}, logging.ERROR),
        ({"DD_TRACE_LOG_LEVEL": "OFF"}, logging.CRITICAL + 10),
        ({"DD_TRACE_LOG_LEVEL": "error", "DD_TRACE_DEBUG": "1"}, logging.DEBUG),
    ],
)
def test_level(environ, level):
    """The level is that of the settings; debug mode wins."""
    apply(**environ)
    assert LIBRARY.level == level


def test_applying_again_replaces_everything(tmp_path):
    """A second configuration doubles no handler, and nothing of the first one lingers."""
    LIBRARY.setLevel(logging.WARNING)
    try:
        for _ in range(2):
            apply(DD_TRACE_DEBUG=True, DD_TRACE_LOG_FILE=tmp_path / "a.log", DD_TRACE_LOGGING_RATE=0)
        assert len(LIBRARY.handlers) == 2
        assert log._Shared.interval_s == 0
        apply()
        assert LIBRARY.handlers == []
        assert LIBRARY.level == logging.WARNING
        assert log._Shared.interval_s == 60
    finally:
        LIBRARY.setLevel(logging.NOTSET)


def test_file_has_format_level_and_one_backup(tmp_path):
    """The file gets what its level admits, in the documented format, and is rotated with one backup."""
    path = tmp_path / "a.log"
    apply(DD_TRACE_DEBUG=1, DD_TRACE_LOG_FILE=path, DD_TRACE_LOG_FILE_LEVEL="warning", DD_TRACE_LOG_FILE_SIZE_BYTES=200)
    LIBRARY.info("quiet")
    record = LIBRARY.makeRecord("ddtrace_manual", logging.WARNING, __file__, 1, "loud \ud800 café", (), None)
    LIBRARY.handlers[-1].handle(record)  # not logged: reports of the test runner cannot hold such text
    text = path.read_text("utf-8")
    assert "quiet" not in text
    assert "WARNING [ddtrace_manual] [test_log_handlers.py:" in text
    assert text.endswith("] - loud \\ud800 café\n")
    for _ in range(10):
        LIBRARY.warning("x" * 80)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.log", "a.log.1"]


def test_directory_is_made_and_the_file_begins_with_a_line(tmp_path):
    """The directory's file has the process id in its name and one line even at quiet levels; a file name wins."""
    folder = tmp_path / "new" / "logs"
    apply(DD_TRACE_LOG_DIRECTORY=folder, DD_TRACE_LOG_FILE_LEVEL="off", DD_TRACE_LOG_LEVEL="off")
    text = (folder / f"ddtrace_manual-{os.getpid()}.log").read_text("utf-8")
    assert text.count("\n") == 1
    assert f"process {os.getpid()}" in text
    apply(DD_TRACE_LOG_DIRECTORY=tmp_path / "other", DD_TRACE_LOG_FILE=tmp_path / "a.log")
    assert not (tmp_path / "other").exists()


def test_a_forked_child_has_a_file_of_its_own(tmp_path, monkeypatch):
    """After a fork the directory gets a second file; a named file is shared."""
    config = apply(DD_TRACE_LOG_DIRECTORY=tmp_path)
    monkeypatch.setattr(os, "getpid", lambda: 4_242_424)
    _log_setup.renew_log_file(config)
    LIBRARY.error("child")
    assert "child" in (tmp_path / "ddtrace_manual-4242424.log").read_text("utf-8")
    shared = apply(DD_TRACE_LOG_FILE=tmp_path / "a.log")
    (handler,) = LIBRARY.handlers
    _log_setup.renew_log_file(shared)
    assert LIBRARY.handlers == [handler]


@pytest.mark.parametrize(
    ("variable", "make"),
    [
        ("DD_TRACE_LOG_FILE", lambda folder: folder),
        ("DD_TRACE_LOG_FILE", lambda folder: folder / "missing" / "a.log"),
        ("DD_TRACE_LOG_DIRECTORY", lambda folder: folder / "file"),
        ("DD_TRACE_LOG_DIRECTORY", lambda folder: "/proc/nothing/here"),
    ],
)
def test_a_file_that_cannot_be_written_is_reported(variable, make, tmp_path, caplog):
    """A wrong path costs one warning that names the variable, and nothing else."""
    (tmp_path / "file").write_text("")
    apply(**{variable: make(tmp_path)})
    assert LIBRARY.handlers == []
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert variable in record.getMessage()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs, no modes")
@pytest.mark.timeout(20)
@pytest.mark.parametrize("variable", ["DD_TRACE_LOG_FILE", "DD_TRACE_LOG_DIRECTORY"])
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (os.mkfifo, "No such device or address"),  # nobody reads it
        (lambda path: path.symlink_to(path.parent / "target"), "it is a symbolic link"),
        (lambda path: path.symlink_to("/dev/null"), "it is a symbolic link"),
        (
            lambda path: os.mkfifo(path) or READERS.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK)),
            "it is not a regular file",
        ),
    ],
    ids=["fifo", "link", "link to a device", "fifo with a reader"],
)
def test_only_a_regular_file_is_opened(variable, place, reason, tmp_path, caplog):
    """Neither is anything else written to, nor does it hold the process up."""
    path = tmp_path / f"ddtrace_manual-{os.getpid()}.log"
    try:
        place(path)
        apply(**{variable: path if variable == "DD_TRACE_LOG_FILE" else tmp_path})
    finally:
        while READERS:
            os.close(READERS.pop())
    assert LIBRARY.handlers == []
    (record,) = caplog.records
    assert record.getMessage().startswith(f"Cannot write the log file {path} ({variable}): ")
    assert reason in record.getMessage()
    assert not (tmp_path / "target").exists()


def test_devices_are_not_log_files(caplog):
    """A device, which opens at once, is refused too."""
    apply(DD_TRACE_LOG_FILE=os.devnull)
    assert LIBRARY.handlers == []
    assert "it is not a regular file" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="no modes")
def test_log_files_are_private(tmp_path):
    """Files are made with mode 0600 whatever the umask says, also after a rotation; one that is there keeps its mode."""
    path, present = tmp_path / "a.log", tmp_path / "b.log"
    present.touch()
    present.chmod(0o640)
    before = os.umask(0)
    try:
        apply(DD_TRACE_LOG_FILE=path, DD_TRACE_LOG_FILE_SIZE_BYTES=200)
        for _ in range(10):
            LIBRARY.warning("x" * 80)
        apply(DD_TRACE_LOG_FILE=present)
    finally:
        os.umask(before)
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    assert modes == {"a.log": 0o600, "a.log.1": 0o600, "b.log": 0o640}


def test_a_record_can_bypass_the_level(tmp_path):
    """A record given directly reaches our handlers whatever the logger's level, but not below their own."""
    path = tmp_path / "a.log"
    apply(DD_TRACE_LOG_FILE=path, DD_TRACE_LOG_FILE_LEVEL="warning", DD_TRACE_LOG_LEVEL="off")
    for level in (logging.INFO, logging.ERROR):
        _log_setup.handle_directly(LIBRARY.makeRecord("ddtrace_manual", level, "f", 1, "direct", (), None))
    assert path.read_text("utf-8").count("direct") == 1


def test_the_logging_interval_is_shared(caplog):
    """A limiter without an interval of its own follows the setting, also when it is older than that."""
    limited = log.RateLimitedLogger(logging.getLogger("ddtrace_manual.test"))
    for rate, lines in ((0, 3), (60, 1)):
        apply(DD_TRACE_LOGGING_RATE=rate)
        caplog.clear()
        for _ in range(3):
            limited.warning(f"kind at {rate}", "line")
        assert len(caplog.records) == lines


def test_lines_may_wait_or_be_logged_elsewhere(caplog):
    """Whoever can wait asks whether there is room; a line logged elsewhere takes it. At DEBUG there always is."""
    logger = logging.getLogger("ddtrace_manual.test")
    limited = log.RateLimitedLogger(logger, interval_s=60.0)
    assert limited.is_free("kind")
    assert limited.claim("kind")
    assert not limited.is_free("kind")
    assert not limited.claim("kind")
    limited.warning("kind", "line")
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, "ddtrace_manual")
    assert limited.is_free("kind")
    assert limited.claim("kind")
