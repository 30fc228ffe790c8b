"""Flares: when they are prepared, cancelled and sent, and what is in them."""

from __future__ import annotations

import io
import json
import logging
import re
import stat
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from ddtrace_manual._agent import AgentClient
from ddtrace_manual._agent.transport import Headers, Response
from ddtrace_manual._remote_config import AgentConfig, AgentTask, RemoteFile, TracerFlare
from ddtrace_manual.exceptions import AgentConnectionError
from ddtrace_manual.testing import FixedClock

SECRET = 'pass"word-0123'
LOGGER = logging.getLogger("ddtrace_manual")


class Uploads:
    """A transport that keeps uploads."""

    def __init__(self):
        self.taken = []
        self.error = None

    def request(self, method, path, body, headers, timeout_s):
        if self.error:
            raise self.error
        self.taken.append((method, path, body, headers, timeout_s))
        return Response(200, Headers(), b"")

    def form(self):
        """Return the parts of the only upload by name."""
        ((method, path, body, headers, timeout_s),) = self.taken
        assert (method, path, timeout_s) == ("POST", "/tracer_flare/v1", 5.0)
        message = message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        return {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}

    def archive(self):
        return zipfile.ZipFile(io.BytesIO(self.form()["flare_file"].get_payload(decode=True)))


@pytest.fixture
def uploads():
    return Uploads()


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def flare(uploads, clock, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    level = LOGGER.level
    flare = TracerFlare(
        AgentClient(uploads, headers={}),
        collect=lambda: {"tracer_config_1.json": {"configs": {"url": f"http://me:{SECRET}@host"}}, "note.txt": SECRET},
        secrets=lambda: [SECRET, "x"],
        clock=clock,
    )
    yield flare
    flare.cancel()
    assert LOGGER.level == level
    assert LOGGER.handlers == []
    LOGGER.setLevel(level)


def file_of(product, content, config_id="1"):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return RemoteFile(f"datadog/2/{product}/{config_id}/config", product, config_id, 1, "sha256", "0" * 64, content)


def log_level(level, config_id="1", **other):
    content = {"name": f"flare-log-level.{level}", "config": {"log_level": level}, **other}
    return file_of("AGENT_CONFIG", content, config_id)


def task(case_id="12345", **other):
    args = {"case_id": case_id, "hostname": "my.host", "user_handle": "me@example.com"}
    content = {"task_type": "tracer_flare", "uuid": "u-1", "args": args, **other}
    return file_of("AGENT_TASK", content)


def wait(flare):
    flare.sender.join(10)
    assert not flare.sender.is_alive()


def test_a_task_after_preparation_sends_log_lines_and_facts(flare, uploads, tmp_path):
    config, tasks = AgentConfig(flare), AgentTask(flare)
    before = LOGGER.level
    assert config.update([], [log_level("INFO", "1"), log_level("debug", "2")]) == {}
    assert LOGGER.level == logging.DEBUG
    (directory,) = tmp_path.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    logger = logging.getLogger("ddtrace_manual.agent")
    logger.debug("the value is %s", SECRET, extra={"kind": 7, "thing": [1]})
    logger.error("Could not send, payload %s", "deadbeef")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed", stack_info=True)
    assert tasks.update([], [task()]) == {}
    wait(flare)
    assert LOGGER.level == before
    assert list(tmp_path.iterdir()) == []
    form = uploads.form()
    texts = {name: part.get_payload() for name, part in form.items() if name != "flare_file"}
    assert texts == {
        "source": "tracer_python",
        "case_id": "12345",
        "hostname": "my.host",
        "email": "me@example.com",
        "uuid": "u-1",
    }
    assert form["flare_file"].get_content_type() == "application/octet-stream"
    assert re.fullmatch(r"tracer-python-12345-\d+-debug\.zip", form["flare_file"].get_filename())
    archive = uploads.archive()
    everything = b"".join(archive.read(name) for name in archive.namelist())
    for written in (SECRET, json.dumps(SECRET)[1:-1], "deadbeef"):
        assert written.encode() not in everything
    assert b"http://me:<hidden>@host" in everything
    log = next(name for name in archive.namelist() if name.endswith(".log"))
    assert re.fullmatch(r"tracer_flare/tracer_python_\d+\.log", log)
    lines = [json.loads(line) for line in archive.read(log).splitlines()]
    (first,) = [line for line in lines if line["message"].startswith("the value is")]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["timestamp"])
    assert (first["level"], first["logger"], first["kind"], first["thing"]) == (
        "DEBUG",
        "ddtrace_manual.agent",
        7,
        "[1]",
    )
    (failed,) = [line for line in lines if line["message"] == "failed"]
    assert "ValueError: why" in failed["exception"]
    assert "Stack" in failed["stack_info"]


def test_a_task_without_preparation_prepares_at_debug_and_runs_once(flare, uploads):
    tasks = AgentTask(flare)
    for _ in range(2):
        assert tasks.update([], [task(), task()]) == {}
    wait(flare)
    tasks.complete()
    assert uploads.form()["flare_file"].get_filename().endswith("-debug.zip")


@pytest.mark.parametrize("case_id", ["1-with-debug", "7-with-content"])
def test_case_ids_may_say_what_is_with_them(flare, uploads, case_id):
    assert AgentTask(flare).update([], [task(case_id)]) == {}
    wait(flare)
    assert uploads.form()["case_id"].get_payload() == case_id


