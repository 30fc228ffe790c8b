"""What the spans of one instrumentation scope are made with, and the short way to make most of them.

Nearly every span is the child of an open span that was made in the same way a moment ago. Whether that
is so takes one comparison: a span carries the source that its children are made with, and whoever is
about to start one holds the current source; when these are the same object nothing has changed since.
A source never changes: the engine makes new ones when it is reconfigured, so that the comparison fails.
`Engine.start` is the long way, for all other spans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from .engine import Engine
    from .span import Span

__all__ = ["SpanSource"]


class SpanSource:
    """What spans of one instrumentation scope are made with until the engine is reconfigured.

    Attributes:
        engine: Whose source this is.
        facade: The facade's source of the same time; another one in its place says that this one is out of date.
        scope: `None` is the facade's.
        for_children: What its spans carry as `Span.child_source`: itself, or `None` while an additional
            processor or sampler is told of every span, so that none starts the short way.
        own: What its ordinary spans carry as `Span.source`: itself, or `None` while a processor is told of
            every span or the exporter takes no tuples, so that none ends the short way.
    """

    __slots__ = (
        "engine",
        "facade",
        "for_children",
        "monotonic_ns",
        "new_span_id",
        "own",
        "partial_flush_min_spans",
        "scope",
        "span_class",
    )

    def __init__(self, engine: Engine, scope: InstrumentationScope | None) -> None:
        self.engine = engine
        # Read before all else: what is made while the engine is being reconfigured must not look up to date.
        self.facade: SpanSource = self if scope is None else engine.source
        self.scope = scope
        self.span_class = engine.span_class
        self.new_span_id = engine.new_span_id
        self.monotonic_ns = engine.monotonic_ns
        self.partial_flush_min_spans = engine.partial_flush_min_spans
        self.for_children = None if engine.is_watched else self
        self.own = self if engine.hooks.takes_compact and engine.processor is None else None

    def child(self, parent: Span, name: str, values: dict[str, Any] | None = None) -> Span:  # Any: values of every type
        """Start a child of a span that carries this source for its children.

        `SpanScope.__enter__` has the same written out, as `SpanScope.__exit__` has `Span.end`.

        Args:
            parent: Span whose `child_source` is this.
            name: OpenTelemetry name, for the facade the operation name.
            values: Attributes in the form they are kept; the span takes the dictionary over.
        """
        # Functions kept in attributes are called as locals: calling them as methods costs more (bench: ten-span).
        new_span_id, monotonic_ns = self.new_span_id, self.monotonic_ns
        made = self.span_class()
        made.local_parent = parent
        made.parent_id = parent.span_id
        made.segment = segment = parent.segment
        made.source = self.own
        made.child_source = self
        made.scope = self.scope
        made.otel_name = name
        made.operation_name = name if self.scope is None else None
        made.end_ns = None
        made.values = {} if values is None else values
        made.span_id = new_span_id() or self.engine.ids.span_id()
        made.start_ns = monotonic_ns() + segment.clock_offset_ns
        segment.open.add(made)
        return made
