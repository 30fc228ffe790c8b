"""The same statistics as one OTLP histogram metric, for receivers that are no Datadog Agent.

JSON form of the protobuf: 64-bit integers are text, enumerations numbers. Only what is known is
written: attributes of an overflow row that mean nothing are left out.

Source: spec/client-stats.md §10.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ddtrace_manual._base.clock import SYSTEM_CLOCK, Clock
from ddtrace_manual._encoding.sketch import LatencySketch, bin_value

from .aggregation import NOT_SET, TRACE_ROOT, AggregationKey
from .exporter import FLUSH_INTERVAL_S, BucketExporter
from .grpc_status import grpc_status_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .concentrator import Bucket, Concentrator

    _Value: TypeAlias = str | bool | int | Sequence[str]

__all__ = ["METRIC_NAME", "DurationHistogram", "SpanMetricsExporter", "metrics_payload", "span_metrics_resource"]

METRIC_NAME: Final = "traces.span.sdk.metrics.duration"

_BOUNDS_S: Final = (0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0)
_DELTA: Final = 1  # aggregation temporality
_KINDS: Final = {kind: f"SPAN_KIND_{kind.upper()}" for kind in ("server", "client", "producer", "consumer")}
# Tags that have an attribute of their own.
_OWN_TAGS: Final = frozenset(
    (
        "service",
        "service.name",
        "env",
        "deployment.environment",
        "deployment.environment.name",
        "version",
        "service.version",
        "runtime-id",
        "runtime_id",
    )
)


class DurationHistogram(LatencySketch):
    """A sketch that also knows the exact sum and the extremes; give it to the concentrator as `new_sketch`."""

    __slots__ = ("max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        super().__init__()
        self.sum_ns = 0.0
        self.min_ns = float("inf")
        self.max_ns = 0.0

    def add(self, duration_ns: float) -> None:
        """Count one duration, in nanoseconds."""
        super().add(duration_ns)
        self.sum_ns += duration_ns
        self.min_ns = min(self.min_ns, duration_ns)
        self.max_ns = max(self.max_ns, duration_ns)

    def bucket_counts(self) -> list[int]:
        """Return how many durations lie between the bounds of the metric; 17 numbers."""
        counts = [0] * (len(_BOUNDS_S) + 1)
        counts[0] = int(self.zero_count)
        for index, count in self.bins().items():
            counts[bisect_left(_BOUNDS_S, bin_value(index) / 1e9)] += int(count)
        return counts


class SpanMetricsExporter(BucketExporter):
    """Exports to an OTLP metrics endpoint.

    Args:
        concentrator: What was counted, with `DurationHistogram` and rules that split by top level.
        send: Posts a JSON body and says whether it was taken.
        resource: Gives the attributes of the resource (`span_metrics_resource`), asked for at every flush.
        on_payload: As for `BucketExporter`, like the rest.
        on_collapsed: Likewise.
        clock: Source of monotonic time.
        interval_s: Seconds between two flushes.
    """

    def __init__(
        self,
        concentrator: Concentrator,
        send: Callable[[bytes], bool],
        *,
        resource: Callable[[], Mapping[str, _Value]],
        on_payload: Callable[[bool], object] | None = None,
        on_collapsed: Callable[[str, int], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        def encode(buckets: Sequence[Bucket], _sequence: int) -> bytes:
            return json.dumps(metrics_payload(buckets, concentrator.bucket_ns, resource())).encode()

        super().__init__(
            concentrator,
            encode,
            send,
            on_payload=on_payload,
            on_collapsed=on_collapsed,
            clock=clock,
            interval_s=interval_s,
        )


def span_metrics_resource(
    *,
    service: str,
    env: str,
    version: str,
    hostname: str,
    runtime_id: str,
    tracer_version: str,
    process_tags: str,
    tags: Mapping[str, str],
) -> dict[str, _Value]:
    """Return the non-empty attributes of the resource.

    Args:
        service: Configured service; the others of this kind likewise.
        env: Environment.
        version: Version of the application.
        hostname: Only with hostname reporting.
        runtime_id: Id of this process.
        tracer_version: Version of this library.
        process_tags: Comma-joined text.
        tags: Global tags; those with an attribute of their own are skipped.
    """
    attributes: dict[str, _Value] = {
        "service.name": service,
        "service.version": version,
        "deployment.environment.name": env,
        "host.name": hostname,
        "telemetry.sdk.name": "datadog",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": tracer_version,
        "datadog.runtime_id": runtime_id,
        "datadog.process_tags": [tag for tag in process_tags.split(",") if tag],
        "datadog.tracer_tags": [f"{key}:{value}" for key, value in tags.items() if key not in _OWN_TAGS],
    }
    return {key: value for key, value in attributes.items() if value}


def metrics_payload(
    buckets: Sequence[Bucket], bucket_ns: int, resource: Mapping[str, _Value]
) -> dict[str, Any]:  # Any: JSON, here and below
    """Return an `ExportMetricsServiceRequest` with one histogram; a point per group and half that has spans."""
    points = [
        _data_point(AggregationKey(*key), half, bucket.start_ns, bucket_ns, is_error=half is group.error)
        for bucket in buckets
        for key, group in bucket.groups.items()
        for half in (group.ok, group.error)
        if isinstance(half, DurationHistogram)
    ]
    metric = {
        "name": METRIC_NAME,
        "unit": "s",
        "histogram": {"aggregationTemporality": _DELTA, "dataPoints": points},
    }
    return {
        "resourceMetrics": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeMetrics": [{"scope": {"name": "ddtrace_manual"}, "metrics": [metric]}],
            }
        ]
    }


def _data_point(
    key: AggregationKey, durations: DurationHistogram, start_ns: int, length_ns: int, *, is_error: bool
) -> dict[str, Any]:
    return {
        "attributes": _attributes(_point_attributes(key, is_error=is_error)),
        "startTimeUnixNano": str(start_ns),
        "timeUnixNano": str(start_ns + length_ns),
        "count": str(int(durations.count)),
        "sum": durations.sum_ns / 1e9,
        "min": durations.min_ns / 1e9,
        "max": durations.max_ns / 1e9,
        "explicitBounds": list(_BOUNDS_S),
        "bucketCounts": [str(count) for count in durations.bucket_counts()],
    }


def _point_attributes(key: AggregationKey, *, is_error: bool) -> dict[str, _Value]:
    attributes: dict[str, _Value] = {
        "service.name": key.service,
        "status.code": "STATUS_CODE_ERROR" if is_error else "STATUS_CODE_OK",
        "span.kind": _KINDS.get(key.span_kind.lower(), "SPAN_KIND_INTERNAL"),
        "span.name": key.resource_name,
    }
    optional: dict[str, _Value] = {
        "http.request.method": key.http_method,
        "http.route": key.http_endpoint,
        "http.response.status_code": key.http_status,
        "rpc.response.status_code": key.grpc_status and grpc_status_name(key.grpc_status),
        "datadog.operation.name": key.operation_name,
        "datadog.span.type": key.span_type,
        "datadog.svc_src": key.service_source,
        "datadog.origin": "synthetics" if key.synthetics else "",
        "datadog.peer_tags": key.peer_tags,
    }
    attributes.update((name, value) for name, value in optional.items() if value)
    if key.trace_root != NOT_SET:
        attributes["datadog.is_trace_root"] = key.trace_root == TRACE_ROOT
    if key.top_level is not None:
        attributes["datadog.span.top_level"] = key.top_level
    for tag in key.additional_tags:
        name, _, value = tag.partition(":")
        attributes.setdefault(name, value)
    return attributes


def _attributes(attributes: Mapping[str, _Value]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _any_value(value)} for name, value in attributes.items()]


def _any_value(value: _Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [{"stringValue": element} for element in value]}}