@pytest.mark.parametrize(
    "odd",
    [
        task(""),
        task("0"),
        task("12a"),
        task("../1"),
        task("1-with-everything"),
        task(12),
        task(args=None),
        task(args={"case_id": "1", "hostname": "h"}),
        task(args={"case_id": "1", "hostname": "h\r\nx: y", "user_handle": "u"}),
        task(args={"case_id": "1", "hostname": "h", "user_handle": "u" * 1001}),
        task(uuid=None),
        file_of("AGENT_TASK", b"garbage"),
    ],
    ids=range(12),
)
def test_a_malformed_task_is_an_error(flare, uploads, odd):
    assert AgentTask(flare).update([], [odd]).keys() == {odd.path}
    assert flare.sender is None
    assert uploads.taken == []


@pytest.mark.parametrize("content", [{}, [], {"task_type": "flare"}, {"task_type": "other", "args": 5}])
def test_tasks_for_others_are_acknowledged(flare, content):
    assert AgentTask(flare).update([], [file_of("AGENT_TASK", content)]) == {}
    assert not flare.is_preparing


@pytest.mark.parametrize(
    "file",
    [
        log_level("loud"),
        log_level("debug", name="something else"),
        log_level("debug", config="debug"),
        log_level("debug", config={"log_level": 5}),
        file_of("AGENT_CONFIG", {"order": [], "internal_order": ["x"]}, "configuration_order"),
        file_of("AGENT_CONFIG", []),
    ],
    ids=range(6),
)
def test_other_agent_configurations_are_acknowledged(flare, file):
    assert AgentConfig(flare).update([], [file]) == {}
    assert not flare.is_preparing


def test_an_agent_configuration_that_is_not_json_is_an_error(flare):
    file = file_of("AGENT_CONFIG", b"{")
    assert AgentConfig(flare).update([], [file]) == {file.path: "invalid JSON content"}


def test_removal_of_the_last_request_cancels(flare, tmp_path):
    config = AgentConfig(flare)
    config.update([], [log_level("info", "1"), log_level("warn", "2")])
    config.update([log_level("info", "1"), file_of("AGENT_CONFIG", {}, "other")], [])
    assert flare.is_preparing
    config.update([log_level("warn", "2")], [])
    assert not flare.is_preparing
    assert list(tmp_path.iterdir()) == []


def test_a_less_verbose_level_than_the_logger_has_changes_nothing(flare):
    before = LOGGER.getEffectiveLevel()
    AgentConfig(flare).update([], [log_level("off")])
    assert LOGGER.getEffectiveLevel() == before
    LOGGER.setLevel(logging.CRITICAL)  # by the application meanwhile
    flare.cancel()
    assert LOGGER.level == logging.CRITICAL
    LOGGER.setLevel(logging.NOTSET)


def test_a_preparation_expires_after_twenty_minutes(flare, clock):
    config = AgentConfig(flare)
    config.update([], [log_level("debug")])
    clock.advance(19 * 60)
    config.complete()
    assert flare.is_preparing
    clock.advance(2 * 60)
    config.complete()
    assert not flare.is_preparing


@pytest.mark.parametrize("error", [AgentConnectionError("nobody"), ValueError("a bug")])
def test_a_failed_upload_deletes_what_was_collected(flare, uploads, tmp_path, error):
    uploads.error = error
    AgentTask(flare).update([], [task()])
    wait(flare)
    assert list(tmp_path.iterdir()) == []


def test_a_flare_that_another_process_sends_is_not_sent_again(flare, uploads, tmp_path):
    AgentConfig(flare).update([], [log_level("debug")])
    (directory,) = tmp_path.iterdir()
    (directory / "tracer_flare.lock").touch()
    AgentTask(flare).update([], [task()])
    wait(flare)
    assert uploads.taken == []


def test_an_empty_directory_is_not_sent(flare, uploads, tmp_path):
    AgentConfig(flare).update([], [log_level("debug")])
    (directory,) = tmp_path.iterdir()
    for file in directory.iterdir():
        file.unlink()
    AgentTask(flare).update([], [task()])
    wait(flare)
    assert uploads.taken == []


def test_facts_that_cannot_be_collected_do_not_cost_the_log(uploads, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    flare = TracerFlare(AgentClient(uploads, headers={}), collect=lambda: 1 / 0)
    AgentTask(flare).update([], [task()])
    wait(flare)
    assert [name.endswith(".log") for name in uploads.archive().namelist()] == [True]


def test_no_place_for_a_flare_is_no_error(flare, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert AgentTask(flare).update([], [task()]) == {}
    assert not flare.is_preparing
    assert flare.sender is None


def test_a_log_file_that_cannot_be_opened_leaves_nothing_behind(flare, tmp_path, monkeypatch):
    monkeypatch.setattr("ddtrace_manual._remote_config.flare.RotatingFileHandler", lambda *_args, **_kwargs: 1 / 0)
    AgentConfig(flare).update([], [log_level("debug")])
    assert not flare.is_preparing
    assert list(tmp_path.iterdir()) == []


def test_a_system_without_threads_deletes_what_was_collected(flare, tmp_path, monkeypatch):
    monkeypatch.setattr("threading.Thread.start", lambda _self: 1 / 0)
    AgentTask(flare).update([], [task()])
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_stops_collecting_and_leaves_the_directory(flare, tmp_path, monkeypatch):
    AgentConfig(flare).update([], [log_level("debug")])
    handler = LOGGER.handlers[0]
    monkeypatch.setattr("ddtrace_manual._remote_config.flare.os.getpid", lambda: 1)
    flare.forget_after_fork()
    assert not flare.is_preparing
    assert Path(handler.baseFilename).exists()
    handler.close()
    assert len(list(tmp_path.iterdir())) == 1
