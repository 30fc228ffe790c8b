"""What a decorated callable does at each call, worked out and checked when it is decorated."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from inspect import CO_ITERABLE_COROUTINE
from itertools import islice
from types import GeneratorType
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import trace
from typing_extensions import TypedDict

from ddtrace_manual._api import options as _options
from ddtrace_manual._api.other_provider import NoopSpan
from ddtrace_manual._api.runtime import RUNTIME
from ddtrace_manual._api.start import record_exit
from ddtrace_manual._api.start import start as start_span
from ddtrace_manual._base.context import SPAN_KEY, Context, activate, get_current, restore
from ddtrace_manual._base.errors import class_name, safe_repr
from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._base.values import clean_key, is_a, is_true, items_of
from ddtrace_manual._model import UNCHARGED_NAME_CHARS
from ddtrace_manual.exceptions import ConfigurationError

from .arguments import ARGUMENT_PREFIX, RETURN_TAG, Parameters, captured_tags, simple_tags

if TYPE_CHECKING:
    from ddtrace_manual._model.types import Kind, LinkTarget, Span, Tags

__all__ = [
    "CaptureArgs",
    "CaptureReturn",
    "Plan",
    "TracedOptions",
    "await_rest",
    "check_options",
    "default_name",
    "enter",
    "finish",
    "is_awaitable",
    "records_anything",
    "start",
]

# Once for each function and option in the life of the process.
_log = RateLimitedLogger(get_logger("traced"), interval_s=math.inf)

Arguments = dict[str, Any]
"""Arguments of a call by parameter name, defaults included. Any: arguments are of every type."""

CaptureArgs = bool | Iterable[str] | Callable[[Arguments], Mapping[str, object]]
CaptureReturn = bool | Callable[[Any], object]  # Any: the return value, of every type


class TracedOptions(TypedDict, total=False):
    """Options of `traced`; see there."""

    service: str | None
    resource: str | Callable[[Arguments], str] | None
    span_type: str | None
    kind: Kind | None
    tags: Tags | Callable[[Arguments], Tags] | None
    links: Iterable[LinkTarget] | None
    measured: bool
    new_trace: bool
    capture_args: CaptureArgs
    capture_return: CaptureReturn
    ignore: tuple[type[BaseException], ...] | type[BaseException] | None
    active_across_yield: bool | None
    only: Iterable[str] | None


_FIELD = re.compile(r"\{[^{}]*\}")
"""A replacement field of `str.format` or of an f-string that lacks its `f`."""

_MAX_NAMES = 1_000
_FLAGS = ("measured", "new_trace", "active_across_yield")
_SPAN_OPTIONS = ("service", "resource", "span_type", "kind", "tags", "links", "measured", "new_trace")


def check_options(name: object, options: Mapping[str, Any]) -> TracedOptions:  # Any: options of several types
    """Return the options that were given, checked, with iterables made into tuples.

    Raises:
        ConfigurationError: An option is of the wrong type; the message names it.
    """
    given = {option: value for option, value in options.items() if value is not None and value is not False}
    for option in _FLAGS:
        if type(options.get(option)) not in (bool, type(None)):
            raise ConfigurationError(f"option {option!r} must be a bool, not {class_name(options[option])}")
    if options.get("active_across_yield") is False:
        given["active_across_yield"] = False
    if not isinstance(name, (str, type(None))) or name == "":
        raise ConfigurationError(f"span name must be a str that is not empty, not {name!r}")
    if name is not None and (field := _FIELD.search(name)):
        raise ConfigurationError(
            f"span name {name!r} is not filled in: names must stay few. Record {field.group()} as a tag, with "
            f"capture_args=[...] or tags=..., or in resource=..."
        )
    plain = {
        option: given[option]
        for option in (*_SPAN_OPTIONS, "ignore")
        if option in given and not (option in ("resource", "tags") and callable(given[option]))
    }
    texts = {option: str.__str__(value) for option, value in plain.items() if issubclass(type(value), str)}
    plain.update(texts)
    given.update(texts)
    if "links" in plain:
        plain["links"] = given["links"] = _options.checked_links(given["links"])
    _options.check(name or "name", plain)
    if "tags" in plain:
        given["tags"] = {clean_key(key): value for key, value in items_of(given["tags"])}
    _check_capture(given)
    if "only" in given:
        given["only"] = _names("only", given["only"])
    return given  # type: ignore[return-value] # checked field by field above


def _check_capture(given: dict[str, Any]) -> None:  # Any: options of several types
    capture = given.get("capture_args")
    if capture is not None and capture is not True and not callable(capture):
        given["capture_args"] = _names("capture_args", capture)
    capture = given.get("capture_return")
    if capture is not None and capture is not True and not callable(capture):
        raise ConfigurationError(f"option 'capture_return' must be a bool or a callable, not {class_name(capture)}")


def _names(option: str, value: object) -> tuple[str, ...]:
    names: tuple[str, ...] | None = None
    if is_a(value, Iterable) and not is_a(value, (str, bytes)):
        with contextlib.suppress(Exception):  # an iterable of the application may raise anything
            names = tuple(islice(cast("Iterable[str]", value), _MAX_NAMES))
    if names is None or not all(issubclass(type(name), str) for name in names):
        raise ConfigurationError(f"option {option!r} must be an iterable of names, not {safe_repr(value)}")
    return tuple(map(str.__str__, names))


def default_name(target: Any) -> str:  # Any: any callable
    """Return `module.qualname` of a callable; of its class when it has no name of its own."""
    while not hasattr(target, "__qualname__") and hasattr(target, "func"):
        target = target.func  # functools.partial and its kin
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


_ENDS_OF_ITERATION = {"__next__": StopIteration, "__anext__": StopAsyncIteration}


def _with_end_of_iteration(
    target: object, ignore: tuple[type[BaseException], ...] | type[BaseException] | None
) -> tuple[type[BaseException], ...] | type[BaseException] | None:
    """Return what is ignored, with the exception by which a method of an iterator says that nothing is left."""
    end = _ENDS_OF_ITERATION.get(getattr(target, "__name__", ""))
    if end is None:
        return ignore
    return (end, *((ignore,) if isinstance(ignore, type) else ignore or ()))


class Plan:
    """How the calls of one callable are traced. Immutable; can be pickled if the callables among the options can.

    Attributes:
        name: Span name.
        options: Options of the span that are the same for every call.
        ignore: Exceptions that leave the span unmarked.
        given: The options as given, for pickling.
        across: Whether a generator's span stays current while it is suspended; `None`: for context managers only.
        columns: Where the arguments to record are found, if recording them is all that is done with arguments.
        is_plain: There is nothing to do per call but start and end a span.
        uses_arguments: The span depends on the arguments of the call.
    """

    __slots__ = (
        "_dynamic",
        "_parameters",
        "across",
        "capture_return",
        "columns",
        "given",
        "ignore",
        "is_plain",
        "name",
        "options",
        "uses_arguments",
    )

    def __init__(self, target: Callable[..., Any], name: str | None, given: TracedOptions) -> None:  # Any: any callable
        self.name = name or default_name(target)
        self.given = given
        self.ignore = _with_end_of_iteration(target, given.get("ignore"))
        self.across = given.get("active_across_yield")
        self._dynamic: dict[str, Any] = {}  # Any: callables and names of arguments
        self.options: dict[str, Any] = {}  # Any: options of several types
        for option in _SPAN_OPTIONS:
            value = given.get(option)
            if is_true(value):
                (self._dynamic if callable(value) else self.options)[option] = value
        capture = given.get("capture_args")
        if capture:
            self._dynamic["capture_args"] = capture
        self.capture_return = given.get("capture_return")
        self._parameters = Parameters(target) if self._dynamic else None
        if isinstance(capture, tuple):
            self._check_names(capture)
        elif capture is True:
            self._dynamic["capture_args"] = self._all_names(target)
        self.uses_arguments = bool(self._dynamic)
        self.columns = None
        captured = self._dynamic.get("capture_args")
        if (
            isinstance(captured, tuple)
            and self._parameters is not None
            and len(self._dynamic) == 1
            and not self.options
        ):
            self.columns = self._parameters.columns(captured)
        # A long name counts against the memory budget, which the general way sees to.
        is_long = len(self.name) > UNCHARGED_NAME_CHARS
        if is_long:
            self.columns = None
        self.is_plain = not (is_long or self.options or self._dynamic or self.capture_return or self.ignore)

    def for_bound(self, bound: Callable[..., Any]) -> Plan:  # Any: any callable
        """Return the plan for `bound`, which takes other positional arguments than what was decorated."""
        return Plan(bound, self.name, self.given) if self._dynamic else self

    def _check_names(self, names: tuple[str, ...]) -> None:
        parameters = self._parameters
        if parameters is None or (parameters.open_ended and parameters.names):
            return
        unknown = [name for name in names if name not in parameters.names]
        if unknown:
            known = ", ".join(parameters.names) or "none"
            raise ConfigurationError(
                f"option 'capture_args' names {', '.join(map(repr, unknown))}, "
                f"but the parameters of {self.name} are: {known}",
            )

    def _all_names(self, target: object) -> tuple[str, ...] | None:
        """Return the parameters to capture: all but the object or class a method belongs to."""
        names = self._parameters.names if self._parameters is not None else []
        owner = getattr(target, "__qualname__", "").rpartition(".")[0]
        if names and names[0] in ("self", "cls") and owner and not owner.endswith("<locals>"):
            names = names[1:]
        return tuple(names)

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any], current: Context) -> Span:  # Any: any arguments
        """Start the span of one call; it is not made current. Never raises."""
        options = self.options
        if self._dynamic and records_anything():
            options = self._options_of_call(args, kwargs)
        return start_span(self.name, options, current)

    def _options_of_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:  # Any: see start
        options = dict(self.options)
        arguments = self._parameters.arguments(args, kwargs)  # type: ignore[union-attr] # there if _dynamic is
        for option, source in self._dynamic.items():
            self._add(options, option, source, arguments)
        return options

    def _add(self, options: dict[str, Any], option: str, source: Any, arguments: Arguments) -> None:  # Any: see start
        try:
            if option == "capture_args":
                options["tags"] = {**options.get("tags", {}), **self._capture(source, arguments)}
            else:
                options[option] = _checked(option, source(arguments))
        except Exception:  # the application's callable may raise anything
            self.failed(option)

    def _capture(self, source: Any, arguments: Arguments) -> Mapping[str, Any]:  # Any: names or a callable
        if callable(source):
            values = source(arguments)
            if not isinstance(values, Mapping):
                raise TypeError(f"capture_args returned {type(values).__name__}, not a mapping")
        else:
            values = self._parameters.selected(arguments, source)  # type: ignore[union-attr] # there if _dynamic is
        return captured_tags(values, ARGUMENT_PREFIX, RUNTIME.redact)

    def returned(self, span: Span, value: object) -> None:
        """Record what the call returned, if that is wanted. Never raises."""
        capture = self.capture_return
        if not capture or isinstance(span, NoopSpan):
            return
        try:
            span.set_tags(
                captured_tags(
                    {"return": capture(value) if callable(capture) else value},
                    RETURN_TAG.removesuffix("return"),
                    RUNTIME.redact,
                )
            )
        except Exception:  # the application's callable may raise anything
            self.failed("capture_return")

    def failed(self, option: str) -> None:
        """Count that a callable of the application failed, and log it once for this function and option."""
        if RUNTIME.count is not None:
            RUNTIME.count("capture_failed" if option.startswith("capture") else "option_failed")
        _log.log(
            logging.WARNING,
            f"{option} {self.name}",
            "Option %r of the traced function %s failed; the call goes on without it.",
            option,
            self.name,
            exc_info=True,
        )


def records_anything() -> bool:
    """Return whether somebody is there to record a span, so that the application's callables are worth calling."""
    return RUNTIME.engine is not None or RUNTIME.use_otel or trace._TRACER_PROVIDER is not None


