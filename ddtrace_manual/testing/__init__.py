"""For tests: record spans in the process, check them, or run an Agent double.

With pytest the fixtures `spans` and `fake_agent` are there by themselves.
"""

from ddtrace_manual._receiver import FakeAgent

from ._fixed import FixedClock, SequentialIds
from ._recorded import RecordedSpan
from ._recorder import SpanRecorder
from ._remote import RemoteConfigFile, RemoteConfigState, poll_remote_config, remote_config_state

__all__ = [
    "FakeAgent",
    "FixedClock",
    "RecordedSpan",
    "RemoteConfigFile",
    "RemoteConfigState",
    "SequentialIds",
    "SpanRecorder",
    "poll_remote_config",
    "remote_config_state",
]
