"""The statistics payload of `/v0.6/stats`.

Source: spec/client-stats.md §9.
"""

from __future__ import annotations

from typing import Any, Final, TypedDict

import msgpack
from typing_extensions import Required

from ddtrace_manual.exceptions import EncodingError

from .wire_text import repaired

__all__ = ["StatsBucket", "StatsGroup", "StatsPayload", "decode_stats", "encode_stats"]


class StatsGroup(TypedDict, total=False):
    """Counters of one aggregation key in one bucket; fields not required have their empty value when absent."""

    Service: Required[str]
    Name: Required[str]
    Resource: Required[str]
    HTTPStatusCode: int
    Type: str
    DBType: str
    Hits: Required[int]
    Errors: Required[int]
    Duration: Required[int]
    """Sum, in nanoseconds."""
    OkSummary: Required[bytes]
    """A sketch, see `LatencySketch.to_bytes`; also when empty."""
    ErrorSummary: Required[bytes]
    Synthetics: bool
    TopLevelHits: Required[int]
    SpanKind: str
    PeerTags: list[str]
    """Each `key:value`."""
    IsTraceRoot: int
    """0 not set, 1 true, 2 false."""
    GRPCStatusCode: str
    """Decimal number or ""."""
    HTTPMethod: str
    HTTPEndpoint: str
    srv_src: str
    SpanDerivedPrimaryTags: list[str]
    AdditionalMetricTags: list[str]


class StatsBucket(TypedDict, total=False):
    """Ten seconds of statistics."""

    Start: Required[int]
    """Nanoseconds since the Unix epoch."""
    Duration: Required[int]
    """Nanoseconds."""
    Stats: Required[list[StatsGroup]]
    AgentTimeShift: int


class StatsPayload(TypedDict, total=False):
    """One request; fields that only the Agent fills need not be given."""

    Hostname: str
    Env: Required[str]
    Version: str
    Stats: Required[list[StatsBucket]]
    Lang: str
    TracerVersion: str
    RuntimeID: Required[str]
    Sequence: Required[int]
    AgentAggregation: str
    Service: Required[str]
    ContainerID: str
    Tags: list[str]
    GitCommitSha: str
    ImageTag: str
    ProcessTagsHash: int
    ProcessTags: str


# Any: values of mixed types, merged under what the caller gives.
_PAYLOAD: Final[dict[str, Any]] = {
    "Hostname": "",
    "Env": "",
    "Version": "",
    "Stats": [],
    "Lang": "",
    "TracerVersion": "",
    "RuntimeID": "",
    "Sequence": 0,
    "AgentAggregation": "",
    "Service": "",
    "ContainerID": "",
    "Tags": [],
    "GitCommitSha": "",
    "ImageTag": "",
    "ProcessTagsHash": 0,
    "ProcessTags": "",
}
_BUCKET: Final[dict[str, Any]] = {"Start": 0, "Duration": 0, "Stats": [], "AgentTimeShift": 0}
_GROUP: Final[dict[str, Any]] = {
    "Service": "",
    "Name": "",
    "Resource": "",
    "HTTPStatusCode": 0,
    "Type": "",
    "DBType": "",
    "Hits": 0,
    "Errors": 0,
    "Duration": 0,
    "OkSummary": b"",
    "ErrorSummary": b"",
    "Synthetics": False,
    "TopLevelHits": 0,
    "SpanKind": "",
    "PeerTags": [],
    "IsTraceRoot": 0,
    "GRPCStatusCode": "",
    "HTTPMethod": "",
    "HTTPEndpoint": "",
    "srv_src": "",
    "SpanDerivedPrimaryTags": [],
    "AdditionalMetricTags": [],
}


def encode_stats(payload: StatsPayload) -> bytes:
    """Return the body of the request; fields that are not given have their empty value.

    Raises:
        EncodingError: A value of a type that has no place here.
    """
    complete = {**_PAYLOAD, **payload}
    complete["Stats"] = [
        {**_BUCKET, **bucket, "Stats": [{**_GROUP, **group} for group in bucket["Stats"]]}
        for bucket in payload["Stats"]
    ]
    packer = msgpack.Packer()
    try:
        try:
            packed: bytes = packer.pack(complete)
        except UnicodeEncodeError:
            packed = packer.pack(repaired(complete))
    except Exception as exc:
        raise EncodingError(f"cannot encode statistics: {exc}") from exc
    return packed


def decode_stats(body: bytes) -> StatsPayload:
    """Read a statistics payload back.

    Raises:
        EncodingError: Not msgpack, or not a map with a list of buckets.
    """
    try:
        payload: Any = msgpack.unpackb(body, unicode_errors="replace")  # Any: nothing is known about it yet
    except Exception as exc:
        raise EncodingError(f"not a msgpack payload: {exc}") from exc
    if not isinstance(payload, dict) or not isinstance(payload.get("Stats"), list):
        raise EncodingError("not a statistics payload")
    decoded: StatsPayload = {**_PAYLOAD, **payload}  # type: ignore[typeddict-item]  # the defaults have its shape
    return decoded
