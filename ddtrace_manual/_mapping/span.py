"""One finished span → one Datadog span.

Two paths give the same result; a property test holds them together:

* *fast*: the attributes are plain, so the span is a copy of a template plus its attributes as they are;
* *general*: every rule of the specification, in its order (`rules.py`).

A template is the general result for a span without attributes, made once per instrumentation scope,
kind, status, place (local root or not) and service.

Source: spec/span-mapping.md §2, §4, §11 (top level), §12 (peer service).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from ddtrace_manual._base import tags
from ddtrace_manual._encoding.templates import (
    FIELD_KEYS,
    KINDS,
    MAX_SERVICES,
    PlainKeys,
    ScopeEntry,
    ServiceTemplates,
    Template,
)
from ddtrace_manual._model import STATUS_ERROR, DDSpan, SpanRecord

from .attributes import RULED_PREFIXES, format_value, number_of, text_of
from .events import map_events, map_links, write_error
from .names import STEERING, Names, rpc_call, scope_fields
from .rules import OWN_KEYS, TagRules, effective_resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from .settings import MappingSettings

__all__ = ["SpanMapper", "separate"]

_NO_VALUES: Mapping[str, Any] = {}  # Any: attribute values are of any type
_SERVICE_NAME = tags.SERVICE_NAME
_OTEL_TRACE_ID = tags.OTEL_TRACE_ID
_MAX_NS = (1 << 63) - 1
_MAX_SCOPES = 256
_STATUS_DESCRIPTION = "otel.status_description"
_DATADOG_SERVICE = "datadog.service"
_DATADOG_ERROR = "datadog.error"
_OWN_METRICS = frozenset(
    {
        tags.AGENT_RATE,
        tags.LIMIT_RATE,
        tags.MEASURED,
        tags.PARTIAL_FLUSH,
        tags.PROCESS_ID,
        tags.RULE_RATE,
        tags.SAMPLING_PRIORITY,
        tags.TOP_LEVEL,
        "_dd.apm.enabled",
    }
)
_MARKS = frozenset({tags.MEASURED, tags.TOP_LEVEL, tags.LIBRARY_TOP_LEVEL})
"""Tags that make statistics count a span of any kind."""
_PEER_SERVICE = "peer.service"
_RPC_SERVICE = "rpc.service"
_PEER_SOURCES = ("messaging.kafka.bootstrap.servers", "db.name", "mongodb.db", _RPC_SERVICE, "out.host")
_PEER_KINDS = (SpanKind.CLIENT, SpanKind.PRODUCER)
_MAX_SERVICE_CHARS = 100
"""The Agent cuts longer service names; they are not remembered."""


class SpanMapper:
    """Maps single spans. Thread-safe: shared state is only caches whose entries never change.

    Args:
        settings: Constants of the process.
        fast: `False` sends every span down the general path (tests, comparison).
    """

    def __init__(self, settings: MappingSettings, *, fast: bool = True) -> None:
        otel_resource = effective_resource(settings)
        self.names = Names(settings, otel_resource)
        self.rules = TagRules(settings, self.names, otel_resource)
        self._otel_semantics = settings.otel_semantics
        self._peer_defaults = settings.peer_service_defaults
        self._peer_mapping = dict(settings.peer_service_mapping)
        self._hostname = settings.hostname
        self._fast = fast and not self.names.resource_steers
        self.scopes: dict[int, ScopeEntry] = {}
        self.named_services: dict[str, None] = {}
        """Services that spans named themselves, oldest first."""
        facade, otel = self.rules.facade_rules.keys, self.rules.otel_rules.keys
        ruled = OWN_KEYS | self.rules.constant_keys
        self.is_plain = (
            self._fast
            and not self._otel_semantics
            and not self._peer_defaults
            and _MARKS.isdisjoint(self.rules.constant_keys)
        )
        """Whether nothing in the settings makes every span take more than the fast path."""
        self.facade_keys = PlainKeys(ruled | facade, RULED_PREFIXES, FIELD_KEYS)
        self.otel_keys = PlainKeys(ruled | otel | STEERING, RULED_PREFIXES, FIELD_KEYS & otel)

    def map_span(  # noqa: C901, PLR0912, PLR0915 - the hot path: nothing is called that can be done in place (bench: ten-span)
        self, span: SpanRecord, trace_id_low: int, trace_id_text: str, shared_meta: Mapping[str, str] | None
    ) -> DDSpan:
        """Return the Datadog span, without the tags of its chunk.

        Args:
            span: A finished span.
            trace_id_low: Low 64 bits of the trace id.
            trace_id_text: The whole trace id in hexadecimal.
            shared_meta: Further tags of every span of the trace, written over everything else.
        """
        values = span.values
        operation_name = span.operation_name
        scope = span.scope
        entry = self.scopes.get(id(scope)) or self.entry_of(scope)
        if not entry.is_fast:
            return self._map_general(span, entry, trace_id_low, trace_id_text, shared_meta)
        common = entry.default
        own_service = fields = None
        if values:
            keys = self.otel_keys if operation_name is None else self.facade_keys
            if not keys.plain.issuperset(values):
                if not keys.admit(values):
                    return self._map_general(span, entry, trace_id_low, trace_id_text, shared_meta)
                fields = keys.fields
                own_service = values.get(_SERVICE_NAME) if fields else None
                if own_service is not None and type(own_service) is not str:
                    return self._map_general(span, entry, trace_id_low, trace_id_text, shared_meta)
                if own_service:
                    common = entry.by_service.get(own_service) or self._add_service(entry, own_service)
        status_code = span.status_code
        # `_value_` and not `value`, which is a property written in Python.
        variant = span.otel_kind._value_ * 6 + status_code * 2 + span.is_local_root
        template = common.templates[variant] or self._add_template(entry, common, variant)
        meta = template.meta.copy()
        metrics = template.metrics.copy()
        if values:
            try:
                for key, value in values.items():
                    kind = type(value)
                    if kind is str:
                        meta[key] = value
                    elif kind is int:
                        metrics[key] = float(value)
                    elif kind is bool:
                        meta[key] = "true" if value else "false"
                    elif kind is float and value - value == 0.0:  # finite
                        metrics[key] = value
                    else:
                        return self._map_general(span, entry, trace_id_low, trace_id_text, shared_meta)
            except OverflowError:  # an integer too large for a float
                return self._map_general(span, entry, trace_id_low, trace_id_text, shared_meta)
        meta[_OTEL_TRACE_ID] = trace_id_text
        if shared_meta:
            meta.update(shared_meta)
        start_ns = span.start_ns
        duration = (span.end_ns or 0) - start_ns
        dd_span: DDSpan = {
            "service": common.service,
            "name": template.operation_name if operation_name is None else operation_name,
            "resource": span.otel_name,
            "trace_id": trace_id_low,
            "span_id": span.span_id,
            "parent_id": span.parent_id,
            "start": start_ns,
            "duration": duration,
            "meta": meta,
            "metrics": metrics,
        }
        if operation_name is None:
            dd_span["type"] = template.span_type
        if fields:
            _fill_fields(dd_span, values, fields)  # type: ignore[arg-type] # fields come from values
        if duration < 0 or start_ns < 0 or start_ns + duration > _MAX_NS:
            _write_times(dd_span, span)
        parent = span.local_parent
        if parent is None or span.is_local_root:
            self._complete_root(dd_span, span)
        else:
            parent_values = parent.values or _NO_VALUES
            # Identity: a service taken over from the parent is the same object; anything else is looked at closely.
            if (
                parent_values.get(_SERVICE_NAME) is not own_service
                or parent.scope is not scope
                or _DATADOG_SERVICE in parent_values
                or self._otel_semantics
            ):
                self._compare_services(dd_span, parent)
        if span.event_records or span.link_records or status_code == STATUS_ERROR or self._peer_defaults:
            self._add_details(dd_span, span)
        return dd_span

    def _map_general(
        self,
        span: SpanRecord,
        entry: ScopeEntry,
        trace_id_low: int,
        trace_id_text: str,
        shared_meta: Mapping[str, str] | None,
    ) -> DDSpan:
        """The general path: all rules."""
        names = self.names
        values = span.values
        of_scope = entry.fields
        service = names.service_name(span, of_scope)
        if service not in self.named_services:
            self._note_service(service)
        meta, metrics = self.rules.write(span, service, entry.before, entry.after)
        if tags.SERVICE_SOURCE not in meta and values and self._is_named_by_hand(span, values):
            meta[tags.SERVICE_SOURCE] = "m"
        meta[_OTEL_TRACE_ID] = trace_id_text
        if shared_meta:
            meta.update(shared_meta)
        dd_span: DDSpan = {
            "service": service,
            "name": names.operation_name(span, of_scope),
            "resource": names.resource_name(span, of_scope),
            "trace_id": trace_id_low,
            "span_id": span.span_id,
            "parent_id": span.parent_id,
            "start": 0,
            "duration": 0,
            "meta": meta,
            "metrics": metrics,
        }
        span_type = names.span_type(span, of_scope)
        if span_type:
            dd_span["type"] = span_type
        _write_times(dd_span, span)
        if span.is_local_root or span.local_parent is None:
            self._complete_root(dd_span, span)
        else:
            self._compare_services(dd_span, span.local_parent)
        self._add_details(dd_span, span)
        if values and _DATADOG_ERROR in values:
            _override_error(dd_span, number_of(values, _DATADOG_ERROR))
        separate(meta, metrics)
        return dd_span

    def _is_named_by_hand(self, span: SpanRecord, values: Mapping[str, Any]) -> bool:  # Any: any attribute value
        """Tell whether an attribute of the span names its service."""
        if text_of(values, _DATADOG_SERVICE):
            return True
        return self.names.is_reserved_active(span) and bool(text_of(values, tags.SERVICE_NAME))

    # --- common to both paths ----------------------------------------------------------------------------------------

    def _complete_root(self, dd_span: DDSpan, span: SpanRecord) -> None:
        """Finish a span whose parent is not known here."""
        if span.parent_id:
            return
        del dd_span["parent_id"]
        if self._hostname and span.is_local_root:
            dd_span["meta"][tags.HOSTNAME] = self._hostname

    def _compare_services(self, dd_span: DDSpan, parent: SpanRecord) -> None:
        """Mark a span as top level when its service is not that of its parent (§11)."""
        of_scope = (self.scopes.get(id(parent.scope)) or self.entry_of(parent.scope)).fields
        if self.names.service_name(parent, of_scope) != dd_span["service"]:
            dd_span["metrics"][tags.TOP_LEVEL] = 1.0

    def _add_details(self, dd_span: DDSpan, span: SpanRecord) -> None:
        """Add links, events, errors and the peer service."""
        if span.link_records:
            dd_span["span_links"] = map_links(span.link_records)
        if span.event_records:
            dd_span["span_events"] = map_events(span.event_records, dd_span["meta"])
        if span.status_code == STATUS_ERROR:
            self._write_error(dd_span, span)
        if self._peer_defaults and span.otel_kind in _PEER_KINDS:
            self._write_peer_service(dd_span["meta"])

    def _write_error(self, dd_span: DDSpan, span: SpanRecord) -> None:
        meta = dd_span["meta"]
        dd_span["error"] = 1
        if span.status_description:
            meta[_STATUS_DESCRIPTION] = format_value(span.status_description)
        write_error(span, meta, dd_span["metrics"], otel_semantics=self._otel_semantics)

    def _write_peer_service(self, meta: dict[str, str]) -> None:
        """Derive `peer.service` (§12, peer service)."""
        source = _PEER_SERVICE
        peer = meta.get(_PEER_SERVICE)
        if not peer:
            source, peer = _find_peer(meta)
            if not peer:
                return
            meta[_PEER_SERVICE] = peer
        meta["_dd.peer.service.source"] = source
        remapped = self._peer_mapping.get(peer)
        if remapped:
            meta["_dd.peer.service.remapped_from"] = peer
            meta[_PEER_SERVICE] = remapped

    # --- caches ------------------------------------------------------------------------------------------------------

    def entry_of(self, scope: InstrumentationScope | None) -> ScopeEntry:
        """Return constants and templates of a scope."""
        if len(self.scopes) >= _MAX_SCOPES:
            self.scopes.clear()
        probe = SpanRecord()
        probe.scope = scope
        entry = ScopeEntry(
            scope,
            self.names.service_name(probe),
            self.rules.tags_before(scope),
            self.rules.tags_after(scope),
            scope_fields(scope),
            is_fast=self._fast and not (scope is not None and scope.attributes),
        )
        self.scopes[id(scope)] = entry
        return entry

    def template_of(self, scope: InstrumentationScope | None, own_service: object, variant: int) -> Template | None:
        """Return the template of a span; `None` when it must take the general path.

        Args:
            scope: Its instrumentation scope.
            own_service: The service that its attributes name, or `None`.
            variant: See `templates.VARIANTS`.
        """
        entry = self.scopes.get(id(scope)) or self.entry_of(scope)
        if not entry.is_fast:
            return None
        common = entry.default
        if own_service is not None:
            if type(own_service) is not str or not own_service:
                return None
            common = entry.by_service.get(own_service) or self._add_service(entry, own_service)
        return common.templates[variant] or self._add_template(entry, common, variant)

    def _add_service(self, entry: ScopeEntry, own_service: str) -> ServiceTemplates:
        probe = SpanRecord()
        probe.operation_name = ""  # the facade's reserved attributes always count
        probe.values = {_SERVICE_NAME: own_service}
        service = self.names.service_name(probe)
        self._note_service(service)
        return entry.add_service(own_service, service)

    def _note_service(self, service: str) -> None:
        if len(self.named_services) < MAX_SERVICES and len(service) <= _MAX_SERVICE_CHARS:
            self.named_services[service] = None

    def _add_template(self, entry: ScopeEntry, common: ServiceTemplates, variant: int) -> Template:
        """Make the template of a variant by mapping a span without attributes."""
        probe = SpanRecord()
        probe.scope = entry.scope
        probe.otel_kind = KINDS[variant // 6]
        probe.status_code = variant // 2 % 3
        probe.is_local_root = bool(variant % 2)
        meta, metrics = self.rules.write(probe, common.service, entry.before, entry.after)
        template = Template(
            common.service, meta, metrics, self.names.operation_name(probe), self.names.span_type(probe)
        )
        common.templates[variant] = template
        return template


def _fill_fields(dd_span: DDSpan, values: Mapping[str, Any], fields: frozenset[str]) -> None:
    """Move reserved attributes, which were written as tags, to their fields (fast path)."""
    meta, metrics = dd_span["meta"], dd_span["metrics"]
    for key in fields:
        if key in meta:
            del meta[key]
        elif key in metrics:
            del metrics[key]
    if tags.SERVICE_SOURCE not in meta and text_of(values, tags.SERVICE_NAME):
        meta[tags.SERVICE_SOURCE] = "m"
        metrics.pop(tags.SERVICE_SOURCE, None)
    resource_name = text_of(values, tags.RESOURCE_NAME)
    if resource_name:
        dd_span["resource"] = resource_name
    span_type = text_of(values, tags.SPAN_TYPE)
    if span_type:
        dd_span["type"] = span_type


def _find_peer(meta: Mapping[str, str]) -> tuple[str, str]:
    """Return the tag that names the service called, and its value; "" when there is none."""
    for source in _PEER_SOURCES:
        peer = rpc_call(meta)[0] if source == _RPC_SERVICE else meta.get(source, "")
        if peer:
            return source, peer
    return "", ""


def _write_times(dd_span: DDSpan, span: SpanRecord) -> None:
    """Write times; those before 1970, turned round or too large become 0 (§2)."""
    start_ns = span.start_ns
    duration = 0 if span.end_ns is None else span.end_ns - start_ns
    dd_span["start"] = start_ns if 0 <= start_ns <= _MAX_NS else 0
    dd_span["duration"] = duration if 0 <= duration <= _MAX_NS else 0


def _override_error(dd_span: DDSpan, error: int | None) -> None:
    """An explicit `datadog.error` is final (§8)."""
    if error is None:
        return
    if error:
        dd_span["error"] = 1
    else:
        dd_span.pop("error", None)


def separate(meta: dict[str, str], metrics: dict[str, float]) -> None:
    """Keep every key in one map: a number that an attribute left under a name the mapping wrote as text goes.

    The numbers the mapping itself writes stay.
    """
    if meta.keys().isdisjoint(metrics):
        return
    for key in meta.keys() & metrics.keys():
        if key in _OWN_METRICS:
            del meta[key]
        else:
            del metrics[key]
