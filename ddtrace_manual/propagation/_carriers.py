"""Carriers: how headers are found in whatever an application or a framework calls headers, and written into it.

Read: mappings (plain, case-insensitive, with lists as values), lists of pairs with repeated names (ASGI, gRPC),
`http.client.HTTPMessage`, WSGI environments, ASGI scopes, and anything for which an OpenTelemetry `Getter`
is given. Written: dictionaries, mutable mappings, messages, lists of pairs, or through a `Setter`.

Source: spec/propagation.md §3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from itertools import islice
from typing import Any, Final, cast

from opentelemetry.propagators.textmap import Getter, Setter, default_getter, default_setter

from ddtrace_manual._base.log import get_logger

__all__ = ["CarrierReader", "write_headers"]

Carrier = Any  # whatever the application has; every access is guarded

AnyGetter = Getter[Any] | Callable[[Any, str], Any]
"""OpenTelemetry's form, or just a function (carrier, name) → value, list of values or `None`."""

AnySetter = Setter[Any] | Callable[[Any, str, str], None]
"""OpenTelemetry's form, or just a function (carrier, name, value)."""

_log = get_logger("propagation")

# Several values of these are one list; joining several `traceparent` makes a text that its syntax rejects,
# which is what several `traceparent` mean.
_JOINED: Final = frozenset({"traceparent", "tracestate", "baggage"})
_WSGI_PREFIX: Final = "http_"
_PAIR: Final = 2
_MAX_PAIRS: Final = 200_000
"""Pairs that are read of a carrier that is no mapping: it may have no end."""
_MAX_SPELLINGS: Final = 512
_MAX_SPELLING_LENGTH: Final = 64

Values = dict[str, Any]  # str, or a list of str and None while a name was seen more than once


class _Names(dict[Any, str]):  # Any: spellings of names as text or bytes
    """Where a name as spelled in a carrier is put, "" for nowhere; spellings are remembered, up to a bound."""

    def __init__(self, wanted: Mapping[str, str], prefix: str | None) -> None:
        super().__init__((spelling, name) for name in wanted for spelling in (name, name.title(), name.encode()))
        self._wanted = wanted
        self._prefix = prefix

    def __missing__(self, spelling: object) -> str:
        text = _text(spelling)
        if text is None:
            return ""
        lower = text.lower()
        name = self._wanted.get(lower, "")
        if not name and self._prefix is not None and lower.startswith(self._prefix):
            return lower
        if len(self) < _MAX_SPELLINGS and len(text) < _MAX_SPELLING_LENGTH:
            self[spelling] = name
        return name


class CarrierReader:
    """Finds the wanted headers of a carrier; names are compared without regard to case.

    Args:
        names: Lower-case names.
        prefix: Also collect every header whose name begins so; lower-case.
    """

    def __init__(self, names: Iterable[str], prefix: str | None = None) -> None:
        self._names = tuple(names)
        self._prefix = prefix
        self._wsgi_keys = tuple((name, "HTTP_" + name.upper().replace("-", "_")) for name in self._names)
        # The WSGI form is kept apart while collecting: it is second choice.
        self._wsgi = {_WSGI_PREFIX + name.replace("-", "_"): name for name in self._names}
        self._wanted = frozenset((*self._names, *self._wsgi))
        self._spellings = _Names({name: name for name in self._wanted}, prefix)

    def read(self, carrier: Carrier, getter: AnyGetter | None = None) -> dict[str, str]:
        """Return the wanted headers by lower-case name; undecodable and other unusable values are absent.

        May raise what a foreign carrier raises.
        """
        if getter is not None and getter is not default_getter:
            return self._finish(self._through_getter(carrier, getter))
        if type(carrier) is not dict and not isinstance(carrier, Mapping):
            return self._collect(_pairs(carrier))
        if "wsgi.version" in carrier or "REQUEST_METHOD" in carrier:
            return self._from_wsgi(carrier)
        found = self._collect(carrier.items())
        if not found and "type" in carrier and isinstance(carrier.get("headers"), (list, tuple)):
            return self._collect(_pairs(carrier["headers"]))
        return found

    def _collect(self, pairs: Iterable[tuple[Any, Any]]) -> dict[str, str]:
        """Return the wanted ones of name-value pairs; of a name seen twice all values count."""
        found: Values = {}
        spellings = self._spellings
        plain = True
        for key, value in pairs:
            name = spellings[key]
            if name:
                if type(value) is str and name not in found:
                    found[name] = value
                else:
                    plain = False
                    _add(found, name, value)
        if plain and self._wsgi.keys().isdisjoint(found):
            return found
        return self._finish(found)

    def _finish(self, found: Values) -> dict[str, str]:
        """Make one text of each value, and let the WSGI form stand in for an absent header."""
        for name, value in [each for each in found.items() if type(each[1]) is not str]:
            text = _joined(name, value)
            if text is None:
                del found[name]
            else:
                found[name] = text
        for name in [name for name in found if name in self._wsgi]:
            found.setdefault(self._wsgi[name], found[name])
        return found

    def _from_wsgi(self, environ: Mapping[str, Any]) -> dict[str, str]:
        """Read a WSGI environment, which some servers mix with the environment of the process.

        So only the exact names count: `TRACEPARENT` there would be the parent of the process.
        """
        found: Values = {}
        plain = True
        for name, key in self._wsgi_keys:
            value = environ.get(name)
            if value is None:
                value = environ.get(key)
            if type(value) is str:
                found[name] = value
            elif value is not None:
                plain = False
                _add(found, name, value)
        if plain and self._prefix is None:
            return found
        if self._prefix is not None:
            start = "HTTP_" + self._prefix.upper().replace("-", "_")
            for key, value in environ.items():
                if type(key) is str and key.startswith(start):
                    _add(found, self._prefix + key[len(start) :].lower().replace("_", "-"), value)
        return self._finish(found)

    def _through_getter(self, carrier: Carrier, getter: AnyGetter) -> Values:
        """Read through a getter; one whose `keys` is incomplete is asked for the plain names as well."""
        get, keys = (getter.get, getter.keys) if isinstance(getter, Getter) else (getter, _no_keys)
        index: dict[str, str] = {}
        for key in _guarded(keys, carrier) or ():
            lower = key.lower() if isinstance(key, str) else ""
            if lower in self._wanted or (self._prefix is not None and lower.startswith(self._prefix)):
                index.setdefault(lower, key)
        found: Values = {}
        for name in dict.fromkeys((*self._names, *index)):
            value = _guarded(get, carrier, index.get(name, name))
            if value is not None:
                _add(found, name, value)
        return found


