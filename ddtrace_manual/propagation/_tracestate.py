"""The tracestate list and its `dd` member, in both directions.

Source: spec/propagation.md §5.2, §5.3, §5.6.

Deliberate choices where other tracers differ: `dd` and `ot` survive in any position of a list with bad
members, or too many; what no longer fits into `dd` is left out item by item.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from ddtrace_manual._base import tags as _tags

from . import _probability
from ._values import BLANKS, is_decision_maker, is_printable, is_propagated_tag, parse_origin, parse_priority

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddtrace_manual._model import PropagationState

__all__ = ["MAX_DD_LENGTH", "DatadogMember", "MemberList", "format_dd", "format_list", "parse_dd", "parse_list"]

Members = tuple[tuple[str, str], ...]

_DD: Final = "dd"
_OT: Final = "ot"
_MAX_MEMBERS = 32
_MAX_OTHERS_LENGTH = 512
_LONG_MEMBER = 128
_MAX_TAGS_LENGTH = 512
MAX_DD_LENGTH: Final = 256
_OBSOLETE = "_dd.p.upstream_services"
_BY_IMPORTANCE = ("s:", "p:", "o:", "t.dm:", "t.usr.id:")
_NOT_LISTED = (_tags.DECISION_MAKER, _tags.TRACE_ID_HIGH)
_SHORT = 64  # what is small enough to be remembered
_PREFIX_LENGTH = len(_tags.PROPAGATED_PREFIX)


class MemberList(NamedTuple):
    """A parsed tracestate."""

    members: Members
    """Those of other vendors, within the limits, in order."""
    dd: str | None
    ot: _probability.Items | None


class DatadogMember(NamedTuple):
    """A parsed `dd` member."""

    priority: int | None
    origin: str | None
    last_span: str | None
    """`p`, verbatim."""
    tags: dict[str, str]
    """`_dd.p.*`, without `_dd.p.tid`."""
    tid: str | None
    """`t.tid`, which only serves to notice a disagreement."""
    error: str | None = None
    """Value of `_dd.propagation_error`."""


class _Replacements(dict[int, str]):
    """A table for `str.translate` in which every character that is not listed becomes `_`."""

    def __missing__(self, _code: int) -> str:
        return "_"


# One pass over the original: a literal "~" must become "_" although "=" becomes "~".
_VALUE_TABLE = _Replacements({code: chr(code) for code in range(0x20, 0x7F)})
_VALUE_TABLE.update({ord("="): "~", ord(","): "_", ord(";"): "_", ord("~"): "_"})
_NAME_TABLE = _Replacements({code: chr(code) for code in range(0x21, 0x7F)})
_NAME_TABLE.update({ord(character): "_" for character in ",=;:"})


_FOREIGN_MEMBER = re.compile("[a-z0-9][-a-z0-9_*/@]{0,255}=[ -+\\--<>-~]{0,255}[!-+\\--<>-~]")
"""What the W3C recommendation allows; blanks around it are gone."""


def parse_list(text: str) -> MemberList | None:
    """Parse a tracestate; `None` when it is empty or holds an illegal character, and is to be ignored.

    Source: spec/propagation.md §5.2.
    """
    clean = is_printable(text)
    usual = _parse_usual(text) if clean else None
    if usual is not None:
        return usual
    others: dict[str, str] = {}
    dd = ot_text = None
    received, is_legal = 0, True
    for part in text.split(","):
        member = part.strip(BLANKS)
        if not member:
            continue
        if not (clean or is_printable(member)):
            return None
        received += 1
        key, _, value = member.partition("=")
        if key == _DD:
            dd = value or dd
        elif key == _OT:
            ot_text = value or ot_text
        elif is_legal and (is_legal := _FOREIGN_MEMBER.fullmatch(member) is not None) and key not in others:
            others[key] = value
    if not received:
        return None
    if not is_legal or received > _MAX_MEMBERS:
        # A receiver further on would discard the whole list, and our member with it.
        others = {}
    ot = _probability.parse_items(ot_text) if ot_text is not None else None
    return MemberList(_limit(others) if others else (), dd, ot)


def _parse_usual(text: str) -> MemberList | None:
    """Parse what a Datadog tracer sends when no other vendor takes part: `dd`, perhaps with `ot`."""
    if not text.startswith("dd="):
        return None
    head, _, tail = text.partition(",ot=")
    dd = head[3:]
    if not dd or "," in dd or "," in tail or text[-1] == " " or dd[-1] == " ":
        return None
    return MemberList((), dd, _probability.parse_items(tail) if tail else None)


def _limit(others: Mapping[str, str]) -> Members:
    """Return the members that fit into 512 characters."""
    chosen = []
    length = -1
    for entry in others.items():
        size = len(entry[0]) + 1 + len(entry[1])
        if length + 1 + size <= _MAX_OTHERS_LENGTH:
            chosen.append(entry)
            length += 1 + size
        elif size <= _LONG_MEMBER:
            break
    return tuple(chosen)


def parse_dd(text: str) -> DatadogMember:
    """Parse the value of `dd`; malformed items are ignored one by one.

    Tags that would not fit into `x-datadog-tags` with its usual limit are all ignored, as they would be there.

    Source: spec/propagation.md §4.3, §5.3.
    """
    priority = origin = last_span = tid = error = None
    tags: dict[str, str] = {}
    for item in text.split(";"):
        key, _, value = item.partition(":")
        if not value:
            continue
        if key == "s":
            parsed = parse_priority(value)
            priority = parsed if parsed is not None else priority
        elif key == "p":
            last_span = value
        elif key == "o":
            origin = parse_origin(value.replace("~", "="))
        elif key == "t.tid":
            tid = value
        elif key.startswith("t."):
            _add_tag(tags, _tags.PROPAGATED_PREFIX + key[2:], value.replace("~", "=").strip(BLANKS))
    if len(text) > MAX_DD_LENGTH and _length_as_header(tags) > _MAX_TAGS_LENGTH:
        tags, error = {}, "extract_max_size"
    return DatadogMember(priority, origin, last_span, tags, tid, error)


def _length_as_header(tags: Mapping[str, str]) -> int:
    """Return how many characters the tags would take in `x-datadog-tags`."""
    return sum([len(key) + len("=") + len(value) + len(",") for key, value in tags.items()]) - len(",")


def _add_tag(tags: dict[str, str], name: str, value: str) -> None:
    """Keep a tag that `x-datadog-tags` could carry as well."""
    if name == _tags.DECISION_MAKER:
        if is_decision_maker(value):
            tags[name] = value
    elif value and name != _OBSOLETE and is_propagated_tag(name):
        tags[name] = value


def format_dd(state: PropagationState, tags: Mapping[str, str] | None, last_span: str | None) -> str:
    """Return the value of `dd`, at most 256 characters; "" when there is nothing to say.

    Args:
        state: Priority and origin.
        tags: Propagated tags to send.
        last_span: `p`: the last Datadog span id, or `None` to leave it out.

    Source: spec/propagation.md §5.3, §5.6.
    """
    items = [] if state.priority is None else [f"s:{state.priority}"]
    if state.origin:
        items.append(f"o:{state.origin.translate(_VALUE_TABLE)}")
    if last_span:
        items.append(f"p:{last_span}")
    if tags:
        dm = tags.get("_dd.p.dm")
        if dm:
            items.append(f"t.dm:{dm if is_decision_maker(dm) else dm.translate(_VALUE_TABLE)}")
        if not dm or len(tags) > 1:
            for key, value in tags.items():
                if value and key not in _NOT_LISTED:
                    short = len(key) + len(value) < _SHORT
                    items.append(_usual_tag(key, value) if short else _format_tag(key, value))
    text = ";".join(items)
    return text if len(text) <= MAX_DD_LENGTH else _fit(items)


def _format_tag(key: str, value: str) -> str:
    return f"t.{key[_PREFIX_LENGTH:].translate(_NAME_TABLE)}:{value.translate(_VALUE_TABLE)}"


# A handful of tags, such as the sampling rate, is sent with nearly every trace.
_usual_tag = lru_cache(maxsize=256)(_format_tag)


def _rank(item: str) -> int:
    """Return the place of an item when the length does not suffice for all."""
    return next((rank for rank, start in enumerate(_BY_IMPORTANCE) if item.startswith(start)), len(_BY_IMPORTANCE))


def _fit(items: list[str]) -> str:
    """Join what fits: more important items choose first, the order of output stays."""
    chosen = set()
    length = -1
    for index in sorted(range(len(items)), key=lambda position: _rank(items[position])):
        size = 1 + len(items[index])
        if length + size <= MAX_DD_LENGTH:
            chosen.add(index)
            length += size
    return ";".join(items[index] for index in sorted(chosen))


def format_list(dd: str, ot: _probability.Items | None, members: Members) -> str:
    """Return the header: `dd`, `ot`, the others in order; at most 32 members, the last ones dropped.

    Source: spec/propagation.md §5.6, §6.4.
    """
    if ot is None and not members:
        return f"dd={dd}" if dd else ""
    parts = [f"dd={dd}"] if dd else []
    if ot is not None:
        text = _probability.format_items(ot)
        if text:
            parts.append(f"ot={text}")
    if members:
        parts.extend([f"{key}={value}" for key, value in members[: _MAX_MEMBERS - len(parts)]])
    return ",".join(parts)
