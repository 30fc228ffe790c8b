"""`run` starts a program and shows its traces; `view` shows the traces of whatever sends them."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._receiver import TraceViewer
from ddtrace_manual.config import Config, process_environ
from ddtrace_manual.exceptions import ConfigurationError
from ddtrace_manual.sampling import parse_sampling_rules
from ddtrace_manual.sampling._rules import effective_rules

from .live import Live

if TYPE_CHECKING:
    from ddtrace_manual.sampling import SamplingRule

__all__ = ["add_run", "add_view", "split_program"]

_FAILED: Final = 1
_WRONG_COMMAND_LINE: Final = 2
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127
_BY_SIGNAL: Final = 128
_DEFAULT_PORT: Final = 8126
_DEFAULT_TREES: Final = 20
_FORWARDED: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")

_Commands = Any  # what `add_subparsers` returns; its class is private


def add_run(commands: _Commands) -> None:
    """Add the command `run`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="run a program and show its traces",
        description="Run a Python program, or any command, and show its traces. The exit status is the program's.",
        allow_abbrev=False,  # `split_program` knows whole names
        usage="%(prog)s [options] (program.py | -m module | -- command) [arguments]",
    )
    parser.add_argument("--web", action="store_true", help="serve a page for the browser too, until Ctrl-C")
    _add_common(parser, port=0)
    parser.set_defaults(run=_run)


def add_view(commands: _Commands) -> None:
    """Add the command `view`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "view",
        help="show the traces that any Datadog tracer sends here",
        description="Receive traces as the Agent does, and show them in the terminal and on a page, until Ctrl-C.",
    )
    _add_common(parser, port=_DEFAULT_PORT)
    parser.set_defaults(run=_view)


def _add_common(parser: argparse.ArgumentParser, *, port: int) -> None:
    shown = "a free one" if not port else str(port)
    parser.add_argument("--port", type=_port, default=port, help=f"port on 127.0.0.1 to listen on; default: {shown}")
    parser.add_argument("--forward", metavar="URL", help="pass everything on to the Agent at this address")
    parser.add_argument(
        "--trees", type=_not_negative, default=_DEFAULT_TREES, metavar="N", help="draw at most N traces a second (20)"
    )


def split_program(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments of `run` into its own options and the program with its arguments."""
    with_value = {"--port", "--forward", "--trees"}
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument in ("--", "-m") or not argument.startswith("-"):
            break
        index += 2 if argument in with_value else 1
    return list(arguments[:index]), list(arguments[index:])


def _run(options: argparse.Namespace) -> int:
    try:
        command = _command(options.program)
        viewer = TraceViewer(port=options.port, web=options.web, forward_url=options.forward, rules=_rules())
    except ConfigurationError as exc:
        return _complain(f"run: {exc}", _WRONG_COMMAND_LINE)
    with contextlib.ExitStack() as stack:
        if not _listens(viewer, stack):
            return _FAILED
        live = Live(viewer, trees=options.trees)
        if options.web:
            live.line(f"traces: {viewer.url}")
        status = _run_program(command, viewer, live)
        live.finish()
        if live.totals.slowest is None:
            live.line(f"The program had DD_TRACE_AGENT_URL={viewer.url}. Does it call configure(), and is tracing on?")
        if options.web:
            live.line(f"\nThe program has ended. The page stays at {viewer.url} until Ctrl-C.")
            _until_stopped(Live(viewer, trees=0))
    return status


def _view(options: argparse.Namespace) -> int:
    try:
        viewer = TraceViewer(port=options.port, forward_url=options.forward, rules=_rules())
    except ConfigurationError as exc:
        return _complain(f"view: {exc}", _WRONG_COMMAND_LINE)
    with contextlib.ExitStack() as stack:
        if not _listens(viewer, stack):
            return _FAILED
        live = Live(viewer, trees=options.trees, stream=sys.stdout)
        live.line(f"page:    {viewer.url}")
        live.line(f"traces:  DD_TRACE_AGENT_URL={viewer.url}")
        if viewer.forwarder is not None:
            live.line(f"forward: {viewer.forwarder.address}")
        live.line("Ctrl-C ends it.")
        _until_stopped(live)
        live.finish()
    return 0


