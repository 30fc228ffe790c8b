"""Sampling rules: their public form and how they are matched.

Deliberate deviation from one reference tracer: an empty text is no constraint.

Source: spec/sampling.md §6.2, §7, §14.1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Literal, Protocol

from ddtrace_manual._model import MECHANISM_REMOTE_DYNAMIC_RULE, MECHANISM_REMOTE_USER_RULE, MECHANISM_RULE, SpanRecord
from ddtrace_manual.exceptions import ConfigurationError

from ._globs import Glob
from ._rates import Rate, is_number

__all__ = [
    "CompiledRule",
    "Provenance",
    "SamplingRule",
    "SpanSamplingRule",
    "SpanView",
    "effective_rules",
    "parse_number",
]

Provenance = Literal["customer", "dynamic", "default"]

_MECHANISM_BY_PROVENANCE: Final[Mapping[str, int]] = {
    "customer": MECHANISM_REMOTE_USER_RULE,
    "dynamic": MECHANISM_REMOTE_DYNAMIC_RULE,
    "default": MECHANISM_RULE,
}
_PROVENANCE_ORDER: Final = ("customer", "dynamic", "default")


class SpanView(Protocol):
    """How the sampler sees a span: with the same functions as the exporter, as the user sees it in the product."""

    @abstractmethod
    def service_name(self, span: SpanRecord, /) -> str:
        """Return the final service."""

    @abstractmethod
    def operation_name(self, span: SpanRecord, /) -> str:
        """Return the Datadog operation name."""

    @abstractmethod
    def resource_name(self, span: SpanRecord, /) -> str:
        """Return the Datadog resource name."""

    @abstractmethod
    def tag(self, span: SpanRecord, key: str, /) -> object:
        """Return the value of a tag (text, bool, int or float), or `None`.

        Found under its OpenTelemetry and its Datadog name; resource attributes and global tags take
        part; `env` is the final environment.
        """


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """Which share of the matching traces to keep; matched against the local root of a trace.

    Texts are globs (`*` any text, `?` one character, case does not count); all that are given must
    match; `None` and `""` are no constraint.

    Raises:
        ConfigurationError: A value of the wrong type or out of range, or an unknown provenance.

    Source: spec/sampling.md §6.2.
    """

    sample_rate: float
    """Share to keep, 0.0-1.0."""
    _: KW_ONLY
    service: str | None = None
    name: str | None = None
    """Glob for the Datadog operation name, for example `http.server.request`."""
    resource: str | None = None
    tags: Mapping[str, str] | None = field(default=None, hash=False)
    """Exact tag name to glob; all entries must match."""
    provenance: Provenance = "default"
    """Who made the rule; `customer` and `dynamic` come from remote configuration."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_rate", _checked_rate(self.sample_rate))
        for name in ("service", "name", "resource"):
            object.__setattr__(self, name, _checked_glob(name, getattr(self, name)))
        object.__setattr__(self, "tags", _checked_tags(self.tags))
        if self.provenance not in _MECHANISM_BY_PROVENANCE:
            raise ConfigurationError(f"provenance of a sampling rule: {self.provenance!r} is not known")

    @property
    def matches_everything(self) -> bool:
        """Whether the rule has no constraint."""
        return not (self.service or self.name or self.resource or self.tags)

    def to_dict(self) -> dict[str, Any]:  # Any: JSON
        """Return the rule in the form of `DD_TRACE_SAMPLING_RULES`; what is not constrained is left out."""
        found: dict[str, Any] = {"sample_rate": self.sample_rate}
        for name in ("service", "name", "resource"):
            if (glob := getattr(self, name)) is not None:
                found[name] = glob
        if self.tags:
            found["tags"] = dict(self.tags)
        if self.provenance != "default":
            found["provenance"] = self.provenance
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSamplingRule:
    """Which spans of dropped traces to keep all the same.

    Raises:
        ConfigurationError: A value of the wrong type or out of range, or neither a service nor a name.

    Source: spec/sampling.md §14.1.
    """

    service: str | None = None
    name: str | None = None
    """Glob for the Datadog operation name."""
    sample_rate: float = 1.0
    """Share of the matching spans to keep, 0.0-1.0, decided by span id."""
    max_per_second: float | None = None
    """Most spans kept per second by this rule, in this process; 0 keeps none, `None` is unlimited."""

    def __post_init__(self) -> None:
        for name in ("service", "name"):
            object.__setattr__(self, name, _checked_glob(name, getattr(self, name)))
        if self.service is None and self.name is None:
            raise ConfigurationError("a span sampling rule needs a service or a name")
        object.__setattr__(self, "sample_rate", _checked_rate(self.sample_rate))
        if self.max_per_second is not None:
            limit = parse_number("max_per_second", self.max_per_second)
            object.__setattr__(self, "max_per_second", int(limit) if limit == int(limit) else limit)


