"""All styles together: what is read from a carrier in which order, and what is written into it.

    extract: headers → one context per style → resolve → organisation guard → restart → RemoteContext
    inject:  ids and state of a trace → headers of every style → carrier

Source: spec/propagation.md §10-§12, §15, §16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import NamedTuple, Protocol

from opentelemetry.propagators.textmap import default_setter

from ddtrace_manual._base import tags as _tags
from ddtrace_manual._base.log import get_logger
from ddtrace_manual._model import PropagationState, RemoteContext

from . import _b3, _baggage, _datadog, _tracecontext
from ._carriers import AnyGetter, AnySetter, Carrier, CarrierReader, write_headers
from ._repeated import RepeatedHeaders
from ._resolution import distrust, is_trusted, organisation_marker, resolve, restart
from ._settings import B3, B3_MULTI, BAGGAGE, DATADOG, TRACECONTEXT, PropagationSettings
from ._tracecontext import complete_same_span

__all__ = ["Extraction", "Propagator"]

_log = get_logger("propagation")

_FIELDS: Mapping[str, tuple[str, ...]] = {
    DATADOG: _datadog.FIELDS,
    TRACECONTEXT: _tracecontext.FIELDS,
    B3: _b3.SINGLE_FIELDS,
    B3_MULTI: _b3.MULTI_FIELDS,
    BAGGAGE: _baggage.FIELDS,
}
_TRACE_STYLES = (DATADOG, B3_MULTI, B3, TRACECONTEXT)
"""In the order of injection (§12)."""


_EXTRACTED = "context_header_style.extracted"
_INJECTED = "context_header_style.injected"

_Extractor = Callable[[Mapping[str, str]], RemoteContext | None]


class _Injector(Protocol):
    """What every wire format offers for writing."""

    def __call__(
        self,
        trace_id: int,
        span_id: int,
        state: PropagationState,
        headers: MutableMapping[str, str],
        *,
        tags: Mapping[str, str] | None,
    ) -> None: ...


class Extraction(NamedTuple):
    """What a carrier held."""

    remote: RemoteContext | None
    """The context, or `None` when no trace was found or nothing may be extracted."""
    baggage: _baggage.Items
    """Value and metadata by key."""


def _no_marker() -> str | None:
    return None


def _no_count(_name: str, _tag: str) -> None:
    pass


def _tag(style: str) -> str:
    return f"header_style:{style}"


class Propagator:
    """Reads and writes the configured styles. Stateless after construction, so thread-safe; never raises.

    Args:
        settings: Styles, limits, behaviour.
        local_marker: Returns this organisation's marker once the Agent has told it. Called at every extraction
            and injection while the guard is on, never otherwise; must not block.
        count: Receives the name and the tag of every telemetry metric of §16 to count.
    """

    def __init__(
        self,
        settings: PropagationSettings,
        *,
        local_marker: Callable[[], str | None] = _no_marker,
        count: Callable[[str, str], None] | None = None,
    ) -> None:
        self.settings = settings
        self._local_marker = local_marker
        self._counts = count is not None  # spares building what nobody counts
        self._count = count or _no_count
        self._baggage_limits = _baggage.Limits(
            max_items=settings.baggage_max_items, max_bytes=settings.baggage_max_bytes, count=self._count
        )
        reads = settings.extract_styles if settings.enabled and settings.behavior != "ignore" else ()
        writes = settings.inject_styles if settings.enabled else ()
        self._extractors = tuple(
            (style, _tag(style), self._extractor(style)) for style in reads if style in _TRACE_STYLES
        )
        self._injectors = tuple(
            (style, _tag(style), self._injector(style)) for style in _TRACE_STYLES if style in writes
        )
        styles = {style for style, _, _ in self._injectors}
        # The marker may become known, and counts are made style by style.
        self._repeats = styles == {DATADOG, TRACECONTEXT} and not settings.org_guard_enabled and count is None
        self._reads_baggage = BAGGAGE in reads
        self._writes_baggage = BAGGAGE in writes
        self._reads_legacy = settings.http_baggage and bool(reads)
        self._writes_legacy = settings.http_baggage and bool(writes)
        names = [name for style in dict.fromkeys(reads) for name in _FIELDS.get(style, ())]
        self._reader = CarrierReader(names, _baggage.LEGACY_PREFIX if self._reads_legacy else None) if reads else None
        self._trace_fields = frozenset(name for style, _, _ in self._injectors for name in _FIELDS[style])
        self.fields = self._trace_fields | frozenset(_baggage.FIELDS if self._writes_baggage else ())
        """Names of all headers that an injection may write, `ot-baggage-` ones excepted."""
        self.writes = bool(self.fields) or self._writes_legacy
        """Whether an injection may write anything."""

    def _extractor(self, style: str) -> _Extractor:
        if style == DATADOG:
            limit = self.settings.tags_max_length
            return (
                _datadog.extract if limit == _datadog.MAX_LENGTH else partial(_datadog.extract, tags_max_length=limit)
            )
        functions: Mapping[str, _Extractor] = {
            TRACECONTEXT: _tracecontext.extract,
            B3: _b3.extract_single,
            B3_MULTI: _b3.extract_multi,
        }
        return functions[style]

    def _injector(self, style: str) -> _Injector:
        if style == DATADOG:
            limit = self.settings.tags_max_length
            # The default needs no wrapper, which costs as much as a header.
            return _datadog.inject if limit == _datadog.MAX_LENGTH else partial(_datadog.inject, tags_max_length=limit)
        functions: Mapping[str, _Injector] = {
            TRACECONTEXT: _tracecontext.inject,
            B3: _b3.inject_single,
            B3_MULTI: _b3.inject_multi,
        }
        return functions[style]

    def extract(self, carrier: Carrier, getter: AnyGetter | None = None) -> Extraction:
        """Return what the carrier holds.

        Source: spec/propagation.md §11.1.
        """
        if self._reader is None:
            return Extraction(None, {})
        try:
            headers = self._reader.read(carrier, getter)
            remote = self._extract_trace(headers)
            return Extraction(remote, self._extract_baggage(headers, traced=remote is not None))
        except Exception:  # hostile input or a foreign carrier: no context
            _log.debug("Nothing could be extracted from a %s", type(carrier).__name__, exc_info=True)
            return Extraction(None, {})

    def extract_remote(self, carrier: Carrier, getter: AnyGetter | None = None) -> RemoteContext | None:
        """Return the context of the carrier without its baggage."""
        return self.extract(carrier, getter).remote

    def _extract_trace(self, headers: Mapping[str, str]) -> RemoteContext | None:
        settings = self.settings
        guarded = settings.org_guard_enabled
        local = self._local_marker() if guarded else None
        found: list[RemoteContext] = []
        for style, tag, extractor in self._extractors:
            if found and style == TRACECONTEXT and not guarded and complete_same_span(found[0], headers):
                if self._counts:
                    self._count(_EXTRACTED, tag)
                continue
            remote = extractor(headers)
            if remote is None:
                continue
            if self._counts:
                self._count(_EXTRACTED, tag)
            found.append(remote)
            if settings.extract_first:
                break
        if not found:
            return None
        # Before `resolve` mixes them: whose decision is it?
        distrusted = local and not is_trusted(organisation_marker(found), local, settings)
        primary = resolve(found, headers) if len(found) > 1 else found[0]
        if distrusted:
            distrust(primary)
        return restart(primary, headers) if settings.behavior == "restart" else primary

    def _extract_baggage(self, headers: Mapping[str, str], *, traced: bool) -> _baggage.Items:
        items: _baggage.Items = {}
        if self._reads_baggage and _baggage.BAGGAGE in headers:
            items = _baggage.extract(headers, **self._baggage_limits)
            if items:
                self._count(_EXTRACTED, _tag(BAGGAGE))
        if self._reads_legacy and traced:
            items = {**_baggage.extract_legacy(headers, **self._baggage_limits), **items}
        return items

    def inject_state(
        self,
        trace_id: int,
        span_id: int,
        state: PropagationState,
        carrier: Carrier,
        setter: AnySetter | None = None,
    ) -> None:
        """Write the trace headers of a span into the carrier.

        Args:
            trace_id: 128-bit; nothing is written for 0.
            span_id: Nothing is written for 0.
            state: State of the local trace, with its decision made; or a `RemoteContext` that is sent on as it is.
            carrier: See `_carriers`.
            setter: How to write into it.
        """
        headers: dict[str, str] = {}
        self.add_trace(trace_id, span_id, state, headers)
        self.write(headers, carrier, setter)

    def add_trace(self, trace_id: int, span_id: int, state: PropagationState, headers: dict[str, str]) -> None:
        """Add the trace headers of a span to `headers`.

        Source: spec/propagation.md §12.
        """
        if self._repeats and span_id:
            repeated = state.repeated_headers
            if repeated is not None and repeated.write(state, span_id, headers):
                return
        local = self._local_marker() if self.settings.org_guard_enabled else None
        if not (trace_id and span_id):
            return
        # A copy, because other threads may decide or tag meanwhile.
        tags = state.tags.copy() if state.tags else None
        if local:
            tags = {**tags, _tags.ORG_MARKER: local} if tags else {_tags.ORG_MARKER: local}
        for style, tag, injector in self._injectors:
            try:
                injector(trace_id, span_id, state, headers, tags=tags)
            except Exception:  # one family less
                _log.debug("The headers of style %s could not be written", style, exc_info=True)
            if self._counts:
                self._count(_INJECTED, tag)
        if self._repeats and state.propagation_error is None and not isinstance(state, RemoteContext):
            state.repeated_headers = RepeatedHeaders(state, tags, span_id, headers)

    def add_baggage(
        self,
        items: Mapping[str, object],
        metadata: Mapping[str, tuple[str, str]],
        headers: dict[str, str],
    ) -> None:
        """Add the headers of baggage items to `headers`.

        Source: spec/propagation.md §9.1, §9.5.
        """
        if self._writes_baggage:
            _baggage.inject(items, metadata, headers, **self._baggage_limits)
            if headers:
                self._count(_INJECTED, _tag(BAGGAGE))
        if self._writes_legacy:
            _baggage.inject_legacy(items, headers, **self._baggage_limits)

    def write(
        self,
        headers: dict[str, str],
        carrier: Carrier,
        setter: AnySetter | None = None,
        *,
        knows_baggage: bool = False,
    ) -> None:
        """Write headers into a carrier in the place of old ones; of an old trace nothing stays beside a new one.

        Args:
            headers: Lower-case names and values.
            carrier: See `_carriers`.
            setter: How to write into it.
            knows_baggage: The context says what the baggage is, if only that it is empty: old baggage goes.
        """
        if type(carrier) is dict and not carrier and (setter is None or setter is default_setter):
            carrier.update(headers)
            return
        old = self.old_fields(headers, knows_baggage=knows_baggage)
        if headers or old:
            prefix = _baggage.LEGACY_PREFIX if old and self._writes_legacy else None
            write_headers(carrier, headers, old, setter, prefix=prefix)

    def old_fields(self, headers: Mapping[str, str], *, knows_baggage: bool) -> frozenset[str]:
        """Return the names of which nothing old may stay beside `headers`; see `write`."""
        if not self._trace_fields.isdisjoint(headers):
            return self.fields
        return self.fields - self._trace_fields if knows_baggage or headers else frozenset()