def _rules() -> tuple[SamplingRule, ...]:
    """Return the rules of the environment, which a program started from here has too."""
    config = Config.load(argv=[""])
    return effective_rules(parse_sampling_rules(config.trace_sampling_rules), config.trace_sample_rate, None, None)


def _listens(viewer: TraceViewer, stack: contextlib.ExitStack) -> bool:
    try:
        stack.enter_context(viewer)
    except OSError as exc:
        _complain(
            f"Port {viewer.port} cannot be used: {exc.strerror or exc}. If an Agent has it, name another port with"
            f" --port, and --forward http://127.0.0.1:{viewer.port} to send the traces to both.",
            _FAILED,
        )
        return False
    return True


def _command(program: Sequence[str]) -> list[str]:
    """Return what to start.

    Raises:
        ConfigurationError: Nothing that can be started was named.
    """
    if program[:1] == ["--"]:
        command = list(program[1:])
    elif program[:1] == ["-m"]:
        command = [sys.executable, *program] if program[1:] else []
    elif program and not Path(program[0]).exists():
        raise ConfigurationError(f"there is no file {program[0]}; for a command write: run -- {program[0]}")
    else:
        command = [sys.executable, *program] if program else []
    if not command:
        raise ConfigurationError("name a program: run app.py, run -m module, or run -- command")
    return command


def _run_program(command: Sequence[str], viewer: TraceViewer, live: Live) -> int:
    """Run the program to its end, drawing its traces; return its exit status, 128 and more after a signal."""
    environ = {**process_environ(), "DD_TRACE_AGENT_URL": viewer.url}
    ended = threading.Event()
    with _forwarded_signals() as forward:
        try:
            process = subprocess.Popen(command, env=environ)  # noqa: S603 - the user's own command
        except FileNotFoundError:
            return _complain(f"run: {command[0]}: not found", _NOT_FOUND)
        except OSError as exc:
            return _complain(f"run: {command[0]}: {exc.strerror or exc}", _NOT_EXECUTABLE)

        def wait() -> None:
            process.wait()
            ended.set()
            viewer.store.wake()

        forward(process)
        waiter = threading.Thread(target=wait, name="ddtrace-manual-run", daemon=True)
        waiter.start()
        live.run_until(ended.is_set)
        waiter.join()
    return process.returncode if process.returncode >= 0 else _BY_SIGNAL - process.returncode


@contextlib.contextmanager
def _forwarded_signals() -> Iterator[Any]:
    """Pass signals on to a program; yields the function that names the program."""
    target: list[subprocess.Popen[bytes]] = []
    early: list[int] = []
    keys = {signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)}

    def handle(number: int, _: FrameType | None) -> None:
        if not target:
            early.append(number)
        elif number not in keys or not _is_foreground():  # Ctrl-C reaches the whole group by itself
            with contextlib.suppress(ProcessLookupError):
                target[0].send_signal(number)

    def forward(process: subprocess.Popen[bytes]) -> None:
        target.append(process)
        for number in early:
            process.send_signal(number)

    numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield forward
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _is_foreground() -> bool:
    """Say whether this process belongs to the group that the terminal sends its signals to."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except (AttributeError, OSError):
        return False


def _until_stopped(live: Live) -> None:
    """Show what arrives until SIGINT or SIGTERM."""
    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()  # the loop sees it within its pause: taking a lock here could wait for itself

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        live.run_until(stopped.is_set)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _complain(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


def _port(text: str) -> int:
    number = _not_negative(text)
    if number > 65535:  # the highest port
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return number


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