def _no_keys(_carrier: Carrier) -> tuple[str, ...]:
    return ()


def _guarded(function: Any, *arguments: Any) -> Any:  # Any: a method of a foreign getter
    """Call a method of a getter; one that raises knows no such header."""
    try:
        return function(*arguments)
    except Exception:  # foreign code
        _log.debug("The getter of a carrier failed", exc_info=True)
        return None


def _pairs(carrier: Carrier) -> Iterator[tuple[Any, Any]]:
    """Yield the pairs of any other carrier; what is no pair is passed over."""
    if carrier is None or isinstance(carrier, (str, bytes)):
        return
    items = getattr(carrier, "items", None)
    pairs = cast("Iterable[Any]", items() if callable(items) else carrier)  # Any: whatever comes
    for pair in islice(pairs, _MAX_PAIRS):
        if isinstance(pair, (tuple, list)) and len(pair) == _PAIR and isinstance(pair[0], (str, bytes)):
            yield pair[0], pair[1]


def _text(value: object) -> str | None:
    """Return a name or value as text, or `None` when it is neither text nor decodable."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return None


def _add(found: Values, name: str, value: object) -> None:
    """Append a value, or a list of values, to those already there."""
    present = found.get(name)
    values: list[str | None] = present if isinstance(present, list) else [] if present is None else [present]
    found[name] = values
    if isinstance(value, (list, tuple)):
        values.extend([_text(each) for each in value])
    else:
        values.append(_text(value))


def _joined(name: str, values: list[str | None]) -> str | None:
    """Apply the rule for several values of one name."""
    if not values:
        return None
    if name.removeprefix(_WSGI_PREFIX) not in _JOINED:
        return values[0]
    if name.endswith("traceparent"):
        return ",".join([value or "" for value in values])
    return ",".join([value for value in values if value])


def write_headers(
    carrier: Carrier,
    headers: Mapping[str, str],
    fields: Collection[str],
    setter: AnySetter | None = None,
    *,
    prefix: str | None = None,
) -> None:
    """Write headers into a carrier; never raises.

    Names and values are written as bytes where the carrier holds names as bytes (ASGI, some mappings).

    Args:
        carrier: Receives them.
        headers: Lower-case names and values.
        fields: Names of which nothing old may stay, in any case; without effect when a setter is given.
        setter: How to write; `None` and OpenTelemetry's default setter stand for what suits the carrier.
        prefix: Names that begin so count as `fields`; lower-case.
    """

    def is_old(name: object) -> bool:
        lower = (_text(name) or "").lower()
        return lower in fields or (prefix is not None and lower.startswith(prefix))

    try:
        if setter is not None and setter is not default_setter:
            _through_setter(carrier, headers, setter)
        elif isinstance(carrier, list):
            _into_pairs(carrier, headers, is_old)
        else:
            # Objects without `keys` are trusted to replace what has the same name.
            as_bytes = _remove(carrier, is_old) if hasattr(carrier, "keys") else False
            for name, value in _encoded(headers) if as_bytes else headers.items():
                carrier[name] = value
    except Exception:  # a foreign carrier
        _log.debug("Headers could not be written into a %s", type(carrier).__name__, exc_info=True)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _remove(carrier: MutableMapping[Any, Any], is_old: Callable[[object], bool]) -> bool:
    """Delete what is old, and return whether the carrier holds names as bytes."""
    keys = list(carrier.keys())  # some iterate over pairs
    for key in keys:
        if is_old(key) and key in carrier:  # a message deletes all spellings of a name at once
            del carrier[key]
    return any(isinstance(key, bytes) for key in keys)


def _into_pairs(carrier: list[Any], headers: Mapping[str, str], is_old: Callable[[object], bool]) -> None:
    """Append pairs in the place of old ones."""
    as_bytes = any(isinstance(pair[0], bytes) for pair in carrier if isinstance(pair, (tuple, list)) and pair)
    carrier[:] = [pair for pair in carrier if not (isinstance(pair, (tuple, list)) and pair and is_old(pair[0]))]
    carrier.extend(_encoded(headers) if as_bytes else headers.items())


def _through_setter(carrier: Carrier, headers: Mapping[str, str], setter: AnySetter) -> None:
    """Write one by one; a header that the setter refuses takes the rest of its family with it."""
    write = setter.set if isinstance(setter, Setter) else setter
    failed: set[str] = set()
    for name, value in headers.items():
        family = name[:5]
        if family in failed:
            continue
        try:
            write(carrier, name, value)
        except Exception:  # foreign code
            failed.add(family)
            _log.log(logging.DEBUG, "The setter of a carrier refused %s", name, exc_info=True)
