"""Answers to polls: their targets and files, checked against each other.

Everything in an answer is taken for hostile: types, encodings, hashes, paths and amounts are checked before anything
of it is used. Signatures are not: the Agent has verified them.

Source: spec/telemetry-remote-config.md §9.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual.exceptions import RemoteConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "ACKNOWLEDGED",
    "ERROR",
    "MAX_ERROR_LENGTH",
    "UNACKNOWLEDGED",
    "Answer",
    "RemoteFile",
    "Targets",
    "parse_json",
    "read_answer",
]

UNACKNOWLEDGED: Final = 1
ACKNOWLEDGED: Final = 2
ERROR: Final = 3
MAX_ERROR_LENGTH: Final = 400
"""Longest error text that is reported, in characters."""

_MAX_FILES: Final = 128
"""Most active files of an answer; real ones have a handful."""
_MAX_ROOTS: Final = 128
_EMPTY_ANSWER_BYTES: Final = 4
_MAX_ORG_ID: Final = (1 << 63) - 1
_EXPIRED: Final = 1
_PART: Final = r"[^/\x00-\x1f]+"
_PATH: Final = re.compile(
    rf"(?:datadog/(?P<org>\d{{1,19}})|employee)/(?P<product>{_PART})/(?P<id>{_PART})/(?P<name>{_PART})", re.ASCII
)
_DIGEST: Final = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}

_log = RateLimitedLogger(get_logger("remote_config"))


@dataclass(slots=True)
class RemoteFile:
    """One file that applies to this process, and whether it was put into effect."""

    path: str
    product: str
    id: str
    version: int
    algorithm: str
    digest: str
    """Lower-case hexadecimal hash of the content."""
    content: bytes
    apply_state: int = UNACKNOWLEDGED
    apply_error: str = ""

    def state(self) -> dict[str, object]:
        """Return its entry in `config_states`."""
        return {
            "id": self.id,
            "version": self.version,
            "product": self.product,
            "apply_state": self.apply_state,
            "apply_error": self.apply_error,
        }

    def cached(self) -> dict[str, object]:
        """Return its entry in `cached_target_files`."""
        return {
            "path": self.path,
            "length": len(self.content),
            "hashes": [{"algorithm": self.algorithm, "hash": self.digest}],
        }


@dataclass(frozen=True, slots=True)
class Targets:
    """What was learned from the `targets` and `roots` of an answer."""

    version: int
    backend_state: str
    root_version: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a poll, checked as a whole.

    Attributes:
        files: All files that are active now, by path; `None` when nothing has changed.
        targets: `None` when the answer had none.
        is_expired: The configuration is too old to be used: all files are dropped.
    """

    files: Mapping[str, RemoteFile] | None = None
    targets: Targets | None = None
    is_expired: bool = False


