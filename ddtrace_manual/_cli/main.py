"""`ddtrace-manual`: shows traces and settings, simulates sampling, and finds out why nothing arrives."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final

from ddtrace_manual._version import __version__
from ddtrace_manual.config import Config

from . import findings, settings
from .check import add_check
from .doctor import examine, import_application
from .sample import add_sample
from .screen import make_screen
from .serve import add_run, add_view, split_program

__all__ = ["main"]

_CANNOT_ARRIVE: Final = 1
_INTERRUPTED: Final = 130
_COMPANIONS: Final = ("opentelemetry-api", "opentelemetry-sdk", "msgpack", "requests", "wrapt")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: As `sys.argv[1:]`, which is the default.

    Returns:
        The exit status: 0, 1 when `doctor` finds that traces cannot arrive or `check` finds mistakes, 2 for a wrong
        command line or a file that `check` cannot read; for `run` that of the program.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    program: list[str] = []
    if words[:1] == ["run"]:
        own, program = split_program(words[1:])
        words = ["run", *own]
    options = _parser().parse_args(words)
    options.program = program
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ddtrace-manual", description="Look into the tracing of this environment.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")

    add_run(commands)
    add_view(commands)
    add_check(commands)

    config = commands.add_parser("config", help="show the effective settings and where they come from")
    config.add_argument("--all", action="store_true", help="also settings that have their default")
    config.set_defaults(run=_config)

    doctor = commands.add_parser(
        "doctor",
        help="find out why no traces arrive",
        description="Check the way of a trace to the Agent. Exit status 1: traces cannot arrive.",
    )
    doctor.add_argument(
        "--import", dest="module", metavar="MODULE", help="import the application first, and look at it"
    )
    doctor.add_argument("--no-trace", action="store_true", help="send no test trace")
    doctor.set_defaults(run=_doctor)

    sample = add_sample(commands)

    version = commands.add_parser("version", help="show versions")
    version.set_defaults(run=_version)

    for command in (config, doctor, sample, version):
        form = command.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="for other programs")
        form.add_argument("--plain", action="store_true", help="without colours and lines")
    return parser


def _config(options: argparse.Namespace) -> int:
    config = Config.load(argv=[""])  # the command line is ours, not the application's
    if options.json:
        _print_json(settings.as_document(config))
        return 0
    screen = make_screen(plain=options.plain)
    screen.table(settings.HEAD, settings.as_rows(config, everything=options.all))
    for text in config.warnings:
        screen.line(f"warning: {text}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    found = []
    if options.module:
        found += import_application(options.module)
    found += examine(Config.load(argv=[""]), send_trace=not options.no_trace, is_imported=bool(options.module))
    if options.json:
        _print_json(findings.as_document(found))
    else:
        make_screen(plain=options.plain).report(found)
    return 0 if findings.traces_can_arrive(found) else _CANNOT_ARRIVE


def _version(options: argparse.Namespace) -> int:
    versions = {"ddtrace-manual": __version__, platform.python_implementation(): platform.python_version()}
    for name in _COMPANIONS:
        versions[name] = _installed(name)
    if options.json:
        _print_json(versions)
        return 0
    screen = make_screen(plain=options.plain)
    for name, version in versions.items():
        screen.line(f"{name} {version}")
    return 0


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _print_json(document: Any) -> None:  # Any: JSON
    print(json.dumps(document, indent=2))
