"""Reading sampling rules: from the environment and code (JSON or lists) and from remote configuration.

Deliberate deviations from both reference tracers: an element that cannot be used is skipped and the
others count; unknown fields are ignored. A rate out of range counts as the nearer end, with a warning; in
code it is an error, as `sample_rate` is.

Source: spec/sampling.md §6.2, §13, §14.1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast

from ddtrace_manual._base.log import get_logger
from ddtrace_manual.exceptions import ConfigurationError, RemoteConfigError

from ._rates import clamp_rate, is_number
from ._rules import Provenance, SamplingRule, SpanSamplingRule, parse_number

__all__ = ["parse_remote_rate", "parse_remote_rules", "parse_sampling_rules", "parse_span_sampling_rules"]

_logger = get_logger("sampling")

_Rule = TypeVar("_Rule", SamplingRule, SpanSamplingRule)


def parse_sampling_rules(
    value: object, *, strict: bool = False, source: str = "DD_TRACE_SAMPLING_RULES"
) -> tuple[SamplingRule, ...]:
    """Read trace rules from JSON text, or from a list of rules and mappings.

    Args:
        value: Text of `DD_TRACE_SAMPLING_RULES`, a list, or `None`. The provenance of mappings is
            ignored: only remote configuration may claim one.
        strict: Raise for anything unusable, as for a value given in code, instead of skipping it.
        source: Name of the variable or argument, for messages.

    Returns:
        The usable rules in order; what is not a list gives none. What is skipped is logged.

    Raises:
        ConfigurationError: Only when `strict`.

    Source: spec/sampling.md §6.2.
    """
    return _parse_list(value, source, SamplingRule, _parse_trace_rule, strict=strict)


def parse_span_sampling_rules(
    value: object, *, strict: bool = False, source: str = "DD_SPAN_SAMPLING_RULES"
) -> tuple[SpanSamplingRule, ...]:
    """Read single span rules; arguments and result as for `parse_sampling_rules`.

    Source: spec/sampling.md §14.1.
    """
    return _parse_list(value, source, SpanSamplingRule, _parse_span_rule, strict=strict)


def _parse_list(
    value: object,
    source: str,
    rule_type: type[_Rule],
    parse: Callable[[Mapping[object, object]], _Rule],
    *,
    strict: bool,
) -> tuple[_Rule, ...]:
    rules: list[_Rule] = []
    for position, element in enumerate(_elements(value, source, strict=strict)):
        if isinstance(element, rule_type):
            rules.append(element)
            continue
        try:
            if not isinstance(element, Mapping):
                raise ConfigurationError(f"a rule must be an object, not {element!r}")  # noqa: TRY301
            rules.append(parse(element if strict else _with_rate_in_range(element, f"{source}[{position}]")))
        except ConfigurationError as error:
            if strict:
                raise ConfigurationError(f"{source}[{position}]: {error}") from None
            _logger.error("%s[%d] is skipped: %s", source, position, error)  # noqa: TRY400 - the message says it all
    return tuple(rules)


def _with_rate_in_range(element: Mapping[object, object], place: str) -> Mapping[object, object]:
    """Return a rule of the environment with a rate out of range moved to the nearer end, with a warning."""
    value = element.get("sample_rate")
    if value is None:
        return element
    rate = parse_number("sample_rate", value)
    usable = clamp_rate(rate)
    if usable == rate:
        return element
    _logger.warning("%s: sample_rate %r is not from 0 to 1; %g counts.", place, value, usable)
    return {**element, "sample_rate": usable}


def _elements(value: object, source: str, *, strict: bool) -> Iterable[object]:
    if isinstance(value, str):
        if not value.strip():
            return ()
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            if strict:
                raise ConfigurationError(f"{source} is not JSON: {error}") from error
            _logger.error("%s is ignored: not JSON (%s)", source, error)  # noqa: TRY400 - the message says it all
            return ()
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return cast("Iterable[object]", value)
    if strict:
        raise ConfigurationError(f"{source} must be a list, not {value!r}")
    _logger.error("%s is ignored: not a list", source)
    return ()


def _parse_trace_rule(element: Mapping[object, object]) -> SamplingRule:
    return SamplingRule(
        parse_number("sample_rate", element.get("sample_rate")),
        service=cast("str | None", element.get("service")),
        name=cast("str | None", element.get("name")),
        resource=cast("str | None", element.get("resource")),
        tags=cast("Mapping[str, str] | None", element.get("tags")),
    )


def _parse_span_rule(element: Mapping[object, object]) -> SpanSamplingRule:
    rate, limit = element.get("sample_rate"), element.get("max_per_second")
    return SpanSamplingRule(
        service=cast("str | None", element.get("service")),
        name=cast("str | None", element.get("name")),
        sample_rate=1.0 if rate is None else parse_number("sample_rate", rate),
        max_per_second=None if limit is None else parse_number("max_per_second", limit),
    )


def parse_remote_rate(value: object) -> float | None:
    """Read `tracing_sampling_rate` of a remote configuration; `None` is no override.

    Raises:
        RemoteConfigError: Not a number in 0.0-1.0; nothing of the file may be applied.

    Source: spec/sampling.md §13.
    """
    if value is None:
        return None
    if not is_number(value) or not 0.0 <= value <= 1.0:
        raise RemoteConfigError(f"sampling rate {value!r} is not a number from 0 to 1")
    return float(value)


def parse_remote_rules(value: object) -> tuple[SamplingRule, ...]:
    """Read `tracing_sampling_rules` of a remote configuration; `None` gives no rules.

    A rule without `sample_rate`, `provenance` or any matcher, or with a malformed entry of `tags`, is
    dropped with a line at debug level; the others apply.

    Raises:
        RemoteConfigError: Not an array, or a rate that is not a number in 0.0-1.0.

    Source: spec/sampling.md §13, spec/telemetry-remote-config.md §10.3.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RemoteConfigError("sampling rules are not an array")
    rules: list[SamplingRule] = []
    for element in value:
        try:
            rules.append(_parse_remote_rule(element))
        except ConfigurationError as error:  # noqa: PERF203 - one bad rule must not cost the others
            _logger.debug("Dropped a remote sampling rule: %s", error)
    return tuple(rules)


def _parse_remote_rule(element: object) -> SamplingRule:
    if not isinstance(element, Mapping):
        raise ConfigurationError(f"{element!r} is not an object")
    rate = parse_remote_rate(element.get("sample_rate"))
    provenance = element.get("provenance")
    if rate is None or provenance is None:
        raise ConfigurationError("no sample_rate or no provenance")
    rule = SamplingRule(
        rate,
        service=element.get("service"),
        name=element.get("name"),
        resource=element.get("resource"),
        tags=_parse_remote_tags(element.get("tags")),
        provenance=cast("Provenance", provenance if provenance in ("customer", "dynamic") else "default"),
    )
    if rule.matches_everything:
        raise ConfigurationError("nothing to match")
    return rule


def _parse_remote_tags(value: object) -> Mapping[str, str] | None:
    if not isinstance(value, list):
        return cast("Mapping[str, str] | None", value)  # a mapping or nothing; SamplingRule checks
    tags: dict[str, str] = {}
    for entry in value:
        key = entry.get("key") if isinstance(entry, Mapping) else None
        glob = entry.get("value_glob") if isinstance(entry, Mapping) else None
        if not isinstance(key, str) or not key or not isinstance(glob, str):
            raise ConfigurationError(f"malformed tag {entry!r}")
        tags[key] = glob
    return tags
