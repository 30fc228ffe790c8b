"""The rules of `check`: they look at one file's syntax tree and know nothing of other files.

A rule reports only what is certain from the file alone: a span that is handed to anything else may be ended there.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

__all__ = ["RULES", "Mistake", "find_mistakes"]

RULES: Final[Mapping[str, str]] = {
    "DDM001": "The span that start_span returns is discarded",
    "DDM002": "The block that span returns is never entered",
    "DDM003": "A span is never ended",
    "DDM004": "A span name is built from data",
    "DDM005": "with start_span does not make the span current",
    "DDM006": "A decorator registers the function that is not traced",
}
_PACKAGE: Final = "ddtrace_manual"
_MAKERS: Final = frozenset({"span", "start_span", "traced"})
_IGNORE: Final = "ddtrace-manual: ignore"
_REGISTERS_BY_NAME: Final = frozenset({"shared_task", "receiver", "field_validator", "model_validator", "validator"})
_REGISTERS_BY_METHOD: Final = frozenset(
    {
        "after_request",
        "before_request",
        "callback",
        "command",
        "delete",
        "errorhandler",
        "exception_handler",
        "get",
        "group",
        "head",
        "listens_for",
        "middleware",
        "on_event",
        "patch",
        "post",
        "put",
        "route",
        "shared_task",
        "task",
        "teardown_request",
        "websocket",
    }
)
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Mistake(NamedTuple):
    """What is wrong at a place, counted from 1."""

    line: int
    column: int
    rule: str
    message: str


def find_mistakes(source: bytes) -> list[Mistake]:
    """Return the mistakes of a file, from top to bottom.

    Args:
        source: Its content; an encoding that it declares is followed.

    Raises:
        SyntaxError: It is not Python.
        ValueError: It has null bytes, or is not in its encoding.
    """
    if _PACKAGE.encode() not in source:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the program's, such as invalid escapes
        tree = ast.parse(source)
    makers = _Makers(tree)
    found = {each for node in ast.walk(tree) for each in _of_node(node, makers)}
    lines = source.splitlines()
    return sorted(each for each in found if _IGNORE.encode() not in lines[each.line - 1])


class _Makers:
    """Which names of a file are functions that make spans."""

    def __init__(self, tree: ast.Module) -> None:
        self._modules: set[str] = set()
        self._functions: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self._modules |= {each.asname or each.name for each in node.names if each.name == _PACKAGE}
            elif isinstance(node, ast.ImportFrom) and node.module == _PACKAGE and not node.level:
                self._functions |= {each.asname or each.name: each.name for each in node.names if each.name in _MAKERS}

    def of(self, node: ast.expr) -> str:
        """Return `span`, `start_span` or `traced` for an expression that is it; empty for others."""
        if isinstance(node, ast.Name):
            return self._functions.get(node.id, "")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self._modules:
            return node.attr if node.attr in _MAKERS else ""
        return ""

    def called(self, node: ast.expr | None) -> str:
        """Return the same for a call of it."""
        return self.of(node.func) if isinstance(node, ast.Call) else ""


def _of_node(node: ast.AST, makers: _Makers) -> Iterator[Mistake]:
    if isinstance(node, ast.Expr):
        yield from _discarded(node, makers)
    elif isinstance(node, ast.Call):
        yield from _name_from_data(node, makers)
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        for item in node.items:
            if makers.called(item.context_expr) == "start_span":
                text = "`with start_span` ends the span but does not make it current: write `with span(…)`"
                yield _mistake(item.context_expr, "DDM005", text)
    if isinstance(node, _Function):
        yield from _decorators(node, makers)
    if isinstance(node, _Scope):
        yield from _never_ended(node, makers)


def _discarded(node: ast.Expr, makers: _Makers) -> Iterator[Mistake]:
    maker = makers.called(node.value)
    if maker == "start_span":
        yield _mistake(
            node, "DDM001", "nothing can end this span: keep what start_span returns, or write `with span(…)`"
        )
    elif maker == "span":
        yield _mistake(node, "DDM002", "this makes no span: write `with span(…):`")


def _name_from_data(node: ast.Call, makers: _Makers) -> Iterator[Mistake]:
    if not makers.of(node.func):
        return
    name = node.args[0] if node.args else next((each.value for each in node.keywords if each.arg == "name"), None)
    if name is not None and _is_built(name):
        text = "each value makes a name of its own: give a fixed name, and the data as `resource` or as a tag"
        yield _mistake(name, "DDM004", text)


def _is_built(node: ast.expr) -> bool:
    """Say whether an expression puts data into text."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(each, ast.FormattedValue) for each in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _is_text(node.left)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = (node.left, node.right)
        return any(map(_is_built, sides)) or sum(map(_is_text, sides)) == 1
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and _is_text(node.func.value)
    )


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _decorators(node: _Function, makers: _Makers) -> Iterator[Mistake]:
    traced: ast.expr | None = None
    for decorator in node.decorator_list:
        if makers.of(decorator) == "traced" or makers.called(decorator) == "traced":
            traced = decorator
        elif traced is not None and (name := _registers(decorator)):
            text = f"@{name} below registers the function without the span: put @traced below @{name}"
            yield _mistake(traced, "DDM006", text)
            return


def _registers(decorator: ast.expr) -> str:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(target, ast.Name):
        return target.id if target.id in _REGISTERS_BY_NAME else ""
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.attr in _REGISTERS_BY_METHOD:
        return f"{target.value.id}.{target.attr}"
    return ""


def _never_ended(scope: _Scope, makers: _Makers) -> Iterator[Mistake]:
    """Yield the variables of a scope that hold a span which nothing there ends, enters or hands on."""
    if isinstance(scope, (ast.ClassDef, ast.Lambda)):
        return  # what a class holds is reached through it
    made: dict[str, tuple[ast.stmt, str]] = {}
    shared: set[str] = set()
    for node in _own_nodes(scope):
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            shared.update(node.names)
        elif (
            isinstance(node, (ast.Assign, ast.AnnAssign)) and (maker := makers.called(node.value)) != "traced" and maker
        ):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            made |= {each.id: (node, maker) for each in targets if isinstance(each, ast.Name)}
    if not made:
        return
    harmless: set[int] = set()  # uses that neither end a span nor hand it on
    for node in ast.walk(scope):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and _keeps_open(node.attr):
            harmless.add(id(node.value))
    used = {
        node.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in harmless
    }
    is_module = isinstance(scope, ast.Module)
    for name, (node, maker) in made.items():
        if name not in used and name not in shared and not (is_module and not name.startswith("_")):
            advice = f"call {name}.end()" if maker == "start_span" else f"write `with {name}:`"
            yield _mistake(node, "DDM003", f"the span {name} is never ended: {advice}")


def _keeps_open(attribute: str) -> bool:
    return attribute not in {"end", "__enter__", "__aenter__", "__exit__", "__aexit__"}


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope without those of scopes inside."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _Scope):
            waiting += ast.iter_child_nodes(node)


def _mistake(node: ast.expr | ast.stmt, rule: str, message: str) -> Mistake:
    return Mistake(node.lineno, node.col_offset + 1, rule, message)
