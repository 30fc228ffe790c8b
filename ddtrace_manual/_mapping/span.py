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

from ddtrace_manual import _tags as tags
from ddtrace_manual._model import STATUS_ERROR, DDSpan, SpanRecord

from .attributes import format_value, number_of, text_of
from .events import map_events, map_links, write_error
from .names import STEERING, Names
from .rules import OWN_KEYS, TagRules, effective_resource
from .templates import FIELD_KEYS, KINDS, PlainKeys, ScopeEntry, Template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from .settings import MappingSettings

__all__ = ["SpanMapper"]

_MAX_NS = (1 << 63) - 1
_MAX_SCOPES = 256
_STATUS_DESCRIPTION = "otel.status_description"
_DATADOG_SERVICE = "datadog.service"
_DATADOG_ERROR = "datadog.error"
_OWN_METRICS = frozenset({tags.TOP_LEVEL, tags.PROCESS_ID, tags.MEASURED, tags.SAMPLING_PRIORITY, "_dd.apm.enabled"})
_PEER_SERVICE = "peer.service"
_PEER_SOURCES = ("messaging.kafka.bootstrap.servers", "db.name", "mongodb.db", "rpc.service", "out.host")
_PEER_KINDS = (SpanKind.CLIENT, SpanKind.PRODUCER)


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
        self._scopes: dict[int, ScopeEntry] = {}
        facade, otel = self.rules.facade_rules.keys, self.rules.otel_rules.keys
        ruled = OWN_KEYS | self.rules.constant_keys
        self._facade_keys = PlainKeys(ruled | facade, FIELD_KEYS)
        self._otel_keys = PlainKeys(ruled | otel | STEERING, FIELD_KEYS & otel)

    def map_span(self, span: SpanRecord, trace_id_low: int, shared_meta: Mapping[str, str]) -> DDSpan:
        """Return the Datadog span, without the tags of its chunk.

        Args:
            span: A finished span.
            trace_id_low: Low 64 bits of the trace id.
            shared_meta: Tags of every span of the trace, written over everything else.
        """
        values = span.values
        operation_name = span.operation_name
        entry = self._scopes.get(id(span.scope)) or self._add_scope(span.scope)
        if not entry.is_fast:
            return self._map_general(span, entry, trace_id_low, shared_meta)
        if values:
            keys = self._otel_keys if operation_name is None else self._facade_keys
            if not keys.plain.issuperset(values):
                if not keys.admit(values):
                    return self._map_general(span, entry, trace_id_low, shared_meta)
                if not keys.fields.isdisjoint(values):
                    return self._map_with_fields(span, entry, trace_id_low, shared_meta)
        # `_value_` and not `value`, which is a property written in Python (bench: ten-span).
        variant = span.otel_kind._value_ * 6 + span.status_code * 2 + span.is_local_root
        template = entry.templates[variant] or self._add_template(entry, entry.service, variant)
        meta = template.meta.copy()
        metrics = template.metrics.copy()
        if values and not _write_plain(meta, metrics, values):
            return self._map_general(span, entry, trace_id_low, shared_meta)
        meta.update(shared_meta)
        dd_span: DDSpan = {
            "service": entry.service,
            "name": template.operation_name,
            "resource": span.otel_name,
            "type": template.span_type,
            "trace_id": trace_id_low,
            "span_id": span.span_id,
            "meta": meta,
            "metrics": metrics,
        }
        if operation_name is not None:
            dd_span["name"] = operation_name
            del dd_span["type"]
        self._complete(dd_span, span, entry)
        return dd_span

    def _map_with_fields(
        self, span: SpanRecord, entry: ScopeEntry, trace_id_low: int, shared_meta: Mapping[str, str]
    ) -> DDSpan:
        """The fast path for spans with `service.name`, `resource.name` or `span.type`."""
        values: Mapping[str, Any] = span.values  # type: ignore[assignment] # the caller looked; Any: any type
        own_service = text_of(values, tags.SERVICE_NAME)
        service = self.names.service_name(span)
        variant = span.otel_kind._value_ * 6 + span.status_code * 2 + span.is_local_root
        templates = entry.by_service.get(service) or entry.add_service(service)
        template = templates[variant] or self._add_template(entry, service, variant)
        meta = template.meta.copy()
        metrics = template.metrics.copy()
        if not _write_plain(meta, metrics, values):
            return self._map_general(span, entry, trace_id_low, shared_meta)
        for key in FIELD_KEYS:
            meta.pop(key, None)
            metrics.pop(key, None)
        if own_service and tags.SERVICE_SOURCE not in meta:
            meta[tags.SERVICE_SOURCE] = "m"
        meta.update(shared_meta)
        is_facade = span.operation_name is not None
        dd_span: DDSpan = {
            "service": service,
            "name": span.operation_name if span.operation_name is not None else template.operation_name,
            "resource": text_of(values, tags.RESOURCE_NAME) or span.otel_name,
            "trace_id": trace_id_low,
            "span_id": span.span_id,
            "meta": meta,
            "metrics": metrics,
        }
        span_type = text_of(values, tags.SPAN_TYPE) or ("" if is_facade else template.span_type)
        if span_type:
            dd_span["type"] = span_type
        self._complete(dd_span, span, entry)
        return dd_span

    def _map_general(
        self, span: SpanRecord, entry: ScopeEntry, trace_id_low: int, shared_meta: Mapping[str, str]
    ) -> DDSpan:
        """The general path: all rules."""
        names = self.names
        values = span.values
        service = names.service_name(span)
        meta, metrics = self.rules.write(span, service, entry.before, entry.after)
        if tags.SERVICE_SOURCE not in meta and values and self._is_named_by_hand(span, values):
            meta[tags.SERVICE_SOURCE] = "m"
        meta.update(shared_meta)
        dd_span: DDSpan = {
            "service": service,
            "name": names.operation_name(span),
            "resource": names.resource_name(span),
            "trace_id": trace_id_low,
            "span_id": span.span_id,
            "meta": meta,
            "metrics": metrics,
        }
        span_type = names.span_type(span)
        if span_type:
            dd_span["type"] = span_type
        self._complete(dd_span, span, entry)
        if values and _DATADOG_ERROR in values:
            _override_error(dd_span, number_of(values, _DATADOG_ERROR))
        _separate(meta, metrics)
        return dd_span

    def _is_named_by_hand(self, span: SpanRecord, values: Mapping[str, Any]) -> bool:  # Any: any attribute value
        """Tell whether an attribute of the span names its service."""
        if text_of(values, _DATADOG_SERVICE):
            return True
        return self.names.is_reserved_active(span) and bool(text_of(values, tags.SERVICE_NAME))

    # --- common to all paths -----------------------------------------------------------------------------------------

    def _complete(self, dd_span: DDSpan, span: SpanRecord, entry: ScopeEntry) -> None:
        """Add times, parent, top level, links, events and errors."""
        start_ns, end_ns = span.start_ns, span.end_ns
        if end_ns is not None and 0 <= start_ns <= end_ns <= _MAX_NS:
            dd_span["start"] = start_ns
            dd_span["duration"] = end_ns - start_ns
        else:
            _write_odd_times(dd_span, start_ns, end_ns)
        if span.parent_id:
            dd_span["parent_id"] = span.parent_id
        if span.is_local_root:
            if self._hostname and not span.parent_id:
                dd_span["meta"][tags.HOSTNAME] = self._hostname
        else:
            parent = span.local_parent
            if parent is not None and self._is_other_service(parent, span, dd_span["service"], entry):
                dd_span["metrics"][tags.TOP_LEVEL] = 1.0
        if span.link_records:
            dd_span["span_links"] = map_links(span.link_records)
        if span.event_records:
            dd_span["span_events"] = map_events(span.event_records, dd_span["meta"])
        if span.status_code == STATUS_ERROR:
            self._write_error(dd_span, span)
        if self._peer_defaults and span.otel_kind in _PEER_KINDS:
            self._write_peer_service(dd_span["meta"])

    def _is_other_service(self, parent: SpanRecord, span: SpanRecord, service: str, entry: ScopeEntry) -> bool:
        """Tell whether the parent has another service; look closely only when something may say so."""
        if service == entry.service and parent.scope is span.scope:
            values = parent.values
            if not values or (tags.SERVICE_NAME not in values and _DATADOG_SERVICE not in values):
                return False
        return self.names.service_name(parent) != service

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
            source = next((key for key in _PEER_SOURCES if meta.get(key)), "")
            if not source:
                return
            peer = meta[_PEER_SERVICE] = meta[source]
        meta["_dd.peer.service.source"] = source
        remapped = self._peer_mapping.get(peer)
        if remapped:
            meta["_dd.peer.service.remapped_from"] = peer
            meta[_PEER_SERVICE] = remapped

    # --- caches ------------------------------------------------------------------------------------------------------

    def _add_scope(self, scope: InstrumentationScope | None) -> ScopeEntry:
        if len(self._scopes) >= _MAX_SCOPES:
            self._scopes = {}
        probe = SpanRecord()
        probe.scope = scope
        entry = ScopeEntry(
            scope,
            self.names.service_name(probe),
            self.rules.tags_before(scope),
            self.rules.tags_after(scope),
            is_fast=self._fast and not (scope is not None and scope.attributes),
        )
        self._scopes[id(scope)] = entry
        return entry

    def _add_template(self, entry: ScopeEntry, service: str, variant: int) -> Template:
        """Make the template of a variant by mapping a span without attributes."""
        probe = SpanRecord()
        probe.scope = entry.scope
        probe.otel_kind = KINDS[variant // 6]
        probe.status_code = variant // 2 % 3
        probe.is_local_root = bool(variant % 2)
        meta, metrics = self.rules.write(probe, service, entry.before, entry.after)
        template = Template(meta, metrics, self.names.operation_name(probe), self.names.span_type(probe))
        entry.by_service.get(service, entry.templates)[variant] = template
        return template


def _write_plain(meta: dict[str, str], metrics: dict[str, float], values: Mapping[str, Any]) -> bool:
    """Write attributes that need no rule; return `False` when one is neither text nor a finite number."""
    try:
        for key, value in values.items():
            kind = type(value)
            if kind is str:
                meta[key] = value
            elif kind is int:
                metrics[key] = float(value)
            elif kind is bool:
                meta[key] = "true" if value else "false"
            elif kind is float and value - value == 0.0:
                metrics[key] = value
            else:
                return False
    except OverflowError:  # an integer too large for a float
        return False
    return True


def _write_odd_times(dd_span: DDSpan, start_ns: int, end_ns: int | None) -> None:
    """Write times that are before 1970, turned round, or too large (§2)."""
    duration = 0 if end_ns is None else end_ns - start_ns
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


def _separate(meta: dict[str, str], metrics: dict[str, float]) -> None:
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
