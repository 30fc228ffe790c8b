"""B3, in one header or in several.

Source: spec/propagation.md §7, §8. Neither form carries an origin or tags.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ddtrace_manual._base.ids import MASK_64
from ddtrace_manual._model import AUTO_KEEP, AUTO_REJECT, USER_KEEP, PropagationState, RemoteContext

from ._settings import B3, B3_MULTI
from ._values import BLANKS

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = ["MULTI_FIELDS", "SINGLE_FIELDS", "extract_multi", "extract_single", "inject_multi", "inject_single"]

SINGLE: Final = "b3"
TRACE_ID: Final = "x-b3-traceid"
SPAN_ID: Final = "x-b3-spanid"
SAMPLED: Final = "x-b3-sampled"
FLAGS: Final = "x-b3-flags"

SINGLE_FIELDS: Final = (SINGLE,)
MULTI_FIELDS: Final = (TRACE_ID, SPAN_ID, SAMPLED, FLAGS)

_TRACE_ID = re.compile("[0-9a-fA-F]{1,32}")
_SPAN_ID = re.compile("[0-9a-fA-F]{1,16}")
_SAMPLING = {"0": AUTO_REJECT, "1": AUTO_KEEP, "d": USER_KEEP}
_SAMPLED = {"0": AUTO_REJECT, "1": AUTO_KEEP, "false": AUTO_REJECT, "true": AUTO_KEEP}


def extract_single(headers: Mapping[str, str]) -> RemoteContext | None:
    """Return the context of `b3`, or `None`; a bare sampling state is none (§7)."""
    text = headers.get(SINGLE)
    if text is None:
        return None
    parts = text.strip(BLANKS).split("-", 4)
    if len(parts) == 1:
        return None
    sampling = _SAMPLING.get(parts[2]) if len(parts) > 2 else None  # the third part
    return _context(parts[0], parts[1], sampling, B3)


def extract_multi(headers: Mapping[str, str]) -> RemoteContext | None:
    """Return the context of `x-b3-*`, or `None`."""
    trace_id = headers.get(TRACE_ID)
    if trace_id is None:
        return None
    if headers.get(FLAGS, "").strip(BLANKS) == "1":
        priority: int | None = USER_KEEP
    else:
        priority = _SAMPLED.get(headers.get(SAMPLED, "").strip(BLANKS).lower())
    return _context(trace_id.strip(BLANKS), headers.get(SPAN_ID, "0").strip(BLANKS), priority, B3_MULTI)


def _context(trace_id_hex: str, span_id_hex: str, priority: int | None, style: str) -> RemoteContext | None:
    if _TRACE_ID.fullmatch(trace_id_hex) is None or _SPAN_ID.fullmatch(span_id_hex) is None:
        return None
    trace_id = int(trace_id_hex, 16)
    if not trace_id:
        return None
    remote = RemoteContext(trace_id, int(span_id_hex, 16), style=style)
    remote.priority = priority
    return remote


def _format_trace_id(trace_id: int) -> str:
    return f"{trace_id:032x}" if trace_id > MASK_64 else f"{trace_id:016x}"


def inject_single(
    trace_id: int,
    span_id: int,
    state: PropagationState,
    headers: MutableMapping[str, str],
    *,
    tags: Mapping[str, str] | None = None,  # noqa: ARG001 - the formats have parallel signatures
) -> None:
    """Write `b3`; without a third part while the priority is unknown."""
    text = f"{_format_trace_id(trace_id)}-{span_id:016x}"
    priority = state.priority
    if priority is not None:
        text += "-0" if priority <= AUTO_REJECT else "-1" if priority == AUTO_KEEP else "-d"
    headers[SINGLE] = text


def inject_multi(
    trace_id: int,
    span_id: int,
    state: PropagationState,
    headers: MutableMapping[str, str],
    *,
    tags: Mapping[str, str] | None = None,  # noqa: ARG001 - the formats have parallel signatures
) -> None:
    """Write `x-b3-*`: a priority above 1 as flags, any other known one as sampled."""
    headers[TRACE_ID] = _format_trace_id(trace_id)
    headers[SPAN_ID] = f"{span_id:016x}"
    priority = state.priority
    if priority is None:
        return
    if priority > AUTO_KEEP:
        headers[FLAGS] = "1"
    else:
        headers[SAMPLED] = "1" if priority == AUTO_KEEP else "0"