# -- one call ------------------------------------------------------------------------------------------

_NO_KEYWORDS: dict[str, Any] = {}  # Any: arguments of every type; never written to


def start(
    plan: Plan,
    previous: Context,
    args: tuple[Any, ...] = (),  # Any: arguments of every type
    kwargs: dict[str, Any] = _NO_KEYWORDS,  # Any: likewise
) -> Span | None:
    """Start the span of one call; `None` when nobody records it."""
    if not records_anything():
        return None
    span = plan.start(args, kwargs, previous)
    return None if isinstance(span, NoopSpan) else span


def enter(
    plan: Plan,
    previous: Context,
    args: tuple[Any, ...] = (),  # Any: arguments of every type
    kwargs: dict[str, Any] = _NO_KEYWORDS,  # Any: likewise
) -> tuple[Span, Context] | None:
    """Start the span of one call and make it current; `None` when nobody records it."""
    parent: Any = previous.get(SPAN_KEY)  # Any: see SpanScope.__enter__
    try:
        source: Any = None if parent is None else parent.child_source  # Any: likewise
    except AttributeError:  # another library's span
        source = None
    if source is RUNTIME.source:
        tags = None
        if plan.is_plain or (
            plan.columns is not None
            and RUNTIME.redact is None
            and (tags := simple_tags(plan.columns, args, kwargs)) is not None
        ):
            made = source.child(parent, plan.name, tags)
            return made, activate(made, previous)
    span = start(plan, previous, args, kwargs)
    return None if span is None else (span, activate(getattr(span, "wrapped", span), previous))


