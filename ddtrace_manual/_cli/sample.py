"""`sample`: what sampling rules would keep of recorded traces."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from ddtrace_manual._agent.transport import RequestsTransport
from ddtrace_manual._receiver import CleanSpan, clean_span, simulate
from ddtrace_manual.exceptions import AgentError, ConfigurationError
from ddtrace_manual.sampling import parse_sampling_rules

from .render import plain_text
from .screen import make_screen

__all__ = ["add_sample"]

_DEFAULT_SOURCE: Final = "http://127.0.0.1:8126"
_WRONG_COMMAND_LINE: Final = 2
_TIMEOUT_S: Final = 30.0
_OK: Final = 200
_MOST_ROWS: Final = 40
_HEAD: Final = ("traces", "kept", "rate", "kept as recorded", "")


def add_sample(commands: Any) -> argparse.ArgumentParser:  # Any: the class of `add_subparsers` is private
    """Add the command `sample`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sample",
        help="show what sampling rules would keep of recorded traces",
        description="Apply rules as in DD_TRACE_SAMPLING_RULES to recorded traces.",
    )
    parser.add_argument("--rules", required=True, metavar="FILE", help="JSON file with the rules")
    parser.add_argument(
        "--traces",
        default=_DEFAULT_SOURCE,
        metavar="SOURCE",
        help=f"a running `ddtrace-manual view`, or a JSON file of traces; default: {_DEFAULT_SOURCE}",
    )
    parser.add_argument(
        "--rate-limit", type=float, default=100.0, metavar="N", help="as DD_TRACE_RATE_LIMIT; default: 100"
    )
    parser.set_defaults(run=_sample)
    return parser


def _sample(options: argparse.Namespace) -> int:
    try:
        report = _report(options.rules, options.traces, options.rate_limit)
    except ConfigurationError as exc:
        print(f"sample: {plain_text(exc)}", file=sys.stderr)
        return _WRONG_COMMAND_LINE
    if options.json:
        print(json.dumps(report, indent=2))
        return 0
    screen = make_screen(plain=options.plain)
    total = report["total"]
    screen.line(f"{total['kept']} of {total['traces']} traces kept ({_percent(total['rate'])})")
    if total["limited"]:
        screen.line(f"The rate limit turned {total['limited']} away.")
    screen.line("")
    screen.table([*_HEAD[:-1], "rule"], [_row(each, _rule(each["rule"])) for each in report["rules"]])
    screen.line("")
    resources = report["resources"]
    places = [(each, f"{each['service']}  {each['resource']}") for each in resources[:_MOST_ROWS]]
    screen.table([*_HEAD[:-1], "service, resource"], [_row(each, plain_text(place)) for each, place in places])
    if len(resources) > _MOST_ROWS:
        screen.line(f"… {len(resources) - _MOST_ROWS} more; --json shows all")
    return 0


def _row(tally: dict[str, Any], label: str) -> list[str]:
    numbers = [str(tally["traces"]), str(tally["kept"]), _percent(tally["rate"]), str(tally["recorded_kept"])]
    return [*numbers, label]


def _rule(rule: object) -> str:
    return rule if isinstance(rule, str) else json.dumps(rule)


def _percent(rate: float) -> str:
    return f"{rate * 100:.4g} %"


def _report(rules_path: str, source: str, rate_limit: float) -> dict[str, Any]:
    """Return what the rules keep of the traces of a running viewer or of a file.

    Raises:
        ConfigurationError: The rules are wrong, or there are no traces to be read.
    """
    text = _read(rules_path)
    rules = parse_sampling_rules(text, strict=True, source=rules_path)
    if source.startswith(("http://", "https://")):
        return _asked(source, {"rules": json.loads(text or "[]"), "rate_limit": rate_limit})
    try:
        document = json.loads(_read(source))
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{source} is not JSON: {exc}") from exc
    return simulate(_cleaned(document, source), rules, rate_limit=rate_limit)


def _asked(url: str, question: dict[str, Any]) -> dict[str, Any]:
    """Let a running viewer apply the rules: the traces stay where they are."""
    transport = RequestsTransport(url)
    body = json.dumps(question).encode()
    try:
        answer = transport.request("POST", "/api/sample", body, {"Content-Type": "application/json"}, _TIMEOUT_S)
    except AgentError as exc:
        hint = "Is `ddtrace-manual view` running?"
        raise ConfigurationError(f"no traces from {transport.address}: {exc}. {hint}") from exc
    try:
        report: dict[str, Any] = json.loads(answer.body)
        _ = report["total"], report["rules"], report["resources"]
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfigurationError(f"what answers at {transport.address} is not `ddtrace-manual view`") from exc
    return report


def _cleaned(document: object, source: str) -> list[list[CleanSpan]]:
    if not isinstance(document, list) or not all(isinstance(trace, list) for trace in document):
        raise ConfigurationError(f"{source} has no array of traces, each an array of spans")
    return [[clean_span(span) for span in trace if isinstance(span, dict)] for trace in document]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}") from exc
