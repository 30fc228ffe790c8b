"""An engine without threads or network whose finished spans the tests read, and the comparison with a twin."""

from __future__ import annotations

import copy
import inspect
import types
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import Context

from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._base.context import SPAN_KEY, get_current, set_current
from ddtrace_manual._tracing import TracerProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Spans:
    """Finished spans in the order they ended."""

    def __init__(self) -> None:
        self.finished: list[Any] = []

    @property
    def names(self) -> list[str]:
        return [span.operation_name for span in self.finished]

    def one(self, name: str | None = None) -> Any:
        found = [span for span in self.finished if name is None or span.operation_name.endswith(name)]
        assert len(found) == 1, f"{len(found)} spans {name!r} among {self.names}"
        return found[0]

    @property
    def tree(self) -> list[Any]:
        """Names as nested lists, children after their parent in order of their start; last parts of dotted names."""
        by_parent: dict[int, list[Any]] = {}
        ids = {span.span_id for span in self.finished}
        for span in sorted(self.finished, key=lambda span: span.start_ns):
            by_parent.setdefault(span.parent_id if span.parent_id in ids else 0, []).append(span)

        def branch(parent_id: int) -> list[Any]:
            shown: list[Any] = []
            for span in by_parent.get(parent_id, []):
                children = branch(span.span_id)
                shown.append(span.operation_name.rpartition(".")[2])
                if children:
                    shown.append(children)
            return shown

        return branch(0)


@pytest.fixture(autouse=True)
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Spans that the test finished; afterwards none may be current any more."""
    recorded = Spans()
    engine = TracerProvider(shutdown_on_exit=False).engine
    engine.hooks.export = lambda _segment, chunk, *, partial: recorded.finished.extend(chunk)
    monkeypatch.setattr(RUNTIME, "engine", engine)
    monkeypatch.setattr(RUNTIME, "source", engine.source)
    engine.on_new_sources = lambda: RUNTIME.use_engine(engine)
    set_current(Context())
    yield recorded
    left = get_current().get(SPAN_KEY)
    set_current(Context())
    assert left is None, f"{left!r} is still current"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Events of the facade that were counted."""
    counter: Counter[str] = Counter()
    monkeypatch.setattr(RUNTIME, "count", lambda name: counter.update([name]))
    return counter


_ATTRIBUTES = ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__defaults__", "__kwdefaults__")
_QUESTIONS = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
    inspect.isfunction,
    inspect.ismethod,
    inspect.isroutine,
    inspect.isclass,
    inspect.signature,
    inspect.getsource,
    inspect.getdoc,
    callable,
    bool,
)


@pytest.fixture(scope="session")
def same_as() -> Callable[[Any, Any], None]:
    """Assert that a decorated callable cannot be told from the undecorated one."""

    def check(traced: Any, twin: Any) -> None:
        for name in _ATTRIBUTES:
            assert getattr(traced, name, None) == getattr(twin, name, None), name
        for question in _QUESTIONS:
            try:
                expected = question(twin)
            except (TypeError, OSError):
                continue
            assert question(traced) == expected, question.__name__
        assert isinstance(traced, type(twin))
        assert traced.__class__ is twin.__class__
        if isinstance(twin, (types.FunctionType, types.BuiltinFunctionType)):
            assert copy.copy(traced) is traced
            assert copy.deepcopy([traced])[0] is traced
        given = {name: value for name, value in getattr(twin, "__dict__", {}).items() if name != "__wrapped__"}
        assert {name: getattr(traced, name) for name in given} == given
        assert inspect.unwrap(traced) is inspect.unwrap(twin) or not isinstance(twin, types.FunctionType)

    return check