def parse_json(content: bytes) -> Any:  # Any: JSON
    """Return a JSON document.

    Raises:
        RemoteConfigError: It is none, or too deeply nested.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise RemoteConfigError("invalid JSON content") from exc


def read_answer(
    body: bytes, held: Mapping[str, RemoteFile], products: Collection[str], *, last_version: int, root_version: int
) -> Answer:
    """Check the body of an answer.

    Args:
        body: As received.
        held: The active files so far; those that stay unchanged are returned as they are.
        products: Names of the products that are subscribed to.
        last_version: Version of the last accepted targets; a lower one, except 0, is refused.
        root_version: Highest version of a root so far.

    Raises:
        RemoteConfigError: Some part of it is not as it must be; nothing of it may be used.
    """
    if len(body) < _EMPTY_ANSWER_BYTES:
        return Answer()
    document = _object(parse_json(body), "the answer")
    if not document:
        return Answer()
    if document.get("config_status") == _EXPIRED:
        return Answer({}, is_expired=True)
    root_version = _highest_root(document.get("roots"), root_version)
    encoded = document.get("targets")
    if not encoded:
        if document.get("client_configs"):
            raise RemoteConfigError("there are client_configs, but no targets")
        return Answer({}, Targets(last_version, "", root_version)) if held else Answer()
    signed = _object(_object(parse_json(_decode(encoded, "targets")), "targets").get("signed"), "targets.signed")
    version = _integer(signed.get("version"), "targets.signed.version")
    if 0 < version < last_version:  # some servers always say 0
        raise RemoteConfigError(f"targets went back from version {last_version} to {version}")
    custom = signed.get("custom")
    backend_state = custom.get("opaque_backend_state") if isinstance(custom, dict) else ""
    active = _active_paths(document.get("client_configs"), products)
    entries = _object(signed.get("targets") or {}, "targets.signed.targets")
    contents = _contents(document.get("target_files"), active)
    files = {path: file for path in active if (file := _file(path, entries, contents, held, active[path]))}
    if missing := active.keys() - files.keys():
        raise RemoteConfigError(f"no content for {min(missing)}")
    return Answer(files, Targets(version, backend_state if isinstance(backend_state, str) else "", root_version))


def _active_paths(value: object, products: Collection[str]) -> dict[str, re.Match[str]]:
    """Return the paths of `client_configs` that can be used, with their parts."""
    active: dict[str, re.Match[str]] = {}
    for path in _array(value, "client_configs"):
        match = _PATH.fullmatch(path) if isinstance(path, str) else None
        if match is None or not {"..", "."}.isdisjoint(match.groups()) or int(match["org"] or 0) > _MAX_ORG_ID:
            _log.warning("path", "Ignored a remote configuration at an unusable path: %.200r", path)
        elif match["product"] not in products:
            _log.warning("product", "Ignored a remote configuration for a product that was not asked for: %.200r", path)
        else:
            active[match.string] = match
            if len(active) > _MAX_FILES:
                raise RemoteConfigError(f"more than {_MAX_FILES} files")
    return active


def _contents(value: object, active: Collection[str]) -> dict[str, object]:
    """Return the encoded contents of `target_files` by path, of active paths only."""
    contents: dict[str, object] = {}
    for entry in _array(value, "target_files"):
        path = _object(entry, "an entry of target_files").get("path")
        if isinstance(path, str) and path in active:
            contents[path] = entry.get("raw")
    return contents


def _file(
    path: str,
    entries: Mapping[str, Any],  # Any: JSON, here and below
    contents: Mapping[str, object],
    held: Mapping[str, RemoteFile],
    parts: re.Match[str],
) -> RemoteFile | None:
    """Return the file of an active path; `None` when it is not described or has no content."""
    if path not in entries:
        return None
    entry = _object(entries[path], path)
    hashes = _object(entry.get("hashes"), f"hashes of {path}")
    algorithm = next((name for name in _DIGEST if name in hashes), None)
    if algorithm is None:
        return None
    digest = hashes[algorithm]
    if not isinstance(digest, str) or not _DIGEST[algorithm].fullmatch(digest := digest.lower()):
        raise RemoteConfigError(f"the hash of {path} is malformed")
    version = _integer(_object(entry.get("custom"), f"custom of {path}").get("v"), f"custom.v of {path}")
    known = held.get(path)
    if known is not None and known.digest == digest:
        known.version = version
        return known
    if path not in contents:
        return None
    content = _decode(contents[path], path)
    if hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() != digest:
        raise RemoteConfigError(f"the content of {path} does not match its hash")
    return RemoteFile(path, parts["product"], parts["id"], version, algorithm, digest, content)


def _highest_root(value: object, known: int) -> int:
    roots = _array(value, "roots")
    if len(roots) > _MAX_ROOTS:
        raise RemoteConfigError(f"more than {_MAX_ROOTS} roots")
    for encoded in roots:
        root = _object(parse_json(_decode(encoded, "roots")), "a root")
        signed = _object(root.get("signed"), "signed of a root")
        known = max(known, _integer(signed.get("version"), "version of a root"))
    return known


def _decode(value: object, what: str) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise RemoteConfigError(f"{what}: not base64")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RemoteConfigError(f"{what}: not an object")
    return value


def _array(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise RemoteConfigError(f"{what}: not an array")
    return value


def _integer(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_ORG_ID:
        raise RemoteConfigError(f"{what}: not an integer that fits into 63 bits")
    return value
