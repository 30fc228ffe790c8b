"""From finished chunks to requests: the bounded queue and the worker that drains it."""

from .agent_info import AgentWatch
from .at_exit import run_at_exit
from .backoff import Pace
from .counters import Counters
from .delivery import Outbox
from .fork_guard import run_between_forks
from .log_transport import LogTransport, wants_log_transport
from .payloads import ChunkPacker, Parcel, PayloadEncoder
from .pipeline import ChunkSteps, Pipeline
from .queue import Chunk, ChunkQueue
from .termination import SignalHandler, handle_sigterm, restore_sigterm
from .wakeup import Bell
from .worker import ExportWorker

__all__ = [
    "AgentWatch",
    "Bell",
    "Chunk",
    "ChunkPacker",
    "ChunkQueue",
    "ChunkSteps",
    "Counters",
    "ExportWorker",
    "LogTransport",
    "Outbox",
    "Pace",
    "Parcel",
    "PayloadEncoder",
    "Pipeline",
    "SignalHandler",
    "handle_sigterm",
    "restore_sigterm",
    "run_at_exit",
    "run_between_forks",
    "wants_log_transport",
]
