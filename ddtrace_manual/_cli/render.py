"""Draw one trace as a waterfall tree for a terminal. Pure: spans in, text out.

    trace 67f2a1b300000000c3d1… · 3 spans · 2 services · 12.4 ms · 1 error
    web.request  POST /orders        shop-gateway    12.4 ms  ██████████████████
    └─ http.request  POST /charge    shop-gateway     9.8 ms     ██████████████
       └─ web.request  POST /charge  shop-payments    7.1 ms       ██████████    ✗
          ✗ CardDeclined: limit exceeded

The spans are mappings in the Agent's v0.4 layout, as the encoder writes them and agents return them.
They may come from anywhere: missing fields, unknown parents, cycles, repeated ids, reversed clocks and
control characters are drawn, never an error, and never reach the terminal as control sequences.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["format_duration", "plain_text", "render_trace"]

_Span = Mapping[str, Any]  # Any: decoded JSON or msgpack, see the module docstring

_INT_LIMIT = (1 << 64) - 1
_MIN_WIDTH = 60
_SERVICE_CELLS = 24
_DURATION_CELLS = 9

_DURATION_FORMS = ((1e3, 1, "{:.0f} ns"), (1e6, 1e3, "{:.1f} µs"), (1e9, 1e6, "{:.1f} ms"), (120e9, 1e9, "{:.2f} s"))
"""Below how many nanoseconds, divided by what, written how."""

_BOLD, _DIM, _RED, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"
_SERVICE_COLORS = ("\x1b[36m", "\x1b[35m", "\x1b[33m", "\x1b[34m", "\x1b[32m")

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def render_trace(spans: Iterable[_Span], *, width: int = 100, color: bool = False) -> str:
    """Return the waterfall of one trace, without a final newline.

    Siblings are in order of their start. A span whose parent is not among the spans begins a tree of its
    own, marked with `↖` when it names a parent.

    Args:
        spans: All spans of the trace, in any order.
        width: Cells of a line, 60 at least. Labels and messages are cut to fit.
        color: Add ANSI colours: one for each service, red for errors.
    """
    rows = _tree(list(spans))
    if not rows:
        return "no spans"
    width = max(width, _MIN_WIDTH)
    services = list(dict.fromkeys(plain_text(span.get("service")) for span, _, _ in rows))
    begin = min(_int(span.get("start")) for span, _, _ in rows)
    end = max(_int(span.get("start")) + _int(span.get("duration")) for span, _, _ in rows)
    service_cells = min(max(map(_cells, services)), _SERVICE_CELLS)
    bar_cells = width // 4
    label_cells = width - service_cells - _DURATION_CELLS - bar_cells - 8
    lines = [_headline(rows, services, end - begin)]
    for span, prefix, below in rows:
        failed = bool(span.get("error"))
        service = plain_text(span.get("service"))
        label = _label(span, prefix, label_cells, color=color)
        name = _pad(_cut(service, service_cells), service_cells)
        duration = format_duration(_int(span.get("duration"))).rjust(_DURATION_CELLS)
        bar = _bar(span, begin, end, bar_cells)
        if color:
            hue = _SERVICE_COLORS[services.index(service) % len(_SERVICE_COLORS)]
            name, bar = f"{hue}{name}{_RESET}", f"{_RED if failed else hue}{bar}{_RESET}"
        mark = "" if not failed else f" {_RED}✗{_RESET}" if color else " ✗"
        lines.append(f"{label}  {name}  {duration}  {bar}{mark}".rstrip())
        if failed:
            lines += _error_lines(span, below, width, color=color)
    return "\n".join(lines)


def format_duration(duration_ns: int) -> str:
    """Return a duration for people: a short number and a unit, for example `12.4 ms`."""
    for limit, scale, form in _DURATION_FORMS:
        if abs(duration_ns) < limit:
            return form.format(duration_ns / scale)
    return f"{duration_ns / 60e9:.1f} min"


def _tree(spans: Sequence[_Span]) -> list[tuple[_Span, str, str]]:
    """Return the spans in drawing order: (span, what stands before it, what stands before a line below it)."""
    index_of: dict[int, int] = {}
    for index, span in enumerate(spans):
        index_of.setdefault(_int(span.get("span_id")), index)
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    by_start = sorted(range(len(spans)), key=lambda index: (_int(spans[index].get("start")), index))
    for index in by_start:
        parent = index_of.get(_int(spans[index].get("parent_id")), index)
        siblings = roots if parent == index else children.setdefault(parent, [])
        siblings.append(index)
    rows: list[tuple[_Span, str, str]] = []
    seen: set[int] = set()
    # A cycle hangs from no root; its earliest span is drawn as one. No recursion: traces may be very deep.
    for root in [*roots, *by_start]:
        stack = [(root, "↖ " if spans[root].get("parent_id") else "", "")]
        while stack:
            index, prefix, guide = stack.pop()
            if index in seen:
                continue
            seen.add(index)
            kids = children.get(index, [])
            rows.append((spans[index], prefix, guide + ("│  " if kids else "   ")))
            for kid in reversed(kids):
                last = kid == kids[-1]
                stack.append((kid, guide + ("└─ " if last else "├─ "), guide + ("   " if last else "│  ")))
    return rows


def _headline(rows: Sequence[tuple[_Span, str, str]], services: Sequence[str], duration_ns: int) -> str:
    errors = sum(bool(span.get("error")) for span, _, _ in rows)
    parts = [
        f"trace {_trace_id_hex([span for span, _, _ in rows])}",
        _count(len(rows), "span"),
        _count(len(services), "service"),
        format_duration(duration_ns),
        _count(errors, "error") if errors else "no errors",
    ]
    return " · ".join(parts)


def _trace_id_hex(spans: Sequence[_Span]) -> str:
    """Return all 128 bits when a span of the trace carries the upper half (spec/span-mapping.md, `_dd.p.tid`)."""
    low = f"{_int(spans[0].get('trace_id')) & 0xFFFF_FFFF_FFFF_FFFF:016x}"
    for span in spans:
        meta = span.get("meta")
        high = meta.get("_dd.p.tid") if isinstance(meta, Mapping) else None
        if isinstance(high, str):
            return plain_text(high) + low
    return low


def _label(span: _Span, prefix: str, cells: int, *, color: bool) -> str:
    """Return branch, operation name and resource name, cut and padded to `cells`."""
    name, resource = plain_text(span.get("name")) or "?", plain_text(span.get("resource"))
    free = cells - len(prefix)
    if free < 8:  # deeper than the terminal is wide: keep some of the name
        prefix, free = "…" + prefix[-(cells - 9) :], 8
    name = _cut(name, free)
    rest = free - _cells(name) - 2
    resource = _cut(resource, rest) if resource != name and rest > 2 else ""  # room for one letter
    plain = f"{prefix}{name}  {resource}" if resource else prefix + name
    if not color:
        return _pad(plain, cells)
    styled = f"{_DIM}{prefix}{_RESET}{_BOLD}{name}{_RESET}" + (f"  {_DIM}{resource}{_RESET}" if resource else "")
    return styled + " " * (cells - _cells(plain))


def _bar(span: _Span, begin: int, end: int, cells: int) -> str:
    """Return when the span ran, on a scale of `cells` for the whole trace."""
    total = max(end - begin, 1)
    first = min((_int(span.get("start")) - begin) * cells // total, cells - 1)
    length = max(1, round(_int(span.get("duration")) * cells / total))
    return " " * first + "█" * min(length, cells - first)


def _error_lines(span: _Span, prefix: str, width: int, *, color: bool) -> list[str]:
    """Return the line that says what went wrong; none when the span does not say."""
    meta = span.get("meta")
    if not isinstance(meta, Mapping):
        return []
    what = [plain_text(meta.get(key)) for key in ("error.type", "error.message") if meta.get(key)]
    if not what:
        return []
    if what[-1].startswith(f"{what[0]} "):
        del what[0]  # 404: 404 Not Found
    line = _cut(f"{prefix}✗ {': '.join(what)}", width)
    return [f"{_RED}{line}{_RESET}" if color else line]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _int(value: object) -> int:
    """Return a number of a span within 64 bits, either sign; 0 for anything else."""
    try:
        number = int(value) if isinstance(value, (int, float)) else 0
    except (OverflowError, ValueError):  # infinite or not a number
        return 0
    return max(-_INT_LIMIT, min(number, _INT_LIMIT))


def plain_text(value: object) -> str:
    """Return a value as one line of harmless text: nothing in it can move the cursor or reorder the line."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if c in "\t\r\n" else "�" if unicodedata.category(c) in _UNSAFE_CATEGORIES else c for c in text)


def _cells(text: str) -> int:
    """Return how many terminal cells a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, cells: int) -> str:
    """Return the text, or its beginning and `…`, in at most `cells`."""
    if _cells(text) <= cells:
        return text
    used = 0
    for index, char in enumerate(text):
        used += _cells(char)
        if used > cells - 1:
            return text[:index] + "…"
    return text


def _pad(text: str, cells: int) -> str:
    return text + " " * (cells - _cells(text))
