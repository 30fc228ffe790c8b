"""Options of `span`, `start_span` and `traced`: checked where they are given, applied to a span.

What an option means is written beside its name in `_types.SpanOptions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, cast

from opentelemetry import trace
from opentelemetry.trace import SpanContext, SpanKind

from ddtrace_manual._base import tags as _tags
from ddtrace_manual._base.context import REMOTE_CONTEXT_KEY, SPAN_KEY, Context
from ddtrace_manual._base.errors import class_name, safe_repr, safe_str
from ddtrace_manual._base.values import is_a
from ddtrace_manual._model.links import is_link_target, link_record
from ddtrace_manual._model.types import SpanOptions
from ddtrace_manual.exceptions import ConfigurationError

if TYPE_CHECKING:
    from ddtrace_manual._tracing.span import Span as EngineSpan

__all__ = [
    "KINDS",
    "SPAN_OPTION_NAMES",
    "apply",
    "check",
    "checked_links",
    "parent_context",
    "refuse_unknown",
    "settle",
]

SPAN_OPTION_NAMES = SpanOptions.__optional_keys__

KINDS: Mapping[object, SpanKind] = {
    **{kind.name.lower(): kind for kind in SpanKind},
    **{kind: kind for kind in SpanKind},
}
"""Kind by its name or by itself."""

_MAX_LINKS = 1_000
"""Links that are read of the option `links`."""
_TEXT_OPTIONS = ("service", "resource", "span_type")
_FLAGS = ("measured", "new_trace")


def settle(name: object, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:  # Any: options of several types
    """Check name and options of a span that is about to start.

    Name, resource, service and type often come from data, and one odd value on a rare path must not
    break a request: what is no text becomes text. Everything else is a mistake in the program.

    Raises:
        ConfigurationError: An option is unknown or of the wrong type; the message names it.
    """
    settled = dict(options)
    for option in _TEXT_OPTIONS:
        value = settled.get(option)
        if value is not None and type(value) is not str:
            settled[option] = safe_str(value)
    if "links" in settled:
        settled["links"] = checked_links(settled["links"])
    text = name if type(name) is str else safe_str(name)
    check(text, settled)
    return text, settled


def check(name: object, options: Mapping[str, Any]) -> None:  # Any: options of several types
    """Check name and options of a span.

    Raises:
        ConfigurationError: An option is unknown or of the wrong type; the message names it.
    """
    if not issubclass(type(name), str):
        raise ConfigurationError(f"span name must be a str, not {class_name(name)}")
    if not options:
        return
    if not options.keys() <= SPAN_OPTION_NAMES:
        refuse_unknown("span", options.keys() - SPAN_OPTION_NAMES, SPAN_OPTION_NAMES)
    for option in _TEXT_OPTIONS:
        value = options.get(option)
        if value is not None and not issubclass(type(value), str):
            raise ConfigurationError(f"option {option!r} must be a str or None, not {class_name(value)}")
    for option in _FLAGS:
        value = options.get(option)
        if value is not None and type(value) is not bool:
            raise ConfigurationError(f"option {option!r} must be a bool, not {class_name(value)}")
    _check_kind(options.get("kind"))
    _check_types(options)


def refuse_unknown(taker: str, unknown: Iterable[str], known: Iterable[str]) -> NoReturn:
    """Raise for options that `taker` does not have, with the one that was probably meant, or all there are.

    Raises:
        ConfigurationError: Always.
    """
    unknown = tuple(unknown)
    if "activate" in unknown:
        raise ConfigurationError(
            f"{taker} has no option 'activate': span() and @traced make their span current by themselves; start_span()"
            " does not, write `with s.activate():` for the span s that it returned"
        )
    from difflib import get_close_matches  # only for a mistake

    names = sorted(known)
    parts = []
    for option in sorted(unknown):
        near = get_close_matches(option, names, 1)
        parts.append(f"{option!r} (did you mean {near[0]!r}?)" if near else repr(option))
    raise ConfigurationError(f"{taker} has no option {', '.join(parts)}; there are {', '.join(names)}")


def checked_links(links: object) -> tuple[object, ...] | None:
    """Return the value of option `links` as a tuple, so that an iterator is read once.

    Raises:
        ConfigurationError: It is no iterable, or an element is nothing that can be linked to.
    """
    if links is None:
        return None
    if is_a(links, (str, bytes, Mapping)) or not is_a(links, Iterable):
        raise ConfigurationError(f"option 'links' must be an iterable of links or None, not {class_name(links)}")
    try:
        targets = tuple(islice(cast("Iterable[object]", links), _MAX_LINKS))
    except Exception as exc:
        raise ConfigurationError(f"option 'links', of type {class_name(links)}, could not be read") from exc
    for target in targets:
        if not is_link_target(target):
            raise ConfigurationError(
                "option 'links' must be an iterable of spans, span contexts, contexts or headers, "
                f"not of {class_name(target)}",
            )
    return targets


def _check_kind(kind: object) -> None:
    try:
        known = kind is None or kind in KINDS
    except Exception:  # not hashable, or not comparable
        known = False
    if not known:
        raise ConfigurationError(
            f"option 'kind' must be one of internal, server, client, producer, consumer, not {safe_repr(kind)}",
        )


def _check_types(options: Mapping[str, Any]) -> None:  # Any: options of several types
    tags = options.get("tags")
    if tags is not None and not is_a(tags, Mapping):
        raise ConfigurationError(f"option 'tags' must be a mapping or None, not {class_name(tags)}")
    start = options.get("start_time_ns")
    if start is not None and (not issubclass(type(start), int) or type(start) is bool):
        raise ConfigurationError(f"option 'start_time_ns' must be an int or None, not {class_name(start)}")
    ignore = options.get("ignore")
    classes = ignore if type(ignore) is tuple else () if ignore is None else (ignore,)
    if not all(issubclass(type(cls), type) and issubclass(cls, BaseException) for cls in classes):
        text = safe_repr(ignore)
        raise ConfigurationError(f"option 'ignore' must be an exception class or a tuple of them, not {text}")
    parent = options.get("parent")
    if parent is not None and not is_a(parent, (dict, trace.Span, SpanContext)):
        raise ConfigurationError(
            f"option 'parent' must be a span, a span context or a context, not {class_name(parent)}",
        )


def parent_context(options: Mapping[str, Any], current: Context) -> Context:  # Any: options of several types
    """Return the context to look for the parent in: the current one, or what the options say."""
    parent = options.get("parent")
    if parent is None:
        context = current
    elif isinstance(parent, dict):
        context = cast("Context", parent)
    else:
        span = trace.NonRecordingSpan(parent) if isinstance(parent, SpanContext) else getattr(parent, "wrapped", parent)
        context = cast("Context", {**current, SPAN_KEY: span})
    if options.get("new_trace"):
        hidden = (SPAN_KEY, REMOTE_CONTEXT_KEY)
        context = cast("Context", {key: value for key, value in context.items() if key not in hidden})
    return context


def apply(span: EngineSpan, options: Mapping[str, Any], current: Context) -> None:  # Any: options of several types
    """Put options on a span of the engine that was just started; `current` was current before it."""
    for option, value in options.items():
        act = _ACTIONS.get(option)
        if act is not None and value is not None:
            act(span, value)
    if options.get("new_trace"):
        former = link_record(current.get(SPAN_KEY))
        if former is not None:
            span.append_link(former)


def _set_resource(span: EngineSpan, value: str) -> None:
    span.set_attribute(_tags.RESOURCE_NAME, value)


def _set_service(span: EngineSpan, value: str) -> None:
    span.service = value


def _set_type(span: EngineSpan, value: str) -> None:
    span.set_attribute(_tags.SPAN_TYPE, value)


def _set_kind(span: EngineSpan, value: object) -> None:
    span.set_kind(KINDS[value])


def _set_tags(span: EngineSpan, value: Mapping[str, Any]) -> None:  # Any: see Tags
    span.set_attributes(value)


def _set_links(span: EngineSpan, value: Iterable[object]) -> None:
    for target in value:
        span.add_link(cast("Any", target))  # Any: the engine takes every target


def _set_measured(span: EngineSpan, value: object) -> None:
    if value:
        span.set_attribute(_tags.MEASURED, 1)


def _set_start(span: EngineSpan, value: int) -> None:
    span.start_ns = value
    span.segment.needs_care = True


_ACTIONS: dict[str, Callable[[Any, Any], None]] = {  # Any: each takes the type of its option
    "resource": _set_resource,
    "service": _set_service,
    "span_type": _set_type,
    "kind": _set_kind,
    "tags": _set_tags,
    "links": _set_links,
    "measured": _set_measured,
    "start_time_ns": _set_start,
}
