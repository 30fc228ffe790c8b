"""Talking to the Datadog Agent; the only owner of outgoing sockets."""

from __future__ import annotations

from .client import AgentClient, Outcome, SendResult
from .dogstatsd import DogStatsdClient, report_send
from .entity import Entity, find_entity
from .headers import common_headers
from .info import DEFAULT_SPAN_KINDS, AgentInfo, Features, choose_features, parse_info, stats_supported
from .otlp import OtlpClient
from .retry import RetryPolicy
from .transport import Headers, RequestsTransport, Response, Transport

__all__ = [
    "DEFAULT_SPAN_KINDS",
    "AgentClient",
    "AgentInfo",
    "DogStatsdClient",
    "Entity",
    "Features",
    "Headers",
    "OtlpClient",
    "Outcome",
    "RequestsTransport",
    "Response",
    "RetryPolicy",
    "SendResult",
    "Transport",
    "choose_features",
    "common_headers",
    "find_entity",
    "parse_info",
    "report_send",
    "stats_supported",
]