class CompiledRule:
    """A trace rule made ready for matching; immutable."""

    __slots__ = ("_fields", "_tags", "decision_maker", "rate", "rule")

    def __init__(self, rule: SamplingRule) -> None:
        self.rule = rule
        self.rate = Rate(rule.sample_rate)
        self.decision_maker = f"-{_MECHANISM_BY_PROVENANCE[rule.provenance]}"
        # (method of SpanView, glob): a glob that matches everything is no constraint and costs nothing.
        self._fields = tuple(
            (method, glob)
            for method, pattern in (
                ("service_name", rule.service),
                ("operation_name", rule.name),
                ("resource_name", rule.resource),
            )
            if pattern is not None and not (glob := Glob(pattern)).is_any
        )
        self._tags = tuple((key, Glob(pattern)) for key, pattern in (rule.tags or {}).items())

    def matches(self, span: SpanRecord, view: SpanView) -> bool:
        """Say whether every constraint holds for a span as it is now."""
        for method, glob in self._fields:
            if not glob.matches(getattr(view, method)(span)):
                return False
        return all(_tag_matches(view.tag(span, key), glob) for key, glob in self._tags)


def effective_rules(
    local: Iterable[SamplingRule],
    local_rate: float | None,
    remote: Iterable[SamplingRule] | None,
    remote_rate: float | None,
) -> tuple[SamplingRule, ...]:
    """Merge local and remote rules and rates into the list that is searched.

    Remote rules replace local ones; a rate, the remote one first, becomes a catch-all at the end.
    Sorted stably by provenance.

    Source: spec/sampling.md §6.1, §13.
    """
    rules = sorted(tuple(remote or ()) or tuple(local), key=lambda rule: _PROVENANCE_ORDER.index(rule.provenance))
    rate = remote_rate if remote_rate is not None else local_rate
    return (*rules, SamplingRule(rate)) if rate is not None else tuple(rules)


def parse_number(field_name: str, value: object) -> float:
    """Return a finite number given as such or as text.

    Raises:
        ConfigurationError: It is none; the message begins with the name of the field.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ConfigurationError(f"{field_name}: {value!r} is not a number") from None
    if not is_number(value):
        raise ConfigurationError(f"{field_name}: {value!r} is not a number")
    return value


def _checked_rate(value: object) -> float:
    rate = parse_number("sample_rate", value)
    if not 0.0 <= rate <= 1.0:
        raise ConfigurationError(f"sample_rate: {value!r} is not from 0 to 1")
    return float(rate)


def _checked_glob(field_name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ConfigurationError(f"{field_name}: {value!r} is not a text")
    return value


def _checked_tags(value: object) -> dict[str, str] | None:
    if not value:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigurationError(f"tags: {value!r} is not an object of texts")
    return {key: _stringify(pattern) for key, pattern in value.items() if pattern is not None} or None


def _stringify(pattern: object) -> str:
    """Return the glob for a pattern given as JSON of any type: 20.0 → `20`, true → `true`."""
    return pattern if isinstance(pattern, str) else _comparable_text(pattern) or str(pattern)


def _comparable_text(value: object) -> str | None:
    """Return the text a tag value is compared as, or `None` for one without (spec/sampling.md §7.3)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # more digits than Python converts
            return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None


def _tag_matches(value: object, glob: Glob) -> bool:
    if value is None:
        return False
    text = _comparable_text(value)
    return glob.is_any if text is None else glob.matches(text)
