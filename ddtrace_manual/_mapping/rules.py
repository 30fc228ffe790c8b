"""The tags of one span, rule after rule in the order of the specification.

Decisions where the specification leaves room:

* A version that the span itself names (`datadog.version`, `version`, `service.version`) beats the
  configured one, which beats `service.version` of the resource.
* Global tags beat attributes of the OpenTelemetry resource and of the scope; span attributes beat all three.
* With OpenTelemetry semantics no attribute is renamed and `env`, `version` come from attributes only.

Source: spec/span-mapping.md §5, §6, §12; spec/sampling.md §7.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from ddtrace_manual._base import tags
from ddtrace_manual._base.values import clean_value

from .attributes import (
    CONTAINERS,
    DATADOG_HTTP_STATUS,
    HTTP_STATUS,
    OTEL_HTTP_STATUS,
    RESERVED,
    Rules,
    aliases_of,
    format_value,
    http_status_of,
    text_of,
)
from .names import KIND_NAMES

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ddtrace_manual._model import SpanRecord

    from .names import Names
    from .settings import MappingSettings

__all__ = ["OWN_KEYS", "TagRules", "effective_resource"]

_Values = Mapping[str, Any]  # Any: attribute values are of any type
_NO_VALUES: _Values = {}

_OVERRIDES = (
    ("datadog.env", tags.ENV),
    ("datadog.version", tags.VERSION),
    (DATADOG_HTTP_STATUS, HTTP_STATUS),
    ("datadog.error.msg", tags.ERROR_MESSAGE),
    ("datadog.error.type", tags.ERROR_TYPE),
    ("datadog.error.stack", tags.ERROR_STACK),
)
_OVERRIDE_KEYS = frozenset(key for key, _ in _OVERRIDES)
_STATUS_KEYS = frozenset({DATADOG_HTTP_STATUS, OTEL_HTTP_STATUS, HTTP_STATUS})
_SETTING_TAGS = frozenset(
    {"service", tags.ENV, tags.VERSION, "git.repository_url", "git.commit.sha", "python_main_package"}
)
"""Global tags that stand for a setting (§12) or for git metadata (§11.1)."""

_SCOPE_NAME = "otel.scope.name"
_SCOPE_VERSION = "otel.scope.version"
_STATUS_CODE = "otel.status_code"
_STATUS_NAMES = ("Unset", "Ok", "Error")
_SDK_NAME = "telemetry.sdk.name"
_SDK_VERSION = "telemetry.sdk.version"
_ENVIRONMENT = "deployment.environment.name"
_ENVIRONMENT_KEYS = ("datadog.env", _ENVIRONMENT, "deployment.environment")
_APM_ENABLED = "_dd.apm.enabled"

OWN_KEYS = frozenset(
    {
        tags.EVENTS,
        tags.LANGUAGE,
        tags.LIBRARY_TOP_LEVEL,
        tags.OTEL_TRACE_ID,
        tags.PROCESS_ID,
        tags.RUNTIME_ID,
        tags.SAMPLING_PRIORITY,
        tags.SERVICE_VERSION,
        tags.SPAN_KIND,
        _SCOPE_NAME,
        _SCOPE_VERSION,
        _STATUS_CODE,
        "otel.status_description",
        _SDK_NAME,
        _SDK_VERSION,
        "w3c.tracestate",
    }
)
"""Tags that the mapping itself writes or statistics count by, besides `_dd…`: an attribute of that name needs the
rules, and its span a dictionary."""


class TagRules:
    """The tag rules for one set of settings. Immutable, thread-safe.

    Args:
        settings: Constants of the process.
        names: Naming rules for the same settings.
        otel_resource: Attributes of the resource, see `effective_resource`.
    """

    def __init__(self, settings: MappingSettings, names: Names, otel_resource: _Values) -> None:
        self._names = names
        self._otel_semantics = settings.otel_semantics
        rename = not settings.otel_semantics
        self.facade_rules = Rules(rename=rename)
        self.otel_rules = Rules(rename=rename, reserved=rename)
        self._env = _first_text(otel_resource, _ENVIRONMENT_KEYS) if rename else ""
        self._version = format_value(settings.version or settings.tags.get(tags.VERSION) or "") if rename else ""
        self._resource_version = text_of(otel_resource, tags.SERVICE_VERSION) if rename else ""
        self._resource_meta: dict[str, str] = {}
        self._early_metrics: dict[str, float] = {}
        self._resource_guarded: set[str] = set()
        texts = {key: format_value(value) for key, value in otel_resource.items() if value is not None}
        self.facade_rules.write(self._resource_meta, self._early_metrics, texts, self._resource_guarded)
        self._tags_meta: dict[str, str] = {}
        plain_tags = {key: value for key, value in settings.tags.items() if key not in _SETTING_TAGS}
        self.facade_rules.write(self._tags_meta, self._early_metrics, plain_tags, set())
        self._late_meta = {_SDK_NAME: "datadog", _SDK_VERSION: settings.tracer_version}
        self._late_metrics = {} if settings.apm_tracing_enabled else {_APM_ENABLED: 0.0}
        self._root_meta = {tags.RUNTIME_ID: settings.runtime_id} if settings.runtime_id else {}
        self._root_metrics = {tags.TOP_LEVEL: 1.0}
        if settings.process_id:
            self._root_metrics[tags.PROCESS_ID] = float(settings.process_id)
        self.constant_keys = frozenset(self._resource_meta) | self._tags_meta.keys() | self._early_metrics.keys()
        """Keys that spans carry by themselves and attributes may overwrite."""

    def tags_before(self, scope: InstrumentationScope | None) -> dict[str, str]:
        """Return what attributes may overwrite: resource, then scope (§5 steps 2, 3), then global tags."""
        meta = self._resource_meta.copy()
        if scope is not None and scope.attributes:
            for key, value in scope.attributes.items():
                if key not in RESERVED and value is not None:
                    meta[key] = format_value(value)
        meta.update(self._tags_meta)
        for key in self._early_metrics:
            meta.pop(key, None)
        return meta

    def tags_after(self, scope: InstrumentationScope | None) -> dict[str, str]:
        """Return what is written over the attributes (§5 steps 11, 15)."""
        meta = self._late_meta.copy()
        if scope is not None and scope.name:
            meta[_SCOPE_NAME] = format_value(scope.name)
        if scope is not None and scope.version:
            meta[_SCOPE_VERSION] = format_value(scope.version)
        return meta

    def write(
        self, span: SpanRecord, service: str, before: dict[str, str], after: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, float]]:
        """Return `meta` and `metrics` of a span without events, errors and what depends on its chunk.

        Args:
            span: A finished span.
            service: Its resolved service.
            before: `tags_before` of its scope.
            after: `tags_after` of its scope.
        """
        values = span.values or _NO_VALUES
        meta = before.copy()
        metrics = self._early_metrics.copy()
        kind = span.otel_kind
        kind_name = KIND_NAMES[kind._value_]
        meta[tags.SPAN_KIND] = kind_name
        if kind is SpanKind.CLIENT or kind is SpanKind.PRODUCER:
            metrics[tags.MEASURED] = 1.0
        if values:
            kind_name = text_of(values, "datadog.span.kind") or kind_name
            blocked = self._resource_guarded.copy()
            self._write_overrides(meta, values, blocked)
            rules = self.facade_rules if self._names.is_reserved_active(span) else self.otel_rules
            rules.write(meta, metrics, values, blocked)
            if tags.SPAN_KIND not in meta or "datadog.span.kind" in values:
                meta[tags.SPAN_KIND] = kind_name
        self._write_version_and_env(meta, metrics, values, service)
        if service.lower() != self._names.configured_service.lower():
            meta[tags.BASE_SERVICE] = self._names.configured_service
        meta.update(after)
        meta[_STATUS_CODE] = _STATUS_NAMES[span.status_code]
        metrics.update(self._late_metrics)
        if span.is_local_root:
            meta.update(self._root_meta)
            metrics.update(self._root_metrics)
        return meta, metrics

    def tag(self, span: SpanRecord, key: str) -> str | bool | float | None:  # noqa: PLR0911 - one return per source
        """Return what a sampling rule on a tag compares: the raw value of a scalar, `None` when there is none.

        Attributes count under either spelling; the resource, global tags and the final environment take part.

        Source: spec/sampling.md §7.3.
        """
        values = span.values or _NO_VALUES
        if key in _STATUS_KEYS:
            code = http_status_of(values)
            if code:
                return code
        if key == tags.ENV:
            return self._env_of(values) or None
        if key == tags.VERSION:
            return self._version_of(span, values) or None
        for spelling in (key, aliases_of(key)):
            if spelling is not None and spelling in values:
                return _scalar(values[spelling])
        if key == tags.SPAN_KIND:
            return KIND_NAMES[span.otel_kind.value]
        number = self._early_metrics.get(key)
        if number is not None:
            return number
        constants = {**self.tags_before(span.scope), **self.tags_after(span.scope)}
        return constants.get(key, constants.get(aliases_of(key) or key))

    def _write_overrides(self, meta: dict[str, str], values: _Values, blocked: set[str]) -> None:
        """Explicit `datadog.*` attributes and the HTTP status (§5 step 1, §6); they cannot be overwritten."""
        if not _OVERRIDE_KEYS.isdisjoint(values):
            for key, tag in _OVERRIDES:
                text = text_of(values, key)
                if text and text != "0":
                    meta[tag] = text
                    blocked.add(tag)
        if not self._otel_semantics and not _STATUS_KEYS.isdisjoint(values):
            code = http_status_of(values)
            if code:
                meta[HTTP_STATUS] = str(code)
                blocked.add(HTTP_STATUS)

    def _write_version_and_env(
        self, meta: dict[str, str], metrics: dict[str, float], values: _Values, service: str
    ) -> None:
        if self._otel_semantics:
            return
        if tags.ENV not in meta and tags.ENV not in metrics and self._env:
            meta[tags.ENV] = self._env
        if self._span_names_version(values):
            return
        version = text_of(values, tags.SERVICE_VERSION) or self._version_of_service(service)
        if not version and not meta.get(tags.VERSION):
            version = self._resource_version
        if version:
            meta[tags.VERSION] = version
            metrics.pop(tags.VERSION, None)

    def _span_names_version(self, values: _Values) -> bool:
        """Tell whether an attribute decided `version` already; one on the resource hides the plain spelling."""
        if text_of(values, "datadog.version"):
            return True
        return tags.VERSION not in self._resource_guarded and bool(text_of(values, tags.VERSION))

    def _version_of_service(self, service: str) -> str:
        return self._version if service == self._names.configured_service else ""

    def _env_of(self, values: _Values) -> str:
        explicit = text_of(values, "datadog.env") or self._resource_meta.get(tags.ENV) or text_of(values, tags.ENV)
        return explicit or self._env

    def _version_of(self, span: SpanRecord, values: _Values) -> str:
        explicit = text_of(values, "datadog.version")
        if not explicit and tags.VERSION not in self._resource_guarded:
            explicit = text_of(values, tags.VERSION)
        if self._otel_semantics:
            return explicit or self._resource_meta.get(tags.VERSION, "")
        found = explicit or text_of(values, tags.SERVICE_VERSION)
        found = found or self._version_of_service(self._names.service_name(span))
        return found or self._resource_meta.get(tags.VERSION) or self._resource_version


def effective_resource(settings: MappingSettings) -> dict[str, Any]:  # Any: attribute values are of any type
    """Return the resource attributes with the configured environment, unless they name one (§12)."""
    otel_resource = {key: value for key, value in settings.resource_attributes.items() if value is not None}
    env = settings.env or settings.tags.get(tags.ENV)
    if env and not text_of(otel_resource, _ENVIRONMENT):
        otel_resource[_ENVIRONMENT] = env
    return otel_resource


def _first_text(values: _Values, keys: tuple[str, ...]) -> str:
    for key in keys:
        text = text_of(values, key)
        if text:
            return text
    return ""


def _scalar(value: Any) -> str | bool | float | None:  # Any: attribute values are of any type
    cleaned = clean_value(value)
    if cleaned is None or type(cleaned) in CONTAINERS:
        return None
    return cleaned if type(cleaned) in (str, bool, int, float) else format_value(cleaned)
