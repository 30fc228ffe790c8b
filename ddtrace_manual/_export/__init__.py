"""From finished chunks to requests: the bounded queue and the worker that drains it."""

from .agent_info import AgentWatch
from .at_exit import run_at_exit
from .backoff import Backoff
from .counters import Counters, DropReason
from .delivery import Delivery
from .fork_guard import run_between_forks
from .log_transport import LogTransport, wants_log_transport
from .payloads import ChunkPacker, EncodedBatch, PayloadEncoder
from .pipeline import ChunkSteps, Pipeline
from .queue import Chunk, ChunkQueue
from .termination import SignalHandler, handle_sigterm, restore_sigterm
from .wakeup import Wakeup
from .worker import ExportWorker

__all__ = [
    "AgentWatch",
    "Backoff",
    "Chunk",
    "ChunkPacker",
    "ChunkQueue",
    "ChunkSteps",
    "Counters",
    "Delivery",
    "DropReason",
    "EncodedBatch",
    "ExportWorker",
    "LogTransport",
    "PayloadEncoder",
    "Pipeline",
    "SignalHandler",
    "Wakeup",
    "handle_sigterm",
    "restore_sigterm",
    "run_at_exit",
    "run_between_forks",
    "wants_log_transport",
]
