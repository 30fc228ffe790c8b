"""Trees of spans as text: rendered, read, compared.

    text → Line (pattern) ┐
    recorded spans → Node ┴ compare line by line → AssertionError with both texts

A tree is compared as the list of its lines in pre-order, each with its depth, which determines it.
For concurrent work the recorded children are first put into the order in which the expected ones
match them best.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._recorded import RecordedSpan

__all__ = ["check", "render"]

_LINE = re.compile(r"(?P<name>\S.*?)(?:\s+\[(?P<details>[^\[\]=\s][^=]*=.*)\])?")
_DETAIL = re.compile(r'\s*(?P<key>[^=,"]+?)\s*=\s*(?P<value>"(?:[^"\\]|\\.)*"|[^,"]*?)\s*(?:,|$)')
_PROPERTIES = {
    "resource": "resource",
    "service": "service",
    "type": "span_type",
    "kind": "kind",
    "error": "error",
    "error_type": "error_type",
}
_INDENT = "  "


@dataclass(eq=False)
class Line:
    """One expected span."""

    name: str
    details: dict[str, str]
    text: str
    children: list[Line] = field(default_factory=list)

    def accepts(self, span: RecordedSpan) -> bool:
        """Whether name and details fit, regardless of children."""
        if not (_fits(self.name, span.otel_name) or _fits(self.name, span.name)):
            return False
        return all(_value_fits(wanted, key, span) for key, wanted in self.details.items())


@dataclass(eq=False)
class Node:
    """One recorded span."""

    span: RecordedSpan
    children: list[Node] = field(default_factory=list)


def check(spans: Sequence[RecordedSpan], expected: str, *, ordered: bool) -> None:
    """Compare recorded spans with a text; see `SpanRecorder.assert_tree`."""
    lines = parse(expected)
    forest = _forest(spans)
    if not ordered:
        forest = _Matcher().arrange(lines, forest)
    wanted = _flatten(lines)
    actual = _flatten(forest)
    if len(wanted) == len(actual) and all(
        depth == actual_depth and line.accepts(node.span)
        for (depth, line), (actual_depth, node) in zip(wanted, actual, strict=True)
    ):
        return
    difference = _difference(wanted, actual)
    raise AssertionError(f"the recorded spans differ (- expected, + recorded):\n{difference}")


def render(spans: Sequence[RecordedSpan], keys: Sequence[str] = ()) -> str:
    """Return spans as an indented text, with those of the named details that each has."""
    return "\n".join(_INDENT * depth + _describe(node.span, keys) for depth, node in _flatten(_forest(spans)))


# -- reading ---------------------------------------------------------------------------------------------


def parse(text: str) -> list[Line]:
    """Read the language of `SpanRecorder.assert_tree`; return the roots.

    Raises:
        ValueError: A line cannot be read; the message shows it.
    """
    roots: list[Line] = []
    open_lines: list[tuple[int, Line]] = []
    for row in textwrap.dedent(text.expandtabs(4)).splitlines():
        if not row.strip():
            continue
        indent = len(row) - len(row.lstrip())
        line = _parse_line(row.strip())
        while open_lines and open_lines[-1][0] >= indent:
            last_indent = open_lines.pop()[0]
            if last_indent > indent and indent not in [each for each, _ in open_lines]:
                raise ValueError(f"no line above is indented like this one: {row!r}")
        (open_lines[-1][1].children if open_lines else roots).append(line)
        open_lines.append((indent, line))
    return roots


def _parse_line(row: str) -> Line:
    match = _LINE.fullmatch(row)
    if match is None:  # pragma: no cover - a row is never empty
        raise ValueError(f"cannot read {row!r}")
    details: dict[str, str] = {}
    written = match["details"] or ""
    position = 0
    while position < len(written):
        item = _DETAIL.match(written, position)
        if item is None:
            raise ValueError(f"cannot read the details of {row!r}: key=value, separated by commas, is expected")
        value = item["value"]
        details[item["key"]] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        position = item.end()
    return Line(match["name"], details, row)


# -- comparing -------------------------------------------------------------------------------------------


def _fits(pattern: str, text: str) -> bool:
    """Compare with a pattern in which `*` and `?` stand for anything."""
    if pattern == text:
        return True
    if "*" not in pattern and "?" not in pattern:
        return False
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _value_fits(wanted: str, key: str, span: RecordedSpan) -> bool:
    value = _value(span, key)
    if value is None:
        return wanted == "None"
    if key == "error" and wanted not in ("true", "false"):
        return span.error and _fits(wanted, span.error_type or "")
    if _fits(wanted, _text(value)):
        return True
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return float(wanted) == value
    except ValueError:
        return False


def _value(span: RecordedSpan, key: str) -> Any:  # Any: tags are of every type
    return getattr(span, _PROPERTIES[key]) if key in _PROPERTIES else span.tag(key)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return str(list(value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class _Matcher:
    """Pairs expected with recorded spans, whatever the order of siblings."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}

    def arrange(self, lines: list[Line], nodes: list[Node]) -> list[Node]:
        """Return the nodes in the order of the lines they fit, the others at the end; their children likewise."""
        chosen = self._pair(lines, nodes)
        left = [node for index, node in enumerate(nodes) if index not in chosen.values()]
        arranged: list[Node] = []
        for index, line in enumerate(lines):
            if index in chosen:
                node: Node | None = nodes[chosen[index]]
            else:
                node = next((each for each in left if _fits(line.name, each.span.name)), None)
                if node is not None:
                    left.remove(node)
            if node is not None:
                arranged.append(Node(node.span, self.arrange(line.children, node.children)))
        return arranged + left

    def _fits(self, line: Line, node: Node) -> bool:
        """Whether line and node fit with all that is below them."""
        key = (id(line), id(node))
        if key not in self._known:
            self._known[key] = (
                len(line.children) == len(node.children)
                and line.accepts(node.span)
                and len(self._pair(line.children, node.children)) == len(line.children)
            )
        return self._known[key]

    def _pair(self, lines: list[Line], nodes: list[Node]) -> dict[int, int]:
        """Return a largest pairing, index of line → index of node (augmenting paths)."""
        owner: dict[int, int] = {}

        def place(line: int, tried: set[int]) -> bool:
            for node in range(len(nodes)):
                if node in tried or not self._fits(lines[line], nodes[node]):
                    continue
                tried.add(node)
                if node not in owner or place(owner[node], tried):
                    owner[node] = line
                    return True
            return False

        for line in range(len(lines)):
            place(line, set())
        return {line: node for node, line in owner.items()}


