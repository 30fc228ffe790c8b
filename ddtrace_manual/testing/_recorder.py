"""Spans recorded in this process, for a test to look at: no thread, no network, nothing left behind.

The recorder borrows the tracing of the process while it is active. Whether or not the code under
test calls `configure()`, its spans, from the facade and from the OpenTelemetry API, end up here;
settings given to `configure()` are in effect otherwise (service, sampling rules, limits …).

One recorder is active at a time; a nested one takes over until it stops.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import Self, Unpack

from ddtrace_manual._mapping import Mapper
from ddtrace_manual._setup import lifecycle as _setup

from . import _expect
from ._fixed import FixedClock, SequentialIds
from ._process import ProcessState
from ._recorded import RecordedSpan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from ddtrace_manual._base.ids import IdSource
    from ddtrace_manual._export import Counters
    from ddtrace_manual._model import DDSpan, SegmentRecord
    from ddtrace_manual._setup.pipeline import PipelineComponents
    from ddtrace_manual._tracing import Span, TracerProvider
    from ddtrace_manual.config import Config
    from ddtrace_manual.config._settings_type import Settings

__all__ = ["SpanRecorder"]

_CRITERIA = frozenset({"name", "resource", "service", "span_type", "kind", "error", "error_type", "trace_id", "tags"})
_FIXED_IDENTITY: dict[str, Any] = {  # Any: a str or an int
    "runtime_id": "00000000-0000-4000-8000-000000000000",
    "process_id": 1,
    "process_tags": "",
    "hostname": "",
    "git_commit_sha": "",
}
"""What else of a payload differs between two runs or two machines."""


class SpanRecorder:
    """Collects finished spans; a context manager, and the `spans` fixture.

    It holds every span that ended since it started or was cleared, sampled or not, in the order of
    their start. Spans may end in any thread or task. Nothing is bounded: it lives as long as a test.

    Args:
        **settings: As for `configure()`; by default those the application configured before, else
            service `test` and no regard to environment and files.

    Attributes:
        provider: The provider in charge while recording.
    """

    def __init__(self, **settings: Unpack[Settings]) -> None:
        self._settings = settings
        self._lock = threading.Lock()  # guards _spans
        self._spans: list[Span] = []
        self._state: ProcessState | None = None
        self._ids: IdSource | None = None
        self._clock: FixedClock | None = None
        self._mapper: Mapper | None = None
        self._counters: Counters | None = None

    # -- life ----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Record from now on.

        Raises:
            RuntimeError: It is recording already.
        """
        if self._state is not None:
            raise RuntimeError("the recorder was started twice")
        self._state = state = ProcessState(self)
        try:
            _setup.configure(self._base(state.config), **self._settings)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Give the tracing of the process back as it was. What was recorded stays readable."""
        state, self._state = self._state, None
        if state is not None:
            state.restore()

    @property
    def provider(self) -> TracerProvider:
        """The provider in charge while recording."""
        if self._state is None:
            raise RuntimeError("the recorder is not active")
        return self._state.provider

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @staticmethod
    def _base(former: Config | None) -> Config:
        """Return the settings to begin with: those of the application without what would send spans."""
        from ddtrace_manual.config import Config  # reading settings costs time once

        if former is not None:
            return former.evolve(span_processors=())
        return Config.load({"service": "test"}, environ={}, argv=["test"])

    # -- what the set-up calls -------------------------------------------------------------------------

    def adjust(self, config: Config) -> Config:
        """Keep tracing on when only the environment switches it off, as is usual where tests run."""
        if not config.trace_enabled and config.origin("trace_enabled") != "code":
            return config.evolve(trace_enabled=True)
        return config

    def take_over(self, provider: TracerProvider, parts: PipelineComponents) -> None:
        """Collect what the provider finishes, each span at its end."""
        self._mapper = parts.mapper
        self._counters = parts.counters
        hooks = replace(parts.hooks, export=self._collect, takes_compact=False)
        provider._hooks = hooks
        provider._partial_flush_min_spans = 1
        provider._flush = provider._shutdown = _nothing_to_send
        provider._on_fork = lambda: hooks
        self._apply_fixed(provider)

    def _collect(self, _segment: SegmentRecord, spans: list[Span], *, partial: bool) -> None:
        with self._lock:
            self._spans += spans
            if (counters := self._counters) is not None:  # here they have arrived
                counters.accepted_spans += len(spans)
                counters.accounted_spans += len(spans)
                counters.sent_spans += len(spans)

    def _apply_fixed(self, provider: TracerProvider) -> None:
        """Give ids and clock on request to whatever engine there is now."""
        if self._ids is not None:
            provider._ids = self._ids
            if self._mapper is not None:
                self._mapper = Mapper(replace(self._mapper.settings, **_FIXED_IDENTITY))
        engine = provider.engine
        if engine is None:
            return
        if self._clock is not None:
            engine.clock = self._clock
            engine.wall_ns, engine.monotonic_ns = self._clock.wall_ns, self._clock.monotonic_ns
        provider._configure_engine(engine)

    # -- on request ------------------------------------------------------------------------------------

    def fix_ids(self, *, first_trace_id: int = 1, first_span_id: int = 1) -> SequentialIds:
        """Count ids up from now on, and leave out of payloads what tells processes and machines apart.

        Args:
            first_trace_id: First 128-bit trace id.
            first_span_id: First 64-bit span id.
        """
        self._ids = ids = SequentialIds(first_trace_id, first_span_id)
        self._apply_fixed(self.provider)
        return ids

    def fix_clock(self, clock: FixedClock | None = None) -> FixedClock:
        """Take the time of traces started from now on from a clock that the test moves.

        Args:
            clock: Default: a new `FixedClock()`, which stands still.
        """
        self._clock = clock = clock or FixedClock()
        self._apply_fixed(self.provider)
        return clock

    # -- what was recorded -------------------------------------------------------------------------

    def __iter__(self) -> Iterator[RecordedSpan]:
        with self._lock:
            spans = list(self._spans)
        # Spans of the same instant stay in the order they were started in: a parent ends after its children.
        spans.sort(key=_by_start)
        return iter([RecordedSpan(span, self) for span in spans])

    def __len__(self) -> int:
        return len(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def clear(self) -> None:
        """Forget what was recorded so far."""
        with self._lock:
            self._spans.clear()

    def find_all(self, name: str | None = None, **criteria: Any) -> list[RecordedSpan]:  # Any: one type for each
        """Return the spans that meet all criteria, in the order of their start.

        Args:
            name: Operation name, or the name given through the OpenTelemetry API.
            **criteria: `resource`, `service`, `span_type`, `kind`, `error`, `error_type`, `trace_id`, and
                `tags`, a mapping of which every item must be there.

        Raises:
            TypeError: There is no such criterion.
        """
        if unknown := criteria.keys() - _CRITERIA:
            raise TypeError(f"unknown criterion {min(unknown)!r}; there are {', '.join(sorted(_CRITERIA))}")
        wanted = criteria if name is None else {"name": name, **criteria}
        return [each for each in self if each.matches(wanted)]

    def find(self, name: str | None = None, **criteria: Any) -> RecordedSpan:  # Any: as find_all
        """Return the only span that meets all criteria of `find_all`.

        Raises:
            AssertionError: There is none, or more than one; the message shows what was recorded.
        """
        found = self.find_all(name, **criteria)
        if len(found) != 1:
            wanted = ", ".join(
                [repr(name)] * (name is not None) + [f"{key}={value!r}" for key, value in criteria.items()]
            )
            shown = [key.removeprefix("span_") for key in criteria if key not in ("tags", "trace_id")]
            recorded = self.tree(*shown, *(criteria.get("tags") or ()))
            raise AssertionError(f"{len(found) or 'no'} spans match {wanted}; recorded:\n{recorded or '  nothing'}")
        return found[0]

    def roots(self) -> list[RecordedSpan]:
        """Return the spans without a recorded parent, in the order of their start."""
        everything = list(self)
        known = {(each.trace_id, each.span_id) for each in everything}
        return [each for each in everything if (each.trace_id, each.parent_id) not in known]

    def tree(self, *tags: str) -> str:
        """Return all spans as an indented text, in the language of `assert_tree`.

        Args:
            *tags: Names of tags and properties to show where a span has them.
        """
        return _expect.render(list(self), tags)

    def assert_tree(self, expected: str, *, ordered: bool = True) -> None:
        """Check all recorded spans, their nesting and details.

        One line for each span, children indented under their parent:

            http.request [resource="GET /users", service=shop]
              db.query [db.system=postgresql, error=false]
              cache.* [hit=*]

        A name is an operation name or a name of the OpenTelemetry API; `*` and `?` in it stand for
        anything. In brackets come tags, or `resource`, `service`, `type`, `kind`, `error`, `error_type`;
        tags that are not mentioned may be there. `*` as a value: the tag exists. Values with `,` or `]`
        in them are written in double quotes.

        Args:
            expected: The tree; common indentation and empty lines do not count.
            ordered: Whether siblings must have started in this order; `False` for concurrent work.

        Raises:
            AssertionError: It looks otherwise; the message shows both, line by line.
            ValueError: `expected` cannot be read.
        """
        _expect.check(list(self), expected, ordered=ordered)

    # -- Datadog -----------------------------------------------------------------------------------

    @property
    def mapper(self) -> Mapper:
        """What turns spans into Datadog's, with the configuration in effect."""
        if self._mapper is None:
            raise RuntimeError("the recorder was never started")
        return self._mapper

    def payload(self, trace_id: int | None = None) -> list[list[DDSpan]]:
        """Return what the Agent would get in format v0.4: for each local trace its spans, the local root first.

        Unsampled traces are there too.

        Args:
            trace_id: Only the local traces of this 128-bit trace id.
        """
        segments = dict.fromkeys(each.span.segment for each in self)
        return [self._map_segment(segment) for segment in segments if trace_id is None or segment.trace_id == trace_id]

    def mapped(self, span: Span) -> DDSpan:
        """Return one recorded span as the Agent would get it."""
        chunk = self._map_segment(span.segment)
        return next(each for each in chunk if each["span_id"] == span.span_id)

    def _map_segment(self, segment: Any) -> list[DDSpan]:  # Any: a segment of the engine
        segment.decide()
        with self._lock:
            spans = [span for span in self._spans if span.segment is segment]
        return self.mapper.map_chunk(segment, spans, partial=False)

    def __repr__(self) -> str:
        return f"SpanRecorder({len(self._spans)} spans)"


def _by_start(span: Span) -> tuple[int, int]:
    """Sort by start, and parents before children where the clock stands still."""
    depth = 0
    parent = span.local_parent
    while parent is not None:
        depth += 1
        parent = parent.local_parent
    return span.start_ns, depth


def _nothing_to_send(_timeout_s: float) -> bool:
    return True