def finish(span: Span, context: Context, previous: Context) -> None:
    """End the span of a call and put the caller's context back."""
    try:
        span.end()
    finally:
        restore(context, previous)


def is_awaitable(result: object) -> bool:
    """Return whether what a function returned is still to be awaited."""
    return hasattr(type(result), "__await__") or (
        isinstance(result, GeneratorType) and bool(result.gi_code.co_flags & CO_ITERABLE_COROUTINE)
    )


def await_rest(awaitable: Any, span: Span, plan: Plan) -> Coroutine[Any, Any, Any]:  # Any: of every type
    """Return a coroutine that awaits what a call returned in the span of the call, and ends that."""
    outer: Any = _await_in_span(_Unstarted(awaitable, span), plan)  # Any: its name may be set
    with contextlib.suppress(AttributeError):  # an awaitable of another kind
        outer.__name__, outer.__qualname__ = awaitable.__name__, awaitable.__qualname__
    return outer  # type: ignore[no-any-return] # see above


class _Unstarted:
    """Holds an awaitable and its span until the await; if that never comes, it ends the span.

    The awaitable is then discarded without a second "never awaited" warning.
    """

    __slots__ = ("awaitable", "span")

    def __init__(self, awaitable: Any, span: Span) -> None:  # Any: of every type
        self.awaitable = awaitable
        self.span = span

    def __del__(self) -> None:
        if self.awaitable is not None:
            if hasattr(self.awaitable, "close"):
                self.awaitable.close()
            self.span.end()


async def _await_in_span(held: _Unstarted, plan: Plan) -> Any:  # Any: of every type
    awaitable, held.awaitable = held.awaitable, None
    span = held.span
    previous = get_current()
    context = activate(getattr(span, "wrapped", span), previous)
    try:
        result = await awaitable
        if plan.capture_return:
            plan.returned(span, result)
        return result  # noqa: TRY300 - what leaves the span is recorded from here, too
    except BaseException as exc:
        record_exit(span, exc, plan.ignore)
        raise
    finally:
        finish(span, context, previous)


def _checked(option: str, value: object) -> object:
    expected = Mapping if option == "tags" else str
    if value is not None and not isinstance(value, expected):
        raise TypeError(f"{option} returned {type(value).__name__}")
    return value
