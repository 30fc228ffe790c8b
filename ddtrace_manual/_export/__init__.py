"""From finished chunks to requests: the bounded queue and the worker that drains it."""

from .agent_state import AgentWatch
from .bell import Bell
from .counters import Counters
from .endings import run_at_exit
from .fork_gate import run_between_forks
from .log_transport import LogTransport, wants_log_transport
from .outbox import Outbox
from .pace import Pace
from .payloads import ChunkPacker, Parcel, PayloadEncoder
from .pipeline import ChunkSteps, Pipeline
from .queue import Chunk, ChunkQueue
from .termination import SignalHandler, handle_sigterm, restore_sigterm
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
