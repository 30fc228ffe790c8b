"""Trace filters of the Agent: traces that produce neither statistics nor payload.

Source: spec/trace-export.md §9.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ddtrace_manual._base.log import get_logger
from ddtrace_manual._base.tags import ENV

from .expressions import UnsafeExpressionError, compile_search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ddtrace_manual._agent.info import AgentInfo
    from ddtrace_manual._model import DDSpan

__all__ = ["NO_FILTERS", "TraceFilters", "normalize_env", "root_of"]

_logger = get_logger("stats")

_HTTP_STATUS: Final = "http.status_code"
_STATUS_MIN: Final = 100
_STATUS_MAX: Final = 599
_ENV_MAX: Final = 200  # characters
_MAX_REFUSED: Final = 1_000
_refused: set[str] = set()  # entries that were warned about: the Agent repeats them
_ENV_PUNCTUATION: Final = frozenset(":./-")


@dataclass(frozen=True, slots=True)
class _Condition:
    """One entry of a filter: a key that must be there and, if given, what its value must look like."""

    key: str
    value: str | None = None
    is_found: Callable[[str], bool] | None = None

    def matches(self, meta: Mapping[str, str]) -> bool:
        found = _normal_value(meta, self.key)
        if found is None:
            return False
        if self.is_found is not None:
            return self.is_found(found)
        return self.value is None or found == self.value


@dataclass(frozen=True, slots=True)
class TraceFilters:
    """Compiled filters; immutable. False when there are none, so that callers can skip the look.

    Source: spec/trace-export.md §9.3.
    """

    reject: tuple[_Condition, ...] = ()
    require: tuple[_Condition, ...] = ()
    ignore_resources: tuple[Callable[[str], bool], ...] = ()

    @classmethod
    def from_info(cls, info: AgentInfo) -> TraceFilters:
        """Compile what the Agent asks for; an entry that cannot be used is skipped and logged."""
        return cls(
            reject=(
                *_conditions(info.filter_tags_reject, is_regex=False),
                *_conditions(info.filter_tags_regex_reject, is_regex=True),
            ),
            require=(
                *_conditions(info.filter_tags_require, is_regex=False),
                *_conditions(info.filter_tags_regex_require, is_regex=True),
            ),
            ignore_resources=tuple(
                is_found for text in info.ignore_resources if (is_found := _compile(text, text)) is not None
            ),
        )

    def __bool__(self) -> bool:
        return bool(self.reject or self.require or self.ignore_resources)

    def rejects(self, chunk: Sequence[DDSpan]) -> bool:
        """Return whether a chunk must be dropped, judging by its root span."""
        if not chunk or not self:
            return False
        root = root_of(chunk)
        meta = root["meta"]
        if any(condition.matches(meta) for condition in self.reject):
            return True
        if not all(condition.matches(meta) for condition in self.require):
            return True
        resource_name = root["resource"] or root["name"]
        return any(is_found(resource_name) for is_found in self.ignore_resources)


NO_FILTERS: Final = TraceFilters()


def root_of(chunk: Sequence[DDSpan]) -> DDSpan:
    """Return the root span of a chunk that is not empty.

    The last span without a parent, else the last whose parent is elsewhere, else the last.
    """
    for span in chunk[::-1]:
        if not span.get("parent_id"):
            return span
    ids = {span["span_id"] for span in chunk}
    for span in chunk[::-1]:
        if span.get("parent_id") not in ids:
            return span
    return chunk[-1]


def normalize_env(env: str) -> str:
    """Return an environment as the Agent writes it: `Prod Env` → `prod_env`."""
    kept: list[str] = []
    for character in env.lower():
        if character.isalpha() or character == ":":
            kept.append(character)
        elif not kept:
            continue  # everything before the first letter or colon goes
        elif character.isdigit() or character in _ENV_PUNCTUATION:
            kept.append(character)
        elif kept[-1] != "_":
            kept.append("_")
    return "".join(kept[:_ENV_MAX]).rstrip("_")


def _normal_value(meta: Mapping[str, str], key: str) -> str | None:
    """Return a tag as the Agent would see it, or `None` when it would see none."""
    value = meta.get(key)
    if value is None:
        return None
    if key == ENV:
        return normalize_env(value)
    if key == _HTTP_STATUS and not _is_http_status(value):
        return None
    return value


def _is_http_status(text: str) -> bool:
    return len(text) == len("599") and text.isascii() and text.isdigit() and _STATUS_MIN <= int(text) <= _STATUS_MAX


def _conditions(entries: Iterable[str], *, is_regex: bool) -> Iterable[_Condition]:
    for entry in entries:
        key, _, value = (part.strip() for part in entry.partition(":"))
        if not key:
            _logger.error("Skipped a trace filter without a key: %r", entry)
        elif not value:
            yield _Condition(key)
        elif not is_regex:
            yield _Condition(key, value)
        elif (is_found := _compile(value, entry)) is not None:
            yield _Condition(key, is_found=is_found)


def _compile(text: str, entry: str) -> Callable[[str], bool] | None:
    try:
        return compile_search(text)
    except UnsafeExpressionError as error:
        if entry not in _refused and len(_refused) < _MAX_REFUSED:
            _refused.add(entry)
            _logger.warning(
                "Skipped the trace filter %r: %s. Install the extra ddtrace-manual[re2] to use it", entry, error
            )
    except ValueError as error:
        _logger.error("Skipped a trace filter, not a regular expression: %r (%s)", entry, error)  # noqa: TRY400
    return None
