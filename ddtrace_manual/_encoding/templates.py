"""What lets most spans skip the rules: templates of variants of spans, and attribute keys known to be plain.

Caches are bounded and start again when full; entries never change once they are visible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from ddtrace_manual._base import tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from .trace_tags import EncodedTags
    from .v04_writer import Beginnings

__all__ = ["FIELD_KEYS", "KINDS", "MAX_SERVICES", "VARIANTS", "PlainKeys", "ScopeEntry", "ServiceTemplates", "Template"]

KINDS = tuple(sorted(SpanKind, key=lambda kind: kind.value))
VARIANTS = len(KINDS) * 3 * 2
"""Variants of spans: kind x status x local root or not; the number is `kind * 6 + status * 2 + root`."""
MAX_SERVICES = 256
"""Services per scope with templates of their own."""
MAX_SERVICE_CHARS = 1_000
"""Templates for longer names of services are not kept."""
MAX_PLAIN_KEYS = 10_000
MAX_PLAIN_KEY_CHARS = 1_000

FIELD_KEYS = frozenset({tags.SERVICE_NAME, tags.RESOURCE_NAME, tags.SPAN_TYPE})
"""Reserved attributes that the fast path understands."""


class Template:
    """What spans of one variant have in common: dictionaries to copy, never to change."""

    __slots__ = (
        "beginnings",
        "extra",
        "extra_beginnings",
        "head",
        "head_with_type",
        "meta",
        "metrics",
        "numbers",
        "operation_name",
        "service",
        "span_type",
        "texts",
    )
    beginnings: Beginnings
    extra_beginnings: Beginnings

    def __init__(
        self, service: str, meta: dict[str, str], metrics: dict[str, float], operation_name: str, span_type: str
    ) -> None:
        self.service = service
        self.meta = meta
        self.metrics = metrics
        self.operation_name = operation_name
        self.span_type = span_type
        # The same as bytes, for `SpanWriter`, which fills them in when first needed.
        self.head = b""
        self.head_with_type = b""
        self.texts = b""
        self.numbers = b""
        self.extra: EncodedTags | None = None  # those that the last span had which had some


class ServiceTemplates:
    """Templates of the spans of one scope and service, by variant; `None` until needed."""

    __slots__ = ("service", "templates")

    def __init__(self, service: str) -> None:
        self.service = service
        self.templates: list[Template | None] = [None] * VARIANTS


class ScopeEntry:
    """Constants and templates of one instrumentation scope.

    Attributes:
        scope: The scope; held, so that its `id()` stays taken while the entry is cached.
        before: Tags that attributes may overwrite.
        after: Tags written over the attributes.
        fields: Reserved attributes of the scope (`names.scope_fields`).
        is_fast: Spans of this scope may take the fast path.
        default: Templates of spans that name no service.
        by_service: Templates of spans that name one, by the name as given (before service mapping).
    """

    __slots__ = ("after", "before", "by_service", "default", "fields", "is_fast", "scope")

    def __init__(
        self,
        scope: InstrumentationScope | None,
        service: str,
        before: dict[str, str],
        after: dict[str, str],
        fields: dict[str, str],
        *,
        is_fast: bool,
    ) -> None:
        self.scope = scope
        self.before = before
        self.after = after
        self.fields = fields
        self.is_fast = is_fast
        self.default = ServiceTemplates(service)
        self.by_service: dict[str, ServiceTemplates] = {}

    def add_service(self, own_service: str, service: str) -> ServiceTemplates:
        """Return the (still empty) templates for spans that name `own_service`, reported as `service`."""
        templates = ServiceTemplates(service)
        if len(own_service) <= MAX_SERVICE_CHARS:
            if len(self.by_service) >= MAX_SERVICES:
                self.by_service = {}
            self.by_service[own_service] = templates
        return templates


class PlainKeys:
    """Attribute keys known to need no rule; learnt from the spans.

    Args:
        ruled: Keys that need a rule.
        ruled_prefixes: What other keys that need a rule start with.
        fields: Keys that fill a field of the span, which the fast path does by itself.

    Attributes:
        plain: Known keys that simply become tags.
        wide: The same and `fields`.
        encoded: Plain keys in msgpack form, for `SpanWriter`, which bounds and fills it; `None` for fields.
    """

    __slots__ = ("_ruled", "_ruled_prefixes", "encoded", "fields", "plain", "wide")

    def __init__(self, ruled: frozenset[str], ruled_prefixes: tuple[str, ...], fields: frozenset[str]) -> None:
        self._ruled_prefixes = ruled_prefixes
        self._ruled = ruled - fields
        self.fields = fields
        self._forget()

    def _forget(self) -> None:
        self.forget_encoded()
        self.plain: set[str] = {tags.SERVICE_SOURCE}
        self.wide: set[str] = self.plain | self.fields

    def forget_encoded(self) -> None:
        """Start again with the encoded forms."""
        self.encoded: dict[str, bytes | None] = dict.fromkeys(self.fields)

    def admit(self, values: Mapping[str, Any]) -> bool:  # Any: attribute values are of any type
        """Tell whether every key is plain or fills a field; learn new ones."""
        if self.wide.issuperset(values):
            return True
        if not self._ruled.isdisjoint(values):
            return False
        if len(self.plain) > MAX_PLAIN_KEYS:
            self._forget()
        for key in values:
            if key in self.wide:
                continue
            if type(key) is not str or len(key) > MAX_PLAIN_KEY_CHARS or key.startswith(self._ruled_prefixes):
                return False
            self.plain.add(key)
            self.wide.add(key)
        return True
