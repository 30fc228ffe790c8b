"""All styles together: what is read from a carrier in which order, and what is written into it.

    extract: headers → one context per style → resolve → organisation guard → restart → RemoteContext
    inject:  ids and state of a trace → headers of every style → carrier

Source: spec/propagation.md §10-§12, §15, §16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ddtrace_manual import _tags
from ddtrace_manual._log import get_logger

from . import _b3, _baggage, _datadog, _tracecontext
from ._carriers import Carrier, CarrierReader, write_headers
from ._resolution import distrust, is_trusted, organisation_marker, resolve, restart
from ._settings import B3, B3_MULTI, BAGGAGE, DATADOG, TRACECONTEXT, PropagationSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.propagators.textmap import Getter, Setter

    from ddtrace_manual._model import PropagationState, RemoteContext

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
        count: Callable[[str, str], None] = _no_count,
    ) -> None:
        self.settings = settings
        self._local_marker = local_marker
        self._count = count
        extract = settings.extract_styles if settings.enabled and settings.behavior != "ignore" else ()
        inject = settings.inject_styles if settings.enabled else ()
        self._extractors = tuple(self._extractor(style) for style in extract if style in _TRACE_STYLES)
        self._reads_baggage = BAGGAGE in extract
        self._reads_legacy = settings.http_baggage and bool(extract)
        self.writes_baggage = BAGGAGE in inject
        self._writes_legacy = settings.http_baggage and bool(inject)
        self._writes = {style for style in inject if style in _TRACE_STYLES}
        names = [name for style in dict.fromkeys(extract) for name in _FIELDS.get(style, ())]
        self._reader = CarrierReader(names, _baggage.LEGACY_PREFIX if self._reads_legacy else None) if extract else None
        self._trace_fields = frozenset(name for style in self._writes for name in _FIELDS[style])
        self.fields = self._trace_fields | frozenset(_baggage.FIELDS if self.writes_baggage else ())
        """Names of all headers that an injection may write."""

    def _extractor(self, style: str) -> tuple[str, Callable[[Mapping[str, str]], RemoteContext | None]]:
        if style == DATADOG:
            limit = self.settings.tags_max_length
            return style, lambda headers: _datadog.extract(headers, tags_max_length=limit)
        functions = {
            TRACECONTEXT: _tracecontext.extract,
            B3: _b3.extract_single,
            B3_MULTI: _b3.extract_multi,
        }
        return style, functions[style]

    def extract(self, carrier: Carrier, getter: Getter[Any] | None = None) -> Extraction:
        """Return what the carrier holds.

        Source: spec/propagation.md §11.1.
        """
        if self._reader is None:
            return Extraction(None, {})
        try:
            headers = self._reader.read(carrier, getter)
            if not headers:
                return Extraction(None, {})
            remote = self._extract_trace(headers)
            return Extraction(remote, self._extract_baggage(headers, traced=remote is not None))
        except Exception:  # noqa: BLE001 - hostile input or a foreign carrier: no context
            _log.debug("Nothing could be extracted from a %s", type(carrier).__name__, exc_info=True)
            return Extraction(None, {})

    def extract_remote(self, carrier: Carrier, getter: Getter[Any] | None = None) -> RemoteContext | None:
        """Return the context of the carrier without its baggage."""
        return self.extract(carrier, getter).remote

    def _extract_trace(self, headers: Mapping[str, str]) -> RemoteContext | None:
        settings = self.settings
        found = []
        for style, extractor in self._extractors:
            remote = extractor(headers)
            if remote is None:
                continue
            self._count("context_header_style.extracted", f"header_style:{style}")
            found.append(remote)
            if settings.extract_first:
                break
        local = self._local_marker() if settings.org_guard_enabled else None
        if not found:
            return None
        marker = organisation_marker(found[0], found) if local else None
        primary = resolve(found, headers)
        if local and not is_trusted(marker, local, settings):
            distrust(primary)
        if settings.behavior == "restart":
            return restart(primary, headers)
        return primary

    def _extract_baggage(self, headers: Mapping[str, str], *, traced: bool) -> _baggage.Items:
        items: _baggage.Items = {}
        if self._reads_baggage:
            settings = self.settings
            items = _baggage.extract(
                headers,
                max_items=settings.baggage_max_items,
                max_bytes=settings.baggage_max_bytes,
                count=self._count,
            )
            if items:
                self._count("context_header_style.extracted", f"header_style:{BAGGAGE}")
        if self._reads_legacy and traced:
            items = {**_baggage.extract_legacy(headers), **items}
        return items

    def inject_state(
        self,
        trace_id: int,
        span_id: int,
        state: PropagationState,
        carrier: Carrier,
        setter: Setter[Any] | None = None,
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
        local = self._local_marker() if self.settings.org_guard_enabled else None
        if not (trace_id and span_id and self._writes):
            return
        # A copy, because other threads may decide or tag meanwhile.
        tags = dict(state.tags) if state.tags else {}
        if local:
            tags[_tags.ORG_MARKER] = local
        for style in _TRACE_STYLES:
            if style in self._writes:
                try:
                    self._add_style(style, trace_id, span_id, state, headers, tags)
                except Exception:  # noqa: BLE001 - one family less
                    _log.debug("The headers of style %s could not be written", style, exc_info=True)

    def _add_style(
        self,
        style: str,
        trace_id: int,
        span_id: int,
        state: PropagationState,
        headers: dict[str, str],
        tags: Mapping[str, str],
    ) -> None:
        if style == DATADOG:
            limit = self.settings.tags_max_length
            _datadog.inject(trace_id, span_id, state, headers, tags=tags, tags_max_length=limit)
        elif style == TRACECONTEXT:
            _tracecontext.inject(trace_id, span_id, state, headers, tags=tags)
        elif style == B3:
            _b3.inject_single(trace_id, span_id, state, headers)
        else:
            _b3.inject_multi(trace_id, span_id, state, headers)
        self._count("context_header_style.injected", f"header_style:{style}")

    def add_baggage(
        self,
        items: Mapping[str, object],
        metadata: Mapping[str, tuple[str, str]],
        headers: dict[str, str],
    ) -> None:
        """Add the headers of baggage items to `headers`.

        Source: spec/propagation.md §9.1, §9.5.
        """
        if self.writes_baggage:
            settings = self.settings
            _baggage.inject(
                items,
                metadata,
                headers,
                max_items=settings.baggage_max_items,
                max_bytes=settings.baggage_max_bytes,
                count=self._count,
            )
            if headers:
                self._count("context_header_style.injected", f"header_style:{BAGGAGE}")
        if self._writes_legacy:
            _baggage.inject_legacy(items, headers)

    def write(self, headers: Mapping[str, str], carrier: Carrier, setter: Setter[Any] | None = None) -> None:
        """Write headers into a carrier in the place of old ones; of a trace, none of the old ones stays."""
        if not headers:
            return
        traced = len(headers) > (BAGGAGE in headers)
        write_headers(carrier, headers, self._trace_fields | headers.keys() if traced else headers.keys(), setter)
