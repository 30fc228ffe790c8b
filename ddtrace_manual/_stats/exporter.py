"""Sends what the concentrator counted to the Agent's statistics endpoint.

Deliberate deviation from one reference tracer: an unset environment stays empty, so that the Agent
fills in its own as it does for traces.

Source: spec/client-stats.md §9.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ddtrace_manual._base.clock import SYSTEM_CLOCK, Clock
from ddtrace_manual._base.log import RateLimitedLogger, get_logger
from ddtrace_manual._encoding.sketch import LatencySketch
from ddtrace_manual._encoding.stats import encode_stats

from .aggregation import AggregationKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ddtrace_manual._encoding.stats import StatsGroup, StatsPayload

    from .concentrator import Bucket, Concentrator, Group

__all__ = ["FLUSH_INTERVAL_S", "BucketExporter", "StatsExporter", "StatsIdentity", "stats_payload"]

_log = RateLimitedLogger(get_logger("stats"))

FLUSH_INTERVAL_S: Final = 10.0
_EMPTY_SKETCH: Final = LatencySketch().to_bytes()


@dataclass(frozen=True, slots=True)
class StatsIdentity:
    """Who sends the statistics; `""` is unknown."""

    service: str = ""
    env: str = ""
    version: str = ""
    hostname: str = ""
    """Only with `DD_TRACE_REPORT_HOSTNAME`."""
    git_commit_sha: str = ""
    process_tags: str = ""


class BucketExporter:
    """Flushes a concentrator, one request per flush that has something to say.

    A payload that cannot be delivered is lost: sending it again might count it twice. Used by one
    thread at a time (the export worker).

    Args:
        concentrator: What was counted.
        encode: Makes a body of buckets and the number of the payload, 0 for the first of this process.
        send: Posts a body and says whether it was taken.
        on_payload: Told of every payload whether it was taken, whatever happened to it.
        on_collapsed: Told by which limit how many spans were counted under a blocked value.
        clock: Source of monotonic time.
        interval_s: Time between two flushes of `flush_if_due`, in seconds.
    """

    def __init__(
        self,
        concentrator: Concentrator,
        encode: Callable[[Sequence[Bucket], int], bytes],
        send: Callable[[bytes], bool],
        *,
        on_payload: Callable[[bool], object] | None = None,
        on_collapsed: Callable[[str, int], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        self._on_payload = on_payload if on_payload is not None else bool
        self._concentrator = concentrator
        self._encode = encode
        self._send = send
        self._on_collapsed = on_collapsed
        self._clock = clock
        self._interval_ns = round(interval_s * 1e9)
        self._flushed_ns = clock.monotonic_ns()
        self._sequence = 0

    def flush_if_due(self) -> bool:
        """Flush closed buckets when the interval has passed; return `False` only when a send failed."""
        if self._clock.monotonic_ns() - self._flushed_ns < self._interval_ns:
            return True
        return self.flush()

    def next_due_ns(self) -> int | None:
        """Return when `flush_if_due` will have something to do, in monotonic nanoseconds; `None` for never."""
        return self._flushed_ns + self._interval_ns if self._concentrator.has_buckets() else None

    def flush(self, *, force: bool = False) -> bool:
        """Send the closed buckets now.

        Args:
            force: The open buckets too, as for an explicit flush and at shutdown.

        Returns:
            `False` only when there was something to send and it was not taken.
        """
        self._flushed_ns = self._clock.monotonic_ns()
        buckets = self._concentrator.flush(force=force)  # takes out nothing when it fails
        if not buckets:
            self._report_collapsed()
            return True
        delivered = False
        try:
            sequence, self._sequence = self._sequence, self._sequence + 1
            delivered = self._send(self._encode(buckets, sequence))
        except (Exception, SystemExit):  # the worker goes on with traces
            _log.log(logging.ERROR, "flush", "Lost a payload of statistics", exc_info=True)
        finally:
            self._on_payload(delivered)
        self._report_collapsed()
        return delivered

    def _report_collapsed(self) -> None:
        try:
            collapsed = self._concentrator.take_collapsed()
            if self._on_collapsed is not None:
                for kind, spans in collapsed.items():
                    self._on_collapsed(kind, spans)
        except (Exception, SystemExit):  # only a figure
            _log.log(logging.ERROR, "collapsed", "Reporting collapsed spans failed", exc_info=True)


class StatsExporter(BucketExporter):
    """Exports to the Agent's `/v0.6/stats`.

    Args:
        concentrator: What was counted.
        send: Posts a body and says whether the Agent took it.
        identity: Who we are; asked for at every flush, because remote configuration may change it.
        runtime_id: Gives the id of this process, which changes with a fork.
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
        identity: Callable[[], StatsIdentity],
        runtime_id: Callable[[], str],
        on_payload: Callable[[bool], object] | None = None,
        on_collapsed: Callable[[str, int], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        def encode(buckets: Sequence[Bucket], sequence: int) -> bytes:
            return encode_stats(
                stats_payload(buckets, concentrator.bucket_ns, identity(), runtime_id=runtime_id(), sequence=sequence)
            )

        super().__init__(
            concentrator,
            encode,
            send,
            on_payload=on_payload,
            on_collapsed=on_collapsed,
            clock=clock,
            interval_s=interval_s,
        )


def stats_payload(
    buckets: Sequence[Bucket], bucket_ns: int, identity: StatsIdentity, *, runtime_id: str, sequence: int
) -> StatsPayload:
    """Return the body of a statistics request as plain data, without what only the Agent fills in.

    Source: spec/client-stats.md §9.
    """
    return {
        "Hostname": identity.hostname,
        "Env": identity.env,
        "Version": identity.version,
        "Service": identity.service,
        "RuntimeID": runtime_id,
        "Sequence": sequence,
        "GitCommitSha": identity.git_commit_sha,
        "ProcessTags": identity.process_tags,
        "Stats": [
            {
                "Start": bucket.start_ns,
                "Duration": bucket_ns,
                "Stats": [_group_payload(AggregationKey(*key), group) for key, group in bucket.groups.items()],
            }
            for bucket in buckets
        ],
    }


def _group_payload(key: AggregationKey, group: Group) -> StatsGroup:
    return {
        "Service": key.service,
        "Name": key.operation_name,
        "Resource": key.resource_name,
        "HTTPStatusCode": key.http_status,
        "Type": key.span_type,
        "Hits": group.hits,
        "Errors": group.errors,
        "Duration": group.duration_ns,
        "OkSummary": _EMPTY_SKETCH if group.ok is None else group.ok.to_bytes(),
        "ErrorSummary": _EMPTY_SKETCH if group.error is None else group.error.to_bytes(),
        "Synthetics": key.synthetics,
        "TopLevelHits": group.top_level_hits,
        "SpanKind": key.span_kind,
        "PeerTags": list(key.peer_tags),
        "IsTraceRoot": key.trace_root,
        "GRPCStatusCode": key.grpc_status,
        "HTTPMethod": key.http_method,
        "HTTPEndpoint": key.http_endpoint,
        "srv_src": key.service_source,
        "AdditionalMetricTags": list(key.additional_tags),
    }