# -- trees and texts -------------------------------------------------------------------------------------


def _forest(spans: Sequence[RecordedSpan]) -> list[Node]:
    """Return the trees of the spans; a span whose parent is not among them is a root."""
    nodes = {(span.trace_id, span.span_id): Node(span) for span in spans}
    roots: list[Node] = []
    for (trace_id, _), node in nodes.items():
        parent = nodes.get((trace_id, node.span.parent_id))
        (roots if parent is None else parent.children).append(node)
    return roots


def _flatten(trees: Sequence[Any]) -> list[tuple[int, Any]]:  # Any: lines or nodes
    """Return (depth, line or node) in pre-order, without recursion: traces may be deep."""
    waiting = [(0, each) for each in reversed(trees)]
    flat: list[tuple[int, Any]] = []
    while waiting:
        depth, each = waiting.pop()
        flat.append((depth, each))
        waiting += [(depth + 1, child) for child in reversed(each.children)]
    return flat


def _describe(span: RecordedSpan, keys: Sequence[str]) -> str:
    """Return the line of one span, with those of the details that it has."""
    name = span.name if span.span.operation_name is not None else span.otel_name
    details = [f"{key}={_quoted(_text(value))}" for key in keys if (value := _value(span, key)) not in (None, "")]
    return f"{name} [{', '.join(details)}]" if details else name


def _quoted(text: str) -> str:
    if re.search(r'[,"\]]', text) is None:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _difference(wanted: list[tuple[int, Line]], actual: list[tuple[int, Node]]) -> str:
    """Return both trees line by line; a span that fits an expected line is written like it."""
    rows: list[str] = []
    for depth, node in actual:
        fitting = next((line for at, line in wanted if at == depth and line.accepts(node.span)), None)
        if fitting is not None:
            rows.append(_INDENT * depth + fitting.text)
            continue
        alike = [
            line for _, line in wanted if _fits(line.name, node.span.name) or _fits(line.name, node.span.otel_name)
        ]
        rows.append(
            _INDENT * depth + _describe(node.span, list(dict.fromkeys(key for line in alike for key in line.details)))
        )
    expected = [_INDENT * depth + line.text for depth, line in wanted]
    return "\n".join(row for row in difflib.ndiff(expected, rows) if not row.startswith("?"))
