"""Manual tracing for Datadog.

    import ddtrace_manual as dd

    dd.configure(service="checkout", env="prod", version="1.4.2")

    @dd.traced
    def pay(order_id): ...

    with dd.span("db.query", span_type="sql", kind="client") as s: ...

Importing does nothing: no thread, no socket, no environment variable is read before `configure()`.
The layers, from top to bottom: `_setup` wires; `_decorators` and `_api` are the facade; `propagation`
reads and writes headers; `_tracing` is the engine; `sampling`, `_export`, `_stats`, `_mapping`,
`_encoding` and `_agent` carry finished spans to the Agent; `config` alone reads the environment.
"""

from typing import TYPE_CHECKING

from . import exceptions
from ._api.propagate import (
    clear_baggage,
    continue_trace,
    extract,
    extract_environ,
    get_baggage,
    inject,
    inject_environ,
    remove_baggage,
    set_baggage,
)
from ._api.scope import span
from ._api.span import (
    add_event,
    add_link,
    current_span,
    drop,
    keep,
    root_span,
    set_error,
    set_tag,
    set_tags,
    start_span,
)
from ._base.lazy import load
from ._decorators.traced import traced, untraced
from ._model.types import Span
from ._setup.lifecycle import CounterSnapshot, configure, counters, flush, shutdown

if TYPE_CHECKING:
    from .config import Config

__all__ = [
    "Config",
    "CounterSnapshot",
    "Span",
    "add_event",
    "add_link",
    "clear_baggage",
    "configure",
    "continue_trace",
    "counters",
    "current_span",
    "drop",
    "exceptions",
    "extract",
    "extract_environ",
    "flush",
    "get_baggage",
    "inject",
    "inject_environ",
    "keep",
    "remove_baggage",
    "root_span",
    "set_baggage",
    "set_error",
    "set_tag",
    "set_tags",
    "shutdown",
    "span",
    "start_span",
    "traced",
    "untraced",
]


def __getattr__(name: str) -> object:
    """Load `Config`, which takes a quarter of the import and which most programs never name."""
    if name == "Config":
        return load("config").Config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
