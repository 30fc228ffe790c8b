"""`@traced`: spans around everything Python can call. `@untraced`: leave a method of a traced class alone.

What does the work is imported with the first decoration: `wrapt` imports asyncio, which a program that
only uses `span` need not load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from typing_extensions import Unpack

from ddtrace_manual._api.options import refuse_unknown
from ddtrace_manual._base.lazy import load

from .plan import Arguments, CaptureArgs, CaptureReturn, TracedOptions, check_options

if TYPE_CHECKING:
    from functools import cached_property, partialmethod
    from typing import TypeAlias

    from ddtrace_manual._model.types import Kind, LinkTarget, Tags

    _Function: TypeAlias = Callable[..., Any]
    _Descriptor: TypeAlias = (
        staticmethod[..., Any] | classmethod[Any, ..., Any] | property | cached_property[Any] | partialmethod[Any]
    )

__all__ = ["traced", "untraced"]

# Any: callables of every signature and return type are decorated.
_Target = TypeVar("_Target", bound="_Function | _Descriptor")


class TracedDecorator(Protocol):
    """What `traced` with a name or options returns."""

    def __call__(self, target: _Target, /) -> _Target:
        """Return `target`, traced."""
        ...


@overload
def traced(name: _Target, /, **options: Unpack[TracedOptions]) -> _Target: ...


@overload
def traced(name: str | None = None, /, **options: Unpack[TracedOptions]) -> TracedDecorator: ...


def traced(  # noqa: PLR0913 - one keyword for each option
    name: Any = None,
    *,
    service: str | None = None,
    resource: str | Callable[[Arguments], str] | None = None,
    span_type: str | None = None,
    kind: Kind | None = None,
    tags: Tags | Callable[[Arguments], Tags] | None = None,
    links: Iterable[LinkTarget] | None = None,
    measured: bool = False,
    new_trace: bool = False,
    capture_args: CaptureArgs = False,
    capture_return: CaptureReturn = False,
    ignore: tuple[type[BaseException], ...] | type[BaseException] | None = None,
    active_across_yield: bool | None = None,
    only: Iterable[str] | None = None,
    **unknown: object,
) -> Any:
    """Run every call in a span. Use it bare, `@traced`, or called, `@traced("name", option=...)`.

    Args:
        name: Span name; default: `module.qualname`. For a class: the part before the method's name.
        service: Service name; default: the parent's, else the configured one.
        resource: Resource name, or a function that returns it for the arguments of a call, given as a dict by
            parameter name, defaults included.
        span_type: Product category, for example `web`, `sql`, `worker`.
        kind: `internal` (default), `server`, `client`, `producer` or `consumer`.
        tags: Tags, or a function that returns them for the arguments of a call.
        links: Spans of other traces that every call relates to.
        measured: Compute statistics for this span even when it is neither top-level nor a client call.
        new_trace: Start a new trace with every call; the span that was current becomes a link.
        capture_args: Record arguments as tags `function.arg.<name>`: `True` for all but `self` and `cls`, names of
            parameters, or a function from the dict of arguments to a mapping of what to record.
        capture_return: Record the return value as tag `function.return`: `True`, or a function from the value to
            what to record. Not for generators' yielded values.
        ignore: Exceptions that leave the span unmarked.
        active_across_yield: Keep the span of a generator current while it is suspended. Default: only where
            contextlib calls the generator, so that the `with` body is traced.
        only: For a class: exactly these members instead of its public methods.
        **unknown: There are no others; type checkers report them.

    What is traced: a function: the call. A coroutine function: the await. A generator or async generator: from the
    first step to exhaustion, close or garbage collection; while it is suspended its span is not current. A function
    under `@contextmanager` or `@asynccontextmanager`, in either order: the `with` body with what is before and after.
    A class: the public methods it defines. A plain function that returns an awaitable or a generator: only the call.

    A function given as an option that raises is counted and logged once; the call goes on without it.

    Raises:
        ConfigurationError: An option is unknown or of the wrong type, names an unknown parameter, or does not fit the
            target.
        TypeError: The target cannot be called.

    Example:
        >>> @traced("checkout.pay", resource=lambda args: f"POST /orders/{args['order_id']}", capture_args=["amount"])
        ... def pay(order_id: int, amount: float) -> None: ...
    """
    if unknown:
        refuse_unknown("@traced", unknown, TracedOptions.__optional_keys__)
    options = check_options(
        name if isinstance(name, str) else None,
        {
            "service": service,
            "resource": resource,
            "span_type": span_type,
            "kind": kind,
            "tags": tags,
            "links": links,
            "measured": measured,
            "new_trace": new_trace,
            "capture_args": capture_args,
            "capture_return": capture_return,
            "ignore": ignore,
            "active_across_yield": active_across_yield,
            "only": only,
        },
    )
    decorate = load("_decorators.dispatch").decorate  # see the module docstring

    if name is not None and not isinstance(name, str):
        return decorate(name, None, options)
    return lambda target: decorate(target, name, options)


def untraced(target: _Target) -> _Target:
    """Mark a method that a traced class leaves alone.

    Raises:
        TypeError: The target is neither callable nor a descriptor.
    """
    load("_decorators.dispatch").mark_untraced(target)  # see the module docstring
    return target
