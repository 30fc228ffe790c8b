"""From finished chunks to requests: the bounded queue and the worker that drains it."""

from .agent_state import AgentWatch
from .counters import Counters
from .outbox import Outbox
from .pipeline import ChunkSteps, Pipeline
from .queue import ChunkQueue
from .worker import ExportWorker

__all__ = ["AgentWatch", "ChunkQueue", "ChunkSteps", "Counters", "ExportWorker", "Outbox", "Pipeline"]
