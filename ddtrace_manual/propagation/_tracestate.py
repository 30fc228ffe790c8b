"""The tracestate list and its `dd` member, in both directions.

Source: spec/propagation.md §5.2, §5.3, §5.6.

Deliberate choices where other tracers differ: one bad member costs only itself; `dd` and `ot` survive in
any position of an overlong list; what no longer fits into `dd` is left out item by item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ddtrace_manual import _tags

from . import _probability
from ._values import BLANKS, is_decision_maker, is_printable, is_propagated_tag, parse_priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ddtrace_manual._model import PropagationState

__all__ = ["DatadogMember", "MemberList", "format_dd", "format_list", "parse_dd", "parse_list"]

Members = tuple[tuple[str, str], ...]

_DD: Final = "dd"
_OT: Final = "ot"
_MAX_MEMBERS = 32
_MAX_OTHERS_LENGTH = 512
_LONG_MEMBER = 128
_MAX_DD_LENGTH = 256
_OBSOLETE = "_dd.p.upstream_services"
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


class _Replacements(dict[int, str]):
    """A table for `str.translate` in which every character that is not listed becomes `_`."""

    def __missing__(self, _code: int) -> str:
        return "_"


# One pass over the original: a literal "~" must become "_" although "=" becomes "~".
_VALUE_TABLE = _Replacements({code: chr(code) for code in range(0x20, 0x7F)})
_VALUE_TABLE.update({ord("="): "~", ord(","): "_", ord(";"): "_", ord("~"): "_"})
_NAME_TABLE = _Replacements({code: chr(code) for code in range(0x21, 0x7F)})
_NAME_TABLE.update({ord(character): "_" for character in ",=;:"})


def parse_list(text: str) -> MemberList | None:
    """Parse a tracestate; `None` when it is empty or holds an illegal character, and is to be ignored.

    Source: spec/propagation.md §5.2.
    """
    clean = is_printable(text)
    others: dict[str, str] = {}
    dd = ot_text = None
    seen = False
    for part in text.split(","):
        member = part.strip(BLANKS)
        if not member:
            continue
        if not (clean or is_printable(member)):
            return None
        seen = True
        key, _, value = member.partition("=")
        if not (key and value):
            continue
        if key == _DD:
            dd = value
        elif key == _OT:
            ot_text = value
        elif key not in others:
            others[key] = value
    if not seen:
        return None
    ot = _probability.parse_items(ot_text) if ot_text is not None else None
    return MemberList(_limit(others, (dd is not None) + (ot is not None)) if others else (), dd, ot)


def _limit(others: Mapping[str, str], reserved: int) -> Members:
    """Return the members that fit into 32 members less the reserved ones, and into 512 characters."""
    entries: Iterable[tuple[str, str]] = others.items()
    excess = len(others) + reserved - _MAX_MEMBERS
    if excess > 0:
        shortened = []
        for entry in entries:
            if excess > 0 and len(entry[0]) + 1 + len(entry[1]) > _LONG_MEMBER:
                excess -= 1
            else:
                shortened.append(entry)
        entries = shortened[: _MAX_MEMBERS - reserved]
    chosen = []
    length = -1
    for entry in entries:
        size = len(entry[0]) + 1 + len(entry[1])
        if length + 1 + size <= _MAX_OTHERS_LENGTH:
            chosen.append(entry)
            length += 1 + size
        elif size <= _LONG_MEMBER:
            break
    return tuple(chosen)


def parse_dd(text: str) -> DatadogMember:
    """Parse the value of `dd`; malformed items are ignored one by one.

    Source: spec/propagation.md §5.3.
    """
    priority = origin = last_span = tid = None
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
            origin = value.replace("~", "=")
        elif key == "t.tid":
            tid = value
        elif key.startswith("t."):
            _add_tag(tags, _tags.PROPAGATED_PREFIX + key[2:], value.replace("~", "=").strip(BLANKS))
    return DatadogMember(priority, origin, last_span, tags, tid)


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
    # (rank for the length budget, text) in output order.
    items: list[tuple[int, str]] = []
    if state.priority is not None:
        items.append((0, f"s:{state.priority}"))
    if state.origin:
        items.append((2, f"o:{_encode_value(state.origin)}"))
    if last_span:
        items.append((1, f"p:{last_span}"))
    if tags:
        dm = tags.get(_tags.DECISION_MAKER)
        if dm:
            items.append((3, f"t.dm:{_encode_value(dm)}"))
        if dm is None or len(tags) > 1:
            items.extend(_tag_items(tags))
    text = ";".join([item[1] for item in items])
    return text if len(text) <= _MAX_DD_LENGTH else _fit(items)


def _tag_items(tags: Mapping[str, str]) -> list[tuple[int, str]]:
    items = []
    for key, value in tags.items():
        if value and key not in (_tags.DECISION_MAKER, _tags.TRACE_ID_HIGH):
            name = key[_PREFIX_LENGTH:].translate(_NAME_TABLE)
            items.append((4 if key == _tags.USER_ID else 5, f"t.{name}:{_encode_value(value)}"))
    return items


def _encode_value(value: str) -> str:
    return value if value.isascii() and value.isalnum() else value.translate(_VALUE_TABLE)


def _fit(items: list[tuple[int, str]]) -> str:
    """Join what fits: more important items choose first, the order of output stays."""
    chosen = set()
    length = -1
    for index in sorted(range(len(items)), key=lambda position: items[position][0]):
        size = 1 + len(items[index][1])
        if length + size <= _MAX_DD_LENGTH:
            chosen.add(index)
            length += size
    return ";".join(items[index][1] for index in sorted(chosen))


def format_list(dd: str, ot: _probability.Items | None, members: Members) -> str:
    """Return the header: `dd`, `ot`, the others in order; at most 32 members, the last ones dropped.

    Source: spec/propagation.md §5.6, §6.4.
    """
    parts = [f"dd={dd}"] if dd else []
    if ot is not None:
        text = _probability.format_items(ot)
        if text:
            parts.append(f"ot={text}")
    if members:
        parts.extend([f"{key}={value}" for key, value in members[: _MAX_MEMBERS - len(parts)]])
    return ",".join(parts)
