"""Values without behaviour that the parts exchange."""

from .datadog_span import DDSpan
from .propagation import (
    AUTO_KEEP,
    AUTO_REJECT,
    MECHANISM_AGENT_RATE,
    MECHANISM_DEFAULT,
    MECHANISM_MANUAL,
    MECHANISM_REMOTE_DYNAMIC_RULE,
    MECHANISM_REMOTE_USER_RULE,
    MECHANISM_RULE,
    MECHANISM_SPAN_RULE,
    RANDOM_FLAG,
    USER_KEEP,
    USER_REJECT,
    HeaderCache,
    PropagationState,
    RemoteContext,
)
from .segment import SegmentRecord
from .span import (
    MAX_TEXT_CHARS,
    STATUS_ERROR,
    STATUS_OK,
    STATUS_UNSET,
    UNCHARGED_NAME_CHARS,
    EventRecord,
    LinkRecord,
    SpanRecord,
)

__all__ = [
    "AUTO_KEEP",
    "AUTO_REJECT",
    "MAX_TEXT_CHARS",
    "MECHANISM_AGENT_RATE",
    "MECHANISM_DEFAULT",
    "MECHANISM_MANUAL",
    "MECHANISM_REMOTE_DYNAMIC_RULE",
    "MECHANISM_REMOTE_USER_RULE",
    "MECHANISM_RULE",
    "MECHANISM_SPAN_RULE",
    "RANDOM_FLAG",
    "STATUS_ERROR",
    "STATUS_OK",
    "STATUS_UNSET",
    "UNCHARGED_NAME_CHARS",
    "USER_KEEP",
    "USER_REJECT",
    "DDSpan",
    "EventRecord",
    "HeaderCache",
    "LinkRecord",
    "PropagationState",
    "RemoteContext",
    "SegmentRecord",
    "SpanRecord",
]
